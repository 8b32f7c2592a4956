//! `https`: who is trusted, and that the signature reaches through TLS, whether it ends in a proxy or in the leader.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up should stop there")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use http::{HeaderMap, StatusCode};
use pconf_bundle::signature::Direction;
use pconf_bundle::{EnrolmentKey, KeyId, Keys, Origin, Pin};
use pconf_files::StateFolder;
use pconf_wire::{Ahead, Answer, CallError, Client, Clock, Payload, Peer, Peers, Receiver, Timeouts, Trust, reply};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData as _};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

struct OneMachine;

impl Peers for OneMachine {
    fn keys(&self, id: &KeyId) -> Option<Arc<Keys>> {
        (id.to_string() == "co1.1").then(keys)
    }
}

fn keys() -> Arc<Keys> {
    Arc::new(Keys::derive("co1.1".parse().unwrap(), &EnrolmentKey::from([1; 32])))
}

/// A certificate authority; all of them have the same name.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
    pin: Pin,
}

impl Authority {
    fn new() -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let pin = Pin::of(&key.subject_public_key_info());
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "config-leader");
        let certificate = params.self_signed(&key)?;
        Ok(Self { issuer: Issuer::new(params, key), certificate, pin })
    }

    /// What a server shows that has a certificate for `name` of this authority, with `beside` after it.
    fn server(&self, name: &str, beside: &[&CertificateDer<'static>]) -> anyhow::Result<ServerConfig> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new([name.to_owned()])?.signed_by(&key, &self.issuer)?;
        let chain = [certificate.der()].into_iter().chain(beside.iter().copied()).cloned().collect();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Ok(ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?)
    }
}

/// A leader on plain HTTP behind a TLS proxy.
async fn leader_behind(config: ServerConfig) -> anyhow::Result<(Peer, TempDir)> {
    let outer = TcpListener::bind("127.0.0.1:0").await?;
    let inner = TcpListener::bind("127.0.0.1:0").await?;
    let (origin, inside) = (format!("https://{}", outer.local_addr()?).parse::<Origin>()?, inner.local_addr()?);
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

    let folder = tempfile::tempdir()?;
    let ahead = Ahead::open(&Arc::new(StateFolder::open(&folder.path().join("state"))?))?;
    let authorities = [&origin].into_iter().collect();
    let receiver = Receiver::new(Direction::ToLeader, authorities, OneMachine, Clock::system(), 1024, ahead);
    let receiver = Arc::new(receiver);
    let router =
        Router::new().fallback(move |ConnectInfo(from): ConnectInfo<SocketAddr>, request: Request| {
            let receiver = Arc::clone(&receiver);
            async move {
                receiver.serve(request, from.ip(), async |_| Ok(reply(StatusCode::OK, Payload::new("hello")))).await
            }
        });
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(inner, router).await });
    Ok((Peer::new(origin, keys()), folder))
}

async fn ask(leader: &Peer, trust: Trust) -> Result<Answer, CallError> {
    let timeouts =
        Timeouts { connect: Duration::from_secs(5), read: Duration::from_secs(5), whole: Duration::from_secs(20) };
    let client = Client::new(Direction::ToLeader, Clock::system(), timeouts, 1024, trust)?;
    client.get(leader, "/conf/core", HeaderMap::new()).await
}

/// Why there was no answer, down to the first cause.
fn told(outcome: Result<Answer, CallError>) -> String {
    let Err(fault) = outcome else { return "it was answered".to_owned() };
    let causes = std::iter::successors(Some(&fault as &dyn std::error::Error), |fault| fault.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test]
async fn a_leader_behind_tls_is_reached_when_its_authority_is_trusted() -> anyhow::Result<()> {
    let (ours, other) = (Authority::new()?, Authority::new()?);
    let (leader, folder) = leader_behind(ours.server("127.0.0.1", &[])?).await?;
    let file = |authority: &Authority| -> std::io::Result<Trust> {
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, authority.certificate.pem())?;
        Ok(Trust::File(path))
    };
    for trust in [file(&ours)?, Trust::Pem(ours.certificate.pem() + &other.certificate.pem())] {
        let answer = ask(&leader, trust).await?;
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, b"hello".as_slice()));
    }
    for trust in [file(&other)?, Trust::Pem(other.certificate.pem())] {
        let told = told(ask(&leader, trust).await);
        assert!(told.contains("invalid peer certificate"), "{told}");
    }
    Ok(())
}

#[tokio::test]
async fn a_pinned_authority_vouches_for_its_leader_and_nobody_else_does() -> anyhow::Result<()> {
    let (ours, other) = (Authority::new()?, Authority::new()?);
    let (ca, others) = (ours.certificate.der(), other.certificate.der());
    let not_shown = "does not show the certificate authority";
    let not_signed = "invalid peer certificate";
    for (what, config, fault) in [
        ("the authority and what it signed", ours.server("127.0.0.1", &[ca])?, None),
        ("more certificates than needed", ours.server("127.0.0.1", &[others, ca])?, None),
        ("another authority of that name", other.server("127.0.0.1", &[others])?, Some(not_shown)),
        ("what another one signed, beside the authority", other.server("127.0.0.1", &[ca])?, Some(not_signed)),
        ("the same with both", other.server("127.0.0.1", &[others, ca])?, Some(not_signed)),
        ("a certificate without the authority", ours.server("127.0.0.1", &[])?, Some(not_shown)),
        ("a certificate for another host", ours.server("127.0.0.2", &[ca])?, Some(not_signed)),
        ("a certificate for another name", ours.server("lead.example", &[ca])?, Some(not_signed)),
    ] {
        let (leader, _folder) = leader_behind(config).await?;
        let outcome = ask(&leader, Trust::Pinned(ours.pin)).await;
        match fault {
            None => assert_eq!(outcome?.status, StatusCode::OK, "{what}"),
            Some(fault) => {
                let told = told(outcome);
                assert!(told.contains(fault), "{what}: {told}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn https_needs_authorities_to_trust() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let leader = Peer::new("https://127.0.0.1:9".parse()?, keys());
    let missing = folder.path().join("missing.pem");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate")?;
    for (trust, said) in [
        (
            Trust::File(missing.clone()),
            format!("cannot read the trusted authorities in `{}`: name another file with `ca`", missing.display()),
        ),
        (Trust::File(empty.clone()), format!("`{}` holds no certificates in PEM form", empty.display())),
        (
            Trust::Pem("no certificate".to_owned()),
            "the authorities to trust for the leader are no certificates in PEM form".to_owned(),
        ),
    ] {
        let outcome = ask(&leader, trust).await;
        assert_eq!(outcome.err().map(|error| error.to_string()), Some(said));
    }
    Ok(())
}
