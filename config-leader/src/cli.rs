//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use pconf_history::Named;
use pconf_names::{MachineName, RevisionId, RoleName};
use pconf_platform::SecretId;
use serde::{Deserialize, Serialize};

use crate::terminal::OutputFormat;
use crate::tokens::Scope;
use pconf_names::Span;

/// Renders one platform.json into every machine's files and serves them to the followers.
#[derive(Debug, Parser)]
#[command(
    name = "config-leader",
    version,
    propagate_version = true,
    after_help = "Exit codes: 0 done · 1 failed · 2 invalid input (platform.json, a template, a secret) · 3 a rollout halted or went back\n\n\
                  First steps:\n  config-leader init pryv        write platform.json, make keys\n  \
                  config-leader check            see every problem at once\n  config-leader plan             see what it would do\n  config-leader serve            publish, and follow every edit"
)]
pub struct Cli {
    /// The leader's folder: config-leader.json, platform.json, secrets/, keys/ and state/.
    #[arg(long, global = true, env = "CONFIG_LEADER_DIR", default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,

    /// The folder of template sets [default: `templates` of config-leader.json, else DIR/templates].
    #[arg(long, global = true, env = "CONFIG_LEADER_TEMPLATES", value_name = "DIR")]
    pub templates: Option<PathBuf>,

    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: OutputFormat,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a self-documented platform.json and make keys; what is there already is kept.
    Init {
        /// Which template set, e.g. `pryv`.
        kind: String,
        /// Start from another example of the set, e.g. `singlenode`.
        #[arg(long)]
        example: Option<String>,
    },
    /// Report every problem of platform.json, the templates and the secrets; nothing is written.
    Check,
    /// Write every machine's files to a folder, one folder per machine, exactly as followers will.
    Render {
        /// Where to; made where it is missing.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Only this machine.
        #[arg(long, value_name = "NAME")]
        machine: Option<MachineName>,
    },
    /// Tell what a setting reaches: the files and lines of every machine, and who reads them.
    ///
    /// It tells of the platform as it is saved, published or not, and changes nothing.
    Impact {
        /// A setting, a machine's field, a derived value or a secret, or all that is below it, e.g. `settings.mail`.
        #[arg(value_name = "SETTING")]
        setting: String,
    },
    /// Tell where a line of a machine's file comes from: template, expression, derived values, setting or secret.
    ///
    /// It tells of the platform as it is saved, published or not, and changes nothing.
    Why {
        /// The machine.
        machine: MachineName,
        /// The file as it lands below the machine's root, and a line of it, e.g. `core/conf/core.yml:12`.
        #[arg(value_name = "PATH[:LINE]")]
        place: String,
    },
    /// Declare, list or remove the machines of the platform.
    #[command(subcommand)]
    Machine(MachineCommand),
    /// Show, bring or change secrets; carry a whole leader elsewhere.
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Let followers take the published revision although it empties, doubles or loses much of what they have.
    ///
    /// Followers hold such a revision back; `status` tells which and why. The word is for this revision and no later one.
    Accept {
        /// The revision, e.g. `1.8` [default: the published one]; another one than the published is refused.
        revision: Option<RevisionId>,
    },
    /// Publish what is saved, and tell how it goes: where `rollout` in platform.json says `manual`, or where a change was held
    /// back. Ends when the rollout rests.
    Apply(ApplyArguments),
    /// Look at the rollout, or say how it goes on.
    #[command(subcommand)]
    Rollout(RolloutCommand),
    /// Say that this leader goes on, deliberately, after it was restored from a backup.
    #[command(subcommand)]
    Epoch(EpochCommand),
    #[command(flatten)]
    History(HistoryCommand),
    /// Copy the history to a file, also while the leader runs. No secret is in it.
    Backup {
        /// The file, which is made.
        file: PathBuf,
    },
    /// Show who did what, or check that nobody has changed the record.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Say who may give orders over the network; see `admin` in config-leader.json.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Tell what publishing would do on every machine: files, services and their order, downtime. Nothing is done.
    ///
    /// It is computed from what every follower told of its containers, and says what nobody knows. The hash in the last line
    /// is of all that the plan follows from. Exit codes: 0 planned, also where nothing would change; 2 invalid input.
    Plan {
        /// Plan this file in the place of platform.json; `-` is standard input.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Show only this machine.
        #[arg(long, value_name = "NAME")]
        machine: Option<MachineName>,
        /// Show only machines where something is done to this service.
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
    },
    /// Tell what the running leader heard of every machine.
    Status {
        /// Tell it again whenever it changes, until asked to end: in place on a terminal, line by line elsewhere.
        #[arg(long)]
        watch: bool,
        /// End with 5 where some machine is not known to run what it is to run: it is behind, or was not heard lately.
        #[arg(long, conflicts_with = "watch")]
        detailed_exitcode: bool,
    },
    /// Publish a revision whenever the inputs change, and serve it to the followers.
    Serve(ServeArguments),
}

/// How to publish what is saved.
#[derive(Debug, Args)]
pub struct ApplyArguments {
    /// Only if the plan of this hash still holds: settings, templates, secrets and what the machines told are as they were.
    #[arg(long, value_name = "HASH")]
    pub plan: Option<String>,
    /// It may change more machines than `maxAffected` lets pass, and may change them suspiciously much.
    #[arg(long)]
    pub accept: bool,
    /// Only to this machine, until `rollout resume`; may be repeated.
    #[arg(long = "machine", value_name = "NAME")]
    pub machines: Vec<MachineName>,
    /// Only to the machines of this role, until `rollout resume`; may be repeated.
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<RoleName>,
    /// Only to the machines on which this service is acted on, until `rollout resume`; may be repeated.
    #[arg(long = "service", value_name = "NAME")]
    pub services: Vec<String>,
    /// Go back to what was before, unless `rollout confirm` comes within so long, e.g. `10m`.
    #[arg(long, value_name = "TIME")]
    pub confirm_within: Option<Span>,
    /// Why; the history keeps it.
    #[arg(long, value_name = "TEXT")]
    pub message: Option<String>,
    /// Do not wait for the machines.
    #[arg(long)]
    pub detach: bool,
}

/// Commands about the rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum RolloutCommand {
    /// Tell how far it is. Exits with 3 where it halted or went back.
    Status,
    /// Let nobody else have the revision for now; machines that have it go on with it.
    Pause,
    /// Go on: after a pause, with all machines after `apply --machine`, or in spite of the machines that failed.
    Resume,
    /// Go back to what was before, on every machine that was offered the revision.
    Abort,
    /// Keep what `apply --confirm-within` published.
    Confirm,
}

/// Commands about the epoch.
#[derive(Debug, Clone, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "kebab-case")]
pub enum EpochCommand {
    /// Count revisions in a new epoch. Followers refuse what a restored leader publishes, because its numbers are behind
    /// theirs; what is published after this is newer than anything that they have.
    Bump,
}

/// Commands about what was published. A revision is called `1.12`, `12`, or `-1`: the one before the newest.
#[derive(Debug, Clone, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "kebab-case")]
pub enum HistoryCommand {
    /// Print the revisions, the newest first: who published them, when and why.
    #[command(name = "history")]
    List {
        /// So many.
        #[arg(long, value_name = "NUMBER", default_value_t = 20)]
        last: usize,
    },
    /// Print what a revision was made of and what it changed; with `--output json` all about it but secrets.
    Show {
        /// Which one.
        #[arg(allow_hyphen_values = true)]
        revision: Named,
    },
    /// Print what machines got in one revision and get in another, file by file, without any secret.
    Diff {
        /// The one.
        #[arg(allow_hyphen_values = true)]
        from: Named,
        /// The other [default: the newest].
        #[arg(allow_hyphen_values = true)]
        to: Option<Named>,
        /// Only this machine.
        #[arg(long, value_name = "NAME")]
        machine: Option<MachineName>,
        /// Only which files, not which lines.
        #[arg(long)]
        stat: bool,
    },
    /// Put platform.json back as it was in a revision, byte for byte, and publish it as a new one.
    ///
    /// Templates and secrets are not rolled back: what that means for the files is told.
    Rollback {
        /// Which one.
        #[arg(allow_hyphen_values = true)]
        revision: Named,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        message: Option<String>,
        /// It may change more machines than `maxAffected` lets pass, and may change them suspiciously much.
        #[arg(long)]
        accept: bool,
        /// Although platform.json has edits that were never published, which are lost.
        #[arg(long)]
        discard_edits: bool,
    },
}

/// Commands about the audit log.
#[derive(Debug, Clone, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "kebab-case")]
pub enum AuditCommand {
    /// Print the entries, oldest first.
    Show {
        /// Only so many of the newest.
        #[arg(long, value_name = "NUMBER")]
        last: Option<usize>,
    },
    /// Check every entry against the one before it, and name the first one that is not as it was written.
    Verify,
}

/// Commands about machines.
#[derive(Debug, Clone, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "kebab-case")]
pub enum MachineCommand {
    /// Declare a machine in platform.json and print the line to run there: with it the machine joins.
    ///
    /// A machine that is declared already with that role gets another line, and an earlier one that nobody has used is
    /// worth nothing any more. What the machine had before is revoked when it uses its new key.
    Add {
        /// Its name, e.g. `co3`.
        name: MachineName,
        /// Its role, e.g. `core`.
        #[arg(long)]
        role: RoleName,
        /// Nobody joins with the line before `machine approve NAME`.
        #[arg(long)]
        approve: bool,
        /// How long the line is good for, e.g. `30m`, `12h`.
        #[arg(long, value_name = "TIME", default_value = "1h")]
        ttl: Span,
        /// Where the leader reaches its follower, where the template set does not derive it.
        #[arg(long)]
        url: Option<String>,
        /// Another field of the machine, e.g. `--set ip=203.0.113.23`; may be repeated. The value is JSON, else text.
        #[arg(long = "set", value_name = "FIELD=VALUE")]
        fields: Vec<String>,
    },
    /// Let the machine join that waits for it; tells from where it asked.
    Approve {
        /// Its name.
        name: MachineName,
    },
    /// Print the declared machines, the keys that they use, and for how long they have been silent.
    List,
    /// Announce another key to a machine. It takes it at its next look; the one before is good for a day after that.
    RotateKey {
        /// Its name.
        #[arg(required_unless_present = "all")]
        name: Option<MachineName>,
        /// Every machine that uses a key.
        #[arg(long, conflicts_with = "name")]
        all: bool,
    },
    /// End every key of a machine at once; `machine add` enrols it anew.
    Revoke {
        /// Its name.
        name: MachineName,
    },
    /// Give a machine a key by hand: for an image that is being built, or a network without a way to the leader.
    ///
    /// Whatever key the machine had is revoked. Needs no platform.json.
    Identity {
        /// Its name.
        name: MachineName,
        /// The file to write, which must not be there: what the machine's follower keeps as `state/identity.json`.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Take a machine out of platform.json; its follower is refused from then on.
    Remove {
        /// Its name.
        name: MachineName,
    },
}

/// Commands about tokens.
#[derive(Debug, Clone, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "kebab-case")]
pub enum TokenCommand {
    /// Make a token and print it, this once.
    Create {
        /// What it is for, e.g. `ci`.
        #[arg(long)]
        name: String,
        /// What it is good for.
        #[arg(long, value_enum)]
        scope: Scope,
        /// For how long, e.g. `12h`, `30d`.
        #[arg(long, value_name = "TIME")]
        ttl: Span,
    },
    /// Print the tokens, without what makes them tokens.
    List,
    /// End a token.
    Revoke {
        /// Its id or its name.
        token: String,
    },
}

/// Commands about secrets. A value is called `NAME`, `NAME@MACHINE` or `NAME@role:ROLE`.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Print all about the secrets but their values, and how far rotations have come.
    List,
    /// Print one value.
    Show {
        /// What it is called, e.g. `core_system_key` or `sso_cookie_sign_secret@co1`.
        #[arg(value_name = "NAME")]
        id: SecretId,
    },
    /// Bring a value: from a file, from standard input, or from the variable `SECRET_<NAME>` of the environment.
    ///
    /// One line end at its end is no part of it. A certificate is its chain and its key in one text (PEM). Where the value
    /// before is in use and may overlap with the new one, this begins a rotation.
    Set {
        /// What it is called.
        #[arg(value_name = "NAME")]
        id: SecretId,
        /// The file; `-` is standard input.
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,
        /// What is lost with the old value, in the words of the template set, where it warns of that.
        #[arg(long, value_name = "TEXT")]
        confirm_loss: Option<String>,
    },
    /// Make another value: at once, or, where its plan says so, with a time in which both are accepted.
    Rotate {
        /// What it is called.
        #[arg(value_name = "NAME")]
        id: SecretId,
        /// What is lost with the old value, in the words of the template set, where it warns of that.
        #[arg(long, value_name = "TEXT")]
        confirm_loss: Option<String>,
    },
    /// Write this whole leader into one file under a passphrase: `CONFIG_LEADER_EXPORT_PASSPHRASE`, else it is asked for.
    Export {
        /// The file, which is made.
        file: PathBuf,
    },
    /// Restore a leader out of such a file, into an empty folder (`--dir`); or take values out of a SOPS file.
    Import {
        /// The file.
        file: PathBuf,
        /// It is a SOPS file: an object of NAME: value, which your own `sops` opens.
        #[arg(long)]
        sops: bool,
    },
}

/// How to serve.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// What is logged: a level, or pairs like `config_leader=debug`.
    #[arg(long, env = "CONFIG_LEADER_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
}
