//! A disk that can lose its power at any operation: what was synced is kept, of what was not, as
//! many whole batches as the draw says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use relais::clock::Clock;
use relais::domain::message::{Message, Progress};
use relais::domain::time::Timestamp;
use relais::store::codec::decode;
use relais::store::keys::KeySpace;
use relais::store::kv::{Kv, KvError, Pair, Write};
use tokio::sync::Notify;

use crate::plan::marked;

/// What outlives the daemon.
#[derive(Clone)]
pub struct Disk {
    clock: Clock,
    platter: Arc<Mutex<Platter>>,
    /// Rings when a fuse has blown.
    blown: Arc<Notify>,
}

#[derive(Default)]
struct Platter {
    map: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What each batch since the last sync has replaced.
    unsynced: Vec<Vec<Write>>,
    /// Number of times the power has gone out; whoever opened it before cannot use it any more.
    cuts: u64,
    fuse: Option<Fuse>,
    operations: u64,
    sabotage: Option<Sabotage>,
    /// Parts of messages that the records name as taken, not yet synced, and since when they are
    /// known for good.
    noted: Vec<(u32, usize)>,
    known: Known,
}

/// Since when a part of a message is durably known to be with a carrier.
pub type Known = BTreeMap<(u32, usize), Timestamp>;

/// A defect of the store, made on purpose, that the oracle must find.
#[derive(Clone, Copy, Debug)]
pub enum Sabotage {
    /// Says that it has synced, and has not.
    Lies,
    /// Loses what is written in this key space.
    Loses(KeySpace),
}

/// Takes the power away in the middle of the writer's work.
#[derive(Clone, Copy, Debug)]
pub struct Fuse {
    /// Number of operations (batches and syncs) that still succeed.
    pub after: u64,
    /// Number of unsynced batches that the disk has kept all the same.
    pub keeps: usize,
}

impl Disk {
    pub fn new(clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            platter: Arc::default(),
            blown: Arc::default(),
        }
    }

    /// Since when which parts are known to be with a carrier.
    pub fn known(&self) -> Known {
        self.lock().known.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Platter> {
        self.platter.lock().unwrap()
    }

    /// From now on it has a defect.
    pub fn sabotage(&self, sabotage: Sabotage) {
        self.lock().sabotage = Some(sabotage);
    }

    /// Turns it on.
    pub fn open(&self) -> Opened {
        Opened {
            disk: self.clone(),
            cuts: self.lock().cuts,
        }
    }

    /// Takes the power away now; `keeps` of the unsynced batches stay.
    pub fn cut(&self, keeps: usize) {
        self.lock().cut(keeps);
    }

    /// Has the power taken away later.
    pub fn arm(&self, fuse: Fuse) {
        self.lock().fuse = Some(fuse);
    }

    /// Takes back an [`arm`](Self::arm) that has not come to pass.
    pub fn disarm(&self) {
        self.lock().fuse = None;
    }

    /// Forgets the bell of a fuse that has blown already.
    pub async fn rung(&self) {
        let _ = tokio::time::timeout(Duration::ZERO, self.blown.notified()).await;
    }

    /// Waits until a fuse has blown.
    pub async fn blown(&self) {
        self.blown.notified().await;
    }

    /// Batches and syncs so far.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }
}

impl Platter {
    /// Notes which parts a record that is being written names as taken.
    fn note(&mut self, key: &[u8], value: Option<&[u8]>) {
        let space = KeySpace::of(key);
        let Some(value) =
            value.filter(|_| matches!(space, Some(KeySpace::Live | KeySpace::History)))
        else {
            return;
        };
        let message: Message = decode(key, value).unwrap();
        let Some(number) = marked(&message.text) else {
            return;
        };
        for attempt in &message.attempts {
            for (part, segment) in attempt.segments.iter().enumerate() {
                if segment.progress == Progress::Accepted {
                    self.noted.push((number, part));
                }
            }
        }
    }

    fn cut(&mut self, keeps: usize) {
        self.fuse = None;
        self.cuts += 1;
        self.noted.clear();
        while self.unsynced.len() > keeps {
            for (key, value) in self.unsynced.pop().into_iter().flatten().rev() {
                match value {
                    Some(value) => self.map.insert(key, value),
                    None => self.map.remove(&key),
                };
            }
        }
        self.unsynced.clear();
    }
}

/// The disk as one life of the daemon has it.
pub struct Opened {
    disk: Disk,
    cuts: u64,
}

impl Opened {
    fn lock(&self) -> Result<MutexGuard<'_, Platter>, KvError> {
        let platter = self.disk.lock();
        if platter.cuts == self.cuts {
            Ok(platter)
        } else {
            Err(KvError("the power is off".to_owned()))
        }
    }

    /// Like `lock`, for what a fuse counts.
    fn operate(&self) -> Result<MutexGuard<'_, Platter>, KvError> {
        let mut platter = self.lock()?;
        platter.operations += 1;
        if let Some(fuse) = &mut platter.fuse {
            if fuse.after == 0 {
                let keeps = fuse.keeps;
                platter.cut(keeps);
                self.disk.blown.notify_one();
                return Err(KvError("the power went out".to_owned()));
            }
            fuse.after -= 1;
        }
        Ok(platter)
    }
}

impl Kv for Opened {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.lock()?.map.get(key).cloned())
    }

    fn apply(&self, writes: &[Write]) -> Result<(), KvError> {
        let mut platter = self.operate()?;
        let mut replaced = Vec::with_capacity(writes.len());
        for (key, value) in writes {
            if let Some(Sabotage::Loses(space)) = platter.sabotage
                && KeySpace::of(key) == Some(space)
            {
                continue;
            }
            let before = match value {
                Some(value) => platter.map.insert(key.clone(), value.clone()),
                None => platter.map.remove(key),
            };
            replaced.push((key.clone(), before));
        }
        platter.unsynced.push(replaced);
        for (key, value) in writes {
            platter.note(key, value.as_deref());
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), KvError> {
        let mut platter = self.operate()?;
        if !matches!(platter.sabotage, Some(Sabotage::Lies)) {
            platter.unsynced.clear();
        }
        let now = self.disk.clock.now();
        for part in std::mem::take(&mut platter.noted) {
            platter.known.entry(part).or_insert(now);
        }
        Ok(())
    }

    fn scan<'a>(
        &'a self,
        (from, to): (Vec<u8>, Vec<u8>),
        reverse: bool,
    ) -> Box<dyn Iterator<Item = Result<Pair, KvError>> + 'a> {
        let mut pairs: Vec<Result<Pair, KvError>> = match self.lock() {
            Ok(platter) if from < to => platter
                .map
                .range(from..to)
                .map(|(key, value)| Ok((key.clone(), value.clone())))
                .collect(),
            Ok(_) => Vec::new(),
            Err(error) => vec![Err(error)],
        };
        if reverse {
            pairs.reverse();
        }
        Box::new(pairs.into_iter())
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn blocks(&self) -> bool {
        false
    }
}

#[test]
fn what_was_synced_outlives_a_cut_and_of_the_rest_whole_batches() {
    let disk = Disk::new(&Clock::system());
    let kv = disk.open();
    let put = |key: &str, value: &str| {
        let write = (key.into(), Some(value.into()));
        kv.apply(&[write, ("last".into(), Some(value.into()))])
    };
    put("a", "1").unwrap();
    kv.sync().unwrap();
    put("a", "2").unwrap();
    put("b", "3").unwrap();
    disk.cut(1);
    assert!(kv.get(b"a").is_err(), "whoever had it open has it no more");
    let kv = disk.open();
    assert_eq!(kv.get(b"a").unwrap().unwrap(), b"2");
    assert_eq!(kv.get(b"b").unwrap(), None);
    assert_eq!(kv.get(b"last").unwrap().unwrap(), b"2");
    disk.arm(Fuse { after: 1, keeps: 0 });
    kv.apply(&[("c".into(), Some("4".into()))]).unwrap();
    assert!(kv.sync().is_err());
    assert_eq!(disk.open().get(b"c").unwrap(), None);
}
