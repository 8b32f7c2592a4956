//! What a signature does not survive: every substitution that the profile forbids, and what it is refused for.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its vectors should stop there")]

mod support;

use std::collections::BTreeMap;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use pconf_bundle::signature::{
    Cause, Direction, Refusal, Rejection, ReplayGuard, ReplayLimits, SentRequest, verify_head,
};
use pconf_bundle::{ContentDigest, UnixSeconds};
use support::{at, authorities, core_a, e1, headers, keys, sign, vectors};

const CREATED: u64 = 1_800_000_000;

fn refusal(parts: &Parts, direction: Direction) -> Option<Refusal> {
    verify_head(parts, direction, &authorities(), core_a).err()
}

/// Replaces text in one header of E1.
fn with(name: &str, from: &str, to: &str) -> Parts {
    let (mut parts, _) = e1();
    let value = parts.headers[name].to_str().unwrap().to_owned();
    assert!(value.contains(from), "{name} does not hold {from}");
    let name: HeaderName = name.parse().unwrap();
    parts.headers.insert(name, HeaderValue::from_str(&value.replacen(from, to, 1)).unwrap());
    parts
}

fn changed(change: impl FnOnce(&mut Parts)) -> Parts {
    let (mut parts, _) = e1();
    change(&mut parts);
    parts
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    headers.insert(name, HeaderValue::from_str(value).unwrap());
}

#[test]
fn a_request_is_good_for_nothing_but_what_was_signed() {
    let mac = || Cause::Mac("core-a.1".parse().unwrap());
    let components = |list: &str| {
        Cause::Components(format!("(\"@method\" \"@authority\" \"@path\" \"@query\" \"content-digest\"{list})"))
    };
    let e1_components = || components(" \"accept\" \"if-none-match\"");
    let cases: Vec<(&str, Parts, Cause)> = vec![
        ("another method", changed(|p| p.method = Method::POST), mac()),
        ("another path", changed(|p| p.uri = "/conf/web".parse().unwrap()), mac()),
        ("an added query", changed(|p| p.uri = "/conf/core?a".parse().unwrap()), mac()),
        ("another address of ours", changed(|p| set(&mut p.headers, "host", "leader.internal")), mac()),
        ("a foreign address", changed(|p| set(&mut p.headers, "host", "evil")), Cause::Authority("evil".to_owned())),
        (
            "another digest",
            changed(|p| set(&mut p.headers, "content-digest", &ContentDigest::of(b"x").to_text())),
            mac(),
        ),
        ("another accept", changed(|p| set(&mut p.headers, "accept", "application/json")), mac()),
        ("another tag", changed(|p| set(&mut p.headers, "if-none-match", "\"r40\"")), mac()),
        ("a dropped accept", changed(|p| drop(p.headers.remove("accept"))), components(" \"if-none-match\"")),
        ("a dropped tag", changed(|p| drop(p.headers.remove("if-none-match"))), components(" \"accept\"")),
        (
            "an added type",
            changed(|p| set(&mut p.headers, "content-type", "text/plain")),
            components(" \"accept\" \"content-type\" \"if-none-match\""),
        ),
        (
            "an added wait",
            changed(|p| set(&mut p.headers, "prefer", "wait=55")),
            components(" \"accept\" \"if-none-match\" \"prefer\""),
        ),
        (
            "a doubled accept",
            changed(|p| {
                p.headers.append("accept", HeaderValue::from_static("a/b"));
            }),
            Cause::Doubled("accept"),
        ),
        (
            "a doubled digest",
            changed(|p| {
                let d = p.headers["content-digest"].clone();
                p.headers.append("content-digest", d);
            }),
            Cause::Doubled("content-digest"),
        ),
        (
            "a doubled input",
            changed(|p| {
                let d = p.headers["signature-input"].clone();
                p.headers.append("signature-input", d);
            }),
            Cause::Doubled("signature-input"),
        ),
        (
            "a doubled signature",
            changed(|p| {
                let d = p.headers["signature"].clone();
                p.headers.append("signature", d);
            }),
            Cause::Doubled("signature"),
        ),
        ("no digest", changed(|p| drop(p.headers.remove("content-digest"))), Cause::Missing("content-digest")),
        ("no input", changed(|p| drop(p.headers.remove("signature-input"))), Cause::Missing("signature-input")),
        ("no signature", changed(|p| drop(p.headers.remove("signature"))), Cause::Missing("signature")),
        ("two digests", with("content-digest", "sha-256", "sha-512=:AA==:, sha-256"), Cause::Digest),
        ("a coding", changed(|p| set(&mut p.headers, "content-encoding", "gzip")), Cause::Coding),
        (
            "a value beyond ASCII",
            changed(|p| {
                p.headers.insert("accept", HeaderValue::from_bytes(b"caf\xe9").unwrap());
            }),
            Cause::NotAscii("accept"),
        ),
        (
            "a long input",
            changed(|p| set(&mut p.headers, "signature-input", &"a".repeat(2049))),
            Cause::TooLong("signature-input"),
        ),
        (
            "a long signature",
            changed(|p| set(&mut p.headers, "signature", &"a".repeat(257))),
            Cause::TooLong("signature"),
        ),
        ("an input that is no field", with("signature-input", "req=(", "req=(("), e1_components()),
        ("an input with more space", with("signature-input", "\" \"", "\"  \""), e1_components()),
        ("a space before a parameter", with("signature-input", ";nonce", "; nonce"), Cause::Parameters),
        ("another label", with("signature-input", "req=", "sig="), Cause::Label("req")),
        ("a second label", with("signature-input", "req=", "sig=(), req="), Cause::Label("req")),
        ("a second label behind", with("signature-input", "pconf-v1\"", "pconf-v1\", sig=()"), Cause::Parameters),
        ("a second MAC behind", with("signature", "Y=:", "Y=:, sig=:AA==:"), Cause::NotCanonical("signature")),
        ("a time with a zero before", with("signature-input", "created=18", "created=018"), Cause::Parameters),
        ("a time with a sign", with("signature-input", "created=18", "created=+18"), Cause::Parameters),
        (
            "a time of sixteen digits",
            with("signature-input", "created=1800000000", "created=1800000000000000"),
            Cause::Parameters,
        ),
        ("no time", with("signature-input", "created=1800000000", "created="), Cause::Parameters),
        (
            "a nonce of 65",
            with("signature-input", "nonce=\"", &format!("nonce=\"{}", "A".repeat(43))),
            Cause::Parameters,
        ),
        ("a key id with an escape", with("signature-input", "core-a.1", "core\\-a.1"), Cause::Parameters),
        ("another label on the MAC", with("signature", "req=", "sig="), Cause::Label("req")),
        ("a second MAC", with("signature", "req=", "sig=:AA==:, req="), Cause::Label("req")),
        ("a parameter on the MAC", with("signature", "Y=:", "Y=:;a"), Cause::NotCanonical("signature")),
        ("stray bits in the MAC", with("signature", "WOY=", "WOZ="), Cause::NotCanonical("signature")),
        ("a short MAC", with("signature", "req=:+RAK", "req=:"), Cause::NotCanonical("signature")),
        ("an empty MAC", changed(|p| set(&mut p.headers, "signature", "req=::")), Cause::NotCanonical("signature")),
        ("a token for a MAC", changed(|p| set(&mut p.headers, "signature", "req=a")), Cause::NotCanonical("signature")),
        ("a component less", with("signature-input", " \"@query\"", ""), e1_components()),
        (
            "components in another order",
            with("signature-input", "\"@path\" \"@query\"", "\"@query\" \"@path\""),
            e1_components(),
        ),
        ("a component twice", with("signature-input", "\"@path\"", "\"@path\" \"@path\""), e1_components()),
        ("a component with a parameter", with("signature-input", "\"@path\"", "\"@path\";req"), e1_components()),
        (
            "parameters in another order",
            with("signature-input", ";created=1800000000;expires=1800000060", ";expires=1800000060;created=1800000000"),
            Cause::Parameters,
        ),
        ("an unknown parameter", with("signature-input", ";tag", ";a;tag"), Cause::Parameters),
        ("no nonce", with("signature-input", ";nonce=\"AAECAwQFBgcICQoLDA0ODw\"", ""), Cause::Parameters),
        ("no expiry", with("signature-input", ";expires=1800000060", ""), Cause::Parameters),
        ("a short nonce", with("signature-input", "nonce=\"AAECAw", "nonce=\""), Cause::Parameters),
        ("a nonce of other letters", with("signature-input", "nonce=\"AA", "nonce=\"+/"), Cause::Parameters),
        (
            "a token for a nonce",
            with("signature-input", "nonce=\"AAECAwQFBgcICQoLDA0ODw\"", "nonce=AAECAwQFBgcICQoLDA0ODw"),
            Cause::Parameters,
        ),
        (
            "a text for a time",
            with("signature-input", "created=1800000000", "created=\"1800000000\""),
            Cause::Parameters,
        ),
        (
            "a fraction for a time",
            with("signature-input", "created=1800000000", "created=1800000000.5"),
            Cause::Parameters,
        ),
        ("a time before 1970", with("signature-input", "created=1800000000", "created=-1"), Cause::Parameters),
        ("another algorithm", with("signature-input", "hmac-sha256", "none"), Cause::Parameters),
        ("another profile", with("signature-input", "pconf-v1", "pconf-v2"), Cause::Parameters),
        ("a key id that is none", with("signature-input", "core-a.1", "core-a.01"), Cause::Parameters),
        (
            "an unknown machine",
            with("signature-input", "core-a.1", "core-b.1"),
            Cause::UnknownKey("core-b.1".parse().unwrap()),
        ),
        (
            "an unknown version",
            with("signature-input", "core-a.1", "core-a.2"),
            Cause::UnknownKey("core-a.2".parse().unwrap()),
        ),
        ("another time", with("signature-input", "created=1800000000", "created=1800000001"), mac()),
        ("another expiry", with("signature-input", "expires=1800000060", "expires=1800000061"), mac()),
        ("another nonce", with("signature-input", "nonce=\"AA", "nonce=\"AB"), mac()),
        ("another MAC", with("signature", "req=:+R", "req=:+S"), mac()),
    ];
    for (what, parts, cause) in cases {
        assert_eq!(refusal(&parts, Direction::ToLeader), Some(Refusal::Unauthenticated(cause)), "{what}");
    }
    let reflected = refusal(&e1().0, Direction::ToFollower);
    assert_eq!(reflected, Some(Refusal::Unauthenticated(mac())), "its own direction's request");
}

#[test]
fn a_tag_that_somebody_adds_to_force_a_304_is_refused() {
    let exchanges = vectors();
    let query = exchanges["exchanges"].as_array().unwrap().iter().find(|exchange| exchange["name"] == "query").unwrap();
    let (mut parts, sent) = sign(&query["request"], Direction::ToLeader, keys("core-a.1"));
    assert_eq!(refusal(&parts, Direction::ToLeader), None);
    set(&mut parts.headers, "if-none-match", "\"1.42-c93029ec9c876a4b\"");
    let refused = refusal(&parts, Direction::ToLeader);
    assert!(matches!(refused, Some(Refusal::Unauthenticated(Cause::Components(_)))), "{refused:?}");

    // A 304 that was signed for whom it was meant is none for who named no version.
    let unchanged = &exchanges["exchanges"][0]["answers"][1];
    let mut headers = headers(unchanged);
    for name in ["content-digest", "signature-input", "signature"] {
        set(&mut headers, name, unchanged["expected"][name].as_str().unwrap());
    }
    assert!(e1().1.verify_head(StatusCode::NOT_MODIFIED, &headers).is_ok());
    assert!(sent.verify_head(StatusCode::NOT_MODIFIED, &headers).is_err());
    assert!(e1().1.verify_head(StatusCode::OK, &headers).is_err(), "a 304 as a 200");
}

#[test]
fn what_the_signature_does_not_cover_changes_nothing() {
    let spelled = changed(|p| set(&mut p.headers, "host", "Leader.Internal:7443"));
    let proxied = changed(|p| set(&mut p.headers, "x-forwarded-for", "10.0.0.1"));
    for parts in [spelled, proxied] {
        assert_eq!(refusal(&parts, Direction::ToLeader), None);
    }
}

#[test]
fn a_good_signature_is_still_judged_by_time_nonce_and_body() {
    let admit = |replays: &mut ReplayGuard, now: u64| {
        let head = verify_head(&e1().0, Direction::ToLeader, &authorities(), core_a).unwrap();
        head.admit(replays, at(now)).map_err(|rejected| rejected.rejection)
    };
    let guard = |start| ReplayGuard::new(ReplayLimits::default(), at(start), BTreeMap::new());
    assert_eq!(admit(&mut guard(CREATED), CREATED + 1).err(), Some(Rejection::ClockSkew));
    assert_eq!(admit(&mut guard(CREATED - 90), CREATED - 31).err(), Some(Rejection::ClockSkew));
    let mut replays = guard(CREATED - 90);
    let head = admit(&mut replays, CREATED - 30).unwrap();
    assert_eq!(head.ahead, Some(UnixSeconds(CREATED)));
    assert_eq!(head.with_body(b" ").map_err(|rejected| rejected.rejection).err(), Some(Rejection::DigestMismatch));
    assert_eq!(admit(&mut replays, CREATED).err(), Some(Rejection::Replayed));
}

/// The answer E2 to E1, and the question that it answers.
fn e2() -> (SentRequest, HeaderMap) {
    let (_, sent) = e1();
    let answer = &vectors()["exchanges"][0]["answers"][0];
    let mut signed = headers(answer);
    for name in ["content-digest", "signature-input", "signature"] {
        set(&mut signed, name, answer["expected"][name].as_str().unwrap());
    }
    (sent, signed)
}

#[test]
fn an_answer_is_good_for_nothing_but_its_question() {
    let judge = |status: u16, change: fn(&mut HeaderMap)| {
        let (sent, mut headers) = e2();
        change(&mut headers);
        sent.verify_head(StatusCode::from_u16(status).unwrap(), &headers).map(|_| ()).err()
    };
    let replace = |headers: &mut HeaderMap, name: &'static str, from: &str, to: &str| {
        let value = headers[name].to_str().unwrap().replacen(from, to, 1);
        set(headers, name, &value);
    };
    let mac = || Some(Cause::Mac("core-a.1".parse().unwrap()));
    let components = |fields: &str| {
        Some(Cause::Components(format!(
            "(\"@status\" \"content-digest\"{fields} \"@method\";req \"@authority\";req \"@path\";req \"@query\";req \
             \"signature\";req;key=\"req\")"
        )))
    };
    assert_eq!(judge(200, |_| ()), None);
    assert_eq!(judge(404, |_| ()), mac(), "another status");
    assert_eq!(judge(304, |_| ()), mac(), "a 200 as a 304");
    assert_eq!(judge(200, |h| set(h, "etag", "\"r43\"")), mac(), "another tag");
    assert_eq!(judge(200, |h| set(h, "conf-revision", "43")), mac(), "another revision");
    assert_eq!(
        judge(200, |h| drop(h.remove("etag"))),
        components(" \"content-type\" \"conf-revision\""),
        "a stripped tag"
    );
    assert_eq!(
        judge(200, |h| set(h, "retry-after", "9")),
        components(" \"content-type\" \"etag\" \"retry-after\" \"conf-revision\""),
        "an added field"
    );
    assert_eq!(
        judge(200, |h| {
            h.append("etag", HeaderValue::from_static("\"r42\""));
        }),
        Some(Cause::Doubled("etag"))
    );
    assert_eq!(judge(200, |h| set(h, "content-encoding", "gzip")), Some(Cause::Coding));
    assert_eq!(judge(200, |h| drop(h.remove("signature"))), Some(Cause::Missing("signature")));
    assert_eq!(judge(200, |h| drop(h.remove("content-digest"))), Some(Cause::Missing("content-digest")));

    for (name, from, to, cause) in [
        ("signature-input", "res=", "req=", Some(Cause::Label("res"))),
        ("signature", "res=", "req=", Some(Cause::Label("res"))),
        ("signature-input", "core-a.1", "core-a.2", Some(Cause::OtherKey("core-a.2".parse().unwrap()))),
        ("signature-input", "hmac-sha256", "none", Some(Cause::Parameters)),
        ("signature-input", "pconf-v1", "pconf", Some(Cause::Parameters)),
        ("signature-input", "created=1800000001", "created=1800000002", mac()),
        (
            "signature-input",
            " \"signature\";req;key=\"req\"",
            "",
            components(" \"content-type\" \"etag\" \"conf-revision\""),
        ),
        ("signature", "res=:z", "res=:y", mac()),
    ] {
        let (sent, mut headers) = e2();
        replace(&mut headers, name, from, to);
        assert_eq!(sent.verify_head(StatusCode::OK, &headers).map(|_| ()).err(), cause, "{from} became {to}");
    }

    let (_, headers) = e2();
    let mut next = vectors()["exchanges"][0]["request"].clone();
    next["nonce"] = "AQECAwQFBgcICQoLDA0ODw".into();
    let (_, other_question) = sign(&next, Direction::ToLeader, keys("core-a.1"));
    assert_eq!(other_question.verify_head(StatusCode::OK, &headers).map(|_| ()).err(), mac(), "an old answer");
    let (_, other_machine) = sign(&next, Direction::ToLeader, keys("core-a.2"));
    let outcome = other_machine.verify_head(StatusCode::OK, &headers).map(|_| ()).err();
    assert_eq!(outcome, Some(Cause::OtherKey("core-a.1".parse().unwrap())), "another key's answer");
}

#[test]
fn a_body_is_the_one_that_was_signed() {
    let (sent, headers) = e2();
    let head = sent.verify_head(StatusCode::OK, &headers).unwrap();
    let body = br#"{"revision":42,"role":"core","files":[]}"#;
    assert_eq!(head.with_body(body), Ok(body));
    assert_eq!(head.with_body(&body[1..]).err(), Some(Cause::Body));
    assert_eq!(head.with_body(b"").err(), Some(Cause::Body));
}
