//! A key is replaced, twice, while its machine is struck at every effect on the disk. In the second rotation the key before
//! goes, so what it had sealed is sealed anew.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::CYCLES;
use crate::follower::{Fault, Follower, told};
use crate::scenario::{Scenario, Story};

/// A file that is missing in the end, to see whether the kept bundle opens.
const MISSING: &str = "web/conf/mode.txt";

struct Rotation {
    scenario: Scenario,
    /// The machine before it is told of a new key.
    settled: PathBuf,
    /// The leader's keys of it, with one that nobody has used yet.
    announced: Vec<u8>,
    /// How the machine's keys end.
    end: Vec<String>,
}

impl Rotation {
    fn leaders_keys(&self) -> PathBuf {
        self.scenario.platform.path("leader/keys/a")
    }

    /// Has the leader hand out a new key.
    fn announce(&mut self) -> Result<()> {
        self.scenario.platform.command()?.args(["machine", "rotate-key", "a"]).succeed()?;
        self.announced = fs::read(self.leaders_keys())?;
        Ok(())
    }

    /// Has the leader forget that the new key was used: every copy of the machine is the first one to use it.
    fn forget(&self) -> Result<()> {
        let draft = self.scenario.platform.path("keys-of-a");
        fs::write(&draft, &self.announced)?;
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o600))?;
        fs::rename(draft, self.leaders_keys())?;
        // Whatever it is asked, it looks at its keys again.
        self.scenario.platform.status().map(drop)
    }

    /// A copy of the machine after so many cycles.
    fn copy(&self, name: &str, cycles: usize) -> Result<Follower> {
        self.forget()?;
        let follower = self.scenario.of_files(name)?;
        let folder = self.scenario.platform.path(name);
        for part in ["root", "state"] {
            let copied = Command::new("cp").arg("-a").arg(self.settled.join(part)).arg(&folder).status()?;
            ensure!(copied.success(), "cannot copy the machine");
        }
        follower.repair_drift()?;
        for _ in 0..cycles {
            follower.succeed()?;
        }
        Ok(follower)
    }

    /// The machine's keys, as `VERSION STATE`.
    fn keys(&self, name: &str) -> Result<Vec<String>> {
        let identity = fs::read(self.scenario.platform.path(name).join("state/identity.json"))?;
        let identity: Value = serde_json::from_slice(&identity)?;
        let keys = identity["keys"].as_array().context("an identity has keys")?;
        Ok(keys.iter().map(|key| format!("{} {}", key["version"], key["state"].as_str().unwrap_or_default())).collect())
    }

    /// Strikes one machine after the other, in the cycle after so many; how often its keys were written there.
    fn strike(&self, cycles: usize) -> Result<usize> {
        const ERRORS: [&str; 3] = ["ENOSPC", "EIO", "EACCES"];
        let stage = format!("{}-{cycles}", self.end.concat().replace(' ', ""));
        let (output, effects) = self.copy(&format!("{stage}-counted"), cycles)?.once_counted()?;
        ensure!(output.status.code() == Some(0), "without a fault it ends with {}", told(&output));
        let changes =
            effects.iter().filter(|effect| effect.contains("rename") && effect.contains("identity.json")).count();
        if changes == 0 {
            return Ok(0);
        }
        for (at, line) in effects.iter().enumerate() {
            for how in ["abort", ERRORS[at % ERRORS.len()]] {
                let name = format!("{stage}-{at}-{how}");
                let fault = Fault::Effect { number: at + 1, line: line.clone(), how };
                self.befall(&name, cycles, &fault)
                    .with_context(|| format!("{fault}, cycle {cycles}, {:?}", self.end))?;
                fs::remove_dir_all(self.scenario.platform.path(&name))?;
            }
        }
        Ok(changes)
    }

    fn befall(&self, name: &str, cycles: usize, fault: &Fault) -> Result<()> {
        let follower = self.copy(name, cycles)?;
        follower.once_struck(fault)?;
        for _ in 0..CYCLES {
            follower.once()?;
        }
        ensure!(self.keys(name)? == self.end, "its keys are {:?}", self.keys(name)?);
        let missing = follower.root().join(MISSING);
        fs::remove_file(&missing)?;
        follower.succeed()?;
        ensure!(missing.exists(), "the kept bundle does not open");
        follower.succeed()
    }
}

#[test]
fn a_key_is_replaced_whatever_effect_on_the_disk_fails_or_is_the_last() -> Result<()> {
    let scenario = Scenario::new(Story::First)?;
    let settled = scenario.platform.path("settled");
    scenario.of_files("settled")?.succeed()?;
    let mut rotation = Rotation { scenario, settled, announced: Vec::new(), end: Vec::new() };
    for (number, end) in [["2 active", "1 retiring"], ["3 active", "2 retiring"]].into_iter().enumerate() {
        rotation.announce()?;
        rotation.end = end.map(str::to_owned).to_vec();
        // It is handed out and first used in one cycle, or in two.
        let changes = rotation.strike(0)? + rotation.strike(1)?;
        ensure!(changes >= 2, "its keys were written {changes} times");
        let name = format!("settled-{number}");
        rotation.copy(&name, 2)?;
        ensure!(rotation.keys(&name)? == rotation.end, "unharmed, its keys are {:?}", rotation.keys(&name)?);
        rotation.settled = rotation.scenario.platform.path(&name);
    }
    Ok(())
}
