//! What the command line asks of a leader, and who carries it out: the running leader of the folder, if there is one, else
//! the command itself. It is the same code either way.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context as _;
use pconf_daemon::ask;
use pconf_names::RevisionId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cli::{AuditCommand, EpochCommand, HistoryCommand, MachineCommand, TokenCommand};
use crate::commands;
use crate::commands::plan::PlanOrder;
use crate::commands::secret::SecretOrder;
use crate::folder::Folder;
use crate::server::{Apply, RolloutOrder};
use crate::terminal::{Failure, Refusal, Said};
use crate::tokens::Scope;

/// How long a running leader may be at it.
const LIMIT: Duration = Duration::from_mins(2);

/// Something to do in the leader's folder. It names no files of whoever asks: those are read before.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    /// See [`crate::cli::Command::Apply`].
    Apply(Apply),
    /// How far the rollout is.
    RolloutStatus,
    /// See [`crate::cli::Command::Rollout`].
    Rollout(RolloutOrder),
    /// See [`crate::cli::Command::Accept`].
    Accept(Option<RevisionId>),
    /// See [`crate::cli::Command::Audit`].
    Audit(AuditCommand),
    /// See [`crate::cli::Command::Epoch`].
    Epoch(EpochCommand),
    /// See [`crate::cli::Command::History`].
    History(HistoryCommand),
    /// See [`crate::cli::Command::Machine`].
    Machine(MachineCommand),
    /// See [`crate::cli::Command::Plan`].
    Plan(PlanOrder),
    /// See [`crate::cli::Command::Token`].
    Token(TokenCommand),
    /// See [`crate::cli::Command::Secret`].
    Secret(SecretOrder),
    /// What was heard of every machine; only a running leader knows.
    Status,
}

/// Who wants something: this is what the audit log names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Actor {
    /// Somebody at the command line of this machine.
    Person {
        /// Whom the system takes it for.
        uid: u32,
        /// Who that was before `sudo`.
        sudo: Option<String>,
    },
    /// The leader by itself.
    Leader,
    /// Somebody with a token.
    Token {
        /// The name of the token.
        name: String,
    },
    /// Somebody without one.
    Stranger {
        /// From where.
        from: IpAddr,
    },
}

/// An order on its way to the running leader.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) order: Order,
    pub(crate) actor: Actor,
}

/// What comes back.
pub(crate) type Outcome = Result<Said, Refusal>;

impl Actor {
    /// Who runs this command.
    pub(crate) fn here() -> Self {
        Self::Person { uid: rustix::process::getuid().as_raw(), sudo: std::env::var("SUDO_USER").ok() }
    }
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Person { uid, sudo: None } => write!(f, "uid {uid}"),
            Self::Person { uid, sudo: Some(name) } => write!(f, "uid {uid} ({name})"),
            Self::Leader => f.write_str("leader"),
            Self::Token { name } => write!(f, "token {name}"),
            Self::Stranger { from } => write!(f, "somebody at {from}"),
        }
    }
}

/// Has the running leader of the folder carry an order out, or does so itself where none runs.
pub(crate) fn give(folder: &Folder, order: Order) -> Result<Said, Failure> {
    let asked = Asked { order, actor: Actor::here() };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    match runtime.block_on(ask::<_, Outcome>(&folder.socket(), &asked, LIMIT))? {
        Some(outcome) => outcome.map_err(Failure::Refused),
        None => alone(folder, asked),
    }
}

/// Carries an order out where no leader runs.
fn alone(folder: &Folder, Asked { order, actor }: Asked) -> Result<Said, Failure> {
    let is_rollback = matches!(order, Order::History(HistoryCommand::Rollback { .. }));
    let mut said = carry_out(folder, order, &actor)?;
    if is_rollback && said.json["publishes"] == true {
        said.text += "no leader runs: the next one publishes it, by itself or with `config-leader apply`\n";
    }
    Ok(said)
}

/// Carries an order out in this process.
pub(crate) fn carry_out(folder: &Folder, order: Order, actor: &Actor) -> Result<Said, Failure> {
    match order {
        Order::Accept(revision) => commands::accept::run(folder, revision, actor),
        Order::Audit(command) => commands::audit::run(folder, &command),
        Order::Epoch(command) => commands::epoch::run(folder, &command, actor),
        Order::History(command) => commands::history::run(folder, command, actor),
        Order::Machine(command) => commands::machine::run(folder, command, actor),
        Order::Plan(order) => commands::plan::carry_out(folder, order),
        Order::Token(command) => commands::token::run(folder, command, actor),
        Order::Secret(order) => commands::secret::carry_out(folder, order, actor),
        Order::Status | Order::Apply(_) | Order::Rollout(_) | Order::RolloutStatus => Err(anyhow::anyhow!(
            "no leader runs for `{}`: start it with `config-leader serve`",
            folder.path().display()
        )
        .into()),
    }
}

/// An order that the running leader was asked to carry out; `status` is what it heard of the machines.
pub(crate) fn serve(folder: &Folder, asked: Asked, status: impl FnOnce() -> Value) -> Outcome {
    let Asked { order, actor } = asked;
    match order {
        Order::Status => Ok(commands::status::said(status())),
        order => {
            tracing::info!(%actor, order = order.name(), "ordered");
            carry_out(folder, order, &actor).map_err(Failure::into_refusal)
        }
    }
}

impl Order {
    /// What it is, without what is said in it.
    fn name(&self) -> &'static str {
        match self {
            Self::Accept(_) => "accept",
            Self::Apply(_) => "apply",
            Self::Rollout(order) => order.name(),
            Self::RolloutStatus => "rollout.status",
            Self::Audit(_) => "audit",
            Self::Epoch(_) => "epoch",
            Self::History(HistoryCommand::Rollback { .. }) => "rollback",
            Self::History(_) => "history",
            Self::Machine(_) => "machine",
            Self::Plan(_) => "plan",
            Self::Secret(order) => order.name(),
            Self::Status => "status",
            Self::Token(_) => "token",
        }
    }

    /// Which scope a token has to have.
    pub(crate) fn scope(&self) -> Scope {
        match self {
            Self::Status
            | Self::RolloutStatus
            | Self::Audit(_)
            | Self::History(HistoryCommand::List { .. } | HistoryCommand::Show { .. } | HistoryCommand::Diff { .. })
            | Self::Plan(_)
            | Self::Machine(MachineCommand::List)
            | Self::Secret(SecretOrder::List) => Scope::Read,
            Self::Secret(_) => Scope::Secrets,
            Self::Machine(_) => Scope::Machines,
            Self::Accept(_)
            | Self::Apply(_)
            | Self::Rollout(_)
            | Self::Epoch(_)
            | Self::History(HistoryCommand::Rollback { .. })
            | Self::Token(_) => Scope::Admin,
        }
    }
}
