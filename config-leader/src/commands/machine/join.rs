//! What to run on a machine that joins: one line, with a string in it that is good once.

use anyhow::Context as _;
use pconf_bundle::{JoinString, Origin, Pin};
use pconf_names::MachineName;
use pconf_render::SceneMachine;
use pconf_wire::{Clock, enrolment_key};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::authority::Authority;
use crate::folder::Folder;
use crate::keys::{self, Approval};
use crate::terminal::{Failure, Said};
use pconf_names::Span;

/// How a machine is invited.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) approval: Approval,
    pub(super) span: Span,
}

/// Makes a string for `machine`, and says what to do with it. The caller holds the folder's lock.
pub(super) fn invite(
    folder: &Folder,
    name: &MachineName,
    machine: &SceneMachine,
    terms: Terms,
    declared: bool,
) -> Result<Said, Failure> {
    let (leader, pin) = origin(folder, machine)?;
    let (token, now) = (enrolment_key()?, Clock::system().now().wall);
    let version =
        keys::change(folder, name, |ring| Ok(ring.invite(token.clone(), now, terms.span.seconds, terms.approval)))?;
    let expires = now.plus(terms.span.seconds);
    let until = OffsetDateTime::from_unix_timestamp(i64::try_from(expires.0)?)?.format(&Rfc3339)?;
    let join = JoinString { leader, pin, machine: name.clone(), role: machine.role.clone(), version, token, expires };
    let command = format!("echo {join} | config-follower join -");
    let verb = if declared { "declared in platform.json" } else { "declared already" };
    let approval = match terms.approval {
        Approval::Awaited => format!("It then waits for `config-leader machine approve {name}`.\n"),
        Approval::NotNeeded | Approval::Given => String::new(),
    };
    let text = format!(
        "machine {name}  role {}  {verb}\n\n\
         On {name}, as root. The string is a secret, good for one machine until {until}:\n\n\
         {command}\n\n{approval}",
        machine.role,
    );
    let text = format!("{}\n", text.trim_end());
    let json = json!({
        "ok": true, "machine": name, "role": machine.role, "declared": declared,
        "join": join.to_string(), "command": command, "expires": expires.0,
    });
    Ok(Said { text, json })
}

/// How a machine reaches the leader: through TLS where this leader does that, else as it is configured, else as the platform
/// derives it.
fn origin(folder: &Folder, machine: &SceneMachine) -> anyhow::Result<(Origin, Option<Pin>)> {
    let config = folder.config();
    if let Some(tls) = &config.tls {
        let pin = Pin::of(&Authority::of(folder)?.public_key()?);
        let origin = tls.origins(&tls.names)?.into_iter().next();
        return Ok((origin.context("`tls` names wildcards only")?, Some(pin)));
    }
    let configured = config.urls.first().map(String::as_str);
    let url = configured.or(machine.text("leader")).map_or_else(|| format!("http://{}", config.listen), str::to_owned);
    Ok((url.parse::<Origin>().context("an address of the leader cannot be used")?, None))
}
