//! The signature base (RFC 9421 section 2.5): the text that the MAC is over, and the list of what it covers.

use aws_lc_rs::hmac;
use http::header::{HeaderMap, HeaderName};

use super::cause::Cause;
use super::components::{REQUEST_FIELDS, RESPONSE_FIELDS, Target, once};

/// A signature base under construction: one line per covered component, and the covered list in step with it.
pub(super) struct Base {
    lines: String,
    covered: String,
}

impl Base {
    pub(super) fn new() -> Self {
        let mut covered = String::with_capacity(256);
        covered.push_str("()");
        Self { lines: String::with_capacity(1024), covered }
    }

    /// Covers a component: its name, and the parameters of its identifier as they are serialised, e.g. `;req`.
    fn cover(&mut self, name: &str, parameters: &str, value: &str) {
        // The list is closed after each of them.
        self.covered.pop();
        if !self.covered.ends_with('(') {
            self.covered.push(' ');
        }
        for part in ["\"", name, "\"", parameters] {
            self.covered.push_str(part);
            self.lines.push_str(part);
        }
        self.covered.push(')');
        for part in [": ", value, "\n"] {
            self.lines.push_str(part);
        }
    }

    /// Covers those of `names` that are present, in that order.
    fn cover_fields(&mut self, headers: &HeaderMap, names: &'static [HeaderName]) -> Result<(), Cause> {
        for name in names {
            if let Some(value) = once(headers, name)? {
                self.cover(name.as_str(), "", value);
            }
        }
        Ok(())
    }

    /// The base of a request.
    pub(super) fn of_request(target: &Target, digest: &str, headers: &HeaderMap) -> Result<Self, Cause> {
        let mut base = Self::new();
        for (name, value) in target.components() {
            base.cover(name, "", value);
        }
        base.cover("content-digest", "", digest);
        base.cover_fields(headers, &REQUEST_FIELDS)?;
        Ok(base)
    }

    /// The base of an answer, bound to the question: to its target, and through its signature to its nonce.
    pub(super) fn of_response(
        status: http::StatusCode,
        digest: &str,
        headers: &HeaderMap,
        target: &Target,
        question_signature: &str,
    ) -> Result<Self, Cause> {
        let mut base = Self::new();
        base.cover("@status", "", status.as_str());
        base.cover("content-digest", "", digest);
        base.cover_fields(headers, &RESPONSE_FIELDS)?;
        for (name, value) in target.components() {
            base.cover(name, ";req", value);
        }
        base.cover("signature", ";req;key=\"req\"", question_signature);
        Ok(base)
    }

    /// The covered list as it stands in `Signature-Input`.
    pub(super) fn covered(&self) -> &str {
        &self.covered
    }

    /// The MAC over the base with these parameters (`;created=…`).
    pub(super) fn mac(self, parameters: &str, key: &hmac::Key) -> hmac::Tag {
        hmac::sign(key, self.text(parameters).as_bytes())
    }

    /// Whether `mac` is the one over the base with these parameters, compared in constant time.
    pub(super) fn has_mac(self, parameters: &str, key: &hmac::Key, mac: &[u8]) -> bool {
        hmac::verify(key, self.text(parameters).as_bytes(), mac).is_ok()
    }

    fn text(mut self, parameters: &str) -> String {
        for part in ["\"@signature-params\": ", &self.covered, parameters] {
            self.lines.push_str(part);
        }
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn the_standards_derived_components_come_out() -> Result<(), Box<dyn std::error::Error>> {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../../../tests/vectors/standards.json"))?;
        for example in vectors["rfc9421-2.2"]["examples"].as_array().into_iter().flatten() {
            let text = |name: &str| example[name].as_str().unwrap_or_default();
            let uri: http::Uri = text("target").parse()?;
            let target = Target::new(text("method").parse()?, text("host").to_owned(), uri.path(), uri.query());
            let base = Base::of_request(&target, "", &HeaderMap::new())?;
            assert!(base.lines.lines().any(|line| line == text("line")), "{}: {}", text("section"), base.lines);
        }
        Ok(())
    }

    /// RFC 9421 appendix B.2.5, the only HMAC example of the standard.
    #[test]
    fn the_standards_own_example_comes_out() -> Result<(), Box<dyn std::error::Error>> {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../../../tests/vectors/standards.json"))?;
        let example = &vectors["rfc9421-b.2.5"];
        let text = |name: &str| example[name].as_str().unwrap_or_default();
        let mut base = Base::new();
        for field in example["components"].as_array().into_iter().flatten() {
            base.cover(field[0].as_str().unwrap_or_default(), "", field[1].as_str().unwrap_or_default());
        }
        assert_eq!(base.text(text("parameters")), text("base"));

        let key = STANDARD.decode(text("key"))?;
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), text("base").as_bytes());
        assert_eq!(STANDARD.encode(mac), text("signature"));
        Ok(())
    }
}
