//! What the machines of one role have in common: a file whose template asks for nothing that differs between them is
//! rendered and judged for the first of them, and is shared by the others. What is not known to be the same is rendered anew.

use std::collections::{BTreeMap, BTreeSet};

use pconf_names::{RelativePath, RoleName};
use pconf_platform::{Problem, SecretScope};

use crate::held::Sought;
use crate::render::RenderedFile;
use crate::secrets::{LiveSecret, SecretValue};
use crate::set::{Source, TemplateSet};

/// The names under which the machines of one role see different things; the last two only where a secret is a machine's own.
const DIFFERENT: [&str; 3] = ["machine", "secrets", "accepted"];

/// What the machines of one role have in common, as far as it is known already.
pub(crate) struct Common {
    /// The files of which each machine may have its own, by where they land in the set.
    own: BTreeSet<String>,
    /// The others, once they are rendered.
    files: BTreeMap<String, RenderedFile>,
    paths: BTreeSet<RelativePath>,
    /// The secrets of which each machine has its own value.
    own_secrets: BTreeSet<String>,
    /// The others, each value with whether it stands in one of `files`.
    secrets: BTreeMap<String, Vec<(Sought, bool)>>,
}

impl Common {
    pub(crate) fn of(set: &TemplateSet, role: &RoleName) -> Self {
        let readable = set.secrets.secrets.iter().filter(|(_, secret)| secret.roles.contains(role));
        let own_secrets = readable.filter(|(_, secret)| secret.scope == SecretScope::Machine);
        let own_secrets: BTreeSet<String> = own_secrets.map(|(name, _)| name.as_str().to_owned()).collect();
        let different = if own_secrets.is_empty() { &DIFFERENT[..1] } else { &DIFFERENT[..] };
        let is_plain = is_plain(set);
        let is_own = |target: &str, source: &Source| {
            let in_name = target.contains("{{") && different.iter().any(|name| target.contains(name));
            let in_text = match source {
                Source::Verbatim(_) => false,
                Source::Template(template) => !is_plain || asks_for(set, template, different),
            };
            in_name || in_text
        };
        let files = set.roles.get(role).into_iter().flat_map(|role| &role.files);
        let own = files.filter(|(target, source)| is_own(target, source)).map(|(target, _)| target.clone()).collect();
        Self { own, files: BTreeMap::new(), paths: BTreeSet::new(), own_secrets, secrets: BTreeMap::new() }
    }

    /// The file that lands at `target`; made by `make` where it is not known yet. What is wrong with one is worked out for each
    /// machine, whose name the problems tell.
    pub(crate) fn file(
        &mut self,
        target: &str,
        make: impl FnOnce() -> Result<RenderedFile, Vec<Problem>>,
    ) -> Result<RenderedFile, Vec<Problem>> {
        if let Some(known) = self.files.get(target) {
            return Ok(known.clone());
        }
        let file = make()?;
        if !self.own.contains(target) {
            self.paths.insert(file.path.clone());
            self.files.insert(target.to_owned(), file.clone());
        }
        Ok(file)
    }

    /// Those of a machine's secrets that stand in one of its files, of which those in common are all known.
    pub(crate) fn held<'v>(
        &mut self,
        readable: impl Iterator<Item = (&'v str, &'v LiveSecret)>,
        files: &BTreeMap<RelativePath, RenderedFile>,
    ) -> Vec<SecretValue> {
        let Self { files: common, paths, own_secrets, secrets, .. } = self;
        let own: Vec<&RenderedFile> = files.values().filter(|file| !paths.contains(&file.path)).collect();
        let is_in_common = |sought: &Sought| common.values().any(|file| sought.is_in(file));
        let is_in_own = |sought: &Sought| own.iter().any(|file| sought.is_in(file));
        let mut held = Vec::new();
        for (name, secret) in readable {
            let sought = secret.values().map(Sought::new);
            if own_secrets.contains(name) {
                let found = sought.filter(|one| is_in_own(one) || is_in_common(one));
                held.extend(found.map(|one| one.value.clone()));
            } else {
                let with_place = |one: Sought| {
                    let is_common = is_in_common(&one);
                    (one, is_common)
                };
                let known = secrets.entry(name.to_owned()).or_insert_with(|| sought.map(with_place).collect());
                let found = known.iter().filter(|(one, is_common)| *is_common || is_in_own(one));
                held.extend(found.map(|(one, _)| one.value.clone()));
            }
        }
        held
    }
}

/// Whether what a template asks for can be told from the names in it.
fn is_plain(set: &TemplateSet) -> bool {
    // A component sees what is around it without naming it, and the whole context has a name of its own.
    let mut texts = set.readings.keys().filter_map(|name| set.sources.text(&format!("{}/{name}", set.shown)));
    set.tera.get_component_names().next().is_none()
        && !texts.any(|text| text.contains("__tera_context"))
        && !set.readings.values().flat_map(|reading| &reading.bound).any(|name| DIFFERENT.contains(&name.as_str()))
}

/// Whether a template, or one that it includes or extends, asks for one of these names of the context.
fn asks_for(set: &TemplateSet, template: &str, names: &[&str]) -> bool {
    set.tera.get_template_variables(template).map_or(true, |asked| names.iter().any(|name| asked.contains(name)))
}
