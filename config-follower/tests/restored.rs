//! A leader that was restored from a backup counts backwards: nobody follows it there, and everybody says why.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a failed expectation is a failed test")]

mod common;

use common::{TestMachine, bundle};
use config_follower::Outcome;
use pconf_bundle::{Bundle, Verdict};
use pconf_daemon::Shutdown;
use pconf_names::RevisionId;

const FILE: &str = "core/conf/core.yml";

fn set(revision: &str, text: &str) -> Bundle {
    Bundle { revision: revision.parse().unwrap(), ..bundle(1, &[(FILE, text)]) }
}

#[tokio::test]
async fn what_was_published_before_is_refused_until_the_leader_counts_anew() {
    let machine = TestMachine::new().await;
    machine.container("core", "core/conf");
    let running: RevisionId = "2.7".parse().unwrap();
    machine.leader.publish(set("2.7", "here"));
    assert_eq!(machine.run(&["once"]).await.0, 0);
    let actions = machine.engine.calls();
    let mut follower = machine.follower();
    let (_trigger, mut shutdown) = Shutdown::by_hand();
    // A smaller number, a smaller epoch with a larger number, and the same number with something else in it.
    for (offered, text, names) in [
        ("2.6", "there", "the leader offers revision 2.6 and this machine has 2.7 already"),
        ("1.900", "there", "the leader offers revision 1.900 and this machine has 2.7 already"),
        ("2.7", "there", "the leader's revision 2.7 is not the revision 2.7 that this machine has seen"),
    ] {
        machine.leader.publish(set(offered, text));
        let Outcome::Refused { revision, reason } = follower.cycle(&mut shutdown).await else { panic!("{offered}") };
        assert_eq!(revision.to_string(), offered);
        for part in [names, "may have been restored from a backup", "`config-leader epoch bump`"] {
            assert!(reason.contains(part), "{reason}");
        }
        assert_eq!((machine.read(FILE), machine.engine.calls()), ("here".to_owned(), actions.clone()));
        let told = Verdict::Refused { revision, running: Some(running), reason: reason.clone() };
        assert_eq!(machine.leader.last_report().verdict, told);
        let (_, status, _) = machine.run(&["status"]).await;
        assert!(status.contains("running    2.7\n") && status.contains(&reason), "{status}");
    }
    let next = set("3.8", "there");
    machine.leader.publish(next);
    assert_eq!(follower.cycle(&mut shutdown).await, Outcome::Running { revision: "3.8".parse().unwrap() });
    assert_eq!(machine.read(FILE), "there");
    let (_, status, _) = machine.run(&["status"]).await;
    assert!(!status.contains("restored"), "{status}");
}
