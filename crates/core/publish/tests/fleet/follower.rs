//! A follower in memory: the real planner and ledger, a disk, work that takes its time and may go wrong, and a process that
//! may be killed at any moment.

use std::collections::BTreeMap;

use pconf_bundle::{EnrolmentKey, KeyId, Keys, Report, Verdict, VerifiedBundle};
use pconf_names::{MachineName, RelativePath, RevisionId};
use pconf_plan::{Admission, Attempt, Ledger, Observed, OnDisk, Plan, Purpose, Step, admit, places_to_look, plan};

pub(crate) struct Follower {
    pub(crate) name: MachineName,
    pub(crate) keys: Keys,
    /// Durable.
    pub(crate) ledger: Ledger,
    stored: BTreeMap<RevisionId, VerifiedBundle>,
    disk: BTreeMap<RelativePath, OnDisk>,
    undelivered: Option<Report>,
    told: Option<Verdict>,
    /// How often each revision was begun and broke the machine.
    pub(crate) broke: BTreeMap<RevisionId, usize>,
    /// In memory: gone with the process.
    work: Option<Work>,
    /// Until when it is off.
    pub(crate) off_until: u64,
    pub(crate) next_poll: u64,
    /// How far its clock is off, in seconds.
    pub(crate) clock: i64,
}

struct Work {
    goal: VerifiedBundle,
    purpose: Purpose,
    ends: u64,
}

impl Follower {
    pub(crate) fn new(name: MachineName) -> Self {
        let id = KeyId { machine: name.clone(), version: 1 };
        let keys = Keys::derive(id, &EnrolmentKey::from([7; 32]));
        Self {
            name,
            keys,
            ledger: Ledger::default(),
            stored: BTreeMap::new(),
            disk: BTreeMap::new(),
            undelivered: None,
            told: None,
            broke: BTreeMap::new(),
            work: None,
            off_until: 0,
            next_poll: 0,
            clock: 0,
        }
    }

    pub(crate) fn is_on(&self, now: u64) -> bool {
        now >= self.off_until
    }

    /// Whether its services are being changed.
    pub(crate) fn is_down(&self) -> bool {
        self.ledger.attempt.is_some()
    }

    pub(crate) fn is_at_work(&self) -> bool {
        self.work.is_some()
    }

    /// The process is killed; what is on the disk stays.
    pub(crate) fn kill(&mut self, until: u64) {
        self.work = None;
        self.off_until = until;
        self.next_poll = until;
    }

    pub(crate) fn tag(&self) -> Option<String> {
        self.ledger.settled_tag().map(str::to_owned)
    }

    /// What it has to tell.
    pub(crate) fn report(&self) -> Option<&Report> {
        self.undelivered.as_ref()
    }

    pub(crate) fn is_heard(&mut self) {
        self.undelivered = None;
    }

    /// The leader offers a bundle.
    pub(crate) fn take(&mut self, goal: VerifiedBundle, now: u64, lasts: u64) {
        if self.work.is_some() {
            return;
        }
        match admit(&goal, &self.ledger) {
            Err(refusal) => panic!("{} refuses {}: {refusal}", self.name, goal.revision),
            Ok(Admission::Quarantined) => {
                if let Some(known) = &mut self.ledger.quarantined {
                    known.revision = Attempt::of(&goal);
                }
            }
            Ok(Admission::Taken) if self.ledger.attempt.is_none() && self.ledger.running() == Some(goal.revision) => {}
            Ok(Admission::Taken) => {
                self.stored.insert(goal.revision, goal.clone());
                self.go(goal, Purpose::Goal, now, lasts);
            }
        }
    }

    /// What was cut off goes on.
    pub(crate) fn resume(&mut self, now: u64, lasts: u64) {
        let (None, Some(attempt)) = (&self.work, self.ledger.attempt.clone()) else { return };
        let is_broken = self.ledger.quarantined.as_ref().is_some_and(|it| it.revision.revision == attempt.revision);
        let (to, purpose) = match (&self.ledger.applied, is_broken) {
            (Some(applied), true) => (applied.revision, Purpose::Return),
            _ => (attempt.revision, self.ledger.purpose),
        };
        let goal = self.stored[&to].clone();
        self.go(goal, purpose, now, lasts);
    }

    fn go(&mut self, goal: VerifiedBundle, purpose: Purpose, now: u64, lasts: u64) {
        let plan = self.plan(&goal);
        if plan.is_empty() {
            self.arrive(&goal, purpose, &plan);
            return;
        }
        self.ledger.intend(&goal, purpose, &plan);
        self.work = Some(Work { goal, purpose, ends: now + lasts });
    }

    fn plan(&self, goal: &VerifiedBundle) -> Plan {
        let places = places_to_look(goal, &self.ledger);
        let look = |path: &RelativePath| self.disk.get(path).cloned().unwrap_or(OnDisk::Nothing);
        let disk = places.into_keys().map(|path| (path.clone(), look(&path))).collect();
        plan(goal, &self.ledger, &Observed { disk, containers: Some(Vec::new()) }).expect("nothing is in the way")
    }

    /// Time passes; `is_ill` says whether the goal breaks this machine.
    pub(crate) fn pass(&mut self, now: u64, lasts: u64, is_ill: impl Fn(&VerifiedBundle) -> bool) {
        let Some(Work { goal, purpose, .. }) = self.work.take_if(|work| now >= work.ends) else { return };
        let plan = self.plan(&goal);
        self.write(&goal, &plan);
        if purpose == Purpose::Goal && is_ill(&goal) {
            *self.broke.entry(goal.revision).or_default() += 1;
            self.ledger.quarantine(Attempt::of(&goal), "it exited with code 1".to_owned());
            let Some(applied) = self.ledger.applied.clone() else { panic!("the first revision is good") };
            let back = self.stored[&applied.revision].clone();
            self.go(back, Purpose::Return, now, lasts);
            return;
        }
        self.arrive(&goal, purpose, &plan);
    }

    fn write(&mut self, goal: &VerifiedBundle, plan: &Plan) {
        for step in &plan.steps {
            match step {
                Step::WriteFile { path, .. } | Step::SetPermission { path, .. } => {
                    let file = goal.files.iter().find(|file| file.path == *path).expect("it is one of the goal");
                    let digest = Some(file.content.digest());
                    let seen = OnDisk::File { digest, owner: file.owner, mode: file.mode.bits() };
                    self.disk.insert(path.clone(), seen);
                }
                Step::MakeFolder { path, .. } => drop(self.disk.insert(path.clone(), OnDisk::Folder)),
                Step::RemoveFile { path } | Step::RemoveFolder { path } => drop(self.disk.remove(path)),
            }
        }
    }

    fn arrive(&mut self, goal: &VerifiedBundle, purpose: Purpose, plan: &Plan) {
        self.ledger.intend(goal, purpose, plan);
        self.ledger.written(goal, &[]);
        self.ledger.finish(&[]);
        let running = goal.revision;
        let verdict = match &self.ledger.quarantined {
            Some(it) => {
                let (revision, reason) = (it.revision.revision, it.reason.clone());
                Verdict::RolledBack { revision, running, reason }
            }
            None => Verdict::Running { revision: running },
        };
        if self.told.as_ref() != Some(&verdict) {
            self.told = Some(verdict.clone());
            self.undelivered = Some(Report::of(verdict));
        }
    }
}
