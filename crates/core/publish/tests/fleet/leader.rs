//! A leader in memory: the real rollout, and a disk that outlives its process.

use std::collections::BTreeMap;

use pconf_bundle::{Bundle, Report, SealedBundle, seal_bundle};
use pconf_names::{Class, Digest, MachineName, RevisionId};
use pconf_platform::{Attributes, Policy};
use pconf_publish::{Begin, Course, Phase, Publication, Rollout, Word, Words, give_back, publish};
use pconf_render::{RenderedFile, RenderedMachine};

use crate::follower::Follower;

#[derive(Default)]
pub(crate) struct Leader {
    /// Durable, as are the next ones.
    publications: BTreeMap<RevisionId, Publication>,
    rollout: Option<Rollout>,
    rejected: Option<Digest>,
    reports: BTreeMap<MachineName, Report>,
    contacts: BTreeMap<MachineName, u64>,
    /// Gone with the process, as are the next ones.
    fetched: BTreeMap<MachineName, RevisionId>,
    newest_said: BTreeMap<MachineName, u64>,
    pub(crate) off_until: u64,
    /// How often the fleet went back.
    pub(crate) returns: usize,
}

impl Words for Leader {
    fn word(&self, machine: &MachineName) -> Word<'_> {
        Word {
            heard: self.contacts.get(machine).copied(),
            fetched: self.fetched.get(machine).copied(),
            verdict: self.reports.get(machine).map(|report| &report.verdict),
        }
    }
}

/// What a platform says to each machine: a word, and for some of them what makes them ill.
pub(crate) type Content = BTreeMap<MachineName, String>;

pub(crate) fn rendered(content: &Content) -> BTreeMap<MachineName, RenderedMachine> {
    let machine = |text: &String| RenderedMachine {
        role: "core".parse().expect("a role"),
        directories: Vec::new(),
        files: vec![RenderedFile {
            path: "core/conf/core.yml".parse().expect("a path"),
            attributes: Attributes {
                class: Class::Config,
                owner: "0:0".parse().expect("an owner"),
                mode: "0640".parse().expect("a mode"),
                on_change: None,
            },
            bytes: text.as_bytes().into(),
        }],
        services: Vec::new(),
        compose: Vec::new(),
        secrets: Vec::new(),
    };
    content.iter().map(|(name, text)| (name.clone(), machine(text))).collect()
}

impl Leader {
    pub(crate) fn is_on(&self, now: u64) -> bool {
        now >= self.off_until
    }

    pub(crate) fn kill(&mut self, until: u64) {
        self.off_until = until;
        self.fetched.clear();
        self.newest_said.clear();
    }

    fn newest(&self) -> Option<&Publication> {
        self.publications.values().next_back()
    }

    pub(crate) fn goal(&self) -> RevisionId {
        self.newest().expect("something is published").revision
    }

    pub(crate) fn rollout(&self) -> &Rollout {
        self.rollout.as_ref().expect("something is rolled out")
    }

    /// The admin saved this, or has it saved still.
    pub(crate) fn save(&mut self, content: &Content, policy: &Policy, now: u64) {
        let previous = self.newest().map(|newest| (newest.revision, newest.digest));
        let Some(publication) = publish(previous, 1, rendered(content), policy) else { return };
        if self.rejected == Some(publication.digest) {
            return;
        }
        self.rejected = None;
        self.begin(publication, Course::Forward, policy.clone(), now);
    }

    fn begin(&mut self, goal: Publication, course: Course, policy: Policy, now: u64) {
        let held =
            |revision: RevisionId, machine: &MachineName| self.publications.get(&revision)?.machines.get(machine);
        let before = self.newest().map(|newest| newest.revision);
        let begin = Begin { course, policy, only: None, confirm_by: None, now };
        let rollout = Rollout::begin(&goal, self.rollout.as_ref(), before, held, begin);
        let wanted = rollout.older();
        self.publications.retain(|revision, _| wanted.contains(revision) || Some(*revision) == before);
        self.rollout = Some(rollout);
        self.publications.insert(goal.revision, goal);
    }

    /// Goes on as far as it can; whether anybody is told something new.
    pub(crate) fn go_on(&mut self, now: u64) {
        let Some(mut rollout) = self.rollout.clone() else { return };
        let progress = rollout.advance(self, now);
        let is_over = rollout.phase == Phase::Over;
        let policy = rollout.policy.clone();
        self.rollout = Some(rollout);
        if let Some(reason) = progress.goes_back {
            self.returns += 1;
            let (rollout, goal) = (self.rollout(), self.newest().expect("something is published"));
            let back = give_back(goal, |machine| {
                let revision = rollout.machines[machine].returns_to()?;
                self.publications.get(&revision)?.machines.get(machine)
            });
            let (digest, from) = (goal.digest, goal.revision);
            self.rejected = Some(digest);
            let course = Course::Back { from, reason };
            self.begin(back, course, policy, now);
            self.go_on(now);
        } else if is_over {
            let goal = self.goal();
            self.publications.retain(|revision, _| *revision == goal);
        }
    }

    pub(crate) fn told(&self, machine: &MachineName) -> Option<&Bundle> {
        let told = self.rollout().told(machine)?;
        let bundle = self.publications.get(&told).and_then(|publication| publication.machines.get(machine));
        Some(bundle.unwrap_or_else(|| panic!("{machine} is told {told}, which is gone")))
    }

    /// The answer to a machine that asks.
    pub(crate) fn answer(
        &mut self,
        follower: &Follower,
        tag: Option<&str>,
        nonce: [u8; 24],
        now: u64,
    ) -> Option<(RevisionId, SealedBundle)> {
        self.contacts.insert(follower.name.clone(), now);
        let bundle = self.told(&follower.name)?.clone();
        let sealed = seal_bundle(&follower.keys, &bundle, nonce);
        if Some(sealed.tag.to_string().as_str()) == tag {
            return None;
        }
        self.fetched.insert(follower.name.clone(), bundle.revision);
        // Noted on the disk before it is answered.
        self.go_on(now);
        Some((bundle.revision, sealed))
    }

    /// A machine tells something; `false` where it told something newer before.
    pub(crate) fn hear(&mut self, machine: &MachineName, said: u64, report: Report, now: u64) -> bool {
        self.contacts.insert(machine.clone(), now);
        let newest = self.newest_said.entry(machine.clone()).or_insert(said);
        if said < *newest {
            return false;
        }
        *newest = said;
        self.reports.insert(machine.clone(), report);
        true
    }
}
