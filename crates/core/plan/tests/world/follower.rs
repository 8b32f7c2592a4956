//! A follower's cycle, as the program does it, with the plug pulled before any effect.

use pconf_bundle::VerifiedBundle;
use pconf_plan::{Action, ContainerState, Ledger, Phase, Plan, Purpose, What, plan, plan_owed};

use super::World;

/// How the way to a bundle ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    There,
    /// The plug was pulled.
    Cut,
    /// A container is not well.
    Unwell,
}

impl World {
    /// One whole cycle toward a goal of the leader; `false` when the plug was pulled.
    pub fn converge(&mut self, goal: &VerifiedBundle) -> bool {
        self.arrive(goal, Purpose::Goal) == End::There
    }

    /// Look, plan, stop, write, act, verify.
    pub fn arrive(&mut self, goal: &VerifiedBundle, purpose: Purpose) -> End {
        self.calls.clear();
        let mut memory = self.ledger.clone();
        let plan = plan(goal, &memory, &self.observe(goal, &memory)).unwrap();
        self.announced = announced(&plan.to_string());
        self.planned = Some(plan.clone());
        if plan.is_empty() {
            memory.intend(goal, purpose, &plan);
            memory.written(goal, &self.containers);
            memory.finish(&self.containers);
            return if self.save(&memory) { End::There } else { End::Cut };
        }
        let is_begun = memory.attempt.as_ref().is_some_and(|attempt| attempt.revision == goal.revision);
        let goes_on = memory.phase == Phase::Written && is_begun && plan.changes.is_empty() && plan.steps.is_empty();
        let mut actions = plan.actions.clone();
        if !goes_on {
            memory.intend(goal, purpose, &plan);
            if !self.save(&memory) || !self.write(goal, &plan) {
                return End::Cut;
            }
            memory.written(goal, &self.containers);
            actions = plan_owed(goal, &memory, &self.containers).actions;
        }
        // Compose may leave a container as it was that has to be started nevertheless.
        self.again.clear();
        for round in 0..3 {
            let done = self.calls.len();
            let end = self.act(&mut memory, &actions);
            if round > 0 {
                self.again.extend(self.calls[done..].to_vec());
            }
            match end {
                End::There => actions = plan_owed(goal, &memory, &self.containers).actions,
                end => return end,
            }
            if actions.is_empty() {
                memory.finish(&self.containers);
                return if self.save(&memory) { End::There } else { End::Cut };
            }
        }
        panic!("it does not end: {actions:?}");
    }

    /// The stops and the files; `false` when the plug was pulled.
    fn write(&mut self, goal: &VerifiedBundle, plan: &Plan) -> bool {
        for stop in &plan.stops {
            if !self.has_power() {
                return false;
            }
            self.calls.push(format!("stop {}", stop.name));
            self.stop(&stop.name, false);
        }
        for step in &plan.steps {
            if !self.has_power() {
                return false;
            }
            self.calls.push(said(&step.to_string()));
            self.take(goal, step);
        }
        true
    }

    fn act(&mut self, memory: &mut Ledger, actions: &[Action]) -> End {
        for rank in actions.chunk_by(|a, b| a.rank == b.rank) {
            memory.begin(rank);
            if !self.save(memory) {
                return End::Cut;
            }
            let mut is_unwell = false;
            for action in rank {
                if !self.has_power() {
                    return End::Cut;
                }
                if !self.carry_out(action) {
                    return End::Cut;
                }
                let is_failing = self.failing.take_if(|name| *name == action.name).is_some();
                let now = self.container_mut_of(action);
                if let Some(container) = now.filter(|now| is_failing || now.state == ContainerState::Died) {
                    container.state = ContainerState::Died;
                    memory.failed(&action.name, "exited with code 1");
                    is_unwell = true;
                } else if let (What::Recreate { .. }, Some(now)) = (&action.what, self.container_mut_of(action)) {
                    memory.made(action, &now.id.clone(), &now.started.clone());
                } else {
                    memory.paid(&action.name);
                }
            }
            if !self.save(memory) {
                return End::Cut;
            }
            if is_unwell {
                return End::Unwell;
            }
        }
        End::There
    }

    /// `false` when the plug was pulled half way.
    fn carry_out(&mut self, action: &Action) -> bool {
        let name = action.name.clone();
        let called = |verb: &str, rest: &str| format!("{verb} {name}{rest}");
        let is_begun_by_us = |world: &mut Self| world.stop(&name, false);
        let (call, begins_with_stop) = match &action.what {
            What::Verify => (called("verify", ""), false),
            What::Signal(signal) => (called("signal", &format!(" {signal}")), false),
            What::Exec(command) => (called("exec", &format!(" {}", command.join(" "))), false),
            What::Restart => (called("restart", ""), true),
            What::Start => (called("start", ""), false),
            What::Recreate { .. } => (called("recreate", ""), false),
            What::Remove => (called("remove", ""), false),
        };
        self.calls.push(call);
        if begins_with_stop {
            is_begun_by_us(self);
            if !self.has_power() {
                return false;
            }
        }
        match &action.what {
            What::Verify => {}
            What::Signal(_) | What::Exec(_) => {
                let container = self.container(&name).unwrap().clone();
                assert_eq!(container.state, ContainerState::Up, "{name} cannot be told anything");
                self.read(&container);
                self.life(&name).touched += 1;
            }
            What::Restart | What::Start => self.start(&name),
            What::Recreate { service, .. } => {
                let made = format!("p_{service}_1");
                let differs = self.lives.get(&made).map(|life| life.made.clone())
                    != Some(super::compose::definition(self, service));
                if differs && self.container(&made).is_some() {
                    // The old one goes first.
                    let kept = self.container(&made).unwrap().labels.clone();
                    self.remove(&made);
                    if !self.has_power() {
                        return false;
                    }
                    self.compose_up(service);
                    self.container_mut(&made).labels = kept;
                } else {
                    self.compose_up(service);
                }
            }
            What::Remove => self.remove(&name),
        }
        true
    }

    fn container_mut_of(&mut self, action: &Action) -> Option<&mut pconf_plan::Container> {
        let service = match &action.what {
            What::Recreate { service, .. } => Some(service),
            _ => None,
        };
        let is_it = |each: &&mut pconf_plan::Container| each.name == action.name || service == Some(&each.service);
        self.containers.iter_mut().find(is_it)
    }

    fn save(&mut self, memory: &Ledger) -> bool {
        if !self.has_power() {
            return false;
        }
        self.ledger.clone_from(memory);
        self.saves += 1;
        true
    }

    fn has_power(&mut self) -> bool {
        match &mut self.power {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// A line of a printed plan without the blanks, its turn and what is in brackets: `verb name rest`.
pub fn said(line: &str) -> String {
    let line = line.split("  (").next().unwrap_or(line).trim();
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_turn = |word: &&str| word.strip_suffix('.').is_some_and(|turn| turn.parse::<usize>().is_ok());
    words.into_iter().skip_while(is_turn).collect::<Vec<_>>().join(" ")
}

/// The calls that a printed plan announces, in order.
pub fn announced(plan: &str) -> Vec<String> {
    let says_nothing = ["downtime", "note", "warning", "check", "leave"];
    let lines = plan.lines().skip(1).map(said);
    lines.filter(|line| !says_nothing.iter().any(|verb| line.starts_with(&format!("{verb} ")))).collect()
}
