//! `secrets/`: one file per value, readable by nobody else, made once and never overwritten.
//!
//! A secret `smtp_password` is the file `smtp_password`, that of one machine `smtp_password@co1`; a certificate is two
//! files, `tls.crt` and `tls.key`. An admin sets a value by writing its file.

use std::path::Path;

use anyhow::Context as _;
use pconf_daemon::Chain;
use pconf_files::FilesError;
use pconf_names::MachineName;
use pconf_platform::{Problem, SecretKind, SecretName, SecretScope};
use pconf_publish::WantedSecret;
use pconf_render::{Scene, SecretValue, SecretValues, TemplateSet};

use crate::certificate;

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Reads every value that the platform's machines may use; one that is missing is left out.
pub(crate) fn read(folder: &Path, set: &TemplateSet, scene: &Scene) -> Result<SecretValues, Vec<Problem>> {
    let mut values = SecretValues::default();
    let mut problems = Vec::new();
    for (name, secret) in &set.secrets().secrets {
        let owners: Vec<Option<&MachineName>> = match secret.scope {
            SecretScope::Platform => vec![None],
            SecretScope::Machine => {
                let readers = scene.machines().iter().filter(|(_, machine)| secret.roles.contains(&machine.role));
                readers.map(|(machine, _)| Some(machine)).collect()
            }
        };
        for machine in owners {
            match read_value(folder, name, machine, &secret.kind) {
                Ok(Some(value)) => values.insert(name.clone(), machine.cloned(), value),
                Ok(None) => {}
                Err(problem) => problems.push(*problem),
            }
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

fn read_value(
    folder: &Path,
    name: &SecretName,
    machine: Option<&MachineName>,
    kind: &SecretKind,
) -> Result<Option<SecretValue>, Box<Problem>> {
    let file = file_name(name, machine);
    match kind {
        SecretKind::Certificate { .. } => {
            let parts = (read_file(folder, &format!("{file}.crt"))?, read_file(folder, &format!("{file}.key"))?);
            match parts {
                (Some(certificate), Some(key)) => match certificate::fault(&certificate, &key) {
                    None => Ok(Some(SecretValue::Certificate { certificate, key })),
                    Some(fault) => {
                        let help = format!(
                            "write both: the chain into `secrets/{file}.crt`, its key into `secrets/{file}.key`"
                        );
                        Err(problem(&format!("{file}.crt"), "unusable-certificate", fault, &help))
                    }
                },
                // A key alone is what a crash between the two leaves: it gets its certificate.
                (None, _) => Ok(None),
                (Some(_), None) => {
                    let message = "the key of the certificate beside it is missing".to_owned();
                    Err(problem(
                        &format!("{file}.key"),
                        "half-certificate",
                        message,
                        "add it, or remove the certificate",
                    ))
                }
            }
        }
        SecretKind::Random { .. } | SecretKind::External => {
            // An editor or `echo` ends the file with a line break that is no part of the value.
            let text = read_file(folder, &file)?;
            let bare = |text: &str| {
                text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text)).to_owned()
            };
            Ok(text.map(|text| SecretValue::Text(bare(&text))))
        }
    }
}

fn read_file(folder: &Path, file: &str) -> Result<Option<String>, Box<Problem>> {
    let text = pconf_files::read_private(&folder.join(file)).map_err(|error| match error {
        FilesError::Exposed { mode, .. } => {
            let message = format!("has mode {mode:04o}: others on this machine can read it");
            problem(file, "exposed-secret", message, &format!("run `chmod 600 secrets/{file}`"))
        }
        error => problem(file, "unreadable-secret", Chain(&error).to_string(), "repair the file, or remove it"),
    })?;
    if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
        return Err(problem(file, "empty-secret", "is empty".to_owned(), "write its value, or remove the file"));
    }
    Ok(text)
}

fn problem(file: &str, code: &'static str, message: String, help: &str) -> Box<Problem> {
    Box::new(Problem {
        code,
        file: format!("secrets/{file}"),
        span: None,
        subject: String::new(),
        message,
        help: help.to_owned(),
        related: Vec::new(),
    })
}

/// Makes a value with the system's random source; a certificate for the key that is there already, if one is.
pub(crate) fn make(folder: &Path, wanted: &WantedSecret) -> anyhow::Result<SecretValue> {
    match &wanted.kind {
        SecretKind::Random { length } => random_text(*length).map(SecretValue::Text),
        SecretKind::Certificate { names } => {
            let key = folder.join(format!("{}.key", file_name(&wanted.name, wanted.machine.as_ref())));
            certificate::self_signed(names, pconf_files::read_private(&key)?.as_deref())
        }
        SecretKind::External => anyhow::bail!("the secret `{}` is brought by the admin", wanted.name),
    }
}

fn random_text(length: usize) -> anyhow::Result<String> {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes).context("the system's random source fails")?;
        // 248 is the largest multiple of 62 in a byte: what lies above would favour the first letters.
        let letters = bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
        text.extend(letters.take(length - text.len()));
    }
    Ok(text)
}

/// Writes a value that was just made. The caller holds the folder's lock, so that nobody else makes another one.
pub(crate) fn keep(folder: &Path, wanted: &WantedSecret, value: &SecretValue) -> anyhow::Result<()> {
    let file = file_name(&wanted.name, wanted.machine.as_ref());
    let parts = match value {
        SecretValue::Text(text) => vec![(file, text)],
        // The key first: a key without its certificate gets one the next time, the other half would be lost.
        SecretValue::Certificate { certificate, key } => {
            vec![(format!("{file}.key"), key), (format!("{file}.crt"), certificate)]
        }
    };
    for (file, text) in parts {
        pconf_files::create_state(&folder.join(file), text.as_bytes())?;
    }
    Ok(())
}

fn file_name(name: &SecretName, machine: Option<&MachineName>) -> String {
    machine.map_or_else(|| name.to_string(), |machine| format!("{name}@{machine}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_text_has_the_length_and_every_letter_of_the_alphabet() -> anyhow::Result<()> {
        let text = random_text(10_000)?;
        assert_eq!(text.len(), 10_000);
        let mut letters: Vec<u8> = text.bytes().collect();
        letters.sort_unstable();
        letters.dedup();
        let mut alphabet = ALPHABET.to_vec();
        alphabet.sort_unstable();
        assert_eq!(letters, alphabet);
        assert_ne!(random_text(32)?, random_text(32)?);
        Ok(())
    }
}
