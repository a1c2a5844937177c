//! A subscriber's number in E.164 form, and how people write one.
//!
//! A number is refused for two different reasons, and callers act differently on
//! them: it cannot be a number at all, or it is one that receives no SMS. The
//! first may be deleted from a contact list, so it is only said when it is sure:
//! the French plan is ours and judged strictly, all other countries by length,
//! because numbering plans change faster than metadata and the carrier has the
//! last word.
//!
//! Invariants: a [`Msisdn`] has 8 to 15 digits, none of them a leading zero; what
//! [`Display`](fmt::Display) writes, [`parse`] reads back as the same number,
//! whatever the default country; `Debug` and every error keep the number
//! private.

use std::fmt;

use rlibphonenumber::{
    NumberLengthType, PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberFormat, PhoneNumberType, Region,
};
use serde::{Deserialize, Serialize};

pub mod destination;

/// An E.164 number (ITU-T E.164 clause 6.2.1): its digits without the plus.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Msisdn(u64);

impl Msisdn {
    /// What stands where a number was erased: no country has this code (ITU-T E.164 keeps 999
    /// unassigned), so that nobody can write to it.
    pub const NOBODY: Msisdn = Msisdn(999_000_000_000_000);

    /// The number whose digits, with country code and without plus, are `digits`;
    /// `None` unless they are 8 to 15 ASCII digits without a leading zero. The
    /// numbering plan is not asked: this reads what a carrier or the store wrote.
    #[must_use]
    pub fn from_e164_digits(digits: &str) -> Option<Msisdn> {
        let plausible = (MIN_DIGITS..=MAX_DIGITS).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0');
        plausible.then(|| digits.parse().ok().map(Msisdn))?
    }

    /// The digits as a number: the storage form.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// The digits, without plus: how SMPP writes a number of TON 1.
    #[must_use]
    pub fn digits(self) -> String {
        self.0.to_string()
    }

    /// The number for logs and errors, its middle hidden: `+336••••5678`. The
    /// country code, one national digit and at most four last ones are shown,
    /// fewer of a short number.
    #[must_use]
    pub fn masked(self) -> String {
        let digits = self.digits();
        let (country, national) = digits.split_at(calling_code_length(&digits));
        // Nine national digits hide four; half at least is hidden of any number.
        let hidden = (national.len() / 2).max(national.len().saturating_sub(5));
        let head = national.len().min(1);
        let (first, rest) = national.split_at(head);
        let last = rest.get(hidden..).unwrap_or_default();
        format!("+{country}{first}{}{last}", "•".repeat(hidden))
    }
}

impl fmt::Display for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

impl fmt::Debug for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl From<Msisdn> for u64 {
    fn from(number: Msisdn) -> u64 {
        number.0
    }
}

impl TryFrom<u64> for Msisdn {
    type Error = NumberError;

    fn try_from(digits: u64) -> Result<Msisdn, NumberError> {
        settled(&digits.to_string())
    }
}

/// Why a number is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// It cannot be a telephone number.
    #[error("{reason}")]
    Invalid {
        /// What is wrong with it, and what to do.
        reason: Reason,
    },
    /// It is a number, but of a kind that receives no SMS.
    #[error(
        "this is a landline, internet or service number, which cannot receive SMS; \
         give a mobile number"
    )]
    NotMobile,
}

impl NumberError {
    /// The stable code of the API: `number_invalid` or `not_mobile`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            NumberError::Invalid { .. } => "number_invalid",
            NumberError::NotMobile => "not_mobile",
        }
    }
}

/// What is wrong with a number that is none. Digits are counted, never quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Nothing, or only separators.
    #[error("the number is empty; give one such as +33 6 12 34 56 78")]
    Empty,
    /// A letter or sign that no telephone number contains.
    #[error(
        "a telephone number cannot contain {sign:?}; use the digits 0 to 9, a leading + \
         and spaces, dots, dashes, slashes or parentheses"
    )]
    Sign {
        /// The first such character.
        sign: char,
    },
    /// Fewer digits than any number has.
    #[error(
        "the number has only {digits} digits; give the whole number, \
         with its country code unless it is of the default country"
    )]
    TooShort {
        /// How many it has.
        digits: usize,
    },
    /// More digits than E.164 allows.
    #[error(
        "the number has {digits} digits, but at most 15 are possible; give one number at a time"
    )]
    TooLong {
        /// How many it has.
        digits: usize,
    },
    /// International form, but then a zero.
    #[error(
        "no country code begins with 0; write + and the country code, or a national number without +"
    )]
    CountryCode,
    /// A French number of another length than the plan's.
    #[error(
        "a French number has 10 digits with its leading 0, or 9 after +33; \
         write a foreign number with + and its country code"
    )]
    FrenchLength,
    /// A length that the country of this code does not have.
    #[error("no number of country code +{country_code} has this length; count its digits again")]
    Length {
        /// The country calling code.
        country_code: u16,
    },
    /// Written nationally, but not as the default country does.
    #[error(
        "this is no national number of the default country; \
         write the number with + and its country code"
    )]
    National,
    /// The default country is needed and is none.
    #[error(
        "the default country is not a known ISO 3166 code of two letters; \
         correct it, or write the number with + and its country code"
    )]
    DefaultCountry,
}

/// E.164 allows 15 digits in all; with fewer than 8 nobody receives SMS.
const MAX_DIGITS: usize = 15;
const MIN_DIGITS: usize = 8;
/// What is shorter than this is not even a national number.
const MIN_WRITTEN: usize = 4;

fn invalid<T>(reason: Reason) -> Result<T, NumberError> {
    Err(NumberError::Invalid { reason })
}

/// Reads a number as people write it: international after `+` or `00`, national
/// otherwise, with the usual separators and `(0)`.
///
/// `default_country` is the ISO 3166 code of two letters whose national numbers
/// are understood, such as `FR`. Only the ten ASCII digits count as digits.
///
/// A `+` in a form body that was not percent-encoded arrives as a space; so after
/// a leading space, digits that begin with the default country's calling code are
/// taken as international where they can be. France also takes `33…` without the
/// space, and after one any country code, because no national number looks so.
///
/// # Errors
/// [`NumberError`], which says what to do and never repeats the number.
pub fn parse(input: &str, default_country: &str) -> Result<Msisdn, NumberError> {
    match written(input, default_country) {
        Ok(Msisdn::NOBODY) => invalid(Reason::CountryCode),
        other => other,
    }
}

fn written(input: &str, default_country: &str) -> Result<Msisdn, NumberError> {
    let Written { digits, plus } = read(input)?;
    match digits.len() {
        0 if !plus => return invalid(Reason::Empty),
        few @ ..MIN_WRITTEN => return invalid(Reason::TooShort { digits: few }),
        _ => {}
    }
    if plus {
        return international(&digits);
    }
    if let Some(digits) = digits.strip_prefix("00") {
        return international(digits);
    }
    if digits.len() > MAX_DIGITS {
        return invalid(Reason::TooLong {
            digits: digits.len(),
        });
    }
    national(&digits, default_country, input.starts_with(' '))
}

/// The number of a sender as carriers write one: any usual writing, and also with its country code
/// but without plus, and as a national number without its leading zero. A landline is one too: it
/// has sent something. `None` for short codes and names.
#[must_use]
pub fn of_sender(text: &str, default_country: &str) -> Option<Msisdn> {
    let text = text.trim();
    let bare = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let known = parse(text, default_country).ok();
    let zero_left_out = || parse(&format!("0{text}"), default_country).ok();
    let plus_left_out = || international(text).ok();
    known
        .or_else(|| zero_left_out().filter(|_| bare && text.len() >= MIN_DIGITS))
        .or_else(|| plus_left_out().filter(|_| bare))
        .or_else(|| Msisdn::from_e164_digits(text.strip_prefix('+')?))
}

/// What is left of the input without its separators.
struct Written {
    digits: String,
    plus: bool,
}

fn read(input: &str) -> Result<Written, NumberError> {
    let mut digits = String::new();
    let mut plus = false;
    let mut opened = None;
    for c in input.chars() {
        match c {
            '0'..='9' => digits.push(c),
            '+' if !plus && digits.is_empty() => plus = true,
            '(' => opened = Some(digits.len()),
            ')' => {
                // "+33 (0)6": the national prefix, shown for those who dial from
                // inside. It is none of the number; in "(06) 12" or "(0)6" it is.
                let national = digits.starts_with('0') && !digits.starts_with("00");
                if let Some(at) = opened.take()
                    && digits.get(at..) == Some("0")
                    && !national
                {
                    digits.truncate(at);
                }
            }
            '.' | '-' | '/' => {}
            // The hyphens and dashes of word processors, and the minus.
            '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{AD}' => {}
            // Invisible marks that contact applications put around numbers.
            '\u{200B}'..='\u{200F}'
            | '\u{202A}'..='\u{202E}'
            | '\u{2060}'
            | '\u{2066}'..='\u{2069}'
            | '\u{FEFF}' => {}
            // Among them the no-break spaces U+00A0 and U+202F.
            _ if c.is_whitespace() => {}
            sign => return invalid(Reason::Sign { sign }),
        }
    }
    Ok(Written { digits, plus })
}

/// Judges digits that begin with a country code.
fn international(digits: &str) -> Result<Msisdn, NumberError> {
    match digits.len() {
        few @ ..MIN_DIGITS => return invalid(Reason::TooShort { digits: few }),
        many if many > MAX_DIGITS => return invalid(Reason::TooLong { digits: many }),
        _ => {}
    }
    if digits.starts_with('0') {
        return invalid(Reason::CountryCode);
    }
    if let Some(national) = digits.strip_prefix("33") {
        return french(without_trunk_zero(national));
    }
    for country_code in OVERSEAS {
        if let Some(national) = digits.strip_prefix(country_code) {
            return overseas(country_code, national);
        }
    }
    abroad(digits)
}

/// Judges digits written as inside `default_country`.
fn national(digits: &str, default_country: &str, after_space: bool) -> Result<Msisdn, NumberError> {
    let region = Region::from_code(default_country.trim())
        .ok()
        .and_then(|region| {
            Some((
                region,
                PHONE_NUMBER_UTIL.get_country_code_for_region(region)?,
            ))
        });
    let Some((region, country_code)) = region else {
        return invalid(Reason::DefaultCountry);
    };
    let country_code = country_code.to_string();
    let lost_plus = || after_space && library(digits).is_some_and(|(number, _)| possible(&number));

    if dials_the_french_plan(region) {
        // Ten digits after a 0 and nothing else is national here, so a country
        // code without its plus cannot be mistaken for anything.
        return match digits.strip_prefix('0') {
            Some(national) => french(national),
            None if after_nine(digits, "33") || after_nine(digits, &country_code) => {
                international(digits)
            }
            None if lost_plus() => international(digits),
            None => invalid(Reason::FrenchLength),
        };
    }
    if digits.starts_with(&country_code) && lost_plus() {
        return international(digits);
    }
    match PHONE_NUMBER_UTIL.parse(digits, Some(region)) {
        Ok(number) if possible(&number) => international(&e164(&number)),
        _ => invalid(Reason::National),
    }
}

/// Whether `digits` are `country_code` and nine more.
fn after_nine(digits: &str, country_code: &str) -> bool {
    digits
        .strip_prefix(country_code)
        .is_some_and(|rest| rest.len() == 9)
}

/// France and the territories that share its plan of ten digits: a call between
/// them is dialled nationally.
fn dials_the_french_plan(region: Region) -> bool {
    use Region::{BL, FR, GF, GP, MF, MQ, RE, YT};
    matches!(region, FR | GP | MQ | GF | RE | YT | BL | MF)
}

/// "+33 06…": the national prefix kept by mistake. No number of the French plan
/// has ten digits, so this is never part of one.
fn without_trunk_zero(national: &str) -> &str {
    match national.strip_prefix('0') {
        Some(rest) if rest.len() == 9 => rest,
        _ => national,
    }
}

/// Judges a number of the French plan, given without country code or leading 0.
///
/// 6 and 7 are mobile, whether ARCEP has already opened the range or not. A mobile
/// number of an overseas department has its own country code.
fn french(national: &str) -> Result<Msisdn, NumberError> {
    if national.len() != 9 || national.starts_with('0') {
        return invalid(Reason::FrenchLength);
    }
    if !national.starts_with(['6', '7']) {
        return Err(NumberError::NotMobile);
    }
    let country_code = overseas_home(national).unwrap_or("33");
    settled(&format!("{country_code}{national}"))
}

/// The country code of an overseas mobile number that is dialled nationally from
/// France (ARCEP's numbering plan), by its digits without the leading 0.
pub(super) fn overseas_home(national: &str) -> Option<&'static str> {
    match national.as_bytes() {
        [b'6', b'9', b'0' | b'1', ..] => Some("590"),
        [b'6', b'9', b'4', ..] => Some("594"),
        [b'6', b'9', b'6' | b'7', ..] => Some("596"),
        [b'6', b'9', b'2' | b'3', ..] | [b'6', b'3', b'9', ..] => Some("262"),
        [b'7', b'0', b'9', b'0', b'0'..=b'4', ..] => Some("590"),
        [b'7', b'0', b'9', b'1', b'0'..=b'3', ..] => Some("596"),
        [b'7', b'0', b'9', b'2', b'0'..=b'3', ..] => Some("262"),
        [b'7', b'0', b'9', b'3', b'0'..=b'3', ..] => Some("594"),
        [b'7', b'0', b'9', b'3', b'5'..=b'7', ..] => Some("262"),
        _ => None,
    }
}

/// Guadeloupe, Guyane, Martinique, Réunion and Mayotte; Saint-Pierre-et-Miquelon,
/// Nouvelle-Calédonie, Polynésie, Wallis-et-Futuna.
const OVERSEAS: [&str; 8] = ["590", "594", "596", "262", "508", "687", "689", "681"];

/// Judges an overseas number: our own map first, then the library for the length
/// and for what it knows to be no mobile.
fn overseas(country_code: &'static str, national: &str) -> Result<Msisdn, NumberError> {
    let national = match country_code {
        "590" | "594" | "596" | "262" => without_trunk_zero(national),
        _ => national,
    };
    let digits = format!("{country_code}{national}");
    if national.len() == 9 && overseas_home(national) == Some(country_code) {
        return settled(&digits);
    }
    match library(&digits) {
        Some((number, _)) if possible(&number) => abroad(&digits),
        _ => invalid(Reason::Length {
            country_code: country_code.parse().unwrap_or_default(),
        }),
    }
}

/// Judges a number of any other country: it is refused only if the library knows
/// that it is a valid number of a kind that receives no SMS.
fn abroad(digits: &str) -> Result<Msisdn, NumberError> {
    use PhoneNumberType as Kind;
    let Some((number, kind)) = library(digits) else {
        return settled(digits);
    };
    match kind {
        Kind::FixedLine
        | Kind::TollFree
        | Kind::PremiumRate
        | Kind::SharedCost
        | Kind::VoIP
        | Kind::UAN
        | Kind::VoiceMail => Err(NumberError::NotMobile),
        // A national prefix may have been kept inside ("+44 07…"); the library
        // takes it out. Its form is only taken if the number is valid or nothing
        // but a zero went, and if it stands for the same number when read again.
        _ => {
            let canonical = e164(&number);
            let zero_went = digits.len() == canonical.len() + 1 && possible(&number);
            let same = (kind != Kind::Unknown || zero_went)
                && library(&canonical).is_some_and(|again| again == (number, kind));
            settled(if same { &canonical } else { digits })
        }
    }
}

/// What the library makes of international digits; `None` if it does not know
/// the country code or cannot read the rest.
fn library(digits: &str) -> Option<(PhoneNumber, PhoneNumberType)> {
    let number = PHONE_NUMBER_UTIL.parse(format!("+{digits}"), None).ok()?;
    let kind = PHONE_NUMBER_UTIL.get_number_type(&number);
    Some((number, kind))
}

fn possible(number: &PhoneNumber) -> bool {
    PHONE_NUMBER_UTIL.is_possible_number_with_reason(number) == Ok(NumberLengthType::IsPossible)
}

/// The library's E.164 digits, without plus.
fn e164(number: &PhoneNumber) -> String {
    let written = PHONE_NUMBER_UTIL.format(number, PhoneNumberFormat::E164);
    written.trim_start_matches('+').to_owned()
}

/// The number of judged digits; their count is checked once more here, so that no
/// path can make a [`Msisdn`] that breaks its invariant.
fn settled(digits: &str) -> Result<Msisdn, NumberError> {
    let number = Msisdn::from_e164_digits(digits);
    number.map_or_else(
        || {
            invalid(match digits.len() {
                digits @ ..MIN_DIGITS => Reason::TooShort { digits },
                digits if digits > MAX_DIGITS => Reason::TooLong { digits },
                _ => Reason::CountryCode,
            })
        },
        Ok,
    )
}

/// How many digits the country calling code takes (ITU-T E.164 list of assigned
/// codes): the zones 1 and 7 are codes themselves, the listed ones have two digits,
/// every other has three.
fn calling_code_length(digits: &str) -> usize {
    match digits.as_bytes() {
        [b'1' | b'7', ..] => 1,
        [b'2', b'0' | b'7', ..]
        | [b'3', b'0'..=b'4' | b'6' | b'9', ..]
        | [b'4', b'0' | b'1' | b'3'..=b'9', ..]
        | [b'5', b'1'..=b'8', ..]
        | [b'6', b'0'..=b'6', ..]
        | [b'8', b'1' | b'2' | b'4' | b'6', ..]
        | [b'9', b'0'..=b'5' | b'8', ..] => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests;
