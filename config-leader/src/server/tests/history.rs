//! Promises about the history of a leader that runs.

use std::fs;

use super::*;
use crate::cli::{AuditCommand, HistoryCommand};
use crate::history::{self, Since, last_change};
use crate::orders::Actor;

/// A text of platform.json with a comment and a greeting.
fn platform(greeting: &str) -> String {
    format!(
        "{{\n  // said in {greeting}\n  \"kind\": \"little\",\n  \"settings\": {{ \"greeting\": \"{greeting}\", \"kept\": 1, }},\n  \
         \"machines\": {{ \"m\": {{ \"role\": \"app\" }} }}\n}}\n"
    )
}

/// A leader whose machine is greeted.
async fn world() -> Result<World> {
    let world = World::of(&["m"], &json!({}))?;
    fs::write(world.held.path().join("templates/little/app/greeting.json.tera"), "{{ settings.greeting | json }}\n")?;
    world.save(&platform("one"), "").await?;
    Ok(world)
}

impl World {
    /// Saves platform.json as editors do, and waits until a revision besides `not` is in the history.
    async fn save(&self, text: &str, not: &str) -> Result<String> {
        let draft = self.held.path().join(".draft");
        fs::write(&draft, text)?;
        fs::rename(&draft, self.folder.platform())?;
        self.written_down(text, not).await
    }

    /// Waits until the newest revision of the history is made of that text.
    async fn written_down(&self, text: &str, not: &str) -> Result<String> {
        for _ in 0..2000 {
            if let Some(history) = history::open(&self.folder)?
                && let Some(newest) = history.newest()?
                && newest.id.to_string() != not
                && history.platform(&newest)? == text
            {
                return Ok(newest.id.to_string());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("it is never written down: {}", self.said(Order::Status).await?)
    }

    async fn history(&self, command: HistoryCommand) -> Result<Said, String> {
        self.order(Order::History(command)).await.map_err(|failure| failure.into_refusal().json["error"].to_string())
    }

    async fn rollback(&self, revision: &str, discard_edits: bool) -> Result<Said, String> {
        let revision = revision.parse().expect("a name");
        let message = Some("because".to_owned());
        self.history(HistoryCommand::Rollback { revision, message, discard_edits, accept: false }).await
    }

    async fn list(&self) -> Vec<String> {
        let said = self.history(HistoryCommand::List { last: 20 }).await.expect("there is a history");
        let revisions = said.json["revisions"].as_array().expect("a list").clone();
        revisions.iter().map(|one| format!("{}: {}", one["revision"], one["why"]).replace('"', "")).collect()
    }

    /// The database when nobody uses it: the last one who did has taken the log beside it away.
    async fn settled_database(&self) -> Result<Vec<u8>> {
        let database = history::path(&self.folder);
        while database.with_extension("db-wal").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(fs::read(database)?)
    }

    async fn eventually(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        for _ in 0..2000 {
            let status = self.said(Order::Status).await?;
            if is_so(&status) {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("{what}: {}", self.said(Order::Status).await?)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_puts_the_file_back_byte_for_byte_and_says_who_and_why() -> Result<()> {
    let world = world().await?;
    let one = world.written_down(&platform("one"), "").await?;
    let two = world.save(&platform("two"), &one).await?;
    let said = world.rollback(&one, false).await.map_err(anyhow::Error::msg)?;
    assert_eq!(fs::read_to_string(world.folder.platform())?, platform("one"));
    let three = said.json["revision"].as_str().context("it is published")?.to_owned();
    assert_eq!(said.json["machines"], json!({ "m": ["greeting.json"] }));
    assert_eq!((&said.json["unlike"], &said.json["templates"]), (&json!({}), &json!([])));
    assert_eq!(world.written_down(&platform("one"), &one).await?, three);
    assert_ne!(three, two);

    let newest = world.list().await.swap_remove(0);
    assert_eq!(newest, format!("{three}: rollback to {one}: because"));
    let audit = world.said(Order::Audit(AuditCommand::Show { last: None })).await?;
    let entries = audit["entries"].as_array().context("entries")?;
    assert!(entries.iter().any(|entry| entry["what"] == "rollback" && entry["object"] == one.as_str()));

    let again = world.rollback(&one, false).await.map_err(anyhow::Error::msg)?;
    assert_eq!(again.json["publishes"], false);

    let diff = HistoryCommand::Diff { from: two.parse()?, to: None, machine: None, stat: false };
    let diff = world.history(diff).await.map_err(anyhow::Error::msg)?.text;
    assert!(diff.contains("~ greeting.json") && diff.contains("-\"two\"") && diff.contains("+\"one\""), "{diff}");
    let show = world.history(HistoryCommand::Show { revision: "-1".parse()? }).await.map_err(anyhow::Error::msg)?;
    assert_eq!(
        (show.json["revision"].as_str(), show.json["platform"].as_str()),
        (Some(&*two), Some(&*platform("two")))
    );
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_that_were_never_published_are_not_lost_unasked() -> Result<()> {
    let world = world().await?;
    let one = world.written_down(&platform("one"), "").await?;
    world.save(&platform("two"), &one).await?;
    // A broken edit: this is when people roll back.
    fs::write(world.folder.platform(), "{ \"kind\": \"little\", \"settings\": {{ }")?;
    world.eventually("the problem is told", |status| status["problems"] != json!([])).await?;
    let refused = world.rollback(&one, false).await.err().context("it is refused")?;
    assert!(refused.contains("--discard-edits"), "{refused}");
    let said = world.rollback(&one, true).await.map_err(anyhow::Error::msg)?;
    assert!(said.json["revision"].is_string(), "{}", said.text);
    assert_eq!(fs::read_to_string(world.folder.platform())?, platform("one"));
    world.eventually("all is well", |status| status["problems"] == json!([])).await?;
    let unknown = world.rollback("99", false).await.err().context("it is refused")?;
    assert!(unknown.contains("revision 99 is not in the history"), "{unknown}");
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_and_secrets_are_not_rolled_back_and_that_is_told() -> Result<()> {
    let world = world().await?;
    let one = world.written_down(&platform("one"), "").await?;
    let two = world.save(&platform("two"), &one).await?;
    fs::write(world.held.path().join("templates/little/app/greeting.json.tera"), "[{{ settings.greeting | json }}]\n")?;
    world.written_down(&platform("two"), &two).await?;
    let said = world.rollback(&one, false).await.map_err(anyhow::Error::msg)?;
    assert_eq!(said.json["templates"], json!(["templates/little/app/greeting.json.tera"]));
    assert_eq!(said.json["unlike"], json!({ "m": ["greeting.json"] }));
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_a_crash_kept_from_the_history_is_in_it_after_the_next_start() -> Result<()> {
    let world = world().await?;
    let one = world.written_down(&platform("one"), "").await?;
    // As if the leader had died right after it had published: the history never heard of it.
    let before = world.settled_database().await?;
    let database = history::path(&world.folder);
    world.save(&platform("two"), &one).await?;
    let said = world.rollback(&one, false).await.map_err(anyhow::Error::msg)?;
    let three = said.json["revision"].as_str().context("it is published")?.to_owned();
    world.written_down(&platform("one"), &one).await?;
    let folder = world.folder.clone();
    let (hands, held) = (world.hands.clone(), world.held.path().to_owned());
    let address = world.address;
    world.trigger.pull();
    world.running.await??;
    fs::write(&database, before)?;
    // The file was edited meanwhile: what the revision was made of is not what is there now.
    fs::write(held.join("platform.json"), "no JSON at all")?;

    let (trigger, shutdown) = Shutdown::by_hand();
    let running = run(&hands, &folder, TcpListener::bind(address)?, shutdown);
    let mut seen = None;
    for _ in 0..2000 {
        let newest = history::open(&folder)?.context("a history")?.newest()?.context("a revision")?;
        if newest.id.to_string() == three {
            seen = Some(newest.reason);
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(seen, Some(format!("rollback to {one}: because")));
    trigger.pull();
    running.await??;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_history_stops_nobody_and_is_told() -> Result<()> {
    let world = world().await?;
    let one = world.written_down(&platform("one"), "").await?;
    let good = world.settled_database().await?;
    let database = history::path(&world.folder);
    fs::write(&database, "this is no database and never was one, whatever it is called")?;
    let draft = world.held.path().join(".draft");
    fs::write(&draft, platform("two"))?;
    fs::rename(&draft, world.folder.platform())?;
    let is_told = |status: &Value| status["problems"][0]["code"] == "history" && status["revision"] != one.as_str();
    let status = world.eventually("it is published, and the history is a problem", is_told).await?;
    let message = status["problems"][0]["message"].as_str().context("a message")?;
    assert!(message.contains("is damaged") && message.contains("put a backup in its place"), "{message}");

    // The backup is put back, and the next look completes it.
    fs::write(&database, good)?;
    fs::write(world.held.path().join("touched"), "")?;
    world.written_down(&platform("two"), &one).await?;
    world.eventually("all is well", |status| status["problems"] == json!([])).await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn where_publishing_is_by_hand_a_rollback_is_the_word_and_a_message_is_the_reason() -> Result<()> {
    let world = world().await?;
    let by_hand = |greeting: &str| platform(greeting).replacen('{', "{ \"rollout\": { \"publish\": \"manual\" },", 1);
    let mut revisions = Vec::new();
    for greeting in ["a", "b"] {
        fs::write(world.folder.platform(), by_hand(greeting))?;
        let message = Some(format!("because of {greeting}"));
        world.said(Order::Apply(crate::server::Apply { message, ..Default::default() })).await?;
        revisions.push(world.written_down(&by_hand(greeting), "").await?);
    }
    let said = world.rollback(&revisions[0], false).await.map_err(anyhow::Error::msg)?;
    let back = said.json["revision"].as_str().context("it is published")?.to_owned();
    world.written_down(&by_hand("a"), &revisions[0]).await?;
    let told = world.list().await;
    let [a, b] = &revisions[..] else { anyhow::bail!("two revisions: {told:?}") };
    let wanted =
        [format!("{back}: rollback to {a}: because"), format!("{b}: because of b"), format!("{a}: because of a")];
    assert_eq!(told[..3], wanted);
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_edit_it_was_is_known_however_long_it_waited_to_be_published() -> Result<()> {
    let world = world().await?;
    let text = platform("a").replacen('{', "{ \"rollout\": { \"publish\": \"manual\" },", 1);
    fs::write(world.folder.platform(), &text)?;
    world.said(Order::Apply(crate::server::Apply::default())).await?;
    let one = world.written_down(&text, "").await?;
    let greeted = text.replace("\"a\"", "\"b\"");
    history::announce(&world.folder, &greeted, &Actor::here(), "greeted otherwise".to_owned())?;
    fs::write(world.folder.platform(), &greeted)?;
    world.eventually("it waits to be published", |status| !status["draft"].is_null()).await?;
    world.said(Order::Apply(crate::server::Apply::default())).await?;
    let two = world.written_down(&greeted, &one).await?;
    assert_eq!(world.list().await[0], format!("{two}: greeted otherwise"));
    world.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_revision_of_a_value_is_the_one_in_which_it_changed() -> Result<()> {
    let world = world().await?;
    let one = world.written_down(&platform("one"), "").await?;
    let two = world.save(&platform("two"), &one).await?;
    let since = |pointer: &str| last_change(&world.folder, &fs::read_to_string(world.folder.platform())?, pointer);
    let Some(Since::Revision(changed)) = since("/settings/greeting")? else { anyhow::bail!("it changed") };
    assert_eq!((changed.revision.to_string(), changed.reason.as_str()), (two.clone(), "saved platform.json"));
    let edited = last_change(&world.folder, &platform("three"), "/settings/greeting")?;
    assert_eq!(edited, Some(Since::Unpublished));
    world.machine(MachineCommand::Identity { name: "m".parse()?, out: "unused".into() }).await?;
    let add = MachineCommand::Add {
        name: "n".parse()?,
        role: "app".parse()?,
        approve: false,
        ttl: "1h".parse()?,
        url: None,
        fields: Vec::new(),
    };
    world.machine(add).await?;
    world.written_down(&fs::read_to_string(world.folder.platform())?, &two).await?;
    let Some(Since::Revision(added)) = since("/machines/n")? else { anyhow::bail!("it was added") };
    assert_eq!(added.reason, "machine n added");
    assert!(added.actor.starts_with("uid "), "{}", added.actor);
    world.end().await
}
