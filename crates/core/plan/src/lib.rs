//! The follower's brain: what the machine should be, what the follower remembers and what it sees become steps.
//!
//! Everything that is decided is decided here, before anything is touched, and comes out as a value that can be printed
//! and compared. Boot, poll, notify and retry all ask the same question. A restart is a debt: the [`Ledger`] owes it from
//! before the first file is written until a container was seen to start after the last one.

mod fingerprint;
mod ledger;
mod observed;
mod plan;
mod refusal;
mod restarts;
mod schedule;
mod show;

pub use fingerprint::fingerprint;
pub use ledger::{Attempt, Debt, DebtState, Ledger, Phase, Record};
pub use observed::{Container, ContainerState, Observed, OnDisk, Reads};
pub use plan::{Plan, Step, places_to_look, plan};
pub use refusal::{InTheWay, Obstacle, Refusal};
pub use restarts::{Left, Restart, owed_restarts};
pub use schedule::{Urgency, wait};
