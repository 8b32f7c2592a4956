//! Everything that a revision is made of, read from disk once: the platform, its template set, its secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use pconf_names::{Digest, MachineName, RevisionId};
use pconf_platform::{PlatformFile, Problem, SecretId, Sources};
use pconf_publish::{WantedSecret, evaluate, wanted_secrets};
use pconf_render::{RenderedMachine, Scene, SecretValues, TemplateSet};

use crate::folder::{Folder, PLATFORM};
use crate::secrets::{self, Fresh, Kept, Purpose, SecretsFailure, Stored};
use crate::templates;
use crate::terminal::Failure;

/// Reads inputs; the set of the last reading is used again while its files are the same.
#[derive(Default)]
pub(crate) struct Reader {
    last: Option<LoadedSet>,
}

#[derive(Clone)]
struct LoadedSet {
    kind: String,
    files: BTreeMap<String, Vec<u8>>,
    digests: Arc<BTreeMap<String, Digest>>,
    set: Arc<TemplateSet>,
}

/// A platform that was read and checked, without its secrets.
pub(crate) struct Looked {
    pub(crate) set: Arc<TemplateSet>,
    pub(crate) scene: Scene,
    /// Every value of a secret that its machines need.
    pub(crate) wanted: Vec<WantedSecret>,
    pub(crate) text: String,
    /// The files of the set.
    pub(crate) templates: Arc<BTreeMap<String, Digest>>,
}

/// A platform with all its secrets, some of which may not be durable yet.
pub(crate) struct Inputs {
    pub(crate) looked: Looked,
    pub(crate) kept: Kept,
    fresh: Vec<Fresh>,
    pub(crate) secrets: SecretValues,
}

impl Reader {
    /// Reads and checks the folder's platform, and makes the secrets that it lacks, in memory.
    pub(crate) fn read(&mut self, folder: &Folder, purpose: Purpose) -> Result<Inputs, Failure> {
        self.look(folder)?.with_secrets(folder, purpose)
    }

    /// As [`Reader::read`], as if `text` were the folder's platform.
    pub(crate) fn read_as_if(&mut self, folder: &Folder, text: String, purpose: Purpose) -> Result<Inputs, Failure> {
        self.look_at(folder, text)?.with_secrets(folder, purpose)
    }

    /// Reads and checks the folder's platform.
    pub(crate) fn look(&mut self, folder: &Folder) -> Result<Looked, Failure> {
        self.look_at(folder, read_platform(folder)?)
    }

    /// As [`Reader::look`], as if `text` were the folder's platform.
    pub(crate) fn look_at(&mut self, folder: &Folder, text: String) -> Result<Looked, Failure> {
        let (file, set) = self.parse(folder, &text)?;
        let all_sources = || sources_of(&set, &text);
        let invalid = |problems| Failure::Invalid { problems, sources: Box::new(all_sources()) };
        let scene = set.check(&file).and_then(|platform| set.derive(platform)).map_err(invalid)?;
        let wanted = wanted_secrets(&set, &scene).map_err(invalid)?;
        let templates = self.last.as_ref().map(|last| Arc::clone(&last.digests)).unwrap_or_default();
        Ok(Looked { set, scene, wanted, text, templates })
    }

    /// The set of the folder's platform, whatever else is wrong with that.
    pub(crate) fn only_set(&mut self, folder: &Folder) -> Result<Arc<TemplateSet>, Failure> {
        Ok(self.parse(folder, &read_platform(folder)?)?.1)
    }

    fn parse(&mut self, folder: &Folder, text: &str) -> Result<(PlatformFile, Arc<TemplateSet>), Failure> {
        let mut sources = Sources::new();
        sources.insert(PLATFORM, text);
        let invalid = |problems| Failure::Invalid { problems, sources: Box::new(sources.clone()) };
        let file = PlatformFile::parse(PLATFORM, text).map_err(invalid)?;
        let kind = file.kind().map_err(|problem| invalid(vec![problem]))?.to_owned();
        let known = templates::set_names(folder.templates())?;
        if !known.contains(&kind) {
            let message = format!("there is no template set `{kind}` in `{}`", folder.templates().display());
            let problem =
                file.problem_at("/kind", "unknown-kind", message, format!("known kinds: {}", known.join(", ")));
            return Err(invalid(vec![problem]));
        }
        let set = self.set(folder, &kind, &sources)?;
        Ok((file, set))
    }

    fn set(&mut self, folder: &Folder, kind: &str, sources: &Sources) -> Result<Arc<TemplateSet>, Failure> {
        let files = templates::read_set(&folder.templates().join(kind))?;
        if let Some(last) = self.last.as_ref().filter(|last| last.kind == kind && last.files == files) {
            return Ok(Arc::clone(&last.set));
        }
        let set = load_set(kind, files.clone(), sources)?;
        let digest = |(path, bytes): (&String, &Vec<u8>)| (format!("templates/{kind}/{path}"), Digest::of(bytes));
        let digests = Arc::new(files.iter().map(digest).collect());
        self.last = Some(LoadedSet { kind: kind.to_owned(), files, digests, set: Arc::clone(&set) });
        Ok(set)
    }
}

impl Looked {
    /// With the secrets, of which those that are missing are made in memory.
    pub(crate) fn with_secrets(self, folder: &Folder, purpose: Purpose) -> Result<Inputs, Failure> {
        let kept = secrets::read(folder, &self.wanted).map_err(|found| match found {
            SecretsFailure::Invalid(problems) => self.invalid(problems),
            SecretsFailure::Failed(error) => Failure::Failed(error),
        })?;
        let fresh = secrets::complete(folder, &self.wanted, &kept, purpose)?;
        let secrets = secrets::live(&self.wanted, &kept, &fresh)?;
        Ok(Inputs { looked: self, kept, fresh, secrets })
    }

    fn invalid(&self, problems: Vec<Problem>) -> Failure {
        Failure::Invalid { problems, sources: Box::new(sources_of(&self.set, &self.text)) }
    }
}

impl Inputs {
    /// Renders every machine.
    pub(crate) fn evaluate(&self) -> Result<BTreeMap<MachineName, RenderedMachine>, Failure> {
        let Looked { set, scene, .. } = &self.looked;
        evaluate(set, scene, &self.secrets).map_err(|problems| self.looked.invalid(problems))
    }

    /// The values that were made in memory, each with whether it takes the place of another one.
    pub(crate) fn made(&self) -> impl Iterator<Item = (&SecretId, bool)> {
        self.fresh.iter().map(|fresh| (fresh.id(), self.kept.contains_key(fresh.id())))
    }

    /// Makes the secrets durable, because what was rendered with them is good; `revision` is the one that it becomes.
    /// `false` where somebody else has changed one meanwhile, and everything has to be read again.
    pub(crate) fn keep_secrets(&self, folder: &Folder, revision: Option<RevisionId>) -> anyhow::Result<bool> {
        secrets::keep(folder, &self.kept, &self.fresh, revision)
    }

    /// The values that are used, of those that are kept.
    pub(crate) fn used(&self) -> impl Iterator<Item = (&SecretId, &Stored)> {
        let fresh = |id: &SecretId| self.fresh.iter().any(|fresh| fresh.id() == id);
        let kept = self.kept.iter().filter(move |(id, _)| !fresh(id));
        kept.chain(self.fresh.iter().map(|fresh| (fresh.id(), fresh.stored())))
    }

    /// The same platform as if a value were another.
    pub(crate) fn with(mut self, id: &SecretId, stored: &Stored) -> anyhow::Result<Self> {
        self.fresh.retain(|fresh| fresh.id() != id);
        self.kept.insert(id.clone(), stored.clone());
        self.secrets = secrets::live(&self.looked.wanted, &self.kept, &self.fresh)?;
        Ok(self)
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
