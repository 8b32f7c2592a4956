//! `check`: every problem at once, and nothing written.

use pconf_platform::{SecretId, SecretKind};
use pconf_publish::{WantedSecret, held_back};
use pconf_render::SecretValue;
use pconf_wire::Clock;
use serde_json::{Value, json};

use crate::certificate;
use crate::folder::Folder;
use crate::inputs::{Inputs, Reader};
use crate::keys::KeyRing;
use crate::publication;
use crate::secrets::Purpose;
use crate::terminal::{Failure, Said};

pub(crate) fn run(folder: &Folder) -> Result<Said, Failure> {
    let evaluated =
        Reader::default().read(folder, Purpose::Look).and_then(|inputs| Ok((inputs.evaluate()?, doubts(&inputs))));
    let (_, unusable_keys) = KeyRing::default().reread(folder, Clock::system().now());
    let (rendered, doubts) = match evaluated {
        Ok(evaluated) if unusable_keys.is_empty() => evaluated,
        Ok(_) => return Err(Failure::Invalid { problems: unusable_keys, sources: Box::default() }),
        Err(Failure::Invalid { mut problems, sources }) => {
            problems.extend(unusable_keys);
            return Err(Failure::Invalid { problems, sources });
        }
        Err(failure) => return Err(failure),
    };
    let machines = rendered.len();
    let files: usize = rendered.values().map(|machine| machine.files.len()).sum();
    let published = publication::read(folder)?;
    let held = published.map(|published| held_back(&published, &rendered)).unwrap_or_default();
    let mut text = format!("platform.json is good: {files} files for {machines} machines\n");
    let mut warnings: Vec<Value> = Vec::new();
    for (id, doubt) in &doubts {
        text += &format!("warning: secret {id}: {doubt}\n");
        warnings.push(json!({ "code": "doubtful-certificate", "secret": id, "message": doubt }));
    }
    for (machine, suspicion) in held.iter().flat_map(|(machine, all)| all.iter().map(move |one| (machine, one))) {
        text += &format!("warning: {machine}: {suspicion}\n");
        warnings.push(json!({ "code": "held-back", "machine": machine, "message": suspicion.to_string() }));
    }
    if !held.is_empty() {
        text += "Followers hold such a change back. If it is meant: `config-leader accept`, once it is published.\n";
    }
    let json = json!({ "ok": true, "problems": [], "warnings": warnings, "machines": machines, "files": files });
    Ok(Said { text, json })
}

/// What is wrong with certificates that were brought, though they can be served.
fn doubts(inputs: &Inputs) -> Vec<(SecretId, String)> {
    let mut doubts = Vec::new();
    for WantedSecret { id, kind, .. } in &inputs.looked.wanted {
        let SecretKind::Certificate { names } = kind else { continue };
        if let Some(SecretValue::Certificate { certificate, .. }) = inputs.secrets.get(id).map(|secret| &secret.used) {
            doubts.extend(certificate::doubts(certificate, names).into_iter().map(|doubt| (id.clone(), doubt)));
        }
    }
    doubts
}
