//! The engine that keeps nothing: for tests and simulations of everything above it.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use super::kv::{Kv, KvError, Pair, Write};

/// Ordered keys in memory.
#[derive(Default)]
pub struct MemoryKv {
    map: RwLock<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Kv for MemoryKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self
            .map
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned())
    }

    fn apply(&self, writes: &[Write]) -> Result<(), KvError> {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in writes {
            match value {
                Some(value) => map.insert(key.clone(), value.clone()),
                None => map.remove(key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), KvError> {
        Ok(())
    }

    fn scan<'a>(
        &'a self,
        (from, to): (Vec<u8>, Vec<u8>),
        reverse: bool,
    ) -> Box<dyn Iterator<Item = Result<Pair, KvError>> + 'a> {
        // One key a step, so that no lock is held between steps.
        let mut low = from;
        let mut high = to;
        Box::new(std::iter::from_fn(move || {
            let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
            if low >= high {
                return None;
            }
            let mut range = map.range(low.clone()..high.clone());
            let (key, value) = if reverse {
                range.next_back()
            } else {
                range.next()
            }?;
            if reverse {
                high.clone_from(key);
            } else {
                low = [key.as_slice(), &[0]].concat();
            }
            Some(Ok((key.clone(), value.clone())))
        }))
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn blocks(&self) -> bool {
        false
    }
}
