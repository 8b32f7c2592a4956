//! How a secret comes to be.

use serde::Deserialize;

use crate::secrets::SecretName;

/// How a secret comes to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretKind {
    /// Characters of an alphabet, at random.
    Random {
        /// The number of characters, 16 to 1024.
        length: usize,
        /// Distinct printable ASCII characters.
        alphabet: String,
    },
    /// Random bytes in hexadecimal, lower-case.
    Hex {
        /// The number of bytes, 16 to 512.
        bytes: usize,
    },
    /// Random bytes in base64url without padding (RFC 4648, section 5).
    Base64url {
        /// The number of bytes, 16 to 512.
        bytes: usize,
    },
    /// A pair of keys on P-256 as VAPID writes them (RFC 8292): the private scalar and the uncompressed public point, both
    /// in base64url.
    P256,
    /// A pair of Ed25519 keys: PKCS#8 and `SubjectPublicKeyInfo`, both PEM.
    Ed25519,
    /// A pair of RSA keys: PKCS#8 and `SubjectPublicKeyInfo`, both PEM.
    Rsa {
        /// The length of the modulus: 2048, 3072 or 4096.
        bits: usize,
    },
    /// A certificate and its private key, PEM: a leaf of the platform's own authority, until the admin brings another.
    Certificate {
        /// DNS names that it is for; Tera text over settings and machines.
        names: Vec<String>,
    },
    /// Diffie-Hellman parameters, PEM: a group of RFC 7919, the same for everybody and no secret.
    DiffieHellman {
        /// Which group.
        group: DhGroup,
    },
    /// 32 letters `A-Z`, as Erlang wants its cookies.
    ErlangCookie,
    /// Brought by the admin.
    External,
    /// The HMAC-SHA256 of a label under another secret, in hexadecimal: who knows it learns nothing of the other one.
    Derived {
        /// The other secret: one text.
        from: SecretName,
        /// What tells several derived ones of one secret apart.
        label: String,
    },
}

/// A finite-field group of RFC 7919, appendix A.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DhGroup {
    /// 2048 bits.
    Ffdhe2048,
    /// 3072 bits.
    Ffdhe3072,
    /// 4096 bits.
    Ffdhe4096,
}

impl SecretKind {
    /// What `secrets.json` calls it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Random { .. } => "random",
            Self::Hex { .. } => "hex",
            Self::Base64url { .. } => "base64url",
            Self::P256 => "p256",
            Self::Ed25519 => "ed25519",
            Self::Rsa { .. } => "rsa",
            Self::Certificate { .. } => "certificate",
            Self::DiffieHellman { .. } => "dh",
            Self::ErlangCookie => "erlang-cookie",
            Self::External => "external",
            Self::Derived { .. } => "derived",
        }
    }

    /// Whether there is a value of its own to keep.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        !matches!(self, Self::DiffieHellman { .. } | Self::Derived { .. })
    }

    /// Whether its value is one text, and not a pair, a certificate or something public.
    #[must_use]
    pub fn is_text(&self) -> bool {
        match self {
            Self::Random { .. }
            | Self::Hex { .. }
            | Self::Base64url { .. }
            | Self::ErlangCookie
            | Self::External
            | Self::Derived { .. } => true,
            Self::P256 | Self::Ed25519 | Self::Rsa { .. } | Self::Certificate { .. } | Self::DiffieHellman { .. } => {
                false
            }
        }
    }
}
