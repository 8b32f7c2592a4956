//! Orders over the network: for those who have a token, and for nobody else.

use super::*;
use crate::cli::TokenCommand;
use crate::tokens::Scope;

fn world() -> Result<(World, SocketAddr)> {
    let admin = free()?;
    let world = World::of(&["a"], &json!({ "admin": { "listen": admin } }))?;
    Ok((world, admin))
}

async fn token(world: &World, scope: Scope, ttl: &str) -> Result<String> {
    let name = format!("{scope}-{ttl}");
    let said = world.said(Order::Token(TokenCommand::Create { name, scope, ttl: ttl.parse()? })).await?;
    Ok(said["token"].as_str().context("it is shown once")?.to_owned())
}

async fn give(admin: SocketAddr, token: &str, order: &Value) -> Result<(u16, Value)> {
    let (status, body) =
        plain(admin, "/orders", &format!("Authorization: Bearer {token}\r\n"), &order.to_string()).await?;
    Ok((status, serde_json::from_str(&body)?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_good_for_what_it_was_made_for_until_it_ends() -> Result<()> {
    let (world, admin) = world()?;
    let (read, machines) = (token(&world, Scope::Read, "1h").await?, token(&world, Scope::Machines, "1h").await?);
    let revoke = json!({ "machine": { "revoke": { "name": "a" } } });
    // Until then there is nothing to tell.
    world.bundle(&world.identity("a").await?).await?;
    let (status, said) = give(admin, &read, &json!("status")).await?;
    assert_eq!((status, said["json"]["machines"]["a"]["role"].as_str()), (200, Some("app")), "{said:#}");
    let (status, said) = give(admin, &read, &revoke).await?;
    assert_eq!((status, said["code"].as_str()), (403, Some("role_forbidden")));
    assert_eq!(give(admin, &machines, &revoke).await?.0, 200);
    let (status, said) = give(admin, &machines, &revoke).await?;
    assert_eq!(status, 422, "{said:#}");
    assert_eq!(give(admin, &machines, &json!("nonsense")).await?.0, 400);
    assert!(world.deeds()?.contains(&"machine.revoke a".to_owned()));

    world.hands.ahead(3600);
    // The clock of tokens is the machine's: this one has ended because it was made to.
    let short = token(&world, Scope::Admin, "1s").await?;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(give(admin, &short, &json!("status")).await?.0, 401);
    world.said(Order::Token(TokenCommand::Revoke { token: "read-1h".to_owned() })).await?;
    assert_eq!(give(admin, &read, &json!("status")).await?.0, 401);
    world.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_followers_key_gives_no_orders_and_a_token_gets_no_files() -> Result<()> {
    let (world, admin) = world()?;
    let keys = world.identity("a").await?;
    let peer = Peer::new(format!("http://{admin}").parse()?, Arc::clone(&keys));
    let asked = world.client()?.post(&peer, "/orders", HeaderMap::new(), Bytes::from("\"status\"")).await;
    assert!(matches!(asked, Err(CallError::Stranger { .. })), "{asked:?}");
    let bearer = format!("Authorization: Bearer {}\r\n", token(&world, Scope::Admin, "1h").await?);
    let strangers = plain(world.address, "/orders", "", "\"status\"").await?;
    assert_eq!(strangers.0, 401);
    assert_eq!(plain(world.address, "/orders", &bearer, "\"status\"").await?, strangers);
    assert_eq!(plain(world.address, "/status", &bearer, "").await?, strangers, "status is told to nobody there");
    world.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_tokens_get_one_answer_and_then_none_while_a_good_one_is_heard() -> Result<()> {
    let (world, admin) = world()?;
    let good = token(&world, Scope::Read, "1h").await?;
    let (id, _) = good.rsplit_once('_').context("a token has parts")?;
    let mut answers = Vec::new();
    for wrong in ["", "pcft_", &format!("{id}_AAAA"), &good[..good.len() - 2], "pcft_000000000000_AAAA"] {
        answers.push(give(admin, wrong, &json!("status")).await?);
    }
    answers.dedup();
    assert_eq!((answers.len(), answers[0].0), (1, 401), "{answers:?}");
    let mut limited = 0;
    for _ in 0..40 {
        limited += usize::from(give(admin, "wrong", &json!("status")).await?.0 == 429);
    }
    assert!(limited > 5, "{limited}");
    assert_eq!(give(admin, &good, &json!("status")).await?.0, 200);
    let refused = world.deeds()?.into_iter().filter(|deed| deed == "token.refused orders").count();
    assert_eq!(refused, 1, "a flood does not fill the audit log");
    world.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_not_taken_where_tokens_could_be_read() -> Result<()> {
    let world = World::of(&["a"], &json!({ "admin": { "listen": "0.0.0.0:7001" } }))?;
    let error = world.running.await?.expect_err("it is refused");
    assert!(error.to_string().contains("configure `tls`"), "{error:#}");
    Ok(())
}
