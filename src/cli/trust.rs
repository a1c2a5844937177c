//! Whom the clients of the HTTP interface believe to be the daemon.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};

use super::Failure;
use crate::channel::smpp::tls::{TlsSettings, client_config};
use crate::clock::Clock;
use crate::config::Http;

/// Whose certificate is good.
#[derive(Debug)]
pub(super) enum Trust {
    /// One of the system's authorities', for the name in the URL.
    System,
    /// One of the authorities' in this PEM file, or one that is in it, for the name in the URL.
    File(PathBuf),
    /// This one alone, whatever its name and dates: it is the one that the configuration of this machine's
    /// own daemon names, and the daemon is reached by an address that no certificate bears.
    Own(CertificateDer<'static>),
    /// Any: for the daemon of this machine, over its loopback alone, while it shows another certificate
    /// than its file names.
    Any,
}

impl Trust {
    /// That of a daemon with this configuration, on its own machine.
    pub(super) fn in_own(http: &Http) -> Self {
        let own = http.tls.as_ref().and_then(|tls| tls.identity.cert.first());
        own.map_or(Self::System, |own| Self::Own(own.clone()))
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
            Self::Own(_) | Self::Any => {
                let provider = Arc::new(crypto::ring::default_provider());
                let only = Only {
                    certificate: match self {
                        Self::Own(certificate) => Some(certificate.clone()),
                        _ => None,
                    },
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

/// Takes one certificate, or, where none is named, any. That its holder has the key is still proved by the handshake.
#[derive(Debug)]
struct Only {
    certificate: Option<CertificateDer<'static>>,
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
        let certificate = self.certificate.as_ref();
        if certificate.is_none_or(|only| end_entity == only) {
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
