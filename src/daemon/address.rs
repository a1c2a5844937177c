//! How a running daemon is reached, told to the commands of its own machine by a file in its data folder.
//!
//! The configuration says how the next start will listen, not how this one does: a file that turns TLS on,
//! names another certificate or another port, or has a mistake in it, must not cut `relais reload`, `top`
//! and `doctor` off from the daemon that they are about. Who may read the folder may read the admin key in it.
//! The file ends with its daemon; one that was killed leaves it behind, until the next start.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::config::HttpTls;
use crate::daemon::write_secret;

/// How a daemon is reached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Address {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// SHA-256 of the certificate that it shows; `None`: it speaks in the clear.
    pub(crate) certificate: Option<[u8; 32]>,
}

impl Address {
    pub(crate) fn new(listen: SocketAddr, tls: Option<&HttpTls>) -> Self {
        let shown = tls.and_then(|tls| tls.identity.cert.first());
        Self {
            listen,
            certificate: shown.map(|it| Sha256::digest(it).into()),
        }
    }

    /// That of the daemon in this data folder, if one has told it and this user may read it.
    pub(crate) fn read(data_dir: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path(data_dir)).ok()?;
        let mut words = text.split_whitespace();
        let listen = words.next()?.parse().ok()?;
        let certificate = match words.next() {
            Some(hex) => Some(digest(hex)?),
            None => None,
        };
        Some(Self {
            listen,
            certificate,
        })
    }

    /// Tells it. Nothing else depends on it, so that a failure is a line in the log.
    pub(super) fn tell(&self, data_dir: &Path) {
        if let Err(error) = self.write(data_dir) {
            let file = path(data_dir);
            tracing::warn!(file = %file.display(), %error, "commands on this machine may not find this daemon");
        }
    }

    fn write(&self, data_dir: &Path) -> io::Result<()> {
        let mut text = self.listen.to_string();
        if let Some(certificate) = self.certificate {
            text.push(' ');
            text.extend(certificate.iter().map(|octet| format!("{octet:02x}")));
        }
        write_secret(&path(data_dir), &text)
    }

    /// The daemon ends.
    pub(super) fn forget(data_dir: &Path) {
        // One that stays is believed until somebody asks there.
        let _ = std::fs::remove_file(path(data_dir));
    }
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("address")
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut octets = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (at, octet) in octets.iter_mut().enumerate() {
        *octet = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_told_is_read_and_what_is_torn_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Address::read(folder.path()), None);
        for certificate in [None, Some([0xa7; 32])] {
            let told = Address {
                listen: "[::1]:8775".parse().unwrap(),
                certificate,
            };
            told.tell(folder.path());
            assert_eq!(Address::read(folder.path()), Some(told));
        }
        let whole = std::fs::read_to_string(path(folder.path())).unwrap();
        std::fs::write(path(folder.path()), &whole.trim()[..40]).unwrap();
        assert_eq!(Address::read(folder.path()), None);
        Address::forget(folder.path());
        assert_eq!(Address::read(folder.path()), None);
    }
}
