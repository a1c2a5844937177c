//! Receipts that did not find their message, or told of it twice.

use relais::domain::message::Cause;
use relais::sim::smsc::ReceiptForm;

use super::*;

/// What the carrier writes in its answers, what it writes in its receipts, and the first number.
const WRITINGS: [(&str, u64); 12] = [
    ("submitted_width = 10", 255),
    ("reported_width = 10", 255),
    ("submitted = \"hex\"", 3_000_000_001),
    ("reported = \"hex\"", 3_000_000_001),
    ("submitted = \"hex\"\nreported = \"hex_upper\"", 0xABCD_EF00),
    ("submitted = \"hex_upper\"\nreported = \"hex\"", 0xABCD_EF00),
    ("submitted = \"hex\"\nsubmitted_width = 8", 171),
    ("reported = \"hex_upper\"\nreported_width = 16", 171),
    (
        "submitted = \"hex\"\nsubmitted_width = 8\nreported = \"hex_upper\"",
        171,
    ),
    ("submitted_prefix = \"msg-\"\nreported_prefix = \"MSG-\"", 7),
    // Small numbers: what is one message's decimal id is another's in hexadecimal.
    ("submitted = \"hex\"", 1),
    ("reported = \"hex\"", 1),
];

#[tokio::test(start_paused = true)]
async fn pain_01_receipt_ids_padded_recased_or_in_the_other_base() {
    // Elsewhere: receipts with other zeros, case or base than the answer named no message, for ever.
    // Here: each finds its own and no other one, by text and by TLV, though ids of others fit too.
    for form in [ReceiptForm::Text, ReceiptForm::Tlv, ReceiptForm::Both] {
        for (ids, start) in WRITINGS {
            let mut script = script(&format!(
                "[ids]\nstart = {start}\n{ids}\n[receipts]\ndelay_ms = 3000\njitter_ms = 5000\n\
                 [[rules]]\nsuffix = \"3\"\nreceipt = \"undeliverable\"\n"
            ));
            script.receipts.form = form;
            let world = World::new(script).await;
            let mut sent = Vec::new();
            for n in 0..40 {
                sent.push(world.send(&format!("+336000000{n:02}"), "bonjour").await);
            }
            for (n, id) in sent.iter().enumerate() {
                let status = if n % 10 == 3 {
                    Status::Failed
                } else {
                    Status::Delivered
                };
                world.until(*id, status).await;
            }
            tokio::time::sleep(HOUR).await;
            for (n, id) in sent.iter().enumerate() {
                let status = if n % 10 == 3 {
                    Status::Failed
                } else {
                    Status::Delivered
                };
                assert_eq!(
                    world.message(*id).await.status(),
                    status,
                    "{ids} {form:?} {n}"
                );
            }
            assert_eq!(
                counted(&world, "relais_receipts_unmatched_total"),
                0,
                "{ids} {form:?}"
            );
            world.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pain_02_a_receipt_that_overtakes_its_answer_is_not_lost() {
    // Elsewhere: a carrier faster than the gateway's own bookkeeping lost its receipts.
    // Here: seconds before the answer, on this bind or on another one, they wait and then count.
    for (binds, other_bind) in [(1, false), (2, true)] {
        let script = script(&format!(
            "response_delay_ms = 5000\n[ids]\nreported = \"hex_upper\"\nstart = 700\n\
             [receipts]\nbefore_response = true\nother_bind = {other_bind}\n"
        ));
        let rules = support::policy(support::operator());
        let world = World::with(script, rules, |account| account.binds = binds).await;
        let mut sent = Vec::new();
        for n in 0..20 {
            sent.push(
                world
                    .send(&format!("+336000000{n:02}"), &three_parts())
                    .await,
            );
        }
        all_become(&world, &sent, Status::Delivered).await;
        world.carrier.ledger(|ledger| {
            assert_eq!(ledger.submitted_total, 60, "nothing was sent twice");
            let (part, receipt) = (&ledger.submitted[0], &ledger.delivered[0]);
            assert!(
                receipt.at.since(part.at) < Duration::from_secs(1),
                "not before"
            );
        });
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn pain_03_each_part_of_a_long_text_has_its_own_receipt() {
    // Elsewhere: one part alone asked for a receipt, so that its loss, or another part's end, was lost.
    // Here: every part asks, all must have arrived, and one that did not makes the message fail.
    let world = World::new(script(
        "[receipts]\nreverse_parts = true\ndelay_ms = 2000\n\
         [[rules]]\nsuffix = \"1\"\nreceipts = { only_part = 2 }\n\
         [[rules]]\nsuffix = \"2\"\nreceipts = { failed_part = 2 }\n",
    ))
    .await;
    let whole = world.send("+33600000000", &three_parts()).await;
    let broken = world.send("+33600000002", &three_parts()).await;
    let partly = world.send("+33600000001", &three_parts()).await;
    world.until(whole, Status::Delivered).await;
    world.until(broken, Status::Failed).await;
    world.until(partly, Status::Sent).await;
    world.carrier.ledger(|ledger| {
        assert!(
            ledger
                .submitted
                .iter()
                .all(|part| part.registered_delivery & 1 == 1)
        );
        assert_eq!(ledger.submitted_total, 9);
    });
    tokio::time::sleep(47 * HOUR).await;
    assert_eq!(world.message(partly).await.status(), Status::Sent);
    world.until(partly, Status::Expired).await;
    assert_eq!(world.message(partly).await.reason(), Some(Cause::NoReceipt));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pain_04_the_parts_of_one_message_tell_one_story() {
    // Elsewhere: a webhook for each part, and a message that was delivered, failed, and delivered.
    // Here: whatever the order and the copies of receipts, one change to sent and one to the end.
    for toml in [
        "[receipts]\nreverse_parts = true\nduplicate = true\n",
        "[receipts]\nduplicate = true\njitter_ms = 60000\nenroute_first = true\naccepted_first = true\n",
        "[receipts]\nbefore_response = true\nreverse_parts = true\nduplicate = true\n",
    ] {
        let world = World::new(script(toml)).await;
        let mut changes = world.engine.listen();
        let id = world.send(NUMBER, &three_parts()).await;
        world.until(id, Status::Delivered).await;
        tokio::time::sleep(HOUR).await;
        let mut told = Vec::new();
        while let Ok(change) = changes.try_recv() {
            assert_eq!(change.message.id, id);
            told.push(change.message.status());
        }
        told.retain(|status| *status != Status::Pending);
        assert_eq!(told, [Status::Sent, Status::Delivered], "{toml}");
        assert_eq!(world.message(id).await.revision, 2);
        world.stop().await;
    }
}
