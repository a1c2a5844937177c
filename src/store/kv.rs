//! What the embedded store asks of a storage engine: ordered keys, atomic batches, a sync.

use thiserror::Error;

/// One write: a key, and its value or `None` to remove it.
pub type Write = (Vec<u8>, Option<Vec<u8>>);

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// What went wrong in an engine, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct KvError(pub String);

/// An ordered key-value engine. Only the writer calls `apply` and `sync`.
pub trait Kv: Send + Sync + 'static {
    /// The value of a key.
    ///
    /// # Errors
    /// The engine's own.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;

    /// Applies all writes or none, visible at once, durable after the next `sync`.
    ///
    /// # Errors
    /// The engine's own; nothing may be assumed of the engine afterwards.
    fn apply(&self, writes: &[Write]) -> Result<(), KvError>;

    /// Makes everything applied so far durable.
    ///
    /// # Errors
    /// The engine's own; nothing may be assumed of the engine afterwards.
    fn sync(&self) -> Result<(), KvError>;

    /// The pairs of the half-open range, in key order or against it. An error is the last item.
    fn scan<'a>(
        &'a self,
        range: (Vec<u8>, Vec<u8>),
        reverse: bool,
    ) -> Box<dyn Iterator<Item = Result<Pair, KvError>> + 'a>;

    /// Octets on the disk.
    fn disk_bytes(&self) -> u64;

    /// Octets that are free there for this user; `None` if it uses no disk, or nobody can tell.
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// False if nothing that it does waits for a disk. It is then worked on in place rather than on
    /// a thread of its own, so that a simulation in virtual time is the same each time.
    fn blocks(&self) -> bool {
        true
    }
}
