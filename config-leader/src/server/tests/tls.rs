//! TLS by the leader itself.

use super::*;
use crate::authority::Authority;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_string_pins_the_authority_and_a_follower_is_told_whom_to_trust() -> Result<()> {
    let tls = free()?;
    let config = json!({ "tls": { "listen": tls, "names": [tls.ip()] } });
    let world = World::of(&["a"], &config)?;
    let string = world.invite("a", false).await?;
    assert_eq!(string.leader.to_string(), format!("https://{tls}"));
    let pinned = world.client_that_trusts(Trust::Pinned(string.pin.context("it pins the authority")?))?;
    let enrolled = opened(&string, 1, &world.join_by(&pinned, &string, 1).await?)?;
    let authority = Authority::of(&world.folder)?.certificate().to_owned();
    assert_eq!(enrolled.authorities, Some(authority.clone()));

    let keys = derived("a", enrolled.version, &enrolled.key)?;
    let (bundle, _) = world.bundle(&keys).await?;
    assert_eq!(bundle.control.as_ref().and_then(|control| control.authorities.as_ref()), Some(&authority));
    let stranger = world.client_that_trusts(Trust::Pem(Authority::of(&another()?.1)?.certificate().to_owned()))?;
    assert!(matches!(world.join_by(&stranger, &string, 1).await, Err(CallError::Unreachable { .. })));
    world.end().await
}

/// The folder of another platform.
fn another() -> Result<(tempfile::TempDir, Folder)> {
    let held = tempfile::tempdir()?;
    std::fs::set_permissions(held.path(), std::fs::Permissions::from_mode(0o700))?;
    let folder = Folder::open(held.path(), None)?;
    Ok((held, folder))
}
