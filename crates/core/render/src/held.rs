//! Which secrets a machine's files hold: those travel beside them, so that nobody is shown them. The others stay here.

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::encode;
use crate::render::RenderedFile;
use crate::secrets::SecretValue;

/// A value with every form in which an encoder may have put it into a file.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Sought {
    pub(crate) value: SecretValue,
    forms: Vec<String>,
}

impl Sought {
    pub(crate) fn new(value: &SecretValue) -> Self {
        // One line of several is enough: a key may be indented.
        let lines = value.confidential().lines().filter(|line| !line.is_empty() && !line.starts_with("-----"));
        Self { forms: lines.flat_map(encode::forms).collect(), value: value.clone() }
    }

    /// Whether it stands in a file. It gets there through a template only, and what a template makes is text.
    pub(crate) fn is_in(&self, file: &RenderedFile) -> bool {
        let text = std::str::from_utf8(&file.bytes);
        text.is_ok_and(|text| self.forms.iter().any(|form| text.contains(form)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pconf_names::Class;
    use pconf_platform::Attributes;

    #[test]
    fn a_secret_is_held_in_whatever_form_it_lands() -> Result<(), Box<dyn std::error::Error>> {
        let secrets = [
            SecretValue::Text("plain".to_owned()),
            SecretValue::Text("say \"$hi\"".to_owned()),
            SecretValue::Text("absent".to_owned()),
            SecretValue::Certificate { certificate: "chain".to_owned(), key: "-----BEGIN-----\nMIIE\n".to_owned() },
        ];
        let held_by = |text: &str| -> Result<Vec<usize>, Box<dyn std::error::Error>> {
            let attributes =
                Attributes { class: Class::Config, owner: "0:0".parse()?, mode: "0640".parse()?, on_change: None };
            let file = RenderedFile { path: "a".parse()?, attributes, bytes: text.as_bytes().into() };
            let held = secrets.iter().enumerate().filter(|(_, secret)| Sought::new(secret).is_in(&file));
            Ok(held.map(|(index, _)| index).collect())
        };
        assert_eq!(held_by("key: plain, chain")?, [0]);
        assert_eq!(held_by(r#"{"p":"say \"$hi\""}"#)?, [1]);
        assert_eq!(held_by(r#"p: "say \"$$hi\"""#)?, [1]);
        assert_eq!(held_by("https://x:say%20%22%24hi%22@host/")?, [1]);
        assert_eq!(held_by("  -----BEGIN-----\n  MIIE\n  plain")?, [0, 3]);
        Ok(())
    }
}
