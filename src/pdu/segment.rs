//! Text → alphabet, number of segments, and where to cut.
//!
//! One short message carries 140 octets (3GPP TS 23.040 clause 9.2.3.24): 160
//! septets, 140 octets of Latin-1 or 70 UTF-16 units. A longer text travels as
//! several, each giving six octets, or seven, to a user data header with a
//! concatenation reference (clauses 9.2.3.24.1 and 9.2.3.24.8), which leaves 153,
//! 134 or 67.
//!
//! Invariants: the slices of a plan, joined, are the text; no slice exceeds its
//! limit; no cut falls inside an escape pair or a surrogate pair. A cut also
//! avoids separating a combining mark, a variation selector or a joined emoji
//! from what it belongs to, as long as that fits one segment.

use serde::{Deserialize, Serialize};

use super::default_alphabet::DefaultAlphabet;
use super::{gsm7, latin1, ucs2};

/// How a text is put into octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Alphabet {
    /// GSM 7 bit default alphabet with its extension table, SMPP `data_coding` 0.
    Gsm7,
    /// ISO-8859-1 in 8 bits, SMPP `data_coding` 3.
    Latin1,
    /// UTF-16BE, SMPP `data_coding` 8.
    Ucs2,
}

impl Alphabet {
    /// What one message holds alone, in septets, octets or UTF-16 units.
    #[must_use]
    pub fn single_limit(self) -> u32 {
        match self {
            Alphabet::Gsm7 => 160,
            Alphabet::Latin1 => 140,
            Alphabet::Ucs2 => 70,
        }
    }

    /// What one segment of several holds beside its header, in septets, octets or
    /// UTF-16 units.
    #[must_use]
    pub fn part_limit(self, header: Header) -> u32 {
        match (self, header) {
            (Alphabet::Gsm7, Header::Narrow) => 153,
            (Alphabet::Gsm7, Header::Wide) => 152,
            (Alphabet::Latin1, Header::Narrow) => 134,
            (Alphabet::Latin1, Header::Wide) => 133,
            (Alphabet::Ucs2, Header::Narrow) => 67,
            (Alphabet::Ucs2, Header::Wide) => 66,
        }
    }

    /// What `text` costs; characters without a form cost nothing.
    fn units(self, text: &str) -> u32 {
        text.chars().filter_map(|c| self.cost(c)).sum()
    }

    /// What `c` costs, in septets, octets or UTF-16 units; `None` without a form.
    fn cost(self, c: char) -> Option<u32> {
        match self {
            Alphabet::Gsm7 => gsm7::septets(c),
            Alphabet::Latin1 => latin1::has(c).then_some(1),
            Alphabet::Ucs2 => Some(ucs2::units(c)),
        }
        .map(u32::from)
    }
}

/// The user data header of the segments of one text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Header {
    /// 6 octets, with a reference of 8 bits.
    #[default]
    Narrow,
    /// 7 octets, with a reference of 16 bits (3GPP TS 23.040 clause 9.2.3.24.8).
    Wide,
}

/// How one text is sent. It is made once, kept with the message, and applied to
/// the same text at every attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The alphabet of every segment.
    pub alphabet: Alphabet,
    /// Septets, octets of Latin-1 or UTF-16 code units of the whole text.
    pub units: u32,
    /// Byte offset in the text of the end of each segment; never empty, and the
    /// last is the length of the text.
    pub ends: Vec<u32>,
}

impl Plan {
    /// The number of segments, at least 1. A concatenation header can number 255;
    /// the caller sets the limit.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// The same text handed over whole: the SMSC cuts it.
    #[must_use]
    pub fn in_one_piece(mut self) -> Self {
        let end = self.ends.pop();
        self.ends = end.into_iter().collect();
        self
    }

    /// Number of short messages on the air, where a text that was handed over whole
    /// counts as the parts that the SMSC makes of it.
    #[must_use]
    pub fn on_air(&self, text: &str) -> usize {
        if self.count() == 1 && self.units > self.alphabet.single_limit() {
            return cut(text, self.alphabet, Header::Narrow).count();
        }
        self.count()
    }

    /// The same plan with the parts that [`Plan::on_air`] counts, for a text that goes: what is left
    /// counts them without it, and cuts nothing any more.
    #[must_use]
    pub fn cut_out(&self, text: &str) -> Self {
        if self.on_air(text) == self.count() {
            return self.clone();
        }
        Self {
            units: self.units,
            ..cut(text, self.alphabet, Header::Narrow)
        }
    }

    /// Units that the last segment has room for, where several have this header.
    #[must_use]
    pub fn units_left(&self, text: &str, header: Header) -> u32 {
        if self.count() == 1 {
            return self.alphabet.single_limit().saturating_sub(self.units);
        }
        let last = self.slices(text).last().unwrap_or_default();
        let limit = self.alphabet.part_limit(header);
        limit.saturating_sub(self.alphabet.units(last))
    }

    /// The segments of `text`, in order. For another text than the one planned
    /// the slices are meaningless, but taking them does not panic.
    pub fn slices<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a str> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let end = usize::try_from(end).unwrap_or(usize::MAX);
            let slice = text.get(start..end).unwrap_or_default();
            start = end;
            slice
        })
    }
}

/// The plan of `text` in the smallest alphabet: GSM if every character has a form
/// there, else UCS-2. An empty text is one empty segment.
#[must_use]
pub fn plan(text: &str) -> Plan {
    plan_for(text, DefaultAlphabet::Gsm, false, Header::Narrow)
}

/// The plan of `text` in the smallest alphabet for an SMSC with this default
/// alphabet: that one if every character has a place there, else Latin-1 as
/// `data_coding` 3 if `eight_bit` allows it, else UCS-2.
#[must_use]
pub fn plan_for(text: &str, default: DefaultAlphabet, eight_bit: bool, header: Header) -> Plan {
    if text.chars().all(|c| default.has(c)) {
        cut(text, Alphabet::Gsm7, header)
    } else if eight_bit && text.chars().all(latin1::has) {
        cut(text, Alphabet::Latin1, header)
    } else {
        cut(text, Alphabet::Ucs2, header)
    }
}

/// The plan of `text` in `alphabet`, with narrow headers.
///
/// # Errors
/// The first character that has no form in `alphabet` (never for UCS-2).
pub fn plan_as(text: &str, alphabet: Alphabet) -> Result<Plan, char> {
    match text.chars().find(|&c| alphabet.cost(c).is_none()) {
        Some(stranger) => Err(stranger),
        None => Ok(cut(text, alphabet, Header::Narrow)),
    }
}

/// The octets of one slice, as SMPP carries them after the header: septets one
/// per octet, Latin-1, or UTF-16BE.
///
/// A character without a form in `alphabet` is sent as `?`; a slice of a plan has
/// none.
#[must_use]
pub fn octets(slice: &str, alphabet: Alphabet) -> Vec<u8> {
    match alphabet {
        Alphabet::Gsm7 => DefaultAlphabet::Gsm.encode(slice),
        Alphabet::Latin1 => latin1::encode(slice),
        Alphabet::Ucs2 => ucs2::encode(slice),
    }
}

/// A place where the text may be cut: its byte offset, and the units before it.
#[derive(Clone, Copy)]
struct Place {
    offset: usize,
    units: u32,
}

/// Fills each segment as far as it goes. Characters without a form cost nothing;
/// the callers have excluded them.
fn cut(text: &str, alphabet: Alphabet, header: Header) -> Plan {
    let mut ends = Vec::new();
    let mut start = Place {
        offset: 0,
        units: 0,
    };
    // The last place in this segment where no grapheme is torn.
    let mut whole = start;
    let mut here = start;
    let mut before = None;
    for c in text.chars() {
        let cost = alphabet.cost(c).unwrap_or(0);
        if !before.is_some_and(|before| belongs(before, c)) {
            whole = here;
        }
        // Twice at most: a grapheme moved to the next segment may overflow that one.
        while here.units.saturating_add(cost) - start.units > alphabet.part_limit(header) {
            // A grapheme longer than a segment has to be torn after all.
            let end = if whole.offset > start.offset {
                whole
            } else {
                here
            };
            ends.push(offset32(end.offset));
            start = end;
        }
        here = Place {
            offset: here.offset + c.len_utf8(),
            units: here.units.saturating_add(cost),
        };
        before = Some(c);
    }
    if here.units <= alphabet.single_limit() {
        ends.clear();
    }
    ends.push(offset32(here.offset));
    Plan {
        alphabet,
        units: here.units,
        ends,
    }
}

/// Whether `c` is shown as one with the character before it. A short list, not
/// Unicode's whole segmentation: what people really send, at the price of a look.
fn belongs(before: char, c: char) -> bool {
    const JOINER: char = '\u{200D}';
    before == JOINER
        || (before, c) == ('\r', '\n')
        || matches!(c,
            JOINER
            | '\u{300}'..='\u{36F}'      // combining diacritical marks
            | '\u{1AB0}'..='\u{1AFF}'
            | '\u{1DC0}'..='\u{1DFF}'
            | '\u{20D0}'..='\u{20FF}'    // among them the keycap
            | '\u{FE00}'..='\u{FE0F}'    // variation selectors
            | '\u{FE20}'..='\u{FE2F}'
            | '\u{1F3FB}'..='\u{1F3FF}'  // skin tones
            | '\u{E0020}'..='\u{E007F}') // tags of regional flags
}

/// Where `text` may end without tearing what is shown as one, in order: byte offsets, from 0 to its
/// length. Two regional indicators are one flag.
#[must_use]
pub fn whole_ends(text: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    let (mut before, mut indicators) = (None, 0_u32);
    for (offset, c) in text.char_indices() {
        let indicator = ('\u{1F1E6}'..='\u{1F1FF}').contains(&c);
        let second = indicator && indicators % 2 == 1;
        if !second && !before.is_some_and(|before| belongs(before, c)) {
            ends.push(offset);
        }
        indicators = if indicator { indicators + 1 } else { 0 };
        before = Some(c);
    }
    ends.push(text.len());
    ends
}

/// Offsets are kept in 32 bits; a text of 4 GiB is refused long before this.
fn offset32(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn lengths(text: &str) -> (Alphabet, u32, Vec<usize>) {
        let plan = plan(text);
        let lengths = plan
            .slices(text)
            .map(|s| octets(s, plan.alphabet).len())
            .collect();
        (plan.alphabet, plan.units, lengths)
    }

    #[test]
    fn texts_have_the_segments_of_the_specification() {
        use Alphabet::{Gsm7, Ucs2};
        let a = |n| "a".repeat(n);
        let e = |n| "ê".repeat(n);
        for (text, alphabet, units, octets) in [
            (String::new(), Gsm7, 0, vec![0]),
            (
                "Vous avez reçu 3 courriers, l'œuvre de Zoë 😀".into(),
                Ucs2,
                45,
                vec![90],
            ),
            ("à é è ù ì ò Ç É & @ £ $".into(), Gsm7, 23, vec![23]),
            ("€[]{}\\^~|".into(), Gsm7, 18, vec![18]),
            (a(160), Gsm7, 160, vec![160]),
            (a(161), Gsm7, 161, vec![153, 8]),
            (a(306), Gsm7, 306, vec![153, 153]),
            (a(307), Gsm7, 307, vec![153, 153, 1]),
            ("€".repeat(80), Gsm7, 160, vec![160]),
            // 153 is odd: the 77th escape pair starts the next segment.
            ("€".repeat(81), Gsm7, 162, vec![152, 10]),
            (e(70), Ucs2, 70, vec![140]),
            (e(71), Ucs2, 71, vec![134, 8]),
            ("😀".repeat(35), Ucs2, 70, vec![140]),
            ("😀".repeat(36), Ucs2, 72, vec![132, 12]),
        ] {
            assert_eq!(lengths(&text), (alphabet, units, octets), "{text}");
        }
    }

    #[test]
    fn a_cut_keeps_what_is_shown_as_one_together() {
        // 66 units, then a family of 8 units which does not fit into 67.
        let text = format!("{}👨\u{200D}👩\u{200D}👧 fin", "ê".repeat(66));
        let planned = plan(&text);
        assert_eq!(
            planned.slices(&text).collect::<Vec<_>>(),
            ["ê".repeat(66).as_str(), "👨\u{200D}👩\u{200D}👧 fin"]
        );
        let text = format!("{}e\u{301}{}", "ê".repeat(66), "ê".repeat(9));
        assert_eq!(
            plan(&text).slices(&text).next(),
            Some("ê".repeat(66).as_str())
        );
        // A mark pile longer than a segment is torn rather than refused.
        let text = format!("e{}", "\u{301}".repeat(200));
        assert_eq!(lengths(&text).2, [134, 134, 134]);
        // So is one that fills the next segment but for the half of its last character.
        let text = format!("aê{}\u{1F3FB}fin", "\u{301}".repeat(65));
        assert_eq!(lengths(&format!("{text}{}", "a".repeat(9))).2, [2, 132, 28]);
    }

    #[test]
    fn an_alphabet_can_be_asked_for() {
        assert_eq!(plan_as("reçu", Alphabet::Gsm7), Err('ç'));
        let plan = plan_as("recu", Alphabet::Ucs2).unwrap();
        assert_eq!(
            (plan.alphabet, plan.units, plan.count()),
            (Alphabet::Ucs2, 4, 1)
        );
        assert_eq!(octets("reçu", Alphabet::Gsm7), b"re?u");
    }

    #[test]
    fn the_default_alphabet_and_latin1_decide_what_needs_unicode() {
        use Alphabet::{Gsm7, Latin1, Ucs2};
        use DefaultAlphabet::{Ascii, Gsm, Latin1 as EightBit};
        for (text, default, eight_bit, alphabet) in [
            ("déjà 10 €", Gsm, false, Gsm7),
            ("déjà 10 €", EightBit, false, Ucs2),
            ("déjà", EightBit, false, Gsm7),
            ("déjà", Ascii, false, Ucs2),
            ("déjà", Ascii, true, Latin1),
            ("reçu", Gsm, true, Latin1),
            ("reçu", EightBit, false, Ucs2),
            ("reçu 10 €", Gsm, true, Ucs2),
            ("l’œuvre", Gsm, true, Ucs2),
            ("[hello]", Ascii, true, Gsm7),
        ] {
            let plan = plan_for(text, default, eight_bit, Header::Narrow);
            assert_eq!(plan.alphabet, alphabet, "{text} {default:?} {eight_bit}");
        }
        // The SMSC re-codes to septets: a bracket costs two, however it was written.
        assert_eq!(plan_for("[[", EightBit, false, Header::Narrow).units, 4);
        let text = "ç".repeat(141);
        let plan = plan_for(&text, Gsm, true, Header::Narrow);
        let lengths: Vec<_> = plan
            .slices(&text)
            .map(|s| octets(s, Latin1).len())
            .collect();
        assert_eq!(
            (plan.units, lengths, plan.units_left(&text, Header::Narrow)),
            (141, vec![134, 7], 127)
        );
        assert_eq!(
            plan_for(&"ç".repeat(140), Gsm, true, Header::Narrow).count(),
            1
        );
    }

    #[test]
    fn a_wide_header_takes_an_octet_more() {
        for (c, alphabet, limit) in [
            ("a", Alphabet::Gsm7, 152),
            ("ç", Alphabet::Latin1, 133),
            ("œ", Alphabet::Ucs2, 66),
        ] {
            let text = c.repeat(400);
            let plan = plan_for(&text, DefaultAlphabet::Gsm, true, Header::Wide);
            let first = plan.slices(&text).next().map(|slice| slice.chars().count());
            assert_eq!((plan.alphabet, first), (alphabet, Some(limit)));
            let single = alphabet.single_limit();
            let text = c.repeat(single.try_into().unwrap());
            let plan = plan_for(&text, DefaultAlphabet::Gsm, true, Header::Wide);
            assert_eq!((plan.count(), plan.units_left(&text, Header::Wide)), (1, 0));
        }
    }

    #[test]
    fn more_segments_than_a_header_can_number_are_representable() {
        assert_eq!(plan(&"a".repeat(153 * 300)).count(), 300);
    }

    #[test]
    fn slices_of_another_text_are_empty_not_a_panic() {
        let plan = plan(&"a".repeat(400));
        assert_eq!(plan.slices("é").collect::<String>(), "");
    }

    fn check(text: &str, plan: &Plan) -> Result<(), TestCaseError> {
        prop_assert_eq!(plan.slices(text).collect::<String>(), text);
        let limit = match plan.count() {
            1 => plan.alphabet.single_limit(),
            _ => plan.alphabet.part_limit(Header::Narrow),
        };
        let mut units = 0;
        for slice in plan.slices(text) {
            let octets = octets(slice, plan.alphabet);
            let width = if plan.alphabet == Alphabet::Ucs2 {
                2
            } else {
                1
            };
            let slice_units = u32::try_from(octets.len() / width).unwrap();
            prop_assert!(slice_units <= limit);
            prop_assert!(plan.count() == 1 || slice_units > 0);
            units += slice_units;
            // Each segment decodes alone: no escape and no surrogate is torn.
            let alone = match plan.alphabet {
                Alphabet::Gsm7 => gsm7::decode(&octets),
                Alphabet::Latin1 => latin1::decode(&octets),
                Alphabet::Ucs2 => ucs2::decode(&octets),
            };
            prop_assert_eq!(alone, slice);
        }
        prop_assert_eq!(units, plan.units);
        prop_assert_eq!(plan.on_air(text), plan.count());
        let last = plan.slices(text).last().unwrap();
        prop_assert_eq!(
            plan.units_left(text, Header::Narrow),
            limit - plan.alphabet.units(last)
        );
        let whole = plan.clone().in_one_piece();
        prop_assert_eq!(whole.slices(text).collect::<Vec<_>>(), [text]);
        prop_assert_eq!(whole.on_air(text), plan.count());
        Ok(())
    }

    proptest! {
        #[test]
        fn any_text_is_cut_well(text in "\\PC{0,300}|(?s:.){0,300}") {
            check(&text, &plan(&text))?;
            check(&text, &plan_as(&text, Alphabet::Ucs2).unwrap())?;
        }

        #[test]
        fn latin1_text_is_cut_well(text in "[a-zéçÿ\u{A0}«»\r\n]{0,600}") {
            check(&text, &plan_as(&text, Alphabet::Latin1).unwrap())?;
        }

        #[test]
        fn clusters_are_cut_well(text in "[aê😀\u{200D}\u{301}\u{FE0F}€]{0,400}") {
            check(&text, &plan(&text))?;
        }

        #[test]
        fn gsm_text_is_cut_well(text in "[a-zé€\\[\\]{}^\r\n~|]{0,700}") {
            let plan = plan(&text);
            prop_assert_eq!(plan.alphabet, Alphabet::Gsm7);
            check(&text, &plan)?;
            // Each segment but the last is full but for one escape pair or CR LF.
            for slice in plan.slices(&text).take(plan.count() - 1) {
                prop_assert!(octets(slice, Alphabet::Gsm7).len() >= 152);
            }
        }
    }
}
