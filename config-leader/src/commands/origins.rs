//! What `impact` and `why` have in common: the platform as it would be rendered now, and words for the things in it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::anyhow;
use pconf_names::{MachineName, RelativePath};
use pconf_plan::compose_services;
use pconf_platform::{SecretId, SecretName, dotted, position};
use pconf_render::{Provenance, RenderedMachine};
use serde_json::{Value, json};

use crate::folder::{Folder, PLATFORM};
use crate::inputs::{Inputs, Reader};
use crate::secrets::Purpose;
use crate::terminal::{Failure, Said};

/// A value that is longer than this, in characters, is cut off where people read it.
const LONGEST: usize = 60;

/// The platform as it would be rendered now.
pub(crate) struct Origins {
    pub(crate) inputs: Inputs,
    pub(crate) rendered: BTreeMap<MachineName, RenderedMachine>,
}

impl Origins {
    /// Reads and renders; nothing is written.
    pub(crate) fn read(folder: &Folder) -> Result<Self, Failure> {
        let inputs = Reader::default().read(folder, Purpose::Look)?;
        let rendered = inputs.evaluate()?;
        Ok(Self { inputs, rendered })
    }

    pub(crate) fn provenance(&self) -> Provenance<'_> {
        self.inputs.looked.set.provenance(&self.inputs.looked.scene)
    }

    /// The pointer of what was typed: `settings.mail.host`, `machines.co1.ip`, `derived.urls.api` or `secrets.tls`.
    pub(crate) fn find(&self, provenance: &Provenance, typed: &str) -> anyhow::Result<String> {
        let set = &self.inputs.looked.set;
        let pointer = match typed.strip_prefix("secrets.").or_else(|| typed.strip_prefix("/secrets/")) {
            Some(secret) => {
                let name = secret.split(['.', '/']).next().unwrap_or_default();
                let is_known = name.parse().is_ok_and(|name: SecretName| set.secrets().secrets.contains_key(&name));
                if !is_known {
                    let known: Vec<String> = set.secrets().secrets.keys().map(|known| format!("`{known}`")).collect();
                    return Err(anyhow!("there is no secret `{name}`: known here: {}", known.join(", ")));
                }
                format!("/secrets/{}", secret.replace('.', "/"))
            }
            None => set.schema().find(provenance.document(), typed)?,
        };
        let known = ["/settings", "/machines", "/derived", "/secrets"];
        if known
            .iter()
            .any(|root| pointer.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
        {
            return Ok(pointer);
        }
        Err(anyhow!(
            "no file is made of `{}`: name a setting (`settings.…`), a machine's field (`machines.…`), a derived value or a secret",
            dotted(&pointer)
        ))
    }

    /// One thing in a line: its name, its value if it is no secret, and where it is written.
    pub(crate) fn about(&self, provenance: &Provenance, pointer: &str, machine: Option<&MachineName>) -> Said {
        let name = dotted(pointer);
        if let Some(secret) = pointer.strip_prefix("/secrets/") {
            return self.about_secret(&name, secret.split('/').next().unwrap_or_default(), machine);
        }
        let Some(value) = provenance.value(pointer) else {
            return Said {
                text: format!("{name}  not set"),
                json: json!({ "name": name, "value": null, "written": null }),
            };
        };
        let mut text = match value {
            // What is in them is asked for by itself.
            Value::Object(_) | Value::Array(_) => name.clone(),
            value => format!("{name} = {}", short(value)),
        };
        let looked = &self.inputs.looked;
        let place = looked.scene.platform().place_of(pointer).map(|span| position(&looked.text, span.start));
        if let Some((line, column)) = place {
            text += &format!("  {PLATFORM}:{line}:{column}");
        } else if pointer.starts_with("/settings") {
            text += "  by default";
        }
        let written = place.map(|(line, column)| json!({ "file": PLATFORM, "line": line, "column": column }));
        Said { text, json: json!({ "name": name, "value": value, "written": written }) }
    }

    fn about_secret(&self, shown: &str, name: &str, machine: Option<&MachineName>) -> Said {
        let manifest = self.inputs.looked.set.secrets();
        let id = name.parse::<SecretName>().ok().and_then(|name| {
            let machine = machine.and_then(|machine| Some((machine, &self.rendered.get(machine)?.role)));
            let owner =
                machine.map(|(machine, role)| manifest.secrets.get(&name).map(|s| s.scope.owner(machine, role)));
            Some(SecretId { owner: owner.flatten()?, name })
        });
        let made = id.as_ref().and_then(|id| self.inputs.kept.get(id)).map(|stored| &stored.made);
        let text = match (made, &id) {
            (Some(made), Some(id)) => format!("{shown}  secret {id}, made {} by {}", made.at, made.by),
            (None, Some(id)) => format!("{shown}  secret {id}, not made yet"),
            (_, None) => format!("{shown}  a secret"),
        };
        let made = made.map(|made| json!({ "at": made.at, "by": made.by }));
        Said { text, json: json!({ "name": shown, "secret": id, "made": made }) }
    }
}

/// A value on one line.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Which services of a machine read which of its files, as far as its compose files tell.
pub(crate) struct Readers {
    compose: BTreeSet<RelativePath>,
    services: BTreeMap<String, BTreeSet<RelativePath>>,
}

impl Readers {
    pub(crate) fn of(machine: &RenderedMachine) -> Self {
        let mut readers = Self { compose: BTreeSet::new(), services: BTreeMap::new() };
        let is_yaml = |path: &RelativePath| {
            path.file_name().rsplit_once('.').is_some_and(|(_, ending)| matches!(ending, "yml" | "yaml"))
        };
        for file in machine.files.iter().filter(|file| is_yaml(&file.path)) {
            let Some(found) = compose_services(&file.path, &file.bytes) else { continue };
            // Other files have a chapter `services`, too.
            if !found.0.values().any(|service| service.container_name.is_some() || !service.reads.is_empty()) {
                continue;
            }
            readers.compose.insert(file.path.clone());
            for (name, service) in found.0 {
                readers.services.entry(name).or_default().extend(service.reads);
            }
        }
        readers
    }

    /// The services that read a file, in order of name; a compose file is read by compose.
    pub(crate) fn of_file(&self, path: &RelativePath) -> Vec<String> {
        let reads = |all: &BTreeSet<RelativePath>| all.iter().any(|place| path.is_within(place));
        let services = self.services.iter().filter(|(_, all)| reads(all)).map(|(name, _)| name.clone());
        services.chain(self.compose.contains(path).then(|| "compose".to_owned())).collect()
    }
}
