//! The crash matrix: a follower is struck at every single effect on the disk and at every single call of the engine, and
//! must never be left half way.
//!
//! Each story is first run without a fault: that run counts its own effects and calls, so one that is written tomorrow is
//! struck tomorrow. Then the story is run again for every fault at every one of them, on a copy of the machine each, and
//! after the fault the follower is simply started again. `status` is asked before that, and may not claim more than is
//! true.

mod follower;
mod rotation;
mod scenario;
mod truth;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context as _, Result, ensure};

use crate::follower::{CallFault, Fault, Follower, plain, told};
use crate::scenario::{Scenario, Story};
use crate::truth::{Revision, Truth, lies, took_too_early};

/// Cycles that a follower has to get over any single fault.
const CYCLES: usize = 4;

/// Followers at work at a time.
const SIDE_BY_SIDE: usize = 2;

/// Those that wait for an engine that never answers do nothing meanwhile.
const WAITING: usize = 40;

/// So many faults are named that come to the same.
const SHOWN: usize = 20;

/// A story with how it has to end, and every fault that can befall it.
struct Matrix {
    scenario: Scenario,
    revisions: Vec<Revision>,
    ended: Truth,
    /// Exit code of the cycle in which the story is told, and of the cycles after it.
    codes: (i32, i32),
    effects: Vec<String>,
    calls: Vec<String>,
    /// Those of them that change something.
    deeds: Vec<String>,
}

impl Matrix {
    fn of(story: Story) -> Result<Self> {
        let scenario = Scenario::new(story)?;
        let mut revisions = Vec::new();
        if let Some(before) = &scenario.before {
            let follower = scenario.copy("untouched")?;
            let tree = if story == Story::Drift { None } else { Some(follower.tree()?) };
            revisions.extend(tree.map(|tree| Revision::new(before, &tree)));
        }
        let of_files = scenario.of_files("files")?;
        of_files.succeed()?;
        revisions.push(Revision::new(&scenario.wanted, &of_files.tree()?));
        let codes = if story == Story::Back { (4, 3) } else { (0, 0) };

        let follower = scenario.copy("unharmed")?;
        let (output, effects) = follower.once_counted()?;
        ensure!(output.status.code() == Some(codes.0), "without a fault it ends with {}", told(&output));
        let plainly = |calls: Vec<String>| calls.iter().map(|call| plain(call)).collect();
        let (calls, deeds) = (plainly(follower.engine.all_calls()), plainly(follower.engine.calls()));
        let ended = Truth::of(&follower)?;
        let again = follower.once()?;
        ensure!(again.status.code() == Some(codes.1), "once more it ends with {}", told(&again));
        let differs = Truth::of(&follower)?.differs_from(&ended, 0);
        ensure!(differs.is_empty(), "once more something happens: {differs:#?}");
        Ok(Self { scenario, revisions, ended, codes, effects, calls, deeds })
    }

    /// The revision that runs in the end.
    fn end(&self) -> &str {
        match (self.scenario.story, &self.scenario.before) {
            (Story::Back, Some(before)) => before,
            _ => &self.scenario.wanted,
        }
    }

    /// Every error at every effect of the first story; in the others, which go the same ways, the errors take turns.
    fn effects(&self) -> Vec<Fault> {
        const ERRORS: [&str; 3] = ["ENOSPC", "EIO", "EACCES"];
        let faults = |(at, line): (usize, &String)| {
            let turn = [ERRORS[at % ERRORS.len()]];
            let errors = if self.scenario.story == Story::Forward { &ERRORS[..] } else { &turn };
            let hows = ["abort"].iter().chain(errors);
            hows.map(|how| Fault::Effect { number: at + 1, line: line.clone(), how }).collect::<Vec<_>>()
        };
        self.effects.iter().enumerate().flat_map(faults).collect()
    }

    /// Every fault at every deed of the engine, and at every question of the first story; in the others they take turns there.
    fn calls(&self) -> Vec<Fault> {
        use CallFault::{Breaks, BreaksAfter, Hangs, KilledAfter, KilledBefore, Refused};
        // Whether a question is answered before its asker is gone makes no difference.
        const QUESTION: [CallFault; 4] = [Refused, Breaks, KilledBefore, Hangs];
        const DEED: [CallFault; 6] = [Refused, Breaks, KilledBefore, Hangs, BreaksAfter, KilledAfter];
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let mut faults = Vec::new();
        for (at, call) in self.calls.iter().enumerate() {
            let nth = seen.entry(call).or_default();
            *nth += 1;
            let turn = [QUESTION[at % QUESTION.len()]];
            let hows = match self.deeds.contains(call) {
                true => &DEED[..],
                false if self.scenario.story == Story::Forward => &QUESTION,
                false => &turn,
            };
            faults.extend(hows.iter().map(|how| Fault::Call { call: call.clone(), nth: *nth, how: *how }));
        }
        faults
    }

    /// Strikes, so many at a time, and tells what was not as it has to be.
    fn strike(&self, faults: &[Fault], at_a_time: usize) -> Result<()> {
        let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..at_a_time.min(faults.len()) {
                scope.spawn(|| {
                    while let Some((at, fault)) = {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        faults.get(at).map(|fault| (at, fault))
                    } {
                        let name = format!("{at}-{at_a_time}");
                        let found = self.befall(&name, fault).unwrap_or_else(|error| vec![format!("{error:#}")]);
                        if found.is_empty() {
                            let _ = fs::remove_dir_all(self.scenario.platform.path(&name));
                        } else if let Ok(mut failures) = failures.lock() {
                            failures.push((fault, found));
                        }
                    }
                });
            }
        });
        let failures = failures.into_inner().unwrap_or_default();
        let story = self.scenario.story;
        ensure!(failures.is_empty(), "{story:?}, {} of {}:\n{}", failures.len(), faults.len(), listed(&failures));
        Ok(())
    }

    /// One fault, and what is not as it has to be after it.
    fn befall(&self, name: &str, fault: &Fault) -> Result<Vec<String>> {
        let follower = self.scenario.copy(name)?;
        let struck = follower.once_struck(fault)?;
        let mut found: Vec<String> = lies(&follower.status()?, &follower, &self.revisions, self.end())
            .context("status")?
            .into_iter()
            .map(|lie| format!("status lies: {lie}"))
            .collect();
        if struck.status.code() == Some(0) {
            let early = self.missing(&follower, 1)?.into_iter().map(|what| format!("exit code 0: {what}"));
            // What is left over is taken away by the next cycle, and nothing is decided by what is told in the state folder.
            found.extend(early.filter(|what| !what.contains("left over") && !what.contains("state folder")));
        }
        let mut told_last = told(&struck);
        for cycle in 0..CYCLES {
            let output = follower.once()?;
            told_last = told(&output);
            if output.status.code() == Some(self.codes.1) {
                break;
            }
            let is_expected = output.status.code() == Some(self.codes.0) || output.status.code() == Some(1);
            if !is_expected || cycle + 1 == CYCLES {
                found.push(format!("it does not get over it: {told_last}"));
                break;
            }
        }
        let quiet = (follower.engine.calls(), follower.tree()?);
        let output = follower.once()?;
        if output.status.code() != Some(self.codes.1) {
            found.push(format!("once more it ends with {}", told(&output)));
        }
        if (follower.engine.calls(), follower.tree()?) != quiet {
            found.push("what is at its end is touched once more".to_owned());
        }
        found.extend(self.missing(&follower, 1)?);
        if !found.is_empty() {
            found.push(format!("struck, it said: {}", told(&struck).trim()));
            found.push(format!("at last: {}", told_last.trim()));
            found.push(format!("calls: {}", follower.engine.all_calls().join(", ")));
        }
        Ok(found)
    }

    fn missing(&self, follower: &Follower, spare: usize) -> Result<Vec<String>> {
        let mut found = Truth::of(follower)?.differs_from(&self.ended, spare);
        // Whoever took nothing of what was undone has taken what is there again.
        if self.scenario.story != Story::Back {
            found.extend(took_too_early(follower)?);
        }
        Ok(found)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Effect { line, how, .. } => write!(f, "{how} at effect {line}"),
            Self::Call { call, nth, how } => write!(f, "{how:?} at `{call}` ({nth})"),
        }
    }
}

/// What went wrong, once each, with the faults after which it did.
fn listed(failures: &[(&Fault, Vec<String>)]) -> String {
    let mut groups: BTreeMap<&str, Vec<(&Fault, &[String])>> = BTreeMap::new();
    for (fault, found) in failures {
        let first = found.first().map(String::as_str).unwrap_or_default();
        groups.entry(first).or_default().push((fault, found));
    }
    let group = |(what, cases): (&str, Vec<(&Fault, &[String])>)| {
        let faults: Vec<String> = cases.iter().take(SHOWN).map(|(fault, _)| fault.to_string()).collect();
        let more = cases.first().map(|(_, found)| found.join("\n    ")).unwrap_or_default();
        format!("* {what}\n  after {} faults: {}\n  the first of them:\n    {more}\n", cases.len(), faults.join("; "))
    };
    groups.into_iter().map(group).collect()
}

fn effects(story: Story) -> Result<()> {
    let matrix = Matrix::of(story)?;
    matrix.strike(&matrix.effects(), SIDE_BY_SIDE)
}

fn calls(story: Story) -> Result<()> {
    let matrix = Matrix::of(story)?;
    let waits = |fault: &Fault| matches!(fault, Fault::Call { how: CallFault::Hangs, .. });
    let (waiting, quick): (Vec<Fault>, Vec<Fault>) = matrix.calls().into_iter().partition(waits);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| matrix.strike(&waiting, WAITING));
        matrix.strike(&quick, SIDE_BY_SIDE)?;
        waiting.join().map_err(|_| anyhow::anyhow!("a thread gave up"))?
    })
}

#[test]
fn a_revision_arrives_whole_whatever_effect_on_the_disk_fails_or_is_the_last() -> Result<()> {
    effects(Story::Forward)
}

#[test]
fn a_revision_arrives_whole_whatever_call_of_the_engine_fails_or_is_the_last() -> Result<()> {
    calls(Story::Forward)
}

#[test]
fn a_broken_revision_is_undone_whatever_effect_on_the_disk_fails_or_is_the_last() -> Result<()> {
    effects(Story::Back)
}

#[test]
fn a_broken_revision_is_undone_whatever_call_of_the_engine_fails_or_is_the_last() -> Result<()> {
    calls(Story::Back)
}

#[test]
fn a_first_start_is_whole_whatever_effect_on_the_disk_fails_or_is_the_last() -> Result<()> {
    effects(Story::First)
}

#[test]
fn a_first_start_is_whole_whatever_call_of_the_engine_fails_or_is_the_last() -> Result<()> {
    calls(Story::First)
}

#[test]
fn drift_is_put_right_whatever_effect_on_the_disk_fails_or_is_the_last() -> Result<()> {
    effects(Story::Drift)
}

#[test]
fn drift_is_put_right_whatever_call_of_the_engine_fails_or_is_the_last() -> Result<()> {
    calls(Story::Drift)
}
