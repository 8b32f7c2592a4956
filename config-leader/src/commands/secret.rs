//! `secret list | show | set | rotate | export | import`.

mod carry;
mod list;
mod rotate;
mod set;
mod sops;

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use pconf_platform::{Secret, SecretId, SecretKind, SecretName, SecretOwner, SecretScope};
use pconf_render::{SecretValue, TemplateSet};
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::{Zeroize as _, Zeroizing};

use crate::audit::{self, Change};
use crate::cli::SecretCommand;
use crate::folder::Folder;
use crate::inputs::Reader;
use crate::orders::{Actor, Order, give};
use crate::secrets::{self, Hidden, environment};
use crate::terminal::{Failure, Said};

/// What is to be done with secrets; values that are brought were read before.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SecretOrder {
    /// Tells all about them but their values.
    List,
    /// Tells one value.
    Show(SecretId),
    /// Keeps values that were brought.
    Set { values: Vec<(SecretId, Hidden)>, confirm_loss: Option<String> },
    /// Makes another value.
    Rotate { id: SecretId, confirm_loss: Option<String> },
}

/// Does what was typed: reads what is brought, and gives the order. A whole leader is carried by the command itself.
pub(crate) fn run(folder: &Folder, command: SecretCommand) -> Result<Said, Failure> {
    let order = match command {
        SecretCommand::List => SecretOrder::List,
        SecretCommand::Show { id } => SecretOrder::Show(id),
        SecretCommand::Set { id, from_file, confirm_loss } => {
            let value = value(&id, from_file.as_deref())?;
            SecretOrder::Set { values: vec![(id, value)], confirm_loss }
        }
        SecretCommand::Rotate { id, confirm_loss } => SecretOrder::Rotate { id, confirm_loss },
        SecretCommand::Import { file, sops: true } => {
            SecretOrder::Set { values: sops::read(&file)?, confirm_loss: None }
        }
        SecretCommand::Import { file, sops: false } => return carry::import(folder, &file),
        SecretCommand::Export { file } => return carry::export(folder, &file),
    };
    give(folder, Order::Secret(order))
}

/// Carries an order out.
pub(crate) fn carry_out(folder: &Folder, order: SecretOrder, actor: &Actor) -> Result<Said, Failure> {
    match order {
        SecretOrder::List => list::run(folder),
        SecretOrder::Show(id) => show(folder, &id, actor),
        SecretOrder::Set { values, confirm_loss } => set::run(folder, &values, confirm_loss.as_deref(), actor),
        SecretOrder::Rotate { id, confirm_loss } => rotate::run(folder, &id, confirm_loss.as_deref(), actor),
    }
}

/// The value that is brought: out of a file, of standard input (`-`), or of the environment.
fn value(id: &SecretId, from: Option<&Path>) -> anyhow::Result<Hidden> {
    let mut bytes = Zeroizing::new(Vec::new());
    match from {
        None => {
            let missing = || {
                let variable = environment::variable(&id.name);
                format!("where is the value? `--from-file FILE`, `--from-file -`, or the variable {variable}")
            };
            let value = environment::value_of(&id.name).with_context(missing)?;
            return Ok(Hidden::new(value.to_string()));
        }
        Some(path) if path == Path::new("-") => {
            std::io::stdin().lock().read_to_end(&mut bytes).context("cannot read the value from standard input")?;
        }
        Some(path) => {
            *bytes = std::fs::read(path).with_context(|| format!("cannot read the value in `{}`", path.display()))?;
        }
    }
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Hidden::new(text)),
        Err(error) => {
            error.into_bytes().zeroize();
            anyhow::bail!("the value is no text")
        }
    }
}

/// Prints one value, and nothing else.
fn show(folder: &Folder, id: &SecretId, actor: &Actor) -> Result<Said, Failure> {
    let set = Reader::default().only_set(folder)?;
    let secret = declared(&set, id)?;
    let source = match &secret.kind {
        SecretKind::Derived { from, .. } => SecretId { name: from.clone(), ..id.clone() },
        _ => id.clone(),
    };
    let kept = secrets::read_one(folder, &source)?;
    let Some(value) = secrets::value(&secret.kind, kept.as_ref())? else {
        return Err(anyhow::anyhow!("there is no value for `{source}` yet").into());
    };
    audit::append(folder, actor, "secret.show", &id.to_string(), Change::default())?;
    let (text, value) = match &value {
        SecretValue::Text(text) | SecretValue::Public(text) => (text.clone(), json!(text)),
        SecretValue::Pair { public, private } => {
            (format!("{private}\n{public}"), json!({ "public": public, "private": private }))
        }
        SecretValue::Certificate { certificate, key } => {
            (format!("{certificate}{key}"), json!({ "certificate": certificate, "key": key }))
        }
    };
    let end = if text.ends_with('\n') { "" } else { "\n" };
    Ok(Said { text: format!("{text}{end}"), json: json!({ "ok": true, "secret": id, "value": value }) })
}

/// What the set says of the secret, if the value can be one of its.
fn declared<'s>(set: &'s TemplateSet, id: &SecretId) -> anyhow::Result<&'s Secret> {
    let secrets = &set.secrets().secrets;
    let Some(secret) = secrets.get(&id.name) else {
        let known: Vec<&str> = secrets.keys().map(SecretName::as_str).collect();
        anyhow::bail!("the template set has no secret `{}`; it has: {}", id.name, known.join(", "));
    };
    let spelling = match secret.scope {
        SecretScope::Platform => format!("`{}`", id.name),
        SecretScope::Role => format!("`{}@role:ROLE`, one for each role", id.name),
        SecretScope::Machine => format!("`{}@MACHINE`, one for each machine", id.name),
    };
    anyhow::ensure!(secret.scope.fits(&id.owner), "there is no value `{id}`: they are called {spelling}");
    if let SecretOwner::Role(role) = &id.owner {
        anyhow::ensure!(set.secrets().readers(&id.name).contains(role), "role {role} does not read `{}`", id.name);
    }
    Ok(secret)
}

/// Refuses what loses something, unless the loss is named.
fn is_confirmed(id: &SecretId, secret: &Secret, said: Option<&str>, again: &str) -> anyhow::Result<()> {
    let Some(loss) = &secret.loss else { return Ok(()) };
    anyhow::ensure!(
        said.is_some_and(|said| said.trim() == loss.trim()),
        "with the value of `{id}` is lost: {loss}\nnothing was changed; if that is meant: {again} --confirm-loss {loss:?}"
    );
    Ok(())
}

impl SecretOrder {
    /// What it is, without what is said in it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::List => "secret list",
            Self::Show(_) => "secret show",
            Self::Set { .. } => "secret set",
            Self::Rotate { .. } => "secret rotate",
        }
    }
}
