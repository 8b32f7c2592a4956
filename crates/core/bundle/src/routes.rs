//! Where things are asked for, and by which names.

use http::HeaderName;
use pconf_names::RoleName;

/// The leader's route of a role's bundle, as axum writes it.
pub const CONFIGURATION: &str = "/conf/{role}";
/// The leader's route that takes sealed reports.
pub const REPORTS: &str = "/reports";
/// The follower's route that is told to look. It takes no data, so nothing is lost when it never arrives.
pub const NOTIFY: &str = "/notify";

/// A sealed bundle: the only type that `Accept` may name.
pub const SEALED_BUNDLE: &str = "application/vnd.pconf.bundle+sealed";
/// A sealed report.
pub const SEALED_REPORT: &str = "application/vnd.pconf.report+sealed";
/// Problem details (RFC 9457).
pub const PROBLEM: &str = "application/problem+json";

/// The header that names the revision of a `200` bundle: `<epoch>.<number>`.
pub const CONF_REVISION: HeaderName = HeaderName::from_static("conf-revision");
/// `Prefer: wait=N` (RFC 7240).
pub const PREFER: HeaderName = HeaderName::from_static("prefer");
/// The longest wait for another revision that can be asked for, in seconds.
pub const LONGEST_WAIT: u64 = 55;

/// The path of a role's bundle.
#[must_use]
pub fn configuration(role: &RoleName) -> String {
    format!("/conf/{role}")
}

/// The role whose bundle is at `path`, compared raw: an escaped path names no role.
#[must_use]
pub fn role_of(path: &str) -> Option<RoleName> {
    path.strip_prefix("/conf/")?.parse().ok()
}

/// The value of `Prefer` that asks to wait up to `seconds` for another revision; at most [`LONGEST_WAIT`].
#[must_use]
pub fn prefer_wait(seconds: u64) -> String {
    format!("wait={}", seconds.min(LONGEST_WAIT))
}

/// The seconds that a `Prefer` value asks to wait; `None` unless it is exactly `wait=N` with N within bounds.
#[must_use]
pub fn preferred_wait(value: &str) -> Option<u64> {
    let seconds: u64 = value.strip_prefix("wait=")?.parse().ok()?;
    (seconds <= LONGEST_WAIT && prefer_wait(seconds) == value).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_role_only_as_it_is_written() -> Result<(), pconf_names::InvalidName> {
        let role: RoleName = "reg-master".parse()?;
        assert_eq!(role_of(&configuration(&role)), Some(role));
        for bad in ["/conf/", "/conf/a/b", "/conf/%61", "/conf/A", "/conf", "/other/core"] {
            assert_eq!(role_of(bad), None, "{bad}");
        }
        Ok(())
    }

    #[test]
    fn a_wait_is_bounded() {
        assert_eq!(prefer_wait(3600), "wait=55");
        assert_eq!(preferred_wait("wait=55"), Some(55));
        for bad in ["wait=56", "wait=05", "wait=+5", "wait=", "wait=5, respond-async", "respond-async"] {
            assert_eq!(preferred_wait(bad), None, "{bad}");
        }
    }
}
