//! The containers of a machine: who mounts what, what can be done to them, and whether they took it well.
//!
//! The engine is the truth about who reads what, so nobody keeps a list by hand. Nothing is decided here: what is done to
//! whom comes from the plan, and what follows from the outcome is for the caller.

mod act;
mod compose;
mod container;
mod docker;
mod engine;
mod gate;
mod own;
mod probe;
mod stay;
mod tail;

pub use act::{Acted, How, act};
pub use container::{Container, Glimpse, HealthState, Mount, State, Summary};
pub use docker::Docker;
pub use engine::{Containers, Ended, EngineError};
pub use gate::{Gate, judge};
pub use own::{RootNotMounted, host_path, own_id};
pub use stay::stays_well;
