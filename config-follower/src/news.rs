//! Waiting at the leader for news, on a machine that the leader's word does not reach. What comes of it is the pull of the next
//! cycle, so that nothing is asked twice; when nothing comes, the cycle looks at the machine as it does after every poll.

use std::time::Duration;

use pconf_bundle::LONGEST_WAIT;
use pconf_containers::Containers;
use pconf_plan::{Urgency, wait};
use tokio::time::{Instant, sleep};

use crate::cycle::Follower;
use crate::leader::{PullError, Pulled};

/// A poll that is due while we wait would only interrupt it.
const MARGIN: Duration = Duration::from_secs(1);

/// What waiting has come to.
#[derive(Debug)]
pub(crate) struct News {
    pulled: Result<Pulled, PullError>,
    /// What was known of the goal.
    known: String,
    /// Whether it ended without news before its time: the leader ends, does not let anybody wait, or somebody else waits in our
    /// name.
    pub(crate) is_early: bool,
}

impl News {
    /// The leader's answer to whoever knows `known`; `None` where it has to be asked.
    pub(crate) fn in_answer_to(self, known: Option<&str>) -> Option<Result<Pulled, PullError>> {
        let is_of_another = known != Some(&self.known);
        if is_of_another && matches!(self.pulled, Ok(Pulled::Unchanged)) { None } else { Some(self.pulled) }
    }
}

impl<C: Containers> Follower<C> {
    /// Waits at the leader for another goal than it last told, and no longer than `limit`; for ever where there is nothing to
    /// wait for. `chance` is any random number. Cancel-safe: whoever stops waiting asks again.
    pub(crate) async fn news(&self, limit: Duration, chance: u32) -> News {
        let is_quiet = self.urgency() == Urgency::Usual && self.respite.is_none();
        let Some(known) = self.seen.clone().filter(|_| is_quiet) else { return std::future::pending().await };
        let pause = match self.sent_away {
            0 => Duration::ZERO,
            times => wait(limit, Urgency::Again { failures: times }, chance),
        };
        sleep(pause).await;
        let limit = limit.saturating_sub(pause + MARGIN).min(LONGEST_WAIT).max(MARGIN);
        let start = Instant::now();
        let pulled = self.leader.news(&known, limit).await;
        let is_early = matches!(pulled, Ok(Pulled::Unchanged)) && start.elapsed() + MARGIN < limit;
        News { pulled, known, is_early }
    }
}
