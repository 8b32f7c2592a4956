//! Requests as followers send them: signed, each with a nonce of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow};
use http::header::{ACCEPT, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method};
use pconf_bundle::signature::{Asked, Direction, Nonce, SentRequest, sign_request};
use pconf_bundle::{ContentDigest, EnrolmentKey, KeyId, Keys, LONGEST_WAIT, Origin, UnixSeconds, prefer_wait, routes};

use crate::load::Request;

/// One machine that asks for its files.
#[derive(Clone)]
pub(crate) struct Asker {
    keys: Arc<Keys>,
    origin: Origin,
    path: String,
    /// The version that it has.
    tag: Option<HeaderValue>,
}

impl Asker {
    /// The machine of that name, role and key.
    pub(crate) fn new(leader: SocketAddr, machine: &str, role: &str, (key, version): &(String, u32)) -> Result<Self> {
        let id = KeyId { machine: machine.parse()?, version: *version };
        let key: EnrolmentKey = key.parse()?;
        Ok(Self {
            keys: Arc::new(Keys::derive(id, &key)),
            origin: format!("http://{leader}").parse()?,
            path: routes::configuration(&role.parse()?),
            tag: None,
        })
    }

    /// The same machine when it has this version.
    pub(crate) fn knowing(self, tag: HeaderValue) -> Self {
        Self { tag: Some(tag), ..self }
    }

    /// The keys.
    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The next request.
    pub(crate) fn request(&self) -> Result<Request> {
        Ok(self.question(None, 0)?.0)
    }

    /// The next request, of a machine whose clock is a second ahead: a leader takes nothing that is as old as itself.
    pub(crate) fn request_of_the_next_second(&self) -> Result<Request> {
        Ok(self.question(None, 1)?.0)
    }

    /// The next request, which is ready to wait for another version as long as that goes, and what its answer is bound to.
    pub(crate) fn waiting_request(&self) -> Result<(Request, SentRequest)> {
        self.question(self.tag.as_ref().map(|_| prefer_wait(LONGEST_WAIT)), 0)
    }

    fn question(&self, prefer: Option<HeaderValue>, ahead: u64) -> Result<(Request, SentRequest)> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(routes::SEALED_BUNDLE));
        if let Some(tag) = &self.tag {
            headers.insert(IF_NONE_MATCH, tag.clone());
        }
        if let Some(prefer) = prefer {
            headers.insert(routes::PREFER, prefer);
        }
        let method = Method::GET;
        let asked = Asked {
            method: &method,
            origin: &self.origin,
            path: &self.path,
            query: None,
            body: ContentDigest::of(b""),
        };
        let now = UnixSeconds(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + ahead);
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| anyhow!("no randomness: {error}"))?;
        let keys = Arc::clone(&self.keys);
        let sent = sign_request(keys, Direction::ToLeader, &asked, &mut headers, now, Nonce::from_random(random))
            .map_err(|cause| anyhow!("cannot sign: {cause:?}"))?;
        let mut text = format!("GET {} HTTP/1.1\r\nhost: {}\r\n", self.path, self.origin.authority());
        for (name, value) in &headers {
            text = text + name.as_str() + ": " + value.to_str().context("our own header")? + "\r\n";
        }
        Ok(((text + "\r\n").into_bytes(), sent))
    }
}
