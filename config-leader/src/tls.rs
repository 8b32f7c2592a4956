//! The leader's own TLS: a certificate by the internal authority, made anew in good time and shown without a restart.
//!
//! Its key is in the memory of this process only: every life of the leader has another one, and followers trust the authority.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use pconf_daemon::{Chain, Shutdown};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::authority::{Authority, Leaf};
use crate::folder::Folder;

/// How long a certificate is good for …
const LIFETIME: time::Duration = time::Duration::days(90);
/// … and after which time there is another one.
const RENEWAL: time::Duration = time::Duration::days(60);
/// How often its names are compared with those that are wanted.
const LOOK: Duration = Duration::from_secs(5);

/// Sees to it that there is a good certificate for the names that are configured.
pub(crate) struct Keeper {
    folder: Folder,
    authority: Authority,
    names: watch::Sender<Vec<String>>,
    shown: watch::Sender<Arc<ServerConfig>>,
    issued: OffsetDateTime,
}

impl Keeper {
    /// A keeper with a first certificate; `None` where the leader does not do TLS itself.
    pub(crate) fn open(folder: &Folder) -> anyhow::Result<Option<Self>> {
        let Some(tls) = &folder.config().tls else { return Ok(None) };
        let authority = Authority::of(folder)?;
        let issued = OffsetDateTime::now_utc();
        let shown = watch::Sender::new(Arc::new(issue(&authority, &tls.names)?));
        let names = watch::Sender::new(tls.names.clone());
        Ok(Some(Self { folder: folder.clone(), authority, names, shown, issued }))
    }

    /// The certificate of the authority (PEM), for followers to trust.
    pub(crate) fn authority(&self) -> &str {
        self.authority.certificate()
    }

    /// What is shown to whoever connects.
    pub(crate) fn shown(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.shown.subscribe()
    }

    /// The names that it is shown for.
    pub(crate) fn names(&self) -> watch::Receiver<Vec<String>> {
        self.names.subscribe()
    }

    /// Issues another certificate where the names are others by now, or two thirds of its life are over at `now`.
    fn look(&mut self, now: OffsetDateTime) -> anyhow::Result<()> {
        let folder = Folder::open(self.folder.path(), None)?;
        // Where TLS was taken out of the configuration it ends with the next start.
        let names = folder.config().tls.as_ref().map_or_else(|| self.names.borrow().clone(), |tls| tls.names.clone());
        if names == *self.names.borrow() && now - self.issued < RENEWAL {
            return Ok(());
        }
        self.shown.send_replace(Arc::new(issue(&self.authority, &names)?));
        info!(?names, "another certificate is shown");
        self.names.send_replace(names);
        self.issued = now;
        Ok(())
    }

    /// Looks now and then, until `shutdown`.
    pub(crate) async fn keep(mut self, mut shutdown: Shutdown) -> anyhow::Result<()> {
        let mut told = None;
        loop {
            // Cancel-safe: nothing is lost with a pause.
            tokio::select! {
                () = shutdown.requested() => return Ok(()),
                () = tokio::time::sleep(LOOK) => {}
            }
            let looked;
            (self, looked) = tokio::task::spawn_blocking(move || {
                let looked = self.look(OffsetDateTime::now_utc());
                (self, looked)
            })
            .await
            .context("the keeper of certificates broke down")?;
            let fault = looked.err().map(|error| Chain(error.as_ref()).to_string());
            if let Some(error) = fault.as_ref().filter(|_| fault != told) {
                warn!(error, "the certificate stays as it was");
            }
            told = fault;
        }
    }
}

fn issue(authority: &Authority, names: &[String]) -> anyhow::Result<ServerConfig> {
    let Leaf { chain, key } = authority.issue(names, LIFETIME, None)?;
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("the new key is no key")?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .context("there is no version of TLS")?
        .with_no_client_auth()
        .with_single_cert(chain.context("the new certificate is none")?, key)
        .context("the new certificate cannot be used")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_certificate_is_replaced_after_two_thirds_of_its_life_and_when_its_names_change() -> anyhow::Result<()> {
        let held = tempfile::tempdir()?;
        std::fs::set_permissions(held.path(), std::fs::Permissions::from_mode(0o700))?;
        let configure = |names: &str| {
            let text = format!(r#"{{"tls": {{"listen": "127.0.0.1:7443", "names": {names}}}}}"#);
            std::fs::write(held.path().join("config-leader.json"), text)
        };
        configure(r#"["lead.example"]"#)?;
        let mut keeper = Keeper::open(&Folder::open(held.path(), None)?)?.context("TLS is configured")?;
        let (mut shown, issued) = (keeper.shown(), keeper.issued);
        let mut look_at = |keeper: &mut Keeper, days| {
            keeper.look(issued + time::Duration::days(days))?;
            let is_new = shown.has_changed()?;
            shown.mark_unchanged();
            anyhow::Ok(is_new)
        };
        assert_eq!(
            (look_at(&mut keeper, 59)?, look_at(&mut keeper, 60)?, look_at(&mut keeper, 61)?),
            (false, true, false)
        );
        configure(r#"["lead.example", "10.8.0.10"]"#)?;
        assert_eq!((look_at(&mut keeper, 61)?, look_at(&mut keeper, 61)?), (true, false));
        assert_eq!(*keeper.names().borrow(), ["lead.example", "10.8.0.10"]);
        Ok(())
    }
}
