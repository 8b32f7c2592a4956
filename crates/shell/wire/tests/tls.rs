//! `https`: TLS ends in a proxy, as it does in front of a leader, and the signature reaches through it.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up should stop there")]

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use http::{HeaderMap, StatusCode};
use pconf_bundle::signature::Direction;
use pconf_bundle::{EnrolmentKey, KeyId, Keys, Origin, UnixSeconds};
use pconf_wire::{CallError, Client, Clock, Payload, Peer, Peers, Receiver, Timeouts, reply};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

struct OneMachine;

impl Peers for OneMachine {
    fn keys(&self, id: &KeyId) -> Option<Arc<Keys>> {
        (id.to_string() == "co1.1").then(keys)
    }

    fn remember_ahead(&self, _: &KeyId, _: UnixSeconds) -> io::Result<()> {
        Ok(())
    }
}

fn keys() -> Arc<Keys> {
    Arc::new(Keys::derive("co1.1".parse().unwrap(), &EnrolmentKey::from([1; 32])))
}

/// A leader on plain HTTP behind a TLS proxy. Returns the proxy's address and a file with its certificate.
async fn leader_behind_tls(folder: &tempfile::TempDir) -> anyhow::Result<(Origin, PathBuf)> {
    let outer = TcpListener::bind("127.0.0.1:0").await?;
    let inner = TcpListener::bind("127.0.0.1:0").await?;
    let (origin, inside) = (format!("https://{}", outer.local_addr()?).parse::<Origin>()?, inner.local_addr()?);

    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, certified.cert.pem())?;
    let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
    let config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = outer.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut secure = acceptor.accept(stream).await?;
                tokio::io::copy_bidirectional(&mut secure, &mut TcpStream::connect(inside).await?).await
            });
        }
    });

    let authorities = [&origin].into_iter().collect();
    let receiver = Receiver::new(Direction::ToLeader, authorities, OneMachine, Clock::system(), 1024, BTreeMap::new());
    let receiver = Arc::new(receiver);
    let router = Router::new().fallback(move |request: Request| {
        let receiver = Arc::clone(&receiver);
        async move { receiver.serve(request, async |_| Ok(reply(StatusCode::OK, Payload::new("hello")))).await }
    });
    tokio::spawn(async move { axum::serve(inner, router).await });
    Ok((origin, file))
}

fn client(authorities: Option<PathBuf>) -> anyhow::Result<Client> {
    let timeouts =
        Timeouts { connect: Duration::from_secs(5), read: Duration::from_secs(5), whole: Duration::from_secs(20) };
    Ok(Client::new(Direction::ToLeader, Clock::system(), timeouts, 1024, authorities)?)
}

#[tokio::test]
async fn a_leader_behind_tls_is_reached_when_its_certificate_is_trusted() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (origin, file) = leader_behind_tls(&folder).await?;
    let leader = Peer::new(origin, keys());
    let answer = client(Some(file))?.get(&leader, "/conf/core", HeaderMap::new()).await?;
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, b"hello".as_slice()));

    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let other = folder.path().join("other.pem");
    std::fs::write(&other, stranger.cert.pem())?;
    let outcome = client(Some(other))?.get(&leader, "/conf/core", HeaderMap::new()).await;
    assert!(matches!(outcome, Err(CallError::Unreachable { .. })), "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn https_needs_authorities_to_trust() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let leader = Peer::new("https://127.0.0.1:9".parse()?, keys());
    let missing = folder.path().join("missing.pem");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate")?;
    for (file, said) in [
        (
            &missing,
            format!("cannot read the trusted authorities in `{}`: name another file with `ca`", missing.display()),
        ),
        (&empty, format!("`{}` holds no certificates in PEM form", empty.display())),
    ] {
        let outcome = client(Some(file.clone()))?.get(&leader, "/conf/core", HeaderMap::new()).await;
        assert_eq!(outcome.err().map(|error| error.to_string()), Some(said));
    }
    Ok(())
}
