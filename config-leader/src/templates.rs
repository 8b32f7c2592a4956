//! Reading a template set from disk.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;

/// The files of a set by path below its folder. Hidden files and editors' left-overs (`.*.swp`, `*~`) are none.
pub(crate) fn read_set(folder: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    read_below(folder, "", &mut files)?;
    Ok(files)
}

fn read_below(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
    let unreadable = || format!("cannot read the template folder `{}`", folder.display());
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        let path = entry.path();
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            anyhow::bail!("`{}` is no UTF-8 name: rename it", path.display());
        };
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        let kind = entry.file_type().with_context(unreadable)?;
        if kind.is_dir() {
            read_below(&path, &format!("{prefix}{name}/"), files)?;
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
            files.insert(format!("{prefix}{name}"), bytes);
        } else {
            // A link could bring any file of this machine to another one.
            anyhow::bail!("`{}` is no regular file: template sets hold files and folders only", path.display());
        }
    }
    Ok(())
}

/// The names of the sets in a folder, sorted.
pub(crate) fn set_names(templates: &Path) -> anyhow::Result<Vec<String>> {
    let unreadable =
        || format!("cannot read the folder of template sets `{}`: name it with --templates", templates.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(templates).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        if entry.path().join("platform.schema.json").is_file() {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort_unstable();
    Ok(names)
}
