//! Consents: who has agreed to marketing, to what, when, by which words, and when they took it back.
//!
//! The French law (CPCE art. L34-5) asks whoever sends marketing to show that its recipient had agreed
//! before. So nothing here is ever overwritten: a [`Consent`] is the history of one number and purpose,
//! to which grants and withdrawals are added. Each [`Note`] carries a hash over itself and all before it,
//! so that a history that was changed afterwards is told from one that was not.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::id::Tenant;
use super::msisdn::Msisdn;
use super::time::Timestamp;

/// The purpose of a commercial message that names none.
pub const MARKETING: &str = "marketing";

/// Most grants and withdrawals of one history: a form that is sent again says nothing new and adds
/// nothing, so that nobody comes near it.
pub const NOTES_MAX: usize = 200;

/// Longest wording and source, in characters.
pub const WORDING_MAX: usize = 2000;
/// Longest source, in characters.
pub const SOURCE_MAX: usize = 200;

/// What one number has agreed to of one tenant for one purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// Who may write.
    pub tenant: Tenant,
    /// To whom.
    pub number: Msisdn,
    /// For what.
    pub purpose: String,
    /// Grants and withdrawals, oldest first; never empty once it is stored.
    pub notes: Vec<Note>,
}

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When it was written down.
    pub at: Timestamp,
    /// What it says.
    pub said: Said,
    /// Hash of it and of all before it.
    pub hash: [u8; 32],
}

/// What somebody says of a consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// True: it is given. False: it is taken back.
    pub granted: bool,
    /// When the person did so, where that is not when it was written down.
    pub given_at: Option<Timestamp>,
    /// Who wrote it down: the name of an API key.
    pub by: String,
    /// The words that the person has agreed to, or has written.
    pub wording: Option<String>,
    /// Where it comes from, such as `form at the counter`.
    pub source: Option<String>,
    /// SHA-256 of what proves it: a scan, a recording, the form as it was sent.
    pub proof: Option<[u8; 32]>,
}

/// Why a word cannot be a purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a purpose has 1 to 40 of the characters a-z 0-9 _ and -, for example \"marketing\"")]
pub struct NoPurpose;

/// A purpose as it is kept: without blanks around it, in lower case.
///
/// # Errors
/// It is empty, too long, or holds other characters.
pub fn purpose(text: &str) -> Result<String, NoPurpose> {
    let text = text.trim().to_ascii_lowercase();
    let good = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-');
    if (1..=40).contains(&text.len()) && text.bytes().all(good) {
        Ok(text)
    } else {
        Err(NoPurpose)
    }
}

impl Consent {
    /// An empty history.
    #[must_use]
    pub const fn new(tenant: Tenant, number: Msisdn, purpose: String) -> Self {
        Self {
            tenant,
            number,
            purpose,
            notes: Vec::new(),
        }
    }

    /// True if marketing for this purpose may be sent.
    #[must_use]
    pub fn is_in_force(&self) -> bool {
        self.notes.last().is_some_and(|note| note.said.granted)
    }

    /// Adds a line. One that says what the last one said, whoever says it, is none; neither is the
    /// withdrawal of what is not in force. True if there is a line more.
    pub fn add(&mut self, said: Said, at: Timestamp) -> bool {
        let repeats = match self.notes.last() {
            None => !said.granted,
            Some(last) if !last.said.granted => !said.granted,
            Some(last) => {
                let same = Said {
                    by: said.by.clone(),
                    ..last.said.clone()
                };
                same == said
            }
        };
        if repeats {
            return false;
        }
        let hash = self.hash_after(self.notes.last(), at, &said);
        self.notes.push(Note { at, said, hash });
        true
    }

    /// True if every line is as it was when it was written.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        let mut before = None;
        self.notes.iter().all(|note| {
            let hash = self.hash_after(before, note.at, &note.said);
            before = Some(note);
            hash == note.hash
        })
    }

    fn hash_after(&self, before: Option<&Note>, at: Timestamp, said: &Said) -> [u8; 32] {
        let mut hasher = Sha256::new();
        // Each with its length, so that no two histories read alike.
        let mut field = |octets: &[u8]| {
            hasher.update((octets.len() as u64).to_be_bytes());
            hasher.update(octets);
        };
        let text = |text: &Option<String>| {
            let text = text.as_ref().map(|text| [b"=", text.as_bytes()].concat());
            text.unwrap_or_default()
        };
        let time = |at: Timestamp| at.millis().to_be_bytes();
        field(&before.map_or([0; 32], |note| note.hash));
        field(self.tenant.as_str().as_bytes());
        field(&self.number.as_u64().to_be_bytes());
        field(self.purpose.as_bytes());
        field(&time(at));
        field(&[u8::from(said.granted)]);
        field(said.given_at.map(time).as_ref().map_or(&[], |at| &at[..]));
        field(said.by.as_bytes());
        field(&text(&said.wording));
        field(&text(&said.source));
        field(said.proof.as_ref().map_or(&[], |proof| &proof[..]));
        hasher.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::{at, number};

    fn said(granted: bool, wording: &str) -> Said {
        Said {
            granted,
            given_at: None,
            by: "desk".to_owned(),
            wording: Some(wording.to_owned()),
            source: Some("form".to_owned()),
            proof: None,
        }
    }

    fn empty() -> Consent {
        Consent::new("shop".into(), number(1), MARKETING.to_owned())
    }

    #[test]
    fn a_history_only_grows_and_its_last_line_rules() {
        let mut consent = empty();
        assert!(
            !consent.add(said(false, "no"), at(1)),
            "nothing to withdraw"
        );
        assert!(!consent.is_in_force());
        assert!(consent.add(said(true, "yes"), at(2)));
        assert!(consent.is_in_force());
        assert!(consent.add(said(false, "no"), at(3)));
        assert!(
            !consent.add(said(false, "no more"), at(4)),
            "withdrawn already"
        );
        assert!(!consent.is_in_force());
        assert!(consent.add(said(true, "yes"), at(5)));
        assert_eq!((consent.notes.len(), consent.is_in_force()), (3, true));
        assert!(consent.is_unchanged());
    }

    #[test]
    fn what_says_nothing_new_is_no_line_and_other_words_are_one() {
        let mut consent = empty();
        assert!(consent.add(said(true, "yes"), at(1)));
        let by_another = Said {
            by: "import".to_owned(),
            ..said(true, "yes")
        };
        assert!(!consent.add(by_another, at(2)));
        assert!(consent.add(said(true, "yes, of all kinds"), at(3)));
        assert_eq!(consent.notes.len(), 2);
    }

    #[test]
    fn a_line_that_was_changed_afterwards_shows() {
        let mut consent = empty();
        consent.add(said(true, "yes"), at(1));
        consent.add(said(false, "no"), at(2));
        for change in [
            |consent: &mut Consent| consent.notes[0].said.wording = Some("of course".to_owned()),
            |consent: &mut Consent| consent.notes[1].at = at(9),
            |consent: &mut Consent| consent.notes[0].said.given_at = Some(at(0)),
            |consent: &mut Consent| consent.number = number(2),
            |consent: &mut Consent| {
                consent.notes.remove(0);
            },
        ] {
            let mut changed = consent.clone();
            change(&mut changed);
            assert!(!changed.is_unchanged(), "{changed:?}");
        }
        assert!(consent.is_unchanged());
    }

    #[test]
    fn a_purpose_is_a_short_word() {
        assert_eq!(purpose(" Marketing "), Ok("marketing".to_owned()));
        assert_eq!(purpose("club_2026-a"), Ok("club_2026-a".to_owned()));
        for bad in ["", " ", "a b", "é", "a/b", &"x".repeat(41)] {
            assert_eq!(purpose(bad), Err(NoPurpose), "{bad}");
        }
    }
}
