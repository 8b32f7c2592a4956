//! The containers of a machine: who mounts what, and restarting them.
//!
//! The engine is the truth about who reads what, so nobody keeps a list by hand. Nothing is decided here.

mod container;
mod docker;
mod engine;
#[cfg(feature = "fake")]
pub mod fake;
mod own;
mod restart;

pub use container::{Container, Mount, State};
pub use docker::Docker;
pub use engine::{Containers, EngineError};
pub use own::{RootNotMounted, host_path, own_id};
pub use restart::{Restarted, restart};
