//! Lengths of time as people write and read them: `90s`, `45m`, `1h`, `30d`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// A length of time, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span {
    /// How many seconds.
    pub seconds: u64,
}

/// The text is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no length of time: write a number and its unit, e.g. `90s`, `45m`, `1h`, `30d`")]
pub struct InvalidSpan(String);

impl Span {
    /// From one moment to a later one, in seconds; nothing where the clock was set back between them.
    #[must_use]
    pub fn between(earlier: u64, later: u64) -> Self {
        Self { seconds: later.saturating_sub(earlier) }
    }
}

impl Span {
    /// As it would be written: in the largest unit that it is a whole number of.
    #[must_use]
    pub fn exact(self) -> String {
        let (unit, seconds) =
            UNITS.into_iter().find(|(_, seconds)| self.seconds.is_multiple_of(*seconds)).unwrap_or(('s', 1));
        format!("{}{unit}", self.seconds / seconds)
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let seconds = UNITS.iter().find_map(|(unit, seconds)| {
            let number = text.strip_suffix(*unit).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))?;
            number.parse::<u64>().ok()?.checked_mul(*seconds).filter(|seconds| *seconds > 0)
        });
        seconds.map(|seconds| Self { seconds }).ok_or_else(|| InvalidSpan(text.to_owned()))
    }
}

impl fmt::Display for Span {
    /// In the largest unit that it has two of, rounded down.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, seconds) = UNITS.into_iter().find(|(_, seconds)| self.seconds >= 2 * seconds).unwrap_or(('s', 1));
        write!(f, "{}{unit}", self.seconds / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_its_unit() {
        let seconds = |text: &str| text.parse::<Span>().map(|span| span.seconds).ok();
        assert_eq!(
            ["90s", "45m", "1h", "30d", "0s", "1", "h", "-1h", "1.5h", "1 h", "+1h", "99999999999999999999d"]
                .map(seconds),
            [Some(90), Some(2_700), Some(3_600), Some(2_592_000), None, None, None, None, None, None, None, None]
        );
    }

    #[test]
    fn a_span_is_shown_in_the_largest_unit_that_says_something() {
        let shown = |seconds| Span { seconds }.to_string();
        assert_eq!(
            [0, 59, 119, 120, 7_199, 7_200, 172_799, 172_800].map(shown),
            ["0s", "59s", "119s", "2m", "119m", "2h", "47h", "2d"]
        );
    }
}
