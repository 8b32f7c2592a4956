//! One machine's part of a plan.

use std::collections::{BTreeMap, BTreeSet};

use pconf_bundle::{Bundle, Changed, File, Masks, UnixSeconds, masked_diff};
use pconf_names::{RelativePath, RevisionId, RoleName, Span};
use pconf_plan::{ContainerState, Foreseen, Plan, Snapshot, Step};
use pconf_publish::says_the_same;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::snapshots::Told;

/// A machine that has not been heard for so long is said to be silent, in seconds: followers look every minute.
const SILENT: u64 = 5 * 60;

/// What is known of a machine.
pub(super) struct Known<'a> {
    /// What it is to have now.
    pub(super) assigned: Option<&'a Bundle>,
    pub(super) told: Option<&'a Told>,
    /// When it was last heard (RFC 3339).
    pub(super) contact: Option<&'a str>,
    pub(super) now: UnixSeconds,
}

/// What a publication would do on one machine.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MachinePlan {
    pub(super) role: RoleName,
    /// What it is to have now.
    assigned: Option<RevisionId>,
    /// When the machine was as the plan takes it (RFC 3339); `None` where it has never told.
    pub(super) as_of: Option<String>,
    /// Whether it would get something else than it is to have now.
    is_other: bool,
    pub(super) outlook: Outlook,
    pub(super) files: Vec<FilePlan>,
    /// Which services do not answer for a while.
    pub(super) downtime: Vec<Down>,
    /// What cannot be known, and what stands in the way of knowing it.
    pub(super) unknown: Vec<String>,
    /// What else there is to know before it is done.
    pub(super) remarks: Vec<String>,
    /// What actions are on, by every name.
    #[serde(skip)]
    services: BTreeSet<String>,
}

/// What its follower will do.
#[derive(Debug, Serialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub(super) enum Outlook {
    /// The machine has never told what it decides by.
    Unknown,
    /// Nothing: it runs this revision.
    AtGoal,
    /// This.
    Taken {
        /// What, in order.
        plan: Box<Plan>,
    },
    /// Nothing: it does not take the revision.
    Refused {
        /// Why, and the way out.
        reason: String,
    },
    /// Nothing: the revision broke this machine before.
    Quarantined {
        /// What it broke.
        reason: String,
    },
}

/// A file that changes.
#[derive(Debug, Serialize)]
pub(super) struct FilePlan {
    pub(super) path: RelativePath,
    pub(super) does: FileWork,
    /// Between what the machine is to have and what it would get, without secrets; `None` where these are the same, and the
    /// machine has something else.
    pub(super) diff: Option<String>,
    /// The containers that read it; `None` where nobody knows.
    pub(super) readers: Option<Vec<String>>,
}

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum FileWork {
    Create,
    Change,
    /// Changed in its place: a running container mounts it by itself.
    Rewrite,
    /// Owner or mode alone.
    Permit,
    Remove,
}

/// A service that does not answer for a while.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Down {
    pub(super) service: String,
    /// How long it was away the last time, in milliseconds; `None` where nobody has seen it.
    pub(super) about_ms: Option<u64>,
    /// After how many seconds the machine gives up and goes back.
    pub(super) limit: u32,
}

impl MachinePlan {
    pub(super) fn new(goal: &Bundle, known: &Known<'_>) -> Self {
        let snapshot = known.told.map(|told| &told.snapshot);
        let outlook = snapshot.map_or(Outlook::Unknown, |snapshot| outlook(goal, snapshot));
        let plan = outlook.plan();
        let mut services = BTreeSet::new();
        let mut downtime = Vec::new();
        for action in plan.map(|plan| plan.actions.as_slice()).unwrap_or_default() {
            let containers = snapshot.and_then(|snapshot| snapshot.containers.as_ref());
            let container = containers.into_iter().flatten().find(|container| container.name == action.name);
            services.extend(container.map(|container| container.service.clone()));
            services.insert(action.name.clone());
            if action.what.interrupts() {
                let about_ms = snapshot.and_then(|snapshot| snapshot.took.get(&action.name)).copied();
                downtime.push(Down { service: action.name.clone(), about_ms, limit: action.limit });
            }
        }
        let (unknown, remarks) = notes(goal, known, &outlook);
        Self {
            role: goal.role.clone(),
            assigned: known.assigned.map(|assigned| assigned.revision),
            as_of: known.as_of().map(str::to_owned),
            is_other: known.assigned.is_none_or(|assigned| !says_the_same(assigned, goal)),
            files: files(goal, known, plan, &outlook),
            outlook,
            downtime,
            unknown,
            remarks,
            services,
        }
    }

    /// Whether something would be done, or anything else would be wanted.
    pub(super) fn changes(&self) -> bool {
        self.is_other || self.outlook.plan().is_some_and(|plan| !plan.is_empty())
    }

    pub(super) fn acts_on(&self, service: &str) -> bool {
        self.services.contains(service)
    }
}

impl Outlook {
    pub(super) fn plan(&self) -> Option<&Plan> {
        match self {
            Self::Taken { plan } => Some(plan),
            Self::Unknown | Self::AtGoal | Self::Refused { .. } | Self::Quarantined { .. } => None,
        }
    }
}

impl<'a> Known<'a> {
    /// When the machine was as it told: whoever tells nothing new at a contact is as before.
    fn as_of(&self) -> Option<&'a str> {
        let told = self.told?;
        Some(self.contact.map_or(told.at.as_str(), |contact| contact.max(&told.at)))
    }

    /// For how long nothing was heard.
    fn silent_for(&self) -> Option<Span> {
        let last = OffsetDateTime::parse(self.contact?, &Rfc3339).ok()?;
        let span = Span::between(u64::try_from(last.unix_timestamp()).unwrap_or_default(), self.now.0);
        (span.seconds > SILENT).then_some(span)
    }
}

fn outlook(goal: &Bundle, snapshot: &Snapshot) -> Outlook {
    let ledger = &snapshot.ledger;
    if ledger.attempt.is_none() && ledger.running() == Some(goal.revision) {
        return Outlook::AtGoal;
    }
    match snapshot.foresee(goal) {
        Foreseen::Taken(plan) => Outlook::Taken { plan },
        Foreseen::Quarantined(reason) => Outlook::Quarantined { reason },
        Foreseen::Refused(refusal) => Outlook::Refused { reason: refusal.to_string() },
    }
}

/// The files that change, as far as that is known: those of the plan in its order, else those of the bundle by path.
fn files(goal: &Bundle, known: &Known<'_>, plan: Option<&Plan>, outlook: &Outlook) -> Vec<FilePlan> {
    let nothing = Masks::default();
    let masks = goal.masks.and(known.assigned.map_or(&nothing, |assigned| &assigned.masks));
    let before = by_path(known.assigned);
    let after = by_path(Some(goal));
    let containers = known.told.and_then(|told| told.snapshot.containers.as_ref());
    let file = |path: &RelativePath, does: FileWork| {
        let bytes = |files: &BTreeMap<&RelativePath, &File>| files.get(path).map(|file| file.content.clone());
        let (before, after) = (bytes(&before), bytes(&after));
        let changed = Changed {
            before: before.as_ref().map(pconf_bundle::Content::as_bytes),
            after: after.as_ref().map(pconf_bundle::Content::as_bytes),
        };
        let readers = containers.map(|all| {
            all.iter().filter(|each| each.reads_or_is_made_from(path)).map(|each| each.name.clone()).collect()
        });
        let diff = (before != after).then(|| masked_diff(&changed, &masks));
        FilePlan { path: path.clone(), does, diff, readers }
    };
    if let Some(plan) = plan {
        let work = |step: &Step| {
            Some(match step {
                Step::WriteFile { path, in_place: true, .. } => file(path, FileWork::Rewrite),
                Step::WriteFile { path, replaces: true, .. } => file(path, FileWork::Change),
                Step::WriteFile { path, .. } => file(path, FileWork::Create),
                Step::SetPermission { path, .. } => file(path, FileWork::Permit),
                Step::RemoveFile { path } => file(path, FileWork::Remove),
                Step::MakeFolder { .. } | Step::RemoveFolder { .. } => return None,
            })
        };
        return plan.steps.iter().filter_map(work).collect();
    }
    if matches!(outlook, Outlook::AtGoal) {
        return Vec::new();
    }
    let all: BTreeSet<&RelativePath> = before.keys().chain(after.keys()).copied().collect();
    let differs = |path: &&RelativePath| match (before.get(path), after.get(path)) {
        (None, Some(_)) => Some(file(path, FileWork::Create)),
        (Some(_), None) => Some(file(path, FileWork::Remove)),
        (Some(before), Some(after)) if before.content != after.content => Some(file(path, FileWork::Change)),
        (Some(before), Some(after)) if (before.owner, before.mode) != (after.owner, after.mode) => {
            Some(file(path, FileWork::Permit))
        }
        _ => None,
    };
    all.iter().filter_map(differs).collect()
}

fn by_path(bundle: Option<&Bundle>) -> BTreeMap<&RelativePath, &File> {
    bundle.into_iter().flat_map(|bundle| &bundle.files).map(|file| (&file.path, file)).collect()
}

/// What cannot be known, and what else there is to know.
fn notes(goal: &Bundle, known: &Known<'_>, outlook: &Outlook) -> (Vec<String>, Vec<String>) {
    let (mut unknown, mut remarks) = (Vec::new(), Vec::new());
    if let Some(span) = known.silent_for() {
        unknown.push(format!("silent for {span}: it may have become another one since"));
    }
    let Some(Told { snapshot, .. }) = known.told else {
        unknown.push("has never told what is on it: what is done to its containers is not known".to_owned());
        return (unknown, remarks);
    };
    let ledger = &snapshot.ledger;
    if snapshot.containers.is_none() {
        remarks.push("no engine is looked at there: files alone".to_owned());
    }
    if let Some(suspended) = &ledger.suspended {
        let reason = &suspended.reason;
        remarks.push(format!("suspended ({reason}): nothing is done before `config-follower resume` there"));
    }
    if let Some(attempt) = &ledger.attempt {
        remarks.push(format!("is on its way to {}: that may end in another way", attempt.revision));
    }
    if let Some(quarantined) = ledger.quarantined.as_ref().filter(|known| known.revision.revision != goal.revision) {
        remarks.push(format!("{} is in quarantine there: {}", quarantined.revision.revision, quarantined.reason));
    }
    let states = snapshot.containers.as_ref().map(|containers| {
        containers.iter().map(|each| (each.name.clone(), each.state)).collect::<BTreeMap<String, ContainerState>>()
    });
    let disk = snapshot.observed(goal).disk;
    let drift = ledger.drift(&disk, states.as_ref());
    remarks
        .extend(drift.into_iter().map(|drifted| format!("`{}` is not as it was left: {}", drifted.what, drifted.how)));
    match outlook {
        Outlook::Refused { reason } => remarks.push(format!("would be refused: {reason}")),
        Outlook::Quarantined { reason } => {
            remarks.push(format!("not taken again ({reason}): `config-follower retry` there takes it once more"));
        }
        Outlook::Taken { plan } => {
            remarks.extend(plan.warnings.iter().cloned());
            let untold = snapshot.untold(goal);
            let untold: Vec<&str> = untold.iter().map(RelativePath::as_str).collect();
            if !untold.is_empty() {
                unknown.push(format!("whether something stands at {} already; taken as no", untold.join(", ")));
            }
        }
        Outlook::Unknown | Outlook::AtGoal => {}
    }
    (unknown, remarks)
}
