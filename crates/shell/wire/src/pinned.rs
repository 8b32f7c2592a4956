//! Trust for a machine that knows nothing but a line of text: the certificate authority whose public key has that hash.
//!
//! The other side shows the authority's certificate with its own. That one, and no other that the machine may trust,
//! becomes the only root; whether it has signed the other's certificate for that name and time is webpki's to judge.

use std::sync::Arc;

use pconf_bundle::Pin;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

#[derive(Debug)]
struct PinnedAuthority {
    pin: Pin,
    provider: Arc<CryptoProvider>,
}

/// The chain does not hold the pinned authority.
#[derive(Debug, thiserror::Error)]
#[error(
    "the other side does not show the certificate authority `{0}` that the join string names: something else answers \
     there, or the leader has another authority now and the machine has to be added again"
)]
struct NotPinned(Pin);

/// A configuration that trusts the authority with that pin and nobody else.
pub(crate) fn config(pin: Pin) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = PinnedAuthority { pin, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    Ok(config.with_no_client_auth())
}

impl PinnedAuthority {
    /// The pinned authority as the only root, if it is among `certificates`.
    fn root(&self, certificates: &[CertificateDer<'_>]) -> Option<RootCertStore> {
        certificates.iter().find_map(|certificate| {
            let mut root = RootCertStore::empty();
            root.add(certificate.clone()).ok()?;
            let public_key = sequence(&root.roots.first()?.subject_public_key_info);
            (Pin::of(&public_key) == self.pin).then_some(root)
        })
    }
}

/// DER of a SEQUENCE (X.690 section 8.9): a trust anchor holds what is in it, the pin is of the whole.
fn sequence(content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let head = match (content.len(), u8::try_from(length.len())) {
        (short @ ..0x80, Ok(_)) => vec![0x30, short.to_le_bytes()[0]],
        (_, Ok(bytes)) => [&[0x30, 0x80 | bytes], length].concat(),
        (_, Err(_)) => unreachable!("a length has eight bytes at most"),
    };
    [head.as_slice(), content].concat()
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let not_pinned = || Error::Other(OtherError(Arc::new(NotPinned(self.pin))));
        let root = self.root(intermediates).ok_or_else(not_pinned)?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(root), Arc::clone(&self.provider))
            .build()
            .map_err(|error| Error::Other(OtherError(Arc::new(error))))?;
        verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
