//! The platform's own certificate authority: made once, kept in an envelope, trusted by followers from their enrolment on.

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::folder::Folder;

const AUTHORITY: &str = "authority";
/// Long enough that nobody has to think of it; followers get its successor under seal.
const LIFETIME: Duration = Duration::days(3650);

/// The authority of one platform.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub(crate) struct Authority {
    certificate: String,
    key: String,
}

/// A certificate that the authority has signed, and its key; both PEM.
pub(crate) struct Leaf {
    /// The leaf, then the authority's own.
    pub(crate) chain: String,
    pub(crate) key: Zeroizing<String>,
}

impl Authority {
    /// The folder's authority, made now where there is none.
    pub(crate) fn of(folder: &Folder) -> anyhow::Result<Self> {
        let read = || folder.sealed(AUTHORITY);
        if let Some(kept) = read()? {
            return parse(&kept);
        }
        let made = Zeroizing::new(serde_json::to_vec(&Self::make()?)?);
        folder.vault()?.create(AUTHORITY, &made)?;
        // Whoever made it first made the one that counts.
        parse(&read()?.context("the authority was made and removed meanwhile: run this again")?)
    }

    /// The folder's authority, else one that is forgotten again: whoever only looks leaves no trace.
    pub(crate) fn imagined(folder: &Folder) -> anyhow::Result<Self> {
        match folder.sealed(AUTHORITY)? {
            Some(kept) => parse(&kept),
            None => Self::make(),
        }
    }

    fn make() -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::<String>::new()).context("cannot make an authority")?;
        let yesterday = OffsetDateTime::now_utc() - Duration::DAY;
        (params.not_before, params.not_after) = (yesterday, yesterday + LIFETIME);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "config-leader authority");
        let key = KeyPair::generate().context("cannot make a key")?;
        let certificate = params.self_signed(&key).context("cannot sign the authority's certificate")?;
        Ok(Self { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// Its certificate (PEM), for those who trust it.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its `SubjectPublicKeyInfo` (DER, RFC 5280), whose digest pins it.
    pub(crate) fn public_key(&self) -> anyhow::Result<Vec<u8>> {
        Ok(rcgen::PublicKeyData::subject_public_key_info(&self.key_pair()?))
    }

    /// A server's certificate for `names` (DNS names, wildcards or IP addresses) that is valid from yesterday (clocks differ)
    /// for `lifetime`; for `key` (PEM) where there is one already, else for a new P-256 key.
    pub(crate) fn issue(&self, names: &[String], lifetime: Duration, key: Option<&str>) -> anyhow::Result<Leaf> {
        let mut params = CertificateParams::new(names).context("cannot make a certificate for these names")?;
        let yesterday = OffsetDateTime::now_utc() - Duration::DAY;
        (params.not_before, params.not_after) = (yesterday, yesterday + Duration::DAY + lifetime);
        params.distinguished_name.push(DnType::CommonName, names.first().map_or("config-leader", String::as_str));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = match key {
            Some(key) => KeyPair::from_pem(key).context("the key of the certificate cannot be used")?,
            None => KeyPair::generate().context("cannot make a key")?,
        };
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, self.key_pair()?)
            .context("the authority's certificate cannot be used: restore `authority` from a backup")?;
        let leaf = params.signed_by(&key, &issuer).context("cannot sign the certificate")?;
        Ok(Leaf { chain: leaf.pem() + &self.certificate, key: Zeroizing::new(key.serialize_pem()) })
    }

    fn key_pair(&self) -> anyhow::Result<KeyPair> {
        KeyPair::from_pem(&self.key).context("the authority's key cannot be used: restore `authority` from a backup")
    }
}

fn parse(bytes: &[u8]) -> anyhow::Result<Authority> {
    serde_json::from_slice(bytes).context("the authority cannot be used: restore `authority` from a backup")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::certificate::fault;

    #[test]
    fn there_is_one_authority_and_what_it_issues_can_be_served() -> anyhow::Result<()> {
        let held = tempfile::tempdir()?;
        std::fs::set_permissions(held.path(), std::fs::Permissions::from_mode(0o700))?;
        let folder = Folder::open(held.path(), None)?;
        let authority = Authority::of(&folder)?;
        assert_eq!(Authority::of(&folder)?.certificate(), authority.certificate());
        assert_eq!(Authority::of(&folder)?.public_key()?, authority.public_key()?);
        let names = ["lead.example".to_owned(), "10.8.0.1".to_owned(), "*.lab.example".to_owned()];
        let leaf = authority.issue(&names, Duration::days(90), None)?;
        assert_eq!(fault(&leaf.chain, &leaf.key), None);
        assert!(leaf.chain.ends_with(authority.certificate()));
        let again = authority.issue(&names, Duration::days(90), Some(&leaf.key))?;
        assert_eq!((*again.key).clone(), (*leaf.key).clone());
        assert!(!std::fs::read_to_string(held.path().join(AUTHORITY))?.contains("PRIVATE"));
        Ok(())
    }
}
