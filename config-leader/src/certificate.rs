//! Self-signed certificates: what nginx starts with until the admin brings one that browsers trust.

use anyhow::Context as _;
use pconf_render::SecretValue;
use rcgen::{CertificateParams, DnType, KeyPair};
use time::{Duration, OffsetDateTime};

/// CA/Browser Forum baseline requirements: no more than 398 days.
const LIFETIME: Duration = Duration::days(397);

/// A P-256 key and a certificate for `names` that it signed itself, valid from yesterday (clocks differ) on.
pub(crate) fn self_signed(names: &[String]) -> anyhow::Result<SecretValue> {
    let mut params = CertificateParams::new(names).context("cannot make a certificate for these names")?;
    let yesterday = OffsetDateTime::now_utc() - Duration::DAY;
    params.not_before = yesterday;
    params.not_after = yesterday + LIFETIME;
    params.distinguished_name.push(DnType::CommonName, names.first().map_or("config-leader", String::as_str));
    let key = KeyPair::generate().context("cannot make a key")?;
    let certificate = params.self_signed(&key).context("cannot sign the certificate")?;
    Ok(SecretValue::Certificate { certificate: certificate.pem(), key: key.serialize_pem() })
}
