//! A leader with the right key gets no more on a machine than the machine lets it have.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a failed expectation is a failed test")]

mod common;

use common::{TestMachine, bundle};
use config_follower::{Config, Outcome};
use pconf_daemon::Shutdown;

#[tokio::test]
async fn what_the_machine_does_not_allow_is_refused_whole_and_the_leader_hears_why() {
    let machine = TestMachine::new().await;
    machine.container("core", "core/conf");
    machine.container("other", "other/conf");
    let limits = r#"{"folders": ["core"], "containers": ["core"], "commands": []}"#;
    let config = Config { limits: serde_json::from_str(limits).unwrap(), ..machine.config() };
    let mut follower = machine.follower_of(&config);
    let (_trigger, mut shutdown) = Shutdown::by_hand();

    machine.leader.publish(bundle(1, &[("core/conf/core.yml", "one"), ("other/conf/other.yml", "one")]));
    let Outcome::Refused { reason, .. } = follower.cycle(&mut shutdown).await else { panic!("it is taken") };
    assert_eq!(
        reason,
        "revision 1.1 wants what `limits` in config-follower.json does not allow here: to act on `other`; to touch \
         `other/conf/other.yml`; to touch `other/conf`; to touch `other`; nothing was touched"
    );
    assert!(!machine.root().join("core/conf/core.yml").exists());
    assert_eq!(machine.engine.calls(), Vec::<String>::new());
    assert!(machine.leader.last_report().verdict.to_string().contains("`limits`"));

    machine.leader.publish(bundle(2, &[("core/conf/core.yml", "two")]));
    assert_eq!(follower.cycle(&mut shutdown).await, Outcome::Running { revision: "1.2".parse().unwrap() });
    assert_eq!(machine.read("core/conf/core.yml"), "two");
}
