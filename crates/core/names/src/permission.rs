//! Who owns a file on a machine and what may be done with it; numeric, because the names are the container's.

use std::fmt;
use std::str::FromStr;

/// Permission bits, `0000` to `0777`: setuid, setgid and sticky cannot be expressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mode(u32);

/// User and group, e.g. `9999:9999`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The numeric user.
    pub uid: u32,
    /// The numeric group.
    pub gid: u32,
}

/// The text is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a mode: write four octal digits from 0000 to 0777, e.g. `0640`")]
pub struct InvalidMode(String);

/// The text is no owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an owner: write numeric user and group, e.g. `9999:9999`")]
pub struct InvalidOwner(String);

impl Mode {
    /// The bits as the kernel takes them.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl FromStr for Mode {
    type Err = InvalidMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bits = (text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| u32::from_str_radix(text, 8).ok())
            .flatten();
        match bits {
            Some(bits) if bits <= 0o777 => Ok(Self(bits)),
            _ => Err(InvalidMode(text.to_owned())),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl FromStr for Owner {
    type Err = InvalidOwner;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // u32::MAX means "leave as it is" to chown(2) and is no identity.
        let id = |text: &str| text.parse().ok().filter(|id| *id != u32::MAX && !text.starts_with('+'));
        text.split_once(':')
            .and_then(|(uid, gid)| Some(Self { uid: id(uid)?, gid: id(gid)? }))
            .ok_or_else(|| InvalidOwner(text.to_owned()))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

crate::serde_as_text!(Mode);
crate::serde_as_text!(Owner);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_carry_permission_bits_only() {
        assert_eq!("0640".parse::<Mode>().map(Mode::bits), Ok(0o640));
        for bad in ["640", "4755", "1777", "0888", "0o64", "-640", ""] {
            assert_eq!(bad.parse::<Mode>(), Err(InvalidMode(bad.to_owned())));
        }
    }

    #[test]
    fn owners_are_two_numbers() {
        assert_eq!("9999:0".parse::<Owner>(), Ok(Owner { uid: 9999, gid: 0 }));
        for bad in ["root", "root:root", "1", "1:", ":1", "-1:1", "+1:1", "4294967295:0"] {
            assert_eq!(bad.parse::<Owner>(), Err(InvalidOwner(bad.to_owned())));
        }
    }
}
