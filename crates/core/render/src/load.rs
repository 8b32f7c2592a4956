//! Reading a set: every manifest, every template, all problems at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pconf_names::RoleName;
use pconf_platform::{Problem, RoleManifest, Schema, SecretsManifest, Sources};
use tera::Tera;

use crate::bounds::Bounds;
use crate::encode;
use crate::fault;
use crate::scene::DERIVED;
use crate::set::{Role, Source, TemplateSet};
use crate::syntax::{self, Reading};

const TEMPLATE: &str = ".tera";

pub(crate) fn load(shown: &str, files: BTreeMap<String, Vec<u8>>) -> Result<TemplateSet, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut set = Folder { shown, files, sources: Sources::new() };

    let schema = set.manifest("platform.schema.json", &mut problems, Schema::parse);
    let mut manifests = BTreeMap::new();
    for role in set.role_names(&mut problems) {
        if let Some(manifest) = set.manifest(&format!("{role}/role.json"), &mut problems, RoleManifest::parse) {
            manifests.insert(role, manifest);
        }
    }
    if manifests.is_empty() {
        problems.push(set.whole("", "no-role", "the set has no role", "add a folder with a `role.json`"));
    }
    let parse_secrets = |name: &str, text: &str| SecretsManifest::parse(name, text, &manifests);
    let secrets = set.manifest("secrets.json", &mut problems, parse_secrets);
    let bounds = Bounds::default();
    let (tera, readings) = set.templates(&bounds, &mut problems);
    let mut roles = BTreeMap::new();
    for (name, manifest) in &manifests {
        roles.insert(name.clone(), set.role(name, manifest, &mut problems));
    }
    let examples = set.examples();

    match (schema, secrets, problems.is_empty()) {
        (Some(schema), Some(secrets), true) => Ok(TemplateSet {
            shown: shown.to_owned(),
            schema,
            secrets,
            roles,
            manifests,
            has_derived: readings.contains_key(DERIVED),
            tera,
            bounds,
            readings,
            sources: set.sources,
            examples,
        }),
        _ => Err(problems),
    }
}

struct Folder<'a> {
    shown: &'a str,
    files: BTreeMap<String, Vec<u8>>,
    sources: Sources,
}

impl Folder<'_> {
    fn shown(&self, path: &str) -> String {
        if path.is_empty() { self.shown.to_owned() } else { format!("{}/{path}", self.shown) }
    }

    fn whole(&self, path: &str, code: &'static str, message: &str, help: &str) -> Problem {
        fault::whole_file(self.shown(path), code, message.to_owned(), help.to_owned())
    }

    /// The text of a file that has to be text.
    fn text(&mut self, path: &str, problems: &mut Vec<Problem>) -> Option<String> {
        let Some(bytes) = self.files.get(path) else {
            problems.push(self.whole(path, "missing-file", "there is no such file", "every template set has one"));
            return None;
        };
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                let text = text.to_owned();
                self.sources.insert(self.shown(path), text.clone());
                Some(text)
            }
            Err(error) => {
                let message = format!("is not UTF-8 from byte {} on", error.valid_up_to());
                problems.push(self.whole(path, "not-utf8", &message, "save it as UTF-8"));
                None
            }
        }
    }

    fn manifest<T>(
        &mut self,
        path: &str,
        problems: &mut Vec<Problem>,
        parse: impl FnOnce(&str, &str) -> Result<T, Vec<Problem>>,
    ) -> Option<T> {
        let text = self.text(path, problems)?;
        parse(&self.shown(path), &text).map_err(|found| problems.extend(found)).ok()
    }

    /// A role is a folder that holds a `role.json`.
    fn role_names(&self, problems: &mut Vec<Problem>) -> Vec<RoleName> {
        let folders = self.files.keys().filter_map(|path| path.strip_suffix("/role.json"));
        let mut names = Vec::new();
        for folder in folders.filter(|folder| !folder.contains('/')) {
            match folder.parse() {
                Ok(name) => names.push(name),
                Err(error) => {
                    let help = "rename the folder";
                    problems.push(self.whole(folder, "invalid-role-name", &format!("{error}"), help));
                }
            }
        }
        names
    }

    /// Compiles every template. One that does not compile is replaced by an empty one, so that the others are judged too.
    fn templates(&mut self, bounds: &Bounds, problems: &mut Vec<Problem>) -> (Tera, BTreeMap<String, Reading>) {
        let paths: Vec<String> = self.files.keys().filter(|path| path.ends_with(TEMPLATE)).cloned().collect();
        let mut texts = BTreeMap::new();
        for path in paths {
            if let Some(text) = self.text(&path, problems) {
                texts.insert(path, text);
            }
        }
        let mut readings = BTreeMap::new();
        for (path, text) in &texts {
            let reading = syntax::read(text);
            problems
                .extend(reading.unencoded.iter().map(|span| fault::unencoded(self.shown(path), span.clone(), text)));
            readings.insert(path.clone(), reading);
        }
        loop {
            let mut tera = Tera::default();
            tera.autoescape_on(Vec::<&str>::new());
            encode::register(&mut tera);
            bounds.register(&mut tera);
            match tera.add_raw_templates(texts.iter().map(|(name, text)| (name.as_str(), text.as_str()))) {
                Ok(()) => return (tera, readings),
                Err(error) => {
                    let (problem, culprit) = fault::of_template(&error, self.shown, &self.sources);
                    problems.push(problem);
                    match culprit.and_then(|name| texts.get_mut(&name)).filter(|text| !text.is_empty()) {
                        Some(text) => text.clear(),
                        None => return (Tera::default(), readings),
                    }
                }
            }
        }
    }

    /// Joins the trees of a role; a later file wins over an earlier one of the same path.
    fn role(&self, name: &RoleName, manifest: &RoleManifest, problems: &mut Vec<Problem>) -> Role {
        let mut files = BTreeMap::new();
        let own = name.to_string();
        for tree in manifest.trees.iter().map(ToString::to_string).chain([own.clone()]) {
            let prefix = format!("{tree}/");
            let below = self.files.iter().filter_map(|(path, bytes)| Some((path, path.strip_prefix(&prefix)?, bytes)));
            let mut landed = BTreeSet::new();
            for (path, rest, bytes) in below.filter(|(_, rest, _)| tree != own || *rest != "role.json") {
                if !landed.insert(landing(rest)) {
                    let message = format!("`{}` and `{}` are one file on the machine", landing(path), path);
                    problems.push(self.whole(path, "same-path", &message, "remove one of them"));
                }
                let source = if rest.ends_with(TEMPLATE) {
                    Source::Template(path.clone())
                } else {
                    Source::Verbatim(Arc::from(bytes.as_slice()))
                };
                files.insert(landing(rest).to_owned(), source);
            }
            if landed.is_empty() && tree != own {
                let message = format!("the tree `{tree}` holds no file");
                problems.push(self.whole(
                    &format!("{own}/role.json"),
                    "empty-tree",
                    &message,
                    "name a folder of the set",
                ));
            }
        }
        Role { files: files.into_iter().collect() }
    }

    fn examples(&self) -> BTreeMap<Option<String>, String> {
        let example = |(path, bytes): (&String, &Vec<u8>)| {
            let name = path.strip_prefix("platform.")?.strip_suffix("example.json")?;
            let name = if name.is_empty() { None } else { Some(name.strip_suffix('.')?.to_owned()) };
            Some((name, String::from_utf8(bytes.clone()).ok()?))
        };
        self.files.iter().filter_map(example).collect()
    }
}

fn landing(path: &str) -> &str {
    path.strip_suffix(TEMPLATE).unwrap_or(path)
}
