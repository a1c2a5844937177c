//! What is written around a text, and how a text that is too long is cut.
//!
//! A signature stands above or below, and behind everything the mention of how to answer STOP, where
//! marketing needs it (CPCE art. L34-5). Both count, and both stay when the text is cut. A cut falls
//! neither inside what is shown as one character nor, if anything else is left, inside a link: a link
//! that lacks its end leads elsewhere.

use super::sender::Sender;
use super::status::Language;
use super::tenant::{Position, Signature};
use super::text::{Encoding, Prepared, TextRules};
use crate::pdu::segment::whole_ends;

/// What stands around a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    head: String,
    foot: String,
}

impl Frame {
    /// A signature, with its separator, and a mention, with the space before it.
    #[must_use]
    pub fn new(signature: Option<&Signature>, mention: Option<&str>) -> Self {
        let mut frame = Self::default();
        if let Some(Signature {
            text,
            position,
            separator,
            ..
        }) = signature
        {
            match position {
                Position::Head => frame.head = format!("{text}{separator}"),
                Position::Foot => frame.foot = format!("{separator}{text}"),
            }
        }
        if let Some(mention) = mention {
            frame.foot.push(' ');
            frame.foot.push_str(mention);
        }
        frame
    }

    /// The whole.
    #[must_use]
    pub fn around(&self, body: &str) -> String {
        format!("{}{body}{}", self.head, self.foot)
    }
}

/// How long a text may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Characters.
    pub chars: usize,
    /// Parts.
    pub parts: usize,
}

impl Room {
    /// True if a text is not longer.
    #[must_use]
    pub fn holds(self, prepared: &Prepared) -> bool {
        prepared.plan.count() <= self.parts && prepared.text.chars().count() <= self.chars
    }
}

/// The start of `body` that finds room in `frame`, as it will be sent, and how many octets of `body` it
/// is. `None` if nothing of it does.
#[must_use]
pub fn cut_to(
    room: Room,
    body: &str,
    frame: &Frame,
    rules: &TextRules,
    encoding: Encoding,
) -> Option<(Prepared, usize)> {
    let start = |end: usize| {
        let start = body.get(..end)?;
        let prepared = rules.prepare(frame.around(start), encoding);
        (end > 0 && room.holds(&prepared)).then_some((prepared, end))
    };
    // What is longer hardly ever finds room where what is shorter does not; whatever is found here does.
    let ends = whole_ends(body);
    let (mut low, mut high) = (0, ends.len());
    let mut best = None;
    while high - low > 1 {
        let middle = low.midpoint(high);
        match start(ends[middle]) {
            Some(found) => (low, best) = (middle, Some(found)),
            None => high = middle,
        }
    }
    let best = best?;
    let before = before_link(body, best.1);
    let tidy = body.get(..before).unwrap_or_default().trim_end().len();
    start(tidy).or(Some(best))
}

/// Where the link begins that `end` would cut, or `end`.
fn before_link(body: &str, end: usize) -> usize {
    let (head, tail) = body.split_at_checked(end).unwrap_or((body, ""));
    let begun = head.trim_end_matches(|c: char| !c.is_whitespace()).len();
    let rest = tail.find(char::is_whitespace).unwrap_or(tail.len());
    if begun < end && rest > 0 && is_link(&body[begun..end + rest]) {
        begun
    } else {
        end
    }
}

/// Whether a word is an address of the web: with its scheme, or as people write it.
fn is_link(word: &str) -> bool {
    let word = word.trim_start_matches(|c: char| !c.is_alphanumeric());
    let bare = |word: &str| {
        let Some((host, _)) = word.split_once('/') else {
            return false;
        };
        let top = host.rsplit_once('.').map_or("", |(_, top)| top);
        top.len() >= 2 && top.bytes().all(|octet| octet.is_ascii_alphabetic())
    };
    word.contains("://") || word.to_ascii_lowercase().starts_with("www.") || bare(word)
}

/// How the recipients of marketing can say STOP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To this number, which the text has to name: nobody can answer to the sender.
    To(String),
    /// To the sender itself, which is this number: the word is enough.
    Back(String),
    /// Nowhere.
    Nowhere,
    /// By what the carrier puts in as sender, which is not known.
    Unknown,
}

impl Answer {
    /// How recipients answer who see this sender, where an account has `stop` for those who cannot.
    #[must_use]
    pub fn to(sender: Option<&Sender>, stop: Option<&str>) -> Self {
        match (sender, stop) {
            (Some(Sender::Short(code)), _) => Self::Back(code.clone()),
            (Some(Sender::Alphanumeric(_)) | None, Some(stop)) => Self::To(stop.to_owned()),
            (Some(Sender::International(_)), Some(stop)) => Self::Back(stop.to_owned()),
            (Some(sender @ Sender::International(_)), None) => Self::Back(sender.to_string()),
            (Some(Sender::Alphanumeric(_)), None) => Self::Nowhere,
            (None, None) => Self::Unknown,
        }
    }

    /// What a text has to end with so that its reader knows; `None` if it says so itself.
    #[must_use]
    pub fn mention(&self, text: &str, language: Language) -> Option<String> {
        let (number, said) = match self {
            Self::To(number) => (number, says_stop(text, Some(number), true)),
            Self::Back(number) => (
                number,
                says_stop(text, None, false) || says_stop(text, Some(number), true),
            ),
            Self::Nowhere | Self::Unknown => return None,
        };
        let to = match language {
            Language::Fr => "au",
            Language::En => "to",
        };
        (!said).then(|| format!("STOP {to} {number}"))
    }
}

/// Whether a text has the word STOP and, if there is one, the number; `STOP36111` and `36 111` too.
fn says_stop(text: &str, number: Option<&str>, any_case: bool) -> bool {
    let mut words = text.split(|c: char| !c.is_alphanumeric());
    let word = words.any(|word| {
        let Some((stop, rest)) = word.split_at_checked(4) else {
            return false;
        };
        let same = stop == "STOP" || any_case && stop.eq_ignore_ascii_case("STOP");
        same && rest.bytes().all(|octet| octet.is_ascii_digit())
    });
    let digits = |text: &str| -> String { text.chars().filter(char::is_ascii_digit).collect() };
    word && number.is_none_or(|number| digits(text).contains(&digits(number)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::pdu::segment::Alphabet;
    use proptest::prelude::*;

    fn signature(text: &str, position: Position) -> Signature {
        Signature {
            text: text.to_owned(),
            position,
            separator: "\n".to_owned(),
            by_default: true,
        }
    }

    fn cut(body: &str, frame: &Frame, chars: usize, parts: usize) -> Option<String> {
        let room = Room { chars, parts };
        let cut = cut_to(room, body, frame, &TextRules::default(), Encoding::Auto);
        cut.map(|(prepared, _)| prepared.text)
    }

    #[test]
    fn a_signature_counts_with_its_separator() {
        let head = Frame::new(Some(&signature("0325828500", Position::Head)), None);
        assert_eq!(head.around("").chars().count(), 11);
        assert_eq!(head.around("Bonjour"), "0325828500\nBonjour");
        let foot = signature("CCAS", Position::Foot);
        let foot = Frame::new(Some(&foot), Some("STOP au 36111"));
        assert_eq!(foot.around("Bonjour"), "Bonjour\nCCAS STOP au 36111");
    }

    #[test]
    fn one_part_is_160_characters_or_70_of_unicode() {
        let none = Frame::default();
        let most = usize::MAX;
        assert_eq!(cut(&"a".repeat(161), &none, most, 1), Some("a".repeat(160)));
        assert_eq!(cut(&"ê".repeat(71), &none, most, 1), Some("ê".repeat(70)));
        assert_eq!(cut(&"a".repeat(400), &none, most, 2), Some("a".repeat(306)));
        assert_eq!(cut(&"a".repeat(400), &none, 155, 9), Some("a".repeat(155)));
        // An escape pair is two septets and one character.
        assert_eq!(cut(&"€".repeat(81), &none, most, 1), Some("€".repeat(80)));
        let odd = format!("a{}", "€".repeat(80));
        assert_eq!(
            cut(&odd, &none, most, 1),
            Some(format!("a{}", "€".repeat(79)))
        );
        // What forces Unicode is cut off, and what is left has 160 again.
        let late = format!("{}ê{}", "a".repeat(158), "a".repeat(20));
        assert_eq!(cut(&late, &none, most, 1), Some("a".repeat(158)));
    }

    #[test]
    fn the_signature_and_the_mention_stay() {
        let sign = signature("0325828500", Position::Head);
        let frame = Frame::new(Some(&sign), Some("STOP au 36111"));
        let text = cut(&"a".repeat(200), &frame, 155, 9).unwrap();
        assert_eq!(text.chars().count(), 155);
        assert!(text.starts_with("0325828500\naaa") && text.ends_with("aaa STOP au 36111"));
        // Where nothing but them finds room, nothing is cut.
        assert_eq!(cut("aaaa", &frame, 25, 9), None);
    }

    #[test]
    fn what_is_shown_as_one_is_not_torn() {
        let none = Frame::default();
        let family = "👨\u{200D}👩\u{200D}👧";
        for (body, left) in [
            (format!("{}{family} fin", "ê".repeat(66)), "ê".repeat(66)),
            (format!("{}e\u{301}", "ê".repeat(69)), "ê".repeat(69)),
            (format!("{}😀", "ê".repeat(69)), "ê".repeat(69)),
            (format!("{}🇫🇷", "ê".repeat(67)), "ê".repeat(67)),
            (
                format!("{}🇫🇷🇫🇷", "ê".repeat(65)),
                format!("{}🇫🇷", "ê".repeat(65)),
            ),
            (format!("{} \n fin", "ê".repeat(69)), "ê".repeat(69)),
        ] {
            assert_eq!(cut(&body, &none, usize::MAX, 1), Some(left), "{body}");
        }
    }

    #[test]
    fn a_link_is_left_out_rather_than_cut() {
        let none = Frame::default();
        for link in [
            "https://exemple.fr/facture/12345.pdf",
            "(https://exemple.fr/facture/12345.pdf)",
            "www.exemple.fr/facture/12345.pdf",
            "exemple.fr/facture/12345678.pdf",
        ] {
            let body = format!("Votre facture : {link} Merci");
            assert_eq!(
                cut(&body, &none, 30, 1).unwrap(),
                "Votre facture :",
                "{link}"
            );
            let whole = body.len() - " Merci".len();
            assert_eq!(cut(&body, &none, whole, 1).unwrap(), body[..whole]);
            // A link alone is cut: nothing else would be left.
            assert_eq!(cut(link, &none, 20, 1).unwrap(), link[..20]);
        }
        let body = "Rendez-vous le 13/07 a 9h30/10h";
        assert_eq!(cut(body, &none, 29, 1).unwrap(), body[..29]);
    }

    #[test]
    fn the_mention_is_put_where_the_text_has_none() {
        let name = Sender::Alphanumeric("MAGASIN".into());
        let stop = Answer::to(Some(&name), Some("36111"));
        let mention = |text: &str| stop.mention(text, Language::Fr);
        assert_eq!(mention("Promo !").as_deref(), Some("STOP au 36111"));
        let english = stop.mention("Sale!", Language::En);
        assert_eq!(english.as_deref(), Some("STOP to 36111"));
        for said in [
            "STOP au 36111",
            "Stop SMS: 36 111",
            "x STOP36111",
            "stop au 36111.",
        ] {
            assert_eq!(mention(said), None, "{said}");
        }
        for unsaid in ["STOP", "nonstop au 36111", "STOP au 36222", "36111"] {
            assert!(mention(unsaid).is_some(), "{unsaid}");
        }
        let short = Answer::to(Some(&Sender::Short("36184".into())), Some("36111"));
        assert_eq!(short.mention("STOP pour arreter", Language::Fr), None);
        let added = short.mention("Arret de bus : stop", Language::Fr);
        assert_eq!(added.as_deref(), Some("STOP au 36184"));
        let number = Sender::International("33700000001".into());
        let added = Answer::to(Some(&number), None).mention("Promo", Language::Fr);
        assert_eq!(added.as_deref(), Some("STOP au +33700000001"));
        assert_eq!(Answer::to(Some(&name), None), Answer::Nowhere);
        assert_eq!(Answer::to(None, None), Answer::Unknown);
        assert_eq!(Answer::to(None, Some("36111")), Answer::To("36111".into()));
    }

    proptest! {
        #[test]
        fn what_is_cut_finds_room_and_is_a_start_of_the_text(
            body in "[a-zéçœ…€\\[\u{301}\u{200D}😀🇫🇷 \n]{1,400}|(?s:.){1,200}",
            chars in 12_usize..200,
            parts in 1_usize..3,
            signed in any::<bool>(),
            transliterate in any::<bool>(),
        ) {
            let sign = signature("0325828500", Position::Head);
            let frame = Frame::new(signed.then_some(&sign), None);
            let encoding = if transliterate { Encoding::Transliterate } else { Encoding::Auto };
            let (room, rules) = (Room { chars, parts }, TextRules::default());
            if let Some((prepared, end)) = cut_to(room, &body, &frame, &rules, encoding) {
                prop_assert!(room.holds(&prepared));
                prop_assert!(end > 0 && body.is_char_boundary(end));
                let again = rules.prepare(frame.around(&body[..end]), encoding);
                prop_assert_eq!(&again, &prepared);
                if prepared.replaced.is_empty() {
                    prop_assert_eq!(&prepared.text, &frame.around(&body[..end]));
                }
            }
        }

        #[test]
        fn plain_text_is_cut_at_the_last_character_that_fits(length in 161_usize..2000, parts in 1_usize..4) {
            let room = Room { chars: usize::MAX, parts };
            let body = "a".repeat(length);
            let rules = TextRules::default();
            let fits = match parts { 1 => 160, n => 153 * n };
            let (prepared, end) =
                cut_to(room, &body, &Frame::default(), &rules, Encoding::Auto).unwrap();
            prop_assert_eq!(prepared.plan.alphabet, Alphabet::Gsm7);
            prop_assert_eq!(end, fits.min(length));
        }
    }
}
