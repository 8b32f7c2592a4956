//! A leader and its followers in memory, among lost, late, doubled and reordered messages, crashes, restarts and clocks that
//! jump. What has to hold is checked after every second; when the network heals, all of them end at the same revision.
#![allow(clippy::expect_used, clippy::panic, reason = "a broken promise ends the test")]

mod chance;
mod follower;
mod leader;
mod network;

use std::collections::BTreeMap;

use chance::Chance;
use follower::Follower;
use leader::{Content, Leader};
use network::{Message, Network};
use pconf_bundle::open_bundle;
use pconf_names::{MachineName, RevisionId};
use pconf_platform::Policy;
use pconf_publish::{Phase, Stage};
use serde_json::json;

/// How long it goes wrong, and how long all may take to get together again; in seconds.
const CHAOS: u64 = 900;
const HEALED: u64 = 4_000;
/// In every file, and nowhere else.
const SECRET: &str = "hunter2-and-longer-than-any-word";

struct World {
    leader: Leader,
    followers: BTreeMap<MachineName, Follower>,
    network: Network,
    chance: Chance,
    content: Content,
    policy: Policy,
    now: u64,
    /// The question of each machine that has no answer yet.
    asked: BTreeMap<MachineName, u64>,
    questions: u64,
    /// What each machine ran last.
    ran: BTreeMap<MachineName, RevisionId>,
    edits: u64,
    story: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let machines = 4 + chance.below(7);
        let names: Vec<MachineName> =
            (0..machines).map(|number| format!("co{number}").parse().expect("a name")).collect();
        let mut rollout = json!({ "silentAfter": "60s", "giveUpAfter": "5m", "maxUnavailable": 1 + chance.below(3) });
        if chance.one_in(2) {
            rollout["canary"] = json!([names[0]]);
        }
        if chance.one_in(2) {
            rollout["batch"] = json!(1 + chance.below(4));
            rollout["pause"] = json!("5s");
        }
        rollout["failures"] = json!(chance.below(2));
        let policy: Policy = serde_json::from_value(rollout).expect("a policy");
        let content = names.iter().map(|name| (name.clone(), format!("{SECRET} first"))).collect();
        let followers = names.iter().map(|name| (name.clone(), Follower::new(name.clone()))).collect();
        Self {
            leader: Leader::default(),
            followers,
            network: Network::default(),
            chance,
            content,
            policy,
            now: 1_000_000,
            asked: BTreeMap::new(),
            questions: 0,
            ran: BTreeMap::new(),
            edits: 0,
            story: Vec::new(),
        }
    }

    fn tell(&mut self, event: &str) {
        self.story.push(format!("{:>5}  {event}", self.now - 1_000_000));
    }

    fn second(&mut self, is_chaos: bool) {
        self.now += 1;
        if is_chaos {
            self.strike();
        }
        if self.leader.is_on(self.now) {
            self.leader.save(&self.content, &self.policy, self.now);
            let before = self.leader.rollout().clone();
            self.leader.go_on(self.now);
            self.notify(&before);
        }
        for message in self.network.arrived(self.now, &mut self.chance) {
            self.deliver(message);
        }
        let names: Vec<MachineName> = self.followers.keys().cloned().collect();
        for name in names {
            self.live(&name);
        }
        self.check();
    }

    /// Something goes wrong, or somebody edits something.
    fn strike(&mut self) {
        let names: Vec<MachineName> = self.followers.keys().cloned().collect();
        let any = names[usize::try_from(self.chance.below(names.len() as u64)).unwrap_or(0)].clone();
        if self.chance.one_in(60) {
            self.edits += 1;
            let is_bad = self.chance.one_in(3);
            let whom = if self.chance.one_in(3) { vec![any.clone()] } else { names.clone() };
            for name in whom {
                let bad = if is_bad && name == any { " bad" } else { "" };
                self.content.insert(name, format!("{SECRET} edit {}{bad}", self.edits));
            }
            self.tell(&format!("edit {} {}", self.edits, if is_bad { format!("breaks {any}") } else { String::new() }));
        }
        if self.chance.one_in(70) {
            let until = self.now + 1 + self.chance.below(40);
            self.tell(&format!("the leader is killed until {}", until - 1_000_000));
            self.leader.kill(until);
        }
        if self.chance.one_in(40) {
            let until = self.now + 1 + self.chance.below(150);
            self.tell(&format!("{any} is killed until {}", until - 1_000_000));
            if let Some(follower) = self.followers.get_mut(&any) {
                follower.kill(until);
            }
            self.asked.remove(&any);
        }
        if self.chance.one_in(80) {
            let half = names.iter().filter(|_| self.chance.one_in(2)).cloned().collect();
            self.network.cut_off = half;
        } else if self.chance.one_in(40) {
            self.network.cut_off.clear();
        }
        if self.chance.one_in(90) {
            let jump = i64::try_from(self.chance.below(7200)).unwrap_or(0) - 3600;
            if let Some(follower) = self.followers.get_mut(&any) {
                follower.clock = jump;
            }
        }
    }

    /// Those who are told something new are told to look.
    fn notify(&mut self, before: &pconf_publish::Rollout) {
        let after = self.leader.rollout();
        let news: Vec<MachineName> =
            after.machines.keys().filter(|name| before.told(name) != after.told(name)).cloned().collect();
        for name in news {
            self.network.send(Message::Notify(name), self.now, &mut self.chance);
        }
    }

    fn deliver(&mut self, message: Message) {
        let now = self.now;
        match message {
            Message::Notify(machine) => {
                if let Some(follower) = self.followers.get_mut(&machine).filter(|follower| follower.is_on(now)) {
                    follower.next_poll = now;
                }
            }
            Message::Ask { machine, number, tag } if self.leader.is_on(now) => {
                let mut nonce = [0; 24];
                nonce[..8].copy_from_slice(&number.to_le_bytes());
                let bundle = self.leader.answer(&self.followers[&machine], tag.as_deref(), nonce, now);
                self.send(Message::Answer { machine, number, bundle });
            }
            Message::Answer { machine, number, bundle } => {
                let lasts = 1 + self.chance.below(20);
                let Some(follower) = self.followers.get_mut(&machine) else { return };
                // An answer to anything but the present question is no answer.
                if !follower.is_on(now) || self.asked.get(&machine) != Some(&number) {
                    return;
                }
                self.asked.remove(&machine);
                if let Some((revision, sealed)) = bundle {
                    assert!(!shows(&sealed.bytes), "a bundle is sealed");
                    let role = "core".parse().expect("a role");
                    let bundle = open_bundle(&follower.keys, &role, revision, &sealed.bytes).expect("it is ours");
                    follower.take(bundle, now, lasts);
                    self.tell(&format!("{machine} takes {revision}"));
                }
            }
            Message::Tell { machine, number, said, report } if self.leader.is_on(now) => {
                assert!(!shows(format!("{report:?}").as_bytes()), "a report shows no secret");
                self.tell(&format!("{machine} says {}", report.verdict));
                let is_heard = self.leader.hear(&machine, said, report, now);
                self.send(Message::Heard { machine, number, time: (!is_heard).then_some(now) });
            }
            Message::Heard { machine, number, time } => {
                let Some(follower) = self.followers.get_mut(&machine) else { return };
                if !follower.is_on(now) || self.asked.get(&machine) != Some(&number) {
                    return;
                }
                self.asked.remove(&machine);
                match time {
                    None => follower.is_heard(),
                    Some(_) => follower.clock = 0,
                }
            }
            Message::Ask { .. } | Message::Tell { .. } => {}
        }
    }

    fn send(&mut self, message: Message) {
        self.network.send(message, self.now, &mut self.chance);
    }

    /// What a follower does by itself.
    fn live(&mut self, name: &MachineName) {
        let (now, lasts) = (self.now, 1 + self.chance.below(20));
        let Some(follower) = self.followers.get_mut(name) else { return };
        if !follower.is_on(now) {
            return;
        }
        follower.resume(now, lasts);
        follower.pass(now, lasts, |goal| goal.files[0].content.as_bytes().ends_with(b" bad"));
        if follower.is_at_work() || now < follower.next_poll {
            return;
        }
        // A question that has no answer is given up.
        follower.next_poll = now + 10 + self.chance.below(20);
        self.questions += 1;
        self.asked.insert(name.clone(), self.questions);
        let number = self.questions;
        let message = match follower.report() {
            Some(report) if !number.is_multiple_of(3) => {
                let said = now.saturating_add_signed(follower.clock);
                Message::Tell { machine: name.clone(), number, said, report: report.clone() }
            }
            _ => Message::Ask { machine: name.clone(), number, tag: follower.tag() },
        };
        self.send(message);
    }

    /// What has to hold at any moment.
    fn check(&mut self) {
        for (name, follower) in &self.followers {
            if let Some(running) = follower.ledger.running() {
                let before = self.ran.insert(name.clone(), running);
                assert!(before.is_none_or(|before| before <= running), "{name} went from {before:?} to {running}");
            }
            for (revision, times) in &follower.broke {
                assert_eq!(*times, 1, "{name} tried {revision} again");
            }
        }
        // The first revision finds machines that have nothing: all of them get it.
        let most = self.policy.pace.max_unavailable.map_or(usize::MAX, |most| most.of(self.followers.len()));
        let is_installed = |follower: &&Follower| follower.ledger.applied.is_some() && follower.is_down();
        let down: Vec<&MachineName> =
            self.followers.values().filter(is_installed).map(|follower| &follower.name).collect();
        assert!(down.len() <= most, "{down:?} are down at a time, {most} may be");
    }

    /// The network heals, and nothing else goes wrong.
    fn get_together(&mut self) {
        self.network.is_healed = true;
        self.tell("healed");
        for _ in 0..HEALED {
            self.second(false);
            if self.is_converged() {
                return;
            }
        }
        panic!("they do not get together: {:#?}", self.leader.rollout());
    }

    fn is_converged(&self) -> bool {
        let goal = self.leader.goal();
        let rollout = self.leader.rollout();
        let is_there = |follower: &Follower| {
            let is_failed = matches!(rollout.machines[&follower.name].stage, Stage::Failed { .. });
            let runs = follower.ledger.running() == Some(goal);
            follower.ledger.attempt.is_none() && (runs || is_failed) && follower.report().is_none()
        };
        rollout.phase == Phase::Over && self.followers.values().all(is_there)
    }
}

fn shows(bytes: &[u8]) -> bool {
    bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
}

fn play(seed: u64) -> (usize, u64) {
    let mut world = World::new(seed);
    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.get_together();
        world.network.is_healed = false;
        for _ in 0..CHAOS {
            world.second(true);
        }
        world.get_together();
    }));
    if let Err(broken) = played {
        panic!("seed {seed}: {}\n{}", message(&*broken), world.story.join("\n"));
    }
    (world.leader.returns, world.edits)
}

fn message(broken: &(dyn std::any::Any + Send)) -> String {
    let text = broken.downcast_ref::<String>().cloned();
    text.or_else(|| broken.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

#[test]
fn whatever_happens_on_the_way_a_rollout_keeps_its_promises_and_all_get_together_again() {
    let played: Vec<(usize, u64)> = (0..16).map(play).collect();
    // What never happened was not tried.
    let (returns, edits): (Vec<usize>, Vec<u64>) = played.into_iter().unzip();
    assert!(returns.iter().sum::<usize>() > 5 && edits.iter().sum::<u64>() > 80, "{returns:?} {edits:?}");
}
