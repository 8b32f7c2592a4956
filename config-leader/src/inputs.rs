//! Everything that a revision is made of, read from disk once: the platform, its template set, its secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use pconf_platform::{PlatformFile, Problem, SecretKind, Sources};
use pconf_publish::{Evaluation, WantedSecret, evaluate, look, wanted_secrets};
use pconf_render::{Scene, SecretValues, TemplateSet};

use crate::folder::{Folder, PLATFORM};
use crate::terminal::Failure;
use crate::{secrets, templates};

/// What becomes of secrets that do not exist yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// They are made and kept.
    Keep,
    /// As `Keep`, but for certificates: they follow from settings that are about to be edited.
    KeepRandom,
    /// They are made for this one look; nothing is written.
    Imagine,
}

impl Missing {
    fn is_kept(self, wanted: &WantedSecret) -> bool {
        match self {
            Self::Keep => true,
            Self::KeepRandom => !matches!(wanted.kind, SecretKind::Certificate { .. }),
            Self::Imagine => false,
        }
    }
}

/// Reads inputs; the set of the last reading is used again while its files are the same.
#[derive(Default)]
pub(crate) struct Reader {
    last: Option<LoadedSet>,
}

#[derive(Clone)]
struct LoadedSet {
    kind: String,
    files: BTreeMap<String, Vec<u8>>,
    set: Arc<TemplateSet>,
}

/// A platform that was read and checked.
pub(crate) struct Inputs {
    pub(crate) set: Arc<TemplateSet>,
    pub(crate) scene: Scene,
    pub(crate) secrets: SecretValues,
    pub(crate) text: String,
}

impl Reader {
    /// Reads and checks the folder's platform, and makes the secrets that it wants.
    pub(crate) fn read(&mut self, folder: &Folder, missing: Missing) -> Result<Inputs, Failure> {
        self.read_as(folder, read_platform(folder)?, missing)
    }

    /// As [`Reader::read`], as if `text` were the folder's platform.
    pub(crate) fn read_as(&mut self, folder: &Folder, text: String, missing: Missing) -> Result<Inputs, Failure> {
        let mut sources = Sources::new();
        sources.insert(PLATFORM, text.clone());
        let invalid = |problems: Vec<Problem>, sources: &Sources| Failure::Invalid {
            problems,
            sources: Box::new(sources.clone()),
        };

        let file = PlatformFile::parse(PLATFORM, &text).map_err(|problems| invalid(problems, &sources))?;
        let kind = file.kind().map_err(|problem| invalid(vec![problem], &sources))?.to_owned();
        let known = templates::set_names(folder.templates())?;
        if !known.contains(&kind) {
            let message = format!("there is no template set `{kind}` in `{}`", folder.templates().display());
            let problem =
                file.problem_at("/kind", "unknown-kind", message, format!("known kinds: {}", known.join(", ")));
            return Err(invalid(vec![problem], &sources));
        }
        let set = self.set(folder, &kind, &sources)?;
        let all_sources = || sources_of(&set, &text);
        let scene = look(&set, PLATFORM, &text).map_err(|problems| invalid(problems, &all_sources()))?;
        let secrets = read_secrets(folder, &set, &scene, missing).map_err(|found| match found {
            SecretsFailure::Invalid(problems) => invalid(problems, &all_sources()),
            SecretsFailure::Failed(error) => Failure::Failed(error),
        })?;
        Ok(Inputs { set, scene, secrets, text })
    }

    fn set(&mut self, folder: &Folder, kind: &str, sources: &Sources) -> Result<Arc<TemplateSet>, Failure> {
        let files = templates::read_set(&folder.templates().join(kind))?;
        if let Some(last) = self.last.as_ref().filter(|last| last.kind == kind && last.files == files) {
            return Ok(Arc::clone(&last.set));
        }
        let set = load_set(kind, files.clone(), sources)?;
        self.last = Some(LoadedSet { kind: kind.to_owned(), files, set: Arc::clone(&set) });
        Ok(set)
    }
}

fn read_secrets(
    folder: &Folder,
    set: &TemplateSet,
    scene: &Scene,
    missing: Missing,
) -> Result<SecretValues, SecretsFailure> {
    let read = || secrets::read(&folder.secrets(), set, scene).map_err(SecretsFailure::Invalid);
    let wanted = wanted_secrets(set, scene).map_err(SecretsFailure::Invalid)?;
    let is_missing = |one: &WantedSecret, values: &SecretValues| values.get(&one.name, one.machine.as_ref()).is_none();
    let mut values = read()?;
    if !wanted.iter().any(|one| is_missing(one, &values)) {
        return Ok(values);
    }
    let _alone = match missing {
        Missing::Imagine => None,
        // Alone, and looked at again: what another process made meanwhile is what counts.
        Missing::Keep | Missing::KeepRandom => {
            let alone = folder.lock().map_err(SecretsFailure::Failed)?;
            values = read()?;
            Some(alone)
        }
    };
    for one in wanted.into_iter().filter(|one| is_missing(one, &values)).collect::<Vec<_>>() {
        let value = secrets::make(&folder.secrets(), &one).map_err(SecretsFailure::Failed)?;
        if missing.is_kept(&one) {
            secrets::keep(&folder.secrets(), &one, &value).map_err(SecretsFailure::Failed)?;
        }
        values.insert(one.name, one.machine, value);
    }
    Ok(values)
}

enum SecretsFailure {
    Invalid(Vec<Problem>),
    Failed(anyhow::Error),
}

impl Inputs {
    /// Renders every machine.
    pub(crate) fn evaluate(self) -> Result<Evaluation, Failure> {
        let Self { set, scene, secrets, text } = self;
        evaluate(&set, scene, &secrets)
            .map_err(|problems| Failure::Invalid { problems, sources: Box::new(sources_of(&set, &text)) })
    }
}

/// The text of the folder's platform.json.
pub(crate) fn read_platform(folder: &Folder) -> anyhow::Result<String> {
    let path = folder.platform();
    std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read `{}`: `config-leader init KIND` writes a first one", path.display()))
}

/// Loads a set out of its files.
pub(crate) fn load_set(
    kind: &str,
    files: BTreeMap<String, Vec<u8>>,
    sources: &Sources,
) -> Result<Arc<TemplateSet>, Failure> {
    let shown = format!("templates/{kind}");
    let mut sources = sources.clone();
    for (path, bytes) in &files {
        if let Ok(text) = std::str::from_utf8(bytes) {
            sources.insert(format!("{shown}/{path}"), text);
        }
    }
    TemplateSet::load(&shown, files)
        .map(Arc::new)
        .map_err(|problems| Failure::Invalid { problems, sources: Box::new(sources) })
}

fn sources_of(set: &TemplateSet, text: &str) -> Sources {
    let mut sources = set.sources().clone();
    sources.insert(PLATFORM, text);
    sources
}
