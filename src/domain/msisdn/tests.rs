//! How numbers are written, and what becomes of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use proptest::prelude::*;

/// The outcome as a word: the digits, or the code of the error.
fn outcome(input: &str, country: &str) -> String {
    match parse(input, country) {
        Ok(number) => number.to_string(),
        Err(error) => error.code().to_owned(),
    }
}

fn check(country: &str, table: &[(&str, &str)]) {
    for &(input, expected) in table {
        assert_eq!(outcome(input, country), expected, "{input:?} in {country}");
    }
}

#[test]
fn usual_french_writings_are_one_number() {
    for input in [
        "0612345678",
        "06 12 34 56 78",
        "06.12.34.56.78",
        "06-12-34-56-78",
        "06/12/34/56/78",
        "06\u{A0}12\u{A0}34\u{A0}56\u{A0}78",
        "06\u{202F}12\u{202F}34\u{202F}56\u{202F}78",
        "06\u{2011}12\u{2013}34 56 78",
        "(06) 12 34 56 78",
        "(0)6 12 34 56 78",
        "  0612345678\t",
        "+33612345678",
        "+33 6 12 34 56 78",
        "+33 (0)6 12 34 56 78",
        "+33(0)612345678",
        "+33 ( 0 ) 6 12 34 56 78",
        "(+33) 6 12 34 56 78",
        "+33 06 12 34 56 78",
        "0033612345678",
        "00 33 6 12 34 56 78",
        "0033 (0)6 12 34 56 78",
        "00330612345678",
        " 33612345678",
        "33612345678",
        "33 (0)6 12 34 56 78",
        "\u{202A}+33 6 12 34 56 78\u{202C}",
    ] {
        assert_eq!(outcome(input, "FR"), "+33612345678", "{input:?}");
        assert_eq!(outcome(input, " fr"), "+33612345678", "{input:?}");
    }
}

#[test]
fn the_french_plan_is_judged_strictly() {
    check(
        "FR",
        &[
            ("0712345678", "+33712345678"),
            ("+33700123456", "+33700123456"),
            ("0700000000", "+33700000000"),
            ("0601020304", "+33601020304"),
            ("0123456789", "not_mobile"),
            ("02 40 12 34 56", "not_mobile"),
            ("+33 5 61 00 00 00", "not_mobile"),
            ("0800 123 456", "not_mobile"),
            ("0970 12 34 56", "not_mobile"),
            ("0033 9 70 12 34 56", "not_mobile"),
            (" 33123456789", "not_mobile"),
            ("36180", "number_invalid"),
            ("3949", "number_invalid"),
            ("112", "number_invalid"),
            ("06 12", "number_invalid"),
            ("061234567", "number_invalid"),
            ("06123456789", "number_invalid"),
            ("612345678", "number_invalid"),
            ("+3361234567", "number_invalid"),
            ("+336123456789", "number_invalid"),
            ("+33 0 12 34 56 78", "number_invalid"),
            ("123456789012", "number_invalid"),
            (" 123456789012", "number_invalid"),
            ("447700900123", "number_invalid"),
        ],
    );
}

#[test]
fn overseas_mobiles_find_their_country_code() {
    check(
        "FR",
        &[
            ("0690 12 34 56", "+590690123456"),
            ("0691 12 34 56", "+590691123456"),
            ("0694 12 34 56", "+594694123456"),
            ("0696 12 34 56", "+596696123456"),
            ("0697 12 34 56", "+596697123456"),
            ("0692 12 34 56", "+262692123456"),
            ("0693 12 34 56", "+262693123456"),
            ("0639 12 34 56", "+262639123456"),
            ("0695 12 34 56", "+33695123456"),
            ("0698 12 34 56", "+33698123456"),
            ("0709 00 34 56", "+590709003456"),
            ("0709 04 34 56", "+590709043456"),
            ("0709 05 34 56", "+33709053456"),
            ("0709 10 34 56", "+596709103456"),
            ("0709 13 34 56", "+596709133456"),
            ("0709 14 34 56", "+33709143456"),
            ("0709 20 34 56", "+262709203456"),
            ("0709 23 34 56", "+262709233456"),
            ("0709 30 34 56", "+594709303456"),
            ("0709 33 34 56", "+594709333456"),
            ("0709 34 34 56", "+33709343456"),
            ("0709 35 34 56", "+262709353456"),
            ("0709 37 34 56", "+262709373456"),
            ("+33 690 12 34 56", "+590690123456"),
            ("+33 (0)690 12 34 56", "+590690123456"),
            ("0033 692 12 34 56", "+262692123456"),
            ("+590 690 12 34 56", "+590690123456"),
            ("+590 (0)690 12 34 56", "+590690123456"),
            ("+590 0690 12 34 56", "+590690123456"),
            ("00262 692 12 34 56", "+262692123456"),
            ("+590 590 12 34 56", "not_mobile"),
            ("+262 262 12 34 56", "not_mobile"),
            ("+596 596 50 12 34", "not_mobile"),
            ("0590 12 34 56", "not_mobile"),
            ("+590 690 12 34 5", "number_invalid"),
            ("+590 690 12 34 567", "number_invalid"),
            ("+508 55 12 34", "+508551234"),
            ("+687 75 12 34", "+687751234"),
            ("+689 87 12 34 56", "+68987123456"),
            ("+681 82 12 34", "+681821234"),
            ("+687 25 12 34", "not_mobile"),
            ("+687 75 12 34 5", "number_invalid"),
            // Without their code, the short forms mean nothing in France.
            ("75 12 34", "number_invalid"),
        ],
    );
}

#[test]
fn other_countries_are_judged_by_length_and_by_what_is_known_not_to_be_mobile() {
    check(
        "FR",
        &[
            ("+1 202 555 0123", "+12025550123"),
            ("+1 (415) 555-2671", "+14155552671"),
            ("+1 800 555 1234", "not_mobile"),
            ("+447700900123", "+447700900123"),
            ("+44 (0)7700 900123", "+447700900123"),
            ("+44 07700 900123", "+447700900123"),
            (" 447700900123", "+447700900123"),
            ("+442079460000", "not_mobile"),
            ("+32 470 12 34 56", "+32470123456"),
            ("+49 1512 3456789", "+4915123456789"),
            ("+49 30 123456", "not_mobile"),
            ("+39 347 123 4567", "+393471234567"),
            ("+39 06 698 12345", "not_mobile"),
            ("+212 612-345678", "+212612345678"),
            ("+2100000001", "+2100000001"),
            ("+2190000000", "+2190000000"),
            ("+999123456789", "+999123456789"),
            ("+447", "number_invalid"),
            ("+4477009", "number_invalid"),
            ("+44770090", "+44770090"),
            ("+447700900123456", "+447700900123456"),
            ("+4477009001234567", "number_invalid"),
            ("+80012345678", "not_mobile"),
        ],
    );
}

#[test]
fn a_default_country_reads_its_own_national_numbers() {
    for (input, country, expected) in [
        ("07700 900123", "GB", "+447700900123"),
        (" 447700900123", "GB", "+447700900123"),
        ("020 7946 0000", "GB", "not_mobile"),
        ("(202) 555-0123", "US", "+12025550123"),
        ("011 33 6 12 34 56 78", "US", "+33612345678"),
        ("555-0123", "US", "number_invalid"),
        ("0470 12 34 56", "BE", "+32470123456"),
        ("347 123 4567", "IT", "+393471234567"),
        ("75 12 34", "NC", "+687751234"),
        ("25 12 34", "NC", "not_mobile"),
        ("55 12 34", "PM", "+508551234"),
        ("0692 12 34 56", "RE", "+262692123456"),
        ("0612345678", "RE", "+33612345678"),
        ("0262 12 34 56", "RE", "not_mobile"),
        (" 262692123456", "RE", "+262692123456"),
        (" 33612345678", "GP", "+33612345678"),
        ("+33612345678", "", "+33612345678"),
        ("0612345678", "", "number_invalid"),
        ("0612345678", "ZZ", "number_invalid"),
        ("0612345678", "France", "number_invalid"),
    ] {
        assert_eq!(outcome(input, country), expected, "{input:?} in {country}");
    }
}

#[test]
fn what_is_no_number_says_why() {
    use Reason as R;
    for (input, reason) in [
        ("", R::Empty),
        (" \u{A0}-", R::Empty),
        ("+", R::TooShort { digits: 0 }),
        ("abc", R::Sign { sign: 'a' }),
        ("06 12 34 56 7O", R::Sign { sign: 'O' }),
        ("0612345678, 0687654321", R::Sign { sign: ',' }),
        ("0612345678x12", R::Sign { sign: 'x' }),
        ("06+12345678", R::Sign { sign: '+' }),
        ("++33612345678", R::Sign { sign: '+' }),
        ("٠٦١٢٣٤٥٦٧٨", R::Sign { sign: '٠' }),
        ("０６１２３４５６７８", R::Sign { sign: '０' }),
        ("123", R::TooShort { digits: 3 }),
        ("06 12", R::FrenchLength),
        ("+33 6 12", R::TooShort { digits: 5 }),
        ("0612345678 0687654321", R::TooLong { digits: 20 }),
        ("+0612345678", R::CountryCode),
        ("000612345678", R::CountryCode),
        ("+590 690 12", R::Length { country_code: 590 }),
    ] {
        assert_eq!(parse(input, "FR"), invalid(reason), "{input:?}");
    }
}

#[test]
fn errors_never_repeat_the_number() {
    for input in [
        "06 98 76 54 3",
        "+1234",
        "0198765432",
        "06 98 76 54 32 10 98 76 54",
        "98x",
    ] {
        let said = parse(input, "FR").unwrap_err().to_string();
        assert!(!said.contains("98") && !said.contains("234"), "{said}");
        assert!(said.contains("; "), "{said} says nothing to do");
    }
}

#[test]
fn debug_and_masked_hide_the_middle() {
    for (digits, masked) in [
        ("33612345678", "+336••••5678"),
        ("590690123456", "+5906••••3456"),
        ("12025550123", "+12•••••0123"),
        ("4915123456789", "+491••••••6789"),
        ("687751234", "+6877•••34"),
        ("29081234", "+2908••34"),
        ("210000000000001", "+2100•••••••0001"),
    ] {
        let number = Msisdn::from_e164_digits(digits).unwrap();
        assert_eq!(number.masked(), masked);
        assert_eq!(format!("{number:?}"), masked);
        assert_eq!(number.to_string(), format!("+{digits}"));
        assert_eq!(number.digits(), digits);
    }
}

#[test]
fn e164_digits_are_eight_to_fifteen_without_a_leading_zero() {
    for digits in [
        "",
        "1234567",
        "1234567890123456",
        "01234567",
        "1234567a",
        "+12345678",
        "١٢٣٤٥٦٧٨",
    ] {
        assert_eq!(Msisdn::from_e164_digits(digits), None, "{digits}");
    }
    for digits in ["12345678", "999999999999999"] {
        let number = Msisdn::from_e164_digits(digits).unwrap();
        assert_eq!(number.as_u64().to_string(), digits);
    }
}

#[test]
fn serde_is_the_number_and_refuses_what_is_none() {
    let number = parse("0612345678", "FR").unwrap();
    assert_eq!(serde_json::to_string(&number).unwrap(), "33612345678");
    assert_eq!(
        serde_json::from_str::<Msisdn>("33612345678").unwrap(),
        number
    );
    let octets = postcard::to_allocvec(&number).unwrap();
    assert_eq!(octets, postcard::to_allocvec(&33_612_345_678_u64).unwrap());
    assert_eq!(postcard::from_bytes::<Msisdn>(&octets).unwrap(), number);
    for bad in ["0", "1234567", "1234567890123456", "-1", "\"33612345678\""] {
        assert!(serde_json::from_str::<Msisdn>(bad).is_err(), "{bad}");
    }
}

/// What is displayed is read back as the same number, wherever.
fn stable(input: &str, country: &str) -> Result<(), TestCaseError> {
    if let Ok(number) = parse(input, country) {
        for again in ["FR", "US", country] {
            prop_assert_eq!(parse(&number.to_string(), again), Ok(number), "{}", input);
        }
        prop_assert_eq!(Msisdn::from_e164_digits(&number.digits()), Some(number));
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_string_is_read_or_refused(input in any::<String>(), country in any::<String>()) {
        stable(&input, &country)?;
        stable(&input, "FR")?;
    }

    #[test]
    fn number_like_strings_are_stable(
        input in "[+ ]?(00)?[0-9 ()./-]{0,20}", country in "FR|RE|NC|US|GB|IT|AR|MX|DE|JP|[A-Z]{2}",
    ) {
        stable(&input, &country)?;
    }

    #[test]
    fn international_digits_are_stable(input in "\\+[1-9][0-9]{7,14}") {
        stable(&input, "FR")?;
    }

    #[test]
    fn french_mobiles_are_accepted_however_written(rest in "[67][0-9]{8}") {
        let national = parse(&format!("0{rest}"), "FR");
        prop_assert!(national.is_ok());
        prop_assert_eq!(parse(&format!("+33{rest}"), "US"), national);
        prop_assert_eq!(parse(&format!(" 33{rest}"), "FR"), national);
    }

    #[test]
    fn masking_hides_at_least_a_third(digits in "[1-9][0-9]{7,14}") {
        let masked = Msisdn::from_e164_digits(&digits).unwrap().masked();
        prop_assert_eq!(masked.chars().count(), digits.len() + 1);
        let national = digits.len() - calling_code_length(&digits);
        prop_assert!(masked.chars().filter(|&c| c == '•').count() * 3 >= national);
    }
}

#[test]
fn senders_are_known_however_the_carrier_writes_them() {
    for text in [
        "+33612345678",
        "33612345678",
        "0033612345678",
        "0612345678",
        "612345678",
        " 06 12 34 56 78 ",
    ] {
        let number = of_sender(text, "FR").unwrap();
        assert_eq!(number.digits(), "33612345678", "{text:?}");
    }
    for (text, digits) in [
        ("447700900123", "447700900123"),
        ("+447700900123", "447700900123"),
        // Guadeloupe, dialled from France.
        ("+33690123456", "590690123456"),
        // A landline.
        ("+33123456789", "33123456789"),
    ] {
        assert_eq!(of_sender(text, "FR").unwrap().digits(), digits, "{text:?}");
    }
    for text in ["", "36111", "3611", "AMELI", "SNCF 2026", "+", "0"] {
        assert_eq!(of_sender(text, "FR"), None, "{text:?}");
    }
}

#[test]
fn nobody_can_be_written_to() {
    let nobody = Msisdn::NOBODY;
    assert_eq!(Msisdn::try_from(nobody.as_u64()), Ok(nobody));
    assert!(parse(&nobody.to_string(), "FR").is_err());
}
