//! What must not be shown of a machine's files.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Shorter texts are no secrets, and masking them would tear up what is shown.
const SHORTEST: usize = 6;

/// The secrets that a bundle's files hold. They travel with the files and serve to leave them out of whatever is shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub struct Masks(Vec<String>);

impl Masks {
    /// Masks for these values; of one with several lines (PEM) every line.
    pub fn new(values: impl IntoIterator<Item = String>) -> Self {
        let mut lines: Vec<String> = values
            .into_iter()
            .flat_map(|value| value.lines().map(str::to_owned).collect::<Vec<_>>())
            .filter(|line| line.len() >= SHORTEST && !line.starts_with("-----"))
            .collect();
        lines.sort_unstable();
        lines.dedup();
        Self(lines)
    }

    /// Whether there is nothing to mask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secrets, sorted; [`Masks::new`] makes the same of them again.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// `text` with `••••` in place of every secret, as it is or in base64, hexadecimal or escaped for JSON, compose or a URL.
    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        self.hider().hide(text)
    }

    /// What hides them in many texts.
    #[must_use]
    pub fn hider(&self) -> Hider {
        // The longest first: a secret may be part of another one.
        let mut forms: Vec<String> = self.0.iter().flat_map(|secret| forms(secret)).collect();
        forms.sort_unstable_by_key(|form| std::cmp::Reverse(form.len()));
        Hider(forms)
    }

    /// The masks of both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self::new(self.0.iter().chain(&other.0).cloned())
    }
}

/// Every form in which the secrets of [`Masks`] may stand in a text.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Hider(Vec<String>);

impl Hider {
    /// As [`Masks::hide`].
    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        let mut hidden = text.to_owned();
        for form in &self.0 {
            if hidden.contains(form) {
                hidden = hidden.replace(form, "••••");
            }
        }
        hidden
    }
}

fn forms(secret: &str) -> Vec<String> {
    let hexadecimal = secret.bytes().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let json = serde_json::Value::from(secret).to_string();
    // Its own quotes alone: the secret may end with one.
    let json = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or(&json);
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let url = secret.bytes().fold(String::new(), |text, byte| {
        if unreserved(byte) { text + &char::from(byte).to_string() } else { text + &format!("%{byte:02X}") }
    });
    let mut forms = vec![
        secret.to_owned(),
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
        hexadecimal,
        json.to_owned(),
        json.replace('$', "$$"),
        url,
    ];
    forms.sort_unstable();
    forms.dedup();
    forms
}

impl fmt::Debug for Hider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} forms of secrets", self.0.len())
    }
}

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} masks", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_of_a_secret_is_shown() {
        let masks =
            Masks::new(["hunter2\"x".to_owned(), "-----BEGIN KEY-----\nMIIEvQ\n-----END KEY-----\n".to_owned()]);
        let text = r#"a hunter2"x b {"p":"hunter2\"x"} aHVudGVyMiJ4 68756e7465723222 MIIEvQ"#;
        assert_eq!(masks.hide(text), r#"a •••• b {"p":"••••"} •••• 68756e7465723222 ••••"#);
        assert_eq!(masks.hide("68756e746572322278 hunter2%22x"), "•••• ••••");
        assert_eq!(Masks::new(["hunter2\"".to_owned()]).hide(r#"{"p":"hunter2\""}"#), r#"{"p":"••••"}"#);
        assert_eq!(Masks::new(["pa$$word".to_owned()]).hide("p: pa$$$$word"), "p: ••••");
        assert_eq!(format!("{masks:?}"), "2 masks");
        assert_eq!(Masks::default().hide("text"), "text");
    }
}
