//! Messages under way: which permit each holds, what of it is asked for next, and when it lands.
//!
//! A channel has one segment of a message in hand at a time. The next one is asked for only after
//! the commit of the answer to the one before, of the same channel, under the same permit; what is
//! left is read from the committed record, so that a part which any answer or receipt has proved to
//! be with the carrier is never sent again. A permit comes home only after the outcome is
//! committed: it never stands for two parts whose answers are not durable.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::channel::{ChannelHandle, SubmitRequest};
use crate::domain::id::{Account, ChannelId};
use crate::domain::message::{Message, Progress, Segment, State, Token};
use crate::domain::text::TextRules;
use crate::domain::time::Timestamp;

/// A message that a channel has in hand.
struct Flight {
    /// Dropped with the flight, and so given back to its channel's window.
    _permit: OwnedSemaphorePermit,
    account: Account,
    channel: ChannelId,
    /// The part that the channel has in hand.
    segment: u16,
    /// How texts travel over the account.
    rules: TextRules,
    requests: mpsc::Sender<SubmitRequest>,
}

/// Every message under way; their number is bounded by the windows.
#[derive(Default)]
pub(crate) struct Flights {
    flights: Mutex<HashMap<Token, Flight>>,
}

/// What became of a flight whose part was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Onward {
    /// Its next part is with the channel.
    Flies,
    /// There is nothing more to send under this claim.
    Landed,
    /// It cannot go on now, and is to be given back with the parts that the carrier has.
    Stranded,
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, HashMap<Token, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A claimed message leaves over `channel`, with a permit of it. False if the channel has
    /// stopped meanwhile: the message is to be given back, and the permit is home.
    #[must_use]
    pub(super) fn start(
        &self,
        message: &Message,
        rules: TextRules,
        permit: OwnedSemaphorePermit,
        channel: &ChannelHandle,
    ) -> bool {
        let Some(request) = next_part(message, rules) else {
            return false;
        };
        let token = request.token;
        let flight = Flight {
            _permit: permit,
            account: channel.account.clone(),
            channel: channel.id.clone(),
            segment: request.segment,
            rules,
            requests: channel.requests.clone(),
        };
        // Known before the channel can report on it.
        self.lock().insert(token, flight);
        let taken = channel.requests.try_send(request).is_ok();
        if !taken {
            self.end(token);
        }
        taken
    }

    /// An accepted part of it is committed, and `message` is the record now: `None` if the answer
    /// told nothing new.
    #[must_use]
    pub(super) fn go_on(&self, token: Token, message: Option<&Message>, now: Timestamp) -> Onward {
        let mut flights = self.lock();
        let Some(flight) = flights.get_mut(&token) else {
            // A late answer, to a claim that has ended.
            return Onward::Landed;
        };
        let onward = match message {
            None => Onward::Stranded,
            Some(message) if !holds(message, token) => Onward::Landed,
            Some(message) if message.expires_at <= now => Onward::Stranded,
            Some(message) => {
                let next = next_part(message, flight.rules);
                let sent = next.map(|request| {
                    flight.segment = request.segment;
                    flight.requests.try_send(request).is_ok()
                });
                if sent == Some(true) {
                    Onward::Flies
                } else {
                    Onward::Stranded
                }
            }
        };
        if onward == Onward::Landed {
            flights.remove(&token);
        }
        onward
    }

    /// Where a message went, while it is under way.
    pub(super) fn channel(&self, token: Token) -> Option<(Account, ChannelId)> {
        self.lock()
            .get(&token)
            .map(|flight| (flight.account.clone(), flight.channel.clone()))
    }

    /// What a channel has in hand: which part of which message.
    pub(super) fn of(&self, channel: &ChannelHandle) -> Vec<(Token, u16)> {
        let flights = self.lock();
        let mine = flights
            .iter()
            .filter(|(_, flight)| flight.requests.same_channel(&channel.requests));
        mine.map(|(token, flight)| (*token, flight.segment))
            .collect()
    }

    /// Its outcome is committed: the permit goes home.
    pub(super) fn end(&self, token: Token) {
        self.lock().remove(&token);
    }

    /// Number of messages under way.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}

/// What reports on the present claim of a message are addressed to.
pub(super) fn token(message: &Message) -> Token {
    let sending = message.sending();
    Token {
        message: message.id,
        attempt: sending.attempt,
        claim: sending.claim,
    }
}

/// True if the claim that `by` speaks for is in force.
fn holds(message: &Message, by: Token) -> bool {
    matches!(message.state, State::Leased(_)) && token(message) == by
}

/// Number of parts on the air that a claim still has to send: a text that is handed over whole
/// counts as the parts that the SMSC makes of it.
pub(super) fn parts_left(message: &Message) -> usize {
    let sent = current(message).iter().filter(|part| has(part)).count();
    let plan = message.current_plan();
    match plan.count().saturating_sub(sent) {
        1 if plan.count() == 1 => plan.on_air(&message.text),
        left => left,
    }
}

/// What a channel is asked to send next: the first segment that the carrier does not have yet.
fn next_part(message: &Message, rules: TextRules) -> Option<SubmitRequest> {
    let done = current(message);
    let plan = message.current_plan();
    let (index, text) = plan
        .slices(&message.text)
        .enumerate()
        .find(|(index, _)| !done.get(*index).is_some_and(has))?;
    Some(SubmitRequest {
        token: token(message),
        to: message.to,
        from: message.from.clone(),
        alphabet: plan.alphabet,
        segment: u16::try_from(index).unwrap_or(u16::MAX),
        payload: Bytes::from(rules.octets(text, plan.alphabet)),
        total: u8::try_from(plan.count()).unwrap_or(u8::MAX),
        reference: message.concat_reference,
        expires_at: message.expires_at,
        priority: message.priority,
        relayed: message.is_relayed().then(|| Arc::new(message.clone())),
    })
}

/// The segments of the present attempt.
fn current(message: &Message) -> &[Segment] {
    message
        .attempts
        .last()
        .map(|attempt| attempt.segments.as_slice())
        .unwrap_or_default()
}

fn has(segment: &Segment) -> bool {
    segment.progress == Progress::Accepted
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::sync::{Semaphore, watch};

    use super::*;
    use crate::channel::{ChannelStatus, Peer, PeerWord};
    use crate::domain::event::Event;
    use crate::domain::fixtures::{START, at, in_parts, lease, policy};

    fn channel() -> (ChannelHandle, mpsc::Receiver<SubmitRequest>) {
        let (requests, inbox) = mpsc::channel(1);
        let handle = ChannelHandle {
            id: ChannelId::from("a#1"),
            account: Account::from("a"),
            window: Arc::new(Semaphore::new(1)),
            window_size: 1,
            requests,
            status: watch::channel(ChannelStatus::Up).1,
            reset: watch::channel(()).0,
            peer: Peer::Smsc(watch::channel(PeerWord::default()).1),
        };
        (handle, inbox)
    }

    /// A message of three parts, claimed.
    fn claimed() -> Message {
        let mut message = in_parts(1, 3);
        apply(&mut message, &Event::Claimed(lease("a", START, START)));
        message
    }

    fn apply(message: &mut Message, event: &Event) {
        let _ = message.apply(event, &policy(), START).unwrap();
    }

    fn accept(message: &mut Message, segment: u16) {
        let event = Event::SegmentAccepted {
            by: message.sending(),
            segment,
            reference: format!("id {segment}"),
        };
        apply(message, &event);
    }

    fn start(
        message: &Message,
        handle: &ChannelHandle,
        inbox: &mut mpsc::Receiver<SubmitRequest>,
    ) -> (Flights, Token) {
        let flights = Flights::default();
        let permit = handle.window.clone().try_acquire_owned().unwrap();
        assert!(flights.start(message, TextRules::default(), permit, handle));
        let first = inbox.try_recv().unwrap();
        assert_eq!(first.segment, 0);
        assert_eq!(flights.of(handle), [(first.token, 0)]);
        assert_eq!(flights.of(&channel().0), []);
        (flights, first.token)
    }

    #[test]
    fn each_part_follows_the_commit_of_the_one_before_under_one_permit() {
        let (handle, mut inbox) = channel();
        let mut message = claimed();
        assert_eq!(parts_left(&message), 3);
        let (flights, token) = start(&message, &handle, &mut inbox);
        for segment in 0..2 {
            assert!(inbox.try_recv().is_err());
            accept(&mut message, segment);
            let onward = flights.go_on(token, Some(&message), START);
            assert_eq!(onward, Onward::Flies);
            assert_eq!(inbox.try_recv().unwrap().segment, segment + 1);
            assert_eq!(handle.window.available_permits(), 0);
        }
        accept(&mut message, 2);
        let onward = flights.go_on(token, Some(&message), START);
        assert_eq!(onward, Onward::Landed);
        assert_eq!((flights.len(), handle.window.available_permits()), (0, 1));
    }

    #[test]
    fn a_message_that_cannot_go_on_is_given_back_and_holds_its_permit_until_that_is_committed() {
        let (handle, mut inbox) = channel();
        let mut message = claimed();
        let (flights, token) = start(&message, &handle, &mut inbox);
        accept(&mut message, 0);
        let expired = at(49 * 3600);
        assert_eq!(flights.go_on(token, None, START), Onward::Stranded);
        let late = flights.go_on(token, Some(&message), expired);
        assert_eq!(late, Onward::Stranded);
        drop(inbox);
        let gone = flights.go_on(token, Some(&message), START);
        assert_eq!(gone, Onward::Stranded);
        assert_eq!(handle.window.available_permits(), 0);
        flights.end(token);
        assert_eq!(handle.window.available_permits(), 1);
    }

    #[test]
    fn a_claim_that_is_lost_sends_nothing_more() {
        let (handle, mut inbox) = channel();
        let mut message = claimed();
        let (flights, token) = start(&message, &handle, &mut inbox);
        apply(&mut message, &Event::LeaseLost);
        let by = crate::domain::event::Sending {
            attempt: token.attempt,
            claim: token.claim,
        };
        let event = Event::SegmentAccepted {
            by,
            segment: 0,
            reference: "late".to_owned(),
        };
        apply(&mut message, &event);
        let onward = flights.go_on(token, Some(&message), START);
        assert_eq!(onward, Onward::Landed);
        assert!(inbox.try_recv().is_err());
        assert_eq!(handle.window.available_permits(), 1);
    }

    #[test]
    fn a_message_for_a_channel_that_has_stopped_leaves_nothing_behind() {
        let (handle, inbox) = channel();
        drop(inbox);
        let permit = handle.window.clone().try_acquire_owned().unwrap();
        let flights = Flights::default();
        assert!(!flights.start(&claimed(), TextRules::default(), permit, &handle));
        assert_eq!((flights.len(), handle.window.available_permits()), (0, 1));
    }
}
