//! Somebody else's implementation of RFC 9421 says of our signatures what we say of them, and we of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up should stop there")]

mod support;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use httpsig_hyper::prelude::message_component::HttpMessageComponentId;
use httpsig_hyper::prelude::{AlgorithmName, HttpSignatureParams, SharedKey};
use httpsig_hyper::{MessageSignatureReqSync as _, MessageSignatureResSync as _};
use pconf_bundle::signature::{Asked, Direction, Nonce, SentRequest, sign_request, verify_head};
use pconf_bundle::{ContentDigest, EnrolmentKey, Keys, Origin, UnixSeconds};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use sha2::Sha256;
use support::authorities;

/// The oracle judges `expires` by the clock of the machine, so the messages are of a time that is still to come.
const SOON: u64 = 4_000_000_000;

/// A message, and whose it is.
#[derive(Debug, Clone)]
struct Exchange {
    direction: Direction,
    key: [u8; 32],
    id: String,
    method: Method,
    host: &'static str,
    target: String,
    request_fields: Vec<(&'static str, String)>,
    question: Vec<u8>,
    nonce: [u8; 16],
    status: u16,
    answer_fields: Vec<(&'static str, String)>,
    answer: Vec<u8>,
    created: u64,
}

fn fields(names: &'static [&'static str]) -> impl Strategy<Value = Vec<(&'static str, String)>> {
    subsequence(names, 0..=names.len()).prop_flat_map(|names| {
        let value = "[!-~]([ -~]{0,40}[!-~])?";
        names.into_iter().map(|name| (Just(name), value)).collect::<Vec<_>>()
    })
}

prop_compose! {
    fn exchange()(
        (direction, id) in (select(vec![Direction::ToLeader, Direction::ToFollower]), "[a-z][a-z0-9-]{0,8}[a-z0-9]\\.[1-9][0-9]{0,3}"),
        (key, nonce, created) in (any::<[u8; 32]>(), any::<[u8; 16]>(), SOON..SOON + 1_000_000),
        method in select(vec![Method::GET, Method::POST, Method::DELETE]),
        host in select(vec!["leader.internal:7443", "leader.internal", "core-a.internal:7444"]),
        target in "/([a-z0-9_~:@+,;=-]{1,9}(/[a-z0-9_%20~-]{1,9}){0,2})?(\\?[a-zA-Z0-9=&/?:@%._~-]{0,30})?"
            .prop_filter("no escaped slash", |target| !target.to_ascii_lowercase().contains("%2")),
        request_fields in fields(&["accept", "content-type", "if-none-match", "prefer"]),
        answer_fields in fields(&["content-type", "etag", "retry-after", "conf-revision"]),
        (question, answer) in (any::<Vec<u8>>(), any::<Vec<u8>>()),
        status in 200u16..600,
    ) -> Exchange {
        Exchange { direction, key, id, method, host, target, request_fields, question, nonce, status, answer_fields, answer, created }
    }
}

impl Exchange {
    fn keys(&self) -> Arc<Keys> {
        Arc::new(Keys::derive(self.id.parse().unwrap(), &EnrolmentKey::from(self.key)))
    }

    /// The oracle's key, derived from the text of the profile and not by our code.
    fn shared(&self, purpose: &str) -> SharedKey {
        let mut key = [0; 32];
        let info = [purpose.as_bytes(), self.id.as_bytes()].join(&0);
        Hkdf::<Sha256>::new(Some(b"pconf-v1"), &self.key).expand(&info, &mut key).unwrap();
        SharedKey::from_base64(&AlgorithmName::HmacSha256, &STANDARD.encode(key)).unwrap()
    }

    fn question_key(&self) -> SharedKey {
        self.shared(if self.direction == Direction::ToLeader { "mac f2l" } else { "mac l2f" })
    }

    fn answer_key(&self) -> SharedKey {
        self.shared(if self.direction == Direction::ToLeader { "mac l2f" } else { "mac f2l" })
    }

    /// Our request, signed; with the address in its target, where the oracle looks for it.
    fn ours(&self) -> (Request<String>, SentRequest) {
        let origin: Origin = format!("http://{}", self.host).parse().unwrap();
        let (path, query) =
            self.target.split_once('?').map_or((&*self.target, None), |(path, query)| (path, Some(query)));
        let body = ContentDigest::of(&self.question);
        let asked = Asked { method: &self.method, origin: &origin, path, query, body };
        let mut headers = headers(&self.request_fields);
        let (created, nonce) = (UnixSeconds(self.created), Nonce::from_random(self.nonce));
        let sent = sign_request(self.keys(), self.direction, &asked, &mut headers, created, nonce).unwrap();
        (self.request(headers), sent)
    }

    fn request(&self, headers: HeaderMap) -> Request<String> {
        let uri = format!("http://{}{}", self.host, self.target);
        let mut request = Request::builder().method(&self.method).uri(uri).body(String::new()).unwrap();
        *request.headers_mut() = headers;
        request
    }

    fn response(&self, headers: HeaderMap) -> Response<String> {
        let mut response = Response::builder().status(self.status).body(String::new()).unwrap();
        *response.headers_mut() = headers;
        response
    }

    fn names_a_version(&self) -> bool {
        self.request_fields.iter().any(|(name, _)| *name == "if-none-match")
    }

    /// The oracle's parameters, with exactly what the profile covers.
    fn parameters(&self, components: &[&str]) -> HttpSignatureParams {
        let components: Vec<_> =
            components.iter().map(|name| HttpMessageComponentId::try_from(*name).unwrap()).collect();
        let mut parameters = HttpSignatureParams::try_new(&components).unwrap();
        parameters
            .set_created(self.created)
            .set_alg(&AlgorithmName::HmacSha256)
            .set_keyid(&self.id)
            .set_tag("pconf-v1");
        parameters
    }

    /// The oracle's request, signed.
    fn theirs(&self) -> Request<String> {
        let mut headers = headers(&self.request_fields);
        headers.insert("content-digest", ContentDigest::of(&self.question).to_text().parse().unwrap());
        let mut request = self.request(headers);
        let mut components = vec!["@method", "@authority", "@path", "@query", "content-digest"];
        components.extend(self.request_fields.iter().map(|(name, _)| *name));
        let mut parameters = self.parameters(&components);
        parameters.set_expires(self.created + 60).set_nonce(&URL_SAFE_NO_PAD.encode(self.nonce));
        request.set_message_signature_sync(&parameters, &self.question_key(), Some("req")).unwrap();
        request
    }
}

fn headers(fields: &[(&'static str, String)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
}

/// As a request arrives: the target without the address, which is in `Host`.
fn arrived(request: Request<String>, exchange: &Exchange) -> http::request::Parts {
    let (mut parts, _) = request.into_parts();
    parts.uri = exchange.target.parse().unwrap();
    parts.headers.insert("host", HeaderValue::from_static(exchange.host));
    parts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_we_sign_the_oracle_believes(exchange in exchange()) {
        let (request, _) = exchange.ours();
        let believed = request.verify_message_signature_sync(&exchange.question_key(), Some(&exchange.id));
        prop_assert_eq!(believed.ok(), Some("req".to_owned()));

        let received = arrived(request.clone(), &exchange);
        let keys = exchange.keys();
        let head = verify_head(&received, exchange.direction, &authorities(), |_| Some(keys)).unwrap();
        let mut replays = pconf_bundle::signature::ReplayGuard::new(
            pconf_bundle::signature::ReplayLimits::default(),
            support::at(exchange.created - 1),
            std::collections::BTreeMap::new(),
        );
        let question = head.admit(&mut replays, support::at(exchange.created)).unwrap().without_body();
        let mut signed = headers(&exchange.answer_fields);
        let status = StatusCode::from_u16(exchange.status).unwrap();
        let digest = ContentDigest::of(&exchange.answer);
        question.sign_response(status, &mut signed, digest, UnixSeconds(exchange.created)).unwrap();
        let response = exchange.response(signed);
        let believed =
            response.verify_message_signature_sync(&exchange.answer_key(), Some(&exchange.id), Some(&request));
        prop_assert_eq!(believed.ok(), Some("res".to_owned()));
    }

    #[test]
    fn what_the_oracle_signs_we_believe(exchange in exchange()) {
        let theirs = exchange.theirs();
        let (ours, sent) = exchange.ours();
        for name in ["signature-input", "signature"] {
            prop_assert_eq!(&theirs.headers()[name], &ours.headers()[name], "two ways to write one signature");
        }
        let keys = exchange.keys();
        let believed = verify_head(&arrived(theirs, &exchange), exchange.direction, &authorities(), |_| Some(keys));
        prop_assert!(believed.is_ok(), "{:?}", believed);

        let mut signed = headers(&exchange.answer_fields);
        signed.insert("content-digest", ContentDigest::of(&exchange.answer).to_text().parse().unwrap());
        let mut response = exchange.response(signed);
        let mut components = vec!["@status", "content-digest"];
        components.extend(exchange.answer_fields.iter().map(|(name, _)| *name));
        let question = ["@method", "@authority", "@path", "@query"].map(|name| format!("\"{name}\";req"));
        components.extend(question.iter().map(String::as_str));
        components.push("\"signature\";req;key=\"req\"");
        let parameters = exchange.parameters(&components);
        response.set_message_signature_sync(&parameters, &exchange.answer_key(), Some("res"), Some(&ours)).unwrap();
        let judged = sent.verify_head(response.status(), response.headers());
        if exchange.status == 304 && !exchange.names_a_version() {
            prop_assert!(judged.is_err());
        } else {
            prop_assert!(judged.is_ok(), "{:?}", judged);
        }
    }
}
