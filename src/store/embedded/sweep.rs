//! Erasing what is past keeping: texts first, then numbers, at last the records.
//!
//! **No look through the backlog, no write for each message.** Ids sort by creation, so the final
//! messages are walked once in that order for each stage, and how far the walk has come is a record
//! ([`Swept`]). A message is erased a set time after its *final state*, though, which comes later than
//! its creation; mostly by seconds. So the walk waits at a message that is not due yet, but at most
//! for [`slack`]; one that takes longer is noted under the time of its final state, and passed. So is
//! one that becomes final when the walk has passed its age, in the commit that makes it final. What a
//! walk has passed is thus erased or noted: `fsck` holds the store to that.
//!
//! A tenant may want its texts kept for a shorter time: such a message is noted under the time at which
//! its text goes, in the commit that makes it final, and nothing walks to it.
//!
//! What handsets sent is final when it comes, and walked for each tenant, whose messages it sorts by.
//! What comes behind a mark, because the clock has been put back, takes the mark back.
//!
//! Each turn does a bounded part, and moves its marks in the commit that does it: a crash repeats
//! nothing and skips nothing.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::time::Duration;

use super::Shared;
use super::txn::Txn;
use crate::domain::id::{InboundId, MessageId};
use crate::domain::inbound::Inbound;
use crate::domain::message::Message;
use crate::domain::privacy::{Retention, Stage};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::codec::{Swept, decode};
use crate::store::keys::{self, KeySpace};
use crate::store::kv::Kv;

/// Records of one kind that a turn erases at a stage, and those that it looks at for that.
const TURN: usize = 64;
const LOOKED_AT: usize = 500;

/// How long a walk waits for a message that is not due yet: an hour where texts are kept for 30 days.
/// That much later than promised the last text of a day may go.
fn slack(kept: Duration) -> Duration {
    kept / 720
}

/// The notes that a message needs which is final now: one for each walk that has passed it.
pub(super) fn notes(message: &Message, retention: &Retention, swept: &Swept) -> Vec<Vec<u8>> {
    let lasted = message.updated_at.since(keys::made_at(message.id.bytes()));
    let late = |stage: &Stage| {
        let kept = retention.of(*stage);
        // Sooner than a walk can come by: one may be under way.
        let old = lasted >= kept.saturating_sub(slack(kept));
        let passed = swept.messages[stage.index()].is_some_and(|mark| message.id <= mark);
        !message.is_past(*stage) && (old || passed)
    };
    let own = |stage: &Stage| *stage == Stage::Text && own_time(message).is_some();
    let stages = Stage::ALL.into_iter();
    stages
        .filter(|stage| late(stage) || (own(stage) && !message.is_past(*stage)))
        .map(|stage| note(stage, message, retention))
        .collect()
}

/// How long its tenant wants its text kept, where that is said.
fn own_time(message: &Message) -> Option<Duration> {
    let terms = message.terms.as_ref()?;
    terms.keep_text_s.map(Duration::from_secs)
}

/// How long what goes of a message at a stage is kept.
fn kept(stage: Stage, message: &Message, retention: &Retention) -> Duration {
    let kept = retention.of(stage);
    let own = own_time(message).filter(|_| stage == Stage::Text);
    own.map_or(kept, |own| own.min(kept))
}

/// The note by which a message is found again at a stage.
fn note(stage: Stage, message: &Message, retention: &Retention) -> Vec<u8> {
    if stage == Stage::Text && own_time(message).is_some() {
        let due = message.updated_at + kept(stage, message, retention);
        return keys::own_time(due, message.id);
    }
    keys::late(stage, message.updated_at, message.id)
}

/// What a turn has found to do.
#[derive(Default)]
pub(super) struct Found {
    messages: Vec<(Stage, MessageId)>,
    /// Messages that are passed before they are due.
    early: Vec<(Stage, MessageId)>,
    /// Notes that have been acted on.
    acted_on: Vec<Vec<u8>>,
    inbound: Vec<(Stage, Vec<u8>)>,
    /// Where the walks were at the look.
    before: Swept,
    /// Where the walks are then, if elsewhere than now.
    swept: Option<Swept>,
    /// True if there may be more to do.
    pub(super) more: bool,
}

impl Found {
    pub(super) fn is_empty(&self) -> bool {
        self.swept.is_none() && self.acted_on.is_empty()
    }
}

/// Looks for what is due, a bounded amount.
pub(super) fn find<K: Kv>(kv: &K, shared: &Shared, now: Timestamp) -> Result<Found, StoreError> {
    let before = shared.swept().clone();
    let mut look = Look {
        kv,
        now,
        retention: shared.keeping.retention,
        swept: before.clone(),
        found: Found::default(),
        seen: HashSet::new(),
    };
    // The last stage first: what is removed needs no other.
    for stage in [Stage::Record, Stage::Number, Stage::Text] {
        look.noted(stage)?;
        look.walk(stage)?;
        look.walk_inbound(stage)?;
    }
    look.own_times()?;
    let mut found = look.found;
    found.swept = (look.swept != before).then_some(look.swept);
    found.before = before;
    Ok(found)
}

struct Look<'a, K> {
    kv: &'a K,
    now: Timestamp,
    retention: Retention,
    swept: Swept,
    found: Found,
    /// Messages that this turn does something with already.
    seen: HashSet<MessageId>,
}

impl<K: Kv> Look<'_, K> {
    fn noted(&mut self, stage: Stage) -> Result<(), StoreError> {
        let until = self.now - self.retention.of(stage);
        let notes = self.kv.scan(keys::late_range(stage, until), false);
        for (count, pair) in notes.take(TURN).enumerate() {
            let (key, _) = pair?;
            self.found.more |= count + 1 == TURN;
            if let Some((_, id)) = keys::of_late(&key) {
                if !self.seen.insert(id) {
                    // Its turn comes when the one of now is done.
                    self.found.more = true;
                    continue;
                }
                self.found.messages.push((stage, id));
            }
            self.found.acted_on.push(key);
        }
        Ok(())
    }

    fn own_times(&mut self) -> Result<(), StoreError> {
        let notes = self.kv.scan(keys::own_time_range(self.now), false);
        for (count, pair) in notes.take(TURN).enumerate() {
            let (key, _) = pair?;
            self.found.more |= count + 1 == TURN;
            if let Some(id) = keys::of_own_time(&key) {
                if !self.seen.insert(id) {
                    self.found.more = true;
                    continue;
                }
                self.found.messages.push((Stage::Text, id));
            }
            self.found.acted_on.push(key);
        }
        Ok(())
    }

    fn walk(&mut self, stage: Stage) -> Result<(), StoreError> {
        let kept = self.retention.of(stage);
        let mut mark = self.swept.messages[stage.index()];
        let mut due = 0;
        let history = self.kv.scan(keys::history_after(mark), false);
        for (looked_at, pair) in history.enumerate() {
            if due >= TURN || looked_at >= LOOKED_AT {
                self.found.more = true;
                break;
            }
            let (key, octets) = pair?;
            let Some(id) = keys::trailing_id(&key).map(|id| MessageId(uuid::Uuid::from_bytes(id)))
            else {
                continue;
            };
            let age = self.now.since(keys::made_at(id.bytes()));
            if age < kept {
                break;
            }
            let message: Message = match decode(&key, &octets) {
                Ok(message) => message,
                Err(error) => {
                    // Left for fsck; the others must go all the same.
                    tracing::error!(%error, "sweep_of_unreadable_record");
                    mark = Some(id);
                    continue;
                }
            };
            if !message.is_past(stage) {
                let is_due = self.now.since(message.updated_at) >= kept;
                if !is_due && age < kept + slack(kept) {
                    break;
                }
                if !self.seen.insert(id) {
                    self.found.more = true;
                    break;
                }
                let list = if is_due {
                    &mut self.found.messages
                } else {
                    &mut self.found.early
                };
                list.push((stage, id));
                due += 1;
            }
            mark = Some(id);
        }
        self.swept.messages[stage.index()] = mark;
        Ok(())
    }

    fn walk_inbound(&mut self, stage: Stage) -> Result<(), StoreError> {
        let kept = self.retention.of(stage);
        let (mut from, end) = KeySpace::Inbound.range();
        let mut due = 0;
        // From tenant to tenant: the first key of each names it.
        while let Some(pair) = self.kv.scan((from, end.clone()), false).next() {
            let Some(tenant) = keys::tenant_of_inbound(&pair?.0) else {
                break;
            };
            let marks = self.swept.inbound.get(&tenant).copied();
            let mut marks = marks.unwrap_or_default();
            let mark = &mut marks[stage.index()];
            let range = keys::inbound_after(&tenant, *mark);
            from = keys::inbound_range(&tenant, None).1;
            for (looked_at, pair) in self.kv.scan(range, false).enumerate() {
                if due >= TURN || looked_at >= LOOKED_AT {
                    self.found.more = true;
                    break;
                }
                let (key, octets) = pair?;
                let Some(id) = keys::trailing_id(&key) else {
                    continue;
                };
                // As with messages, a little late: what was put together of parts bears an older id.
                if self.now.since(keys::made_at(&id)) < kept + slack(kept) {
                    break;
                }
                match decode::<Inbound>(&key, &octets) {
                    Ok(inbound) if inbound.erased.is_past(stage) => {}
                    Ok(_) => {
                        self.found.inbound.push((stage, key));
                        due += 1;
                    }
                    Err(error) => tracing::error!(%error, "sweep_of_unreadable_record"),
                }
                *mark = Some(InboundId(uuid::Uuid::from_bytes(id)));
            }
            if marks.iter().any(Option::is_some) {
                self.swept.inbound.insert(tenant, marks);
            }
        }
        Ok(())
    }
}

impl<K: Kv> Txn<'_, K> {
    /// Does what a turn has found.
    pub(super) fn sweep(&mut self, found: Found, now: Timestamp) -> Result<(), StoreError> {
        if *self.shared.swept() != found.before {
            // A mark was taken back since: the next turn looks anew.
            return Ok(());
        }
        // Before anything is noted anew: it may be under the same key.
        for key in found.acted_on {
            self.write(key, None);
        }
        for (stage, id) in found.messages {
            self.sweep_message(stage, id, now)?;
        }
        for (stage, id) in found.early {
            if let Some(message) = self.final_message(id)? {
                let key = note(stage, &message, &self.shared.keeping.retention);
                self.write(key, Some(Vec::new()));
            }
        }
        for (stage, key) in found.inbound {
            self.sweep_inbound(stage, key, now)?;
        }
        if let Some(swept) = found.swept {
            self.put(keys::swept(), &swept)?;
            // At once: whatever this group makes final behind the marks has to be noted.
            *self.shared.swept() = swept;
        }
        Ok(())
    }

    /// Takes back the marks that a message from a handset comes behind.
    pub(super) fn unpass(&mut self, inbound: &Inbound) -> Result<(), StoreError> {
        let marks = self.shared.swept().inbound.get(&inbound.tenant).copied();
        let before = inbound.id.0.as_u128().checked_sub(1);
        let before = before.map(|id| InboundId(uuid::Uuid::from_u128(id)));
        // Never ahead of it; mostly all are far behind.
        let back = marks.map(|marks| marks.map(|mark| mark.min(before)));
        let Some(back) = back.filter(|back| marks != Some(*back)) else {
            return Ok(());
        };
        let mut swept = self.shared.swept().clone();
        swept.inbound.insert(inbound.tenant.clone(), back);
        self.put(keys::swept(), &swept)?;
        *self.shared.swept() = swept;
        Ok(())
    }

    fn final_message(&self, id: MessageId) -> Result<Option<std::sync::Arc<Message>>, StoreError> {
        match self.look_at(id) {
            Ok(message) => Ok(Some(message).filter(|message| message.status().is_final())),
            Err(StoreError::NotFound) => Ok(None),
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(%error, "sweep_of_unreadable_record");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn sweep_message(
        &mut self,
        stage: Stage,
        id: MessageId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Some(message) = self.final_message(id)? else {
            return Ok(());
        };
        // Corrected by a late receipt meanwhile, or in hand in this very group: another time.
        let retention = &self.shared.keeping.retention;
        let is_due = now.since(message.updated_at) >= kept(stage, &message, retention);
        if !is_due || self.is_in_hand(id) {
            let key = note(stage, &message, retention);
            self.write(key, Some(Vec::new()));
            return Ok(());
        }
        match stage {
            Stage::Text => self.erase_text(id, now),
            Stage::Number => self.erase_number(id, now),
            Stage::Record => self.forget(&message),
        }
    }

    fn erase_text(&mut self, id: MessageId, now: Timestamp) -> Result<(), StoreError> {
        self.change_record(id, |message| message.erase_text(now))
    }

    /// Takes a final message's number out of its record, and unties it from what leads there.
    pub(super) fn erase_number(&mut self, id: MessageId, now: Timestamp) -> Result<(), StoreError> {
        let message = self.look_at(id)?;
        self.unbind(&message)?;
        self.let_go(&message)?;
        self.write(keys::recipient(message.to, id), None);
        let pseudonyms = &self.shared.keeping.pseudonyms;
        self.change_record(id, |message| message.erase_number(pseudonyms, now))
    }

    fn sweep_inbound(
        &mut self,
        stage: Stage,
        key: Vec<u8>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if stage == Stage::Record {
            self.write(key, None);
            return Ok(());
        }
        let Some(mut inbound) = self.get::<Inbound>(&key)? else {
            return Ok(());
        };
        match stage {
            Stage::Number => inbound.erase_number(&self.shared.keeping.pseudonyms, now),
            Stage::Text | Stage::Record => inbound.erase_text(now),
        }
        self.put(key, &inbound)
    }
}

impl Shared {
    /// How far the walks have come.
    pub(super) fn swept(&self) -> std::sync::MutexGuard<'_, Swept> {
        self.swept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
