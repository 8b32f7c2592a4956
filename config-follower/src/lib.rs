//! The follower: wires the plan to the leader's wire, to files and to containers.
//!
//! Boot, poll, notification and retry are one code path: a [`cycle`](crate::cycle) asks the leader for the goal, looks
//! at the machine, lets the core compare the two, and does what comes out.

mod arrive;
mod cli;
mod commands;
mod config;
mod cycle;
mod daemon;
mod hints;
mod identity;
mod join;
mod leader;
mod machine;
mod memory;
mod metrics;
mod news;
mod pay;
mod ring;
mod server;
mod soak;
mod store;
mod telling;
mod terminal;
mod wish;

pub use cli::{Cli, OutputFormat};
pub use commands::execute;
pub use config::{Config, DriftPolicy, InvalidConfig};
pub use cycle::{Follower, Outcome};
pub use daemon::run;
pub use identity::{Identity, IdentityError};
pub use leader::{Leader, PullError};
pub use machine::{Machine, MachineError};
pub use memory::{Memory, MemoryError};
pub use ring::Ring;
