//! Plans, what is told once, and changes to what waits: who gets the name, and when it is too late.

mod changes;

use std::sync::Arc;
use std::time::Duration;

use super::on_every_engine;
use super::world::{World, accepted, all, keyed, receipt, shop, submission, token};
use crate::domain::credit::Means;
use crate::domain::event::{Changes, Rejection};
use crate::domain::fixtures::{at, batch_id, lane, message, message_id, number};
use crate::domain::id::MessageId;
use crate::domain::message::{Doubt, Message, Outcome, State, WaitReason};
use crate::domain::optout::{Opposed, OptOut, Source};
use crate::domain::policy::OnDoubt;
use crate::domain::privacy::Keeping;
use crate::domain::receipt::ReceiptState;
use crate::domain::status::Status;
use crate::domain::terms::Terms;
use crate::domain::time::Timestamp;
use crate::store::codec::{Holder, decode};
use crate::store::{
    Accepted, OutboxEvent, Planned, Query, Report, Settled, Store, StoreError, Submission, keys,
};

on_every_engine! {
    of_five_messages_of_a_plan_the_last_one_waits,
    a_plan_whose_message_is_leaving_or_has_left_is_too_late,
    one_that_has_ended_without_leaving_is_in_nobodys_way,
    what_is_told_once_answers_with_the_first,
    what_is_told_once_may_be_planned_anew_until_it_is_told,
    at_once_under_one_plan_one_waits_and_under_one_once_key_one_is_stored,
    claims_and_replacements_at_once_send_one_of_each_plan,
    what_an_earlier_life_may_have_sent_is_too_late,
    a_torn_submission_has_ended_nothing,
    a_large_submission_replaces_what_it_names,
    names_of_one_submission_and_of_other_tenants_do_not_meet,
    one_late_plan_refuses_the_whole_submission,
    a_full_store_takes_what_makes_room_and_answers_what_is_known,
    a_repetition_says_what_was_told_before,
    a_message_to_an_opted_out_number_replaces_and_is_in_nobodys_way,
}

/// Message number `n` of these plan and once keys.
fn named(n: u64, plan: Option<&str>, once: Option<&str>) -> Message {
    let terms = Terms {
        schedule_key: plan.map(str::to_owned),
        once_key: once.map(str::to_owned),
        ..Terms::default()
    };
    Message {
        terms: Some(Box::new(terms)),
        ..message(n)
    }
}

fn planned(n: u64) -> Message {
    named(n, Some("visit-7"), None)
}

fn once(n: u64) -> Message {
    named(n, None, Some("visit-7"))
}

fn batched(messages: impl Iterator<Item = Message>) -> Submission {
    let batch = |message| Message {
        batch: Some(batch_id(1)),
        ..message
    };
    submission(messages.map(batch).collect())
}

impl dyn Store {
    async fn plans(&self, messages: Vec<Message>) -> Planned {
        match self.accept(submission(messages)).await.unwrap() {
            Accepted::Planned(planned) => planned,
            other => panic!("{other:?}"),
        }
    }

    /// Posts one message, and says which one it replaces.
    async fn plan(&self, message: Message) -> Option<MessageId> {
        let planned = self.plans(vec![message]).await;
        assert!(planned.duplicates.is_empty());
        let replaced = planned.replaced.first().map(|change| change.message.id);
        let terms = planned.messages[0].terms.clone().unwrap();
        assert_eq!(terms.replaces, replaced);
        replaced
    }

    async fn refuses(&self, message: Message) {
        let late = StoreError::PlanTooLate { items: vec![0] };
        let before = self.find(all()).await.unwrap().items.len();
        assert_eq!(self.accept(submission(vec![message])).await, Err(late));
        assert_eq!(self.find(all()).await.unwrap().items.len(), before);
    }

    /// Posts one message, and says which one it would have told again.
    async fn tells(&self, message: Message) -> Option<MessageId> {
        let id = message.id;
        let planned = self.plans(vec![message]).await;
        let first = planned.messages[0].id;
        assert_eq!(planned.duplicates.is_empty(), first == id);
        (first != id).then_some(first)
    }

    async fn of(&self, n: u64) -> Message {
        self.message(&shop(), message_id(n)).await.unwrap()
    }
}

fn refused(message: &Message) -> Report {
    Report::Rejected {
        token: token(message),
        rejection: Rejection::Permanent("ESME_RINVDSTADR".to_owned()),
    }
}

async fn of_five_messages_of_a_plan_the_last_one_waits(world: World) {
    let store = world.open(at(0));
    assert_eq!(store.plan(planned(1)).await, None);
    for n in 2..=5 {
        let mut next = planned(n);
        next.webhook_url = Some("https://a.example/".to_owned());
        assert_eq!(store.plan(next).await, Some(message_id(n - 1)));
        assert_eq!(store.gauges(at(1)).live, 1);
    }
    let store = world.reopen(store, at(1)).await;
    for n in 1..=4 {
        let old = store.of(n).await;
        assert_eq!(old.state, State::Final(Outcome::Cancelled));
        assert_eq!(old.terms.unwrap().replaced_by, Some(message_id(n + 1)));
    }
    // Told in the commit that replaced them: the first had no address.
    let due = store.outbox_due(at(1), 100, &[]).await.unwrap().deliveries;
    let told = due.iter().map(|it| (it.event.kind(), &it.event));
    let told: Vec<_> = told
        .map(|(kind, event)| match event {
            OutboxEvent::Message(message) => (kind, message.id),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected: Vec<_> = (2..=4)
        .map(|n| ("message.cancelled", message_id(n)))
        .collect();
    assert_eq!(told, expected);
    let settled = due.iter().map(|it| (it.seq, Settled::Done)).collect();
    store.outbox_settle(settled).await.unwrap();
    let claimed = store.claims(10, at(2)).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].id, message_id(5));
    world.finish(store).await;
}

async fn a_plan_whose_message_is_leaving_or_has_left_is_too_late(world: World) {
    let store = world.open(at(0));
    store.plan(planned(1)).await;
    let leased = store.claims(1, at(1)).await.remove(0);
    store.refuses(planned(2)).await;
    assert_eq!(store.of(1).await, leased, "it still is who sends it");
    store.reports(accepted(&leased, 0, "5fa8"), at(2)).await;
    store.refuses(planned(3)).await;
    let delivered = receipt("5fa8", ReceiptState::Delivered);
    store.receives(delivered, at(3)).await;
    store.refuses(planned(4)).await;

    // In doubt, it waits to be sent again; and given up so.
    for (n, rule) in [(10, OnDoubt::Resend), (20, OnDoubt::Fail)] {
        let plan = Some(["doubt", "given up"][usize::from(rule == OnDoubt::Fail)]);
        let mut first = named(n, plan, None);
        first.on_doubt = Some(rule);
        store.plan(first).await;
        let leased = store.claims(1, at(4)).await.remove(0);
        let doubt = Report::Unknown {
            token: token(&leased),
            segment: 0,
            doubt: Doubt::Timeout,
        };
        store.reports(doubt, at(4)).await;
        store.refuses(named(n + 1, plan, None)).await;
    }
    world.finish(store).await;
}

async fn one_that_has_ended_without_leaving_is_in_nobodys_way(world: World) {
    let store = world.open(at(0));
    // Withdrawn, refused, and past its validity.
    store.plan(planned(1)).await;
    store.cancel(&shop(), message_id(1), at(1)).await.unwrap();
    assert_eq!(store.plan(planned(2)).await, None);
    let leased = store.claims(1, at(2)).await.remove(0);
    store.reports(refused(&leased), at(2)).await;
    assert_eq!(store.of(2).await.status(), Status::Failed);
    assert_eq!(store.plan(planned(3)).await, None);
    store.time_out(at(49 * 3600), 10).await.unwrap();
    assert_eq!(store.of(3).await.status(), Status::Expired);
    assert_eq!(store.plan(planned(4)).await, None);
    // Refused for now, it waits and has not left.
    let leased = store.claims(1, at(5)).await.remove(0);
    let later = Report::Rejected {
        token: token(&leased),
        rejection: Rejection::Temporary("ESME_RMSGQFUL".to_owned()),
    };
    store.reports(later, at(5)).await;
    assert_eq!(store.plan(planned(5)).await, Some(message_id(4)));
    // Returned unsent.
    let leased = store.claims(1, at(6)).await.remove(0);
    let back = Report::GivenBack {
        token: token(&leased),
        why: WaitReason::NoChannelUp,
    };
    store.reports(back, at(6)).await;
    assert_eq!(store.plan(planned(6)).await, Some(message_id(5)));
    world.finish(store).await;
}

async fn what_is_told_once_answers_with_the_first(world: World) {
    let store = world.open(at(0));
    assert_eq!(store.tells(once(1)).await, None);
    let first = Some(message_id(1));
    assert_eq!(store.tells(once(2)).await, first, "it waits");
    let leased = store.claims(1, at(1)).await.remove(0);
    assert_eq!(store.tells(once(3)).await, first, "it is leaving");
    store.reports(accepted(&leased, 0, "5fa8"), at(2)).await;
    let store = world.reopen(store, at(3)).await;
    assert_eq!(store.tells(once(4)).await, first, "it is sent");
    let delivered = receipt("5fa8", ReceiptState::Undeliverable);
    store.receives(delivered, at(3)).await;
    assert_eq!(store.tells(once(5)).await, first, "it has left");
    assert_eq!(store.find(all()).await.unwrap().items.len(), 1);
    // One that was withdrawn does not count.
    let other = |n| named(n, None, Some("other"));
    assert_eq!(store.tells(other(10)).await, None);
    store.cancel(&shop(), message_id(10), at(4)).await.unwrap();
    assert_eq!(store.tells(other(11)).await, None);
    assert_eq!(store.tells(other(12)).await, Some(message_id(11)));
    world.finish(store).await;
}

async fn what_is_told_once_may_be_planned_anew_until_it_is_told(world: World) {
    let store = world.open(at(0));
    let visit = |n| named(n, Some("visit-7"), Some("visit-7 is planned"));
    for n in 1..=3 {
        let before = (n > 1).then(|| message_id(n - 1));
        assert_eq!(store.plan(visit(n)).await, before);
    }
    // Another plan does not replace it.
    let elsewhere = named(4, Some("visit-8"), Some("visit-7 is planned"));
    assert_eq!(store.tells(elsewhere).await, Some(message_id(3)));
    let leased = store.claims(1, at(1)).await.remove(0);
    assert_eq!(leased.id, message_id(3));
    assert_eq!(
        store.tells(visit(5)).await,
        Some(message_id(3)),
        "no refusal"
    );
    store.reports(accepted(&leased, 0, "5fa8"), at(2)).await;
    for n in 6..9 {
        assert_eq!(store.tells(visit(n)).await, Some(message_id(3)));
    }
    // The plan alone is too late, and visit-8 is still free.
    store.refuses(named(9, Some("visit-7"), None)).await;
    assert_eq!(store.plan(named(10, Some("visit-8"), None)).await, None);
    world.finish(store).await;
}

async fn at_once_under_one_plan_one_waits_and_under_one_once_key_one_is_stored(world: World) {
    let store = world.open(at(0));
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..50 {
        let store = store.clone();
        calls.spawn(async move {
            let replaced = store.plan(planned(n)).await;
            (replaced, store.tells(once(100 + n)).await)
        });
    }
    let answers = calls.join_all().await;
    assert_eq!(answers.iter().filter(|(it, _)| it.is_none()).count(), 1);
    assert_eq!(answers.iter().filter(|(_, it)| it.is_none()).count(), 1);
    let mut first: Vec<_> = answers.iter().filter_map(|(_, first)| *first).collect();
    first.dedup();
    assert_eq!(first.len(), 1);
    assert_eq!(store.gauges(at(1)).live, 2);
    let mut claimed = store.claims(10, at(1)).await;
    assert_eq!(claimed.len(), 2);
    // The chain of replacements has no gap and no branch.
    claimed.retain(|message| message.terms.as_ref().unwrap().schedule_key.is_some());
    let mut chain = vec![claimed[0].id];
    let mut last = claimed.remove(0);
    while let Some(before) = last.terms.unwrap().replaces {
        last = store.message(&shop(), before).await.unwrap();
        assert_eq!(
            last.terms.as_ref().unwrap().replaced_by,
            chain.last().copied()
        );
        chain.push(before);
    }
    assert_eq!(chain.len(), 50);
    world.finish(store).await;
}

async fn claims_and_replacements_at_once_send_one_of_each_plan(world: World) {
    const PLANS: u64 = 8;
    const TURNS: u64 = 40;
    let store = world.open(at(0));
    let mut posts = tokio::task::JoinSet::new();
    for plan in 0..PLANS {
        let store = store.clone();
        posts.spawn(async move {
            let mut stored = Vec::new();
            for turn in 0..TURNS {
                let n = 1 + plan + PLANS * turn;
                let post = named(n, Some(&format!("plan {plan}")), None);
                match store.accept(submission(vec![post])).await {
                    Ok(_) => stored.push(message_id(n)),
                    Err(StoreError::PlanTooLate { .. }) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            stored
        });
    }
    let claims = {
        let store = store.clone();
        tokio::spawn(async move {
            let mut sent = Vec::new();
            while sent.len() < usize::try_from(PLANS).unwrap() {
                for taken in store.claims(1, at(10)).await {
                    store
                        .reports(accepted(&taken, 0, &taken.id.to_string()), at(10))
                        .await;
                    sent.push(taken.id);
                }
                tokio::task::yield_now().await;
            }
            sent
        })
    };
    let stored = posts.join_all().await;
    let sent = claims.await.unwrap();
    assert!(store.claims(10, at(11)).await.is_empty());
    for posted in stored {
        let (last, others) = posted.split_last().unwrap();
        assert!(sent.contains(last), "the last one that was taken is sent");
        assert!(others.iter().all(|id| !sent.contains(id)), "and no other");
    }
    world.finish(store).await;
}

async fn what_an_earlier_life_may_have_sent_is_too_late(world: World) {
    let store = world.open(at(0));
    store.plan(planned(1)).await;
    store.tells(once(2)).await;
    let mut safe = named(3, Some("at most once"), None);
    safe.on_doubt = Some(OnDoubt::Fail);
    store.plan(safe).await;
    let mut later = named(4, Some("later"), None);
    later.state = State::Waiting {
        due_at: at(600),
        why: WaitReason::ScheduledByClient,
    };
    store.plan(later).await;
    assert_eq!(store.claims(1, at(1)).await.len(), 1);
    // Memory forgets the claim.
    let store = world.reopen(store, at(2)).await;
    assert_eq!(store.of(1).await.status(), Status::Pending);
    store.refuses(planned(11)).await;
    assert_eq!(store.tells(once(12)).await, Some(message_id(2)));
    let seen = Arc::new(store.of(1).await);
    let same = Changes::none(&seen).unwrap();
    let changed = store.change(seen, same, Means::default(), at(3)).await;
    assert_eq!(changed.unwrap_err(), StoreError::TooLate);
    // The claim of this one would be on the disk, and that one's time had not come.
    let next = named(13, Some("at most once"), None);
    assert_eq!(store.plan(next).await, Some(message_id(3)));
    let next = named(14, Some("later"), None);
    assert_eq!(store.plan(next).await, Some(message_id(4)));
    // Claimed again and given back, it still may have left.
    for taken in store.claims(10, at(4)).await {
        let back = Report::GivenBack {
            token: token(&taken),
            why: WaitReason::NoChannelUp,
        };
        store.reports(back, at(4)).await;
    }
    store.refuses(planned(15)).await;
    world.finish(store).await;
}

async fn a_torn_submission_has_ended_nothing(world: World) {
    for pieces in [0, 1, 2, 3] {
        let (store, probe) = world.open_probed(at(0));
        if pieces == 0 {
            // Its time has not come: else a crash would leave a doubt about it.
            let mut first = named(1, Some("plan 2"), None);
            first.state = State::Waiting {
                due_at: at(600),
                why: WaitReason::ScheduledByClient,
            };
            store.plan(first).await;
        }
        probe.fail_once_after(pieces);
        let posts = (10..210).map(|n| named(n, Some(&format!("plan {}", n - 10)), None));
        let answer = store.accept(batched(posts)).await;
        assert!(answer.is_err(), "after {pieces} pieces");
        store.close().await;
        drop((store, probe));
        let store = world.open(at(2));
        assert_eq!(store.of(1).await.status(), Status::Pending);
        assert_eq!(store.gauges(at(2)).live, 1, "after {pieces} pieces");
        world.finish(store).await;
    }
    let store = world.open(at(3));
    let next = named(2, Some("plan 2"), None);
    assert_eq!(store.plan(next).await, Some(message_id(1)));
    world.finish(store).await;
}

async fn a_large_submission_replaces_what_it_names(world: World) {
    let store = world.open(at(0));
    let plans = |from: u64| {
        let one = move |n| named(from + n, Some(&format!("plan {n}")), None);
        let mut all = batched((0..300).map(one));
        all.batch = Some(batch_id(from));
        all.messages.iter_mut().for_each(|it| it.batch = all.batch);
        all
    };
    store.accept(plans(1000)).await.unwrap();
    let Accepted::Planned(answer) = store.accept(plans(2000)).await.unwrap() else {
        panic!("it has plans");
    };
    assert_eq!((answer.messages.len(), answer.replaced.len()), (300, 300));
    let store = world.reopen(store, at(1)).await;
    assert_eq!(store.gauges(at(1)).live, 300);
    for n in [0, 63, 64, 299] {
        let (old, new) = (store.of(1000 + n).await, store.of(2000 + n).await);
        assert_eq!(old.terms.unwrap().replaced_by, Some(new.id));
        assert_eq!(new.terms.unwrap().replaces, Some(old.id));
    }
    world.finish(store).await;
}

async fn names_of_one_submission_and_of_other_tenants_do_not_meet(world: World) {
    let store = world.open(at(0));
    let twice = batched([planned(1), planned(2)].into_iter());
    let late = StoreError::PlanTooLate { items: vec![1] };
    assert_eq!(store.accept(twice).await, Err(late));
    store.plan(planned(3)).await;
    // The same word as a plan and as what is told once.
    assert_eq!(store.tells(once(4)).await, None);
    let mut theirs = planned(5);
    theirs.tenant = "other".into();
    assert_eq!(store.plan(theirs).await, None);
    let mut theirs = once(6);
    theirs.tenant = "other".into();
    assert_eq!(store.tells(theirs).await, None);
    assert_eq!(store.gauges(at(1)).live, 4);
    world.finish(store).await;
}

async fn one_late_plan_refuses_the_whole_submission(world: World) {
    let store = world.open(at(0));
    store.plan(named(1, Some("a"), None)).await;
    store.plan(named(2, Some("b"), None)).await;
    let taken = store.claims(1, at(1)).await.remove(0);
    assert_eq!(taken.id, message_id(1));
    let posts = ["b", "a", "c"].into_iter().zip(10..);
    let posts = posts.map(|(plan, n)| named(n, Some(plan), None));
    let late = StoreError::PlanTooLate { items: vec![1] };
    assert_eq!(store.accept(batched(posts)).await, Err(late));
    let found = store.find(all()).await.unwrap().items;
    assert_eq!(found.len(), 2);
    // What it would have replaced can still be sent, and what was leaving still is.
    assert_eq!(store.claims(10, at(1)).await[0].id, message_id(2));
    let change = store.reports(accepted(&taken, 0, "5fa8"), at(2)).await;
    assert_eq!(change.unwrap().message.status(), Status::Sent);
    world.finish(store).await;
}

async fn a_full_store_takes_what_makes_room_and_answers_what_is_known(world: World) {
    let store = world.open(at(0));
    let narrow = |messages, max_live| Submission {
        max_live,
        ..submission(messages)
    };
    store.accept(narrow(vec![planned(1)], 1)).await.unwrap();
    let full = store.accept(narrow(vec![once(2)], 1)).await;
    assert_eq!(full, Err(StoreError::Full));
    store.accept(narrow(vec![planned(3)], 1)).await.unwrap();
    assert_eq!(store.of(1).await.status(), Status::Cancelled);
    store.accept(narrow(vec![once(4)], 2)).await.unwrap();
    // Nothing new at all: as a caller asks who has used up its quota.
    let known = store.accept(narrow(vec![once(5)], 0)).await.unwrap();
    assert!(matches!(known, Accepted::Planned(it) if it.duplicates == [0]));
    let full = store.accept(narrow(vec![planned(6)], 0)).await;
    assert_eq!(full, Err(StoreError::Full));
    world.finish(store).await;
}

async fn a_repetition_says_what_was_told_before(world: World) {
    let store = world.open(at(0));
    store.tells(once(1)).await;
    let post = |from| {
        let mut post = keyed(vec![message(from), once(from + 1)], 1, 1);
        post.batch = Some(batch_id(1));
        post.messages
            .iter_mut()
            .for_each(|it| it.batch = post.batch);
        post
    };
    let Accepted::Planned(answer) = store.accept(post(10)).await.unwrap() else {
        panic!("one of them has a name");
    };
    let ids: Vec<_> = answer.messages.iter().map(|it| it.id).collect();
    assert_eq!(ids, [message_id(10), message_id(1)]);
    assert_eq!(answer.duplicates, [1]);
    assert_eq!(
        store.batch(&shop(), batch_id(1)).await.unwrap().messages,
        ids
    );
    // Told meanwhile or not: the first answer is given again.
    store.cancel(&shop(), message_id(1), at(1)).await.unwrap();
    let store = world.reopen(store, at(1)).await;
    let again = Accepted::Repeated {
        batch: Some(batch_id(1)),
        messages: ids,
        duplicates: vec![1],
    };
    assert_eq!(store.accept(post(20)).await.unwrap(), again);
    world.finish(store).await;
}

async fn a_message_to_an_opted_out_number_replaces_and_is_in_nobodys_way(world: World) {
    let store = world.open(at(0));
    store.plan(planned(1)).await;
    let out = OptOut {
        tenant: shop(),
        number: Opposed::Number(number(2)),
        sender: None,
        since: at(1),
        source: Source::Api,
    };
    store.opt_out(out).await.unwrap();
    assert_eq!(store.plan(planned(2)).await, Some(message_id(1)));
    assert_eq!(store.of(2).await.status(), Status::Failed);
    assert_eq!(store.gauges(at(1)).live, 0);
    assert_eq!(store.plan(planned(3)).await, None);
    world.finish(store).await;
}
