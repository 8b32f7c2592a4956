//! The HTTP clients below the signatures: one for `http`, one for `https` that is made when it is first needed, because
//! reading the machine's certificates costs time and memory.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use pconf_bundle::Origin;
use reqwest::{Certificate, redirect};

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
    /// The TLS library refuses them.
    #[error("cannot set up an HTTP client")]
    Client(#[source] reqwest::Error),
}

#[derive(Debug)]
pub(crate) struct Transport {
    plain: reqwest::Client,
    secure: OnceLock<reqwest::Client>,
    authorities: PathBuf,
    timeouts: Timeouts,
}

impl Transport {
    pub(crate) fn new(timeouts: Timeouts, authorities: Option<PathBuf>) -> Result<Self, TrustError> {
        Ok(Self {
            plain: client(timeouts, Vec::new())?,
            secure: OnceLock::new(),
            authorities: authorities.unwrap_or_else(|| SYSTEM_AUTHORITIES.into()),
            timeouts,
        })
    }

    pub(crate) fn to(&self, origin: &Origin) -> Result<&reqwest::Client, TrustError> {
        if !origin.is_https() {
            return Ok(&self.plain);
        }
        if let Some(secure) = self.secure.get() {
            return Ok(secure);
        }
        let secure = client(self.timeouts, certificates(&self.authorities)?)?;
        Ok(self.secure.get_or_init(|| secure))
    }
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, TrustError> {
    let pem = std::fs::read(path).map_err(|source| TrustError::Read { path: path.to_owned(), source })?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) | Err(_) => Err(TrustError::NoCertificates(path.to_owned())),
    }
}

/// No redirects, no proxy, no retries: a signature is for one receiver and one time. Only the given authorities: asking
/// the machine's own store fails where there is none, as in an empty container, even for plain HTTP.
fn client(timeouts: Timeouts, authorities: Vec<Certificate>) -> Result<reqwest::Client, TrustError> {
    reqwest::Client::builder()
        .tls_certs_only(authorities)
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
