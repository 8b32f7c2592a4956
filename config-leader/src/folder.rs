//! The leader's folder: one place for everything that it knows.
//!
//! ```text
//! config-leader.json   how it runs (optional)
//! platform.json        what the admin edits
//! kek             0400 the key-encryption key, unless it is kept elsewhere
//! vault.json           with which key-encryption key the rest is sealed
//! secrets/        0700 one envelope per secret
//! keys/           0700 one envelope per machine
//! authority            the platform's own certificate authority, an envelope
//! accepted.json        the revision that the admin lets through although it changes much
//! epoch.json           the epoch of the next revision, after a restore
//! audit.log            who did what
//! state/          0700 what it published, an envelope, and what it heard
//! ```

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use pconf_vault::Vault;
use rustix::fs::FlockOperation;
use zeroize::Zeroizing;

use crate::config::LeaderConfig;
use crate::passphrase;

/// What problems call the file that the admin edits.
pub(crate) const PLATFORM: &str = "platform.json";
pub(crate) const CONFIG: &str = "config-leader.json";

/// The leader's folder with its configuration read.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    config: LeaderConfig,
    templates: PathBuf,
    vault: Arc<OnceLock<Vault>>,
}

impl Folder {
    /// Reads the configuration of the folder at `path`; `templates` overrides what it says.
    pub fn open(path: &Path, templates: Option<&Path>) -> anyhow::Result<Self> {
        let file = path.join(CONFIG);
        let config = match std::fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text).with_context(|| format!("`{}` is not usable", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => LeaderConfig::default(),
            Err(error) => return Err(error).with_context(|| format!("cannot read `{}`", file.display())),
        };
        let templates = templates.map_or_else(|| path.join(&config.templates), Path::to_owned);
        Ok(Self { path: path.to_owned(), config, templates, vault: Arc::default() })
    }

    /// Writes the configuration with the templates' place as it is now, so that later commands find them; `false` where
    /// there is one already.
    pub(crate) fn keep_config(&self) -> anyhow::Result<bool> {
        let templates = std::path::absolute(&self.templates).context("cannot tell where the templates are")?;
        let default = std::path::absolute(self.path.join(LeaderConfig::default().templates))?;
        let config = LeaderConfig {
            templates: if templates == default { LeaderConfig::default().templates } else { templates },
            ..self.config.clone()
        };
        let mut text = serde_json::to_string_pretty(&config).context("cannot write the configuration as JSON")?;
        text.push('\n');
        Ok(pconf_files::create_state(&self.path.join(CONFIG), text.as_bytes())?)
    }

    /// How this leader runs.
    #[must_use]
    pub fn config(&self) -> &LeaderConfig {
        &self.config
    }

    /// What is sealed in the folder; opened when it is first needed.
    pub(crate) fn vault(&self) -> anyhow::Result<&Vault> {
        if let Some(vault) = self.vault.get() {
            return Ok(vault);
        }
        let vault = Vault::open(&self.path, &self.config.kek, |is_new| {
            passphrase::ask("CONFIG_LEADER_PASSPHRASE", "Passphrase of this leader's folder", is_new)
        })?;
        Ok(self.vault.get_or_init(|| vault))
    }

    /// The value in the envelope at `path`, relative to the folder. Where there is none nothing is opened, and nothing made:
    /// whoever only looks leaves no trace.
    pub(crate) fn sealed(&self, path: &str) -> anyhow::Result<Option<Zeroizing<Vec<u8>>>> {
        match pconf_files::read_state(&self.path.join(path))? {
            None => Ok(None),
            Some(envelope) => Ok(Some(self.vault()?.opened(path, &envelope)?)),
        }
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the folder and holds it until dropped: whoever reads, changes and writes back does so alone. A crash
    /// releases it.
    pub(crate) fn lock(&self) -> anyhow::Result<OwnedFd> {
        let cannot = || format!("cannot lock `{}`", self.path.display());
        let folder = OwnedFd::from(std::fs::File::open(&self.path).with_context(cannot)?);
        rustix::fs::flock(&folder, FlockOperation::LockExclusive).with_context(cannot)?;
        Ok(folder)
    }

    /// Replaces the text of platform.json, keeping owner and mode, unless it is no longer `before`. A link is followed.
    pub(crate) fn replace_platform(&self, before: &str, after: &str) -> anyhow::Result<()> {
        let path = std::fs::canonicalize(self.platform()).context("platform.json is gone")?;
        let now = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        anyhow::ensure!(now == before, "platform.json was edited meanwhile: nothing was changed, run this again");
        Ok(pconf_files::rewrite(&path, after.as_bytes())?)
    }

    pub(crate) fn platform(&self) -> PathBuf {
        self.path.join(PLATFORM)
    }

    pub(crate) fn secrets(&self) -> PathBuf {
        self.path.join("secrets")
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.path.join("keys")
    }

    /// Where a running leader hears the command line.
    pub(crate) fn socket(&self) -> PathBuf {
        self.state().join("control.sock")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    /// The authorities to trust for followers' URLs, where they are not the machine's.
    pub(crate) fn authorities(&self) -> Option<PathBuf> {
        self.config.ca.as_ref().map(|ca| self.path.join(ca))
    }

    /// The folder of template sets.
    pub(crate) fn templates(&self) -> &Path {
        &self.templates
    }
}
