//! What recipients want: opt-outs by sender and without numbers, consents, numbers that nobody has.

use super::on_every_engine;
use super::world::{World, receipt, shop, submission, token};
use crate::domain::consent::{Consent, MARKETING, NOTES_MAX, Said};
use crate::domain::event::Rejection;
use crate::domain::fixtures::{at, message, message_id, number, random};
use crate::domain::id::InboundId;
use crate::domain::inbound::Inbound;
use crate::domain::message::{Cause, Class, Message};
use crate::domain::optout::{Opposed, OptOut, Source};
use crate::domain::policy::Face;
use crate::domain::privacy::{Erased, Keeping, Pseudonyms};
use crate::domain::receipt::{NetworkError, Receipt, ReceiptState};
use crate::domain::sender::Sender;
use crate::domain::status::Status;
use crate::domain::terms::Terms;
use crate::domain::time::Timestamp;
use crate::store::conformance::Call;
use crate::store::{
    Accepted, InvalidNumber, Known, Noted, OutboxEvent, ReceiptReport, Report, Store, StoreError,
    Webhook,
};

on_every_engine! {
    an_opt_out_from_one_sender_stops_its_messages_alone,
    a_message_without_a_sender_shows_that_of_its_account,
    a_start_ends_every_opt_out_of_its_number,
    opt_outs_without_numbers_stop_messages_and_show_no_number,
    numbers_of_opt_outs_become_what_stands_for_them_at_the_next_start,
    many_opt_outs_are_one_commit_and_each_says_whether_it_is_new,
    a_withdrawal_fails_what_waited_under_its_consent_in_the_same_commit,
    a_consent_taken_back_between_check_and_acceptance_is_missing,
    a_message_leased_at_the_withdrawal_fails_when_it_would_wait_again,
    a_history_is_full_for_grants_and_never_for_a_withdrawal,
    histories_are_listed_page_by_page,
    a_number_that_nobody_has_is_known_with_the_message_that_told_and_is_told_once,
    a_later_delivery_shows_that_somebody_has_the_number,
    numbers_that_nobody_has_are_listed_since_a_time_and_forgotten_in_time,
    consents_and_invalid_numbers_are_known_of_a_number_and_erased_with_it,
    wishes_of_others_cost_a_message_no_key_more,
}

fn sender(text: &str) -> Sender {
    Sender::parse(text).unwrap()
}

/// The opt-out of number `n` at second `n`.
fn optout(n: u64, from: Option<&str>) -> OptOut {
    OptOut {
        tenant: shop(),
        number: Opposed::Number(number(n)),
        sender: from.map(sender),
        since: at(n),
        source: Source::Api,
    }
}

/// Message `n` to number 1 that shows this sender.
fn shows(n: u64, from: Option<&str>) -> Message {
    let mut message = message(n);
    message.to = number(1);
    message.from = from.map(sender);
    message
}

/// Message `n` to number 1, for a purpose that needs a consent.
fn marketing(n: u64) -> Message {
    let mut message = shows(n, None);
    message.class = Class::Commercial;
    message.terms = Some(Box::new(Terms {
        purpose: Some(MARKETING.to_owned()),
        ..Terms::default()
    }));
    message
}

fn said(granted: bool, wording: &str) -> Said {
    Said {
        granted,
        given_at: None,
        by: "desk".to_owned(),
        wording: Some(wording.to_owned()),
        source: None,
        proof: None,
    }
}

fn wrote(n: u64, text: &str) -> Inbound {
    Inbound {
        id: InboundId::new(at(n), random(n)),
        tenant: shop(),
        account: "a".into(),
        channel: "a#1".into(),
        from: number(1).to_string(),
        to: "36111".to_owned(),
        text: text.to_owned(),
        part: None,
        received_at: at(n),
        keyword: None,
        incomplete: false,
        erased: Erased::default(),
        fingerprint: None,
    }
}

fn hashing() -> Keeping {
    Keeping {
        hashed_optouts: true,
        pseudonyms: Pseudonyms::of_installation(b"key"),
        ..Keeping::default()
    }
}

impl dyn Store {
    async fn end(&self, n: u64) -> Option<Cause> {
        let message = self.message(&shop(), message_id(n)).await.unwrap();
        message.reason()
    }

    async fn says(&self, n: u64, granted: bool, now: Timestamp) -> Noted {
        let all = vec![(number(n), MARKETING.to_owned(), said(granted, "yes"))];
        let noted = self.note_consents(&shop(), all, now).await;
        noted.unwrap().remove(0)
    }

    async fn every_optout(&self) -> Vec<OptOut> {
        self.optouts(&shop(), None, 100).await.unwrap().items
    }
}

async fn an_opt_out_from_one_sender_stops_its_messages_alone(world: World) {
    let store = world.open(at(0));
    store.takes(vec![shows(1, Some("Club"))]).await;
    store.takes(vec![shows(2, Some("Shop"))]).await;
    let failed = store.opt_out(optout(1, Some("CLUB"))).await.unwrap();
    assert_eq!(failed.len(), 1);
    assert_eq!(store.end(1).await, Some(Cause::OptedOut));
    assert_eq!(store.end(2).await, None);
    let whole = store.optout(&shop(), number(1)).await;
    assert_eq!(whole, Err(StoreError::NotFound), "not from everything");
    // In another writing it is the same one.
    assert!(
        store
            .opt_out(optout(1, Some("club")))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(store.every_optout().await.len(), 1);
    let store = world.reopen(store, at(2)).await;
    store
        .takes(vec![shows(3, Some("cLUB")), shows(4, Some("Shop"))])
        .await;
    assert_eq!(store.end(3).await, Some(Cause::OptedOut));
    assert_eq!(store.end(4).await, None);
    assert_eq!(store.claims(9, at(5)).await.len(), 2);
    let all = store.opt_in(&shop(), number(1), None).await;
    assert_eq!(all, Err(StoreError::NotFound));
    store
        .opt_in(&shop(), number(1), Some(&sender("club")))
        .await
        .unwrap();
    store.takes(vec![shows(5, Some("Club"))]).await;
    assert_eq!(store.end(5).await, None);
    world.finish(store).await;
}

async fn a_message_without_a_sender_shows_that_of_its_account(world: World) {
    let store = world.open(at(0));
    store.opt_out(optout(1, Some("Club"))).await.unwrap();
    store.takes(vec![shows(1, None)]).await;
    assert_eq!(store.end(1).await, None, "nobody knows what it shows");
    let mut rules = (**world.policy.borrow()).clone();
    let mut accounts = rules.operators[0].route.iter().flatten();
    let account = accounts.next().unwrap().clone();
    let face = Face {
        sender: Some(sender("CLUB")),
        stop: None,
    };
    rules.faces.insert(account, face);
    world.policy.send_replace(std::sync::Arc::new(rules));
    store.takes(vec![shows(2, None)]).await;
    assert_eq!(store.end(2).await, Some(Cause::OptedOut));
    // And what waits already, when it is its turn.
    assert!(store.claims(9, at(5)).await.is_empty());
    assert_eq!(store.end(1).await, Some(Cause::OptedOut));
    world.finish(store).await;
}

async fn a_start_ends_every_opt_out_of_its_number(world: World) {
    let store = world.open(at(0));
    for from in [None, Some("Club"), Some("Shop")] {
        store.opt_out(optout(1, from)).await.unwrap();
    }
    let known = store.optouts_of(&shop(), number(1)).await.unwrap();
    let from: Vec<_> = known.iter().map(|it| it.sender.clone()).collect();
    assert_eq!(from, [None, Some(sender("Club")), Some(sender("Shop"))]);
    // In one group: what this very commit has written goes too.
    let both = vec![wrote(2, "STOP"), wrote(3, "START")];
    store.take_in(both).await.unwrap();
    assert!(store.every_optout().await.is_empty());
    let store = world.reopen(store, at(4)).await;
    store.takes(vec![shows(1, Some("Club"))]).await;
    assert_eq!(store.end(1).await, None);
    world.finish(store).await;
}

async fn opt_outs_without_numbers_stop_messages_and_show_no_number(mut world: World) {
    world.keeping = hashing();
    let store = world.open(at(0));
    store.takes(vec![shows(1, None)]).await;
    assert_eq!(store.opt_out(optout(1, None)).await.unwrap().len(), 1);
    assert!(store.opt_out(optout(1, None)).await.unwrap().is_empty());
    store.opt_out(optout(2, Some("Club"))).await.unwrap();
    let known = store.optout(&shop(), number(1)).await.unwrap();
    let mark = Opposed::hashed(&hashing().pseudonyms, &shop(), number(1));
    assert_eq!(known.number, mark);
    assert_ne!(
        mark,
        Opposed::hashed(&hashing().pseudonyms, &"other".into(), number(1))
    );
    let store = world.reopen(store, at(2)).await;
    store.takes(vec![shows(2, None)]).await;
    assert_eq!(store.end(2).await, Some(Cause::OptedOut));
    assert_eq!(store.every_optout().await.len(), 2);
    // Who holds the number still learns that it has opted out.
    let page = store.known_of(number(1), None).await.unwrap();
    let optouts = |known: &&Known| matches!(known, Known::OptOut(_));
    assert_eq!(page.known.iter().filter(optouts).count(), 1);
    store.take_in(vec![wrote(3, "START")]).await.unwrap();
    store.takes(vec![shows(3, None)]).await;
    assert_eq!(store.end(3).await, None);
    // By keyword no number is kept either.
    store.take_in(vec![wrote(4, "STOP")]).await.unwrap();
    assert_eq!(store.end(3).await, Some(Cause::OptedOut));
    let numbers = store.every_optout().await;
    assert!(numbers.iter().all(|it| it.number.number().is_none()));
    world.finish(store).await;
}

async fn numbers_of_opt_outs_become_what_stands_for_them_at_the_next_start(mut world: World) {
    let store = world.open(at(0));
    for n in 1..=300 {
        store.opt_out(optout(n, None)).await.unwrap();
    }
    store.opt_out(optout(1, Some("Club"))).await.unwrap();
    world.finish(store).await;
    world.keeping = hashing();
    let store = world.open(at(2));
    let all = store.optouts(&shop(), None, 1000).await.unwrap().items;
    assert_eq!(all.len(), 301);
    assert!(all.iter().all(|it| it.number.number().is_none()));
    store.takes(vec![shows(1, None)]).await;
    assert_eq!(store.end(1).await, Some(Cause::OptedOut));
    assert_eq!(store.optouts_of(&shop(), number(1)).await.unwrap().len(), 2);
    world.finish(store).await;
    // There is no way back, and what is there goes on to count.
    world.keeping.hashed_optouts = false;
    let store = world.open(at(3));
    store.opt_out(optout(900, None)).await.unwrap();
    store.takes(vec![shows(2, None)]).await;
    assert_eq!(store.end(2).await, Some(Cause::OptedOut));
    assert!(store.opt_out(optout(1, None)).await.unwrap().is_empty());
    store.opt_in(&shop(), number(1), None).await.unwrap();
    store.takes(vec![shows(3, None)]).await;
    assert_eq!(store.end(3).await, None);
    world.finish(store).await;
}

async fn many_opt_outs_are_one_commit_and_each_says_whether_it_is_new(world: World) {
    let (store, probe) = world.open_probed(at(0));
    store.takes(vec![shows(1, None)]).await;
    let _ = probe.calls();
    let optouts = [1, 2, 1, 3].map(|n| optout(n, None)).to_vec();
    let opted = store.opt_out_all(optouts, at(9)).await.unwrap();
    let new: Vec<_> = opted.iter().map(|it| it.new).collect();
    assert_eq!(new, [true, true, false, true]);
    assert_eq!(opted[0].failed.len(), 1);
    assert_eq!(opted[0].failed[0].message.updated_at, at(9), "not long ago");
    let commits = probe.calls().into_iter();
    assert_eq!(commits.filter(|call| matches!(call, Call::Sync)).count(), 1);
    drop(probe);
    world.finish(store).await;
}

async fn a_withdrawal_fails_what_waited_under_its_consent_in_the_same_commit(world: World) {
    let (store, probe) = world.open_probed(at(0));
    assert!(!store.has_consent(&shop(), number(1), MARKETING));
    let Noted::Done(consent, true, failed) = store.says(1, true, at(1)).await else {
        panic!("not written down");
    };
    assert!(consent.is_in_force() && failed.is_empty());
    assert!(store.has_consent(&shop(), number(1), MARKETING));
    assert!(!store.has_consent(&"other".into(), number(1), MARKETING));
    assert!(!store.has_consent(&shop(), number(1), "club"));
    store.takes(vec![marketing(1), marketing(2)]).await;
    store.takes(vec![shows(3, None)]).await;
    let _ = probe.calls();
    let Noted::Done(_, true, failed) = store.says(1, false, at(4)).await else {
        panic!("not written down");
    };
    assert_eq!(failed.len(), 2);
    let calls = probe.calls().into_iter();
    assert_eq!(calls.filter(|call| matches!(call, Call::Sync)).count(), 1);
    assert_eq!(store.end(1).await, Some(Cause::OptedOut));
    assert_eq!(store.end(3).await, None, "not marketing");
    assert!(matches!(
        store.says(1, false, at(5)).await,
        Noted::Done(_, false, _)
    ));
    drop(probe);
    let store = world.reopen(store, at(6)).await;
    assert!(!store.has_consent(&shop(), number(1), MARKETING));
    store.says(1, true, at(7)).await;
    let store = world.reopen(store, at(8)).await;
    assert!(store.has_consent(&shop(), number(1), MARKETING));
    let history = store.consent(&shop(), number(1), MARKETING).await.unwrap();
    assert_eq!(history.notes.len(), 3);
    let never = store
        .note_consents(
            &shop(),
            vec![(number(9), MARKETING.to_owned(), said(false, "no"))],
            at(9),
        )
        .await;
    assert_eq!(never.err(), Some(StoreError::NotFound));
    world.finish(store).await;
}

async fn a_consent_taken_back_between_check_and_acceptance_is_missing(world: World) {
    let store = world.open(at(0));
    let Accepted::New(taken) = store.accept(submission(vec![marketing(1)])).await.unwrap() else {
        panic!("repeated");
    };
    assert_eq!(taken[0].reason(), Some(Cause::OptedOut));
    world.finish(store).await;
}

async fn a_message_leased_at_the_withdrawal_fails_when_it_would_wait_again(world: World) {
    let store = world.open(at(0));
    store.says(1, true, at(0)).await;
    store.takes(vec![marketing(1)]).await;
    let taken = store.claims(1, at(2)).await.remove(0);
    let Noted::Done(_, true, failed) = store.says(1, false, at(3)).await else {
        panic!("not written down");
    };
    assert!(failed.is_empty(), "what is leaving is not recalled");
    let refused = Report::Rejected {
        token: token(&taken),
        rejection: Rejection::Temporary("x".to_owned()),
    };
    let change = store.reports(refused, at(4)).await.unwrap();
    assert_eq!(change.message.reason(), Some(Cause::OptedOut));
    world.finish(store).await;
}

async fn a_history_is_full_for_grants_and_never_for_a_withdrawal(world: World) {
    let store = world.open(at(0));
    let words = |n: usize| (number(1), MARKETING.to_owned(), said(true, &format!("{n}")));
    let all = (0..NOTES_MAX).map(words).collect();
    let noted = store.note_consents(&shop(), all, at(1)).await.unwrap();
    assert!(noted.iter().all(|it| matches!(it, Noted::Done(_, true, _))));
    let more = store
        .note_consents(&shop(), vec![words(NOTES_MAX)], at(2))
        .await;
    assert!(matches!(more.unwrap().remove(0), Noted::Full));
    assert!(matches!(
        store.says(1, false, at(3)).await,
        Noted::Done(_, true, _)
    ));
    assert!(!store.has_consent(&shop(), number(1), MARKETING));
    world.finish(store).await;
}

async fn histories_are_listed_page_by_page(world: World) {
    let store = world.open(at(0));
    for n in 1..=5 {
        store.says(n, true, at(n)).await;
        let club = vec![(number(n), "club".to_owned(), said(true, "club"))];
        store.note_consents(&shop(), club, at(n)).await.unwrap();
    }
    store.says(2, false, at(9)).await;
    let list = async |purpose: Option<&str>, in_force, limit| {
        let mut found: Vec<Consent> = Vec::new();
        let mut after = None;
        loop {
            let purpose = purpose.map(str::to_owned);
            let part = store
                .consents(&shop(), purpose, in_force, after, limit)
                .await
                .unwrap();
            assert!(part.items.len() <= limit);
            found.extend(part.items);
            after = part.next;
            if after.is_none() {
                return found;
            }
        }
    };
    for limit in [1, 3, 20] {
        assert_eq!(list(None, None, limit).await.len(), 10);
        assert_eq!(list(Some(MARKETING), Some(true), limit).await.len(), 4);
        let withdrawn = list(None, Some(false), limit).await;
        assert_eq!(withdrawn.len(), 1);
        assert_eq!(withdrawn[0].number, number(2));
    }
    world.finish(store).await;
}

/// A receipt that says, beyond doubt, that nobody has the number.
fn nobody(reference: &str) -> ReceiptReport {
    let receipt = Receipt {
        network_error: Some(NetworkError {
            network: 3,
            code: 1,
        }),
        ..Receipt::of(ReceiptState::Undeliverable)
    };
    ReceiptReport::new("a".into(), reference.to_owned(), receipt)
}

async fn a_number_that_nobody_has_is_known_with_the_message_that_told_and_is_told_once(
    world: World,
) {
    let (store, probe) = world.open_probed(at(0));
    let hook = Webhook {
        id: "w".to_owned(),
        tenant: shop(),
        url: "https://client.example/".to_owned(),
        types: vec!["number.invalid".into()],
        secret: "whsec_c2VjcmV0".to_owned(),
        created_at: at(0),
    };
    store.put_webhook(hook).await.unwrap();
    store.sends(shows(1, None), "r1", at(1)).await;
    store.sends(shows(2, None), "r2", at(1)).await;
    let _ = probe.calls();
    store.receives(nobody("r1"), at(2)).await;
    let calls = probe.calls().into_iter();
    assert_eq!(calls.filter(|call| matches!(call, Call::Sync)).count(), 1);
    assert_eq!(store.end(1).await, Some(Cause::NumberInvalid));
    let expected = InvalidNumber {
        tenant: shop(),
        number: number(1),
        since: at(2),
        message: message_id(1),
        code: "3:1".to_owned(),
        erased: None,
    };
    store.receives(nobody("r2"), at(3)).await;
    drop(probe);
    let store = world.reopen(store, at(4)).await;
    let known = store.invalid_numbers(&shop(), None, None, 9).await.unwrap();
    assert_eq!(known.items, std::slice::from_ref(&expected));
    let due = store.outbox_due(at(5), 9, &[]).await.unwrap().deliveries;
    let events: Vec<_> = due.into_iter().map(|it| it.event).collect();
    assert_eq!(events, [OutboxEvent::NumberInvalid(expected)]);
    let theirs = store.invalid_numbers(&"other".into(), None, None, 9).await;
    assert!(theirs.unwrap().items.is_empty());
    world.finish(store).await;
}

async fn a_later_delivery_shows_that_somebody_has_the_number(world: World) {
    let store = world.open(at(0));
    store.sends(shows(1, None), "r1", at(1)).await;
    store.receives(nobody("r1"), at(2)).await;
    store.sends(shows(2, None), "r2", at(3)).await;
    store
        .receives(receipt("r2", ReceiptState::Undeliverable), at(4))
        .await;
    assert_eq!(store.end(2).await, Some(Cause::Undeliverable));
    let known = store.invalid_numbers(&shop(), None, None, 9).await.unwrap();
    assert_eq!(known.items.len(), 1, "that says nothing new of the number");
    store.sends(shows(3, None), "r3", at(5)).await;
    store
        .receives(receipt("r3", ReceiptState::Delivered), at(6))
        .await;
    let known = store.invalid_numbers(&shop(), None, None, 9).await.unwrap();
    assert!(known.items.is_empty());
    let store = world.reopen(store, at(7)).await;
    let known = store.invalid_numbers(&shop(), None, None, 9).await.unwrap();
    assert!(known.items.is_empty());
    // A carrier that refuses at once says it as well.
    store.takes(vec![shows(4, None)]).await;
    let taken = store.claims(1, at(8)).await.remove(0);
    let refused = Report::Rejected {
        token: token(&taken),
        rejection: Rejection::NumberInvalid("ESME_RINVDSTADR (0x0000000b)".to_owned()),
    };
    let change = store.reports(refused, at(9)).await.unwrap();
    assert_eq!(change.message.status(), Status::Failed);
    assert_eq!(change.message.reason(), Some(Cause::NumberInvalid));
    let known = store.invalid_numbers(&shop(), None, None, 9).await.unwrap();
    assert_eq!(known.items[0].code, "ESME_RINVDSTADR (0x0000000b)");
    store.forget_invalid(&shop(), number(1)).await.unwrap();
    let again = store.forget_invalid(&shop(), number(1)).await;
    assert_eq!(again, Err(StoreError::NotFound));
    world.finish(store).await;
}

async fn numbers_that_nobody_has_are_listed_since_a_time_and_forgotten_in_time(world: World) {
    let store = world.open(at(0));
    for n in 1..=5 {
        let reference = format!("r{n}");
        store.sends(message(n), &reference, at(1)).await;
        store.receives(nobody(&reference), at(10 * n)).await;
    }
    let tenant = shop();
    let since = |since| store.invalid_numbers(&tenant, since, None, 2);
    let first = since(None).await.unwrap();
    assert_eq!((first.items.len(), first.next.is_some()), (2, true));
    let rest = store.invalid_numbers(&shop(), None, first.next, 9).await;
    assert_eq!(rest.unwrap().items.len(), 3);
    let late = since(Some(at(50))).await.unwrap();
    assert_eq!(late.items.len(), 1, "then is not too late");
    assert_eq!(late.items[0].number, number(5));
    store.says(7, true, at(1)).await;
    store.says(8, true, at(1)).await;
    store.says(8, false, at(60)).await;
    // Numbers are kept for 395 days here, and all the rest.
    let later = at(60) + std::time::Duration::from_hours(24 * 395);
    while store.prune(later).await.unwrap() {}
    assert!(since(None).await.unwrap().items.is_empty());
    let histories = store.consents(&shop(), None, None, None, 9).await.unwrap();
    assert_eq!(histories.items.len(), 1, "what is in force stays");
    assert!(store.has_consent(&shop(), number(7), MARKETING));
    world.finish(store).await;
}

async fn consents_and_invalid_numbers_are_known_of_a_number_and_erased_with_it(world: World) {
    let store = world.open(at(0));
    let hook = Webhook {
        id: "w".to_owned(),
        tenant: shop(),
        url: "https://client.example/".to_owned(),
        types: vec!["number.invalid".into()],
        secret: "whsec_c2VjcmV0".to_owned(),
        created_at: at(0),
    };
    store.put_webhook(hook).await.unwrap();
    store.says(1, true, at(1)).await;
    store.says(2, true, at(1)).await;
    store.sends(shows(1, None), "r1", at(1)).await;
    store.receives(nobody("r1"), at(2)).await;
    let page = store.known_of(number(1), None).await.unwrap();
    let consents = |known: &&Known| matches!(known, Known::Consent(_));
    let invalid = |known: &&Known| matches!(known, Known::Invalid(_));
    assert_eq!(page.known.iter().filter(consents).count(), 1);
    assert_eq!(page.known.iter().filter(invalid).count(), 1);
    assert_eq!(store.erase(page.known, at(3)).await.unwrap(), 3);
    assert!(!store.has_consent(&shop(), number(1), MARKETING));
    assert!(store.has_consent(&shop(), number(2), MARKETING));
    let store = world.reopen(store, at(4)).await;
    assert!(
        store
            .known_of(number(1), None)
            .await
            .unwrap()
            .known
            .is_empty()
    );
    let known = store.invalid_numbers(&shop(), None, None, 9).await.unwrap();
    assert!(known.items.is_empty());
    let due = store.outbox_due(at(5), 9, &[]).await.unwrap().deliveries;
    let OutboxEvent::NumberInvalid(told) = &due[0].event else {
        panic!("{:?}", due[0].event);
    };
    assert_ne!(told.number, number(1));
    assert!(told.erased.is_some());
    world.finish(store).await;
}

async fn wishes_of_others_cost_a_message_no_key_more(world: World) {
    let (store, probe) = world.open_probed(at(0));
    let count = async |n: u64| {
        let _ = probe.calls();
        let reference = format!("r{n}");
        store.sends(message(n), &reference, at(1)).await;
        store
            .receives(receipt(&reference, ReceiptState::Delivered), at(2))
            .await;
        probe.calls().len()
    };
    let alone = count(1).await;
    store.opt_out(optout(8, None)).await.unwrap();
    store.opt_out(optout(9, Some("Club"))).await.unwrap();
    store.says(8, true, at(2)).await;
    assert_eq!(count(2).await, alone);
    drop(probe);
    world.finish(store).await;
}
