//! `init KIND`: from nothing to a platform that checks.

use anyhow::Context as _;
use pconf_platform::{Sources, document};
use serde_json::json;

use crate::folder::Folder;
use crate::inputs::{Reader, load_set, read_platform};
use crate::orders::Actor;
use crate::terminal::{Failure, Said};
use crate::{secrets, templates};

pub(crate) fn run(folder: &Folder, kind: &str, example: Option<&str>) -> Result<Said, Failure> {
    let known = templates::set_names(folder.templates())?;
    if !known.iter().any(|name| name == kind) {
        let known = known.join(", ");
        return Err(anyhow::anyhow!(
            "there is no template set `{kind}` in `{}`; known: {known}",
            folder.templates().display()
        )
        .into());
    }
    let text = first_text(folder, kind, example)?;
    std::fs::create_dir_all(folder.path()).with_context(|| format!("cannot make `{}`", folder.path().display()))?;
    // What an admin wrote is worth more than any example: the file is made only where there is none.
    let is_new = pconf_files::create_state(&folder.platform(), text.as_bytes())?;
    if !is_new {
        let written = pconf_platform::PlatformFile::parse("platform.json", &read_platform(folder)?).ok();
        let written = written.as_ref().and_then(|file| file.kind().ok());
        if let Some(other) = written.filter(|other| *other != kind) {
            return Err(anyhow::anyhow!(
                "platform.json is here already and of the kind `{other}`: nothing was changed"
            )
            .into());
        }
    }

    let config_is_new = folder.keep_config()?;
    let looked = Reader::default().look(folder)?;
    let set = secrets::from_environment(folder, looked.set.secrets(), &Actor::here())?.len();
    let machines = looked.scene.machines().len();

    let dir = folder.path().display();
    let platform = if is_new { "written: what the admin edits, every setting explained" } else { "kept as it is" };
    let config = if config_is_new { "written: where to listen, where the templates are" } else { "kept as it is" };
    let text = format!(
        "{dir}/platform.json       {platform}\n\
         {dir}/config-leader.json  {config}\n\
         {dir}/secrets/            {set} taken from the environment; the others are made with the first revision\n\n\
         Next: edit platform.json, then `config-leader check` and `config-leader serve`.\n\
         `config-leader machine add NAME --role ROLE` tells what to run on each of its {machines} machines.\n"
    );
    Ok(Said { text, json: json!({ "ok": true, "platformWritten": is_new, "secretsSet": set }) })
}

fn first_text(folder: &Folder, kind: &str, example: Option<&str>) -> Result<String, Failure> {
    let set = load_set(kind, templates::read_set(&folder.templates().join(kind))?, &Sources::new())?;
    let Some((file, text)) = set.example(example) else {
        let names: Vec<_> = set.example_names().collect();
        let asked = example.unwrap_or("(default)");
        return Err(anyhow::anyhow!("the set `{kind}` has no example `{asked}`; it has: {}", names.join(", ")).into());
    };
    let invalid = |problems| {
        let mut sources = set.sources().clone();
        sources.insert(file.clone(), text);
        Failure::Invalid { problems, sources: Box::new(sources) }
    };
    document(set.schema(), &file, text).map_err(invalid)
}
