//! Enrolment: single use, bound, approved where that is wanted, and proof against a failing disk.

use std::collections::BTreeSet;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_string_is_good_for_one_machine_and_whoever_comes_second_is_an_alarm() -> Result<()> {
    let world = World::of(&["a"], &json!({}))?;
    let string = world.invite("a", false).await?;
    assert_eq!((string.key_id().to_string().as_str(), string.pin), ("a.1", None));
    let first = opened(&string, 1, &world.join(&string, 1).await?)?;
    let again = opened(&string, 1, &world.join(&string, 1).await?)?;
    assert_eq!((first.version, &again), (2, &first), "the same guest gets the same key");

    let second = world.join(&string, 2).await?;
    assert_eq!((second.status.as_u16(), code(&second)), (401, Some(Code::EnrolmentSpent)));
    world.join(&string, 3).await?;
    let status = world.status().await?;
    let alarm = &status["machines"]["a"]["alarm"];
    assert_eq!((&alarm["key"], &alarm["from"]), (&json!(1), &json!("127.0.0.1")), "{status:#}");

    let keys = derived("a", first.version, &first.key)?;
    assert_eq!(
        world.refused(&Arc::new(string.keys())).await?,
        Some(Code::RoleForbidden),
        "it enrols, and nothing else"
    );
    world.bundle(&keys).await?;
    let live = JoinString { version: first.version, token: first.key.clone(), ..string.clone() };
    assert_eq!(code(&world.join(&live, 1).await?), Some(Code::RoleForbidden), "a live key does not enrol");
    assert_eq!(code(&world.join(&string, 1).await?), Some(Code::EnrolmentSpent), "the key that it gave was used");
    let deeds = world.deeds()?;
    let is_of_keys = |deed: &&str| !deed.starts_with("publish") && !deed.starts_with("secret.make");
    let deeds: Vec<&str> = deeds.iter().map(String::as_str).filter(is_of_keys).collect();
    assert_eq!(deeds, ["machine.add a", "machine.enrol a.1 from 127.0.0.1", "machine.enrol-again a.1"]);
    world.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_string_that_ended_or_was_replaced_is_a_strangers() -> Result<()> {
    let world = World::of(&["a"], &json!({}))?;
    let replaced = world.invite("a", false).await?;
    let string = world.invite("a", false).await?;
    assert!(matches!(world.join(&replaced, 1).await, Err(CallError::Stranger { .. })));
    world.hands.ahead(3540);
    opened(&string, 1, &world.join(&string, 1).await?)?;
    world.hands.ahead(60);
    assert!(matches!(world.join(&string, 1).await, Err(CallError::Stranger { .. })));
    let unknown = JoinString { version: 77, ..string };
    assert!(matches!(world.join(&unknown, 1).await, Err(CallError::Stranger { .. })));
    world.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_needs_approval_waits_for_it() -> Result<()> {
    let world = World::of(&["a"], &json!({}))?;
    let string = world.invite("a", true).await?;
    let approve = || world.order(Order::Machine(MachineCommand::Approve { name: "a".parse().unwrap() }));
    assert!(approve().await.is_err(), "nobody waits yet");
    let answer = world.join(&string, 1).await?;
    assert_eq!((answer.status.as_u16(), code(&answer)), (403, Some(Code::ApprovalPending)));
    assert_eq!(answer.header(http::header::RETRY_AFTER), Some("5"));
    assert_eq!(code(&world.join(&string, 2).await?), Some(Code::EnrolmentSpent));
    let said = approve().await.map_err(|failure| anyhow::anyhow!("{failure:?}"))?;
    assert_eq!(said.json["askedFrom"], json!("127.0.0.1"));
    world.bundle(&world.enrol(&string, 1).await?).await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_enrols_anew_ends_the_keys_from_before() -> Result<()> {
    let world = World::of(&["a"], &json!({}))?;
    let before = world.identity("a").await?;
    world.bundle(&before).await?;
    let keys = world.enrol(&world.invite("a", false).await?, 1).await?;
    world.bundle(&before).await?;
    world.bundle(&keys).await?;
    assert_eq!(world.refused(&before).await?, Some(Code::KeyRevoked));
    world.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_starts_again_knows_its_guests_and_its_keys() -> Result<()> {
    let world = World::of(&["a"], &json!({}))?;
    let string = world.invite("a", false).await?;
    let first = opened(&string, 1, &world.join(&string, 1).await?)?;
    let world = world.restart().await?;
    assert_eq!(opened(&string, 1, &world.join(&string, 1).await?)?, first);
    assert_eq!(code(&world.join(&string, 2).await?), Some(Code::EnrolmentSpent));
    let keys = derived("a", first.version, &first.key)?;
    world.bundle(&keys).await?;
    world.machine(MachineCommand::RotateKey { name: None, all: true }).await?;
    let world = world.restart().await?;
    let (bundle, _) = world.bundle(&keys).await?;
    let next = bundle.control.as_ref().and_then(|control| control.next_key.clone()).context("a key is announced")?;
    let next = derived("a", next.version, &next.key)?;
    world.bundle(&next).await?;
    let world = world.restart().await?;
    world.bundle(&keys).await?;
    world.bundle(&next).await?;
    world.hands.ahead(24 * 3600);
    let world = world.restart().await?;
    assert!(matches!(world.ask(&keys, "app", None).await, Err(CallError::Stranger { .. })));
    world.bundle(&next).await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_followers_enrol_at_once_while_the_disk_fails_and_each_has_one_key_of_its_own() -> Result<()> {
    let names: Vec<String> = (0..50).map(|number| format!("m{number}")).collect();
    let world = Arc::new(World::of(&names.iter().map(String::as_str).collect::<Vec<_>>(), &json!({}))?);
    let mut strings = Vec::new();
    for name in &names {
        strings.push(world.invite(name, false).await?);
    }
    let (away, keys) = (world.held.path().join("keys.away"), world.folder.keys());
    let fail = |fails: bool| -> Result<()> {
        if fails {
            std::fs::rename(&keys, &away)?;
            return Ok(std::fs::write(&keys, "no folder")?);
        }
        std::fs::remove_file(&keys)?;
        Ok(std::fs::rename(&away, &keys)?)
    };
    let mut enrolling = Vec::new();
    for (guest, string) in (0u8..).zip(strings) {
        let world = Arc::clone(&world);
        enrolling.push(tokio::spawn(async move {
            let mut failures = 0;
            loop {
                let answer = world.join(&string, guest).await?;
                match code(&answer) {
                    None => {
                        let enrolled = opened(&string, guest, &answer)?;
                        let keys = derived(string.machine.as_str(), enrolled.version, &enrolled.key)?;
                        return anyhow::Ok((enrolled.key.to_text(), keys, failures));
                    }
                    Some(Code::Internal) => failures += 1,
                    other => anyhow::bail!("{}: {other:?}", string.machine),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }));
    }
    for fails in [true, false, true, false] {
        tokio::time::sleep(Duration::from_millis(60)).await;
        fail(fails)?;
    }
    let (mut different, mut shared, mut failures) = (BTreeSet::new(), BTreeSet::new(), 0);
    for one in enrolling {
        let (text, keys, failed) = one.await??;
        different.insert(text.to_string());
        failures += failed;
        let (bundle, _) = world.bundle(&keys).await?;
        shared.insert(String::from_utf8(bundle.files[0].content.as_bytes().to_vec())?);
    }
    assert_eq!((different.len(), shared.len()), (50, 1), "a key each, and one value of the secret");
    assert!(failures > 0, "the disk failed for nobody");
    let world = Arc::into_inner(world).context("nobody else is in this world")?;
    world.end().await
}
