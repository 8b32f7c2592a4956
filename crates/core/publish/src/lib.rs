//! The leader's brain: inputs and the previous revision become the next revision, or every reason why not.
//!
//! All of a revision renders and checks, or none of it is published. Content decides: inputs that render to the same
//! bytes are no new revision.

mod evaluate;
mod guard;
mod kept;
mod made_of;
mod publication;
mod rollout;
mod wanted;

pub use evaluate::evaluate;
pub use guard::held_back;
pub use made_of::{Cause, MadeOf, SecretVersion};
pub use publication::{Publication, give_back, publish};
pub use rollout::{Begin, Course, NotNow, Phase, Progress, Rollout, Stage, Turn, Word, Words, says_the_same};
pub use wanted::{WantedSecret, wanted_secrets};
