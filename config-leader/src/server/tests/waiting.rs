//! Followers that wait at the leader (`Prefer: wait=N`).

use std::time::Instant;

use pconf_bundle::prefer_wait;

use super::*;

impl World {
    /// Waits so many seconds for another bundle than the one of that tag.
    async fn wait(&self, keys: &Arc<Keys>, tag: &str, seconds: u64) -> Result<Answer, CallError> {
        let peer = Peer::new(self.origin().expect("the leader has an address"), Arc::clone(keys));
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(routes::SEALED_BUNDLE));
        headers.insert(IF_NONE_MATCH, HeaderValue::from_str(tag).expect("a tag is ASCII"));
        headers.insert(routes::PREFER, prefer_wait(Duration::from_secs(seconds)));
        self.client().expect("a client can be made").get(&peer, "/conf/app", headers).await
    }

    /// Changes a file of every machine.
    fn change_all(&self) -> Result<()> {
        let file = self.held.path().join("templates/little/app/app.json.tera");
        Ok(std::fs::write(file, "{\"shared\": {{ secrets.shared | json }}, \"news\": true}\n")?)
    }
}

/// Whether this takes so long at least that it waits for something.
async fn waits<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
    tokio::time::timeout(Duration::from_millis(300), future).await.is_err()
}

#[tokio::test]
async fn who_waits_is_answered_when_there_is_news_and_else_at_the_end_of_its_time() -> Result<()> {
    let world = World::of(&["co1"], &json!({}))?;
    let keys = world.identity("co1").await?;
    let (_, tag) = world.bundle(&keys).await?;
    let start = Instant::now();
    let answer = world.wait(&keys, &tag, 1).await?;
    assert_eq!((answer.status.as_u16(), answer.header(http::header::ETAG)), (304, Some(&*tag)));
    assert!((1..3).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());

    let mut waiting = Box::pin(world.wait(&keys, &tag, 15));
    assert!(waits(&mut waiting).await);
    world.change_all()?;
    let answer = waiting.await?;
    assert_eq!((answer.status.as_u16(), answer.header(routes::CONF_REVISION)), (200, Some("1.2")));
    // Who has something else than the leader has, has nothing to wait for.
    assert_eq!(world.wait(&keys, &tag, 15).await?.status, 200);
    world.end().await
}

#[tokio::test]
async fn a_machine_waits_once_and_whoever_waited_for_it_before_is_sent_away() -> Result<()> {
    let world = World::of(&["co1", "co2"], &json!({}))?;
    let (one, other) = (world.identity("co1").await?, world.identity("co2").await?);
    let (tag, of_other) = (world.bundle(&one).await?.1, world.bundle(&other).await?.1);
    let mut first = Box::pin(world.wait(&one, &tag, 15));
    let mut bystander = Box::pin(world.wait(&other, &of_other, 15));
    assert!(waits(&mut first).await && waits(&mut bystander).await);
    let mut second = Box::pin(world.wait(&one, &tag, 15));
    let sent_away = tokio::select! {
        answer = &mut first => answer?,
        _ = &mut second => anyhow::bail!("the newer one was sent away"),
    };
    assert_eq!((sent_away.status.as_u16(), sent_away.header(http::header::CONNECTION)), (304, Some("close")));
    assert!(waits(&mut second).await && waits(&mut bystander).await);
    drop((first, second, bystander));
    world.end().await
}

#[tokio::test]
async fn a_leader_that_ends_answers_those_who_wait_at_once() -> Result<()> {
    let world = World::of(&["co1"], &json!({}))?;
    let keys = world.identity("co1").await?;
    let (_, tag) = world.bundle(&keys).await?;
    let start = Instant::now();
    let mut waiting = Box::pin(world.wait(&keys, &tag, 15));
    assert!(waits(&mut waiting).await);
    world.trigger.pull();
    assert_eq!(waiting.await?.status, 304);
    world.end().await?;
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_revoked_while_it_waits_gets_nothing_any_more() -> Result<()> {
    let world = World::of(&["co1"], &json!({}))?;
    let keys = world.identity("co1").await?;
    let (_, tag) = world.bundle(&keys).await?;
    let mut waiting = Box::pin(world.wait(&keys, &tag, 15));
    assert!(waits(&mut waiting).await);
    world.machine(MachineCommand::Revoke { name: "co1".parse()? }).await?;
    world.change_all()?;
    assert_eq!(code(&waiting.await?), Some(Code::KeyRevoked));
    world.end().await
}

#[tokio::test]
async fn who_finds_no_seat_is_told_when_to_come_again_and_gets_the_next_that_is_free() -> Result<()> {
    let names: Vec<String> = (0..=OPEN_FILES / 4 * 3).map(|number| format!("co{number}")).collect();
    let world = World::of(&names.iter().map(String::as_str).collect::<Vec<_>>(), &json!({}))?;
    let mut machines = Vec::new();
    for name in &names {
        let keys = world.identity(name).await?;
        let (_, tag) = world.bundle(&keys).await?;
        machines.push((keys, tag));
    }
    let (last, first) = machines.split_last().context("machines")?;
    let mut seated: Vec<_> = first.iter().map(|(keys, tag)| Box::pin(world.wait(keys, tag, 15))).collect();
    for waiting in &mut seated {
        assert!(waits(waiting).await);
    }
    let (keys, tag) = last;
    let answer = world.wait(keys, tag, 15).await?;
    assert_eq!((answer.status.as_u16(), code(&answer)), (503, Some(Code::Overloaded)));
    assert_eq!(answer.header(http::header::RETRY_AFTER), Some("5"));
    // Whoever does not want to wait is answered, and so is everybody who waits.
    assert_eq!(world.ask(keys, "app", Some(tag)).await?.status, 304);
    drop(seated.pop());
    let mut waiting = Box::pin(async {
        loop {
            let answer = world.wait(keys, tag, 15).await?;
            if answer.status != 503 {
                return anyhow::Ok(answer);
            }
        }
    });
    assert!(waits(&mut waiting).await);
    world.change_all()?;
    assert_eq!(waiting.await?.status, 200);
    for waiting in seated {
        assert_eq!(waiting.await?.status, 200);
    }
    world.end().await
}
