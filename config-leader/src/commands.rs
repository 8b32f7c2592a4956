//! The commands, one file each.

pub(crate) mod accept;
pub(crate) mod audit;
mod check;
pub(crate) mod epoch;
mod init;
pub(crate) mod machine;
mod render;
pub(crate) mod secret;
mod serve;
pub(crate) mod status;
pub(crate) mod token;

use crate::cli::{Cli, Command, MachineCommand};
use crate::folder::Folder;
use crate::orders::{Order, give};
use crate::terminal::{Failure, Terminal};

#[cfg(test)]
pub(crate) use check::run as check;
#[cfg(test)]
pub(crate) use init::run as init;

/// Runs the command that was typed.
pub(crate) fn run(cli: Cli, terminal: &Terminal) -> Result<(), Failure> {
    let folder = Folder::open(&cli.dir, cli.templates.as_deref())?;
    let said = match cli.command {
        Command::Init { kind, example } => init::run(&folder, &kind, example.as_deref()),
        Command::Check => check::run(&folder),
        Command::Render { out, machine } => render::run(&folder, &out, machine.as_ref()),
        Command::Machine(MachineCommand::Identity { name, out }) => {
            let order = MachineCommand::Identity { name: name.clone(), out: out.clone() };
            machine::identity::write(&name, &out, || give(&folder, Order::Machine(order)))
        }
        Command::Machine(command) => give(&folder, Order::Machine(command)),
        Command::Secret(command) => secret::run(&folder, command),
        Command::Accept { revision } => give(&folder, Order::Accept(revision)),
        Command::Epoch(command) => give(&folder, Order::Epoch(command)),
        Command::Audit(command) => give(&folder, Order::Audit(command)),
        Command::Token(command) => give(&folder, Order::Token(command)),
        Command::Status => give(&folder, Order::Status),
        Command::Serve(arguments) => return serve::run(&folder, &arguments),
    };
    terminal.show(&said?);
    Ok(())
}
