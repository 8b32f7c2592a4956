//! A template set as small as the promise that it is for.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

/// Files of a set by path below `templates/<kind>/`.
#[derive(Debug, Clone)]
pub struct TemplateSet {
    files: BTreeMap<String, Vec<u8>>,
}

impl TemplateSet {
    /// A set of kind `little`: one role `app`, one file `app/conf/app.json` that holds all of `settings`, a data and a
    /// log folder; settings of any name are allowed. A service is healthy as soon as it runs, so that no test waits for it.
    #[must_use]
    pub fn little() -> Self {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "required": ["kind", "settings", "machines"],
            "properties": {
                "kind": { "type": "string" },
                "settings": {
                    "type": "object",
                    "description": "What the application says.",
                    "properties": { "greeting": { "type": "string", "description": "What to say.", "default": "hello" } }
                },
                "machines": { "type": "object", "additionalProperties": { "type": "object" } }
            }
        });
        let role = json!({
            "description": "An application.",
            "topology": "cluster",
            "files": [{ "match": "**", "class": "config", "owner": owner(), "mode": "0640" }],
            "directories": [
                { "path": "app/data", "owner": owner(), "mode": "0750" },
                { "path": "app/log", "owner": owner(), "mode": "0750" }
            ],
            "services": [{ "match": "*", "health": { "running": 0 } }]
        });
        Self { files: BTreeMap::new() }
            .json("platform.schema.json", &schema)
            .json("platform.example.json", &json!({ "kind": "little", "settings": {}, "machines": {} }))
            .text("derived.json.tera", "{}\n")
            .json("secrets.json", &json!({}))
            .json("app/role.json", &role)
            .text("app/app/conf/app.json.tera", "{{ settings | json }}\n")
    }

    /// The same with two secrets that the application reads: `token` is made, `password` is brought.
    #[must_use]
    pub fn with_secrets() -> Self {
        let secret = |kind| json!({ "description": "What the application shows.", "kind": kind, "roles": ["app"] });
        Self::little().json("secrets.json", &json!({ "token": secret("random"), "password": secret("external") })).text(
            "app/app/conf/secret.json.tera",
            "{ \"token\": {{ secrets.token | json }}, \"password\": {{ secrets.password | json }} }\n",
        )
    }

    /// Adds or replaces a file.
    #[must_use]
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.to_owned(), content.into());
        self
    }

    /// Adds or replaces a text file.
    #[must_use]
    pub fn text(self, path: &str, content: &str) -> Self {
        self.file(path, content.as_bytes())
    }

    /// Adds or replaces a JSON file.
    #[must_use]
    pub fn json(self, path: &str, content: &Value) -> Self {
        self.text(path, &format!("{content:#}\n"))
    }

    /// The same with one text in the place of another, in every file.
    #[must_use]
    pub fn replacing(mut self, from: &str, to: &str) -> Self {
        for content in self.files.values_mut() {
            *content = String::from_utf8_lossy(content).replace(from, to).into_bytes();
        }
        self
    }

    /// Takes a file out.
    #[must_use]
    pub fn without(mut self, path: &str) -> Self {
        self.files.remove(path);
        self
    }

    /// Changes a JSON file of the set.
    pub fn edit(self, path: &str, change: impl FnOnce(&mut Value)) -> Result<Self> {
        let mut content = serde_json::from_slice(self.files.get(path).map_or(&b"null"[..], Vec::as_slice))?;
        change(&mut content);
        Ok(self.json(path, &content))
    }

    /// Says something more of the services of a role, e.g. `{ "match": "web", "onChange": { "reload": "SIGHUP" } }`.
    pub fn service(self, role: &str, said: &Value) -> Result<Self> {
        self.add(role, "services", said)
    }

    /// Says how services take a change of those files of a role that the pattern matches.
    pub fn on_change(self, role: &str, files: &str, on_change: &Value) -> Result<Self> {
        self.add(role, "files", &json!({ "match": files, "onChange": on_change }))
    }

    /// Declares one of a role's files to be a compose file whose services are made and removed with it.
    pub fn compose(self, role: &str, file: &str, project: &str) -> Result<Self> {
        self.add(role, "compose", &json!({ "file": file, "project": project }))
    }

    fn add(self, role: &str, list: &str, item: &Value) -> Result<Self> {
        self.edit(&format!("{role}/role.json"), |manifest| {
            let list = &mut manifest[list];
            match list.as_array_mut() {
                Some(items) => items.push(item.clone()),
                None => *list = json!([item]),
            }
        })
    }

    /// Writes it below `folder`, as kind `little`; files that it no longer has are removed.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let set = folder.join("little");
        for (path, content) in &self.files {
            let place = set.join(path);
            if fs::read(&place).is_ok_and(|present| &present == content) {
                continue;
            }
            fs::create_dir_all(place.parent().unwrap_or(&set))?;
            let draft = place.with_extension("draft~");
            fs::write(&draft, content)?;
            fs::rename(&draft, &place)?;
        }
        for path in crate::tree::read(&set)?.iter().filter(|(_, entry)| entry.content.is_some()).map(|(path, _)| path) {
            if !self.files.contains_key(path) {
                fs::remove_file(set.join(path))?;
            }
        }
        Ok(())
    }
}

/// Whoever runs the tests: only root may give files away.
#[must_use]
pub(crate) fn owner() -> String {
    format!("{}:{}", rustix::process::geteuid(), rustix::process::getegid())
}
