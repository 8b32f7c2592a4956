//! A secret that a service writes into its log, or that stands beside a change, is shown nowhere.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a failed expectation is a failed test")]

mod common;

use common::{TestMachine, bundle};
use pconf_bundle::{Bundle, Masks, ServiceOutcome};
use scripted_engine::Script;

const SECRET: &str = "correct-horse-battery";

fn set(number: u64, word: &str) -> Bundle {
    let core = format!("host: a\npassword: {word} {SECRET}\n");
    let masks = Masks::new([SECRET.to_owned()]);
    Bundle { masks, ..bundle(number, &[("core/conf/core.yml", &core), ("hfs/conf/hfs.yml", "hfs")]) }
}

#[tokio::test]
async fn no_command_no_report_and_no_memory_shows_a_secret() {
    let machine = TestMachine::new().await;
    machine.container("core", "core/conf");
    machine.engine.script("core", [Script::DiesIf { contains: "broken".to_owned() }]);
    machine.leader.publish(set(1, "good"));
    let mut shown = vec![machine.run(&["plan"]).await, machine.run(&["once"]).await];

    machine.leader.publish(set(2, "broken"));
    let plan = machine.run(&["plan"]).await;
    let diff = "   host: a\n  -password: good ••••\n  +password: broken ••••\n";
    assert!(plan.1.contains(diff), "{}", plan.1);
    shown.push(plan);
    let once = machine.run(&["once"]).await;
    assert_eq!(once.0, 4, "{once:?}");
    assert!(once.1.contains("| cannot use `password: broken ••••`"), "{}", once.1);
    shown.push(once);
    for command in [&["status"][..], &["status", "--output", "json"], &["once"], &["retry"], &["drift"]] {
        shown.push(machine.run(command).await);
    }

    let report = machine.leader.last_report();
    let core = report.services.iter().find(|service| service.name == "core").unwrap();
    let log: Vec<&str> = core.log.iter().map(String::as_str).collect();
    assert_eq!((core.outcome, log.last()), (ServiceOutcome::Failed, Some(&"cannot use `password: broken ••••`")));

    shown.extend(machine.leader.change(|served| {
        served.reports.iter().map(|report| (0, format!("{report:?}"), String::new())).collect::<Vec<_>>()
    }));
    for file in ["status.json", "ledger.json"] {
        let text = std::fs::read_to_string(machine.config().state.join(file)).unwrap();
        shown.push((0, text, String::new()));
    }
    for (_, output, said) in shown {
        assert!(!output.contains(SECRET) && !said.contains(SECRET), "{output}{said}");
    }
}
