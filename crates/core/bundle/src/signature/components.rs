//! Which parts of a message a signature covers (RFC 9421 section 2), and their values.

use http::Method;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, IF_NONE_MATCH, RETRY_AFTER};

use super::cause::Cause;
use crate::digest_field::ContentDigest;
use crate::routes::{CONF_REVISION, PREFER};

pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// Covered in requests when present, in this order: the headers that change what a receiver does.
pub(super) static REQUEST_FIELDS: [HeaderName; 4] = [ACCEPT, CONTENT_TYPE, IF_NONE_MATCH, PREFER];
/// Covered in answers when present, in this order.
pub(super) static RESPONSE_FIELDS: [HeaderName; 4] = [CONTENT_TYPE, ETAG, RETRY_AFTER, CONF_REVISION];

/// What a request asks of whom (RFC 9421 section 2.2); answers are bound to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) method: Method,
    /// Canonical: lower-case, without the default port.
    pub(super) authority: String,
    /// Raw.
    pub(super) path: String,
    /// Raw, with its leading `?`; that alone when there is none.
    pub(super) query: String,
}

impl Target {
    pub(super) fn new(method: Method, authority: String, path: &str, query: Option<&str>) -> Self {
        let path = if path.is_empty() { "/" } else { path };
        Self { method, authority, path: path.to_owned(), query: ["?", query.unwrap_or_default()].concat() }
    }

    /// The derived components in the order of the profile.
    pub(super) fn components(&self) -> [(&'static str, &str); 4] {
        [
            ("@method", self.method.as_str()),
            ("@authority", &self.authority),
            ("@path", &self.path),
            ("@query", &self.query),
        ]
    }
}

/// The value of a field that may be there once, without the white space around it.
pub(super) fn once<'a>(headers: &'a HeaderMap, name: &'static HeaderName) -> Result<Option<&'a str>, Cause> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Cause::Doubled(name.as_str()));
    }
    let text = value.to_str().map_err(|_| Cause::NotAscii(name.as_str()))?;
    Ok(Some(text.trim_matches([' ', '\t'])))
}

/// The digest that a message carries. A content coding is refused with it: nobody may change a body on its way.
pub(super) fn content_digest(headers: &HeaderMap) -> Result<(ContentDigest, &str), Cause> {
    static NAME: HeaderName = CONTENT_DIGEST;
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Cause::Coding);
    }
    let value = once(headers, &NAME)?.ok_or(Cause::Missing("content-digest"))?;
    ContentDigest::parse(value).map(|digest| (digest, value)).ok_or(Cause::Digest)
}
