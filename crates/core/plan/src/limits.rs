//! What a machine lets its leader do there. It is said on the machine: whoever gets hold of the leader gets no more.

use pconf_bundle::{Check, Health};
use pconf_names::{RelativePath, RevisionId};
use serde::{Deserialize, Serialize};

use crate::actions::What;
use crate::plan::{Plan, Step};
use crate::refusal::Refusal;

/// `limits` of config-follower.json. Where nothing is said everything is allowed; an empty list allows nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// The folders below the root that are written in.
    pub folders: Option<Vec<RelativePath>>,
    /// The containers that are acted on, by name; a `*` at the end stands for whatever follows.
    pub containers: Option<Vec<String>>,
    /// The commands that are run in containers, word for word.
    pub commands: Option<Vec<Vec<String>>>,
    /// Whether containers are made and removed with compose files, which can give them every right on the machine.
    pub compose: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { folders: None, containers: None, commands: None, compose: true }
    }
}

impl Limits {
    /// Judges a plan before anything of it is done.
    pub fn judge(&self, plan: &Plan) -> Result<(), Refusal> {
        let mut wanted = Vec::new();
        for step in &plan.steps {
            let (path, is_allowed) = match step {
                // The way to an allowed folder has to be there, too.
                Step::MakeFolder { path, .. } | Step::RemoveFolder { path } => {
                    (path, self.writes_in(path) || self.leads_somewhere(path))
                }
                Step::WriteFile { path, .. } | Step::SetPermission { path, .. } | Step::RemoveFile { path } => {
                    (path, self.writes_in(path))
                }
            };
            wanted.extend((!is_allowed).then(|| format!("to touch `{path}`")));
        }
        let checked = plan.checks.iter().map(|trial| &trial.name);
        let stopped = plan.stops.iter().map(|stop| &stop.name);
        let acted_on = plan.actions.iter().filter(|action| action.what != What::Verify).map(|action| &action.name);
        for name in checked.chain(stopped).chain(acted_on).filter(|name| !self.touches(name)) {
            wanted.push(format!("to act on `{name}`"));
        }
        let checks = plan.checks.iter().map(|trial| match &trial.check {
            Check::Run(command) | Check::Exec(command) => (command, &trial.name),
        });
        let actions = plan.actions.iter().filter_map(|action| match &action.what {
            What::Exec(command) => Some((command, &action.name)),
            What::Verify | What::Signal(_) | What::Restart | What::Start | What::Recreate { .. } | What::Remove => None,
        });
        let probes = plan.actions.iter().filter_map(|action| match &action.health {
            Some(Health::Exec(command)) => Some((command, &action.name)),
            Some(Health::Http { .. } | Health::Tcp(_) | Health::Running(_)) | None => None,
        });
        for (command, name) in checks.chain(actions).chain(probes).filter(|(command, _)| !self.runs(command)) {
            wanted.push(format!("to run `{}` in `{name}`", command.join(" ")));
        }
        let made = plan.actions.iter().filter(|action| matches!(action.what, What::Recreate { .. } | What::Remove));
        wanted.extend(made.filter(|_| !self.compose).map(|action| format!("compose for `{}`", action.name)));
        wanted.sort_unstable();
        wanted.dedup();
        refused(plan.revision, wanted)
    }

    fn writes_in(&self, path: &RelativePath) -> bool {
        self.folders.as_ref().is_none_or(|folders| folders.iter().any(|folder| path.is_within(folder)))
    }

    fn leads_somewhere(&self, path: &RelativePath) -> bool {
        self.folders.iter().flatten().any(|folder| folder.is_within(path))
    }

    fn touches(&self, name: &str) -> bool {
        let is_meant = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == pattern,
        };
        self.containers.as_ref().is_none_or(|containers| containers.iter().any(is_meant))
    }

    fn runs(&self, command: &[String]) -> bool {
        self.commands.as_ref().is_none_or(|commands| commands.iter().any(|allowed| allowed == command))
    }
}

fn refused(revision: RevisionId, wanted: Vec<String>) -> Result<(), Refusal> {
    if wanted.is_empty() { Ok(()) } else { Err(Refusal::Forbidden { revision, wanted }) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::actions::{Action, Stop, Trial};

    type Tested = Result<(), Box<dyn std::error::Error>>;

    fn action(name: &str, what: What, health: Option<Health>) -> Action {
        Action {
            id: Some(format!("id-{name}")),
            name: name.to_owned(),
            started: None,
            what,
            files: BTreeSet::new(),
            upstreams: BTreeSet::new(),
            must_start: false,
            overdue: false,
            rank: 0,
            health,
            limit: 60,
        }
    }

    fn words(command: &str) -> Vec<String> {
        command.split(' ').map(str::to_owned).collect()
    }

    fn plan() -> Result<Plan, Box<dyn std::error::Error>> {
        let (owner, mode) = ("0:0".parse()?, "0640".parse()?);
        let recreate =
            What::Recreate { file: "app.yml".parse()?, project: "p".to_owned(), service: "extra".to_owned() };
        Ok(Plan {
            steps: vec![
                Step::MakeFolder { path: "app".parse()?, owner, mode: None, keep: false },
                Step::MakeFolder { path: "app/conf".parse()?, owner, mode: Some(mode), keep: false },
                Step::WriteFile { path: "app/conf/a.yml".parse()?, replaces: false, in_place: false },
                Step::RemoveFile { path: "apps/conf".parse()? },
            ],
            checks: vec![Trial {
                id: "1".to_owned(),
                name: "web".to_owned(),
                check: Check::Run(words("web -t")),
                reads: Vec::new(),
                limit: 60,
            }],
            stops: vec![Stop { id: "2".to_owned(), name: "store".to_owned() }],
            actions: vec![
                action("web", What::Exec(words("web reload")), Some(Health::Exec(words("web ping")))),
                action("core-1", What::Restart, None),
                action("quiet", What::Verify, None),
                action("extra", recreate, None),
            ],
            ..Plan::nothing("1.7".parse()?)
        })
    }

    fn limits(json: &str) -> serde_json::Result<Limits> {
        serde_json::from_str(json)
    }

    #[test]
    fn where_nothing_is_said_everything_is_allowed() -> Tested {
        assert_eq!(limits("{}")?, Limits::default());
        assert_eq!(Limits::default().judge(&plan()?), Ok(()));
        assert!(limits(r#"{"command": []}"#).is_err());
        Ok(())
    }

    #[test]
    fn everything_that_is_not_allowed_is_named_at_once() -> Tested {
        let tight = r#"{"folders": ["app/conf"], "containers": ["web", "core-*"], "commands": [["web", "-t"]], "compose": false}"#;
        let refusal = limits(tight)?.judge(&plan()?).err().ok_or("it is allowed")?;
        assert_eq!(
            refusal.to_string(),
            "revision 1.7 wants what `limits` in config-follower.json does not allow here: compose for `extra`; to act on \
             `extra`; to act on `store`; to run `web ping` in `web`; to run `web reload` in `web`; to touch `apps/conf`; \
             nothing was touched"
        );
        let none = limits(r#"{"folders": [], "containers": [], "commands": []}"#)?.judge(&plan()?);
        let Err(Refusal::Forbidden { wanted, .. }) = none else { return Err("it is allowed".into()) };
        assert_eq!(wanted.len(), 11, "{wanted:?}");
        let wide = r#"{"folders": ["app", "apps"], "containers": ["*"], "commands": [["web", "-t"], ["web", "ping"], ["web", "reload"]]}"#;
        assert_eq!(limits(wide)?.judge(&plan()?), Ok(()));
        Ok(())
    }
}
