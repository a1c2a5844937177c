//! `[http]`: where the interface listens, by what certificate, and how much of it one caller may take.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, InconsistentKeys, RootCertStore};

use super::DEFAULT_LISTEN;
use super::raw::{Placed, Reader, Section, too_open};
use crate::clock::Clock;

/// `[http]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Address and port; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Address and port of `/metrics` alone; `None`: beside the interface.
    pub metrics_listen: Option<SocketAddr>,
    /// Certificate and key; `None`: HTTP in the clear.
    pub tls: Option<HttpTls>,
    /// Connections at once; further ones wait to be accepted.
    pub max_connections: usize,
    /// Connections at once from one address that is not this machine's; further ones are closed. 0: as
    /// many as there are.
    pub max_connections_per_address: usize,
    /// How long the head of a request may take; also how long an idle connection is kept.
    pub head_timeout: Duration,
    /// How long the body of a request may take.
    pub body_timeout: Duration,
    /// How long a caller may leave an answer, or the next piece of one, unread.
    pub answer_timeout: Duration,
}

/// A certificate and its key, as they were when the configuration was read.
#[derive(Clone, Debug)]
pub struct HttpTls {
    /// PEM file of the certificate, with its chain.
    pub cert_file: PathBuf,
    /// PEM file of the key.
    pub key_file: PathBuf,
    /// What the files held.
    pub identity: Arc<CertifiedKey>,
}

impl PartialEq for HttpTls {
    /// True if a client would see no difference.
    fn eq(&self, other: &Self) -> bool {
        (&self.cert_file, &self.key_file) == (&other.cert_file, &other.key_file)
            && self.identity.cert == other.identity.cert
    }
}

impl Eq for HttpTls {}

pub(super) fn read<'a>(reader: &mut Reader<'a>, root: &mut Section<'a>) -> Http {
    let mut s = reader.table(root, "http");
    let listen = address(reader, &mut s, "listen");
    let metrics_listen = address(reader, &mut s, "metrics_listen");
    let tls = tls(reader, &mut s);
    let connections = reader.take(&mut s, "max_connections", |v| v.integer(1..=1_000_000_u32));
    let of_one = reader.take(&mut s, "max_connections_per_address", |v| {
        v.integer(0..=1_000_000_u32)
    });
    let patience = Duration::from_secs(1)..=Duration::from_mins(10);
    let mut time = |key| reader.take(&mut s, key, |v| v.duration(patience.clone()));
    let [head, body, answer] =
        ["head_timeout", "body_timeout", "answer_timeout"].map(|key| time(key).map(|t| t.value));
    reader.close(s);
    if let Some(listen) = listen.as_ref().filter(|at| !at.value.ip().is_loopback())
        && tls.is_none()
    {
        reader.warn(
            listen.line,
            &listen.path,
            "keys and texts cross the network in the clear; set tls_cert_file and tls_key_file, or put a \
             TLS proxy in front of it",
        );
    }
    if let (Some(metrics), listen) = (&metrics_listen, listen.as_ref().map(|at| at.value))
        && metrics.value.port() != 0
        && metrics.value == listen.unwrap_or(DEFAULT_LISTEN)
    {
        let problem =
            "the interface listens there; give the metrics an address or a port of their own";
        reader.error(metrics.line, &metrics.path, problem);
    }
    let count = |n: Option<Placed<u32>>, usual: usize| {
        n.map_or(usual, |n| usize::try_from(n.value).unwrap_or(usize::MAX))
    };
    Http {
        listen: listen.map_or(DEFAULT_LISTEN, |at| at.value),
        metrics_listen: metrics_listen.map(|at| at.value),
        tls,
        max_connections: count(connections, 1024),
        max_connections_per_address: count(of_one, 128),
        head_timeout: head.unwrap_or(Duration::from_secs(30)),
        body_timeout: body.unwrap_or(Duration::from_mins(1)),
        answer_timeout: answer.unwrap_or(Duration::from_mins(1)),
    }
}

fn address<'a>(
    reader: &mut Reader<'a>,
    section: &mut Section<'a>,
    key: &'static str,
) -> Option<Placed<SocketAddr>> {
    reader.take(section, key, |v| {
        let text = v.text()?;
        text.parse()
            .map_err(|_| format!("{text:?} is no address and port, like \"127.0.0.1:8775\""))
    })
}

/// Reads both files, so that `check` finds what a start, or a reload, would.
fn tls<'a>(reader: &mut Reader<'a>, s: &mut Section<'a>) -> Option<HttpTls> {
    let cert = reader.take(s, "tls_cert_file", |v| v.text());
    let key = reader.take(s, "tls_key_file", |v| v.text());
    let (cert, key) = match (cert, key) {
        (None, None) => return None,
        (Some(cert), Some(key)) => (cert, key),
        (Some(lone), None) | (None, Some(lone)) => {
            let problem = "tls_cert_file and tls_key_file go together; give both or none";
            reader.error(lone.line, &lone.path, problem);
            return None;
        }
    };
    let (cert_file, key_file) = (reader.beside(&cert.value), reader.beside(&key.value));
    if let Some(problem) = too_open(&key_file) {
        reader.warn(key.line, &key.path, problem);
    }
    let chain = chain(&cert_file).map_err(|problem| reader.error(cert.line, &cert.path, problem));
    let private = private(&key_file).map_err(|problem| reader.error(key.line, &key.path, problem));
    let (chain, private) = (chain.ok()?, private.ok()?);
    let dates = dates(&chain[0]);
    let provider = rustls::crypto::ring::default_provider();
    let identity = CertifiedKey::from_der(chain, private, &provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            let names = (key_file.display(), cert_file.display());
            reader.error(
                key.line,
                &key.path,
                format!("{} is not the key of {}", names.0, names.1),
            );
        }
        rustls::Error::InvalidCertificate(_) => {
            let problem = format!(
                "{} holds a certificate that cannot be read",
                cert_file.display()
            );
            reader.error(cert.line, &cert.path, problem);
        }
        _ => {
            let problem = format!(
                "{} holds a key of a kind that TLS cannot use",
                key_file.display()
            );
            reader.error(key.line, &key.path, problem);
        }
    });
    let identity = Arc::new(identity.ok()?);
    if let Some(problem) = dates {
        let problem = format!("{} {problem}; clients will refuse it", cert_file.display());
        reader.warn(cert.line, &cert.path, problem);
    }
    Some(HttpTls {
        cert_file,
        key_file,
        identity,
    })
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let octets = octets(file)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&octets).collect();
    read.ok()
        .filter(|chain| !chain.is_empty())
        .ok_or_else(|| format!("{} holds no certificate in PEM", file.display()))
}

/// Says what is wrong with a file and never what it holds.
fn private(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&octets(file)?)
        .map_err(|_| format!("{} holds no private key in PEM", file.display()))
}

fn octets(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))
}

/// What is wrong with the dates of a certificate, as clients judge them: they are looked at before
/// anything else of it.
fn dates(certificate: &CertificateDer<'static>) -> Option<&'static str> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).ok()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
    let millis = u64::try_from(Clock::system().now().millis()).ok()?;
    let now = UnixTime::since_unix_epoch(Duration::from_millis(millis));
    let any = ServerName::try_from("any.invalid").ok()?;
    let judged = verifier
        .build()
        .ok()?
        .verify_server_cert(certificate, &[], &any, &[], now);
    match judged.err()? {
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => Some("has expired"),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => Some("is not valid yet"),
        _ => None,
    }
}
