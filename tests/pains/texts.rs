//! Accents that arrived as other letters.

use relais::sim::smsc::{DefaultAlphabet, Inbound, InboundAlphabet, Split};

use super::*;

/// Every letter of French, the signs that its keyboards write, and what the GSM alphabet lacks.
const TEXTS: [&str; 6] = [
    "à é è ù ì ò Ç É & @ £ $ ¥ € [ok] {x} ~ ^ | \\",
    "â ê î ô û ë ï ü ÿ æ œ ç À Â Æ Ê È Ë Î Ï Ô Œ Ù Û Ü Ÿ",
    "« J'ai reçu l'œuvre d'Anaïs à Noël », dit-il… « Où êtes-vous ? »",
    "Ça va ? Déjà payé : 5 €. @CCAS_Lyon",
    "L’apostrophe – et les tirets — de l’écran ☎ 😀",
    "@é\u{e0}",
];

#[tokio::test(start_paused = true)]
async fn pain_21_french_accents_both_ways() {
    // Elsewhere: é arrived as a control character, @ as a question mark, ç as Ç, and € not at all.
    // Here: every text arrives as it was written, out and in, in each alphabet and in parts.
    let world = World::new(SmscScript::default()).await;
    let mut expected = Vec::new();
    for text in TEXTS {
        for text in [text.to_owned(), format!("{text} / ").repeat(8)] {
            let id = world.send(NUMBER, &text).await;
            world.until(id, Status::Delivered).await;
            expected.push(text);
        }
    }
    let texts = world.carrier.ledger(|ledger| ledger.texts());
    assert_eq!(texts["33612345678"], expected);
    world.stop().await;

    for alphabet in [DefaultAlphabet::Gsm, DefaultAlphabet::Latin1] {
        let world = World::with(
            SmscScript {
                alphabet,
                ..SmscScript::default()
            },
            support::policy(support::operator()),
            |account| account.alphabet = alphabet,
        )
        .await;
        let mut wanted = Vec::new();
        for (written, fits) in [
            (InboundAlphabet::Auto, u32::MAX),
            (InboundAlphabet::Latin1, 0xFF),
            (InboundAlphabet::Ucs2, u32::MAX),
        ] {
            for split in [Split::Udh, Split::Udh16, Split::Sar, Split::Payload] {
                for text in TEXTS {
                    if text.chars().any(|c| u32::from(c) > fits) {
                        continue;
                    }
                    for text in [text.to_owned(), format!("{text} / ").repeat(8)] {
                        wanted.push(text.clone());
                        world.carrier.inject_as(&Inbound {
                            text,
                            alphabet: written,
                            split,
                            ..Inbound::default()
                        });
                    }
                }
            }
        }
        world
            .carrier_until(|ledger| {
                ledger.acknowledged_total > 0 && ledger.acknowledged_total == ledger.delivered_total
            })
            .await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let store = &world.engine.store;
        let page = store
            .inbound(&support::tenant(), None, 1_000)
            .await
            .unwrap();
        let mut found: Vec<_> = page
            .items
            .iter()
            .map(|message| message.text.clone())
            .collect();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted);
        world.stop().await;
    }
}
