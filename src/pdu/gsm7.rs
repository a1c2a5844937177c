//! The GSM 7 bit default alphabet (3GPP TS 23.038 clause 6.2.1) with its
//! extension table (clause 6.2.1.1).
//!
//! Septets are kept one per octet, as SMPP carries `data_coding` 0; the packing
//! of 8 septets into 7 octets belongs to the radio side and is not done here.
//! A character of the extension table costs two septets: the escape 0x1B and a
//! code. National language shift tables (clause 6.2.1.2) are not used: handsets
//! and carriers support them too unevenly.
//!
//! A character that has no form here silently turns a message of 160 characters
//! into one of 70, so this file also says which characters do that
//! ([`forcing_unicode`]) and can replace them by their nearest
//! ([`transliterate`]).

/// Escape to the extension table.
const ESCAPE: u8 = 0x1B;

/// The default alphabet, by code. 0x1B is the escape, which has no character of
/// its own; a receiver that cannot use it shows a space, so a space stands there.
#[rustfmt::skip]
const DEFAULT: [char; 128] = [
    '@', '£', '$', '¥', 'è', 'é', 'ù', 'ì', 'ò', 'Ç', '\n', 'Ø', 'ø', '\r', 'Å', 'å',
    'Δ', '_', 'Φ', 'Γ', 'Λ', 'Ω', 'Π', 'Ψ', 'Σ', 'Θ', 'Ξ', ' ', 'Æ', 'æ', 'ß', 'É',
    ' ', '!', '"', '#', '¤', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/',
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?',
    '¡', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O',
    'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'Ä', 'Ö', 'Ñ', 'Ü', '§',
    '¿', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o',
    'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 'ä', 'ö', 'ñ', 'ü', 'à',
];

/// The extension table: code after the escape, character.
const EXTENSION: [(u8, char); 10] = [
    (0x0A, '\u{C}'),
    (0x14, '^'),
    (0x28, '{'),
    (0x29, '}'),
    (0x2F, '\\'),
    (0x3C, '['),
    (0x3D, '~'),
    (0x3E, ']'),
    (0x40, '|'),
    (0x65, '€'),
];

/// Where a character stands.
enum Code {
    Default(u8),
    Extension(u8),
}

fn code(c: char) -> Option<Code> {
    // Most of a text is ASCII letters and digits, whose code is their own.
    if c.is_ascii_alphanumeric() || c == ' ' {
        return u8::try_from(c).ok().map(Code::Default);
    }
    if let Some(at) = DEFAULT.iter().position(|&d| d == c) {
        return u8::try_from(at).ok().map(Code::Default);
    }
    let found = EXTENSION.iter().find(|&&(_, e)| e == c);
    found.map(|&(code, _)| Code::Extension(code))
}

/// How many septets `c` takes: 1, 2 (extension table), or `None` when it has no
/// form in this alphabet.
#[must_use]
pub fn septets(c: char) -> Option<u8> {
    code(c).map(|code| match code {
        Code::Default(_) => 1,
        Code::Extension(_) => 2,
    })
}

/// The septets of `text`, one per octet.
///
/// # Errors
/// The first character that has no form in this alphabet.
pub fn encode(text: &str) -> Result<Vec<u8>, char> {
    let mut septets = Vec::with_capacity(text.len());
    for c in text.chars() {
        match code(c).ok_or(c)? {
            Code::Default(code) => septets.push(code),
            Code::Extension(code) => septets.extend([ESCAPE, code]),
        }
    }
    Ok(septets)
}

/// The text of `septets`, one per octet.
///
/// Total. After an escape, a code that the extension table does not define is
/// read in the default table (clause 6.2.1.1), and a second escape is a space
/// (its note 1). An escape at the very end is a space too (clause 6.2.1, note
/// 1). An octet above 0x7F is no septet and becomes U+FFFD.
#[must_use]
pub fn decode(septets: &[u8]) -> String {
    let mut text = String::with_capacity(septets.len());
    let mut rest = septets.iter().copied();
    while let Some(septet) = rest.next() {
        text.push(match septet {
            ESCAPE => rest.next().map_or(' ', extended),
            _ => plain(septet),
        });
    }
    text
}

fn plain(septet: u8) -> char {
    let found = DEFAULT.get(usize::from(septet)).copied();
    found.unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn extended(septet: u8) -> char {
    let found = EXTENSION.iter().find(|&&(code, _)| code == septet);
    found.map_or_else(|| plain(septet), |&(_, c)| c)
}

/// The distinct characters of `text` that have no form in this alphabet, in
/// order of appearance: the ones that make the message Unicode.
#[must_use]
pub fn forcing_unicode(text: &str) -> Vec<char> {
    let mut found = Vec::new();
    for c in text.chars() {
        if septets(c).is_none() && !found.contains(&c) {
            found.push(c);
        }
    }
    found
}

/// `text` with the characters that have no form in this alphabet replaced by
/// their nearest that have one.
///
/// Latin letters lose their diacritics (`ç` → `c`, `ê` → `e`), ligatures open
/// (`œ` → `oe`), typographic quotes, dashes and spaces become the typewriter's,
/// invisible marks go. Letters decomposed by the sender (e + U+0301) are composed
/// first where the alphabet has the whole (`é`). What has a form is untouched,
/// and what has no near one (emoji, other scripts) is kept, so that the caller
/// can see it with [`forcing_unicode`].
#[must_use]
pub fn transliterate(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // A combining mark is only ours to drop right after a Latin letter or another
    // dropped mark; after anything else it may be part of an emoji or a script.
    let mut on_letter = false;
    for c in text.chars() {
        if on_letter && ('\u{300}'..='\u{36F}').contains(&c) {
            let base = out.pop().unwrap_or(' ');
            out.push(composed(base, c).unwrap_or(base));
            continue;
        }
        match (septets(c), nearest(c)) {
            (None, Some(near)) => out.push_str(near),
            _ => out.push(c),
        }
        on_letter = out.ends_with(|last: char| last.is_ascii_alphabetic());
    }
    out
}

/// The letters of the default alphabet that a sender may write as a base letter
/// and a combining mark.
fn composed(base: char, mark: char) -> Option<char> {
    const COMPOSED: [(char, &str, &str); 5] = [
        ('\u{300}', "aeiou", "àèìòù"),
        ('\u{301}', "eE", "éÉ"),
        ('\u{303}', "nN", "ñÑ"),
        ('\u{308}', "aouAOU", "äöüÄÖÜ"),
        ('\u{30A}', "aA", "åÅ"),
    ];
    if (base, mark) == ('C', '\u{327}') {
        return Some('Ç');
    }
    let (_, bases, wholes) = COMPOSED.iter().find(|&&(m, _, _)| m == mark)?;
    let found = bases.chars().zip(wholes.chars()).find(|&(b, _)| b == base);
    found.map(|(_, whole)| whole)
}

/// The nearest form of a character that has none.
fn nearest(c: char) -> Option<&'static str> {
    let found = NEAREST.iter().find(|(_, from)| from.contains(c));
    found.map(|&(to, _)| to)
}

/// Nearest form, then the characters that it stands for.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    /// Any text of this alphabet.
    pub(in crate::pdu) fn gsm_text() -> impl Strategy<Value = String> {
        let all: Vec<char> = DEFAULT
            .iter()
            .copied()
            .chain(EXTENSION.iter().map(|e| e.1))
            .collect();
        proptest::collection::vec(proptest::sample::select(all), 0..500)
            .prop_map(|chars| chars.into_iter().collect())
    }

    #[test]
    fn known_texts_have_known_septets() {
        for (text, septets) in [
            ("", &[][..]),
            ("hello", b"hello"),
            ("@£$¥", &[0, 1, 2, 3]),
            ("àéèùìò", &[0x7F, 0x05, 0x04, 0x06, 0x07, 0x08]),
            (
                "ÇÉÑñüß§¿¡¤",
                &[0x09, 0x1F, 0x5D, 0x7D, 0x7E, 0x1E, 0x5F, 0x60, 0x40, 0x24],
            ),
            (
                "ΔΦΓΛΩΠΨΣΘΞ",
                &[0x10, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1A],
            ),
            ("_\n\r", &[0x11, 0x0A, 0x0D]),
            ("10€", &[0x31, 0x30, 0x1B, 0x65]),
            ("[~]", &[0x1B, 0x3C, 0x1B, 0x3D, 0x1B, 0x3E]),
            ("{^}", &[0x1B, 0x28, 0x1B, 0x14, 0x1B, 0x29]),
            ("\\|\u{C}", &[0x1B, 0x2F, 0x1B, 0x40, 0x1B, 0x0A]),
        ] {
            assert_eq!(encode(text).as_deref(), Ok(septets), "{text}");
            assert_eq!(decode(septets), text);
        }
    }

    #[test]
    fn characters_cost_one_two_or_have_no_form() {
        for c in "àéèùìòÇÉ&@£$ \n\rAz09äöüÄÖÜ_".chars() {
            assert_eq!(septets(c), Some(1), "{c:?}");
        }
        for c in "€[]{}\\^~|\u{C}".chars() {
            assert_eq!(septets(c), Some(2), "{c:?}");
        }
        for c in "çêâîôûëïœŒ’«»…–—\u{A0}\u{202F}\t`ÀÈ°😀я\0\u{1B}\u{7F}".chars()
        {
            assert_eq!(septets(c), None, "{c:?}");
        }
    }

    #[test]
    fn a_text_outside_the_alphabet_names_its_first_stranger() {
        assert_eq!(encode("reçu à l’aube"), Err('ç'));
        assert_eq!(
            forcing_unicode("reçu ça à l’aube, l’œuvre"),
            ['ç', '’', 'œ']
        );
        assert!(forcing_unicode("déjà vu à 10 €").is_empty());
    }

    #[test]
    fn odd_septets_are_read_as_the_specification_says() {
        for (septets, text) in [
            (&[0x41, 0x1B][..], "A "),
            (&[0x1B, 0x1B, 0x41], " A"),
            (&[0x1B, 0x41], "A"),
            (&[0x1B, 0x0D], "\r"),
            (&[0x80, 0x41, 0xFF], "\u{FFFD}A\u{FFFD}"),
            (&[0x1B, 0xE5], "\u{FFFD}"),
        ] {
            assert_eq!(decode(septets), text, "{septets:02X?}");
        }
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
            assert_eq!(transliterate(from), to);
            assert!(forcing_unicode(to).is_empty(), "{to}");
        }
    }

    #[test]
    fn what_has_no_near_form_is_kept_and_seen() {
        assert_eq!(
            transliterate("ça 😀 да 1\u{FE0F}\u{20E3}"),
            "ca 😀 да 1\u{FE0F}\u{20E3}"
        );
        assert_eq!(
            forcing_unicode(&transliterate("ça 😀 да")),
            ['😀', 'д', 'а']
        );
        assert_eq!(transliterate("и\u{306}"), "и\u{306}");
    }

    #[test]
    fn every_replacement_has_a_form_and_replaces_once() {
        let mut seen = String::new();
        for (to, from) in NEAREST {
            assert!(forcing_unicode(to).is_empty(), "{to}");
            for c in from.chars() {
                assert_eq!(septets(c), None, "{c} needs no replacement");
                assert!(!seen.contains(c), "{c} is listed twice");
                seen.push(c);
            }
        }
        // The Latin letters of Latin-1 and Latin Extended-A are complete but for
        // a handful that have no base letter.
        let kept: String = ('\u{C0}'..='\u{17F}')
            .filter(|&c| c.is_alphabetic() && septets(c).is_none() && nearest(c).is_none())
            .collect();
        assert_eq!(kept, "ĸŉſ");
    }

    proptest! {
        #[test]
        fn gsm_text_survives(text in gsm_text()) {
            let septets = encode(&text).unwrap();
            prop_assert!(septets.iter().all(|&s| s < 0x80));
            let cost: usize = text.chars().map(|c| usize::from(super::septets(c).unwrap())).sum();
            prop_assert_eq!(septets.len(), cost);
            prop_assert_eq!(decode(&septets), text);
        }

        #[test]
        fn any_octets_decode(octets in any::<Vec<u8>>()) {
            prop_assert!(decode(&octets).chars().count() <= octets.len());
        }

        #[test]
        fn transliteration_is_stable_and_leaves_gsm_alone(any in any::<String>(), gsm in gsm_text()) {
            let once = transliterate(&any);
            prop_assert_eq!(transliterate(&once), once);
            prop_assert_eq!(transliterate(&gsm), gsm);
        }
    }
}
