//! Values out of the environment: `SECRET_SMTP_PASSWORD` is one for `smtp_password`.

use pconf_platform::{SecretId, SecretName, SecretScope, SecretsManifest};
use zeroize::Zeroizing;

use crate::folder::Folder;
use crate::orders::Actor;
use crate::secrets::brought::brought;
use crate::secrets::{Stored, create, is_there};

/// The value that the environment has for a secret.
pub(crate) fn value_of(name: &SecretName) -> Option<Zeroizing<String>> {
    std::env::var(variable(name)).ok().map(Zeroizing::new)
}

/// Keeps every value of the environment that is for a secret of the whole platform and that is not there yet. What was kept.
pub(crate) fn from_environment(
    folder: &Folder,
    manifest: &SecretsManifest,
    actor: &Actor,
) -> anyhow::Result<Vec<SecretId>> {
    let mut kept = Vec::new();
    for (name, secret) in manifest.secrets.iter().filter(|(_, secret)| secret.scope == SecretScope::Platform) {
        let id = SecretId::of_platform(name.clone());
        let Some(text) = value_of(name).filter(|_| !is_there(folder, &id)) else { continue };
        let value = brought(&secret.kind, &text)
            .map_err(|fault| anyhow::anyhow!("the value in the variable {} cannot be used: {fault}", variable(name)))?;
        if create(folder, &id, &Stored::new(value, &actor.to_string()), actor, "secret.set")? {
            kept.push(id);
        }
    }
    Ok(kept)
}

/// The variables that are for a secret of the set, whatever is in them.
pub(crate) fn variables(manifest: &SecretsManifest) -> Vec<String> {
    manifest.secrets.keys().map(variable).filter(|variable| std::env::var_os(variable).is_some()).collect()
}

/// How the variable for a secret is called.
pub(crate) fn variable(name: &SecretName) -> String {
    format!("SECRET_{}", name.as_str().to_uppercase())
}
