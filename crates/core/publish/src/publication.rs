//! One published state of the whole platform.

use std::collections::{BTreeMap, HashMap};

use pconf_bundle::{Bundle, Content, Directory, File, Masks};
use pconf_names::{Digest, MachineName, RevisionId};
use pconf_platform::Policy;
use pconf_render::RenderedMachine;
use serde::{Deserialize, Serialize, Serializer};

use crate::kept::Kept;
use crate::made_of::MadeOf;

/// One published state of the whole platform: what every machine gets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Kept")]
pub struct Publication {
    /// Its number, which only grows.
    pub revision: RevisionId,
    /// The digest of everything that every machine gets, the number left out.
    pub digest: Digest,
    /// The bundles by machine.
    pub machines: BTreeMap<MachineName, Bundle>,
    /// What it was made of; unknown of revisions that were published before this was kept.
    pub made_of: Option<MadeOf>,
}

impl Serialize for Publication {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Kept::of(self).serialize(serializer)
    }
}

impl Publication {
    /// The same revision, with what it was made of.
    #[must_use]
    pub fn made_of(self, inputs: MadeOf) -> Self {
        Self { made_of: Some(inputs), ..self }
    }

    /// Whether every machine may take it although it changes much.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.machines.values().all(|bundle| bundle.accepted)
    }

    /// The same revision, with the word that it may change as much as it does.
    #[must_use]
    pub fn accepted(mut self) -> Self {
        self.machines.values_mut().for_each(|bundle| bundle.accepted = true);
        self
    }
}

/// The revision that follows `given_up` and says what was before it: to each machine what `before` finds for it, to one that
/// is new what it was given. That it changes much is meant: its admin, or the rollout, went back.
#[must_use]
pub fn give_back<'p>(given_up: &Publication, before: impl Fn(&MachineName) -> Option<&'p Bundle>) -> Publication {
    let revision = RevisionId { number: given_up.revision.number + 1, ..given_up.revision };
    let back = |(name, given): (&MachineName, &Bundle)| {
        let bundle = before(name).unwrap_or(given).clone();
        (name.clone(), Bundle { revision, accepted: true, ..bundle })
    };
    let machines: BTreeMap<MachineName, Bundle> = given_up.machines.iter().map(back).collect();
    Publication { revision, digest: digest(&machines), machines, made_of: None }
}

/// The revision that follows the one of that number and digest, or `None` where every machine already gets exactly these
/// files in this epoch or a later one.
#[must_use]
pub fn publish(
    previous: Option<(RevisionId, Digest)>,
    epoch: u32,
    rendered: BTreeMap<MachineName, RenderedMachine>,
    policy: &Policy,
) -> Option<Publication> {
    let first = RevisionId { epoch, number: 1 };
    let bundle = |(name, machine): (MachineName, RenderedMachine)| {
        let healthy_for = policy.pace_of(&machine.role).healthy_for.map(|span| span.seconds);
        (name.clone(), Bundle { healthy_for, ..bundle(first, name, machine) })
    };
    let mut machines: BTreeMap<MachineName, Bundle> = rendered.into_iter().map(bundle).collect();
    let digest = digest(&machines);
    let revision = match previous {
        Some((revision, same)) if same == digest && revision.epoch >= epoch => return None,
        Some((revision, _)) => RevisionId { epoch: revision.epoch.max(epoch), number: revision.number + 1 },
        None => first,
    };
    for bundle in machines.values_mut() {
        bundle.revision = revision;
    }
    Some(Publication { revision, digest, machines, made_of: None })
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
                on_change: file.attributes.on_change,
                content: Content::from(file.bytes),
            })
            .collect(),
        services: rendered.services,
        compose: rendered.compose,
        masks: Masks::new(rendered.secrets.iter().map(|secret| secret.confidential().to_owned())),
        ..Bundle::empty(revision, machine, rendered.role)
    }
}

/// A digest over one line per machine, directory and file, and per rule, in their order. No field can hold a line break or
/// a space, but a path and what is JSON, which therefore come last: two platforms with one list are the same. Masks follow
/// from the files.
fn digest(machines: &BTreeMap<MachineName, Bundle>) -> Digest {
    let mut list = String::new();
    // By where the bytes are: machines share them.
    let mut digests = HashMap::new();
    for (name, bundle) in machines {
        list += &format!("machine {name} {}\n", bundle.role);
        for d in &bundle.directories {
            list += &format!("directory {} {} {}\n", d.owner, d.mode, d.path);
        }
        for file in &bundle.files {
            let bytes = file.content.as_bytes();
            let digest = *digests.entry((bytes.as_ptr(), bytes.len())).or_insert_with(|| file.content.digest());
            list += &format!("file {:?} {} {} {digest} {}\n", file.class, file.owner, file.mode, file.path);
            if let Some(on_change) = &file.on_change {
                list += &format!("on-change {}\n", json(on_change));
            }
        }
        for rule in &bundle.services {
            list += &format!("service {}\n", json(rule));
        }
        for compose in &bundle.compose {
            list += &format!("compose {}\n", json(compose));
        }
    }
    Digest::of(list.as_bytes())
}

/// One line: JSON escapes line breaks.
fn json(rule: &impl Serialize) -> String {
    match serde_json::to_string(rule) {
        Ok(text) => text,
        Err(_) => unreachable!("rules are text, numbers and lists of text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pconf_bundle::{Control, NextKey};
    use pconf_names::{Class, ComposeFile, OnChange, ServiceRule};
    use pconf_platform::Attributes;
    use pconf_render::{RenderedFile, SecretValue};

    type Machines = BTreeMap<MachineName, RenderedMachine>;

    fn platform(text: &str, mode: &str) -> Result<Machines, Box<dyn std::error::Error>> {
        let attributes =
            Attributes { class: Class::Config, owner: "0:0".parse()?, mode: mode.parse()?, on_change: None };
        let file = RenderedFile { path: "core/conf/core.yml".parse()?, attributes, bytes: text.as_bytes().into() };
        let machine = RenderedMachine {
            role: "core".parse()?,
            directories: Vec::new(),
            files: vec![file],
            services: Vec::new(),
            compose: Vec::new(),
            secrets: vec![SecretValue::Certificate { certificate: "the chain".to_owned(), key: "the key".to_owned() }],
        };
        Ok(BTreeMap::from([("co1".parse()?, machine)]))
    }

    #[test]
    fn the_number_grows_with_content_and_only_with_content() -> Result<(), Box<dyn std::error::Error>> {
        let first = publish(None, 1, platform("a", "0640")?, &Policy::default()).ok_or("the first is always new")?;
        assert_eq!(first.revision.to_string(), "1.1");
        assert_eq!(publish(Some((first.revision, first.digest)), 1, platform("a", "0640")?, &Policy::default()), None);

        let second = publish(Some((first.revision, first.digest)), 1, platform("b", "0640")?, &Policy::default())
            .ok_or("other bytes are new")?;
        assert_eq!(second.revision.to_string(), "1.2");
        let third = publish(Some((second.revision, second.digest)), 1, platform("b", "0600")?, &Policy::default())
            .ok_or("another mode is new")?;
        assert_eq!(third.revision.to_string(), "1.3");
        assert_eq!(third.machines[&"co1".parse()?].revision, third.revision);

        let back = publish(Some((third.revision, third.digest)), 1, platform("a", "0640")?, &Policy::default())
            .ok_or("going back is a new revision")?;
        assert_eq!((back.revision.to_string(), back.digest), ("1.4".to_owned(), first.digest));
        Ok(())
    }

    #[test]
    fn another_epoch_makes_a_newer_revision_of_the_same_bytes_once() -> Result<(), Box<dyn std::error::Error>> {
        let first = publish(None, 1, platform("a", "0640")?, &Policy::default()).ok_or("the first is always new")?;
        let previous = (first.revision, first.digest);
        let second =
            publish(Some(previous), 2, platform("a", "0640")?, &Policy::default()).ok_or("another epoch is new")?;
        assert_eq!((second.revision.to_string(), second.digest), ("2.2".to_owned(), first.digest));
        assert!(second.revision > first.revision);
        for epoch in [1, 2] {
            assert_eq!(
                publish(Some((second.revision, second.digest)), epoch, platform("a", "0640")?, &Policy::default()),
                None
            );
        }
        let third = publish(Some((second.revision, second.digest)), 1, platform("b", "0640")?, &Policy::default())
            .ok_or("other bytes")?;
        assert_eq!(third.revision.to_string(), "2.3");
        Ok(())
    }

    #[test]
    fn another_rule_is_another_revision_and_no_rule_is_what_it_was() -> Result<(), Box<dyn std::error::Error>> {
        let plain = platform("a", "0640")?;
        // As published before there were rules.
        let digest = |machines: &Machines| publish(None, 1, machines.clone(), &Policy::default()).map(|all| all.digest);
        let of_plain = digest(&plain).ok_or("the first is always new")?;
        assert_eq!(of_plain.to_string(), "dab60be5406dcca23398f2e344d5d1cd27333f0cf2052c42b1a466a4eea7512d");

        let rules = |text: &str| serde_json::from_str::<Vec<ServiceRule>>(text);
        let some = [rules(r#"[{"match":"*","limit":9}]"#)?, rules(r#"[{"match":"*","limit":8}]"#)?];
        let mut seen = vec![Some(of_plain)];
        let mut is_new = |change: &dyn Fn(&mut RenderedMachine)| {
            let mut other = plain.clone();
            other.values_mut().for_each(change);
            let digest = digest(&other);
            assert!(!seen.contains(&digest), "{other:?}");
            seen.push(digest);
        };
        is_new(&|machine| machine.files[0].attributes.on_change = Some(OnChange::None));
        is_new(&|machine| machine.services.clone_from(&some[0]));
        is_new(&|machine| machine.services.clone_from(&some[1]));
        is_new(&|machine| {
            let file = machine.files[0].path.clone();
            machine.compose.push(ComposeFile { file, project: "p".to_owned() });
        });
        Ok(())
    }

    #[test]
    fn the_word_of_the_admin_changes_neither_number_nor_digest() -> Result<(), Box<dyn std::error::Error>> {
        let published =
            publish(None, 1, platform("a", "0640")?, &Policy::default()).ok_or("the first is always new")?;
        let accepted = published.clone().accepted();
        assert_eq!((accepted.revision, accepted.digest), (published.revision, published.digest));
        let words =
            |publication: &Publication| publication.machines.values().map(|one| one.accepted).collect::<Vec<_>>();
        assert_eq!((words(&published), words(&accepted)), (vec![false], vec![true]));
        Ok(())
    }

    #[test]
    fn what_is_said_to_one_follower_about_its_connection_is_no_new_revision() -> Result<(), Box<dyn std::error::Error>>
    {
        let mut published =
            publish(None, 1, platform("a", "0640")?, &Policy::default()).ok_or("the first is always new")?;
        for bundle in published.machines.values_mut() {
            let next_key = Some(NextKey { version: 2, key: [9; 32].into() });
            bundle.control = Some(Control { serial: 7, next_key, authorities: None });
        }
        let kept: Publication = serde_json::from_str(&serde_json::to_string(&published)?)?;
        assert_eq!(kept, published);
        assert_eq!(publish(Some((kept.revision, kept.digest)), 1, platform("a", "0640")?, &Policy::default()), None);
        Ok(())
    }

    #[test]
    fn a_key_is_masked_and_its_certificate_is_not() -> Result<(), Box<dyn std::error::Error>> {
        let published =
            publish(None, 1, platform("a", "0640")?, &Policy::default()).ok_or("the first is always new")?;
        let masks = &published.machines[&"co1".parse()?].masks;
        assert_eq!(masks.hide("the chain, the key"), "the chain, ••••");
        Ok(())
    }
}
