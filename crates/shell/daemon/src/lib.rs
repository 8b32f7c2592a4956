//! What both programs need to be daemons, and nothing that either of them is for.

mod chain;
mod config;
mod control;
mod core_dump;
mod later;
mod metrics;
mod open_files;
mod rewound;
mod serve;
mod service;
mod shutdown;
mod telemetry;
mod version;
mod versioned;

pub use chain::Chain;
pub use config::{ConfigError, read_private_json};
pub use control::{ControlError, ask, serve_control};
pub use core_dump::forbid_core_dumps;
pub use later::Later;
pub use metrics::{Durations, Exposition, Kind, MetricsConfig, Requests, Tally, serve_metrics};
pub use open_files::allow_open_files;
pub use serve::{Certificates, serve};
pub use service::{Guest, Seat, Service};
pub use shutdown::{Shutdown, Trigger};
pub use telemetry::{InvalidFilter, LogFormat, start_telemetry};
pub use version::Version;
pub use versioned::{StateError, from_state, to_state};
