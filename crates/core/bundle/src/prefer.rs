//! `Prefer: wait=N` (RFC 7240 section 4.3): who asks for a bundle that it has is answered when there is another one.
//!
//! The header is covered by the signature, so nobody on the line can make a follower wait, or stop it from waiting.
//! `Preference-Applied` is not: it would be a word that nobody signed, and the answer tells by its time that it was waited.

use std::time::Duration;

use http::HeaderValue;

/// The longest wait: a request is accepted for a minute, and proxies give up on a silent one after about as long.
pub const LONGEST_WAIT: Duration = Duration::from_secs(55);

/// The header of somebody who is ready to wait so long, in whole seconds up to [`LONGEST_WAIT`].
#[must_use]
pub fn prefer_wait(limit: Duration) -> HeaderValue {
    crate::header_value(format!("wait={}", limit.min(LONGEST_WAIT).as_secs()))
}

/// How long the one who sent this header is ready to wait, up to [`LONGEST_WAIT`]; `None` where it is not. Preferences that
/// are unknown or make no sense are as if they were not there, and the first of several counts (RFC 7240 section 2).
#[must_use]
pub fn preferred_wait(header: &str) -> Option<Duration> {
    let seconds = header.split(',').find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"').parse::<u64>().ok())
    });
    seconds.flatten().filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_heard_as_it_was_said_and_never_longer_than_a_signature_lives() {
        for (seconds, header, heard) in [(30, "wait=30", 30), (55, "wait=55", 55), (3600, "wait=55", 55)] {
            let said = prefer_wait(Duration::from_secs(seconds));
            assert_eq!(said, header);
            assert_eq!(preferred_wait(header), Some(Duration::from_secs(heard)));
        }
        let heard = |header| preferred_wait(header).map(|wait| wait.as_secs());
        for header in ["respond-async, WAIT = \"20\"; foo", "wait=20, wait=30", "return=minimal,wait=20"] {
            assert_eq!(heard(header), Some(20), "{header}");
        }
        assert_eq!(heard("wait=18446744073709551615"), Some(55));
        for header in ["", "wait", "wait=", "wait=0", "wait=-1", "wait=soon", "waiting=20", "wait=1e1, wait=20"] {
            assert_eq!(heard(header), None, "{header}");
        }
    }
}
