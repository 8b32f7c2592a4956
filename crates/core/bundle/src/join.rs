//! The one line that makes a machine a follower: where the leader is, how to know it, who the machine is, and a token
//! that is good for one enrolment.

use std::fmt;
use std::str::FromStr;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::{DecodeError, Engine as _};
use pconf_names::{MachineName, RoleName};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::authority::Origin;
use crate::keys::{EnrolmentKey, KeyId, Keys};
use crate::pin::Pin;
use crate::time::UnixSeconds;

/// What every join string begins with.
const PREFIX: &str = "pconf1:";

/// An invitation, as `config-leader machine add` prints it: `pconf1:` and the base64url text of a JSON object.
///
/// `Display` gives the whole line, token included: it is for the administrator alone. `Debug` hides the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinString {
    /// Where the leader is reached.
    pub leader: Origin,
    /// The certificate authority that vouches for it, where it is reached by `https`.
    pub pin: Option<Pin>,
    /// Who the machine is to be.
    pub machine: MachineName,
    /// In which role.
    pub role: RoleName,
    /// The version of the token as a key; it is good for enrolment only.
    pub version: u32,
    /// The token: a key that is used once.
    pub token: EnrolmentKey,
    /// Until when it is good.
    pub expires: UnixSeconds,
}

/// The text is no join string. Nothing of it is repeated: it holds a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJoinString {
    /// Something else, or its beginning is missing.
    #[error(
        "a join string begins with `pconf1:` and this text does not; copy the whole line that `config-leader machine add` \
         has printed"
    )]
    Beginning,
    /// A character that cannot be in one, such as a line break.
    #[error(
        "character {0} cannot be part of a join string; copy it again, whole and in one line, from what `config-leader \
         machine add` has printed"
    )]
    Character(usize),
    /// Its end is missing.
    #[error(
        "the join string ends too early, after {0} characters; copy it again, whole and in one line, from what \
         `config-leader machine add` has printed"
    )]
    Cut(usize),
    /// Its text is no longer what was printed.
    #[error(
        "the join string is damaged near character {0}, or of another version; copy it again, whole and in one line, from \
         what `config-leader machine add` has printed"
    )]
    Damaged(usize),
    /// A part of it makes no sense.
    #[error(
        "the join string is damaged in its `{0}`; copy it again, whole and in one line, from what `config-leader machine \
         add` has printed"
    )]
    Part(&'static str),
}

/// The JSON object.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca_spki_sha256: Option<String>,
    keyid: String,
    role: String,
    token: String,
    expires: u64,
}

impl JoinString {
    /// Whose key the token is.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId { machine: self.machine.clone(), version: self.version }
    }

    /// What the request for enrolment is signed with.
    #[must_use]
    pub fn keys(&self) -> Keys {
        Keys::derive(self.key_id(), &self.token)
    }
}

impl FromStr for JoinString {
    type Err = InvalidJoinString;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use InvalidJoinString::{Beginning, Character, Cut, Damaged, Part};
        let text = text.trim();
        let encoded = text.strip_prefix(PREFIX).ok_or(Beginning)?;
        let json = URL_SAFE_NO_PAD.decode(encoded).map_err(|fault| match fault {
            DecodeError::InvalidByte(at, _) => Character(PREFIX.len() + at + 1),
            DecodeError::InvalidLastSymbol(..) | DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => {
                Cut(text.len())
            }
        })?;
        let json = Zeroizing::new(json);
        let written: Written = serde_json::from_slice(&json).map_err(|fault| {
            // Three bytes of JSON are four characters of the text.
            let near = PREFIX.len() + fault.column().saturating_sub(1) / 3 * 4 + 1;
            if fault.is_eof() { Cut(text.len()) } else { Damaged(near) }
        })?;
        let token = Zeroizing::new(written.token);
        let KeyId { machine, version } = written.keyid.parse().map_err(|_| Part("keyid"))?;
        Ok(Self {
            leader: written.url.parse().map_err(|_| Part("url"))?,
            pin: written.ca_spki_sha256.map(|pin| pin.parse()).transpose().map_err(|_| Part("ca_spki_sha256"))?,
            machine,
            role: written.role.parse().map_err(|_| Part("role"))?,
            version,
            token: token.parse().map_err(|_| Part("token"))?,
            expires: UnixSeconds(written.expires),
        })
    }
}

impl fmt::Display for JoinString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = Written {
            url: self.leader.to_string(),
            ca_spki_sha256: self.pin.map(|pin| pin.to_string()),
            keyid: self.key_id().to_string(),
            role: self.role.to_string(),
            token: self.token.to_text().to_string(),
            expires: self.expires.0,
        };
        let json = Zeroizing::new(serde_json::to_vec(&written).map_err(|_| fmt::Error)?);
        drop(Zeroizing::new(written.token));
        write!(f, "{PREFIX}{}", *Zeroizing::new(URL_SAFE_NO_PAD.encode(&json)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    const TOKEN: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    fn invitation() -> Result<JoinString, Box<dyn std::error::Error>> {
        Ok(JoinString {
            leader: "https://lead.pryv.example:7443".parse()?,
            pin: Some(Pin::of(b"a public key")),
            machine: "core-a".parse()?,
            role: "core".parse()?,
            version: 1,
            token: TOKEN.parse()?,
            expires: UnixSeconds(1_800_003_600),
        })
    }

    /// A join string that holds `json`.
    fn holding(json: &str) -> String {
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json))
    }

    #[test]
    fn an_invitation_survives_its_text() -> Outcome {
        for pin in [invitation()?.pin, None] {
            let invitation = JoinString { pin, ..invitation()? };
            let text = invitation.to_string();
            assert_eq!(text.parse(), Ok(invitation.clone()));
            assert_eq!(format!("  {text}\n").parse(), Ok(invitation));
        }
        assert_eq!(invitation()?.keys().id().to_string(), "core-a.1");
        Ok(())
    }

    #[test]
    fn its_text_is_json_in_one_word() -> Outcome {
        let json = r#"{"url":"https://lead.pryv.example:7443","ca_spki_sha256":"C3NI-gOJcMSOwHzXO2JX857IEPYPFu5zti48biYQq8Y","keyid":"core-a.1","role":"core","token":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","expires":1800003600}"#;
        let text = invitation()?.to_string();
        let shown = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX).unwrap_or_default())?;
        assert_eq!(String::from_utf8(shown)?, json);
        assert_eq!(text, holding(json));
        Ok(())
    }

    #[test]
    fn what_is_damaged_is_told_with_its_place_and_the_way_out() -> Outcome {
        use InvalidJoinString::{Beginning, Character, Cut, Damaged, Part};
        let text = invitation()?.to_string();
        let json = URL_SAFE_NO_PAD.decode(&text[PREFIX.len()..])?;
        let json = String::from_utf8(json)?;
        let broken = format!("{}\n{}", &text[..80], &text[80..]);
        for (damaged, fault) in [
            (text[1..].to_owned(), Beginning),
            (String::new(), Beginning),
            (text.replace("pconf1:", "pconf2:"), Beginning),
            (broken, Character(81)),
            (text[..100].to_owned(), Cut(100)),
            (text[..99].to_owned(), Cut(99)),
            (PREFIX.to_owned(), Cut(7)),
            (holding(&json.replace("\"url\"", "\"uri\"")), Damaged(12)),
            (holding(&json.replace("\"expires\":1800003600", "\"expires\":\"soon\"")), Damaged(280)),
            (holding(&json.replace("https://", "")), Part("url")),
            (holding(&json.replace("core-a.1", "core-a")), Part("keyid")),
            (holding(&json.replace("\"role\":\"core\"", "\"role\":\"\"")), Part("role")),
            (holding(&json.replace("C3NI", "")), Part("ca_spki_sha256")),
            (holding(&json.replace("AAEC", "")), Part("token")),
        ] {
            let found = damaged.parse::<JoinString>();
            assert_eq!(found, Err(fault), "{damaged}");
            assert!(fault.to_string().contains("config-leader machine add"), "{fault}");
        }
        Ok(())
    }

    #[test]
    fn the_token_is_shown_by_nothing_but_the_line_itself() -> Outcome {
        let text = invitation()?.to_string();
        let json = String::from_utf8(URL_SAFE_NO_PAD.decode(&text[PREFIX.len()..])?)?;
        assert!(!format!("{:?}", invitation()?).contains("AAEC"));
        let misplaced = json.replace("\"role\"", &format!("\"{TOKEN}\""));
        let longer = json.replace(TOKEN, &format!("{TOKEN}A"));
        for damaged in [holding(&misplaced), holding(&longer), text.replace("pconf1:", "")] {
            let fault = damaged.parse::<JoinString>().err().ok_or("it was taken")?;
            let told = format!("{fault} {fault:?}");
            assert!(!told.contains("AAEC") && !told.contains(&text[20..30]), "{told}");
        }
        Ok(())
    }
}
