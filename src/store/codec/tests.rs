//! Golden records: one of every version ever released, in `tests/data/records/`, never changed. A
//! program that cannot read one of them cannot read the stores of its users.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Debug;
use std::fs;
use std::path::PathBuf;

use super::*;
use crate::domain::consent::Said;
use crate::domain::event::{Event, Rejection};
use crate::domain::fixtures::{
    at, batch_id, in_parts, lane, lease, message_id, number, policy, random,
};
use crate::domain::id::InboundId;
use crate::domain::inbound::{Numbering, Part};
use crate::domain::optout::{Keyword, Source, Wish};
use crate::domain::policy::OnDoubt;
use crate::domain::privacy::Erased;
use crate::domain::receipt::{IdWriting, Receipt, ReceiptState, Taken};
use crate::domain::sender::Sender;
use crate::store::Scope;

/// A message with something in every field, in the state that `events` lead to.
fn message(events: &[Event]) -> Message {
    let mut message = in_parts(1, 2);
    message.batch = Some(batch_id(2));
    message.from = Some(Sender::parse("RELAIS").unwrap());
    message.kind = Some("parcel".to_owned());
    message.reference = Some("order-17".to_owned());
    message.metadata = Some("{\"desk\":3}".to_owned());
    message.webhook_url = Some("https://client.example/hook".to_owned());
    message.on_doubt = Some(OnDoubt::Resend);
    message.send_at = Some(at(5));
    for (second, event) in (10..).zip(events) {
        let _ = message.apply(event, &policy(), at(second)).unwrap();
    }
    message
}

fn accepted(segment: u16, claim: u32) -> Event {
    Event::SegmentAccepted {
        by: crate::domain::event::Sending { attempt: 0, claim },
        segment,
        reference: format!("5fa{segment}"),
    }
}

fn receipt(state: ReceiptState) -> Receipt {
    Receipt {
        word: Some(state.stat().to_owned()),
        error: Some("011".to_owned()),
        ..Receipt::of(state)
    }
}

/// Compares a record with the one of its version on file: that one reads as `record`, and `record`
/// is written so.
///
/// A file that is missing is written when `RELAIS_WRITE_RECORDS` is set, once per new version.
fn golden<R: Record + PartialEq + Debug>(name: &str, record: &R) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/records")
        .join(format!("{name}.v{}.hex", R::VERSION));
    let octets = encode(record).unwrap();
    if !path.exists() && std::env::var_os("RELAIS_WRITE_RECORDS").is_some() {
        fs::write(&path, hex(&octets) + "\n").unwrap();
    }
    let stored = on_file(&format!("{name}.v{}", R::VERSION));
    assert_eq!(decode::<R>(b"golden", &stored).unwrap(), *record, "{name}");
    assert_eq!(
        octets, stored,
        "{name} is written in another way now: give it a new version"
    );
}

/// The octets of a record on file.
fn on_file(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/records")
        .join(format!("{name}.hex"));
    let text = fs::read_to_string(&path).unwrap();
    text.trim()
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn every_record_is_written_and_read_as_its_version_says() {
    let claimed = Event::Claimed(lease("a", at(5), at(9)));
    let refused = Event::SegmentRejected {
        by: crate::domain::event::Sending {
            attempt: 0,
            claim: 1,
        },
        rejection: Rejection::Temporary("ESME_RMSGQFUL".to_owned()),
    };
    let told = |segment, state| Event::Receipt {
        attempt: 0,
        segment,
        reference: format!("5FA{segment}"),
        receipt: receipt(state),
    };
    let sent = [claimed.clone(), accepted(0, 1), accepted(1, 1)];
    let delivered: Vec<_> = sent
        .iter()
        .cloned()
        .chain([0, 1].map(|part| told(part, ReceiptState::Delivered)))
        .collect();
    let failed: Vec<_> = sent
        .iter()
        .cloned()
        .chain([told(1, ReceiptState::Rejected)])
        .collect();
    golden("message-waiting", &message(&[]));
    golden("message-leased", &message(std::slice::from_ref(&claimed)));
    golden(
        "message-backoff",
        &message(&[claimed, accepted(0, 1), refused]),
    );
    golden("message-submitted", &message(&sent));
    golden("message-delivered", &message(&delivered));
    golden("message-failed", &message(&failed));
    golden("message-cancelled", &message(&[Event::Cancelled]));

    let inbound = Inbound {
        id: InboundId::new(at(3), random(3)),
        tenant: "shop".into(),
        account: "a".into(),
        channel: "a#1".into(),
        from: "+33612345678".to_owned(),
        to: "36100".to_owned(),
        text: "STOP \u{20ac} \u{1f600}".to_owned(),
        part: Some(Part {
            numbering: Numbering::Header16,
            reference: 300,
            total: 3,
            index: 2,
        }),
        received_at: at(3),
        keyword: Some(Keyword {
            word: "STOP".to_owned(),
            wish: Wish::Stop,
        }),
        incomplete: true,
        erased: Erased::default(),
        fingerprint: None,
    };
    golden("inbound", &inbound);
    let optout = OptOut {
        tenant: "shop".into(),
        number: Opposed::Number(number(1)),
        sender: None,
        since: at(3),
        source: Source::Keyword {
            inbound: inbound.id,
            wording: "Stop.".to_owned(),
        },
    };
    golden(
        "optout",
        &OptOut {
            sender: Some(Sender::parse("Club").unwrap()),
            ..optout.clone()
        },
    );
    // Version 1 knew numbers alone, and opt-outs from everything.
    let old = on_file("optout.v1");
    assert_eq!(decode::<OptOut>(b"golden", &old).unwrap(), optout);
    golden(
        "optout-hashed",
        &OptOut {
            number: Opposed::Hashed(0x0123_4567_89ab_cdef),
            source: Source::Import {
                note: Some("old list".to_owned()),
            },
            ..optout
        },
    );
    let mut consent = Consent::new("shop".into(), number(1), "marketing".to_owned());
    let said = Said {
        granted: true,
        given_at: Some(at(1)),
        by: "desk".to_owned(),
        wording: Some("I agree".to_owned()),
        source: Some("form".to_owned()),
        proof: Some([7; 32]),
    };
    consent.add(said.clone(), at(2));
    let withdrawn = Said {
        granted: false,
        given_at: None,
        wording: None,
        proof: None,
        ..said
    };
    consent.add(withdrawn, at(3));
    golden("consent", &consent);
    golden(
        "invalid-number",
        &InvalidNumber {
            tenant: "shop".into(),
            number: number(1),
            since: at(3),
            message: message_id(1),
            code: "3:1".to_owned(),
            erased: None,
        },
    );
    golden(
        "bound",
        &Bound {
            id: message_id(1),
            attempt: 1,
            segment: 300,
            to: number(1),
            at: at(6),
            told: Some(at(5)),
            before: vec![Earlier {
                id: message_id(3),
                attempt: 0,
                segment: 2,
                to: number(3),
                at: at(2),
                told: None,
            }],
        },
    );
    golden(
        "orphans",
        &Orphans {
            receipts: vec![ReceiptReport {
                other: Some("24488".to_owned()),
                handset: Some(number(1)),
                taken: Some(Taken {
                    at: at(2),
                    before: at(3),
                }),
                ..ReceiptReport::new(
                    "a".into(),
                    "0005FA8".to_owned(),
                    receipt(ReceiptState::Expired),
                )
            }],
            since: at(4),
        },
    );
    golden(
        "batch",
        &Batch {
            id: batch_id(2),
            tenant: "shop".into(),
            messages: vec![message_id(1), message_id(2)],
            created_at: at(1),
        },
    );
    golden(
        "idempotent",
        &Idempotent {
            body: [7; 16],
            batch: Some(batch_id(2)),
            messages: vec![message_id(1), message_id(2)],
            duplicates: vec![1],
            at: at(1),
        },
    );
    golden(
        "holder",
        &Holder {
            message: message_id(1),
            at: at(1),
        },
    );
    let outgoing = |event| Outgoing {
        url: "https://client.example/hook".to_owned(),
        webhook: Some("w1".to_owned()),
        tenant: "shop".into(),
        event,
        created_at: at(20),
        due_at: at(80),
        tries: 3,
    };
    let event = OutboxEvent::Message(std::sync::Arc::new(message(&delivered)));
    golden("outgoing-message", &outgoing(event));
    golden("outgoing-inbound", &outgoing(OutboxEvent::Inbound(inbound)));
    golden(
        "webhook",
        &Webhook {
            id: "w1".to_owned(),
            tenant: "shop".into(),
            url: "https://client.example/hook".to_owned(),
            types: vec!["message.sent".to_owned()],
            secret: "whsec_c2VjcmV0".to_owned(),
            created_at: at(0),
        },
    );
    golden(
        "api-key",
        &ApiKey {
            prefix: "rk_1234".to_owned(),
            hash: [9; 32],
            name: "till".to_owned(),
            tenant: "shop".into(),
            scopes: vec![Scope::Send, Scope::Read, Scope::Admin],
            created_at: at(0),
            revoked_at: Some(at(9)),
            terms: crate::domain::tenant::KeyTerms::default(),
        },
    );
    golden("layout", &LAYOUT);
    golden(
        "swept",
        &Swept {
            messages: [Some(message_id(3)), Some(message_id(2)), None],
            inbound: [(
                Tenant::from("shop"),
                [Some(InboundId::new(at(1), random(1))), None, None],
            )]
            .into(),
        },
    );
    golden(
        "pause",
        &Pause {
            name: "orange#1".to_owned(),
            at: at(5),
        },
    );
    golden(
        "learnt",
        &Learnt {
            account: "orange".into(),
            writing: IdWriting::Decimal,
        },
    );
    let mark = |priority, n| Mark {
        lane: lane("default"),
        priority,
        due_at: at(6),
        id: message_id(n),
    };
    golden(
        "reached",
        &Reached {
            claimed: vec![mark(1, 1), mark(3, 2)],
            doubtful: vec![mark(0, 3)],
        },
    );
}

#[test]
fn what_a_sim_has_sent_is_written_and_read_as_its_version_says() {
    golden(
        "spending",
        &Spending {
            sim: "208010123456789".to_owned(),
            message: message_id(1),
            to: number(1),
            at: at(5),
        },
    );
}

#[test]
fn credit_is_written_and_read_as_its_version_says() {
    use crate::domain::credit::{Balance, CreditLow, Used, Why};
    use crate::domain::tenant::Unit;
    let used = Used {
        day: 739_942,
        day_parts: 3,
        day_micros: 653_100,
        month_parts: 40,
        month_micros: 8_708_000,
    };
    let balance = |micros, parts| Balance { micros, parts };
    golden(
        "purse",
        &Purse {
            tenant: "shop".into(),
            balance: balance(4_790_000, 7),
            carried: balance(-3, 2),
            first: 4,
            next: 300,
            told: Some((Unit::Eur, 5_000_000)),
            used,
        },
    );
    golden(
        "key-use",
        &KeyUse {
            tenant: "shop".into(),
            key: "rk_1234".to_owned(),
            used,
        },
    );
    golden(
        "line",
        &Line {
            tenant: "shop".into(),
            number: 299,
            at: at(5),
            what: Why::Taken,
            unit: Unit::Eur,
            amount: -435_400,
            balance: 4_790_000,
            parts: 2,
            messages: 1,
            message: Some(message_id(1)),
            batch: Some(batch_id(2)),
            note: Some("Facture 17".to_owned()),
            by: Some("till".to_owned()),
        },
    );
    let low = CreditLow {
        tenant: "shop".into(),
        line: 299,
        unit: Unit::Parts,
        threshold: 100,
        balance: 99,
        at: at(5),
    };
    golden(
        "outgoing-credit-low",
        &Outgoing {
            url: "mailto:desk@shop.example".to_owned(),
            webhook: None,
            tenant: "shop".into(),
            event: OutboxEvent::CreditLow(low),
            created_at: at(5),
            due_at: at(5),
            tries: 0,
        },
    );
}

#[test]
fn what_a_digest_has_counted_is_written_and_read_as_its_version_says() {
    golden(
        "count",
        &Count {
            tenant: "shop".into(),
            digest: "mail".to_owned(),
            to: number(1),
            kind: "letter".to_owned(),
            tick: at(1000),
            count: 3,
            reference: Some("desk-4".to_owned()),
            since: at(1),
            updated_at: at(7),
            held: Some(crate::store::Held {
                code: "tenant_disabled".to_owned(),
                detail: "sending is switched off".to_owned(),
                tick: at(500),
            }),
        },
    );
}

#[test]
fn a_record_of_an_unknown_version_is_corrupt_and_named() {
    let mut octets = encode(&LAYOUT).unwrap();
    octets[0] = 99;
    let error = decode::<Layout>(b"v", &octets).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the record 76 cannot be read: version 99 is not one that this program can read"
    );
    assert!(decode::<Layout>(b"v", &[]).is_err());
}

#[test]
fn a_record_cut_short_anywhere_is_corrupt_and_never_a_panic() {
    let octets = encode(&message(&[])).unwrap();
    for length in 0..octets.len() {
        let cut = decode::<Message>(b"m", &octets[..length]);
        assert!(cut.is_err(), "{length} of {} octets", octets.len());
    }
}
