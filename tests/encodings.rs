//! Texts over accounts that read octets differently, through the whole engine. The simulated SMSC
//! reads what it gets in its own alphabet, so that its ledger is what a handset would have shown.
//!
//! Pain 21 of the field: French accents wrong, in both directions.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use relais::domain::message::Message;
use relais::domain::policy::{Operator, Policy};
use relais::domain::status::{Language, Status};
use relais::domain::text::{DefaultAlphabet, Encoding, TextRules};
use relais::domain::wire::Concatenation;
use relais::engine::accept::Draft;
use relais::pdu::segment::Alphabet;
use relais::sim::smsc::{self, Ledger, MoMessage, SmscScript};
use serde_json::{Value, json};
use support::{Line, World, operator, policy};

const NUMBER: &str = "06 12 34 56 78";
const ALPHABETS: [DefaultAlphabet; 3] = [
    DefaultAlphabet::Gsm,
    DefaultAlphabet::Latin1,
    DefaultAlphabet::Ascii,
];

fn reads(alphabet: DefaultAlphabet) -> SmscScript {
    SmscScript {
        alphabet: match alphabet {
            DefaultAlphabet::Gsm => smsc::DefaultAlphabet::Gsm,
            DefaultAlphabet::Latin1 => smsc::DefaultAlphabet::Latin1,
            DefaultAlphabet::Ascii => smsc::DefaultAlphabet::Ascii,
        },
        ..SmscScript::default()
    }
}

fn rules(alphabet: DefaultAlphabet) -> TextRules {
    TextRules {
        alphabet,
        ..TextRules::default()
    }
}

fn with_rules(mut policy: Policy, account: &str, rules: TextRules) -> Policy {
    policy.text_rules.insert(account.into(), rules);
    policy
}

/// A gateway with one account and a carrier that agree on their alphabet.
async fn world(rules: TextRules) -> World {
    let policy = with_rules(policy(operator()), "carrier", rules);
    World::with(reads(rules.alphabet), policy, |account| {
        account.alphabet = rules.alphabet;
    })
    .await
}

/// What a handset shows of the texts, in order; every one of them is delivered.
async fn shown(world: &World, texts: &[&str]) -> Vec<String> {
    for text in texts {
        let id = world.send(NUMBER, text).await;
        world.until(id, Status::Delivered).await;
    }
    world.carrier.ledger(Ledger::texts)["33612345678"].clone()
}

fn data_codings(world: &World) -> Vec<u8> {
    world
        .carrier
        .ledger(|ledger| ledger.submitted.iter().map(|s| s.data_coding).collect())
}

fn view(world: &World, message: &Message) -> Value {
    serde_json::to_value(world.engine.view(message, Language::En)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn french_accents_wrong_in_both_directions() {
    let long = "Où êtes-vous ? À bientôt, l’œuvre reçue à Noël : 10 € @ [Ça] ".repeat(7);
    let texts = [
        "été à Noël",
        "déjà vu à l'école, Ça coûte 10 €",
        "@ £ $ _ [x] {y} ~ | \\ ^",
        "Élève, Ñandú, Straße, ¿qué?",
        "ΔΦΓΛΩΠΨΣΘΞ",
        "STOP",
        "l’œuvre « reçue » 😀",
        long.as_str(),
    ];
    for alphabet in ALPHABETS {
        for latin1 in [false, true] {
            let world = world(TextRules {
                latin1,
                ..rules(alphabet)
            })
            .await;
            assert_eq!(
                shown(&world, &texts).await,
                texts,
                "out, {alphabet:?} {latin1}"
            );
            for text in texts {
                world.carrier.inject(&MoMessage {
                    from: "33612345678".to_owned(),
                    to: "36111".to_owned(),
                    text: text.to_owned(),
                });
                // One after the other, so that their order is certain.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let page = world
                .engine
                .store
                .inbound(&support::tenant(), None, 100)
                .await
                .unwrap();
            let mut came: Vec<_> = page.items.iter().map(|i| i.text.as_str()).collect();
            came.reverse();
            assert_eq!(came, texts, "in, {alphabet:?} {latin1}");
            world.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_carriers_alphabet_lacks_goes_as_latin1_where_it_may_and_else_as_unicode() {
    for (rules, text, data_coding, parts) in [
        (rules(DefaultAlphabet::Gsm), "été à 10 €", 0, 1),
        (rules(DefaultAlphabet::Latin1), "été", 0, 1),
        (rules(DefaultAlphabet::Latin1), "10 €", 8, 1),
        (rules(DefaultAlphabet::Ascii), "ete [1]", 0, 1),
        (rules(DefaultAlphabet::Ascii), "été", 8, 1),
    ] {
        let world = world(rules).await;
        shown(&world, &[text]).await;
        assert_eq!(data_codings(&world), vec![data_coding; parts], "{text}");
        world.stop().await;
    }
    // 8 bits: 140 alone, 134 in each of several. Unicode would have taken 3 parts.
    let world = world(TextRules {
        latin1: true,
        ..rules(DefaultAlphabet::Gsm)
    })
    .await;
    let (one, two) = ("ç".repeat(140), "ç".repeat(141));
    assert_eq!(shown(&world, &[&one, &two]).await, [one, two]);
    let sizes = world.carrier.ledger(|ledger| -> Vec<_> {
        let submitted = ledger.submitted.iter();
        submitted.map(|s| (s.data_coding, s.octets.len())).collect()
    });
    assert_eq!(sizes, [(3, 140), (3, 134 + 6), (3, 7 + 6)]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn parts_are_counted_in_septets_whatever_the_octets_are() {
    let world = world(rules(DefaultAlphabet::Latin1)).await;
    // A bracket is one octet here and two septets on the air.
    let text = "[".repeat(81);
    let id = world.send(NUMBER, &text).await;
    world.until(id, Status::Delivered).await;
    assert_eq!(world.message(id).await.parts(), 2);
    assert_eq!(
        world.carrier.ledger(Ledger::texts)["33612345678"],
        [text.as_str()]
    );
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn another_account_gets_the_same_text_in_an_alphabet_of_its_own() {
    let route = vec![vec!["first".into()], vec!["second".into()]];
    let policy = with_rules(
        policy(Operator::named("default", route)),
        "second",
        rules(DefaultAlphabet::Ascii),
    );
    let down = SmscScript {
        refuse_connections: true,
        ..SmscScript::default()
    };
    let lines = vec![
        Line::new("first", down),
        Line::new("second", reads(DefaultAlphabet::Ascii))
            .with(|account| account.alphabet = DefaultAlphabet::Ascii),
    ];
    let world = World::over(lines, policy).await;
    let text = format!("Été {}", "a".repeat(96));
    // More parts than the caller wanted, in an emergency, rather than not at all.
    let draft = Draft {
        to: NUMBER.to_owned(),
        text: text.clone(),
        max_parts: Some(1),
        ..Draft::default()
    };
    let id = world.submit(draft).await;
    let promised = world.message(id).await;
    assert_eq!(
        (promised.plan.alphabet, promised.parts()),
        (Alphabet::Gsm7, 1)
    );
    world.until(id, Status::Delivered).await;
    assert_eq!(
        world.carriers[1].ledger(Ledger::texts)["33612345678"],
        [text]
    );
    let message = world.message(id).await;
    assert_eq!(message.attempts.len(), 1);
    let view = view(&world, &message);
    assert_eq!(
        (&view["encoding"], &view["parts"]),
        (&json!("ucs2"), &json!(2))
    );
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_text_handed_over_whole_is_one_pdu_and_counts_as_its_parts() {
    let whole = TextRules {
        single_piece: true,
        ..rules(DefaultAlphabet::Gsm)
    };
    let policy = with_rules(policy(operator()), "carrier", whole);
    let world = World::with(SmscScript::default(), policy, |account| {
        account.wire.concatenation = Concatenation::Payload;
    })
    .await;
    let text = "été ".repeat(100);
    let id = world.send(NUMBER, &text).await;
    world.until(id, Status::Delivered).await;
    let message = world.message(id).await;
    assert_eq!(
        (message.parts(), message.attempts[0].segments.len()),
        (3, 1)
    );
    assert_eq!(world.carrier.ledger(|ledger| ledger.submitted_total), 1);
    assert_eq!(world.carrier.ledger(Ledger::texts)["33612345678"], [text]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_wide_header_leaves_a_septet_less_in_each_part() {
    let wide = TextRules {
        wide_header: true,
        ..rules(DefaultAlphabet::Gsm)
    };
    let policy = with_rules(policy(operator()), "carrier", wide);
    let world = World::with(SmscScript::default(), policy, |account| {
        account.wire.concatenation = Concatenation::Udh16;
    })
    .await;
    let text = "a".repeat(306);
    assert_eq!(shown(&world, &[&text]).await, [text]);
    let sizes = world
        .carrier
        .ledger(|ledger| -> Vec<_> { ledger.submitted.iter().map(|s| s.octets.len()).collect() });
    assert_eq!(sizes, [152 + 7, 152 + 7, 2 + 7]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_replaced_by_policy_is_told() {
    let world = world(TextRules {
        transliterate: true,
        ..rules(DefaultAlphabet::Gsm)
    })
    .await;
    let id = world.send(NUMBER, "L’œuvre reçue, déjà").await;
    world.until(id, Status::Delivered).await;
    assert_eq!(
        world.carrier.ledger(Ledger::texts)["33612345678"],
        ["L'oeuvre recue, déjà"]
    );
    let view = view(&world, &world.message(id).await);
    assert_eq!(view["text"], "L'oeuvre recue, déjà");
    assert_eq!(view["encoding"], "gsm");
    assert_eq!(
        view["transliterated"],
        json!([
            {"from": "’", "to": "'"},
            {"from": "œ", "to": "oe"},
            {"from": "ç", "to": "c"}
        ])
    );
    // An emoji needs Unicode all the same: nothing is lost for nothing.
    let kept = world.send(NUMBER, "reçu 😀").await;
    let kept = world.message(kept).await;
    assert_eq!((kept.text.as_str(), kept.replaced.len()), ("reçu 😀", 0));
    assert_eq!(self::view(&world, &kept).get("transliterated"), None);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_replaced_by_request_is_told_and_refused_where_only_gsm_is_wanted() {
    let world = world(rules(DefaultAlphabet::Ascii)).await;
    let draft = |encoding| Draft {
        to: NUMBER.to_owned(),
        text: "Été".to_owned(),
        encoding: Some(encoding),
        ..Draft::default()
    };
    let id = world.submit(draft(Encoding::Transliterate)).await;
    let message = world.message(id).await;
    assert_eq!(message.text, "Ete");
    assert_eq!(message.replaced.len(), 2);
    let refused = world.engine.check(draft(Encoding::Gsm)).await.unwrap_err();
    assert_eq!(refused[0].code, "text_not_gsm");
    assert!(refused[0].detail.contains("Éé"), "{}", refused[0].detail);
    let id = world.submit(draft(Encoding::Auto)).await;
    assert_eq!(world.message(id).await.plan.alphabet, Alphabet::Ucs2);
    world.stop().await;
}
