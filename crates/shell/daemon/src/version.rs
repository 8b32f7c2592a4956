//! What `GET /__version__` answers (Mozilla's Dockerflow).

use serde::Serialize;

/// Which program this is. `commit` and `build` are known when the build sets `GIT_COMMIT` and `BUILD_URL`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Version {
    source: &'static str,
    #[serde(rename = "version")]
    number: &'static str,
    commit: &'static str,
    build: &'static str,
}

impl Version {
    /// The version of a program of this workspace.
    #[must_use]
    pub fn of(program: &'static str, number: &'static str) -> Self {
        Self {
            source: program,
            number,
            commit: option_env!("GIT_COMMIT").unwrap_or("unknown"),
            build: option_env!("BUILD_URL").unwrap_or("unknown"),
        }
    }
}
