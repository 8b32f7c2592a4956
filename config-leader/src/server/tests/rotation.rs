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
