//! One published state of the whole platform.

use std::collections::BTreeMap;

use pconf_bundle::{Bundle, Content, Directory, File};
use pconf_names::{Digest, MachineName, RevisionId};
use pconf_render::RenderedMachine;
use serde::{Deserialize, Serialize};

/// One published state of the whole platform: what every machine gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publication {
    /// Its number, which only grows.
    pub revision: RevisionId,
    /// The digest of everything that every machine gets, the number left out.
    pub digest: Digest,
    /// The bundles by machine.
    pub machines: BTreeMap<MachineName, Bundle>,
}

/// The revision that follows the one of that number and digest, or `None` where every machine already gets exactly these
/// files.
#[must_use]
pub fn publish(
    previous: Option<(RevisionId, Digest)>,
    rendered: BTreeMap<MachineName, RenderedMachine>,
) -> Option<Publication> {
    let digest = digest(&rendered);
    let revision = match previous {
        Some((_, same)) if same == digest => return None,
        Some((revision, _)) => RevisionId { number: revision.number + 1, ..revision },
        None => RevisionId { epoch: 1, number: 1 },
    };
    let bundle = |(name, machine): (MachineName, RenderedMachine)| (name.clone(), bundle(revision, name, machine));
    Some(Publication { revision, digest, machines: rendered.into_iter().map(bundle).collect() })
}

fn bundle(revision: RevisionId, machine: MachineName, rendered: RenderedMachine) -> Bundle {
    let directories = rendered.directories.into_iter();
    let files = rendered.files.into_iter();
    Bundle {
        directories: directories.map(|d| Directory { path: d.path, owner: d.owner, mode: d.mode }).collect(),
        files: files
            .map(|file| File {
                path: file.path,
                class: file.attributes.class,
                owner: file.attributes.owner,
                mode: file.attributes.mode,
                on_change: None,
                content: Content::from(file.bytes),
            })
            .collect(),
        ..Bundle::empty(revision, machine, rendered.role)
    }
}

/// A digest over one line per machine, directory and file. No field can hold a line break or a space, but a path, which
/// therefore comes last: two platforms with one list are the same.
fn digest(rendered: &BTreeMap<MachineName, RenderedMachine>) -> Digest {
    let mut list = String::new();
    for (name, machine) in rendered {
        list += &format!("machine {name} {}\n", machine.role);
        for d in &machine.directories {
            list += &format!("directory {} {} {}\n", d.owner, d.mode, d.path);
        }
        for file in &machine.files {
            let (a, digest) = (file.attributes, Digest::of(&file.bytes));
            list += &format!("file {:?} {} {} {digest} {}\n", a.class, a.owner, a.mode, file.path);
        }
    }
    Digest::of(list.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pconf_names::Class;
    use pconf_platform::Attributes;
    use pconf_render::RenderedFile;

    fn platform(text: &str, mode: &str) -> Result<BTreeMap<MachineName, RenderedMachine>, Box<dyn std::error::Error>> {
        let attributes = Attributes { class: Class::Config, owner: "0:0".parse()?, mode: mode.parse()? };
        let file = RenderedFile { path: "core/conf/core.yml".parse()?, attributes, bytes: text.as_bytes().to_vec() };
        let machine = RenderedMachine { role: "core".parse()?, directories: Vec::new(), files: vec![file] };
        Ok(BTreeMap::from([("co1".parse()?, machine)]))
    }

    #[test]
    fn the_number_grows_with_content_and_only_with_content() -> Result<(), Box<dyn std::error::Error>> {
        let first = publish(None, platform("a", "0640")?).ok_or("the first is always new")?;
        assert_eq!(first.revision.to_string(), "1.1");
        assert_eq!(publish(Some((first.revision, first.digest)), platform("a", "0640")?), None);

        let second =
            publish(Some((first.revision, first.digest)), platform("b", "0640")?).ok_or("other bytes are new")?;
        assert_eq!(second.revision.to_string(), "1.2");
        let third =
            publish(Some((second.revision, second.digest)), platform("b", "0600")?).ok_or("another mode is new")?;
        assert_eq!(third.revision.to_string(), "1.3");
        assert_eq!(third.machines[&"co1".parse()?].revision, third.revision);

        let back = publish(Some((third.revision, third.digest)), platform("a", "0640")?)
            .ok_or("going back is a new revision")?;
        assert_eq!((back.revision.to_string(), back.digest), ("1.4".to_owned(), first.digest));
        Ok(())
    }
}
