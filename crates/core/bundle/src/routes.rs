//! Where things are asked for, and by which names.

use http::HeaderName;
use pconf_names::RoleName;

/// The leader's route of a role's bundle, as axum writes it.
pub const CONFIGURATION: &str = "/conf/{role}";
/// The leader's route that takes sealed reports.
pub const REPORTS: &str = "/reports";
/// The leader's route that takes sealed snapshots.
pub const SNAPSHOTS: &str = "/snapshots";
/// The leader's route that takes the requests of machines that join.
pub const ENROLL: &str = "/enroll";
/// The follower's route that is told to look. It takes no data, so nothing is lost when it never arrives.
pub const NOTIFY: &str = "/notify";

/// A sealed bundle: the only type that `Accept` may name.
pub const SEALED_BUNDLE: &str = "application/vnd.pconf.bundle+sealed";
/// A sealed report.
pub const SEALED_REPORT: &str = "application/vnd.pconf.report+sealed";
/// A sealed snapshot: what a machine decides by, for a leader that plans.
pub const SEALED_SNAPSHOT: &str = "application/vnd.pconf.snapshot+sealed";
/// A sealed identity: the answer to a request for enrolment.
pub const SEALED_IDENTITY: &str = "application/vnd.pconf.identity+sealed";
/// Problem details (RFC 9457).
pub const PROBLEM: &str = "application/problem+json";

/// The header that names the revision of a `200` bundle: `<epoch>.<number>`.
pub const CONF_REVISION: HeaderName = HeaderName::from_static("conf-revision");
/// `Prefer` (RFC 7240), by which a follower waits for another bundle.
pub const PREFER: HeaderName = HeaderName::from_static("prefer");

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
}
