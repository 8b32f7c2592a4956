//! A network that loses, delays, doubles and reorders what is sent, until it is healed.

use pconf_bundle::{Report, SealedBundle};
use pconf_names::{MachineName, RevisionId};

use crate::chance::Chance;

#[derive(Clone)]
pub(crate) enum Message {
    /// "Look", to a machine.
    Notify(MachineName),
    /// A machine asks; `number` binds the answer to the question.
    Ask { machine: MachineName, number: u64, tag: Option<String> },
    /// The answer, if there is something new.
    Answer { machine: MachineName, number: u64, bundle: Option<(RevisionId, SealedBundle)> },
    /// What a machine says, and when it was said by its own clock.
    Tell { machine: MachineName, number: u64, said: u64, report: Report },
    /// It was heard; or it was said before something newer, and the leader's time comes back.
    Heard { machine: MachineName, number: u64, time: Option<u64> },
}

#[derive(Default)]
pub(crate) struct Network {
    under_way: Vec<(u64, Message)>,
    pub(crate) is_healed: bool,
    /// Machines that cannot be reached at all.
    pub(crate) cut_off: Vec<MachineName>,
}

impl Message {
    fn machine(&self) -> &MachineName {
        match self {
            Self::Notify(machine)
            | Self::Ask { machine, .. }
            | Self::Answer { machine, .. }
            | Self::Tell { machine, .. }
            | Self::Heard { machine, .. } => machine,
        }
    }
}

impl Network {
    pub(crate) fn send(&mut self, message: Message, now: u64, chance: &mut Chance) {
        if self.is_healed {
            self.under_way.push((now, message));
            return;
        }
        if self.cut_off.contains(message.machine()) || chance.one_in(6) {
            return;
        }
        if chance.one_in(8) {
            self.under_way.push((now + chance.below(12), message.clone()));
        }
        self.under_way.push((now + chance.below(4), message));
    }

    /// What arrives now, in any order.
    pub(crate) fn arrived(&mut self, now: u64, chance: &mut Chance) -> Vec<Message> {
        let (due, later) = self.under_way.drain(..).partition(|(at, _)| *at <= now);
        self.under_way = later;
        let mut due: Vec<(u64, Message)> = due;
        for last in (1..due.len()).rev() {
            due.swap(last, usize::try_from(chance.below(last as u64 + 1)).unwrap_or(0));
        }
        due.into_iter().map(|(_, message)| message).collect()
    }
}
