//! Who is offered the goal next, and whether the rollout goes on at all.

use std::collections::{BTreeMap, BTreeSet};

use pconf_names::{MachineName, RoleName};
use pconf_platform::OnFailure;

use super::weigh::is_down;
use super::{Course, Phase, Progress, Rollout, Stage, Turn, Word, Words};

impl Rollout {
    /// Takes in what the machines say and goes on as far as that and the time allow.
    pub fn advance(&mut self, words: &impl Words, now: u64) -> Progress {
        if self.phase == Phase::Over {
            return Progress::default();
        }
        let before = self.clone();
        let words: Vec<Word<'_>> = self.machines.keys().map(|name| words.word(name)).collect();
        self.hear(&words, now);
        let goes_back = self.judge(now);
        if goes_back.is_none() {
            self.offer(&words, now);
            self.conclude();
        }
        let look_again_at = self.look_again_at(&words, now);
        Progress { has_changed: *self != before, goes_back, look_again_at }
    }

    /// Whether it halts; why it goes back, if so.
    fn judge(&mut self, now: u64) -> Option<String> {
        if self.confirm_by.is_some_and(|by| now >= by) {
            return Some(format!("{} was not confirmed in time", self.goal));
        }
        match (&self.course, &self.phase) {
            (Course::Forward, Phase::Going | Phase::Paused { .. }) => {}
            // Killed before it went back.
            (Course::Forward, Phase::Halted { reason }) => {
                return (self.policy.on_failure == OnFailure::Return).then(|| reason.clone());
            }
            // What goes back goes on going back: there is nothing better to do.
            (Course::Back { .. }, _) | (Course::Forward, Phase::Unconfirmed | Phase::Over) => return None,
        }
        let failed: Vec<_> = self.failures().collect();
        if failed.len() <= usize::try_from(self.policy.failures).unwrap_or(usize::MAX) {
            return None;
        }
        let reason = failed.iter().map(|(name, reason)| format!("{name}: {reason}")).collect::<Vec<_>>().join("; ");
        self.phase = Phase::Halted { reason: reason.clone() };
        (self.policy.on_failure == OnFailure::Return).then_some(reason)
    }

    fn offer(&mut self, words: &[Word<'_>], now: u64) {
        if self.phase != Phase::Going {
            return;
        }
        let offered = self.next(words, now);
        for name in offered {
            if let Some(turn) = self.machines.get_mut(&name) {
                turn.stage = Stage::Offered { at: now, fetched: false };
            }
        }
    }

    /// The machines whose turn has come.
    fn next(&mut self, words: &[Word<'_>], now: u64) -> BTreeSet<MachineName> {
        let all = || self.machines.iter().zip(words.iter().copied());
        let affected = || all().filter(|((name, turn), _)| turn.is_affected && self.is_for(name));
        let in_question = |turn: &Turn, word| self.is_in_question(turn, word, now);
        for wave in self.waves() {
            let of_wave = || affected().filter(|((name, turn), _)| wave.takes(name, &turn.role));
            if of_wave().any(|((_, turn), word)| in_question(turn, word)) {
                // Nobody of those who were to go first can: one goes in their place, alone.
                let is_instead = !self.is_proven() && !wave.is_canary();
                if is_instead && of_wave().any(|((_, turn), word)| self.is_in_flight(turn, word, now)) {
                    return BTreeSet::new();
                }
                let mut offered = self.of_wave(&wave, words, now);
                if is_instead {
                    offered = offered.into_iter().take(1).collect();
                }
                return offered;
            }
        }
        // Who waits without being heard is told when it comes back and its turn has come then; who has nothing to do is told
        // when all others are done.
        if self.only.is_some() {
            return BTreeSet::new();
        }
        let idle = all().filter(|((_, turn), _)| !turn.is_affected && turn.stage == Stage::Waiting);
        idle.map(|((name, _), _)| name.clone()).collect()
    }

    /// Who of a wave may go now, role by role.
    fn of_wave(&mut self, wave: &Wave, words: &[Word<'_>], now: u64) -> BTreeSet<MachineName> {
        let mut by_role: BTreeMap<RoleName, Vec<(&MachineName, &Turn, Word<'_>)>> = BTreeMap::new();
        for ((name, turn), word) in self.machines.iter().zip(words.iter().copied()) {
            by_role.entry(turn.role.clone()).or_default().push((name, turn, word));
        }
        let mut offered = BTreeSet::new();
        let mut pause = None;
        for (role, machines) in &by_role {
            let pace = self.policy.pace_of(role);
            let in_flight = machines.iter().filter(|(_, turn, word)| self.is_in_flight(turn, *word, now)).count();
            let able: Vec<_> = machines
                .iter()
                .filter(|(name, turn, word)| {
                    turn.is_affected && self.is_for(name) && wave.takes(name, role) && self.could_go(turn, *word, now)
                })
                .collect();
            let size = machines.iter().filter(|(_, turn, _)| turn.is_affected).count();
            let batch = if wave.is_canary() { None } else { pace.batch };
            if able.is_empty() || (batch.is_some() && in_flight > 0) {
                continue;
            }
            let has_begun = machines.iter().any(|(_, turn, _)| turn.is_affected && turn.stage != Stage::Waiting);
            if let (Some(span), true, 0) = (pace.pause, has_begun, in_flight) {
                match self.not_before {
                    None => {
                        pause = Some(now + span.seconds);
                        continue;
                    }
                    Some(moment) if now < moment => continue,
                    Some(_) => {}
                }
            }
            let batch = batch.map_or(usize::MAX, |batch| batch.of(size));
            let down = machines
                .iter()
                .filter(|(_, turn, word)| self.is_in_flight(turn, *word, now) || is_down(turn, *word, self.goal))
                .count();
            let mut room = pace.max_unavailable.map_or(usize::MAX, |most| most.of(machines.len()).saturating_sub(down));
            for (name, turn, word) in able.into_iter().take(batch) {
                // Who is down already does not become one more.
                if is_down(turn, *word, self.goal) {
                    offered.insert((*name).clone());
                } else if room > 0 {
                    room -= 1;
                    offered.insert((*name).clone());
                }
            }
        }
        self.not_before = if offered.is_empty() { pause.or(self.not_before) } else { None };
        offered
    }

    /// Those who go first, then the roles in their order, then all others.
    fn waves(&self) -> Vec<Wave> {
        let first = (!self.policy.canary.is_empty()).then(|| Wave::Canary(self.policy.canary.clone()));
        let roles = self.policy.order.iter().cloned().map(Wave::Role);
        first.into_iter().chain(roles).chain([Wave::Rest]).collect()
    }

    /// Whether somebody was seen to run the goal, where somebody has to go first.
    fn is_proven(&self) -> bool {
        self.policy.canary.is_empty()
            || self.machines.values().any(|turn| turn.is_affected && turn.stage == Stage::Done)
    }

    /// Whether all is done.
    fn conclude(&mut self) {
        if self.phase != Phase::Going {
            return;
        }
        let is_through = |turn: &Turn| matches!(turn.stage, Stage::Done | Stage::Failed { .. });
        if self.machines.values().all(is_through) {
            self.phase = if self.confirm_by.is_some() { Phase::Unconfirmed } else { Phase::Over };
            return;
        }
        let meant = |only: &BTreeSet<MachineName>| {
            only.iter().filter_map(|name| self.machines.get(name)).all(|turn| !turn.is_affected || is_through(turn))
        };
        if let Some(only) = self.only.as_ref().filter(|only| meant(only)) {
            let names: Vec<&str> = only.iter().map(MachineName::as_str).collect();
            self.phase = Phase::Paused { reason: format!("meant for {} only so far", names.join(", ")) };
        }
    }

    /// The next moment at which time alone changes something.
    fn look_again_at(&self, words: &[Word<'_>], now: u64) -> Option<u64> {
        let turns = self.machines.values().zip(words).filter_map(|(turn, word)| self.changes_at(turn, *word));
        let times = turns.chain(self.not_before).filter(|_| self.phase == Phase::Going);
        times.chain(self.confirm_by.filter(|_| self.phase != Phase::Over)).filter(|at| *at > now).min()
    }
}

/// Machines that go before those of the next wave.
enum Wave {
    Canary(BTreeSet<MachineName>),
    Role(RoleName),
    Rest,
}

impl Wave {
    fn takes(&self, name: &MachineName, role: &RoleName) -> bool {
        match self {
            Self::Canary(canaries) => canaries.contains(name),
            Self::Role(wanted) => wanted == role,
            Self::Rest => true,
        }
    }

    fn is_canary(&self) -> bool {
        matches!(self, Self::Canary(_))
    }
}
