//! The commands, one file each.

pub(crate) mod accept;
pub(crate) mod audit;
mod check;
pub(crate) mod epoch;
pub(crate) mod history;
mod impact;
mod init;
pub(crate) mod machine;
mod origins;
pub(crate) mod plan;
mod render;
pub(crate) mod rollout;
pub(crate) mod secret;
mod serve;
pub(crate) mod status;
pub(crate) mod token;
mod why;

use std::process::ExitCode;

use crate::cli::{ApplyArguments, Cli, Command, MachineCommand, RolloutCommand};
use crate::folder::Folder;
use crate::orders::{Order, give};
use crate::server::{Apply, RolloutOrder};
use crate::terminal::{Failure, Terminal};

#[cfg(test)]
pub(crate) use check::run as check;
#[cfg(test)]
pub(crate) use init::run as init;

/// Runs the command that was typed.
pub(crate) fn run(cli: Cli, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let folder = Folder::open(&cli.dir, cli.templates.as_deref())?;
    let said = match cli.command {
        Command::Init { kind, example } => init::run(&folder, &kind, example.as_deref()),
        Command::Check => check::run(&folder),
        Command::Render { out, machine } => render::run(&folder, &out, machine.as_ref()),
        Command::Impact { setting } => impact::run(&folder, &setting),
        Command::Why { machine, place } => why::run(&folder, &machine, &place),
        Command::Machine(MachineCommand::Identity { name, out }) => {
            let order = MachineCommand::Identity { name: name.clone(), out: out.clone() };
            machine::identity::write(&name, &out, || give(&folder, Order::Machine(order)))
        }
        Command::Machine(command) => give(&folder, Order::Machine(command)),
        Command::Secret(command) => secret::run(&folder, command),
        Command::Accept { revision } => give(&folder, Order::Accept(revision)),
        Command::Apply(arguments) => {
            let ApplyArguments { plan, accept, machines, roles, services, confirm_within, message, detach } = arguments;
            let order = Order::Apply(Apply { plan, accept, machines, roles, services, confirm_within, message });
            rollout::apply(&folder, order, !detach, terminal)
        }
        Command::Rollout(RolloutCommand::Status) => give(&folder, Order::RolloutStatus).and_then(rollout::judged),
        Command::Rollout(RolloutCommand::Pause) => give(&folder, Order::Rollout(RolloutOrder::Pause)),
        Command::Rollout(RolloutCommand::Resume) => give(&folder, Order::Rollout(RolloutOrder::Resume)),
        Command::Rollout(RolloutCommand::Abort) => give(&folder, Order::Rollout(RolloutOrder::Abort)),
        Command::Rollout(RolloutCommand::Confirm) => give(&folder, Order::Rollout(RolloutOrder::Confirm)),
        Command::Epoch(command) => give(&folder, Order::Epoch(command)),
        Command::History(command) => give(&folder, Order::History(command)),
        Command::Backup { file } => history::backup::run(&folder, &file),
        Command::Audit(command) => give(&folder, Order::Audit(command)),
        Command::Token(command) => give(&folder, Order::Token(command)),
        Command::Plan { file, machine, service } => {
            let text = file.as_deref().map(plan::candidate).transpose()?;
            give(&folder, Order::Plan(plan::PlanOrder { text, machine, service }))
        }
        Command::Status { watch, detailed_exitcode } => {
            return status::run(&folder, terminal, watch, detailed_exitcode);
        }
        Command::Serve(arguments) => return serve::run(&folder, &arguments).map(|()| ExitCode::SUCCESS),
    };
    terminal.show(&said?);
    Ok(ExitCode::SUCCESS)
}
