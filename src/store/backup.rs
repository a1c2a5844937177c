//! A copy of everything in one file: what `relais backup` writes and `relais restore` reads.
//!
//! ```text
//! "RELAISBK"  format u32 = 1  layout u32  begun_at i64  version text
//! 0x01 key value       a record as it is, or as it has become since it stood here before
//! 0x02 key             a record that is gone since
//! 0x03 name contents   a file of the data folder
//! 0xFF entries u64  taken_at i64                       the end
//! SHA-256 of every octet before it, 32 octets
//! ```
//!
//! Integers are big-endian; texts, keys and values have their length before them (u32). What is said
//! later of a key holds. A file without its end, or with another digest, is no backup and is refused
//! before anything is done with it. It holds texts, numbers and secrets, in the clear.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::codec::LAYOUT;
use super::kv::Write;
use crate::domain::time::Timestamp;

const MAGIC: &[u8; 8] = b"RELAISBK";
const FORMAT: u32 = 1;
const RECORD: u8 = 1;
const GONE: u8 = 2;
const FILE: u8 = 3;
const END: u8 = 0xFF;
/// Longest key, value or file: far beyond any record, so that damage is found and not read.
const LONGEST: u32 = 256 << 20;

/// Writes a backup down, piece by piece.
pub struct Encoder {
    digest: Sha256,
    entries: u64,
}

impl Encoder {
    /// A new one, and its first octets. `files` are kept along, by name.
    #[must_use]
    pub fn new(files: &[(&str, &str)], now: Timestamp) -> (Self, Vec<u8>) {
        let mut encoder = Self {
            digest: Sha256::new(),
            entries: 0,
        };
        let mut octets = MAGIC.to_vec();
        octets.extend_from_slice(&FORMAT.to_be_bytes());
        octets.extend_from_slice(&LAYOUT.version.to_be_bytes());
        octets.extend_from_slice(&now.millis().to_be_bytes());
        field(&mut octets, env!("CARGO_PKG_VERSION").as_bytes());
        for (name, contents) in files {
            octets.push(FILE);
            field(&mut octets, name.as_bytes());
            field(&mut octets, contents.as_bytes());
            encoder.entries += 1;
        }
        encoder.digest.update(&octets);
        (encoder, octets)
    }

    /// The octets of some records.
    #[must_use]
    pub fn records(&mut self, records: &[Write]) -> Vec<u8> {
        let mut octets = Vec::new();
        for (key, value) in records {
            octets.push(if value.is_some() { RECORD } else { GONE });
            field(&mut octets, key);
            if let Some(value) = value {
                field(&mut octets, value);
            }
            self.entries += 1;
        }
        self.digest.update(&octets);
        octets
    }

    /// The last octets: everything was as it was at `taken_at`.
    #[must_use]
    pub fn end(mut self, taken_at: Timestamp) -> Vec<u8> {
        let mut octets = vec![END];
        octets.extend_from_slice(&self.entries.to_be_bytes());
        octets.extend_from_slice(&taken_at.millis().to_be_bytes());
        self.digest.update(&octets);
        octets.extend_from_slice(&self.digest.finalize());
        octets
    }
}

/// A text, a key or a value. None of ours comes near the four gibibytes that it may have.
fn field(octets: &mut Vec<u8>, field: &[u8]) {
    let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
    octets.extend_from_slice(&length.to_be_bytes());
    octets.extend_from_slice(field);
}

/// Why a file is no backup that this program can restore.
#[derive(Debug, Error)]
pub enum BackupError {
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("it is no backup of relais")]
    NotOne,
    /// A later program wrote it.
    #[error(
        "its format is {0}; this program reads format {FORMAT}: restore it with the program that wrote it"
    )]
    OtherFormat(u32),
    /// Another program wrote it.
    #[error(
        "relais {version} wrote it with layout {layout}; this program reads layout {}: restore it with that one",
        LAYOUT.version
    )]
    OtherLayout {
        /// Its layout.
        layout: u32,
        /// The program.
        version: String,
    },
    /// It stops before its end: the disk was full, or the connection broke.
    #[error("it is cut off; only a whole backup can be restored")]
    CutOff,
    /// Something in it is not what was written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

/// One thing that a backup holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry {
    /// What has become of a record.
    Record(Write),
    /// A file of the data folder: its name and contents.
    File(String, String),
}

/// What a whole backup says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Things that it holds.
    pub entries: u64,
    /// When everything was as it says.
    pub taken_at: Timestamp,
}

/// Reads a backup.
pub struct Decoder<R> {
    from: R,
    digest: Sha256,
    entries: u64,
    summary: Option<Summary>,
}

impl Decoder<BufReader<File>> {
    /// The backup in a file.
    ///
    /// # Errors
    /// It is none, or none of ours.
    pub fn open(file: &Path) -> Result<Self, BackupError> {
        Self::new(BufReader::with_capacity(1 << 20, File::open(file)?))
    }
}

impl<R: Read> Decoder<R> {
    /// Reads the beginning.
    ///
    /// # Errors
    /// It is no backup, or one of another program.
    pub fn new(from: R) -> Result<Self, BackupError> {
        let mut decoder = Self {
            from,
            digest: Sha256::new(),
            entries: 0,
            summary: None,
        };
        let magic = decoder.octets::<8>();
        if magic.map_or(true, |magic| magic != *MAGIC) {
            return Err(BackupError::NotOne);
        }
        let format = u32::from_be_bytes(decoder.octets()?);
        if format != FORMAT {
            return Err(BackupError::OtherFormat(format));
        }
        let layout = u32::from_be_bytes(decoder.octets()?);
        decoder.octets::<8>()?;
        let version = decoder.text()?;
        if layout != LAYOUT.version {
            return Err(BackupError::OtherLayout { layout, version });
        }
        Ok(decoder)
    }

    /// The next thing; `None` at the end, which is then known to be whole.
    ///
    /// # Errors
    /// It cannot be read, is cut off, or is not what was written.
    pub fn entry(&mut self) -> Result<Option<Entry>, BackupError> {
        if self.summary.is_some() {
            return Ok(None);
        }
        let [tag] = self.octets()?;
        let entry = match tag {
            RECORD => Entry::Record((self.field()?, Some(self.field()?))),
            GONE => Entry::Record((self.field()?, None)),
            FILE => Entry::File(self.text()?, self.text()?),
            END => {
                self.finish()?;
                return Ok(None);
            }
            _ => return Err(BackupError::Damaged("there is no such entry")),
        };
        self.entries += 1;
        Ok(Some(entry))
    }

    fn finish(&mut self) -> Result<(), BackupError> {
        let entries = u64::from_be_bytes(self.octets()?);
        let taken_at = Timestamp(i64::from_be_bytes(self.octets()?));
        let expected: [u8; 32] = self.digest.clone().finalize().into();
        if self.octets::<32>()? != expected {
            return Err(BackupError::Damaged("its digest is another"));
        }
        if entries != self.entries {
            return Err(BackupError::Damaged("entries are missing"));
        }
        if self.from.read(&mut [0])? != 0 {
            return Err(BackupError::Damaged("something follows its end"));
        }
        self.summary = Some(Summary { entries, taken_at });
        Ok(())
    }

    fn octets<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut octets = [0; N];
        self.from.read_exact(&mut octets).map_err(cut_off)?;
        self.digest.update(octets);
        Ok(octets)
    }

    fn field(&mut self) -> Result<Vec<u8>, BackupError> {
        let length = u32::from_be_bytes(self.octets()?);
        if length > LONGEST {
            return Err(BackupError::Damaged("a length is beyond all measure"));
        }
        let mut octets = Vec::new();
        let read = (&mut self.from)
            .take(u64::from(length))
            .read_to_end(&mut octets)?;
        if u64::try_from(read).ok() != Some(u64::from(length)) {
            return Err(BackupError::CutOff);
        }
        self.digest.update(&octets);
        Ok(octets)
    }

    fn text(&mut self) -> Result<String, BackupError> {
        let text = String::from_utf8(self.field()?);
        text.map_err(|_| BackupError::Damaged("a text is none"))
    }
}

fn cut_off(error: io::Error) -> BackupError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => BackupError::CutOff,
        _ => BackupError::Io(error),
    }
}

/// Reads a backup from end to end.
///
/// # Errors
/// Why it cannot be restored.
pub fn verify(file: &Path) -> Result<Summary, BackupError> {
    let mut backup = Decoder::open(file)?;
    while backup.entry()?.is_some() {}
    backup.summary.ok_or(BackupError::CutOff)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn backup() -> Vec<u8> {
        let (mut encoder, mut octets) = Encoder::new(&[("webhook.key", "secret")], Timestamp(7));
        octets.extend(encoder.records(&[(b"a".to_vec(), Some(b"1".to_vec()))]));
        octets.extend(encoder.records(&[(b"a".to_vec(), None)]));
        octets.extend(encoder.end(Timestamp(9)));
        octets
    }

    fn read(octets: &[u8]) -> Result<(Vec<Entry>, Summary), BackupError> {
        let mut decoder = Decoder::new(octets)?;
        let mut entries = Vec::new();
        while let Some(entry) = decoder.entry()? {
            entries.push(entry);
        }
        Ok((entries, decoder.summary.unwrap()))
    }

    #[test]
    fn what_is_written_is_read() {
        let (entries, summary) = read(&backup()).unwrap();
        assert_eq!(
            entries,
            [
                Entry::File("webhook.key".to_owned(), "secret".to_owned()),
                Entry::Record((b"a".to_vec(), Some(b"1".to_vec()))),
                Entry::Record((b"a".to_vec(), None)),
            ]
        );
        assert_eq!((summary.entries, summary.taken_at), (3, Timestamp(9)));
    }

    #[test]
    fn no_cut_and_no_changed_octet_is_taken_for_a_backup() {
        let whole = backup();
        for end in 0..whole.len() {
            let error = read(&whole[..end]).unwrap_err();
            let said = matches!(error, BackupError::CutOff | BackupError::NotOne);
            assert!(said, "{end}: {error}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x41;
            assert!(read(&damaged).is_err(), "{at}");
        }
        let mut longer = whole;
        longer.push(0);
        assert!(matches!(read(&longer), Err(BackupError::Damaged(_))));
    }

    #[test]
    fn another_layout_is_named() {
        let mut other = backup();
        other[15] = 99;
        let error = read(&other).unwrap_err();
        assert!(
            matches!(error, BackupError::OtherLayout { layout: 99, .. }),
            "{error}"
        );
    }
}
