//! The memories for messages, and the places in them.

use std::collections::BTreeMap;

use super::script::ModemScript;

/// `<stat>` of a record (3GPP TS 27.005 clause 3.1).
pub(super) const UNREAD: u8 = 0;
pub(super) const READ: u8 = 1;

#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) stat: u8,
    /// Service centre first.
    pub(super) octets: Vec<u8>,
    /// Octets without the service centre, as `+CMGR` counts them.
    pub(super) length: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) name: String,
    pub(super) capacity: usize,
    first: usize,
    pub(super) records: BTreeMap<usize, Record>,
}

impl Store {
    /// The memories that a script describes, empty.
    pub(super) fn all(script: &ModemScript) -> Vec<Self> {
        let new = |name: &str, capacity, first| Self {
            name: name.to_owned(),
            capacity,
            first,
            records: BTreeMap::new(),
        };
        if script.memories.is_empty() {
            let own = script.profile().memories.iter();
            own.map(|(name, capacity, first)| new(name, *capacity, *first))
                .collect()
        } else {
            let given = script.memories.iter();
            given
                .map(|memory| new(&memory.name, memory.capacity, memory.first))
                .collect()
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= self.capacity
    }

    /// Puts a record into the first free place and names it.
    pub(super) fn put(&mut self, record: Record) -> Option<usize> {
        if self.is_full() {
            return None;
        }
        let places = self.first..self.first + self.capacity;
        let place = places
            .into_iter()
            .find(|at| !self.records.contains_key(at))?;
        self.records.insert(place, record);
        Some(place)
    }

    /// Whether there is such a place at all.
    pub(super) fn has(&self, place: usize) -> bool {
        (self.first..self.first + self.capacity).contains(&place)
    }

    /// `<used>,<total>`.
    pub(super) fn fill(&self) -> String {
        format!("{},{}", self.records.len(), self.capacity)
    }
}
