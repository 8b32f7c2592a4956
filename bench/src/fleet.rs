//! A leader with many machines that ask for their files, none of them real.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use promises::{Answer, Platform, eventually};
use serde_json::json;

use crate::load::Request;
use crate::signed::Asker;

/// Enough machines that none asks more often than the leader allows one key to.
const CORES: u8 = 40;

/// A running leader of a Pryv platform, and its machines.
pub(crate) struct Fleet {
    pub(crate) platform: Platform,
    pub(crate) askers: Vec<Asker>,
}

impl Fleet {
    pub(crate) fn start() -> Result<Self> {
        let mut platform = Platform::shipped("pryv", None)?;
        for number in 0..CORES {
            let name = format!("extra{number}");
            platform.add_machine(&name, "core")?;
            let ip = platform.network().address(100 + number);
            platform.edit(|document| {
                document["machines"][&name]["ip"] = json!(ip);
                document["machines"][&name]["hosting"] = json!("hosting1");
            })?;
        }
        platform.start_leader()?;
        eventually("the leader has published", || Ok(platform.revision().ok()))?;
        // Requests of the second in which the leader started count as older than it.
        thread::sleep(Duration::from_secs(2));
        let leader = platform.address();
        let askers = (0..CORES)
            .map(|number| {
                let name = format!("extra{number}");
                let key = platform.machine(&name)?.key()?;
                Asker::new(leader, &name, "core", &key)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { platform, askers })
    }

    pub(crate) fn leader(&self) -> SocketAddr {
        self.platform.address()
    }

    /// One answer per machine: the last, and the machines as they are when they know their version.
    pub(crate) fn fetch(&self) -> Result<(Answer, Vec<Asker>)> {
        let mut knowing = Vec::new();
        let mut last = None;
        for asker in &self.askers {
            let answer = ask(self.leader(), asker)?;
            ensure!(answer.status == 200, "{}", answer.text());
            let tag = answer.header("etag").context("an answer has a version")?.parse()?;
            knowing.push(asker.clone().knowing(tag));
            last = Some(answer);
        }
        Ok((last.context("there are machines")?, knowing))
    }
}

/// One question and its answer.
pub(crate) fn ask(leader: SocketAddr, asker: &Asker) -> Result<Answer> {
    promises::repeat(leader, String::from_utf8(asker.request()?)?.trim_end(), "")
}

/// So many requests, of one machine after the other.
pub(crate) fn requests(askers: &[Asker], count: usize) -> Result<Vec<Request>> {
    askers.iter().cycle().take(count).map(Asker::request).collect()
}
