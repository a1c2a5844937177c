//! Characters that an alphabet lacks, replaced by their nearest.
//!
//! A lost accent is a small price for a message that costs one part instead of
//! two, but only its sender may decide that: so every replacement is reported.
//! Each replacement is plain ASCII, which every alphabet of this module has.

use serde::{Deserialize, Serialize};

/// Something that stood in a text, and what stands there now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// One character, with its combining marks if it had any.
    pub from: String,
    /// What is sent instead; empty for an invisible mark.
    pub to: String,
}

/// `text` with the characters that `has` does not know replaced by their nearest,
/// and each different replacement once, in order of appearance.
///
/// Latin letters lose their diacritics (`ç` → `c`, `ê` → `e`), ligatures open
/// (`œ` → `oe`), typographic quotes, dashes and spaces become the typewriter's,
/// invisible marks go. Letters decomposed by the sender (e + U+0301) are composed
/// where the alphabet has the whole (`é`). What has a place is untouched, and what
/// has no near one (emoji, other scripts) is kept.
#[must_use]
pub fn transliterate(text: &str, has: impl Fn(char) -> bool) -> (String, Vec<Replacement>) {
    let mut out = String::with_capacity(text.len());
    let mut replaced: Vec<Replacement> = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let start = out.len();
        match nearest(c, &has) {
            Some(near) => out.push_str(near),
            None => out.push(c),
        }
        let mut after = &rest[c.len_utf8()..];
        // A combining mark is only ours to drop after a Latin letter; after anything else it may be
        // part of an emoji or a script. Invisible marks do not come between.
        if out[start..].ends_with(|last: char| last.is_ascii_alphabetic()) {
            while let Some(mark) = after.chars().next() {
                if is_combining(mark) {
                    let base = out.pop().unwrap_or(' ');
                    out.push(composed(base, mark).filter(|c| has(*c)).unwrap_or(base));
                } else if nearest(mark, &has) != Some("") {
                    break;
                }
                after = &after[mark.len_utf8()..];
            }
        }
        let (was, is) = (&rest[..rest.len() - after.len()], &out[start..]);
        if was != is && !replaced.iter().any(|known| known.from == was) {
            replaced.push(Replacement {
                from: was.to_owned(),
                to: is.to_owned(),
            });
        }
        rest = after;
    }
    (out, replaced)
}

/// What would stand for `c` in an alphabet that has the characters that `has` knows; `None` if
/// the alphabet has it, or nothing near it.
#[must_use]
pub fn nearest(c: char, has: impl Fn(char) -> bool) -> Option<&'static str> {
    if has(c) {
        return None;
    }
    let tables = NEAREST.iter().chain(NEAREST_IN_ASCII);
    let mut found = tables.filter(|(_, from)| from.contains(c));
    found.next().map(|&(to, _)| to)
}

/// The common combining diacritical marks.
fn is_combining(c: char) -> bool {
    ('\u{300}'..='\u{36F}').contains(&c)
}

/// The letters of Latin-1 that a sender may write as a base letter and a combining mark.
fn composed(base: char, mark: char) -> Option<char> {
    const COMPOSED: [(char, &str, &str); 7] = [
        ('\u{300}', "aeiouAEIOU", "àèìòùÀÈÌÒÙ"),
        ('\u{301}', "aeiouyAEIOUY", "áéíóúýÁÉÍÓÚÝ"),
        ('\u{302}', "aeiouAEIOU", "âêîôûÂÊÎÔÛ"),
        ('\u{303}', "anoANO", "ãñõÃÑÕ"),
        ('\u{308}', "aeiouyAEIOU", "äëïöüÿÄËÏÖÜ"),
        ('\u{30A}', "aA", "åÅ"),
        ('\u{327}', "cC", "çÇ"),
    ];
    let (_, bases, wholes) = COMPOSED.iter().find(|&&(m, _, _)| m == mark)?;
    let found = bases.chars().zip(wholes.chars()).find(|&(b, _)| b == base);
    found.map(|(_, whole)| whole)
}

/// Nearest form, then the characters that it stands for: those that GSM 03.38 lacks.
#[rustfmt::skip]
const NEAREST: &[(&str, &str)] = &[
    // French first, and what a word processor puts into French.
    ("c", "çćĉċč"),
    ("e", "êëēĕėęěẹẻẽếềểễệ"),
    ("a", "âáãāăąǎạảấầẩẫậắằẳẵặª"),
    ("i", "îïíĩīĭįıǐỉị"),
    ("o", "ôóõōŏőơǒọỏốồổỗộớờởỡợº°"),
    ("u", "ûúũūŭůűųưǔụủứừửữự"),
    ("y", "ÿýŷỳỵỷỹ"),
    ("oe", "œ"), ("OE", "Œ"),
    ("'", "’‘‚‛′`´ʼ‹›"),
    ("\"", "«»“”„‟″¨"),
    ("-", "–—‐‑‒―−•·"),
    (" ", "\u{A0}\u{202F}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}\u{2007}\u{2008}\u{2009}\u{200A}\u{205F}\u{3000}\t"),
    ("...", "…"),
    ("E", "ÈÊËĒĔĖĘĚẸẺẼẾỀỂỄỆ"),
    ("A", "ÀÂÁÃĀĂĄǍẠẢẤẦẨẪẬẮẰẲẴẶ"),
    ("I", "ÎÏÌÍĨĪĬĮİǏỈỊ"),
    ("O", "ÔÒÓÕŌŎŐƠǑỌỎỐỒỔỖỘỚỜỞỠỢ"),
    ("U", "ÛÙÚŨŪŬŮŰŲƯǓỤỦỨỪỬỮỰ"),
    ("C", "ĆĈĊČ"),
    ("Y", "ŸÝŶỲỴỶỸ"),
    // The other letters of Europe.
    ("d", "ďđð"), ("D", "ĎĐÐ"),
    ("g", "ĝğġģ"), ("G", "ĜĞĠĢ"),
    ("h", "ĥħ"), ("H", "ĤĦ"),
    ("j", "ĵ"), ("J", "Ĵ"),
    ("k", "ķ"), ("K", "Ķ"),
    ("l", "ĺļľŀł"), ("L", "ĹĻĽĿŁ"),
    ("n", "ńņňŋ"), ("N", "ŃŅŇŊ"),
    ("r", "ŕŗř"), ("R", "ŔŖŘ"),
    ("s", "śŝşšș"), ("S", "ŚŜŞŠȘ"),
    ("t", "ţťŧț"), ("T", "ŢŤŦȚ"),
    ("w", "ŵẁẃẅ"), ("W", "ŴẀẂẄ"),
    ("z", "źżž"), ("Z", "ŹŻŽ"),
    ("ij", "ĳ"), ("IJ", "Ĳ"),
    ("th", "þ"), ("TH", "Þ"),
    ("SS", "ẞ"),
    ("fi", "ﬁ"), ("fl", "ﬂ"), ("ff", "ﬀ"),
    // Signs.
    ("1", "¹"), ("2", "²"), ("3", "³"),
    ("1/4", "¼"), ("1/2", "½"), ("3/4", "¾"),
    ("x", "×"), ("/", "÷⁄"), ("u", "µμ"),
    ("(c)", "©"), ("(R)", "®"), ("TM", "™"), ("No", "№"),
    ("<=", "≤"), (">=", "≥"), ("->", "→"), ("<-", "←"),
    ("|", "¦"),
    ("\n", "\u{2028}\u{2029}\u{85}"),
    // Invisible: soft hyphen, zero width space, direction marks, word joiner, BOM.
    ("", "\u{AD}\u{200B}\u{200E}\u{200F}\u{2060}\u{FEFF}"),
];

/// The same for characters that GSM 03.38 has and ASCII, or Latin-1, lacks.
#[rustfmt::skip]
const NEAREST_IN_ASCII: &[(&str, &str)] = &[
    ("a", "àäå"), ("e", "éè"), ("i", "ì"), ("o", "òöø"), ("u", "ùü"), ("n", "ñ"),
    ("A", "ÄÅ"), ("E", "É"), ("O", "ÖØ"), ("U", "Ü"), ("N", "Ñ"), ("C", "Ç"),
    ("ae", "æ"), ("AE", "Æ"), ("ss", "ß"),
    ("EUR", "€"), ("GBP", "£"), ("JPY", "¥"),
    ("!", "¡"), ("?", "¿"),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::pdu::gsm7::{self, forcing_unicode};
    use crate::pdu::latin1;
    use proptest::prelude::*;

    fn gsm(c: char) -> bool {
        gsm7::septets(c).is_some()
    }

    fn to_gsm(text: &str) -> String {
        transliterate(text, gsm).0
    }

    #[test]
    fn french_and_typography_become_gsm() {
        for (from, to) in [
            ("ça a été reçu", "ca a été recu"),
            (
                "forêt, âme, île, hôtel, sûr, Noël, maïs, ü",
                "foret, ame, ile, hotel, sur, Noel, mais, ü",
            ),
            ("l’œuvre d’ŒDIPE", "l'oeuvre d'OEDIPE"),
            ("« oui » “non” ‘si’", "\" oui \" \"non\" 'si'"),
            ("fin… – — -", "fin... - - -"),
            ("10\u{A0}000\u{202F}€", "10 000 €"),
            ("À BIENTÔT, ÊTRE, Ç, É", "A BIENTOT, ETRE, Ç, É"),
            ("n° 5, 20 m²", "no 5, 20 m2"),
            ("Łódź, Dvořák, Ștefan, Việt", "Lodz, Dvorak, Stefan, Viet"),
            (
                "cafe\u{301} a\u{300} c\u{327}a C\u{327}a o\u{302}",
                "café à ca Ça o",
            ),
            ("zéro\u{200B}largeur\u{FEFF}", "zérolargeur"),
            ("[a] {b} ~ | \\ ^", "[a] {b} ~ | \\ ^"),
            ("", ""),
        ] {
            assert_eq!(to_gsm(from), to);
            assert!(forcing_unicode(to).is_empty(), "{to}");
        }
    }

    #[test]
    fn what_has_no_near_form_is_kept_and_seen() {
        assert_eq!(
            to_gsm("ça 😀 да 1\u{FE0F}\u{20E3}"),
            "ca 😀 да 1\u{FE0F}\u{20E3}"
        );
        assert_eq!(forcing_unicode(&to_gsm("ça 😀 да")), ['😀', 'д', 'а']);
        assert_eq!(to_gsm("и\u{306}"), "и\u{306}");
    }

    #[test]
    fn every_replacement_is_plain_ascii_and_stands_once() {
        let mut seen = String::new();
        for (to, from) in NEAREST.iter().chain(NEAREST_IN_ASCII) {
            assert!(to.is_ascii() && forcing_unicode(to).is_empty(), "{to}");
            for c in from.chars() {
                assert!(!seen.contains(c), "{c} is listed twice");
                seen.push(c);
            }
        }
        for c in NEAREST.iter().flat_map(|(_, from)| from.chars()) {
            assert!(!gsm(c), "{c} needs no replacement in GSM");
        }
        for c in NEAREST_IN_ASCII.iter().flat_map(|(_, from)| from.chars()) {
            assert!(gsm(c) && !c.is_ascii(), "{c}");
        }
        // The Latin letters of Latin-1 and Latin Extended-A are complete but for
        // a handful that have no base letter.
        let kept: String = ('\u{C0}'..='\u{17F}')
            .filter(|&c| c.is_alphabetic() && nearest(c, |c| c.is_ascii()).is_none())
            .collect();
        assert_eq!(kept, "ĸŉſ");
    }

    #[test]
    fn what_was_replaced_is_told_once_each_in_order() {
        let (text, replaced) = transliterate("ça, l’œuvre, ça e\u{301}té\u{200B}", gsm);
        assert_eq!(text, "ca, l'oeuvre, ca été");
        let told: Vec<_> = replaced.iter().map(|r| (&*r.from, &*r.to)).collect();
        assert_eq!(
            told,
            [
                ("ç", "c"),
                ("’", "'"),
                ("œ", "oe"),
                ("e\u{301}", "é"),
                ("\u{200B}", "")
            ]
        );
        assert_eq!(transliterate("déjà vu à 10 €", gsm).1, []);
    }

    #[test]
    fn a_smaller_alphabet_loses_more() {
        let ascii = |c: char| c.is_ascii();
        for (from, to) in [
            ("Élève à 10 €, Noël", "Eleve a 10 EUR, Noel"),
            ("Straße, Ærø, señor ¿qué?", "Strasse, AEro, senor ?que?"),
            ("cafe\u{301}", "cafe"),
        ] {
            assert_eq!(transliterate(from, ascii).0, to);
        }
        assert_eq!(
            transliterate("l’œil reçu, 10 €, o\u{302}", latin1::has).0,
            "l'oeil reçu, 10 EUR, ô"
        );
    }

    proptest! {
        #[test]
        fn transliteration_is_stable_and_leaves_what_has_a_place_alone(
            any in any::<String>(),
            near in "[a-zéàçêœŒ’«» €ßÆ\u{301}\u{327}\u{200B}😀]{0,80}",
        ) {
            for text in [any, near] {
                let (once, replaced) = transliterate(&text, gsm);
                prop_assert_eq!(replaced.is_empty(), once == text);
                prop_assert_eq!(transliterate(&once, gsm), (once, Vec::new()));
                if forcing_unicode(&text).is_empty() {
                    prop_assert_eq!(to_gsm(&text), text);
                }
            }
        }
    }
}
