//! TLS below a session: some carriers offer SMPP on a TLS port.
//!
//! The carrier's certificate is always verified, its name included; there is no switch that turns
//! this off, because a private authority or another name can be configured instead. What is wrong
//! is said in words that end up in the channel's status. A carrier may sign its certificate itself:
//! named as `tls_ca_file` it is trusted as what it is, name and dates still checked.
//!
//! Files and the system's roots are read at every connection: certificates of short life are
//! replaced on disk, and a reconnect then uses the new ones without a restart.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, InconsistentKeys, RootCertStore,
    SignatureScheme,
};

use super::bind::{Connector, Stream, TcpConnector};
use crate::clock::Clock;
use crate::domain::time::Timestamp;

/// Longest wait for the handshake once TCP is connected. Shorter than the wait for a connection as
/// a whole, so that the cause that is told is this one.
const HANDSHAKE: Duration = Duration::from_secs(6);

/// What rustls's verifier says of a server that shows an authority's certificate as its own.
const AUTHORITY_AS_SERVER: &str = "CaUsedAsEndEntity";

/// Whom to trust and who we are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// PEM file with the authorities that are trusted; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Name that the certificate must bear; `None`: the host.
    pub server_name: Option<String>,
    /// PEM files of our own certificate (with its chain) and its key, if the carrier asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// TLS over TCP.
#[derive(Clone, Debug)]
pub struct TlsConnector {
    /// Where to.
    pub tcp: TcpConnector,
    /// How.
    pub settings: TlsSettings,
    /// The time by which certificates are judged.
    pub clock: Clock,
}

#[async_trait]
impl Connector for TlsConnector {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let name = self.settings.server_name.as_ref();
        let name = name.unwrap_or(&self.tcp.host);
        let server_name = ServerName::try_from(name.clone())
            .map_err(|_| wrong(format!("{name:?} is no name that a certificate can bear")))?;
        let (settings, clock) = (self.settings.clone(), self.clock.clone());
        let config = tokio::task::spawn_blocking(move || client_config(&settings, clock))
            .await
            .map_err(io::Error::other)??;
        let stream = self.tcp.open().await?;
        let handshake =
            tokio_rustls::TlsConnector::from(Arc::new(config)).connect(server_name, stream);
        match tokio::time::timeout(HANDSHAKE, handshake).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(explained(error, name)),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("TLS handshake unanswered for {} ms", HANDSHAKE.as_millis()),
            )),
        }
    }
}

/// Time as rustls asks for it.
#[derive(Debug)]
struct Now(Clock);

impl TimeProvider for Now {
    fn current_time(&self) -> Option<UnixTime> {
        let millis = u64::try_from(self.0.now().0).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(millis)))
    }
}

/// A client that trusts and shows what `settings` say; their `server_name` is the caller's to use. Reads
/// files.
///
/// # Errors
/// What is wrong with which file.
pub(crate) fn client_config(settings: &TlsSettings, clock: Clock) -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(settings.ca_file.as_deref(), &provider)?;
    let builder = ClientConfig::builder_with_details(provider.clone(), Arc::new(Now(clock)))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        // "Dangerous" would be a verifier of another mind; this one asks rustls's own first.
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let Some((cert_file, key_file)) = &settings.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let key = provider
        .key_provider
        .load_private_key(private_key(key_file)?)
        .map_err(|error| wrong(format!("{}: {error}", key_file.display())))?;
    let identity = CertifiedKey::new(certificates(cert_file)?, key);
    // Our certificate is the carrier's to judge: one of X.509 version 1, for example, is not
    // readable here and good enough there. Only a key that is certainly another's is refused.
    let mismatch = rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch);
    if identity.keys_match() == Err(mismatch) {
        return Err(wrong(format!(
            "{} is not the key of {}",
            key_file.display(),
            cert_file.display()
        )));
    }
    Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity))))
}

/// The usual verification, which also knows certificates that are trusted as they are.
#[derive(Debug)]
struct Verifier {
    usual: Arc<WebPkiServerVerifier>,
    /// Those of `tls_ca_file`.
    known: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let usual = &self.usual;
        match usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // One that a carrier has signed itself is mostly marked as an authority's, and refused
            // for that after its dates have been judged; being the very one that was named is more
            // than a signature could prove. What is left to check is its name.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(why)))
                if why.to_string() == AUTHORITY_AS_SERVER && self.known.contains(end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

fn verifier(ca_file: Option<&Path>, provider: &Arc<CryptoProvider>) -> io::Result<Arc<Verifier>> {
    let known = ca_file.map(certificates).transpose()?.unwrap_or_default();
    let roots = roots(ca_file, &known)?;
    let usual = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone())
        .build()
        .map_err(io::Error::other)?;
    Ok(Arc::new(Verifier { usual, known }))
}

fn roots(ca_file: Option<&Path>, known: &[CertificateDer<'static>]) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
            for certificate in known {
                roots
                    .add(certificate.clone())
                    .map_err(|error| wrong(format!("{}: {error}", file.display())))?;
            }
        }
        None => {
            // One broken file among the system's hundreds is no reason to trust none of them.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(wrong(
                    "the system has no trusted authorities; install ca-certificates or set tls_ca_file"
                        .to_owned(),
                ));
            }
        }
    }
    Ok(roots)
}

/// The certificates of a PEM file, at least one.
///
/// # Errors
/// What is wrong with the file.
pub fn certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(wrong(format!("{} holds no certificate", file.display())))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unreadable(file, &error)),
    }
}

/// The private key of a PEM file.
///
/// # Errors
/// What is wrong with the file; never what it holds.
pub fn private_key(file: &Path) -> io::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| match error {
        pem::Error::NoItemsFound => wrong(format!("{} holds no private key", file.display())),
        error => unreadable(file, &error),
    })
}

fn unreadable(file: &Path, error: &pem::Error) -> io::Error {
    match error {
        pem::Error::Io(error) => {
            io::Error::new(error.kind(), format!("{}: {error}", file.display()))
        }
        _ => wrong(format!("{} is not PEM", file.display())),
    }
}

fn wrong(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Why a handshake failed, so that an operator knows what to do.
fn explained(error: io::Error, name: &str) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        let what = "connection closed in the TLS handshake; is this a TLS port?";
        return io::Error::new(error.kind(), what);
    }
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let what = match inner {
        Some(rustls::Error::InvalidCertificate(why)) => {
            format!("certificate of {name} not trusted: {}", distrust(why))
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            "the answer is not TLS; is this a TLS port?".to_owned()
        }
        Some(other) => format!("TLS handshake: {other}"),
        None => return error,
    };
    io::Error::new(error.kind(), what)
}

fn distrust(why: &CertificateError) -> String {
    use CertificateError as E;
    match why {
        E::UnknownIssuer => {
            "issued by an unknown authority; a private one belongs into tls_ca_file".to_owned()
        }
        E::BadSignature => "its signature is not that of the authority it names".to_owned(),
        E::Other(other) if other.to_string() == AUTHORITY_AS_SERVER => {
            "it is an authority's own certificate; one that is signed by itself belongs into tls_ca_file"
                .to_owned()
        }
        E::Expired => "expired".to_owned(),
        E::ExpiredContext { not_after, .. } => format!("expired on {}", date(*not_after)),
        E::NotValidYet => "not valid yet".to_owned(),
        E::NotValidYetContext { not_before, .. } => {
            format!("not valid before {}", date(*not_before))
        }
        E::NotValidForName => "it is for another name; see tls_server_name".to_owned(),
        E::NotValidForNameContext { presented, .. } => {
            format!("it is for {}; see tls_server_name", names(presented))
        }
        other => other.to_string(),
    }
}

/// What a certificate is for, at most three names: the peer wrote them.
fn names(presented: &[String]) -> String {
    // Written as `DnsName("smsc.example")`.
    let bare = |name: &String| {
        let inner = name
            .split_once('(')
            .map_or(name.as_str(), |(_, inner)| inner);
        inner.trim_matches([')', '"']).to_owned()
    };
    let shown: Vec<_> = presented.iter().take(3).map(bare).collect();
    match (shown.len(), presented.len()) {
        (0, _) => "no name".to_owned(),
        (shown_count, all) if shown_count == all => shown.join(", "),
        _ => format!("{} and others", shown.join(", ")),
    }
}

fn date(time: UnixTime) -> String {
    let millis = i64::try_from(time.as_secs().saturating_mul(1000)).unwrap_or(i64::MAX);
    Timestamp(millis).to_utc().format("%Y-%m-%d").to_string()
}
