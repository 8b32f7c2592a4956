//! `audit.log`: who did what, one JSON object per line, each bound to the one before it by a MAC.
//!
//! An entry is on the disk before what it tells of is done: nothing is done unrecorded. Where the log ends is kept in an
//! envelope of its own (`audit-head`), so that a log that was cut off is told from one that ends there. Values appear as
//! digests under a key of this log: equal ones can be seen to be equal, and nothing can be guessed from them.

use std::path::PathBuf;

use anyhow::Context as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use pconf_files::Journal;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::folder::Folder;
use crate::hex::hex;
use crate::now;
use crate::orders::Actor;

const LOG: &str = "audit.log";
const HEAD: &str = "audit-head";

/// What became of a value: its bytes before and after, where there are such.
#[derive(Default, Clone, Copy)]
pub(crate) struct Change<'a> {
    pub(crate) before: Option<&'a [u8]>,
    pub(crate) after: Option<&'a [u8]>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Counts from 1.
    pub(crate) seq: u64,
    /// RFC 3339.
    pub(crate) at: String,
    pub(crate) who: String,
    /// E.g. `secret.set`.
    pub(crate) what: String,
    /// E.g. the name of the secret.
    pub(crate) object: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
    /// Over the MAC of the entry before and all of this one but the MAC; hexadecimal.
    pub(crate) mac: String,
}

/// Where the log ends.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    seq: u64,
    mac: String,
}

/// The first thing that is wrong with the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Tampered {
    #[error("line {line} is no entry")]
    Unreadable { line: usize },
    #[error("line {line} has the number {found} where {expected} is due: an entry was taken out or put in")]
    OutOfOrder { line: usize, expected: u64, found: u64 },
    #[error("entry {seq} (line {line}) was changed, or one before it was")]
    Changed { seq: u64, line: usize },
    #[error("the log ends with entry {last}, and entry {recorded} was written: the end was cut off")]
    CutOff { last: u64, recorded: u64 },
}

/// Records what `actor` is about to do.
pub(crate) fn append(
    folder: &Folder,
    actor: &Actor,
    what: &str,
    object: &str,
    change: Change<'_>,
) -> anyhow::Result<()> {
    let key = Key::of(folder)?;
    let mut journal = Journal::open(&path(folder)).context("cannot record this, so it is not done")?;
    let last: Option<Entry> = match journal.last()? {
        None => None,
        Some(line) => Some(serde_json::from_str(&line).with_context(|| {
            format!("`{}` does not end with an entry: see `config-leader audit verify`", path(folder).display())
        })?),
    };
    let (seq, before) = last.map_or((0, String::new()), |last| (last.seq, last.mac));
    let mut entry = Entry {
        seq: seq + 1,
        at: now::to_the_second(),
        who: actor.to_string(),
        what: what.to_owned(),
        object: object.to_owned(),
        before: change.before.map(|value| key.digest(value)),
        after: change.after.map(|value| key.digest(value)),
        mac: String::new(),
    };
    entry.mac = key.mac(&before, &entry)?;
    journal.append(&serde_json::to_string(&entry)?).context("cannot record this, so it is not done")?;
    let head = serde_json::to_vec(&Head { seq: entry.seq, mac: entry.mac })?;
    Ok(folder.vault()?.write(HEAD, &head)?)
}

/// The entries, oldest first; the lines that are none are left out.
pub(crate) fn entries(folder: &Folder) -> anyhow::Result<Vec<Entry>> {
    Ok(text(folder)?.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Checks the whole log: how many entries there are, or the first thing that is wrong.
pub(crate) fn verify(folder: &Folder) -> anyhow::Result<Result<u64, Tampered>> {
    let recorded: Option<Head> = folder.sealed(HEAD)?.map(|head| serde_json::from_slice(&head)).transpose()?;
    let key = Key::of(folder)?;
    judge(&key, &text(folder)?, recorded.as_ref())
}

/// Binds the entries to this folder's vault, where they were bound with `old` before: the leader was carried here. `false`
/// where somebody had changed them; then they stay as they are, to be found out.
pub(crate) fn rebind(folder: &Folder, old: &[u8]) -> anyhow::Result<bool> {
    let recorded: Option<Head> = folder.sealed(HEAD)?.map(|head| serde_json::from_slice(&head)).transpose()?;
    let Ok(old) = old.try_into().map(|old| Key(Zeroizing::new(old))) else { return Ok(false) };
    if judge(&old, &text(folder)?, recorded.as_ref())?.is_err() {
        return Ok(false);
    }
    let key = Key::of(folder)?;
    let (mut lines, mut mac, mut seq) = (String::new(), String::new(), 0);
    for mut entry in entries(folder)? {
        entry.mac = key.mac(&mac, &entry)?;
        lines = lines + &serde_json::to_string(&entry)? + "\n";
        (mac, seq) = (entry.mac, entry.seq);
    }
    if seq > 0 {
        pconf_files::write_state(&path(folder), lines.as_bytes())?;
        folder.vault()?.write(HEAD, &serde_json::to_vec(&Head { seq, mac })?)?;
    }
    Ok(true)
}

fn judge(key: &Key, text: &str, recorded: Option<&Head>) -> anyhow::Result<Result<u64, Tampered>> {
    let mut before = String::new();
    let mut seq = 0;
    let mut seen_head = recorded.is_none();
    // A line without its end is what a crash left of an entry that was never acted on.
    for (at, line) in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).enumerate() {
        let line_number = at + 1;
        let Ok(entry) = serde_json::from_str::<Entry>(line) else {
            return Ok(Err(Tampered::Unreadable { line: line_number }));
        };
        if entry.seq != seq + 1 {
            return Ok(Err(Tampered::OutOfOrder { line: line_number, expected: seq + 1, found: entry.seq }));
        }
        seq = entry.seq;
        if key.mac(&before, &entry)? != entry.mac {
            return Ok(Err(Tampered::Changed { seq, line: line_number }));
        }
        seen_head |= recorded.is_some_and(|head| head.seq == seq && head.mac == entry.mac);
        before = entry.mac;
    }
    match recorded {
        Some(head) if !seen_head => Ok(Err(Tampered::CutOff { last: seq, recorded: head.seq })),
        _ => Ok(Ok(seq)),
    }
}

fn text(folder: &Folder) -> anyhow::Result<String> {
    Ok(pconf_files::read_private(&path(folder))?.unwrap_or_default())
}

fn path(folder: &Folder) -> PathBuf {
    folder.path().join(LOG)
}

/// What binds the entries, and hides values.
struct Key(Zeroizing<[u8; 32]>);

impl Key {
    fn of(folder: &Folder) -> anyhow::Result<Self> {
        Ok(Self(folder.vault()?.derive("audit")))
    }

    fn mac(&self, before: &str, entry: &Entry) -> anyhow::Result<String> {
        let bare = Entry { mac: String::new(), ..entry.clone() };
        Ok(self.joined(&[b"entry\0", before.as_bytes(), b"\0", &serde_json::to_vec(&bare)?]))
    }

    fn digest(&self, value: &[u8]) -> String {
        let mut digest = self.joined(&[b"value\0", value]);
        digest.truncate(16);
        digest
    }

    fn joined(&self, parts: &[&[u8]]) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.as_slice()) else {
            unreachable!("HMAC takes a key of any length")
        };
        for part in parts {
            mac.update(part);
        }
        hex(&mac.finalize().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder() -> anyhow::Result<(tempfile::TempDir, Folder)> {
        let held = tempfile::tempdir()?;
        std::fs::set_permissions(held.path(), std::fs::Permissions::from_mode(0o700))?;
        let folder = Folder::open(held.path(), None)?;
        for (what, object, value) in
            [("secret.set", "smtp_password", Some("hunter2")), ("accept", "1.1", None), ("accept", "1.2", None)]
        {
            let change = Change { before: None, after: value.map(str::as_bytes) };
            append(&folder, &Actor::Person { uid: 0, sudo: Some("ada".to_owned()) }, what, object, change)?;
        }
        Ok((held, folder))
    }

    #[test]
    fn every_deed_is_recorded_and_no_value_is() -> anyhow::Result<()> {
        let (_held, folder) = folder()?;
        let told = entries(&folder)?.into_iter().map(|entry| (entry.seq, entry.who, entry.what, entry.object));
        let told: Vec<_> = told.map(|(seq, who, what, object)| format!("{seq} {who} {what} {object}")).collect();
        assert_eq!(
            told,
            ["1 uid 0 (ada) secret.set smtp_password", "2 uid 0 (ada) accept 1.1", "3 uid 0 (ada) accept 1.2"]
        );
        assert!(!text(&folder)?.contains("hunter2"));
        assert_eq!(verify(&folder)?, Ok(3));
        Ok(())
    }

    #[test]
    fn whatever_is_done_to_the_log_the_first_bad_entry_is_named() -> anyhow::Result<()> {
        let (_held, folder) = folder()?;
        let good = text(&folder)?;
        let lines: Vec<&str> = good.lines().collect();
        let judged = |text: String| -> anyhow::Result<Result<u64, Tampered>> {
            std::fs::write(path(&folder), text)?;
            verify(&folder)
        };
        assert_eq!(judged(good.replace("1.1", "1.9"))?, Err(Tampered::Changed { seq: 2, line: 2 }));
        assert_eq!(
            judged(format!("{}\n{}\n", lines[0], lines[2]))?,
            Err(Tampered::OutOfOrder { line: 2, expected: 2, found: 3 })
        );
        assert_eq!(judged(format!("{}\n{}\n", lines[0], lines[1]))?, Err(Tampered::CutOff { last: 2, recorded: 3 }));
        assert_eq!(judged(String::new())?, Err(Tampered::CutOff { last: 0, recorded: 3 }));
        assert_eq!(judged(format!("{}\nnonsense\n", lines[0]))?, Err(Tampered::Unreadable { line: 2 }));
        assert_eq!(
            judged(good.replace(r#""seq":3"#, r#""seq":2"#))?,
            Err(Tampered::OutOfOrder { line: 3, expected: 3, found: 2 })
        );
        assert_eq!(judged(format!("{good}{{\"seq\":4,"))?, Ok(3));
        append(&folder, &Actor::Leader, "accept", "1.3", Change::default())?;
        assert_eq!(verify(&folder)?, Ok(4));
        Ok(())
    }

    #[test]
    fn every_single_changed_byte_is_found() -> anyhow::Result<()> {
        let (_held, folder) = folder()?;
        let (good, key) = (text(&folder)?, Key::of(&folder)?);
        let recorded: Head = serde_json::from_slice(&folder.sealed(HEAD)?.context("there is a head")?)?;
        for at in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8_lossy(&bytes).into_owned();
            assert!(judge(&key, &changed, Some(&recorded))?.is_err(), "byte {at}: {changed}");
        }
        Ok(())
    }
}
