//! Opt-outs: which texts from handsets ask for one, and the record of one.
//!
//! **The rule.** A text is a keyword if nothing but the keyword is in it. Case, accents,
//! punctuation, quotes, spaces and every other sign that is no letter or digit do not count, nor
//! does writing it several times; after it may stand the word `SMS`, and the short code of five
//! digits, with or without `au`, that French texts name (`STOP au 36111`, which people copy whole).
//! So `stop.`, ` « Arrêt » `, `S.T.O.P`, `STOP SMS`, `stopsms` and `STOP STOP!!` are keywords, and
//! `stop à 12h`, `ne m'envoyez plus STOP` and `arrêtez` are not: a sentence is for people to read,
//! and comes to them by the inbound messages.
//!
//! Opting out must be easy, so that the French word counts by itself; coming back must be sure, so
//! that only `START` does, and no word such as `oui` that answers another question.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::id::{InboundId, Tenant};
use super::msisdn::Msisdn;
use super::privacy::Pseudonyms;
use super::sender::Sender;
use super::time::Timestamp;

/// What a keyword asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wish {
    /// Nothing more to this number.
    Stop,
    /// The opposite, after a stop.
    Start,
}

/// A keyword that was found in a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyword {
    /// The word, as the configuration writes it.
    pub word: String,
    /// What it asks for.
    pub wish: Wish,
}

/// A number that receives nothing more from a tenant, or from one of its senders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptOut {
    /// Whose messages it no longer gets.
    pub tenant: Tenant,
    /// The number, or what stands for it.
    pub number: Opposed,
    /// Only those that show this sender; `None`: all of them.
    pub sender: Option<Sender>,
    /// Since when.
    pub since: Timestamp,
    /// How it came to be.
    pub source: Source,
}

impl OptOut {
    /// Its sender, by what writings of one have in common.
    #[must_use]
    pub fn sender_key(&self) -> Option<String> {
        self.sender.as_ref().map(sender_key)
    }
}

/// How an opt-out came to be: the proof of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// The handset sent a keyword.
    Keyword {
        /// In this message.
        inbound: InboundId,
        /// What it wrote, at most [`WORDING_MAX`] characters of it: the message itself is not kept
        /// as long.
        wording: String,
    },
    /// A client said so.
    Api,
    /// It stood in a list that a client has brought along.
    Import {
        /// Where the list has it from, in its own words.
        note: Option<String>,
    },
}

/// Whose opt-out it is: a number, or what stands for it where the installation keeps no numbers of
/// people who want nothing from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Opposed {
    /// The number itself.
    Number(Msisdn),
    /// What only the installation's own key can make of the number and its tenant.
    Hashed(u64),
}

impl Opposed {
    /// What stands for a number: another one for each tenant, so that two lists show nothing of one
    /// another.
    #[must_use]
    pub fn hashed(pseudonyms: &Pseudonyms, tenant: &Tenant, number: Msisdn) -> Self {
        Self::Hashed(pseudonyms.of(&format!("opt-out {tenant} {number}")))
    }

    /// True if it is this tenant's opt-out of this number.
    #[must_use]
    pub fn is_of(self, pseudonyms: &Pseudonyms, tenant: &Tenant, number: Msisdn) -> bool {
        match self {
            Self::Number(known) => known == number,
            Self::Hashed(_) => self == Self::hashed(pseudonyms, tenant, number),
        }
    }

    /// The number, where it is kept.
    #[must_use]
    pub const fn number(self) -> Option<Msisdn> {
        match self {
            Self::Number(number) => Some(number),
            Self::Hashed(_) => None,
        }
    }
}

/// What two writings of one sender have in common: people who opt out of `Club` want nothing of `CLUB`.
#[must_use]
pub fn sender_key(sender: &Sender) -> String {
    sender.to_string().to_ascii_lowercase()
}

/// Most characters kept of the text that opted out.
pub const WORDING_MAX: usize = 160;

/// The keywords that are listened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keywords {
    /// As written, and as [`essence`] has it.
    words: Vec<(Keyword, String)>,
}

/// Why a word cannot be a keyword.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeywordError {
    /// Too little or too much is left of it without signs.
    #[error("{0:?} is no keyword: 2 to 20 letters or digits are expected")]
    Length(String),
    /// It is there already, perhaps in another writing.
    #[error("{0:?} is the same keyword as {1:?}")]
    Twice(String, String),
}

impl Default for Keywords {
    fn default() -> Self {
        let word = |word: &str, wish| {
            let keyword = Keyword {
                word: word.to_owned(),
                wish,
            };
            (keyword, essence(word))
        };
        Self {
            words: vec![
                word("STOP", Wish::Stop),
                word("ARRET", Wish::Stop),
                word("START", Wish::Start),
            ],
        }
    }
}

impl Keywords {
    /// No keyword.
    #[must_use]
    pub const fn none() -> Self {
        Self { words: Vec::new() }
    }

    /// Adds one.
    ///
    /// # Errors
    /// It cannot be one, or is there already.
    pub fn add(&mut self, word: &str, wish: Wish) -> Result<(), KeywordError> {
        let essence = essence(word);
        if !(2..=20).contains(&essence.chars().count()) {
            return Err(KeywordError::Length(word.to_owned()));
        }
        if let Some((same, _)) = self.words.iter().find(|(_, known)| *known == essence) {
            return Err(KeywordError::Twice(word.to_owned(), same.word.clone()));
        }
        let keyword = Keyword {
            word: word.to_owned(),
            wish,
        };
        self.words.push((keyword, essence));
        Ok(())
    }

    /// The words of a wish, as they were written.
    pub fn of(&self, wish: Wish) -> impl Iterator<Item = &str> {
        self.words
            .iter()
            .filter(move |(keyword, _)| keyword.wish == wish)
            .map(|(keyword, _)| keyword.word.as_str())
    }

    /// The keyword that a text is, by the rule of this module.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<&Keyword> {
        // What is longer holds something else; most texts are not looked at any further.
        if text.chars().filter(|c| c.is_alphanumeric()).count() > LETTERS_MAX {
            return None;
        }
        let text = essence(text);
        self.words
            .iter()
            .find(|(_, word)| is_nothing_but(&text, word))
            .map(|(keyword, _)| keyword)
    }
}

/// Most letters and digits of a text that is a keyword: a long one, several times.
const LETTERS_MAX: usize = 100;

/// True if `text` is `word`, once or more, and then only what may follow it.
fn is_nothing_but(text: &str, word: &str) -> bool {
    let Some(mut rest) = text.strip_prefix(word) else {
        return false;
    };
    while let Some(less) = rest.strip_prefix(word) {
        rest = less;
    }
    let rest = rest.strip_prefix("sms").unwrap_or(rest);
    let code = rest.strip_prefix("au").unwrap_or(rest);
    rest.is_empty() || (code.len() == 5 && code.bytes().all(|b| b.is_ascii_digit()))
}

/// What is left of a text without case, accents and signs.
fn essence(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .map(without_accent)
        .filter(|c| c.is_alphanumeric())
        .collect()
}

/// The letter that an accented one is written over; combining accents are no letters, and gone.
const fn without_accent(letter: char) -> char {
    match letter {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => 'e',
        'ì'..='ï' | 'ī' | 'ĭ' | 'į' => 'i',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' => 'o',
        'ù'..='ü' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' => 'u',
        'ý' | 'ÿ' => 'y',
        'ś' | 'š' | 'ş' | 'ș' => 's',
        'ť' | 'ţ' | 'ț' => 't',
        'ŕ' | 'ř' => 'r',
        'ź' | 'ż' | 'ž' => 'z',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn wish(text: &str) -> Option<Wish> {
        Keywords::default().find(text).map(|keyword| keyword.wish)
    }

    #[test]
    fn a_keyword_counts_in_any_writing() {
        for text in [
            "STOP",
            "stop",
            "Stop.",
            "  stop  ",
            "STOP!!!",
            "\"STOP\"",
            "« stop »",
            "'Stop'",
            "\u{2019}stop\u{2019}",
            "S.T.O.P.",
            "stop\r\n",
            "\u{feff}STOP\u{200b}",
            "STOP 🛑",
            "stop stop STOP",
            "STOP SMS",
            "stopsms",
            "Stop-SMS.",
            "STOP 36111",
            "STOP au 36111",
            "STOP SMS au 36 111",
            "ARRET",
            "arrêt",
            "Arrêt.",
            "ARRÊT",
            "ARRE\u{302}T",
            "arrèt",
            "ÀRRÉT SMS",
        ] {
            assert_eq!(wish(text), Some(Wish::Stop), "{text:?}");
        }
        for text in ["START", "start", " Start. ", "« START »"] {
            assert_eq!(wish(text), Some(Wish::Start), "{text:?}");
        }
    }

    #[test]
    fn a_sentence_that_contains_a_keyword_is_none() {
        for text in [
            "",
            ".",
            "stop à 12h",
            "STOP pub merci",
            "Je suis à l'arrêt Gare du Nord",
            "arrêt de bus",
            "ne m'envoyez plus STOP",
            "non stop",
            "stopper",
            "arrêtez",
            "stop ou encore",
            "STOP 12",
            "STOP 0612345678",
            "start-up",
            "restart",
            "oui",
            "STOP START",
        ] {
            assert_eq!(wish(text), None, "{text:?}");
        }
    }

    #[test]
    fn keywords_are_those_of_the_configuration() {
        let mut keywords = Keywords::none();
        assert_eq!(keywords.find("STOP"), None);
        keywords.add("Désabo", Wish::Stop).unwrap();
        keywords.add("СТОП", Wish::Stop).unwrap();
        assert_eq!(keywords.find("DESABO !").unwrap().word, "Désabo");
        assert_eq!(keywords.find("стоп").unwrap().word, "СТОП");
        for bad in ["", "!", "a", "abcdefghijklmnopqrstu"] {
            let error = keywords.add(bad, Wish::Stop).unwrap_err();
            assert_eq!(error, KeywordError::Length(bad.to_owned()));
        }
        let error = keywords.add("desabo.", Wish::Start).unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"desabo.\" is the same keyword as \"Désabo\""
        );
        assert_eq!(keywords.of(Wish::Stop).count(), 2);
    }

    proptest! {
        #[test]
        fn signs_around_and_within_a_keyword_change_nothing(
            before in "[ .,;:!?'\"«»()\\-\u{a0}\u{2019}\n]{0,9}",
            within in "[ .\\-]{0,3}",
            after in "[ .,;:!?'\"«»()\\-\u{a0}\u{2019}\n🛑]{0,60}",
            upper in any::<[bool; 5]>(),
            word in prop_oneof![Just("stop"), Just("arret"), Just("arrêt")],
        ) {
            let mut text = before;
            for (position, letter) in word.chars().enumerate() {
                if upper[position] {
                    text.extend(letter.to_uppercase());
                } else {
                    text.push(letter);
                }
                text.push_str(&within);
            }
            text.push_str(&after);
            prop_assert_eq!(wish(&text), Some(Wish::Stop));
        }

        #[test]
        fn a_word_before_or_after_a_keyword_makes_it_a_sentence(
            word in "[a-z]{2,12}",
            keyword in prop_oneof![Just("STOP"), Just("Arrêt"), Just("START")],
        ) {
            prop_assume!(!["stop", "arret", "start", "sms"].contains(&word.as_str()));
            prop_assert_eq!(wish(&format!("{word} {keyword}")), None);
            prop_assert_eq!(wish(&format!("{keyword} {word}")), None);
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,300}") {
            let _ = Keywords::default().find(&text);
        }
    }
}
