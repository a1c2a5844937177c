//! Messages and rules that tests of the domain and of the store start from.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::id::{Account, BatchId, Lane, MessageId};
use super::message::{Class, Happening, Lease, Message, State, WaitReason, What};
use super::msisdn::Msisdn;
use super::policy::{Limits, ModemRules, OnDoubt, Operator, Policy};
use super::privacy::Erased;
use super::receipt::{Receipt, ReceiptState};
use super::time::Timestamp;
use crate::pdu::segment::plan;

/// When the stories of tests begin.
pub(crate) const START: Timestamp = Timestamp(1_700_000_000_000);

/// `seconds` after [`START`].
pub(crate) fn at(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

/// Operator `orange` (two accounts) sends again after a doubt, `careful` never does. Accounts `m` and
/// `n` are modems.
pub(crate) fn policy() -> Policy {
    let orange = Operator {
        prefixes: vec!["336".to_owned()],
        ..Operator::named("orange", vec![vec!["a".into(), "b".into()]])
    };
    let careful = Operator {
        on_doubt: OnDoubt::Fail,
        ..Operator::named("careful", vec![vec!["a".into()]])
    };
    let default = Operator::named("default", vec![vec!["a".into()]]);
    let mut policy = Policy::new(default, vec![orange, careful], "FR", Limits::default());
    let modems = ["m", "n"].map(|name| (name.into(), ModemRules::default()));
    policy.modems.extend(modems);
    policy
}

/// An operator's lane.
pub(crate) fn lane(operator: &str) -> Lane {
    Lane {
        operator: operator.into(),
    }
}

/// A number that is `n`'s own.
pub(crate) fn number(n: u64) -> Msisdn {
    Msisdn::from_e164_digits(&format!("336{:08}", n % 100_000_000)).unwrap()
}

/// The id of message number `n`, accepted `n` milliseconds after [`START`].
pub(crate) fn message_id(n: u64) -> MessageId {
    MessageId::new(START + Duration::from_millis(n), random(n))
}

/// The id of batch number `n`.
pub(crate) fn batch_id(n: u64) -> BatchId {
    BatchId::new(START + Duration::from_millis(n), random(n))
}

/// Octets that differ from one `n` to the next.
pub(crate) fn random(n: u64) -> [u8; 10] {
    let mut random = [0x5A; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    random
}

/// Message number `n`: waiting, of one part, due at once, valid for 48 h.
pub(crate) fn message(n: u64) -> Message {
    with_text(n, "Votre colis est arriv\u{e9}")
}

/// Message number `n` in `parts` parts.
pub(crate) fn in_parts(n: u64, parts: usize) -> Message {
    let message = with_text(n, &"a".repeat(153 * parts - 50));
    assert_eq!(message.parts(), parts);
    message
}

fn with_text(n: u64, text: &str) -> Message {
    let now = START + Duration::from_millis(n);
    Message {
        id: message_id(n),
        tenant: "shop".into(),
        batch: None,
        to: number(n),
        from: None,
        text: text.to_owned(),
        replaced: Vec::new(),
        plan: plan(text),
        concat_reference: 7,
        class: Class::Transactional,
        kind: None,
        reference: None,
        metadata: None,
        webhook_url: None,
        priority: 1,
        on_doubt: None,
        lane: lane("orange"),
        created_at: now,
        send_at: None,
        expires_at: now + Duration::from_hours(48),
        updated_at: now,
        sent_at: None,
        delivered_at: None,
        revision: 0,
        state: State::Waiting {
            due_at: now,
            why: WaitReason::Accepted,
        },
        tries: 0,
        claims: 0,
        maybe_duplicate: false,
        attempts: Vec::new(),
        events: vec![Happening {
            at: now,
            what: What::Accepted,
        }],
        trace: None,
        erased: Erased::default(),
        terms: None,
    }
}

/// A lease for the first bind of `account`, of a minute, keeping the place `due_at` in the queue.
pub(crate) fn lease(account: &str, due_at: Timestamp, now: Timestamp) -> Lease {
    Lease {
        account: Account::from(account),
        channel: format!("{account}#1").as_str().into(),
        until: now + Duration::from_mins(1),
        due_at,
    }
}

/// A receipt without an error code.
pub(crate) fn receipt(state: ReceiptState) -> Receipt {
    Receipt::of(state)
}
