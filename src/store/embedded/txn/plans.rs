//! Plans and what is told once: what becomes of each message of a submission, decided in the writer's
//! turn. See [`Planning`](crate::store::Planning).
//!
//! The message that has a name now is taken in hand before it is judged: from then on no claim can see
//! it, so that it cannot begin to leave between the judgement and the commit. It ends in the commit that
//! stores the new one; of a large submission, in the piece that seals it, for a torn one must not have
//! ended anything. What a crash may have sent without a trace counts as leaving.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::Txn;
use crate::domain::credit::Means;
use crate::domain::event::{Changes, Event};
use crate::domain::id::MessageId;
use crate::domain::message::{Message, State};
use crate::domain::policy::OnDoubt;
use crate::domain::terms::{Charge, Terms};
use crate::domain::time::Timestamp;
use crate::store::codec::Holder;
use crate::store::frontier;
use crate::store::kv::Kv;
use crate::store::{Accepted, Change, Planned, StoreError, keys};

/// How long a name is remembered after it was last used.
pub(in crate::store::embedded) const KEPT: Duration = Duration::from_hours(24 * 366);

/// A submission whose plans have been looked at.
pub(super) struct Sorted {
    /// The messages that are to be stored.
    pub(super) messages: Vec<Message>,
    pub(super) plans: Plans,
}

/// What the plans of a submission come to.
#[derive(Default)]
pub(super) struct Plans {
    /// True if any message has a name.
    any: bool,
    /// What was told before, by its place in the submission.
    told: BTreeMap<usize, Arc<Message>>,
    /// What is replaced, and by what.
    replaced: Vec<(MessageId, MessageId)>,
}

/// What becomes of one message.
enum Verdict {
    Stored,
    InPlaceOf(MessageId),
    Told(Arc<Message>),
    TooLate,
}

impl Plans {
    /// Number of waiting messages that end.
    pub(super) const fn replaced(&self) -> usize {
        self.replaced.len()
    }

    /// The places of what was told before.
    pub(super) fn duplicates(&self) -> Vec<u32> {
        let places = self.told.keys();
        places.filter_map(|it| u32::try_from(*it).ok()).collect()
    }

    /// One entry an item: those of `new`, and of what was told before.
    pub(super) fn in_order<T>(
        &self,
        new: impl ExactSizeIterator<Item = T>,
        told: impl Fn(&Arc<Message>) -> T,
    ) -> Vec<T> {
        let count = new.len() + self.told.len();
        let mut new = new.fuse();
        let entry = |place: usize| match self.told.get(&place) {
            Some(message) => Some(told(message)),
            None => new.next(),
        };
        (0..count).filter_map(entry).collect()
    }

    /// The answer to the submission.
    pub(super) fn answer(self, new: Vec<Arc<Message>>, replaced: Vec<Change>) -> Accepted {
        if !self.any {
            return Accepted::New(new);
        }
        Accepted::Planned(Planned {
            messages: self.in_order(new.into_iter(), Arc::clone),
            duplicates: self.told.into_keys().collect(),
            replaced,
        })
    }
}

fn is_named(message: &Message) -> bool {
    let named = |terms: &Terms| terms.schedule_key.is_some() || terms.once_key.is_some();
    message.terms.as_deref().is_some_and(named)
}

impl<K: Kv> Txn<'_, K> {
    /// Judges each message of a submission by its names. Writes nothing.
    ///
    /// # Errors
    /// `PlanTooLate`, or the engine's own.
    pub(super) fn sort(&mut self, messages: Vec<Message>) -> Result<Sorted, StoreError> {
        let mut plans = Plans {
            any: messages.iter().any(is_named),
            ..Plans::default()
        };
        if !plans.any {
            return Ok(Sorted { messages, plans });
        }
        let mut sorted = Vec::with_capacity(messages.len());
        let mut late = Vec::new();
        let mut taken: HashSet<Vec<u8>> = HashSet::new();
        for (place, mut message) in messages.into_iter().enumerate() {
            // A name has one message: a second one of the same submission cannot stand in its place yet.
            let mut repeated = false;
            for name in keys::names(&message) {
                repeated |= !taken.insert(name);
            }
            let verdict = if repeated {
                Verdict::TooLate
            } else {
                self.judge(&message)?
            };
            match verdict {
                Verdict::Stored => {}
                Verdict::InPlaceOf(other) => {
                    message.terms.get_or_insert_default().replaces = Some(other);
                    plans.replaced.push((other, message.id));
                }
                Verdict::Told(first) => {
                    plans.told.insert(place, first);
                    continue;
                }
                Verdict::TooLate => late.push(place),
            }
            sorted.push(message);
        }
        if late.is_empty() {
            Ok(Sorted {
                messages: sorted,
                plans,
            })
        } else {
            Err(StoreError::PlanTooLate { items: late })
        }
    }

    fn judge(&mut self, message: &Message) -> Result<Verdict, StoreError> {
        let Some(terms) = message.terms.as_deref() else {
            return Ok(Verdict::Stored);
        };
        let tenant = &message.tenant;
        let plan = terms.schedule_key.as_deref();
        let once = terms.once_key.as_deref();
        if let Some(name) = once
            && let Some(first) = self.holder(&keys::once(tenant, name))?
            && !has_ended_here(&first)
        {
            let its_plan = first.terms.as_deref();
            let its_plan = its_plan.and_then(|terms| terms.schedule_key.as_deref());
            let again = plan.is_some() && plan == its_plan && self.is_still_here(&first);
            if !again {
                return Ok(Verdict::Told(first));
            }
        }
        if let Some(name) = plan
            && let Some(last) = self.holder(&keys::plan(tenant, name))?
        {
            return Ok(if self.is_still_here(&last) {
                Verdict::InPlaceOf(last.id)
            } else if has_ended_here(&last) {
                Verdict::Stored
            } else {
                Verdict::TooLate
            });
        }
        Ok(Verdict::Stored)
    }

    /// The message that has a name now, taken in hand; `None`: nobody has.
    fn holder(&mut self, name: &[u8]) -> Result<Option<Arc<Message>>, StoreError> {
        let Some(Holder { message: id, .. }) = self.get::<Holder>(name)? else {
            return Ok(None);
        };
        if !self.held.contains_key(&id)
            && let Some(place) = self.fresh.iter().rposition(|message| message.id == id)
        {
            // Of this very group: no record is there to be read yet.
            let message = self.fresh.swap_remove(place);
            self.in_hand(message);
        }
        match self.hold(id) {
            Ok(held) => Ok(Some(held.message.clone())),
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// True if a message in hand waits, and it is certain that nothing of it has left.
    fn is_still_here(&self, message: &Message) -> bool {
        let State::Waiting { due_at, .. } = message.state else {
            return false;
        };
        // By the same rule as a claim marks what an earlier life may have sent.
        let unseen = message.on_doubt != Some(OnDoubt::Fail) && !message.must_be_seen_leaving();
        let place = (due_at, message.id);
        let rank = frontier::rank(message);
        message.is_still_here() && !(unseen && self.shared.frontier().is_doubtful(&rank, place))
    }

    /// Marks a message that an earlier life may have sent: its place alone tells that, and it is about to
    /// leave it.
    pub(super) fn keep_doubt(&mut self, id: MessageId, now: Timestamp) -> Result<(), StoreError> {
        let (policy, shared) = (self.policy.clone(), self.shared);
        let message = self.hold(id)?.message.clone();
        if !message.is_still_here() || self.is_still_here(&message) {
            return Ok(());
        }
        drop(message);
        self.change_record(id, |message| {
            // Refused if that is known of it already.
            let _ = message.apply(&Event::MayHaveLeft, &policy, now);
            shared.stamp(message);
        })
    }

    /// What the messages that a submission replaces have taken.
    pub(super) fn charges(&self, plans: &Plans) -> Vec<Charge> {
        let replaced = plans.replaced.iter();
        let held = replaced.filter_map(|(old, _)| self.look_at(*old).ok());
        let terms = held.filter_map(|message| message.terms.clone());
        terms.filter_map(|terms| terms.charge).collect()
    }

    /// Ends what is replaced, and gives the names to those that have them now.
    pub(super) fn take_over(
        &mut self,
        plans: &Plans,
        accepted: &[Arc<Message>],
        now: Timestamp,
    ) -> Result<Vec<Change>, StoreError> {
        let mut replaced = Vec::with_capacity(plans.replaced.len());
        for (old, new) in &plans.replaced {
            replaced.extend(self.apply(*old, &Event::Replaced(*new), now)?.ok());
        }
        for message in accepted.iter().filter(|_| plans.any) {
            let holder = Holder {
                message: message.id,
                at: now,
            };
            for name in keys::names(message) {
                self.put(name, &holder)?;
            }
        }
        Ok(replaced)
    }

    /// Changes a message that still is as it was seen.
    pub(in crate::store::embedded) fn change(
        &mut self,
        seen: &Message,
        mut changes: Changes,
        means: &Means,
        now: Timestamp,
    ) -> Result<Option<Change>, StoreError> {
        let message = self.hold(seen.id)?.message.clone();
        if !self.is_still_here(&message) || !message.can_take(&changes) {
            return Err(StoreError::TooLate);
        }
        if *message != *seen {
            return Ok(None);
        }
        drop(message);
        self.pay_anew(seen, &mut changes, means, now)?;
        let changed = self.apply(seen.id, &Event::Changed(Box::new(changes)), now)?;
        changed.map(Some).map_err(StoreError::from)
    }

    /// Takes its names from a message that is forgotten.
    pub(in crate::store::embedded) fn let_go(
        &mut self,
        message: &Message,
    ) -> Result<(), StoreError> {
        for name in keys::names(message) {
            match self.get::<Holder>(&name) {
                Ok(Some(holder)) if holder.message == message.id => self.write(name, None),
                Ok(_) => {}
                // Left for fsck: it must not keep what is due to go.
                Err(error @ StoreError::Corrupt { .. }) => {
                    tracing::error!(%error, "name_unreadable");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Forgets a name that nobody has used for long, unless somebody has since the look that found it.
    pub(in crate::store::embedded) fn forget_name(
        &mut self,
        name: Vec<u8>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if let Some(holder) = self.get::<Holder>(&name)?
            && now.since(holder.at) >= KEPT
            && !self.is_there(&keys::live(holder.message))?
        {
            self.write(name, None);
        }
        Ok(())
    }
}

/// True if it is over, and it is certain that nothing of it has left.
fn has_ended_here(message: &Message) -> bool {
    message.status().is_final() && !message.may_have_left()
}
