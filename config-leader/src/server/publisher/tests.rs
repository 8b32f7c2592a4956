//! Secrets and revisions: what is made when, what survives what, and what the fleet is waited for.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use pconf_bundle::{Report, Verdict};
use pconf_daemon::Chain;
use pconf_files::StateFolder;
use pconf_names::RevisionId;
use pconf_platform::SecretId;
use pconf_wire::Clock;
use serde_json::{Value, json};

use super::{Conductor, Current, Publisher, StatusBoard};
use crate::commands::secret::{self, SecretOrder};
use crate::folder::Folder;
use crate::inputs::Reader;
use crate::keys::KeyStore;
use crate::orders::Actor;
use crate::secrets::{Hidden, Purpose};
use crate::server::steady::Steady;
use crate::terminal::{Failure, Said};

/// A leader's folder with a small set: `user` uses a token, `verifier` accepts it.
struct Lab {
    held: tempfile::TempDir,
    folder: Folder,
    state: Arc<StateFolder>,
    board: Arc<StatusBoard>,
}

const USER: &str = "{\"token\": {{ secrets.token | json }}, \"part\": {{ secrets.part | json }}}\n";
const VERIFIER: &str = "{\"accepted\": {{ accepted.token | json }}, \"parts\": {{ accepted.part | json }}}\n";

impl Lab {
    fn new() -> anyhow::Result<Self> {
        let held = tempfile::tempdir()?;
        fs::set_permissions(held.path(), fs::Permissions::from_mode(0o700))?;
        let state = Arc::new(StateFolder::open(&held.path().join("state"))?);
        let folder = Folder::open(held.path(), None)?;
        let board = StatusBoard::open(Arc::clone(&state), Steady::new(Clock::system()))?;
        let lab = Self { held, folder, state, board: Arc::new(board) };
        let role = json!({
            "description": "x", "topology": "one",
            "files": [{ "match": "**", "class": "config", "owner": "0:0", "mode": "0640" }]
        });
        let any = json!({ "type": "object", "additionalProperties": { "type": "object" } });
        lab.set(
            "platform.schema.json",
            &json!({ "type": "object", "properties": { "kind": {}, "settings": {}, "machines": any } }),
        )?;
        lab.set("user/role.json", &role)?;
        lab.set("verifier/role.json", &role)?;
        lab.secrets("overlap")?;
        lab.write("templates/lab/user/a.json.tera", USER)?;
        lab.write("templates/lab/verifier/a.json.tera", VERIFIER)?;
        lab.platform(&["u1", "u2"])?;
        Ok(lab)
    }

    fn secrets(&self, rotation: &str) -> anyhow::Result<()> {
        self.set(
            "secrets.json",
            &json!({
                "token": { "description": "x", "kind": "random", "rotation": rotation, "roles": ["user", "verifier"] },
                "part": { "description": "x", "kind": "derived", "from": "token", "label": "part", "roles": ["user", "verifier"] },
                "salt": { "description": "x", "kind": "hex", "neverRotate": "every password", "roles": ["user"] },
                "seed": { "description": "x", "kind": "hex", "immutableAfterFirstUse": true, "roles": ["user"] },
                "own": { "description": "x", "kind": "base64url", "scope": "machine", "roles": ["user"] },
                "tls": { "description": "x", "kind": "certificate", "names": ["{{ settings.domain }}"], "roles": ["user"] },
                "dh": { "description": "x", "kind": "dh", "roles": ["verifier"] },
                "mail": { "description": "x", "kind": "external", "roles": ["user"] },
            }),
        )
    }

    fn platform(&self, users: &[&str]) -> anyhow::Result<()> {
        let mut machines = json!({ "v1": { "role": "verifier" } });
        for user in users {
            machines[user] = json!({ "role": "user" });
        }
        let platform = json!({ "kind": "lab", "settings": { "domain": "lab.example" }, "machines": machines });
        self.write("platform.json", &platform.to_string())
    }

    fn set(&self, path: &str, content: &Value) -> anyhow::Result<()> {
        self.write(&format!("templates/lab/{path}"), &content.to_string())
    }

    fn write(&self, path: &str, content: &str) -> anyhow::Result<()> {
        let path = self.held.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        Ok(fs::write(path, content)?)
    }

    /// Publishes as another life of the leader would; what it serves then.
    fn publish(&self) -> anyhow::Result<Current> {
        let before = super::last_published(&self.folder).unwrap_or_default();
        let (keys, _) = KeyStore::open(self.folder.clone(), Clock::system());
        let (state, board) = (Arc::clone(&self.state), Arc::clone(&self.board));
        let time = Steady::new(Clock::system());
        let conductor = Conductor::open(self.folder.clone(), state, board, time, before.revision())?;
        let mut publisher = Publisher::new(self.folder.clone(), Arc::new(keys), Arc::clone(&self.board), conductor);
        let after = publisher.cycle(&before, None).unwrap_or(before);
        // The hint of its own write makes a running leader look once more.
        Ok(publisher.cycle(&after, None).unwrap_or(after))
    }

    fn problems(current: &Current) -> Vec<String> {
        let text = |problem: &Value, key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        let one = |problem: &Value| {
            format!("{}: {} => {}", text(problem, "file"), text(problem, "message"), text(problem, "help"))
        };
        current.problems.iter().map(one).collect()
    }

    /// The content of the machine's only file, as published.
    fn file(&self, machine: &str) -> anyhow::Result<Value> {
        let published = crate::publication::read(&self.folder)?.context("something is published")?;
        let bundle = &published.machines[&machine.parse()?];
        Ok(serde_json::from_slice(bundle.files[0].content.as_bytes())?)
    }

    fn run(&self, machine: &str, revision: RevisionId) -> anyhow::Result<()> {
        let report = Report::of(Verdict::Running { revision });
        self.board.take(&machine.parse()?, report);
        Ok(())
    }

    fn order(&self, order: SecretOrder) -> Result<Said, String> {
        let person = Actor::Person { uid: 0, sudo: None };
        secret::carry_out(&self.folder, order, &person).map_err(|failure| match failure {
            Failure::Failed(error) => Chain(error.as_ref()).to_string(),
            Failure::Invalid { problems, .. } => problems.into_iter().map(|problem| problem.message).collect(),
            Failure::Refused(_) | Failure::Stopped(_) => "refused".to_owned(),
        })
    }

    fn show(&self, id: &str) -> Result<String, String> {
        let id: SecretId = id.parse().map_err(|_| "no name")?;
        Ok(self.order(SecretOrder::Show(id))?.text.trim_end().to_owned())
    }

    fn bring(&self, id: &str, value: &str, confirm: Option<&str>) -> Result<String, String> {
        let id: SecretId = id.parse().map_err(|_| "no name")?;
        let values = vec![(id, Hidden::new(value.to_owned()))];
        Ok(self.order(SecretOrder::Set { values, confirm_loss: confirm.map(str::to_owned) })?.text)
    }

    fn rotate(&self, id: &str, confirm: Option<&str>) -> Result<String, String> {
        let id: SecretId = id.parse().map_err(|_| "no name")?;
        Ok(self.order(SecretOrder::Rotate { id, confirm_loss: confirm.map(str::to_owned) })?.text)
    }

    /// The files below `secrets/` with their bytes.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(self.folder.secrets())
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.file_name().into_string().ok()?, fs::read(entry.path()).ok()?))
            })
            .collect();
        files.sort_unstable();
        files
    }
}

#[test]
fn nothing_is_made_for_a_revision_that_does_not_come_and_nothing_is_made_twice() -> anyhow::Result<()> {
    let lab = Lab::new()?;
    lab.write("templates/lab/user/a.json.tera", "{{ secrets.tokn | json }}")?;
    let broken = lab.publish()?;
    assert!(broken.published.is_none() && !broken.problems.is_empty());
    assert!(lab.files().is_empty());

    lab.write("templates/lab/user/a.json.tera", USER)?;
    let first = lab.publish()?;
    assert!(first.problems.is_empty(), "{:?}", Lab::problems(&first));
    let made = lab.files();
    let names: Vec<&str> = made.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["own@u1", "own@u2", "salt", "seed", "tls", "token"]);
    for (name, bytes) in &made {
        let permissions = fs::metadata(lab.folder.secrets().join(name))?.permissions().mode() & 0o777;
        assert_eq!(permissions, 0o600, "{name}");
        assert!(!String::from_utf8_lossy(bytes).contains(&lab.show("token").map_err(anyhow::Error::msg)?));
    }
    let again = lab.publish()?;
    assert_eq!((again.revision(), lab.files()), (first.revision(), made.clone()));

    // A further machine has a value of its own; the others keep theirs.
    lab.platform(&["u1", "u2", "u3"])?;
    lab.publish()?;
    let after: Vec<_> = lab.files().into_iter().filter(|(name, _)| name != "own@u3").collect();
    assert_eq!(after, made);
    Ok(())
}

#[test]
fn values_that_a_crash_left_without_their_revision_are_the_values_of_the_next_one() -> anyhow::Result<()> {
    let lab = Lab::new()?;
    let inputs =
        Reader::default().read(&lab.folder, Purpose::Use).map_err(|_| anyhow::anyhow!("the inputs are good"))?;
    assert!(inputs.keep_secrets(&lab.folder, Some("1.1".parse()?))?);
    let (kept, token) = (lab.files(), lab.show("token").map_err(anyhow::Error::msg)?);
    lab.publish()?;
    assert_eq!(lab.files(), kept);
    assert_eq!(lab.file("u1")?["token"], token);
    Ok(())
}

#[test]
fn a_disk_that_takes_no_value_gets_no_revision_and_the_next_try_makes_what_is_missing() -> anyhow::Result<()> {
    let lab = Lab::new()?;
    // Nothing can be made below a file.
    lab.write("secrets", "")?;
    fs::set_permissions(lab.folder.secrets(), fs::Permissions::from_mode(0o600))?;
    let failed = lab.publish()?;
    assert!(failed.published.is_none() && !failed.problems.is_empty());
    fs::remove_file(lab.folder.secrets())?;
    let published = lab.publish()?;
    assert!(published.problems.is_empty(), "{:?}", Lab::problems(&published));
    assert_eq!(lab.file("u1")?["token"], lab.show("token").map_err(anyhow::Error::msg)?);
    Ok(())
}

#[test]
fn of_many_who_make_a_value_at_once_one_does() -> anyhow::Result<()> {
    let lab = Lab::new()?;
    let all: Vec<anyhow::Result<bool>> = std::thread::scope(|scope| {
        let one = || {
            let folder = Folder::open(lab.held.path(), None)?;
            let inputs =
                Reader::default().read(&folder, Purpose::Use).map_err(|_| anyhow::anyhow!("the inputs are good"))?;
            inputs.keep_secrets(&folder, None)
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked"))))
            .collect()
    });
    for one in all {
        one?;
    }
    let names: Vec<String> = lab.files().into_iter().map(|(name, _)| name).collect();
    let values = || names.iter().map(|name| lab.show(name)).collect::<Vec<_>>();
    let kept = values();
    lab.publish()?;
    assert_eq!((names.len(), values()), (6, kept));
    Ok(())
}

#[test]
fn a_value_that_cannot_be_read_is_never_made_again() -> anyhow::Result<()> {
    let lab = Lab::new()?;
    let good = lab.publish()?;
    let path = lab.folder.secrets().join("token");
    let envelope = fs::read(&path)?;
    let said = |damage: &dyn Fn() -> std::io::Result<()>| -> anyhow::Result<String> {
        damage()?;
        let after = lab.publish()?;
        assert_eq!(after.revision(), good.revision());
        Ok(Lab::problems(&after).join("\n"))
    };
    let mode = |mode: u32| fs::set_permissions(&path, fs::Permissions::from_mode(mode));
    let heard = [
        said(&|| fs::write(&path, "hunter2"))?,
        said(&|| fs::copy(lab.folder.secrets().join("salt"), &path).map(drop))?,
        said(&|| fs::write(&path, &envelope).and_then(|()| mode(0o640)))?,
        said(&|| {
            mode(0o600).and_then(|()| fs::set_permissions(lab.folder.secrets(), fs::Permissions::from_mode(0o750)))
        })?,
    ];
    assert_eq!(
        heard,
        [
            "secrets/token: is no envelope: a value is never kept in clear => move the file away, then \
             `config-leader secret set token --from-file FILE`",
            "secrets/token: it does not open: it was changed, or is in another's place; restore it from a backup => \
             restore the file from a backup; it is never made anew while it is there",
            "secrets/token: has mode 0640: others on this machine can read it => run `chmod 600 secrets/token`",
            "secrets: has mode 0750: others on this machine can look into it => run `chmod 700 secrets`",
        ]
    );
    fs::set_permissions(lab.folder.secrets(), fs::Permissions::from_mode(0o700))?;
    let back = lab.publish()?;
    assert!(back.problems.is_empty());
    assert_eq!(back.revision(), good.revision());
    Ok(())
}

#[test]
fn a_rotation_waits_in_each_phase_for_every_reader_and_survives_a_restart_in_each() -> anyhow::Result<()> {
    let lab = Lab::new()?;
    let fleet = ["u1", "u2", "v1"];
    // Every call is another life of the leader.
    let serve = || lab.publish()?.revision().context("a revision is served");
    let see = || -> anyhow::Result<(Value, Value)> {
        Ok((lab.file("u1")?["token"].clone(), lab.file("v1")?["accepted"].clone()))
    };
    let first = serve()?;
    let (old, accepted) = see()?;
    assert_eq!(accepted, json!([old]));
    for machine in fleet {
        lab.run(machine, first)?;
    }

    assert!(lab.rotate("token", None).is_ok_and(|said| said.contains("is being rotated")));
    let announced = serve()?;
    let (used, accepted) = see()?;
    assert_eq!(used, old);
    let new = accepted[1].clone();
    assert_eq!((accepted[0].clone(), new == old), (old.clone(), false));
    assert!(lab.rotate("token", None).is_err_and(|said| said.contains("one at a time")));
    assert!(lab.bring("token", "another", None).is_err_and(|said| said.contains("one at a time")));

    // One reader after the other reports; while one is missing nothing moves.
    for machine in &fleet[..2] {
        lab.run(machine, announced)?;
        assert_eq!(serve()?, announced);
    }
    let waiting = lab.order(SecretOrder::List).map_err(anyhow::Error::msg)?;
    let token = waiting.json["secrets"].as_array().and_then(|all| all.iter().find(|one| one["secret"] == "token"));
    let rotation = &token.context("the token is listed")?["rotation"];
    assert_eq!((&rotation["phase"], &rotation["gate"]), (&json!("announce"), &json!(announced)));
    lab.run(fleet[2], announced)?;
    let switched = serve()?;
    assert_eq!(see()?, (new.clone(), json!([new, old])));
    for machine in fleet {
        assert_eq!(serve()?, switched);
        lab.run(machine, switched)?;
    }
    let retired = serve()?;
    assert_eq!(see()?, (new.clone(), json!([new])));
    assert!(first < announced && announced < switched && switched < retired);
    // What is derived went the same way.
    assert_eq!(lab.file("v1")?["parts"], json!([lab.file("u1")?["part"]]));
    assert_eq!(lab.show("token"), Ok(new.as_str().unwrap_or_default().to_owned()));
    for machine in fleet {
        lab.run(machine, retired)?;
    }
    assert_eq!(serve()?, retired);
    Ok(())
}

#[test]
fn a_machine_that_went_back_or_never_came_holds_the_rotation_and_one_that_left_does_not() -> anyhow::Result<()> {
    let lab = Lab::new()?;
    let first = lab.publish()?.revision().context("a revision is served")?;
    for machine in ["u1", "u2", "v1"] {
        lab.run(machine, first)?;
    }
    assert!(lab.rotate("token", None).is_ok());
    let announced = lab.publish()?.revision().context("a revision is served")?;
    lab.run("u1", announced)?;
    lab.run("v1", announced)?;
    let back = Verdict::RolledBack { revision: announced, running: first, reason: "x".to_owned() };
    let report = Report::of(back);
    lab.board.take(&"u2".parse()?, report);
    assert_eq!(lab.publish()?.revision(), Some(announced));
    lab.platform(&["u1"])?;
    // Its removal is a revision of its own; the phase goes on because everybody left is at it.
    lab.publish()?;
    let accepted = lab.file("v1")?["accepted"].clone();
    assert_eq!(accepted[0], lab.file("u1")?["token"]);
    let state = lab.order(SecretOrder::List).map_err(anyhow::Error::msg)?.text;
    assert!(state.contains("2 of 3"), "{state}");
    Ok(())
}

#[test]
fn what_is_in_use_is_changed_only_as_its_plan_says() -> anyhow::Result<()> {
    let lab = Lab::new()?;
    let hex = "0123456789abcdef".repeat(4);
    // Before the first use anything may be brought; nothing has seen it.
    assert_eq!(lab.bring("seed", &hex, None).as_deref(), Ok("secret seed  set\n"));
    assert_eq!(lab.bring("seed", &hex, None).as_deref(), Ok("secret seed  is that value already\n"));
    assert_eq!(lab.bring("salt", &hex, None).as_deref(), Ok("secret salt  set\n"));
    assert_eq!(lab.bring("mail", "hunter2\n", None).as_deref(), Ok("secret mail  set\n"));
    lab.publish()?;
    assert_eq!((lab.show("seed"), lab.show("mail")), (Ok(hex.clone()), Ok("hunter2".to_owned())));

    let other = "f".repeat(64);
    let refused = [
        lab.bring("seed", &other, None),
        lab.rotate("seed", None),
        lab.bring("salt", &other, None),
        lab.rotate("salt", None),
        lab.rotate("salt", Some("some passwords")),
        lab.rotate("mail", None),
        lab.rotate("part", None),
        lab.rotate("dh", None),
        lab.rotate("own", None),
        lab.rotate("own@v1", None),
        lab.bring("mail", " ", None),
        lab.bring("nothing", "x", None),
    ]
    .map(|said| said.err().unwrap_or_else(|| "done".to_owned()));
    assert_eq!(
        refused,
        [
            "`seed` stays as it is: it is in use since revision 1.1, and is never changed then",
            "`seed` stays as it is: it is in use since revision 1.1, and is never changed then",
            "with the value of `salt` is lost: every password\nnothing was changed; if that is meant: \
             config-leader secret set salt … --confirm-loss \"every password\"",
            "with the value of `salt` is lost: every password\nnothing was changed; if that is meant: \
             config-leader secret rotate salt --confirm-loss \"every password\"",
            "with the value of `salt` is lost: every password\nnothing was changed; if that is meant: \
             config-leader secret rotate salt --confirm-loss \"every password\"",
            "`mail` is not rotated: bring the new value: `config-leader secret set mail --from-file FILE`",
            "`part` is not rotated: it follows `token`: rotate that one",
            "`dh` is not rotated: the parameters are those of RFC 7919",
            "there is no value `own`: they are called `own@MACHINE`, one for each machine",
            "`own@v1` has no value yet: there is nothing to rotate",
            "the value for `mail` is refused: it is empty",
            "the template set has no secret `nothing`; it has: dh, mail, own, part, salt, seed, tls, token",
        ]
    );
    assert!(lab.rotate("salt", Some("every password")).is_ok_and(|said| said.contains("Lost with the old value")));
    assert!(lab.show("salt").is_ok_and(|value| value != hex));

    // One that may overlap is rotated to what is brought.
    assert!(lab.bring("token", "brought", None).is_ok_and(|said| said.contains("is being rotated")));
    lab.publish()?;
    assert_eq!(lab.file("v1")?["accepted"][1], "brought");
    Ok(())
}

#[test]
fn a_certificate_of_our_own_follows_its_names_and_a_brought_one_stays() -> anyhow::Result<()> {
    let lab = Lab::new()?;
    lab.write("templates/lab/user/a.json.tera", "{\"certificate\": {{ secrets.tls.certificate | json }}}\n")?;
    lab.publish()?;
    let (first, bundle) = (lab.file("u1")?, lab.show("tls").map_err(anyhow::Error::msg)?);
    let text = fs::read_to_string(lab.folder.platform())?;
    lab.write("platform.json", &text.replace("lab.example", "new.example"))?;
    lab.publish()?;
    assert_ne!(lab.file("u1")?, first);
    assert!(lab.bring("tls", &bundle, None).is_ok_and(|said| said.contains("in place of another")));
    lab.publish()?;
    lab.write("platform.json", &text.replace("lab.example", "third.example"))?;
    lab.publish()?;
    assert_eq!(lab.file("u1")?, first);
    assert!(lab.rotate("tls", None).is_err_and(|said| said.contains("was brought")));
    let said = crate::commands::check(&lab.folder).map_err(|_| anyhow::anyhow!("the inputs are good"))?;
    assert!(said.text.contains("warning: secret tls: the certificate is not for `third.example`"), "{}", said.text);
    Ok(())
}

#[test]
fn a_machine_gets_no_secret_that_its_files_do_not_hold() -> anyhow::Result<()> {
    let held = tempfile::tempdir()?;
    fs::set_permissions(held.path(), fs::Permissions::from_mode(0o700))?;
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates");
    for example in [None, Some("singlenode")] {
        let dir = held.path().join(example.unwrap_or("cluster"));
        let folder = Folder::open(&dir, Some(&templates))?;
        crate::commands::init(&folder, "pryv", example).map_err(|_| anyhow::anyhow!("it can be initialised"))?;
        let inputs =
            Reader::default().read(&folder, Purpose::Look).map_err(|_| anyhow::anyhow!("the inputs are good"))?;
        let rendered = inputs.evaluate().map_err(|_| anyhow::anyhow!("everything renders"))?;
        for (machine, files) in &rendered {
            let texts: Vec<_> = files.files.iter().map(|file| String::from_utf8_lossy(&file.bytes)).collect();
            for wanted in &inputs.looked.wanted {
                let Some(secret) = inputs.secrets.get(&wanted.id) else { continue };
                let shown = secret.used.confidential().lines().filter(|line| !line.starts_with("-----"));
                let is_there = shown.into_iter().any(|line| texts.iter().any(|text| text.contains(line)));
                assert!(wanted.readers.contains(machine) || !is_there, "{machine} has {}", wanted.id);
                assert_eq!(files.secrets.contains(&secret.used), is_there, "{machine} masks {}", wanted.id);
            }
        }
    }
    Ok(())
}
