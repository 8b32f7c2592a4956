//! Names of machines and roles: what is left of a DNS label, so that a name can stand in a host name, a path segment,
//! a key id and a URL without quoting anywhere.

use std::fmt;
use std::str::FromStr;

/// The name of one machine of a platform, e.g. `co1`: 1 to 63 of `a-z`, `0-9` and `-`, starting with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineName(String);

/// What a machine is for, e.g. `reg-master`. The same alphabet as [`MachineName`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName(String);

/// The text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name: use 1 to 63 of a-z, 0-9 and `-`, starting with a letter or a digit")]
pub struct InvalidName(String);

macro_rules! name {
    ($type:ident) => {
        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if is_label(text) { Ok(Self(text.to_owned())) } else { Err(InvalidName(text.to_owned())) }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        crate::serde_as_text!($type);
    };
}

name!(MachineName);
name!(RoleName);

fn is_label(text: &str) -> bool {
    let alphabet = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(alphabet) && !text.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_label() {
        for good in ["co1", "reg-master", "0", &"a".repeat(63)] {
            assert_eq!(good.parse::<MachineName>().map(|n| n.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "-a", "Co1", "a.b", "a/b", "..", "é", "a b", &"a".repeat(64)] {
            assert_eq!(bad.parse::<MachineName>(), Err(InvalidName(bad.to_owned())));
        }
    }
}
