//! How texts travel over an account, and who answers them.

use super::{ACCOUNT, errors, read_text};

#[test]
fn the_stop_number_of_an_account_is_known_to_the_rules() {
    let text = format!("{ACCOUNT}sender = \"MAGASIN\"\nstop = \"36111\"\n");
    let config = read_text(&text).unwrap();
    let face = config.policy.first_face(&config.policy.operators[0]);
    assert_eq!(face, Some(&config.smpp[0].face()));
    assert_eq!(face.unwrap().stop.as_deref(), Some("36111"));
    let shown = "  stop        by a message to 36111\n";
    assert!(config.effective().contains(shown), "{}", config.effective());
}

#[test]
fn the_way_of_texts_is_a_setting_of_each_account() {
    let text = format!(
        "{ACCOUNT}alphabet = \"latin1\"\nlatin1 = true\ntransliterate = true\npacked_gsm = true\n"
    );
    let config = read_text(&text).unwrap();
    let rules = config.policy.text_rules_of(&"a".into());
    assert_eq!(rules, config.smpp[0].text);
    assert!(rules.latin1 && rules.transliterate && !rules.single_piece);
    assert_eq!(rules.alphabet, crate::domain::text::DefaultAlphabet::Latin1);
    let shown = "  texts       Latin-1, then Latin-1 (3), then Unicode, characters replaced to avoid it, \
                 GSM comes in packed\n";
    assert!(config.effective().contains(shown), "{}", config.effective());
    assert_eq!(
        errors(&format!("{ACCOUNT}alphabet = \"utf8\"\n")),
        ["r.toml:5: smpp.a.alphabet: \"utf8\" is not one of \"gsm\", \"latin1\", \"ascii\""]
    );
}
