//! `tls`, `tls_ca_file`, … of `[smpp.NAME]`.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::super::raw::{Line, Placed, Reader, Section, too_open};

/// TLS towards a carrier. Its certificate is always verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with the authorities that are trusted; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Name that the certificate must bear; `None`: the host.
    pub server_name: Option<String>,
    /// PEM files of our own certificate and its key, where the carrier asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Reads the keys; the files are looked into as well, so that `check` finds what a start would.
/// `None`: TLS is off.
pub(super) fn read<'a>(reader: &mut Reader<'a>, s: &mut Section<'a>) -> Option<Tls> {
    let on = reader.take(s, "tls", |v| v.boolean());
    let ca_file = file(reader, s, "tls_ca_file", has_certificate);
    let server_name = reader.take(s, "tls_server_name", |v| {
        let name = v.text()?;
        match ServerName::try_from(name.as_str()) {
            Ok(_) => Ok(name),
            Err(_) => Err(format!("{name:?} is neither a host name nor an address")),
        }
    });
    let cert_file = file(reader, s, "tls_cert_file", has_certificate);
    let key_file = file(reader, s, "tls_key_file", has_key);
    if let Some(key) = &key_file
        && let Some(problem) = too_open(&key.value)
    {
        reader.warn(key.line, &key.path, problem);
    }
    if !on.is_some_and(|on| on.value) {
        let places = [&ca_file, &cert_file, &key_file].map(|f| f.as_ref().map(place));
        let name = server_name.as_ref().map(place);
        if let Some((path, line)) = places.into_iter().chain([name]).flatten().next() {
            reader.error(line, &path, "without tls = true this means nothing");
        }
        return None;
    }
    let identity = match (cert_file, key_file) {
        (Some(cert), Some(key)) => Some((cert.value, key.value)),
        (Some(lone), None) | (None, Some(lone)) => {
            let problem = "tls_cert_file and tls_key_file go together; give both or none";
            reader.error(lone.line, &lone.path, problem);
            None
        }
        (None, None) => None,
    };
    Some(Tls {
        ca_file: ca_file.map(|file| file.value),
        server_name: server_name.map(|name| name.value),
        identity,
    })
}

fn place<T>(placed: &Placed<T>) -> (String, Line) {
    (placed.path.clone(), placed.line)
}

/// A file named by a key, if what it holds is what the key needs.
fn file<'a>(
    reader: &mut Reader<'a>,
    section: &mut Section<'a>,
    key: &'static str,
    look: fn(&Path) -> Result<(), String>,
) -> Option<Placed<PathBuf>> {
    let named = reader.take(section, key, |v| v.text())?;
    let path = reader.beside(&named.value);
    match look(&path) {
        Ok(()) => Some(named.map(|_| path)),
        Err(problem) => {
            reader.error(named.line, &named.path, problem);
            None
        }
    }
}

fn has_certificate(path: &Path) -> Result<(), String> {
    CertificateDer::from_pem_file(path)
        .map(drop)
        .map_err(|error| unusable(path, &error, "certificate"))
}

fn has_key(path: &Path) -> Result<(), String> {
    PrivateKeyDer::from_pem_file(path)
        .map(drop)
        .map_err(|error| unusable(path, &error, "private key"))
}

/// Says what is wrong with a file and never what it holds.
fn unusable(path: &Path, error: &pem::Error, what: &str) -> String {
    match error {
        pem::Error::Io(error) => format!("{} cannot be read: {error}", path.display()),
        _ => format!("{} holds no {what} in PEM", path.display()),
    }
}
