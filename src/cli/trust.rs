//! Whom the clients of the HTTP interface believe to be the daemon.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use sha2::{Digest as _, Sha256};

use super::Failure;
use crate::channel::smpp::tls::{TlsSettings, client_config};
use crate::clock::Clock;
use crate::daemon::Address;

/// Whose certificate is good.
#[derive(Debug)]
pub(super) enum Trust {
    /// One of the system's authorities', for the name in the URL.
    System,
    /// One of the authorities' in this PEM file, or one that is in it, for the name in the URL.
    File(PathBuf),
    /// The one with this SHA-256 alone, whatever its name and dates: it is that of this machine's own daemon,
    /// which is reached by an address that no certificate bears.
    Own([u8; 32]),
}

impl Trust {
    /// In this machine's own daemon, there.
    pub(super) fn in_own(address: &Address) -> Self {
        address.certificate.map_or(Self::System, Self::Own)
    }

    /// The builder of a client that trusts so.
    pub(super) fn client(&self) -> Result<reqwest::ClientBuilder, Failure> {
        crate::engine::outbox::install_crypto();
        let builder = reqwest::Client::builder();
        let config = match self {
            Self::System => return Ok(builder),
            Self::File(file) => {
                let settings = TlsSettings {
                    ca_file: Some(file.clone()),
                    ..TlsSettings::default()
                };
                client_config(&settings, Clock::system())
                    .map_err(|error| Failure::Usage(format!("--ca-file: {error}")))?
            }
            Self::Own(certificate) => {
                let provider = Arc::new(crypto::ring::default_provider());
                let only = Only {
                    certificate: *certificate,
                    algorithms: provider.signature_verification_algorithms,
                };
                own(provider, only).map_err(|error| Failure::Failed(error.to_string()))?
            }
        };
        Ok(builder.tls_backend_preconfigured(config))
    }
}

fn own(provider: Arc<CryptoProvider>, only: Only) -> Result<ClientConfig, rustls::Error> {
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(only))
        .with_no_client_auth())
}

/// Takes one certificate. That its holder has the key is still proved by the handshake.
#[derive(Debug)]
struct Only {
    certificate: [u8; 32],
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if Sha256::digest(end_entity)[..] == self.certificate {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls12_signature(message, cert, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls13_signature(message, cert, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
