//! One entry of `secrets.json` as written, and what it means: each field with the kinds that it is for.

use pconf_names::RoleName;
use serde::Deserialize;

use crate::json_text::JsonText;
use crate::pointer;
use crate::problem::Problem;
use crate::secrets::{DhGroup, Rotation, Secret, SecretKind, SecretName, SecretScope};

const LETTERS_AND_DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// 16 letters and digits: what nobody guesses.
const FEWEST_BITS: f64 = 95.0;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    description: String,
    kind: Kind,
    pub(super) scope: Option<SecretScope>,
    pub(super) roles: Vec<RoleName>,
    length: Option<usize>,
    alphabet: Option<String>,
    bytes: Option<usize>,
    bits: Option<usize>,
    names: Option<Vec<String>>,
    group: Option<DhGroup>,
    from: Option<String>,
    label: Option<String>,
    rotation: Option<Rotation>,
    introduced_in: Option<String>,
    #[serde(default)]
    immutable_after_first_use: bool,
    never_rotate: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Random,
    Hex,
    Base64url,
    P256,
    Ed25519,
    Rsa,
    Certificate,
    Dh,
    ErlangCookie,
    External,
    Derived,
}

impl Written {
    /// The secret that it is derived from.
    pub(super) fn source(&self) -> Option<&String> {
        self.from.as_ref()
    }

    /// What it says, and everything that is wrong with it.
    pub(super) fn understood(self, at: &str, json: &JsonText) -> (Option<Secret>, Vec<Problem>) {
        let mut problems = self.stray_keys(at, json);
        problems.extend(self.contradictions(at, json));
        let kind = self.secret_kind().unwrap_or_else(|missing| {
            problems.extend(
                missing
                    .into_iter()
                    .map(|(key, help)| json.problem(at, "missing-key", format!("this kind needs `{key}`"), help)),
            );
            None
        });
        problems.extend(kind.as_ref().and_then(|kind| weak_alphabet(kind, at, json)));
        let secret = kind.map(|kind| Secret {
            description: self.description,
            kind,
            scope: self.scope.unwrap_or_default(),
            roles: self.roles.into_iter().collect(),
            rotation: self.rotation.unwrap_or_default(),
            introduced_in: self.introduced_in,
            is_immutable: self.immutable_after_first_use,
            loss: self.never_rotate,
        });
        (secret, problems)
    }

    /// Fields that say nothing about a secret of this kind.
    fn stray_keys(&self, at: &str, json: &JsonText) -> Vec<Problem> {
        let changes = !matches!(self.kind, Kind::Dh | Kind::Derived);
        let fields: [(&str, bool, bool, &str); 11] = [
            ("length", self.length.is_some(), self.kind == Kind::Random, "random secrets only"),
            ("alphabet", self.alphabet.is_some(), self.kind == Kind::Random, "random secrets only"),
            ("bytes", self.bytes.is_some(), matches!(self.kind, Kind::Hex | Kind::Base64url), "hex and base64url only"),
            ("bits", self.bits.is_some(), self.kind == Kind::Rsa, "rsa only"),
            ("names", self.names.is_some(), self.kind == Kind::Certificate, "certificates only"),
            ("group", self.group.is_some(), self.kind == Kind::Dh, "dh only"),
            ("from", self.from.is_some(), self.kind == Kind::Derived, "derived secrets only"),
            ("label", self.label.is_some(), self.kind == Kind::Derived, "derived secrets only"),
            ("rotation", self.rotation.is_some(), changes, CHANGING),
            ("immutableAfterFirstUse", self.immutable_after_first_use, changes, CHANGING),
            ("neverRotate", self.never_rotate.is_some(), changes, CHANGING),
        ];
        let stray = fields.into_iter().filter(|(_, is_written, fits, _)| *is_written && !fits);
        stray
            .map(|(key, _, _, of)| {
                let message = format!("`{key}` is for {of}");
                json.key_problem(&pointer::child(at, key), "stray-key", message, "remove it, or change the kind")
            })
            .collect()
    }

    /// Plans that cannot be followed.
    fn contradictions(&self, at: &str, json: &JsonText) -> Vec<Problem> {
        let overlaps = self.rotation == Some(Rotation::Overlap);
        let mut problems = Vec::new();
        if matches!(self.kind, Kind::Dh | Kind::Derived) {
            return problems;
        }
        let mut refuse = |key: &str, message: &str, help: &str| {
            problems.push(json.problem(&pointer::child(at, key), "contradiction", message, help));
        };
        if overlaps && self.kind == Kind::Certificate {
            refuse(
                "rotation",
                "who checks a certificate trusts its authority: there is nothing to overlap",
                "remove it",
            );
        }
        if overlaps && self.never_rotate.is_some() {
            refuse("rotation", "there is a plan for what `neverRotate` says is never done", "remove one of the two");
        }
        if overlaps && self.immutable_after_first_use {
            refuse(
                "rotation",
                "there is a plan for a value that `immutableAfterFirstUse` keeps",
                "remove one of the two",
            );
        }
        problems
    }

    /// The kind; the keys that it lacks, each with an example, otherwise.
    fn secret_kind(&self) -> Result<Option<SecretKind>, Vec<(&'static str, &'static str)>> {
        Ok(Some(match self.kind {
            Kind::Random => SecretKind::Random {
                length: self.length.unwrap_or(32),
                alphabet: self.alphabet.clone().unwrap_or_else(|| LETTERS_AND_DIGITS.to_owned()),
            },
            Kind::Hex => SecretKind::Hex { bytes: self.bytes.unwrap_or(32) },
            Kind::Base64url => SecretKind::Base64url { bytes: self.bytes.unwrap_or(32) },
            Kind::P256 => SecretKind::P256,
            Kind::Ed25519 => SecretKind::Ed25519,
            Kind::Rsa => SecretKind::Rsa { bits: self.bits.unwrap_or(3072) },
            Kind::Certificate => SecretKind::Certificate {
                names: self
                    .names
                    .clone()
                    .ok_or_else(|| vec![("names", "write \"names\": [\"{{ settings.domain }}\"]")])?,
            },
            Kind::Dh => SecretKind::DiffieHellman { group: self.group.unwrap_or(DhGroup::Ffdhe2048) },
            Kind::ErlangCookie => SecretKind::ErlangCookie,
            Kind::External => SecretKind::External,
            Kind::Derived => {
                let (Some(from), Some(label)) = (&self.from, self.label.clone()) else {
                    let from = ("from", "write \"from\": the name of another secret");
                    let label = ("label", "write \"label\": what it is for, e.g. \"webhooks\"");
                    let missing = [(self.from.is_none(), from), (self.label.is_none(), label)];
                    return Err(missing.into_iter().filter_map(|(lacks, key)| lacks.then_some(key)).collect());
                };
                // The schema's `secret-name` is this very rule.
                let Ok(from) = from.parse::<SecretName>() else { return Ok(None) };
                SecretKind::Derived { from, label }
            }
        }))
    }
}

const CHANGING: &str = "secrets with a value of their own only: dh has none, a derived one follows its source";

fn weak_alphabet(kind: &SecretKind, at: &str, json: &JsonText) -> Option<Problem> {
    let SecretKind::Random { length, alphabet } = kind else { return None };
    let place = pointer::child(at, "alphabet");
    let mut letters: Vec<char> = alphabet.chars().collect();
    letters.sort_unstable();
    if let Some([twice, ..]) = letters.windows(2).find(|pair| pair[0] == pair[1]) {
        let message = format!("`{twice}` is in the alphabet twice");
        return Some(json.problem(&place, "repeated-item", message, "each character once: they are equally likely"));
    }
    let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    let bits = count(*length) * count(letters.len()).log2();
    (bits < FEWEST_BITS).then(|| {
        let message = format!("{length} characters of {} are too easily guessed: {bits:.0} bits", letters.len());
        json.problem(&place, "weak-secret", message, format!("{FEWEST_BITS} bits at least: make `length` larger"))
    })
}
