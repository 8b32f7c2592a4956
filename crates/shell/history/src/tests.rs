//! Promises about the history, with revisions made by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test expects is what it promises")]

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use pconf_bundle::{Bundle, Content, File, Masks};
use pconf_names::{Class, Digest, MachineName, RevisionId};
use pconf_publish::{Cause, MadeOf, SecretVersion};
use zeroize::Zeroizing;

use crate::{Change, History, HistoryError, Key, Named, New, Retention};

type Machines = BTreeMap<MachineName, Bundle>;

struct Lab {
    held: tempfile::TempDir,
    history: History,
}

impl Lab {
    fn new() -> Self {
        let held = tempfile::tempdir().unwrap();
        let history = History::open(&held.path().join("history.db")).unwrap();
        Self { held, history }
    }

    fn path(&self) -> PathBuf {
        self.held.path().join("history.db")
    }

    /// Writes revision `number` down, made at that second.
    fn record(&mut self, number: u64, platform: &str, machines: &Machines) {
        let made_of = made_of(number, platform);
        assert!(self.history.record(&new(number, &made_of), machines, &key()).unwrap());
    }

    fn numbers(&self) -> Vec<u64> {
        self.history.revisions(None).unwrap().iter().map(|revision| revision.id.number).collect()
    }

    fn count(&self, table: &str) -> i64 {
        self.history.db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        let files = ["history.db", "history.db-wal"].map(|name| std::fs::read(self.held.path().join(name)));
        files.into_iter().flat_map(Result::unwrap_or_default).collect()
    }
}

fn key() -> Key {
    Zeroizing::new([7; 32]).into()
}

fn made_of(at: u64, platform: &str) -> MadeOf {
    MadeOf { at, platform: platform.to_owned(), templates: BTreeMap::new(), secrets: BTreeMap::new(), cause: None }
}

fn new(number: u64, made_of: &MadeOf) -> New<'_> {
    New { revision: RevisionId { epoch: 1, number }, digest: Digest::of(&number.to_be_bytes()), made_of }
}

fn machine(name: &str, files: &[(&str, &str)], secrets: &[&str]) -> (MachineName, Bundle) {
    let name: MachineName = name.parse().unwrap();
    let file = |(path, text): &(&str, &str)| File {
        path: path.parse().unwrap(),
        class: Class::Config,
        owner: "0:0".parse().unwrap(),
        mode: "0640".parse().unwrap(),
        on_change: None,
        content: Content::from(text.as_bytes().to_vec()),
    };
    let bundle = Bundle {
        files: files.iter().map(file).collect(),
        masks: Masks::new(secrets.iter().map(|secret| (*secret).to_owned())),
        ..Bundle::empty("1.1".parse().unwrap(), name.clone(), "core".parse().unwrap())
    };
    (name, bundle)
}

#[test]
fn a_revision_comes_back_as_it_was_and_is_written_down_once() {
    let mut lab = Lab::new();
    let machines = Machines::from([machine("co1", &[("a", "one\n")], &[])]);
    lab.record(1, "{ /* a comment */ }\n", &machines);
    let again = made_of(9, "another");
    assert!(!lab.history.record(&new(1, &again), &machines, &key()).unwrap());
    let revision = lab.history.find("1.1".parse().unwrap()).unwrap().unwrap();
    assert_eq!((revision.at, revision.actor.as_str()), (1, "leader"));
    assert_eq!(lab.history.platform(&revision).unwrap(), "{ /* a comment */ }\n");
    assert!(lab.history.knows_platform("{ /* a comment */ }\n").unwrap());
    assert!(!lab.history.knows_platform("{ /* another */ }\n").unwrap());
    assert_eq!(std::fs::metadata(lab.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn revisions_are_named_by_number_whole_or_from_the_newest_back() {
    let mut lab = Lab::new();
    for number in 1..=3 {
        lab.record(number, "{}", &Machines::new());
    }
    let find = |name: &str| {
        let found = lab.history.find(name.parse().unwrap()).unwrap();
        found.map(|revision| revision.id.to_string())
    };
    assert_eq!(
        ["1.2", "2", "-0", "-1", "-2", "-3", "9", "2.1"].map(|name| find(name).unwrap_or_default()),
        ["1.2", "1.2", "1.3", "1.2", "1.1", "", "", ""]
    );
    for bad in ["", "-", "x", "1.", "--1", "1.02", "+1"] {
        assert!(bad.parse::<Named>().is_err(), "{bad}");
    }
}

#[test]
fn a_difference_shows_lines_and_of_a_secret_that_it_changed() {
    let mut lab = Lab::new();
    let before = [("gone", "x\n"), ("plain", "a\nb\n"), ("same", "same\n"), ("secret", "key hunter22\n")];
    let after = [("new", "y\n"), ("plain", "a\nc\n"), ("same", "same\n"), ("secret", "key hunter33\n")];
    let there = machine("co2", &[("same", "same\n")], &[]);
    lab.record(1, "{}\n", &Machines::from([machine("co1", &before, &["hunter22"]), there.clone()]));
    lab.record(2, "{ }\n", &Machines::from([machine("co1", &after, &["hunter33"]), there]));
    let [from, to] = ["-1", "-0"].map(|name| lab.history.find(name.parse().unwrap()).unwrap().unwrap());
    let comparison = lab.history.compare(&from, &to, None).unwrap();
    let machines: Vec<_> = comparison.machines.keys().map(MachineName::as_str).collect();
    assert_eq!((machines, comparison.platform.as_str()), (vec!["co1"], "@@ -1 +1 @@\n-{}\n+{ }\n"));
    let files = &comparison.machines[&"co1".parse().unwrap()].files;
    let told: Vec<_> = files.iter().map(|(path, file)| (path.as_str(), file.change, file.diff.as_str())).collect();
    assert_eq!(
        told,
        [
            ("gone", Change::Removed, "@@ -1 +0,0 @@\n-x\n"),
            ("new", Change::Added, "@@ -0,0 +1 @@\n+y\n"),
            ("plain", Change::Changed, "@@ -1,2 +1,2 @@\n a\n-b\n+c\n"),
            ("secret", Change::Secret, "(a secret changed)\n"),
        ]
    );
    let bytes = lab.bytes();
    for secret in ["hunter22", "hunter33"] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
    }
}

#[test]
fn what_does_not_change_is_kept_once() {
    let mut lab = Lab::new();
    let fleet = |one: &str| -> Machines {
        (0..50)
            .map(|number| {
                let text = if number == 0 { one.to_owned() } else { "the same\n".to_owned() };
                let own = format!("machine {number}\n");
                machine(&format!("co{number}"), &[("own", &own), ("shared", &text)], &[])
            })
            .collect()
    };
    lab.record(1, "{}", &fleet("the same\n"));
    let before = lab.count("blob");
    lab.record(2, "{}", &fleet("another\n"));
    // The text, the file, what that machine got, and the list of machines.
    assert_eq!(lab.count("blob") - before, 4);
}

#[test]
fn the_oldest_go_in_lots_and_the_newest_two_and_the_used_stay() {
    let mut lab = Lab::new();
    let record = |lab: &mut Lab, number: u64| {
        let text = format!("revision {number}\n");
        lab.record(number, &text, &Machines::from([machine("co1", &[("a", &text)], &[])]));
    };
    for number in 1..=22 {
        record(&mut lab, number);
    }
    let used = BTreeSet::from([RevisionId { epoch: 1, number: 2 }]);
    let retention = |revisions, seconds| Retention { revisions, seconds };
    assert_eq!(lab.history.retain(retention(20, None), 22, &used).unwrap(), 0);
    record(&mut lab, 23);
    assert_eq!(lab.history.retain(retention(20, None), 23, &used).unwrap(), 2);
    assert_eq!(lab.numbers().len(), 21);
    assert!(lab.numbers().contains(&2));

    assert_eq!(lab.history.retain(retention(1000, Some(10)), 40, &used).unwrap(), 18);
    assert_eq!(lab.numbers(), [23, 22, 2]);
    let bytes = lab.history.revisions(None).unwrap();
    // All that is left can be read, and nothing else is left: per revision platform.json, which is the file's text, the
    // file, what the machine got and the list of machines; and what they share, which is no templates and its rules.
    for revision in &bytes {
        let trees = lab.history.machines(revision).unwrap();
        let files = lab.history.machine(trees[&"co1".parse().unwrap()]).unwrap().files;
        assert_eq!(
            (files.len(), lab.history.platform(revision).unwrap()),
            (1, format!("revision {}\n", revision.id.number))
        );
    }
    assert_eq!(lab.count("blob"), 3 * 4 + 2);
}

#[test]
fn who_is_told_or_what_was_noticed() {
    let mut lab = Lab::new();
    let version = |mark: &str| SecretVersion { at: "x".into(), by: "x".into(), phase: None, mark: mark.into() };
    let mut inputs = made_of(1, "{}");
    let mut said = Vec::new();
    let mut record = |lab: &mut Lab, number: u64, inputs: &MadeOf| {
        lab.history.record(&new(number, inputs), &Machines::new(), &key()).unwrap();
        let newest = lab.history.newest().unwrap().unwrap();
        said.push(format!("{}: {}", newest.actor, newest.reason));
    };
    record(&mut lab, 1, &inputs);
    inputs.platform = "{ }".into();
    record(&mut lab, 2, &inputs);
    inputs.templates = ["a", "b", "c", "d"].map(|name| (name.to_owned(), Digest::of(b"x"))).into();
    inputs.secrets = BTreeMap::from([("token".to_owned(), version("1"))]);
    record(&mut lab, 3, &inputs);
    inputs.secrets = BTreeMap::from([("token".to_owned(), version("2"))]);
    record(&mut lab, 4, &inputs);
    inputs.cause = Some(Cause { actor: "uid 0 (ada)".into(), reason: "because".into() });
    record(&mut lab, 5, &inputs);
    assert_eq!(
        said,
        [
            "leader: the history begins",
            "leader: saved platform.json",
            "leader: templates changed: a, b, c and 1 more; secrets changed: token",
            "leader: secrets changed: token",
            "uid 0 (ada): because",
        ]
    );
}

#[test]
fn a_backup_is_whole_while_others_write_and_replaces_nothing() {
    let mut lab = Lab::new();
    lab.record(1, "{}", &Machines::new());
    let (path, copies) = (lab.path(), lab.held.path().to_owned());
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut writer = History::open(&path).unwrap();
            for number in 2..=60 {
                let inputs = made_of(number, &format!("{number}"));
                let machines = Machines::from([machine("co1", &[("a", &"x".repeat(10_000))], &[])]);
                writer.record(&new(number, &inputs), &machines, &key()).unwrap();
            }
        });
        for number in 0..10 {
            let file = copies.join(format!("copy{number}"));
            let reader = History::open_existing(&path).unwrap().unwrap();
            reader.back_up(&file).unwrap();
            let copy = History::open_existing(&file).unwrap().unwrap();
            for revision in copy.revisions(None).unwrap() {
                assert!(revision.id.number == 1 || copy.platform(&revision).unwrap() == revision.id.number.to_string());
            }
            assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
            assert!(matches!(reader.back_up(&file), Err(HistoryError::AlreadyThere(_))));
        }
        writing.join().unwrap();
    });
    assert_eq!(lab.numbers().len(), 60);
}

#[test]
fn what_cannot_be_used_is_said_and_left_alone() {
    let lab = Lab::new();
    let path = lab.path();
    let said = |result: Result<History, HistoryError>| {
        let error = result.expect_err("it cannot be used");
        error.to_string().replace(&path.display().to_string(), "history.db")
    };
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(said(History::open(&path)), "`history.db` is private but has mode 0640: run `chmod 600 history.db`");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    lab.history.db.pragma_update(None, "user_version", 7).unwrap();
    assert_eq!(
        said(History::open(&path)),
        "`history.db` is a database of form 7, and this program knows form 1: use the version that made it"
    );
    drop(lab.history);
    std::fs::write(&path, "no database at all, but as long as one would be at least").unwrap();
    assert_eq!(
        said(History::open(&path)),
        "`history.db` is damaged (file is not a database): put a backup in its place, or move it away to begin another"
    );
}
