//! `relais backup`, `relais restore`.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::ExposeSecret;

use super::args::{Backup, Restore};
use super::client::Api;
use super::texts::Lang;
use super::{Failure, client, out};
use crate::clock::Clock;
use crate::daemon::{self, Lock, StartError};
use crate::store::backup::{self, Encoder};
use crate::store::restoring;
use crate::{config, store};

/// Cache for a single pass over everything.
const CACHE_BYTES: u64 = 64 << 20;
/// The installation's own key, as backups name it.
const WEBHOOK_KEY: &str = "webhook.key";

/// Takes a backup.
pub(super) fn take(backup: &Backup, lang: Lang) -> Result<(), Failure> {
    let to = &backup.to;
    let told = |failure: Failure| {
        let cause = failure.into_words();
        Failure::Failed(lang.backup_failed(&to.display().to_string(), &cause))
    };
    let mut aside = Aside::new(to).map_err(|error| told(error.into()))?;
    let written = match closed(backup)? {
        Some((_lock, data_dir)) => of_closed(&data_dir, &mut aside),
        None => of_running(backup, &mut aside, lang),
    };
    let summary = written.and_then(|()| aside.settle()).map_err(told)?;
    out::line(&lang.backup_taken(
        &to.display().to_string(),
        summary.entries,
        &summary.taken_at.rfc3339(),
    ))?;
    Ok(())
}

/// The data folder with its lock, if no daemon runs on it and none is named by its address.
fn closed(backup: &Backup) -> Result<Option<(Lock, PathBuf)>, Failure> {
    if backup.reach.url.is_some() {
        return Ok(None);
    }
    let data_dir = config::load(&backup.reach.config)?.data_dir;
    if !daemon::store_path(&data_dir).is_dir() {
        // Perhaps this user may not look; the daemon may.
        return Ok(None);
    }
    match Lock::take(&data_dir) {
        Ok(lock) => Ok(Some((lock, data_dir))),
        Err(StartError::Locked(_)) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn of_running(backup: &Backup, aside: &mut Aside, lang: Lang) -> Result<(), Failure> {
    client::block_on(async {
        let api = Api::reach(&backup.reach, lang)?;
        let mut stream = api.download("/v1/admin/backup").await?;
        let mut progress = out::Progress::new();
        let mut octets = 0;
        while let Some(piece) = stream.next().await? {
            aside.write(&piece)?;
            octets += u64::try_from(piece.len()).unwrap_or(0);
            progress.at(octets >> 10);
        }
        progress.end();
        Ok(())
    })
}

fn of_closed(data_dir: &Path, aside: &mut Aside) -> Result<(), Failure> {
    let clock = Clock::system();
    let file = daemon::webhook_key_path(data_dir);
    let key = fs::read_to_string(&file);
    let key = key.map_err(|error| failed(format!("{}: {error}", file.display())))?;
    let (mut encoder, first) = Encoder::new(&[(WEBHOOK_KEY, key.trim())], clock.now());
    aside.write(&first)?;
    let mut progress = out::Progress::new();
    let mut count = 0;
    let mut full: std::io::Result<()> = Ok(());
    let root = daemon::store_path(data_dir);
    store::read_closed(&root, CACHE_BYTES, &mut |records| {
        count += u64::try_from(records.len()).unwrap_or(0);
        progress.at(count);
        full = aside.write(&encoder.records(records));
        full.is_ok()
    })
    .map_err(failed)?;
    full?;
    progress.end();
    Ok(aside.write(&encoder.end(clock.now()))?)
}

/// A file that is written beside its place and takes it when it is whole; if it never is, it goes.
struct Aside {
    place: PathBuf,
    path: PathBuf,
    out: BufWriter<File>,
}

impl Aside {
    fn new(place: &Path) -> std::io::Result<Self> {
        let mut name = place.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let path = place.with_file_name(name);
        // One that an earlier try has left goes; what somebody else has put there is not written to.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Self {
            place: place.to_owned(),
            path,
            out: BufWriter::with_capacity(1 << 20, file),
        })
    }

    fn write(&mut self, octets: &[u8]) -> std::io::Result<()> {
        self.out.write_all(octets)
    }

    /// Reads it again from end to end, and only then gives it its name.
    fn settle(mut self) -> Result<backup::Summary, Failure> {
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        let summary = backup::verify(&self.path).map_err(failed)?;
        fs::rename(&self.path, &self.place)?;
        let folder = self.place.parent().filter(|it| !it.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(summary)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Gone already where it has its place.
        let _ = fs::remove_file(&self.path);
    }
}

/// Restores one.
pub(super) fn restore(restore: &Restore, lang: Lang) -> Result<(), Failure> {
    let config = config::load(&restore.config)?;
    let data_dir = &config.data_dir;
    daemon::make_data_dir(data_dir).map_err(failed)?;
    let _lock = Lock::take(data_dir).map_err(failed)?;
    let mut progress = out::Progress::new();
    let mut show = |count| progress.at(count);
    let root = daemon::store_path(data_dir);
    let restored = super::runtime()?
        .block_on(restoring::restore(
            &restore.file,
            &root,
            Arc::new(config.policy),
            restore.cancel_waiting,
            Clock::system().now(),
            &mut show,
        ))
        .map_err(failed)?;
    progress.end();
    let key = daemon::webhook_key_path(data_dir);
    for (name, contents) in &restored.files {
        if name == WEBHOOK_KEY {
            put_key(&key, contents, lang)?;
        }
    }
    let summary = restored.summary;
    let (doubtful, cancelled) = (restored.doubtful, restored.cancelled);
    restored.settle().map_err(failed)?;
    out::line(&lang.restored(summary.entries, &summary.taken_at.rfc3339()))?;
    if doubtful + cancelled > 0 {
        out::line(&lang.restored_waiting(doubtful, cancelled))?;
    }
    Ok(())
}

/// The key that webhook secrets and pseudonyms come of: another one in its place would make all of
/// them others.
fn put_key(file: &Path, contents: &str, lang: Lang) -> Result<(), Failure> {
    match fs::read_to_string(file) {
        Ok(known) if known.trim() == contents.trim() => Ok(()),
        Ok(_) => Err(Failure::Failed(
            lang.other_secret(&file.display().to_string()),
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let contents = secrecy::SecretString::from(contents.trim());
            Ok(daemon::write_secret(file, contents.expose_secret())?)
        }
        Err(error) => Err(failed(format!("{}: {error}", file.display()))),
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(error.to_string())
}
