//! Certificates: self-signed ones, which nginx starts with until the admin brings one that browsers trust, and whether one
//! that was brought is one.

use anyhow::Context as _;
use pconf_render::SecretValue;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use time::{Duration, OffsetDateTime};

/// CA/Browser Forum baseline requirements: no more than 398 days.
const LIFETIME: Duration = Duration::days(397);

/// A certificate for `names`, valid from yesterday (clocks differ) on, and the P-256 key that signed it: `key` where there
/// is one already.
pub(crate) fn self_signed(names: &[String], key: Option<&str>) -> anyhow::Result<SecretValue> {
    let mut params = CertificateParams::new(names).context("cannot make a certificate for these names")?;
    let yesterday = OffsetDateTime::now_utc() - Duration::DAY;
    params.not_before = yesterday;
    params.not_after = yesterday + LIFETIME;
    params.distinguished_name.push(DnType::CommonName, names.first().map_or("config-leader", String::as_str));
    let key = match key {
        Some(key) => KeyPair::from_pem(key).context("the key of the missing certificate cannot be used: remove it")?,
        None => KeyPair::generate().context("cannot make a key")?,
    };
    let certificate = params.self_signed(&key).context("cannot sign the certificate")?;
    Ok(SecretValue::Certificate { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Why no server could use this pair (PEM), or `None`.
pub(crate) fn fault(certificate: &str, key: &str) -> Option<String> {
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
    let Some(chain) = chain.ok().filter(|chain| !chain.is_empty()) else {
        return Some("it holds no certificate in PEM form".to_owned());
    };
    let Ok(key) = PrivateKeyDer::from_pem_slice(key.as_bytes()) else {
        return Some("the key beside it is no private key in PEM form".to_owned());
    };
    match CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()) {
        Ok(_) => None,
        Err(rustls::Error::InconsistentKeys(_)) => {
            Some("the certificate and the key beside it do not belong together".to_owned())
        }
        Err(error) => Some(format!("the certificate or the key beside it cannot be used: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: Option<&str>) -> anyhow::Result<(String, String)> {
        match &self_signed(&["lab.example".to_owned(), "*.lab.example".to_owned()], key)? {
            SecretValue::Certificate { certificate, key } => Ok((certificate.clone(), key.clone())),
            SecretValue::Text(_) => anyhow::bail!("a text is no certificate"),
        }
    }

    #[test]
    fn a_pair_is_judged_before_any_server_gets_it() -> anyhow::Result<()> {
        let ((certificate, key), (other, _)) = (pair(None)?, pair(None)?);
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let judged = [(&*certificate, &*key), (&other, &key), (nonsense, &key), ("", &key), (&certificate, "")].map(
            |(certificate, key)| {
                fault(certificate, key).map(|fault| fault.split(':').next().unwrap_or_default().to_owned())
            },
        );
        assert_eq!(
            judged.each_ref().map(Option::as_deref),
            [
                None,
                Some("the certificate and the key beside it do not belong together"),
                Some("the certificate or the key beside it cannot be used"),
                Some("it holds no certificate in PEM form"),
                Some("the key beside it is no private key in PEM form"),
            ]
        );
        Ok(())
    }

    #[test]
    fn a_key_that_lost_its_certificate_gets_another_one() -> anyhow::Result<()> {
        let (_, key) = pair(None)?;
        let (certificate, same) = pair(Some(&key))?;
        assert_eq!(fault(&certificate, &key), None);
        assert_eq!(same, key);
        Ok(())
    }
}
