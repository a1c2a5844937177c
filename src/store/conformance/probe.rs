//! An engine that notes what is asked of it, and that fails or waits when a test says so.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};

use crate::store::kv::{Kv, KvError, Pair, Write};

/// What happened, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Call {
    /// A batch of so many writes was applied.
    Apply(usize),
    /// Everything so far was made durable.
    Sync,
    /// A caller had its answer.
    Answered,
}

/// See the module.
pub(in crate::store) struct Probe {
    inner: Box<dyn Kv>,
    log: Mutex<Vec<Call>>,
    applies_left: AtomicI64,
    scans: AtomicU64,
    pairs: AtomicU64,
    held_up: AtomicBool,
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Probe {
    pub(in crate::store) fn over(inner: Box<dyn Kv>) -> Self {
        Self {
            inner,
            log: Mutex::default(),
            applies_left: AtomicI64::new(i64::MAX),
            scans: AtomicU64::new(0),
            pairs: AtomicU64::new(0),
            held_up: AtomicBool::new(false),
            shut: Mutex::new(false),
            opened: Condvar::new(),
        }
    }

    pub(in crate::store) fn note(&self, call: Call) {
        self.log.lock().unwrap().push(call);
    }

    /// What happened since the last look.
    pub(in crate::store) fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    /// Lets `count` more batches through; the one after them fails, and later ones go through
    /// again: a store must not go on after the first failure.
    pub(in crate::store) fn fail_once_after(&self, count: i64) {
        self.applies_left.store(count, Ordering::SeqCst);
    }

    /// From now on batches wait.
    pub(in crate::store) fn shut(&self) {
        *self.shut.lock().unwrap() = true;
    }

    /// Returns once a batch waits.
    pub(in crate::store) async fn holds_up(&self) {
        while !self.held_up.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    }

    /// Number of scans begun so far.
    pub(in crate::store) fn scans(&self) -> u64 {
        self.scans.load(Ordering::SeqCst)
    }

    /// Number of pairs read by scans so far.
    pub(in crate::store) fn pairs(&self) -> u64 {
        self.pairs.load(Ordering::SeqCst)
    }

    /// Lets waiting batches go on.
    pub(in crate::store) fn open(&self) {
        *self.shut.lock().unwrap() = false;
        self.opened.notify_all();
    }
}

impl Kv for Probe {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.inner.get(key)
    }

    fn apply(&self, writes: &[Write]) -> Result<(), KvError> {
        let mut shut = self.shut.lock().unwrap();
        while *shut {
            self.held_up.store(true, Ordering::SeqCst);
            shut = self.opened.wait(shut).unwrap();
        }
        drop(shut);
        if self.applies_left.fetch_sub(1, Ordering::SeqCst) == 0 {
            return Err(KvError("no space left on device".to_owned()));
        }
        self.inner.apply(writes)?;
        self.note(Call::Apply(writes.len()));
        Ok(())
    }

    fn sync(&self) -> Result<(), KvError> {
        self.inner.sync()?;
        self.note(Call::Sync);
        Ok(())
    }

    fn scan<'a>(
        &'a self,
        range: (Vec<u8>, Vec<u8>),
        reverse: bool,
    ) -> Box<dyn Iterator<Item = Result<Pair, KvError>> + 'a> {
        self.scans.fetch_add(1, Ordering::SeqCst);
        let pairs = self.inner.scan(range, reverse);
        Box::new(pairs.inspect(|_| {
            self.pairs.fetch_add(1, Ordering::SeqCst);
        }))
    }

    fn disk_bytes(&self) -> u64 {
        self.inner.disk_bytes()
    }

    fn free_bytes(&self) -> Option<u64> {
        self.inner.free_bytes()
    }
}

/// An engine that several hold, as tests need it that close a store and look at what it left.
macro_rules! by_reference {
    ($([$($generic:tt)*] $kind:ty),*) => {
        $(impl $($generic)* Kv for $kind {
            fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
                (**self).get(key)
            }
            fn apply(&self, writes: &[Write]) -> Result<(), KvError> {
                (**self).apply(writes)
            }
            fn sync(&self) -> Result<(), KvError> {
                (**self).sync()
            }
            fn scan<'a>(
                &'a self,
                range: (Vec<u8>, Vec<u8>),
                reverse: bool,
            ) -> Box<dyn Iterator<Item = Result<Pair, KvError>> + 'a> {
                (**self).scan(range, reverse)
            }
            fn disk_bytes(&self) -> u64 {
                (**self).disk_bytes()
            }
            fn free_bytes(&self) -> Option<u64> {
                (**self).free_bytes()
            }
        })*
    };
}

by_reference!([<K: Kv>] std::sync::Arc<K>, [] Box<dyn Kv>);
