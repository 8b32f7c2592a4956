//! The files of one machine.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use pconf_names::{ComposeFile, MachineName, RelativePath, RoleName, ServiceRule};
use pconf_platform::{Attributes, ManagedDirectory, Problem, RoleManifest, SecretId, SecretKind};
use tera::Tera;

use crate::bounds;
use crate::common::Common;
use crate::fault;
use crate::scene::{Scene, SceneMachine};
use crate::secrets::{LiveSecret, SecretValue, SecretValues};
use crate::set::{Source, TemplateSet};
use crate::syntax;
use crate::wellformed;

/// A template that fails in more places than this is reported in the first ones.
const MOST_PROBLEMS_PER_FILE: usize = 20;

/// What one machine gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedMachine {
    /// Its role.
    pub role: RoleName,
    /// Directories to make, sorted by path.
    pub directories: Vec<ManagedDirectory>,
    /// Files to write, sorted by path.
    pub files: Vec<RenderedFile>,
    /// What is said about its services; every rule that matches applies, in order.
    pub services: Vec<ServiceRule>,
    /// Compose files among the files whose services are made and removed with them.
    pub compose: Vec<ComposeFile>,
    /// The secrets that the files hold.
    pub secrets: Vec<SecretValue>,
}

/// One file as it lands.
#[derive(Clone, PartialEq, Eq)]
pub struct RenderedFile {
    /// Where, below the machine's root.
    pub path: RelativePath,
    /// Class, owner, mode and how a change is taken.
    pub attributes: Attributes,
    /// The exact bytes; may hold secrets. Machines whose file is the same share them.
    pub bytes: Arc<[u8]>,
}

impl std::fmt::Debug for RenderedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.path, self.bytes.len())
    }
}

/// The rendering of a scene, machine by machine: what says the same on every machine of a role is rendered and judged once.
pub struct Rendering<'s> {
    set: &'s TemplateSet,
    scene: &'s Scene,
    secrets: &'s SecretValues,
    common: BTreeMap<RoleName, Common>,
}

impl Rendering<'_> {
    /// Renders and judges every file of one machine, or says everything that is wrong.
    pub fn machine(&mut self, name: &MachineName) -> Result<RenderedMachine, Vec<Problem>> {
        let Self { set, scene, secrets, common } = self;
        let unknown =
            || fault::whole_file(set.shown.clone(), "unknown-machine", format!("no machine `{name}`"), String::new());
        let machine = scene.machines().get(name).ok_or_else(|| vec![unknown()])?;
        let (Some(role), Some(manifest)) = (set.roles.get(&machine.role), set.manifests.get(&machine.role)) else {
            return Err(vec![unknown()]);
        };
        let common = common.entry(machine.role.clone()).or_insert_with(|| Common::of(set, &machine.role));
        let work = Work { set, scene, name, machine, secrets, context: set.context(scene, name, machine, secrets) };
        let mut problems = Vec::new();
        let mut files = BTreeMap::new();
        for (target, source) in &role.files {
            let file = common.file(target, || {
                let (path, bytes) = work.file(target, source)?;
                Ok(RenderedFile { attributes: manifest.attributes(&path), path, bytes: bytes.into() })
            });
            match file {
                Ok(file) => {
                    if files.insert(file.path.clone(), file).is_some() {
                        problems.push(work.about(
                            source,
                            target,
                            "same-path",
                            format!("two files land at `{target}` on {name}"),
                        ));
                    }
                }
                Err(found) => problems.extend(found),
            }
        }
        problems.extend(set.files_for_folders(&machine.role, manifest, &files));
        problems.extend(set.missing_compose_files(&machine.role, manifest, &files));
        if problems.is_empty() {
            Ok(RenderedMachine {
                role: machine.role.clone(),
                directories: manifest.directories.clone(),
                services: manifest.services.clone(),
                compose: manifest.compose.clone(),
                secrets: common.held(set.readable_secrets(name, machine, secrets), &files),
                files: files.into_values().collect(),
            })
        } else {
            Err(problems)
        }
    }
}

impl TemplateSet {
    /// The rendering of a scene.
    #[must_use]
    pub fn rendering<'s>(&'s self, scene: &'s Scene, secrets: &'s SecretValues) -> Rendering<'s> {
        Rendering { set: self, scene, secrets, common: BTreeMap::new() }
    }

    /// As [`Rendering::machine`], of one machine alone.
    pub fn render(
        &self,
        scene: &Scene,
        name: &MachineName,
        secrets: &SecretValues,
    ) -> Result<RenderedMachine, Vec<Problem>> {
        self.rendering(scene, secrets).machine(name)
    }

    /// Files that land where a folder has to be.
    fn files_for_folders(
        &self,
        role: &RoleName,
        manifest: &RoleManifest,
        files: &BTreeMap<RelativePath, RenderedFile>,
    ) -> Vec<Problem> {
        let mut folders: BTreeSet<RelativePath> = BTreeSet::new();
        for path in files.keys() {
            folders.extend(std::iter::successors(path.parent(), RelativePath::parent));
        }
        for directory in &manifest.directories {
            folders.extend(std::iter::successors(Some(directory.path.clone()), RelativePath::parent));
        }
        let clash = |path: &RelativePath| {
            let message =
                format!("`{path}` is a file of the role, and a folder that other files or `directories` need");
            let file = format!("{}/{role}/role.json", self.shown);
            fault::whole_file(file, "file-for-folder", message, "rename or remove the file".to_owned())
        };
        files.keys().filter(|path| folders.contains(path)).map(clash).collect()
    }

    /// Compose files that the role declares and does not have.
    fn missing_compose_files(
        &self,
        role: &RoleName,
        manifest: &RoleManifest,
        files: &BTreeMap<RelativePath, RenderedFile>,
    ) -> Vec<Problem> {
        let missing = manifest.compose.iter().filter(|compose| !files.contains_key(&compose.file));
        missing
            .map(|compose| {
                let message = format!("`compose` names `{}`, which is none of the role's files", compose.file);
                let help = "name a file as it lands on the machine, without `.tera`".to_owned();
                fault::whole_file(format!("{}/{role}/role.json", self.shown), "missing-compose-file", message, help)
            })
            .collect()
    }

    /// The secrets that exist and that the machine's role may read.
    pub(crate) fn readable_secrets<'s>(
        &'s self,
        name: &'s MachineName,
        machine: &'s SceneMachine,
        values: &'s SecretValues,
    ) -> impl Iterator<Item = (&'s str, &'s LiveSecret)> {
        let readable = self.secrets.secrets.iter().filter(|(_, secret)| secret.roles.contains(&machine.role));
        readable.filter_map(move |(secret_name, secret)| {
            let id = SecretId { name: secret_name.clone(), owner: secret.scope.owner(name, &machine.role) };
            Some((secret_name.as_str(), values.get(&id)?))
        })
    }

    /// What the templates of one machine see.
    pub(crate) fn context(
        &self,
        scene: &Scene,
        name: &MachineName,
        machine: &SceneMachine,
        values: &SecretValues,
    ) -> tera::Context {
        let readable = || self.readable_secrets(name, machine, values);
        let secrets: BTreeMap<_, _> = readable().map(|(id, secret)| (id, secret.used.to_value())).collect();
        let accepted: BTreeMap<_, _> = readable().map(|(id, secret)| (id, secret.accepted())).collect();
        let mut context = tera::Context::new();
        context.insert_value("settings", scene.settings.clone());
        context.insert_value("machines", scene.machines_value.clone());
        context.insert_value("machine", machine.value.clone());
        context.insert_value("derived", scene.derived.clone());
        context.insert_value("secrets", tera::Value::from_serializable(&secrets));
        context.insert_value("accepted", tera::Value::from_serializable(&accepted));
        context
    }
}

/// Whether what is below this name are secrets.
fn is_of_secrets(root: &str) -> bool {
    root == "secrets" || root == "accepted"
}

/// The rendering of one machine.
struct Work<'a> {
    set: &'a TemplateSet,
    scene: &'a Scene,
    name: &'a MachineName,
    machine: &'a SceneMachine,
    secrets: &'a SecretValues,
    context: tera::Context,
}

impl Work<'_> {
    fn file(&self, target: &str, source: &Source) -> Result<(RelativePath, Vec<u8>), Vec<Problem>> {
        let path = self.path(target, source);
        let bytes = match source {
            Source::Verbatim(bytes) => Ok(bytes.to_vec()),
            Source::Template(template) => self.text(template).map(String::into_bytes),
        };
        let (path, bytes) = match (path, bytes) {
            (Ok(path), Ok(bytes)) => (path, bytes),
            (path, bytes) => return Err(path.err().into_iter().chain(bytes.err().into_iter().flatten()).collect()),
        };
        match wellformed::fault(path.as_str(), &bytes) {
            None => Ok((path, bytes)),
            Some(message) => Err(vec![self.malformed(&path, source, &message)]),
        }
    }

    /// Where the file lands; a setting in its name is filled in and stays one segment.
    fn path(&self, target: &str, source: &Source) -> Result<RelativePath, Problem> {
        let about = |message: String| self.about(source, target, "invalid-path", message);
        let mut rendered = target.to_owned();
        if target.contains("{{") {
            rendered = self.set.tera.render_str(target, &self.context, false).map_err(|error| {
                let (problem, _) = fault::of_template(&error, &self.set.shown, &self.set.sources);
                about(format!("the name of the file cannot be made: {}", problem.message))
            })?;
            if rendered.split('/').count() != target.split('/').count() {
                return Err(about(format!("a value in the name `{target}` holds a `/`")));
            }
        }
        rendered.parse().map_err(|error: pconf_names::InvalidPath| about(error.to_string()))
    }

    fn text(&self, template: &str) -> Result<String, Vec<Problem>> {
        let asked = self.unknown_names(template);
        match self.set.bounds.render(&self.set.tera, template, &self.context) {
            Ok(text) if asked.is_empty() => Ok(text),
            Ok(_) => Err(asked),
            Err(error) if bounds::is_too_large(&error) => {
                let file = format!("{}/{template}", self.set.shown);
                let message = format!("prints more than {} MiB for {}", bounds::LARGEST_FILE >> 20, self.name);
                let help = "end its loops earlier, or split the file".to_owned();
                Err(asked.into_iter().chain([fault::whole_file(file, "too-large", message, help)]).collect())
            }
            Err(error) => Err(asked.into_iter().chain(self.every_fault(template, error)).collect()),
        }
    }

    /// Names in conditions that do not exist: Tera would take them for false.
    fn unknown_names(&self, template: &str) -> Vec<Problem> {
        let reading = self.set.readings.get(template);
        let mut problems = Vec::new();
        for asked in reading.iter().flat_map(|reading| &reading.asked) {
            // A declared secret may be unset: whether that is a problem shows where it is printed.
            let is_declared_secret = is_of_secrets(&asked.path[0])
                && asked.path[1].parse().is_ok_and(|id| {
                    self.set.secrets.secrets.get(&id).is_some_and(|s| s.roles.contains(&self.machine.role))
                });
            if is_declared_secret {
                continue;
            }
            if let Some((message, help)) = self.missing(&asked.path) {
                let file = format!("{}/{template}", self.set.shown);
                let (span, subject) = (Some(asked.span.clone()), asked.path.join("."));
                problems.push(Problem { span, subject, ..fault::whole_file(file, "unknown-name", message, help) });
            }
        }
        problems
    }

    /// Which part of a dotted name does not exist, and what does; `None` where all of it exists.
    fn missing(&self, path: &[String]) -> Option<(String, String)> {
        let mut value = self.context.get(&path[0])?;
        for (depth, key) in path.iter().enumerate().skip(1) {
            let map = value.as_map()?;
            let Some(next) = value.get_from_path(key) else {
                let mut known: Vec<String> = map.keys().map(ToString::to_string).collect();
                known.sort_unstable();
                let message = format!("`{}` does not exist", path[..=depth].join("."));
                return Some((message, format!("`{}` has: {}", path[..depth].join("."), known.join(", "))));
            };
            value = next;
        }
        None
    }

    /// Tera stops at the first fault. Each faulty expression is blanked out and the rendering tried again, so that one
    /// run tells them all.
    fn every_fault(&self, template: &str, first: tera::Error) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut tera: Option<Tera> = None;
        let mut error = first;
        let mut texts: HashMap<String, String> = HashMap::new();
        while problems.len() < MOST_PROBLEMS_PER_FILE {
            let (problem, culprit) = fault::of_template(&error, &self.set.shown, &self.set.sources);
            let span = problem.span.clone();
            problems.push(self.explain(problem));
            let Some((culprit, span)) = culprit.zip(span) else { break };
            let shown = format!("{}/{culprit}", self.set.shown);
            let Some(source) = self.set.sources.text(&shown) else { break };
            let text = texts.entry(culprit.clone()).or_insert_with(|| source.to_owned());
            let outputs = syntax::read(text).outputs;
            let Some(output) = outputs.into_iter().find(|output| output.contains(&span.start)) else { break };
            // Spaces of the same length keep every later place; `''` is an expression that prints nothing.
            let blank = format!("''{}", " ".repeat(output.len().saturating_sub(2)));
            text.replace_range(output, &blank);
            let tera = tera.get_or_insert_with(|| self.set.tera.clone());
            if tera.add_raw_template(&culprit, text).is_err() {
                break;
            }
            match self.set.bounds.render(tera, template, &self.context) {
                Ok(_) => break,
                Err(next) => error = next,
            }
        }
        problems
    }

    /// What Tera says, in words of the platform: a secret that is not set says where to put it, and a value that does
    /// not fit its format points at the setting.
    fn explain(&self, problem: Problem) -> Problem {
        let Some((path, span)) = self.path_at(&problem) else {
            return fault::blame_setting(problem, &self.set.sources, &self.scene.platform);
        };
        let said = self.unavailable_secret(&path).map(|said| ("secret-unavailable", said));
        let said = said.or_else(|| self.missing(&path).map(|said| ("unknown-name", said)));
        match said {
            Some((code, (message, help))) => {
                Problem { code, subject: path.join("."), message, help, span: Some(span), ..problem }
            }
            None => fault::blame_setting(problem, &self.set.sources, &self.scene.platform),
        }
    }

    /// The name that the faulty expression starts from, and its place in the file.
    fn path_at(&self, problem: &Problem) -> Option<(Vec<String>, Range<usize>)> {
        let (text, span) = (self.set.sources.text(&problem.file)?, problem.span.as_ref()?);
        let output = syntax::read(text).outputs.into_iter().find(|output| output.contains(&span.start))?;
        let (path, within) = syntax::leading_path(&text[output.clone()])?;
        Some((path, output.start + within.start..output.start + within.end))
    }

    /// Why a declared secret is not there, and what to do.
    fn unavailable_secret(&self, path: &[String]) -> Option<(String, String)> {
        let [root, id, ..] = path else { return None };
        let name = id.parse().ok().filter(|_| is_of_secrets(root))?;
        let secret = self.set.secrets.secrets.get(&name)?;
        if !secret.roles.contains(&self.machine.role) {
            let message = format!("role {} may not read the secret `{name}`", self.machine.role);
            return Some((message, format!("add the role to `{name}` in secrets.json")));
        }
        let id = SecretId { owner: secret.scope.owner(self.name, &self.machine.role), name };
        if self.secrets.get(&id).is_some() {
            return None;
        }
        let since = secret.introduced_in.as_ref().map(|version| format!(" (new in {version})"));
        let message =
            format!("the secret `{}` is not set{}: {}", id.name, since.unwrap_or_default(), secret.description);
        let source = match &secret.kind {
            SecretKind::Derived { from, .. } => SecretId { name: from.clone(), ..id },
            _ => id,
        };
        Some((message, format!("give it to `config-leader secret set {source}`")))
    }

    fn malformed(&self, path: &RelativePath, source: &Source, message: &str) -> Problem {
        let help = match self.secrets.first_equal_pair() {
            Some((one, other)) if message.contains("are the same") => {
                format!("the secrets `{one}` and `{other}` are equal: give them different values")
            }
            _ => "repair the template, or the value that does not fit".to_owned(),
        };
        let message = format!("`{path}`, as rendered for {}, {message}", self.name);
        Problem { help, ..self.about(source, path.as_str(), "malformed", message) }
    }

    fn about(&self, source: &Source, target: &str, code: &'static str, message: String) -> Problem {
        let file = match source {
            Source::Template(template) => format!("{}/{template}", self.set.shown),
            Source::Verbatim(_) => format!("{}/{}/{target}", self.set.shown, self.machine.role),
        };
        fault::whole_file(file, code, message, "repair the file or its name".to_owned())
    }
}
