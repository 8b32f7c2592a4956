//! Certificates: whether a pair is one that a server can use, and what is doubtful about one that was brought.

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// How long one of our own is valid: no more than the 398 days of the CA/Browser Forum's baseline requirements.
pub(crate) const LIFETIME: Duration = Duration::days(397);
/// A brought certificate that ends within this time is warned of.
const SOON: Duration = Duration::days(21);

/// Why no server could use this pair (PEM), or `None`.
pub(crate) fn fault(certificate: &str, key: &str) -> Option<String> {
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
    let Some(chain) = chain.ok().filter(|chain| !chain.is_empty()) else {
        return Some("it holds no certificate in PEM form".to_owned());
    };
    let Ok(key) = PrivateKeyDer::from_pem_slice(key.as_bytes()) else {
        return Some("there is no private key in PEM form with it".to_owned());
    };
    match CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()) {
        Ok(_) => None,
        Err(rustls::Error::InconsistentKeys(_)) => {
            Some("the certificate and the key do not belong together".to_owned())
        }
        Err(error) => Some(format!("the certificate or its key cannot be used: {error}")),
    }
}

/// What is wrong with a chain (PEM) that can be served: names that it is not for, and dates.
pub(crate) fn doubts(chain: &str, names: &[String]) -> Vec<String> {
    let leaf = CertificateDer::pem_slice_iter(chain.as_bytes()).next().and_then(Result::ok);
    let parsed = leaf.as_ref().and_then(|leaf| X509Certificate::from_der(leaf).ok());
    let Some((_, leaf)) = parsed else { return vec!["the certificate cannot be read".to_owned()] };
    judge(&leaf, names, OffsetDateTime::now_utc())
}

fn judge(leaf: &X509Certificate<'_>, names: &[String], now: OffsetDateTime) -> Vec<String> {
    let mut doubts = Vec::new();
    let (since, until) = (leaf.validity().not_before.to_datetime(), leaf.validity().not_after.to_datetime());
    if now < since {
        doubts.push(format!("the certificate is not valid before {}", since.date()));
    } else if now > until {
        doubts.push(format!("the certificate ended on {}", until.date()));
    } else if now + SOON > until {
        doubts.push(format!("the certificate ends on {}", until.date()));
    }
    let alternatives = leaf.subject_alternative_name().ok().flatten();
    let mut of_leaf: Vec<&str> = Vec::new();
    for name in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
        if let GeneralName::DNSName(name) = name {
            of_leaf.push(name);
        }
    }
    let missing = names.iter().filter(|name| !of_leaf.iter().any(|of_leaf| covers(of_leaf, name)));
    doubts.extend(missing.map(|name| format!("the certificate is not for `{name}`")));
    doubts
}

/// Whether a certificate for `of_leaf` does for `name`; a wildcard stands for exactly one label.
fn covers(of_leaf: &str, name: &str) -> bool {
    let parent = |name: &str| name.split_once('.').map(|(_, parent)| parent.to_ascii_lowercase());
    of_leaf.eq_ignore_ascii_case(name)
        || of_leaf.strip_prefix("*.").is_some_and(|rest| parent(name) == Some(rest.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    fn pair() -> anyhow::Result<(String, String)> {
        let mut params = CertificateParams::new(["lab.example".to_owned(), "*.lab.example".to_owned()])?;
        params.not_before = OffsetDateTime::UNIX_EPOCH + Duration::days(100);
        params.not_after = OffsetDateTime::UNIX_EPOCH + Duration::days(200);
        let key = KeyPair::generate()?;
        Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
    }

    #[test]
    fn a_pair_is_judged_before_any_server_gets_it() -> anyhow::Result<()> {
        let ((certificate, key), (other, _)) = (pair()?, pair()?);
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
                Some("the certificate and the key do not belong together"),
                Some("the certificate or its key cannot be used"),
                Some("it holds no certificate in PEM form"),
                Some("there is no private key in PEM form with it"),
            ]
        );
        Ok(())
    }

    #[test]
    fn names_and_dates_that_do_not_fit_are_told() -> anyhow::Result<()> {
        let (certificate, _) = pair()?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())?;
        let (_, leaf) = X509Certificate::from_der(&der)?;
        let on = |day: i64, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            judge(&leaf, &names, OffsetDateTime::UNIX_EPOCH + Duration::days(day))
        };
        assert!(on(150, &["lab.example", "*.lab.example", "Reg.lab.example"]).is_empty());
        assert_eq!(
            on(150, &["a.b.lab.example", "other.example"]),
            ["the certificate is not for `a.b.lab.example`", "the certificate is not for `other.example`"]
        );
        assert_eq!(on(99, &[]), ["the certificate is not valid before 1970-04-11"]);
        assert_eq!(on(190, &[]), ["the certificate ends on 1970-07-20"]);
        assert_eq!(on(201, &[]), ["the certificate ended on 1970-07-20"]);
        assert!(!doubts(&certificate, &[]).is_empty());
        assert_eq!(doubts("", &[]), ["the certificate cannot be read"]);
        Ok(())
    }
}
