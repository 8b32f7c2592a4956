//! `tokens.json`: who may give orders over the network, what, and until when.
//!
//! A token is shown once, when it is made; kept is its digest. It is 32 random bytes, so that a plain hash is enough.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use pconf_bundle::UnixSeconds;
use pconf_daemon::{from_state, to_state};
use pconf_names::Digest;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::folder::Folder;

const FILE: &str = "tokens.json";
const PREFIX: &str = "pcft_";
/// The last use is noted this exactly, in seconds.
const USE_STEP: u64 = 60;

/// What a token is good for. Whoever may do something may also look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// To look at status, machines and the audit log.
    Read,
    /// To set, show and rotate secrets.
    Secrets,
    /// To add and remove machines, and to end and rotate their keys.
    Machines,
    /// Everything.
    Admin,
}

/// A token as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Token {
    pub(crate) name: String,
    pub(crate) scope: Scope,
    /// SHA-256 of its secret part, hexadecimal.
    digest: String,
    /// All times in Unix seconds.
    pub(crate) made: u64,
    pub(crate) expires: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_used: Option<u64>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tokens {
    tokens: BTreeMap<String, Token>,
}

impl Scope {
    /// Whether a token of this scope is enough where `needed` is needed.
    pub(crate) fn covers(self, needed: Self) -> bool {
        self == Self::Admin || self == needed || needed == Self::Read
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Secrets => "secrets",
            Self::Machines => "machines",
            Self::Admin => "admin",
        })
    }
}

/// Makes a token that is good for `seconds`: its id and its text, which is nowhere afterwards. The caller holds the folder's
/// lock.
pub(crate) fn create(
    folder: &Folder,
    name: &str,
    scope: Scope,
    now: UnixSeconds,
    seconds: u64,
) -> anyhow::Result<(String, Zeroizing<String>)> {
    let id = format!("{:012x}", u64::from_be_bytes(pconf_wire::random()?) >> 16);
    let secret = pconf_wire::enrolment_key()?.to_text();
    let mut kept = read(folder)?;
    anyhow::ensure!(!kept.tokens.values().any(|token| token.name == name), "there is a token `{name}` already");
    let token = Token {
        name: name.to_owned(),
        scope,
        digest: digest(&secret),
        made: now.0,
        expires: now.plus(seconds).0,
        last_used: None,
    };
    kept.tokens.insert(id.clone(), token);
    write(folder, &kept)?;
    let text = Zeroizing::new(format!("{PREFIX}{id}_{}", *secret));
    Ok((id, text))
}

/// Every token that is kept, by id.
pub(crate) fn list(folder: &Folder) -> anyhow::Result<BTreeMap<String, Token>> {
    Ok(read(folder)?.tokens)
}

/// Forgets the token of this id or name. The caller holds the folder's lock.
pub(crate) fn revoke(folder: &Folder, which: &str) -> anyhow::Result<Token> {
    let mut kept = read(folder)?;
    let id = kept.tokens.iter().find(|(id, token)| *id == which || token.name == which).map(|(id, _)| id.clone());
    let token = id.and_then(|id| kept.tokens.remove(&id));
    let token = token.with_context(|| format!("there is no token `{which}`: `config-leader token list` shows them"))?;
    write(folder, &kept)?;
    Ok(token)
}

/// The token that `text` is, if it is one and good at `now`. What it is not takes as long to tell.
pub(crate) fn recognise(folder: &Folder, text: &str, now: UnixSeconds) -> anyhow::Result<Option<Token>> {
    let kept = read(folder)?;
    let (id, secret) = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).unwrap_or_default();
    let nobody = digest("");
    let known = kept.tokens.get(id);
    let is_same: bool = digest(secret).as_bytes().ct_eq(known.map_or(&nobody, |token| &token.digest).as_bytes()).into();
    let Some(token) = known.filter(|token| is_same && now.0 < token.expires) else { return Ok(None) };
    if token.last_used.is_none_or(|used| now.0 >= used + USE_STEP) {
        let _alone = folder.lock()?;
        let mut kept = read(folder)?;
        if let Some(token) = kept.tokens.get_mut(id) {
            token.last_used = Some(now.0);
            write(folder, &kept)?;
        }
    }
    Ok(Some(token.clone()))
}

fn digest(secret: &str) -> String {
    Digest::of(secret.as_bytes()).to_string()
}

fn read(folder: &Folder) -> anyhow::Result<Tokens> {
    let Some(text) = pconf_files::read_private(&path(folder))? else { return Ok(Tokens::default()) };
    let fault = || format!("`{}` cannot be used: remove it and make new tokens", path(folder).display());
    from_state(text.as_bytes()).with_context(fault)
}

fn write(folder: &Folder, tokens: &Tokens) -> anyhow::Result<()> {
    let bytes = to_state(tokens).context("cannot write the tokens as JSON")?;
    Ok(pconf_files::write_state(&path(folder), &bytes)?)
}

fn path(folder: &Folder) -> PathBuf {
    folder.path().join(FILE)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    #[test]
    fn a_token_is_known_until_it_ends_or_is_revoked_and_is_written_nowhere() -> anyhow::Result<()> {
        let held = tempfile::tempdir()?;
        std::fs::set_permissions(held.path(), std::fs::Permissions::from_mode(0o700))?;
        let folder = Folder::open(held.path(), None)?;
        let (id, text) = create(&folder, "ci", Scope::Read, NOW, 60)?;
        assert!(create(&folder, "ci", Scope::Admin, NOW, 60).is_err());
        let known = |text: &str, now| recognise(&folder, text, now).map(|token| token.map(|token| token.name));
        assert_eq!(known(&text, NOW)?, Some("ci".to_owned()));
        assert_eq!(known(&text, NOW.plus(59))?, Some("ci".to_owned()));
        assert_eq!(known(&text, NOW.plus(60))?, None);
        for other in [&text[..text.len() - 1], &text[5..], &format!("{PREFIX}{id}_"), &format!("{PREFIX}_"), "", PREFIX]
        {
            assert_eq!(known(other, NOW)?, None, "{other}");
        }
        assert_eq!(list(&folder)?[&id].last_used, Some(NOW.0));
        let kept = std::fs::read_to_string(held.path().join(FILE))?;
        assert!(!kept.contains(text.trim_start_matches(PREFIX).split_once('_').context("it has parts")?.1));
        revoke(&folder, "ci")?;
        assert_eq!(known(&text, NOW)?, None);
        Ok(())
    }

    #[test]
    fn a_scope_covers_itself_and_looking_and_admin_covers_all() {
        use Scope::{Admin, Machines, Read, Secrets};
        let all = [Read, Secrets, Machines, Admin];
        let covered = |scope: Scope| all.into_iter().filter(|needed| scope.covers(*needed)).collect::<Vec<_>>();
        assert_eq!(all.map(covered), [vec![Read], vec![Read, Secrets], vec![Read, Machines], all.to_vec()]);
    }
}
