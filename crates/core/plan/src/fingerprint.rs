//! What makes two bundles of one revision the same.

use std::fmt::Write as _;

use pconf_bundle::Bundle;
use pconf_names::Digest;
use serde::Serialize;

/// The digest of all that a bundle says about a machine, apart from the revision's number.
///
/// It is of the meaning and not of the bytes that travelled, so that a leader that writes its JSON differently after an
/// upgrade still serves the same revision.
#[must_use]
pub fn fingerprint(bundle: &Bundle) -> Digest {
    let mut text = String::new();
    // Writing to a string cannot fail; a path holds no line break.
    let _ = writeln!(text, "{} {}", bundle.machine, bundle.role);
    for directory in &bundle.directories {
        let _ = writeln!(text, "directory {} {} {}", directory.owner, directory.mode, directory.path);
    }
    for file in &bundle.files {
        let _ = writeln!(text, "file {} {} {} {}", file.owner, file.mode, file.content.digest(), file.path);
        if let Some(on_change) = &file.on_change {
            let _ = writeln!(text, "on change {}", json(on_change));
        }
    }
    for rule in &bundle.services {
        let _ = writeln!(text, "service {}", json(rule));
    }
    for compose in &bundle.compose {
        let _ = writeln!(text, "compose {} {}", compose.project, compose.file);
    }
    Digest::of(text.as_bytes())
}

fn json(value: &impl Serialize) -> String {
    // What came as JSON goes back into it.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use pconf_bundle::{Control, NextKey};

    use super::*;

    #[test]
    fn a_new_key_is_no_new_revision() -> Result<(), Box<dyn std::error::Error>> {
        let bundle = Bundle::empty("1.1".parse()?, "co1".parse()?, "core".parse()?);
        let next_key = Some(NextKey { version: 2, key: [9; 32].into() });
        let control = Some(Control { serial: 7, next_key, authorities: Some("PEM".to_owned()) });
        assert_eq!(fingerprint(&Bundle { control, ..bundle.clone() }), fingerprint(&bundle));
        Ok(())
    }
}
