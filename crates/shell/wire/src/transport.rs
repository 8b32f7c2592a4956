//! The HTTP clients below the signatures: one for `http`, one for `https` that is made when it is first needed, because
//! reading the machine's certificates costs time and memory.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use pconf_bundle::{Origin, Pin};
use reqwest::{Certificate, ClientBuilder, redirect};

use crate::pinned;

/// Where Debian and most others keep the authorities that the machine trusts.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// How long the other side may be silent, and how long it may take in all.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// While a connection is made.
    pub connect: Duration,
    /// Before the answer, and between two parts of it. Longer than any wait that is asked for.
    pub read: Duration,
    /// For one question and the whole of its answer: somebody who drips bytes is never silent.
    pub whole: Duration,
}

/// Who vouches for the other side of `https`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Those whom the machine trusts.
    System,
    /// The certificates in a PEM file.
    File(PathBuf),
    /// These certificates, in PEM form.
    Pem(String),
    /// The one authority with this public key, which the other side has to show.
    Pinned(Pin),
}

/// How long a connection is kept for the next question: less than our listeners keep it (ten seconds), so that no question
/// meets a connection that is just being closed.
const IDLE: Duration = Duration::from_secs(5);

/// No TLS client can be made.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The authorities' file cannot be read.
    #[error("cannot read the trusted authorities in `{}`: name another file with `ca`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The authorities' file is something else.
    #[error("`{}` holds no certificates in PEM form", .0.display())]
    NoCertificates(PathBuf),
    /// What is to be trusted is something else.
    #[error("the authorities to trust for the leader are no certificates in PEM form")]
    NotPem,
    /// The TLS library gives no configuration.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// The TLS library refuses them.
    #[error("cannot set up an HTTP client")]
    Client(#[source] reqwest::Error),
}

#[derive(Debug)]
pub(crate) struct Transport {
    plain: reqwest::Client,
    secure: OnceLock<reqwest::Client>,
    trust: Trust,
    timeouts: Timeouts,
}

impl Transport {
    pub(crate) fn new(timeouts: Timeouts, trust: Trust) -> Result<Self, TrustError> {
        let plain = client(timeouts, |builder| builder.tls_certs_only([]))?;
        Ok(Self { plain, secure: OnceLock::new(), trust, timeouts })
    }

    pub(crate) fn to(&self, origin: &Origin) -> Result<&reqwest::Client, TrustError> {
        if !origin.is_https() {
            return Ok(&self.plain);
        }
        if let Some(secure) = self.secure.get() {
            return Ok(secure);
        }
        let secure = self.trust.client(self.timeouts)?;
        Ok(self.secure.get_or_init(|| secure))
    }
}

impl Trust {
    fn client(&self, timeouts: Timeouts) -> Result<reqwest::Client, TrustError> {
        let authorities = match self {
            Self::System => read(SYSTEM_AUTHORITIES.into())?,
            Self::File(path) => read(path.clone())?,
            Self::Pem(text) => certificates(text.as_bytes()).ok_or(TrustError::NotPem)?,
            Self::Pinned(pin) => {
                let config = pinned::config(*pin).map_err(TrustError::Tls)?;
                return client(timeouts, |builder| builder.tls_backend_preconfigured(config));
            }
        };
        client(timeouts, |builder| builder.tls_certs_only(authorities))
    }
}

fn read(path: PathBuf) -> Result<Vec<Certificate>, TrustError> {
    match std::fs::read(&path) {
        Ok(pem) => certificates(&pem).ok_or(TrustError::NoCertificates(path)),
        Err(source) => Err(TrustError::Read { path, source }),
    }
}

fn certificates(pem: &[u8]) -> Option<Vec<Certificate>> {
    Certificate::from_pem_bundle(pem).ok().filter(|certificates| !certificates.is_empty())
}

/// No redirects, no proxy, no retries: a signature is for one receiver and one time. Only the authorities that `trust`
/// gives it: asking the machine's own store fails where there is none, as in an empty container, even for plain HTTP.
fn client(
    timeouts: Timeouts,
    trust: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Result<reqwest::Client, TrustError> {
    trust(reqwest::Client::builder())
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .http1_only()
        .connect_timeout(timeouts.connect)
        .read_timeout(timeouts.read)
        .pool_idle_timeout(IDLE)
        .build()
        .map_err(TrustError::Client)
}
