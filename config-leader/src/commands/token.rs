//! `token create | list | revoke`: who may give orders over the network.

use pconf_wire::Clock;
use serde_json::{Value, json};

use crate::audit::{self, Change};
use crate::cli::TokenCommand;
use crate::folder::Folder;
use crate::orders::Actor;
use crate::terminal::{Failure, Said};
use crate::tokens::{self, Token};
use pconf_names::Span;

pub(crate) fn run(folder: &Folder, command: TokenCommand, actor: &Actor) -> Result<Said, Failure> {
    let now = Clock::system().now().wall;
    match command {
        TokenCommand::Create { name, scope, ttl } => {
            let _alone = folder.lock()?;
            audit::append(folder, actor, "token.create", &format!("{name} ({scope})"), Change::default())?;
            let (id, token) = tokens::create(folder, &name, scope, now, ttl.seconds)?;
            let text = format!("{}\n\ntoken {name}  scope {scope}, good for {ttl}; it is shown this once\n", *token);
            Ok(Said { text, json: json!({ "ok": true, "id": id, "name": name, "token": *token }) })
        }
        TokenCommand::List => {
            let kept = tokens::list(folder)?;
            let mut text = format!("{:12}  {:20}  {:8}  {:8}  LAST USED\n", "ID", "NAME", "SCOPE", "ENDS IN");
            for (id, Token { name, scope, expires, last_used, .. }) in &kept {
                let ends = Span::between(now.0, *expires);
                let ends = if ends.seconds == 0 { "ended".to_owned() } else { ends.to_string() };
                let used = last_used.map_or("never".to_owned(), |at| format!("{} ago", Span::between(at, now.0)));
                text += &format!("{id:12}  {name:20}  {:8}  {ends:8}  {used}\n", scope.to_string());
            }
            let all: Vec<Value> = kept
                .iter()
                .map(|(id, token)| {
                    json!({
                        "id": id, "name": token.name, "scope": token.scope, "made": token.made, "expires": token.expires,
                        "lastUsed": token.last_used,
                    })
                })
                .collect();
            Ok(Said { text, json: json!({ "ok": true, "tokens": all }) })
        }
        TokenCommand::Revoke { token } => {
            let _alone = folder.lock()?;
            audit::append(folder, actor, "token.revoke", &token, Change::default())?;
            let revoked = tokens::revoke(folder, &token)?;
            let text = format!("token {}  revoked\n", revoked.name);
            Ok(Said { text, json: json!({ "ok": true, "name": revoked.name }) })
        }
    }
}
