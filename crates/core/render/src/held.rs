//! Which secrets a machine's files hold: those travel beside them, so that nobody is shown them. The others stay here.

use std::collections::BTreeMap;

use pconf_names::RelativePath;

use crate::encode;
use crate::render::RenderedFile;
use crate::secrets::SecretValue;

/// Those of the secrets that stand in one of the files, in any form that an encoder gives them.
pub(crate) fn held<'v>(
    secrets: impl Iterator<Item = &'v SecretValue>,
    files: &BTreeMap<RelativePath, RenderedFile>,
) -> Vec<SecretValue> {
    // A secret gets into a file through a template only, and what a template makes is text.
    let texts: Vec<&str> = files.values().filter_map(|file| std::str::from_utf8(&file.bytes).ok()).collect();
    let is_held = |secret: &&SecretValue| {
        // One line of several is enough: a key may be indented.
        let lines = secret.confidential().lines().filter(|line| !line.is_empty() && !line.starts_with("-----"));
        let mut forms = lines.flat_map(encode::forms);
        forms.any(|form| texts.iter().any(|text| text.contains(&form)))
    };
    secrets.filter(is_held).cloned().collect()
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
            let path: RelativePath = "a".parse()?;
            let file = RenderedFile { path: path.clone(), attributes, bytes: text.as_bytes().to_vec() };
            let found = held(secrets.iter(), &BTreeMap::from([(path, file)]));
            Ok(found.iter().filter_map(|one| secrets.iter().position(|secret| secret == one)).collect())
        };
        assert_eq!(held_by("key: plain, chain")?, [0]);
        assert_eq!(held_by(r#"{"p":"say \"$hi\""}"#)?, [1]);
        assert_eq!(held_by(r#"p: "say \"$$hi\"""#)?, [1]);
        assert_eq!(held_by("https://x:say%20%22%24hi%22@host/")?, [1]);
        assert_eq!(held_by("  -----BEGIN-----\n  MIIE\n  plain")?, [0, 3]);
        Ok(())
    }
}
