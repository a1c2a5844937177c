//! The data folder: who may use it, and the secrets in it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::StartError;
use crate::clock::Random;

/// Where the store is in a data folder.
#[must_use]
pub fn store_path(data_dir: &Path) -> PathBuf {
    data_dir.join("store")
}

/// Where the admin key is in a data folder.
#[must_use]
pub fn admin_key_path(data_dir: &Path) -> PathBuf {
    data_dir.join("admin.key")
}

/// Where the installation's own key is in a data folder: webhook secrets and pseudonyms come of it.
#[must_use]
pub fn webhook_key_path(data_dir: &Path) -> PathBuf {
    data_dir.join("webhook.key")
}

/// The right to use a data folder, for one process at a time. Ends with its value or its process.
///
/// At its end what root has made in somebody else's folder becomes its owner's: `sudo relais compact` must
/// not leave a store behind that the service cannot open.
#[derive(Debug)]
pub struct Lock {
    data_dir: PathBuf,
    _file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let Ok(owner) = fs::metadata(&self.data_dir) else {
            return;
        };
        if owner.uid() != ROOT
            && let Err(error) = give_back(&self.data_dir, owner.uid(), owner.gid())
        {
            let folder = self.data_dir.display();
            tracing::warn!(%folder, %error, "what root has made stays root's; chown it to the folder's owner");
        }
    }
}

const ROOT: u32 = 0;

/// Gives what is root's in a folder to somebody; what else bears a link is no file of ours.
fn give_back(folder: &Path, owner: u32, group: u32) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let found = fs::symlink_metadata(&path)?;
        if found.is_dir() {
            give_back(&path, owner, group)?;
        }
        if found.uid() == ROOT && (found.is_dir() || found.is_file() && found.nlink() == 1) {
            lchown(&path, Some(owner), Some(group))?;
        }
    }
    Ok(())
}

impl Lock {
    /// Takes the lock of a data folder.
    ///
    /// # Errors
    /// `Locked` if another daemon has it, `DataDir` if there is no such folder.
    pub fn take(data_dir: &Path) -> Result<Self, StartError> {
        let wrong = |source| StartError::DataDir {
            folder: data_dir.to_owned(),
            source,
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(data_dir.join("lock"))
            .map_err(wrong)?;
        match file.try_lock() {
            Ok(()) => Ok(Self {
                data_dir: data_dir.to_owned(),
                _file: file,
            }),
            Err(fs::TryLockError::WouldBlock) => Err(StartError::Locked(data_dir.to_owned())),
            Err(fs::TryLockError::Error(source)) => Err(wrong(source)),
        }
    }
}

pub(crate) fn make_data_dir(folder: &Path) -> Result<(), StartError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| StartError::DataDir {
            folder: folder.to_owned(),
            source,
        })
}

/// The secret in a file of the data folder; made, once, if there is none.
pub(super) fn secret_in(file: PathBuf, random: &Random) -> Result<SecretString, StartError> {
    let wrong = |source| StartError::Secret {
        file: file.clone(),
        source,
    };
    match fs::read_to_string(&file) {
        Ok(text) if text.trim().len() >= 16 => {
            let mode = file.metadata().map_err(wrong)?.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                tracing::warn!(file = %file.display(), "others can read this secret; chmod 600 it");
            }
            Ok(text.trim().to_owned().into())
        }
        Ok(_) => Err(wrong(io::Error::other(
            "it holds fewer than 16 characters; remove it and a new one is made",
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let hex: String = random
                .bytes::<32>()
                .iter()
                .map(|octet| format!("{octet:02x}"))
                .collect();
            let secret = SecretString::from(format!("relais_{hex}"));
            write_secret(&file, secret.expose_secret()).map_err(wrong)?;
            Ok(secret)
        }
        Err(error) => Err(wrong(error)),
    }
}

/// Writes aside, syncs, renames, syncs the folder: the key is there whole or not at all.
pub(crate) fn write_secret(file: &Path, secret: &str) -> io::Result<()> {
    let aside = file.with_extension("key.new");
    let mut out = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    // A file left by an earlier try keeps its mode, whatever it was.
    out.set_permissions(fs::Permissions::from_mode(0o600))?;
    writeln!(out, "{secret}")?;
    out.sync_all()?;
    fs::rename(&aside, file)?;
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_root_makes_in_a_folder_of_somebody_s_is_that_somebody_s_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let somebody = 65_534;
        if lchown(folder.path(), Some(somebody), Some(somebody)).is_err() {
            // Not root: nothing can be made that would be another's.
            return;
        }
        let lock = Lock::take(folder.path()).unwrap();
        let deep = folder.path().join("store/generation-2");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("db"), "records").unwrap();
        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        fs::hard_link(elsewhere.path(), folder.path().join("linked")).unwrap();
        drop(lock);
        for path in [deep.join("db"), deep, folder.path().join("lock")] {
            assert_eq!(fs::metadata(&path).unwrap().uid(), somebody, "{path:?}");
        }
        let linked = fs::metadata(elsewhere.path()).unwrap();
        assert_eq!(
            linked.uid(),
            ROOT,
            "a file that is elsewhere too is not ours to give"
        );
    }

    #[test]
    fn the_admin_key_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let key = secret_in(admin_key_path(folder.path()), &Random::system()).unwrap();
        let again = secret_in(admin_key_path(folder.path()), &Random::system()).unwrap();
        assert_eq!(key.expose_secret(), again.expose_secret());
        assert_eq!(key.expose_secret().len(), "relais_".len() + 64);
        let file = admin_key_path(folder.path());
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        fs::write(&file, "short\n").unwrap();
        assert!(matches!(
            secret_in(admin_key_path(folder.path()), &Random::system()),
            Err(StartError::Secret { .. })
        ));
    }

    #[test]
    fn a_data_folder_serves_one_daemon_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("a/b");
        make_data_dir(&data_dir).unwrap();
        assert_eq!(
            fs::metadata(&data_dir).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let lock = Lock::take(&data_dir).unwrap();
        let refused = Lock::take(&data_dir).unwrap_err();
        assert!(matches!(refused, StartError::Locked(_)), "{refused}");
        drop(lock);
        Lock::take(&data_dir).unwrap();
    }
}
