//! What a test says of a container.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// How a container is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Its name.
    pub name: String,
    /// Where it is on the host, or `volume:NAME`, and where the container sees it.
    pub mounts: Vec<(PathBuf, PathBuf)>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where it can be asked; 127.0.0.1 where nothing is said.
    pub address: IpAddr,
    /// Whether it has a HEALTHCHECK, which passes unless a script says otherwise.
    pub has_healthcheck: bool,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            name: "service".to_owned(),
            mounts: Vec::new(),
            labels: BTreeMap::new(),
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            has_healthcheck: false,
        }
    }
}

impl Spec {
    /// Gives it the labels of a container that compose made.
    #[must_use]
    pub fn of_compose(mut self, project: &str, service: &str) -> Self {
        for (label, value) in
            [("project", project), ("service", service), ("container-number", "1"), ("oneoff", "False")]
        {
            self.labels.insert(format!("com.docker.compose.{label}"), value.to_owned());
        }
        self
    }
}

/// How a container behaves. Those with a text `contains` do so when a file that they read contains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// It ends right after each start with this code.
    Dies(i64),
    /// It ends with code 1 when it starts or takes a signal with such a file, and writes the line that holds the text.
    DiesIf {
        /// The text.
        contains: String,
    },
    /// The engine cannot start it, and says this.
    CannotStart(String),
    /// It is started again and again.
    Loops,
    /// The same, with such a file.
    LoopsIf {
        /// The text.
        contains: String,
    },
    /// Its HEALTHCHECK never passes, and never fails often enough.
    NeverHealthy,
    /// Its HEALTHCHECK fails.
    UnhealthyIf {
        /// The text.
        contains: String,
    },
    /// Commands in it, and in containers like it, end with code 1 when a file that they see contains the text. They see
    /// the files that their arguments name, else all below the mounts.
    CommandFailsIf {
        /// The text.
        contains: String,
        /// What they write then.
        output: String,
    },
    /// Commands in it, and in containers like it, never end.
    CommandHangs,
}
