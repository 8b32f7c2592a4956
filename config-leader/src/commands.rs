//! The commands, one file each.

mod accept;
mod check;
mod init;
mod machine;
mod render;
mod serve;
mod status;

use crate::cli::{Cli, Command};
use crate::folder::Folder;
use crate::terminal::{Failure, Terminal};

/// Runs the command that was typed.
pub(crate) fn run(cli: Cli, terminal: &Terminal) -> Result<(), Failure> {
    let folder = Folder::open(&cli.dir, cli.templates.as_deref())?;
    match cli.command {
        Command::Init { kind, example } => init::run(&folder, &kind, example.as_deref(), terminal),
        Command::Check => check::run(&folder, terminal),
        Command::Render { out, machine } => render::run(&folder, &out, machine.as_ref(), terminal),
        Command::Machine(command) => machine::run(&folder, command, terminal),
        Command::Accept { revision } => accept::run(&folder, revision, terminal),
        Command::Status => status::run(&folder, terminal),
        Command::Serve(arguments) => serve::run(&folder, &arguments),
    }
}
