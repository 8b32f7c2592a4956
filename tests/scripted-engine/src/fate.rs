//! What becomes of a call.

use std::fmt;

/// What becomes of a call.
pub enum Fate {
    /// It is carried out and answered.
    Serve,
    /// It is not carried out; the answer is 500.
    Refuse,
    /// It is not carried out, and never answered.
    Hang,
    /// It is not carried out, and the connection breaks.
    Break,
    /// It is carried out, and the connection breaks before the answer.
    BreakAfter,
    /// It is carried out, then this is done, then the connection breaks.
    ServeThen(Box<dyn FnOnce() + Send>),
}

impl fmt::Debug for Fate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Serve => "Serve",
            Self::Refuse => "Refuse",
            Self::Hang => "Hang",
            Self::Break => "Break",
            Self::BreakAfter => "BreakAfter",
            Self::ServeThen(_) => "ServeThen",
        })
    }
}

type Decide = Box<dyn FnMut(usize, &str) -> Fate + Send>;

/// Who decides the fate of calls, and how many there were before.
#[derive(Default)]
pub(crate) struct Hook {
    before: usize,
    decide: Option<Decide>,
}

impl Hook {
    pub(crate) fn new(before: usize, decide: impl FnMut(usize, &str) -> Fate + Send + 'static) -> Self {
        Self { before, decide: Some(Box::new(decide)) }
    }

    /// `nth` counts all calls ever.
    pub(crate) fn fate(&mut self, nth: usize, call: &str) -> Fate {
        let nth = nth.saturating_sub(self.before);
        self.decide.as_mut().map_or(Fate::Serve, |decide| decide(nth, call))
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Hook").field("before", &self.before).finish_non_exhaustive()
    }
}
