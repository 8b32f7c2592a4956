//! The follower's brain: what the machine should be, what the follower remembers and what it sees become steps.
//!
//! Everything that is decided is decided here, before anything is touched, and comes out as a value that can be printed
//! and compared. Boot, poll, notify, retry and going back all ask the same question. An action is a debt: the [`Ledger`]
//! owes it from before the first file is written until its container was seen to be well after the last one.

mod actions;
mod admit;
mod causes;
mod compose;
mod debt;
mod decide;
mod definitions;
mod drift;
mod fingerprint;
mod foresee;
mod ledger;
mod limits;
mod manner;
mod mounts;
mod observed;
mod order;
mod plan;
mod proxies;
mod refusal;
mod schedule;
mod services;
mod show;
mod snapshot;
mod standing;

pub use actions::{Action, Left, Stop, Trial, What};
pub use admit::{Admission, admit, guard};
pub use compose::{ComposeService, ComposeServices, compose_services};
pub use debt::{Change, Debt, DebtState, Made, Was};
pub use drift::Drifted;
pub use fingerprint::fingerprint;
pub use foresee::{Foreseen, foresee};
pub use ledger::{Attempt, Ledger, Phase, Purpose, Quarantined, Record, Suspended, Taken};
pub use limits::Limits;
pub use manner::Manner;
pub use mounts::Loose;
pub use observed::{Container, ContainerState, Observed, OnDisk, Reads};
pub use plan::{Plan, Step, places_to_look, plan, plan_owed};
pub use refusal::{InTheWay, Obstacle, Refusal};
pub use schedule::{Urgency, wait};
pub use snapshot::Snapshot;
pub use standing::Standing;
