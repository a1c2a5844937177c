//! Where a number is and what writing to it means: its country, its kind, whether it costs by the call.
//!
//! What is decided here keeps a program that runs wild, or a stolen key, from costing money abroad. The
//! French numbers, which nearly all are, are judged by their first digits alone.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberType, Region};

use super::{Msisdn, OVERSEAS, Written, dials_the_french_plan, library, overseas_home, read};

/// Codes that belong to no country (ITU-T E.164 list): Inmarsat, personal numbers, satellites,
/// international networks and premium rates.
const NOWHERE: [u64; 6] = [870, 878, 881, 882, 883, 979];

/// The first three digits.
fn head(number: Msisdn) -> u64 {
    let digits = number.as_u64();
    let length = digits.checked_ilog10().unwrap_or(0);
    digits / 10_u64.pow(length.saturating_sub(2))
}

/// True for the numbers of the Republic: the metropole and every territory.
fn is_french(number: Msisdn) -> bool {
    matches!(
        head(number),
        330..=339 | 508 | 590 | 594 | 596 | 262 | 681 | 687 | 689
    )
}

/// True for a code that a list of countries may hold: an ISO 3166 code of two letters, upper case, of a
/// country that has telephones; `*` is all of them.
#[must_use]
pub fn is_country(code: &str) -> bool {
    let known = || {
        let region = Region::from_code(code).ok()?;
        PHONE_NUMBER_UTIL.get_country_code_for_region(region)
    };
    code == "*" || (code.bytes().all(|b| b.is_ascii_uppercase()) && known().is_some())
}

/// The code under which the numbers of a country are listed: that of a French territory is all of France.
#[must_use]
pub fn own_country(code: &str) -> &str {
    match code {
        "BL" | "GF" | "GP" | "MF" | "MQ" | "NC" | "PF" | "PM" | "RE" | "WF" | "YT" => "FR",
        other => other,
    }
}

/// True if a number is of a country. `FR` has all its territories, each of which can also be named alone:
/// `GP` means `BL` and `MF` as well, which share its numbers.
#[must_use]
pub fn is_in(number: Msisdn, country: &str) -> bool {
    if country == "*" {
        return true;
    }
    if country == "FR" || is_french(number) {
        return is_french(number) && is_in_territory(number, country);
    }
    let Ok(region) = Region::from_code(country) else {
        return false;
    };
    let Some(code) = PHONE_NUMBER_UTIL.get_country_code_for_region(region) else {
        return false;
    };
    let digits = number.digits();
    if !digits.starts_with(&code.to_string()) {
        return false;
    }
    // Most codes are one country's. Of those that are shared, a number that nobody knows counts as the
    // main country's: metadata may be older than the number.
    let mut regions = PHONE_NUMBER_UTIL.get_regions_for_country_calling_code(code);
    let main = regions.as_mut().and_then(Iterator::next);
    if main == Some(region) && regions.is_none_or(|others| others.len() == 0) {
        return true;
    }
    let known = library(&digits).filter(|(number, _)| number.country_code == code);
    let found = known.and_then(|(number, _)| PHONE_NUMBER_UTIL.get_region_for_number(&number));
    found.or(main) == Some(region)
}

fn is_in_territory(number: Msisdn, country: &str) -> bool {
    let code = match country {
        "FR" => return true,
        "BL" | "GP" | "MF" => 590,
        "GF" => 594,
        "MQ" => 596,
        "NC" => 687,
        "PF" => 689,
        "PM" => 508,
        "WF" => 681,
        // They share a code, and are told apart by what follows.
        "RE" | "YT" => {
            let digits = number.digits();
            let mayotte = matches!(
                digits.as_bytes(),
                [_, _, _, b'6', b'3', b'9', ..]
                    | [_, _, _, b'2', b'6', b'9', ..]
                    | [_, _, _, b'7', b'0', b'9', b'3', b'5'..=b'7', ..]
            );
            return head(number) == 262 && mayotte == (country == "YT");
        }
        _ => return false,
    };
    head(number) == code
}

/// True unless a number is known to be none of a mobile. Ranges are opened faster than metadata tell.
#[must_use]
pub fn is_mobile(number: Msisdn) -> bool {
    use PhoneNumberType as Kind;
    let digits = number.digits();
    if let Some(national) = digits.strip_prefix("33") {
        return national.starts_with(['6', '7']);
    }
    let own = |code: &str| digits.strip_prefix(code).and_then(overseas_home) == Some(code);
    if OVERSEAS.iter().any(|code| own(code)) {
        return true;
    }
    library(&digits).is_none_or(|(_, kind)| {
        matches!(kind, Kind::Mobile | Kind::FixedLineOrMobile | Kind::Unknown)
    })
}

/// True for a number by satellite or of an international network: it can be read, and costs a multiple.
#[must_use]
pub fn is_nowhere(number: Msisdn) -> bool {
    NOWHERE.contains(&head(number))
}

/// True if what somebody has written as a number is a service that is paid by the call: a French number
/// in 08 that is not free, a short code, a premium or shared-cost number of any country. It is asked of
/// what [`parse`](super::parse) refuses.
#[must_use]
pub fn is_paid_service(written: &str, default_country: &str) -> bool {
    let Ok(Written { digits, plus }) = read(written) else {
        return false;
    };
    let abroad = if plus {
        Some(digits.as_str())
    } else {
        digits.strip_prefix("00")
    };
    if let Some(digits) = abroad {
        return match digits.strip_prefix("33") {
            Some(national) => is_french_service(national.trim_start_matches('0')),
            None => is_paid(digits),
        };
    }
    let Ok(region) = Region::from_code(default_country.trim()) else {
        return false;
    };
    if dials_the_french_plan(region) {
        return match digits.strip_prefix('0') {
            Some(national) => is_french_service(national),
            None => is_french_short_code(&digits),
        };
    }
    PHONE_NUMBER_UTIL
        .parse(&digits, Some(region))
        .is_ok_and(|number| is_paid_kind(PHONE_NUMBER_UTIL.get_number_type(&number)))
}

fn is_paid(digits: &str) -> bool {
    let nowhere = || {
        NOWHERE
            .iter()
            .any(|code| digits.starts_with(&code.to_string()))
    };
    nowhere() || library(digits).is_some_and(|(_, kind)| is_paid_kind(kind))
}

fn is_paid_kind(kind: PhoneNumberType) -> bool {
    matches!(
        kind,
        PhoneNumberType::PremiumRate | PhoneNumberType::SharedCost
    )
}

/// 080 is free or costs what any call costs; the rest of 08 costs more (Arcep decision 2018-0881).
fn is_french_service(national: &str) -> bool {
    national.len() == 9 && national.starts_with('8') && !national.starts_with("80")
}

/// Four digits in 10 and 3, six in 118, and the codes of SMS+ with five.
fn is_french_short_code(digits: &str) -> bool {
    match digits.len() {
        4 => digits.starts_with('3') || digits.starts_with("10"),
        5 => digits.starts_with(|c| ('3'..='8').contains(&c)),
        6 => digits.starts_with("118"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::parse;
    use super::*;

    fn number(digits: &str) -> Msisdn {
        Msisdn::from_e164_digits(digits).unwrap()
    }

    #[test]
    fn france_is_all_its_territories_and_each_can_be_named_alone() {
        for (digits, territory) in [
            ("33612345678", "FR"),
            ("590690123456", "GP"),
            ("594694123456", "GF"),
            ("596696123456", "MQ"),
            ("262692123456", "RE"),
            ("262639123456", "YT"),
            ("262709353456", "YT"),
            ("508551234", "PM"),
            ("687751234", "NC"),
            ("68987123456", "PF"),
            ("681821234", "WF"),
        ] {
            let to = number(digits);
            assert!(is_in(to, "FR") && is_in(to, territory), "{digits}");
            assert!(is_in(to, "*") && !is_in(to, "BE"), "{digits}");
            assert!(is_mobile(to) && !is_nowhere(to), "{digits}");
            let others = ["GP", "GF", "MQ", "RE", "YT", "PM", "NC", "PF", "WF"];
            let named = others.iter().filter(|other| is_in(to, other)).count();
            assert_eq!(named, usize::from(territory != "FR"), "{digits}");
        }
    }

    #[test]
    fn a_country_that_shares_its_code_is_told_by_what_follows() {
        for (digits, country, not) in [
            ("32470123456", "BE", "FR"),
            ("447700900123", "GB", "JE"),
            ("447797123456", "JE", "GB"),
            ("12025550123", "US", "CA"),
            ("14165550123", "CA", "US"),
            ("18765550123", "JM", "US"),
            ("79161234567", "RU", "KZ"),
            ("77011234567", "KZ", "RU"),
            ("393471234567", "IT", "VA"),
        ] {
            let to = number(digits);
            assert!(is_in(to, country), "{digits} is in {country}");
            assert!(!is_in(to, not), "{digits} is not in {not}");
        }
    }

    #[test]
    fn only_countries_are_countries() {
        for code in ["FR", "RE", "BE", "US", "*"] {
            assert!(is_country(code), "{code}");
        }
        for code in ["", "fr", "ZZ", "FRA", "33", "001", "F"] {
            assert!(!is_country(code), "{code}");
        }
        assert_eq!((own_country("RE"), own_country("BE")), ("FR", "BE"));
    }

    #[test]
    fn what_is_paid_by_the_call_is_known_however_it_is_written() {
        for written in [
            "0892 123 456",
            "08 99 70 12 34",
            "+33 892 123 456",
            "0033 (0)8 92 12 34 56",
            "0826 123 456",
            "3949",
            "1023",
            "118 712",
            "36111",
            "81212",
            "+1 900 234 5678",
            "+44 906 123 4567",
            "+979 123 456 789",
            "+262 892 12 34 56",
        ] {
            assert!(is_paid_service(written, "FR"), "{written}");
            assert!(parse(written, "FR").is_err(), "{written}");
        }
        for written in [
            "0800 123 456",
            "0805 123 456",
            "01 23 45 67 89",
            "112",
            "15",
            "06 12 34 56",
            "abc",
            "",
            "+",
            "+1 800 555 1234",
        ] {
            assert!(!is_paid_service(written, "FR"), "{written}");
        }
        assert!(is_paid_service("0906 123 4567", "GB"));
        assert!(!is_paid_service("3949", "GB"));
    }

    #[test]
    fn satellites_are_nowhere() {
        for digits in [
            "881612345678",
            "882161234567",
            "883510012345",
            "870773112345",
        ] {
            assert!(is_nowhere(number(digits)), "{digits}");
        }
        for digits in [
            "33612345678",
            "447700900123",
            "88012345678",
            "8613812345678",
        ] {
            assert!(!is_nowhere(number(digits)), "{digits}");
        }
    }
}
