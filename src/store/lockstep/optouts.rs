//! What handsets send, opting out and in, on the model and on every store.

use std::sync::Arc;

use super::{Model, Run};
use crate::domain::event::Event;
use crate::domain::fixtures::{number, random};
use crate::domain::id::{InboundId, MessageId};
use crate::domain::inbound::Inbound;
use crate::domain::message::Message;
use crate::domain::msisdn::Msisdn;
use crate::domain::optout::{Opposed, OptOut, Source};
use crate::domain::privacy::Erased;
use crate::domain::time::Timestamp;
use crate::store::conformance::shop;
use crate::store::{Store, StoreError};

impl Model {
    fn opt_out(&mut self, number: Msisdn, now: Timestamp) -> Vec<Message> {
        if !self.opted_out.insert(number) {
            return Vec::new();
        }
        let to_it = |(id, message): (&MessageId, &Message)| (message.to == number).then_some(*id);
        let ids: Vec<_> = self.messages.iter().filter_map(to_it).collect();
        ids.into_iter()
            .filter_map(|id| self.apply(id, &Event::OptedOut, now))
            .collect()
    }
}

impl Run {
    /// A number opts out, by a keyword or by the API.
    pub(super) async fn opt_out(&mut self, stores: &[Arc<dyn Store>], now: Timestamp) {
        let number = number(self.pick(5));
        let by_keyword = self.pick(2) == 0;
        self.model.heard += usize::from(by_keyword);
        let expected = self.model.opt_out(number, now);
        for message in &expected {
            self.written(message.id);
        }
        self.next += 1;
        for store in stores {
            let failed = if by_keyword {
                let taken = store.take_in(vec![self.wrote(number, "Stop.")]).await;
                taken.unwrap().failed
            } else {
                store.opt_out(optout(number, now)).await.unwrap()
            };
            let failed: Vec<_> = failed.iter().map(|c| (*c.message).clone()).collect();
            assert_eq!(failed, expected);
        }
    }

    /// And in again.
    pub(super) async fn opt_in(&mut self, stores: &[Arc<dyn Store>]) {
        let number = number(self.pick(5));
        let was_out = self.model.opted_out.remove(&number);
        let by_keyword = self.pick(2) == 0;
        self.model.heard += usize::from(by_keyword);
        self.next += 1;
        for store in stores {
            if by_keyword {
                let wrote = self.wrote(number, "START");
                assert!(store.take_in(vec![wrote]).await.unwrap().failed.is_empty());
            } else {
                assert_eq!(store.opt_in(&shop(), number, None).await.is_ok(), was_out);
            }
            let now_out = store.optout(&shop(), number).await;
            assert_eq!(now_out, Err(StoreError::NotFound));
        }
    }

    /// The SIM shows a message: anew, or once more because it could not be deleted.
    pub(super) async fn hear(&mut self, stores: &[Arc<dyn Store>]) {
        let fingerprint = u8::try_from(self.pick(6)).unwrap();
        let is_new = self.model.shown.insert(fingerprint);
        self.model.heard += usize::from(is_new);
        self.next += 1;
        for store in stores {
            let inbound = Inbound {
                fingerprint: Some([fingerprint; 16]),
                ..self.wrote(number(9), "bonjour")
            };
            let taken = store.take_in(vec![inbound]).await.unwrap();
            assert_eq!(taken.received.len(), usize::from(is_new));
        }
    }

    fn wrote(&self, from: Msisdn, text: &str) -> Inbound {
        let now = self.instant();
        Inbound {
            id: InboundId::new(now, random(self.next)),
            tenant: shop(),
            account: "a".into(),
            channel: "a#1".into(),
            from: from.to_string(),
            to: "36111".to_owned(),
            text: text.to_owned(),
            part: None,
            received_at: now,
            keyword: None,
            incomplete: false,
            erased: Erased::default(),
            fingerprint: None,
        }
    }
}

fn optout(number: Msisdn, since: Timestamp) -> OptOut {
    OptOut {
        tenant: shop(),
        number: Opposed::Number(number),
        sender: None,
        since,
        source: Source::Api,
    }
}
