//! The life of a key: replaced while both are good, and ended.

use super::*;
use crate::keys::KeyStore;

fn next(bundle: &VerifiedBundle) -> Result<Arc<Keys>> {
    let next = bundle.control.as_ref().and_then(|control| control.next_key.as_ref()).context("a key is announced")?;
    derived(bundle.machine.as_str(), next.version, &next.key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_key_reaches_a_quiet_machine_and_the_one_before_lives_on_for_a_day() -> Result<()> {
    let world = World::of(&["a"], &json!({}))?;
    let old = world.identity("a").await?;
    let (bundle, tag) = world.bundle(&old).await?;
    assert_eq!(bundle.control, None);
    assert_eq!(world.ask(&old, "app", Some(&tag)).await?.status, 304);

    let rotate = || world.machine(MachineCommand::RotateKey { name: Some("a".parse().unwrap()), all: false });
    assert_eq!(rotate().await?["announced"], json!([{ "machine": "a", "version": 2 }]));
    assert_eq!(rotate().await?["announced"], json!([{ "machine": "a", "version": 2 }]));
    assert_eq!(world.ask(&old, "app", Some(&tag)).await?.status, 200, "nothing else is new, and it has to hear of it");
    let (bundle, _) = world.bundle(&old).await?;
    let new = next(&bundle)?;
    world.bundle(&old).await?;

    let (bundle, _) = world.bundle(&new).await?;
    assert_eq!(bundle.control, None, "it has been heard");
    world.bundle(&old).await?;
    world.hands.ahead(24 * 3600 - 60);
    world.bundle(&old).await?;
    world.hands.ahead(60);
    assert!(matches!(world.ask(&old, "app", None).await, Err(CallError::Stranger { .. })));
    world.bundle(&new).await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_ends_no_key_that_is_in_use_and_makes_none_last_longer() -> Result<()> {
    let world = World::of(&["a"], &json!({}))?;
    let old = world.identity("a").await?;
    world.machine(MachineCommand::RotateKey { name: None, all: true }).await?;
    let new = next(&world.bundle(&old).await?.0)?;
    let year = 365 * 24 * 3600;
    world.hands.ahead(year);
    world.bundle(&new).await?;
    world.bundle(&old).await?;
    world.hands.ahead(-year);
    assert!(matches!(world.ask(&old, "app", None).await, Err(CallError::Stranger { .. })));
    world.bundle(&new).await?;
    world.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_machine_is_told_so_with_every_key_that_it_had_and_enrols_anew() -> Result<()> {
    let world = World::of(&["a", "b"], &json!({}))?;
    let old = world.identity("a").await?;
    world.machine(MachineCommand::RotateKey { name: None, all: true }).await?;
    let new = next(&world.bundle(&old).await?.0)?;
    world.bundle(&new).await?;
    assert_eq!(world.machine(MachineCommand::Revoke { name: "a".parse()? }).await?["revoked"], json!(2));
    for keys in [&old, &new] {
        assert_eq!(world.refused(keys).await?, Some(Code::KeyRevoked));
    }
    assert_eq!(world.status().await?["machines"]["a"]["key"], Value::Null);
    let anew = world.enrol(&world.invite("a", false).await?, 1).await?;
    world.bundle(&anew).await?;
    assert_eq!(anew.id().to_string(), "a.4", "no version is given out twice");
    world.machine(MachineCommand::Remove { name: "a".parse()? }).await?;
    assert_eq!(world.refused(&anew).await?, Some(Code::KeyRevoked));
    world.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_gets_the_files_of_its_own_role_only() -> Result<()> {
    let world = World::of(&["a", "b"], &json!({}))?;
    let (a, b) = (world.identity("a").await?, world.identity("b").await?);
    let answer = world.ask(&a, "web", None).await?;
    assert_eq!((answer.status.as_u16(), code(&answer)), (403, Some(Code::RoleForbidden)));
    let answer = world.ask(&a, "app", None).await?;
    let revision = answer.header(routes::CONF_REVISION).context("a revision")?.parse()?;
    assert!(open_bundle(&b, &"app".parse()?, revision, &answer.body).is_err(), "what is sealed for a opens for a");
    world.end().await
}

/// The next request that arrives there; it gets no answer.
async fn heard(listener: &tokio::net::TcpListener) -> Result<String> {
    let (mut stream, _) = tokio::time::timeout(SECONDS, listener.accept()).await.context("nothing was told")??;
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        ensure!(stream.read_buf(&mut request).await? > 0, "the request broke off");
    }
    Ok(String::from_utf8(request)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_machine_is_told_to_look_for_its_key_and_a_revoked_one_is_told_nothing() -> Result<()> {
    let world = World::of(&["a"], &json!({}))?;
    let keys = world.identity("a").await?;
    let follower = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let machines = json!({ "a": { "role": "app", "url": format!("http://{}", follower.local_addr()?) } });
    let platform = json!({ "kind": "little", "settings": {}, "machines": machines });
    std::fs::write(world.folder.platform(), platform.to_string())?;
    let first = heard(&follower).await?;
    assert!(first.starts_with("POST /notify ") && first.contains("keyid=\"a.1\""), "{first}");
    world.machine(MachineCommand::RotateKey { name: None, all: true }).await?;
    let second = heard(&follower).await?;
    assert!(second.contains("keyid=\"a.1\""), "the word comes with the key that it has: {second}");
    world.bundle(&next(&world.bundle(&keys).await?.0)?).await?;

    world.machine(MachineCommand::Revoke { name: "a".parse()? }).await?;
    let before = world.status().await?["revision"].clone();
    std::fs::write(world.folder.templates().join("little/app/app.json.tera"), "{}\n")?;
    while world.status().await?["revision"] == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let told = tokio::time::timeout(Duration::from_millis(200), follower.accept()).await;
    assert!(told.is_err(), "it was told of a revision");
    world.end().await
}

#[test]
fn a_key_that_is_old_enough_gets_a_successor_by_itself() -> Result<()> {
    let held = tempfile::tempdir()?;
    std::fs::set_permissions(held.path(), std::fs::Permissions::from_mode(0o700))?;
    let (folder, hands, name) = (Folder::open(held.path(), None)?, Hands::default(), "a".parse()?);
    let clock = hands.clock(0);
    let (store, _) = KeyStore::open(folder, clock.clone());
    store.change(&name, |ring| Ok(ring.issue(pconf_wire::enrolment_key()?, clock.now().wall)))?;
    let announced = |days: i64, after| -> Result<Option<u32>> {
        hands.ahead(days * 86_400);
        store.look(after)?;
        Ok(store.of(&name).context("a has keys")?.ring.announced().map(|key| key.version))
    };
    assert_eq!((announced(89, 90)?, announced(1000, 0)?, announced(0, 90)?), (None, None, Some(2)));
    assert_eq!(announced(1000, 90)?, Some(2), "one at a time");
    Ok(())
}
