//! Plans, what is told once, and changes, on the model and on every store.

use std::sync::Arc;
use std::time::Duration;

use super::{Model, Run};
use crate::domain::apply::Transition;
use crate::domain::credit::Means;
use crate::domain::event::{Changes, Event};
use crate::domain::id::MessageId;
use crate::domain::message::{Message, WaitReason};
use crate::domain::policy::OnDoubt;
use crate::domain::status::Status;
use crate::domain::terms::Terms;
use crate::domain::time::Timestamp;
use crate::store::conformance::submission;
use crate::store::{Accepted, Change, Planned, Store, StoreError};

/// A name: whether it is of what is told once, and the word.
pub(super) type Name = (bool, String);

type Answer = Result<Accepted, StoreError>;

impl Model {
    /// The message that has a name. Whoever looks at it puts it back where it belongs.
    fn holder(&mut self, name: Option<&Name>) -> Option<Message> {
        let id = self.names.get(name?)?;
        self.over.retain(|other| other != id);
        self.messages.get(id).cloned()
    }

    /// Whether a message can be taken back. The model knows of which an earlier life has sent some, and
    /// of which it may have; in between, the store has drawn the line.
    fn is_here(&self, message: &Message, says_the_store: bool) -> bool {
        let id = message.id;
        if !message.is_still_here() {
            return false;
        }
        if message.on_doubt == Some(OnDoubt::Fail) || !self.suspects.contains(&id) {
            return true;
        }
        assert!(
            !(says_the_store && self.doubtful.contains(&id)),
            "{id} may have left"
        );
        says_the_store
    }

    fn plan(&mut self, mut message: Message, answer: &Answer, now: Timestamp) -> Answer {
        let mut terms = message.terms.take().unwrap_or_default();
        let once = terms.once_key.clone().map(|name| (true, name));
        let plan = terms.schedule_key.clone().map(|name| (false, name));
        let replaced = match answer {
            Ok(Accepted::Planned(planned)) => planned.replaced.first().map(|it| it.message.id),
            _ => None,
        };
        let has_ended = |it: &Message| it.status().is_final() && !it.may_have_left();
        if let Some(first) = self.holder(once.as_ref()).filter(|it| !has_ended(it)) {
            let its_plan = first.terms.as_ref().and_then(|it| it.schedule_key.as_ref());
            let same = terms.schedule_key.is_some() && its_plan == terms.schedule_key.as_ref();
            if !(same && self.is_here(&first, replaced == Some(first.id))) {
                return Ok(Accepted::Planned(Planned {
                    messages: vec![Arc::new(first)],
                    duplicates: vec![0],
                    replaced: Vec::new(),
                }));
            }
        }
        let mut gone = Vec::new();
        if let Some(last) = self.holder(plan.as_ref()) {
            if self.is_here(&last, replaced == Some(last.id)) {
                terms.replaces = Some(last.id);
                let ended = self.apply(last.id, &Event::Replaced(message.id), now);
                let message = Arc::new(ended.unwrap());
                let (from, to) = (Status::Pending, Status::Cancelled);
                let transition = Transition { from, to };
                gone.push(Change {
                    message,
                    transition,
                });
            } else if !has_ended(&last) {
                return Err(StoreError::PlanTooLate { items: vec![0] });
            }
        }
        let id = message.id;
        let names = once.into_iter().chain(plan);
        self.names.extend(names.map(|name| (name, id)));
        message.terms = Some(terms);
        let out = self.opted_out.contains(&message.to);
        self.messages.insert(id, message);
        if out {
            self.apply(id, &Event::OptedOut, now).unwrap();
        }
        Ok(Accepted::Planned(Planned {
            messages: vec![Arc::new(self.messages[&id].clone())],
            duplicates: Vec::new(),
            replaced: gone,
        }))
    }
}

impl Run {
    /// A message of a plan, or one that is told once, or both.
    pub(super) async fn plan(&mut self, stores: &[Arc<dyn Store>], now: Timestamp) {
        let word = |n: u64| (n < 3).then(|| format!("name {n}"));
        let (plan, once) = match self.pick(3) {
            0 => (word(self.pick(3)), None),
            1 => (None, word(self.pick(3))),
            _ => (word(self.pick(3)), word(self.pick(3))),
        };
        let terms = Terms {
            schedule_key: plan,
            once_key: once,
            ..Terms::default()
        };
        let message = Message {
            terms: Some(Box::new(terms)),
            ..self.fresh()
        };
        let mut answers = Vec::new();
        for store in stores {
            answers.push(store.accept(submission(vec![message.clone()])).await);
        }
        let expected = self.model.plan(message, &answers[0], now);
        if let Ok(Accepted::Planned(planned)) = &expected {
            let ended = planned.replaced.iter().map(|it| it.message.id);
            ended.for_each(|id| self.written(id));
        }
        for answer in answers {
            assert_eq!(answer, expected);
        }
    }

    /// The text or the time of some message is changed, as it is or as it never was.
    pub(super) async fn change(&mut self, stores: &[Arc<dyn Store>], now: Timestamp) {
        let known: Vec<MessageId> = self.model.messages.keys().copied().collect();
        let count = u64::try_from(known.len()).unwrap();
        if count == 0 {
            return;
        }
        let id = known[usize::try_from(self.pick(count)).unwrap()];
        let mut seen = self.model.messages[&id].clone();
        let stale = self.pick(4) == 0;
        if stale {
            seen.revision += 1;
        }
        let mut as_if = seen.clone();
        as_if.state = crate::domain::message::State::Waiting {
            due_at: now + Duration::from_secs(self.pick(3) * 20),
            why: WaitReason::ScheduledByClient,
        };
        let mut changes = Changes::none(&as_if).unwrap();
        if self.pick(2) == 0 {
            changes.text = format!("changed {}", self.next);
            changes.plan = crate::domain::text::TextRules::default().plan(&changes.text);
        }
        let seen = Arc::new(seen);
        let mut answers = Vec::new();
        for store in stores {
            let (seen, changes) = (seen.clone(), changes.clone());
            answers.push(store.change(seen, changes, Means::default(), now).await);
        }
        self.model.over.retain(|other| *other != id);
        let message = self.model.messages[&id].clone();
        let expected = if !self
            .model
            .is_here(&message, answers[0] != Err(StoreError::TooLate))
        {
            Err(StoreError::TooLate)
        } else if stale {
            Ok(None)
        } else {
            let event = Event::Changed(Box::new(changes));
            let changed = self.model.apply(id, &event, now);
            changed.map(Some).ok_or(StoreError::TooLate)
        };
        if matches!(expected, Ok(Some(_))) {
            self.written(id);
        }
        for answer in answers {
            let answer = answer.map(|change| change.map(|it| (*it.message).clone()));
            assert_eq!(answer, expected);
        }
    }
}
