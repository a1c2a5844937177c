//! The memory of a PIN that a SIM may have refused.
//!
//! Three wrong PINs lock a SIM, and a process that restarts would try for ever. So it is written
//! down, before the PIN is entered, that it is being tried, and crossed out when the SIM has taken
//! it. Kept is a salted hash, so that another PIN is tried again.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::io::AsyncWriteExt;

use crate::clock::Random;
use crate::pdu::tpdu::hex_of_octets;

/// Where it is remembered that a PIN has been tried. Clones share it.
#[derive(Clone)]
pub struct PinMemory {
    place: Place,
    random: Random,
}

#[derive(Clone)]
enum Place {
    File(PathBuf),
    Here(Arc<Mutex<Option<String>>>),
}

impl PinMemory {
    /// In this file, made when needed and readable for its owner only; without one, for as long as
    /// the process runs.
    #[must_use]
    pub fn new(file: Option<&Path>, random: &Random) -> Self {
        let place = match file {
            Some(file) => Place::File(file.to_owned()),
            None => Place::Here(Arc::default()),
        };
        let random = random.clone();
        Self { place, random }
    }

    /// True if this PIN was tried and not taken.
    ///
    /// # Errors
    /// If the file is there and cannot be read: then nobody knows.
    pub async fn was_tried(&self, pin: &SecretString) -> io::Result<bool> {
        let record = match &self.place {
            Place::Here(record) => lock(record).clone(),
            Place::File(file) => match tokio::fs::read_to_string(file).await {
                Ok(record) => Some(record),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            },
        };
        let Some(record) = record else {
            return Ok(false);
        };
        let Some((salt, hash)) = record.trim().split_once(' ') else {
            // Damaged: it was some PIN, and it may be this one.
            return Ok(true);
        };
        Ok(hashed(salt, pin).as_bytes().ct_eq(hash.as_bytes()).into())
    }

    /// Remembers that this PIN is tried. When this returns, a crash does not forget it.
    ///
    /// # Errors
    /// If it cannot be written: then the PIN must not be entered.
    pub async fn remember(&self, pin: &SecretString) -> io::Result<()> {
        let salt = hex_of_octets(&self.random.bytes::<16>());
        let record = format!("{salt} {}\n", hashed(&salt, pin));
        match &self.place {
            Place::Here(known) => *lock(known) = Some(record),
            Place::File(file) => write(file, &record).await?,
        }
        Ok(())
    }

    /// Forgets it: the SIM has taken it, or has not looked at it.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub async fn forget(&self) -> io::Result<()> {
        match &self.place {
            Place::Here(known) => *lock(known) = None,
            Place::File(file) => match tokio::fs::remove_file(file).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            },
        }
        Ok(())
    }
}

impl fmt::Debug for PinMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(file) => f.debug_tuple("PinMemory").field(file).finish(),
            Place::Here(_) => f.write_str("PinMemory"),
        }
    }
}

fn lock(record: &Mutex<Option<String>>) -> std::sync::MutexGuard<'_, Option<String>> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hashed(salt: &str, pin: &SecretString) -> String {
    let mut hash = Sha256::new();
    hash.update(salt.as_bytes());
    hash.update([0]);
    hash.update(pin.expose_secret().as_bytes());
    hex_of_octets(&hash.finalize())
}

/// Replaces the file by one that is whole and on the disk.
async fn write(file: &Path, record: &str) -> io::Result<()> {
    let folder = file.parent().filter(|folder| *folder != Path::new(""));
    if let Some(folder) = folder {
        tokio::fs::create_dir_all(folder).await?;
    }
    let mut fresh = file.as_os_str().to_owned();
    fresh.push(".new");
    // One that a crash has left may have other rights.
    match tokio::fs::remove_file(&fresh).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut opened = options.open(&fresh).await?;
    opened.write_all(record.as_bytes()).await?;
    opened.sync_all().await?;
    tokio::fs::rename(&fresh, file).await?;
    let folder = folder.unwrap_or(Path::new("."));
    tokio::fs::File::open(folder).await?.sync_all().await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_pin_is_remembered_until_it_is_taken_and_another_one_is_tried() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pins").join("a");
        let (right, wrong) = (SecretString::from("0000"), SecretString::from("1234"));
        for place in [Some(file.as_path()), None] {
            let memory = PinMemory::new(place, &Random::seeded(1));
            assert!(!memory.was_tried(&wrong).await.unwrap());
            memory.remember(&wrong).await.unwrap();
            memory.remember(&wrong).await.unwrap();
            assert!(memory.was_tried(&wrong).await.unwrap());
            assert!(!memory.was_tried(&right).await.unwrap());
            if place.is_some() {
                let again = PinMemory::new(place, &Random::seeded(2));
                assert!(again.was_tried(&wrong).await.unwrap());
                let mode = std::fs::metadata(&file).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
                let text = std::fs::read_to_string(&file).unwrap();
                assert!(!text.contains("1234"), "{text}");
            }
            memory.forget().await.unwrap();
            memory.forget().await.unwrap();
            assert!(!memory.was_tried(&wrong).await.unwrap());
        }
    }

    #[tokio::test]
    async fn a_damaged_memory_is_no_leave_to_try() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pin");
        std::fs::write(&file, "").unwrap();
        let memory = PinMemory::new(Some(&file), &Random::seeded(1));
        assert!(memory.was_tried(&"1234".into()).await.unwrap());
        let memory = PinMemory::new(Some(folder.path()), &Random::seeded(1));
        assert!(memory.was_tried(&"1234".into()).await.is_err());
    }
}
