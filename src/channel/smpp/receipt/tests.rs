#![allow(clippy::unwrap_used)]
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use ReceiptState::{
    Accepted, Deleted, Delivered, Enroute, Expired, Rejected, Undeliverable, Unknown,
};

fn with_text(text: &[u8]) -> Deliver {
    Deliver {
        esm_class: 0x04,
        message: Bytes::copy_from_slice(text),
        ..Deliver::default()
    }
}

#[test]
fn every_text_that_carriers_write_is_read() {
    let cases: &[(&str, Option<&str>, ReceiptState, Option<&str>)] = &[
        (
            "id:0123456789 sub:001 dlvrd:001 submit date:2611221200 done date:2611221201 \
             stat:DELIVRD err:000 text:Bonjour",
            Some("0123456789"),
            Delivered,
            Some("000"),
        ),
        // Seconds in the dates.
        (
            "id:A1 sub:001 dlvrd:001 submit date:261122120000 done date:261122120105 stat:UNDELIV \
             err:027 text:",
            Some("A1"),
            Undeliverable,
            Some("027"),
        ),
        // Another case, another order.
        (
            "ID:ff SUB:001 DLVRD:001 STAT:EXPIRED ERR:005 TEXT:x",
            Some("ff"),
            Expired,
            Some("005"),
        ),
        (
            "Id:ff Stat:Rejectd Err:0x45",
            Some("ff"),
            Rejected,
            Some("0x45"),
        ),
        ("stat:delivrd err:0 id:77", Some("77"), Delivered, Some("0")),
        (
            "err:000 stat:DELETED sub:1 id:9e-7_x",
            Some("9e-7_x"),
            Deleted,
            Some("000"),
        ),
        // Missing fields.
        ("id:5 stat:ACCEPTD", Some("5"), Accepted, None),
        ("id:5 stat:ENROUTE", Some("5"), Enroute, None),
        ("id:5", Some("5"), Unknown, None),
        ("stat:DELIVRD", None, Delivered, None),
        ("", None, Unknown, None),
        ("hello", None, Unknown, None),
        // Words that are whole, cut, numeric or unheard of.
        ("id:5 stat:DELIVERED", Some("5"), Delivered, None),
        (
            "id:5 stat:UNDELIVERABLE err:1",
            Some("5"),
            Undeliverable,
            Some("1"),
        ),
        ("id:5 stat:2", Some("5"), Delivered, None),
        ("id:5 stat:WIBBLE", Some("5"), Unknown, None),
        // Blanks, equals signs, other separators and line ends.
        (
            "id: 5 stat: DELIVRD err: 000",
            Some("5"),
            Delivered,
            Some("000"),
        ),
        ("id : 5 stat : DELIVRD", Some("5"), Delivered, None),
        (
            "id=5 stat=DELIVRD err=000",
            Some("5"),
            Delivered,
            Some("000"),
        ),
        ("id:5,stat:DELIVRD;err:1", Some("5"), Delivered, Some("1")),
        (
            "id:5, stat:DELIVRD, err:000;",
            Some("5"),
            Delivered,
            Some("000"),
        ),
        (
            "id:5\nstat:DELIVRD\r\nerr:000\0",
            Some("5"),
            Delivered,
            Some("000"),
        ),
        ("id:\"5\" stat:DELIVRD", Some("5"), Delivered, None),
        ("\0id:5 stat:DELIVRD\0", Some("5"), Delivered, None),
        // An empty field is not filled with the next one.
        ("id: sub:001 stat:DELIVRD", None, Delivered, None),
        // The quoted message says nothing that the receipt itself says.
        (
            "id:5 stat:UNDELIV err:1 text:id:6 stat:DELIVRD",
            Some("5"),
            Undeliverable,
            Some("1"),
        ),
        (
            "text:stat:DELIVRD id:5 stat:EXPIRED",
            Some("5"),
            Delivered,
            None,
        ),
        // Longer words that end like a key.
        (
            "paid:9 grid:8 id:5 mystat:X stat:DELIVRD",
            Some("5"),
            Delivered,
            None,
        ),
        (
            "Message status id:5 was stat:DELIVRD today",
            Some("5"),
            Delivered,
            None,
        ),
    ];
    assert!(cases.len() >= 20);
    for (text, reference, state, error) in cases {
        let reported = read(&with_text(text.as_bytes()));
        assert_eq!(reported.reference, reference.unwrap_or(""), "{text:?}");
        assert_eq!(reported.receipt.state, *state, "{text:?}");
        assert_eq!(reported.receipt.error.as_deref(), *error, "{text:?}");
    }
}

/// What a form says: id, state, `stat` word and `err` code.
type Said = (
    &'static str,
    ReceiptState,
    Option<&'static str>,
    Option<&'static str>,
);

/// Forms that carriers and aggregators were seen to send, each with an invented id: the forms are
/// from their manuals, from bug reports about other gateways, and from traces.
const SEEN: [(&str, Said); 46] = [
    // Appendix B to the letter, and with the field names as it prints them.
    (
        "id:0000123456 sub:001 dlvrd:001 submit date:2611221200 done date:2611221201 stat:DELIVRD err:000 text:Bonjour a tous",
        ("0000123456", Delivered, Some("DELIVRD"), Some("000")),
    ),
    (
        "id:0000123456 sub:001 dlvrd:001 submit date:2611221200 done date:2611221201 stat:DELIVRD err:000 Text:Hello Relais world",
        ("0000123456", Delivered, Some("DELIVRD"), Some("000")),
    ),
    (
        "id:0000123456 sub:001 dlvrd:000 submit date:2611221200 done date:2611221201 stat:UNDELIV err:001 text:",
        ("0000123456", Undeliverable, Some("UNDELIV"), Some("001")),
    ),
    (
        "id:0000123456 sub:001 dlvrd:000 submit date:2611221200 done date:2611221201 stat:EXPIRED err:027 text:none ",
        ("0000123456", Expired, Some("EXPIRED"), Some("027")),
    ),
    // Seconds in the dates; four digits of year; milliseconds with a sign; seconds since 1970.
    (
        "id:00112233445566778899aabbccddeeff sub:001 dlvrd:001 submit date:261122215253 done date:261122215259 stat:DELIVRD err:000 text:",
        (
            "00112233445566778899aabbccddeeff",
            Delivered,
            Some("DELIVRD"),
            Some("000"),
        ),
    ),
    (
        "id:77 sub:001 dlvrd:001 submit date:20261122120000 done date:20261122120001 stat:DELIVRD err:000 text:",
        ("77", Delivered, Some("DELIVRD"), Some("000")),
    ),
    (
        "id:relais0inv3nted0id0000042q sub:000 dlvrd:000 submit date:261122070003912+ done date:261122070000012+ stat:UNDELIV err:000",
        (
            "relais0inv3nted0id0000042q",
            Undeliverable,
            Some("UNDELIV"),
            Some("000"),
        ),
    ),
    (
        "id:77 sub:001 dlvrd:001 submit date:1795348800 done date:1795348801 stat:DELIVRD err:000 Text:x",
        ("77", Delivered, Some("DELIVRD"), Some("000")),
    ),
    (
        "id:77 sub:001 dlvrd:001 submit date:2026-11-22 12:00:00 done date:2026-11-22 12:00:01 stat:DELIVRD err:000",
        ("77", Delivered, Some("DELIVRD"), Some("000")),
    ),
    (
        "id:77 sub:001 dlvrd:001 submit date: done date: stat:DELIVRD err:000 text:",
        ("77", Delivered, Some("DELIVRD"), Some("000")),
    ),
    // Without sub and dlvrd; without text; without err; id and stat alone.
    (
        "id:4100200300 submit date:2611220904 done date:2611220904 stat:DELIVRD err:000 text:Bonjour",
        ("4100200300", Delivered, Some("DELIVRD"), Some("000")),
    ),
    (
        "id:0410020030 submit date:2611221454 done date:2611221454 stat:DELIVRD err:000",
        ("0410020030", Delivered, Some("DELIVRD"), Some("000")),
    ),
    (
        "id:0410020030 submit date:2611221454 done date:2611221454 stat:DELIVRD err:000\0",
        ("0410020030", Delivered, Some("DELIVRD"), Some("000")),
    ),
    (
        "id:beef-1\r\nstat:DELIVRD",
        ("beef-1", Delivered, Some("DELIVRD"), None),
    ),
    (
        "id:41002 sub:001 dlvrd:001\nsubmit date:2611220348 done date:2611220348\nstat:DELIVRD err:0\ntext:Relais: AI",
        ("41002", Delivered, Some("DELIVRD"), Some("0")),
    ),
    // Counts of one digit, other cases of letters.
    (
        "id:42A0B1C2 sub:1 dlvrd:1 submit date:2611221424 done date:2611221424 stat:DELIVRD err:0 text: comment allez-vous",
        ("42A0B1C2", Delivered, Some("DELIVRD"), Some("0")),
    ),
    (
        "id:1235 sub:001 Dlvrd:1 submit date:2611221716 done date:2611221801 stat:DELIVRD err:0 text:x",
        ("1235", Delivered, Some("DELIVRD"), Some("0")),
    ),
    (
        "ID:1235 SUB:001 DLVRD:001 SUBMIT DATE:2611221716 DONE DATE:2611221801 STAT:UNDELIV ERR:011 TEXT:X",
        ("1235", Undeliverable, Some("UNDELIV"), Some("011")),
    ),
    (
        "Id:1235 Sub:001 Dlvrd:001 Submit Date:2611221716 Done Date:2611221801 Stat:Delivrd Err:000 Text:",
        ("1235", Delivered, Some("Delivrd"), Some("000")),
    ),
    (
        "id:1235 stat:delivrd err:000",
        ("1235", Delivered, Some("delivrd"), Some("000")),
    ),
    // Codes of four digits, of letters, in hexadecimal, after a blank, negative.
    (
        "id:126112209000000417 sub:001 dlvrd:001 submit date:2611221624 done date:2611221624 stat:DELIVRD err:0000 text:B\u{1b}njour",
        (
            "126112209000000417",
            Delivered,
            Some("DELIVRD"),
            Some("0000"),
        ),
    ),
    (
        "id:77 sub:001 dlvrd:000 submit date:2611221200 done date:2611221201 stat:REJECTD err:E2 text:",
        ("77", Rejected, Some("REJECTD"), Some("E2")),
    ),
    (
        "id:77 sub:001 dlvrd:000 submit date:2611221200 done date:2611221201 stat:UNDELIV err:0x0000000B",
        ("77", Undeliverable, Some("UNDELIV"), Some("0x0000000B")),
    ),
    (
        "id:77 sub:001 dlvrd:001 submit date:2611221200 done date:2611221201 stat:DELIVRD err: 0 text:",
        ("77", Delivered, Some("DELIVRD"), Some("0")),
    ),
    (
        "id:77 sub:001 dlvrd:000 submit date:2611221200 done date:2611221201 stat:UNDELIV err:-1 text:",
        ("77", Undeliverable, Some("UNDELIV"), Some("-1")),
    ),
    (
        "id:77 sub:001 dlvrd:000 submit date:2611221200 done date:2611221201 stat:UNDELIV err:501 Text:x",
        ("77", Undeliverable, Some("UNDELIV"), Some("501")),
    ),
    // Fields of the carrier's own behind, between, and before.
    (
        "id:40112209000000418 sub:001 dlvrd:001 submit date:2611221049 done date:2611221049 stat:UNDELIV err:001 IMSI: MSC: ORN:Reseau MCCMNC:21910",
        (
            "40112209000000418",
            Undeliverable,
            Some("UNDELIV"),
            Some("001"),
        ),
    ),
    (
        "id:77 sub:001 dlvrd:001 submit date:2611221049 done date:2611221049 stat:DELIVRD err:000 vsn:1 mccmnc:20801 price:0.05 text:",
        ("77", Delivered, Some("DELIVRD"), Some("000")),
    ),
    (
        "to:33612345678 id:77 sub:001 dlvrd:001 stat:DELIVRD err:000",
        ("77", Delivered, Some("DELIVRD"), Some("000")),
    ),
    // Ids of every kind: dashes and letters, a UUID, an underscore, a point, 64 characters.
    (
        "id:2211AB-00C0DE-F001 sub:000 dlvrd:000 submit date:2611220238 done date:2611220238 stat:ACCEPTD err:000 text:",
        ("2211AB-00C0DE-F001", Accepted, Some("ACCEPTD"), Some("000")),
    ),
    (
        "id:00000042-0000-4000-8000-00000000beef sub:001 dlvrd:001 submit date:261122193758 done date:261122193800 stat:DELIVRD err:000 text:",
        (
            "00000042-0000-4000-8000-00000000beef",
            Delivered,
            Some("DELIVRD"),
            Some("000"),
        ),
    ),
    (
        "id:sm_1.2@smsc sub:001 dlvrd:001 stat:DELIVRD err:000",
        ("sm_1.2@smsc", Delivered, Some("DELIVRD"), Some("000")),
    ),
    (
        "id:4A4B4C4D4E4F40414243000000000042 sub:001 dlvrd:000 submit date:2611221208 done date:2611221208 stat:UNDELIV err:001 text:Ceci est",
        (
            "4A4B4C4D4E4F40414243000000000042",
            Undeliverable,
            Some("UNDELIV"),
            Some("001"),
        ),
    ),
    (
        "id:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef stat:DELIVRD err:000",
        (
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            Delivered,
            Some("DELIVRD"),
            Some("000"),
        ),
    ),
    // No id in the text.
    (
        "id: sub:001 dlvrd:000 submit date:2611220000 done date:2611220001 stat:UNDELIV err:001 text:failed",
        ("", Undeliverable, Some("UNDELIV"), Some("001")),
    ),
    (
        "sub:001 dlvrd:001 submit date:2611220905 done date:2611221705 stat:UNDELIV err:000 text:relais",
        ("", Undeliverable, Some("UNDELIV"), Some("000")),
    ),
    // Words that are not in the appendix.
    (
        "id:77 sub:001 dlvrd:000 submit date:2611221200 done date:2611221201 stat:FAILED err:069 text:",
        ("77", Undeliverable, Some("FAILED"), Some("069")),
    ),
    (
        "id:77 sub:001 dlvrd:000 submit date:2611221200 done date:2611221201 stat:BUFFRED err:000 text:",
        ("77", Enroute, Some("BUFFRED"), Some("000")),
    ),
    (
        "id:77 sub:001 dlvrd:000 submit date:2611221200 done date:2611221201 stat:NOCRED err:500 text:",
        ("77", Rejected, Some("NOCRED"), Some("500")),
    ),
    (
        "id:77 sub:001 dlvrd:000 submit date:2611221200 done date:2611221201 stat:SYSERR err:500 text:",
        ("77", Undeliverable, Some("SYSERR"), Some("500")),
    ),
    (
        "id:77 sub:001 dlvrd:000 submit date:2611221200 done date:2611221201 stat:BARRED err:000 text:",
        ("77", Undeliverable, Some("BARRED"), Some("000")),
    ),
    (
        "id:77 sub:001 dlvrd:000 submit date:2611221200 done date:2611221201 stat:SCHEDLD err:000 text:",
        ("77", ReceiptState::Scheduled, Some("SCHEDLD"), Some("000")),
    ),
    (
        "id:77 sub:001 dlvrd:000 submit date:2611221200 done date:2611221201 stat:NULL err:000 text:",
        ("77", Unknown, Some("NULL"), Some("000")),
    ),
    (
        "id:77 sub:001 dlvrd:001 submit date:2611221200 done date:2611221201 stat:DELIVERED err:000 text:",
        ("77", Delivered, Some("DELIVERED"), Some("000")),
    ),
    (
        "id:77 sub:001 dlvrd:000 submit date:2611221200 done date:2611221201 stat:5 err:0 text:",
        ("77", Undeliverable, Some("5"), Some("0")),
    ),
    (
        "id:77|sub:001|dlvrd:001|stat:DELIVRD|err:000",
        ("77", Delivered, Some("DELIVRD"), Some("000")),
    ),
];

#[test]
fn every_form_that_was_seen_in_the_wild_is_read() {
    for (text, (reference, state, word, error)) in SEEN {
        let deliver = with_text(text.as_bytes());
        let reported = read(&deliver);
        let said = (
            reported.reference.as_str(),
            reported.receipt.state,
            reported.receipt.word.as_deref(),
            reported.receipt.error.as_deref(),
        );
        assert_eq!(said, (reference, state, word, error), "{text:?}");
        // The same in UCS-2, and as ASCII that calls itself UCS-2.
        let octets: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for octets in [octets, text.as_bytes().to_vec()] {
            let deliver = Deliver {
                data_coding: 8,
                ..with_text(&octets)
            };
            assert_eq!(read(&deliver), reported, "{text:?}");
        }
    }
}

#[test]
fn a_text_that_nothing_calls_a_receipt_may_be_one_only_if_it_has_what_receipts_have() {
    let whole =
        "id:77 sub:001 dlvrd:001 submit date:2611221200 done date:2611221201 stat:DELIVRD err:000";
    for (text, expected) in [
        (whole, true),
        ("id:77 stat:DELIVRD done date:2611221201", true),
        ("id:77 stat:DELIVRD dlvrd:001", true),
        ("ID:77 STAT:UNDELIV DLVRD:000", true),
        ("id:77 stat:DELIVRD", false),
        ("id:77 stat:WIBBLE dlvrd:001", false),
        ("stat:DELIVRD dlvrd:001", false),
        ("id:77 dlvrd:001", false),
        ("STOP", false),
        ("", false),
        // What a receipt quotes says nothing about the text that quotes it.
        ("Fwd text:id:77 stat:DELIVRD dlvrd:001", false),
    ] {
        let deliver = Deliver {
            esm_class: 0,
            ..with_text(text.as_bytes())
        };
        assert!(!deliver.is_receipt(), "{text}");
        assert_eq!(read_unmarked(&deliver).is_some(), expected, "{text}");
    }
}

#[test]
fn a_receipt_that_names_two_ids_gives_both() {
    // One number, in decimal in the text and in hexadecimal in the TLV.
    let mut deliver = with_text(
        b"id:0000123456 submit date:2611221508 done date:2611221508 stat:DELIVRD err:000\0",
    );
    deliver.tlvs = vec![(tag::RECEIPTED_MESSAGE_ID, Bytes::from_static(b"1e240\0"))];
    let reported = read(&deliver);
    assert_eq!(reported.reference, "1e240");
    assert_eq!(reported.other.as_deref(), Some("0000123456"));
    deliver.tlvs = vec![(tag::RECEIPTED_MESSAGE_ID, Bytes::from_static(b"0000123456"))];
    assert_eq!(read(&deliver).other, None);
}

#[test]
fn an_id_in_the_tlv_alone_and_a_state_in_the_tlv_alone_are_enough() {
    let mut deliver = with_text(b"sub:001 dlvrd:001 stat:EXPIRED err:005");
    deliver.tlvs = vec![(tag::RECEIPTED_MESSAGE_ID, Bytes::from_static(b"7F\0"))];
    let reported = read(&deliver);
    assert_eq!(
        (reported.reference.as_str(), reported.receipt.state),
        ("7F", Expired)
    );
    let mut deliver = with_text(b"id:7F");
    deliver.tlvs = vec![(tag::MESSAGE_STATE, Bytes::from_static(&[2]))];
    let reported = read(&deliver);
    assert_eq!(
        (reported.reference.as_str(), reported.receipt.state),
        ("7F", Delivered)
    );
    // A TLV that knows nothing does not hide what the text knows.
    let mut deliver = with_text(b"id:7F stat:DELIVRD");
    deliver.tlvs = vec![(tag::MESSAGE_STATE, Bytes::from_static(&[7]))];
    assert_eq!(read(&deliver).receipt.state, Delivered);
}

#[test]
fn an_underscore_of_the_gsm_alphabet_is_part_of_an_id() {
    assert_eq!(read(&with_text(b"id:a\x11b stat:DELIVRD")).reference, "a_b");
}

#[test]
fn tlvs_are_believed_before_the_text() {
    let mut deliver = with_text(b"id:1 stat:EXPIRED");
    deliver.tlvs = vec![
        (tag::RECEIPTED_MESSAGE_ID, Bytes::from_static(b"ABC\0")),
        (tag::MESSAGE_STATE, Bytes::from_static(&[2])),
        (tag::NETWORK_ERROR_CODE, Bytes::from_static(&[3, 0, 27])),
    ];
    let reported = read(&deliver);
    assert_eq!(reported.reference, "ABC");
    assert_eq!(reported.other.as_deref(), Some("1"));
    assert_eq!(reported.receipt.state, Delivered);
    assert_eq!(reported.receipt.word.as_deref(), Some("EXPIRED"));
    let (network, code) = (3, 27);
    assert_eq!(
        reported.receipt.network_error,
        Some(NetworkError { network, code })
    );
    // Without its NUL, with octets that are not ASCII, with a state that does not exist.
    deliver.tlvs = vec![
        (tag::RECEIPTED_MESSAGE_ID, Bytes::from_static(b"caf\xE9")),
        (tag::MESSAGE_STATE, Bytes::from_static(&[99])),
    ];
    let reported = read(&deliver);
    assert_eq!(
        (reported.reference.as_str(), reported.receipt.state),
        ("café", Expired)
    );
    // Empty TLVs say nothing.
    deliver.tlvs = vec![
        (tag::RECEIPTED_MESSAGE_ID, Bytes::from_static(b"\0")),
        (tag::MESSAGE_STATE, Bytes::new()),
    ];
    let reported = read(&deliver);
    assert_eq!(
        (reported.reference.as_str(), reported.receipt.state),
        ("1", Expired)
    );
}

#[test]
fn an_empty_body_with_tlvs_is_a_receipt_whatever_its_esm_class() {
    let mut deliver = Deliver::default();
    assert!(!deliver.is_receipt());
    deliver.tlvs = vec![(tag::RECEIPTED_MESSAGE_ID, Bytes::from_static(b"7\0"))];
    assert!(deliver.is_receipt());
    for (esm_class, expected) in [
        (0x04, true),
        (0x20, true),
        (0x44, true),
        (0x07, true),
        (0x00, false),
        (0x40, false),
        (0x08, false),
        (0x10, false),
    ] {
        let deliver = Deliver {
            esm_class,
            ..with_text(b"id:1 stat:DELIVRD")
        };
        assert_eq!(deliver.is_receipt(), expected, "{esm_class:#04x}");
    }
}

#[test]
fn a_body_in_ucs2_or_behind_a_header_is_read() {
    let octets: Vec<u8> = "id:5 stat:DELIVRD"
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect();
    let deliver = Deliver {
        data_coding: 8,
        ..with_text(&octets)
    };
    assert_eq!(read(&deliver).reference, "5");
    let mut deliver = with_text(b"\x05\x00\x03\x01\x02\x01id:5 stat:DELIVRD");
    deliver.esm_class = 0x44;
    assert_eq!(read(&deliver).receipt.state, Delivered);
}

#[test]
fn the_handset_is_read_where_its_number_is_international() {
    let number = Msisdn::from_e164_digits("33612345678");
    for (ton, text, expected) in [
        (1, "33612345678", number),
        (1, "+33612345678", number),
        (0, "+33612345678", number),
        (0, "0033612345678", number),
        (0, "33612345678", None),
        (2, "0612345678", None),
        (1, "3361", None),
        (5, "CCAS", None),
        (1, "", None),
        (1, "1234567890123456", None),
    ] {
        let address = Address {
            ton,
            npi: 1,
            text: text.to_owned(),
        };
        assert_eq!(handset(&address), expected, "{ton} {text}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text: Vec<u8>, data_coding: u8, esm_class: u8) {
        let deliver = Deliver { data_coding, esm_class, ..with_text(&text) };
        let _ = (read(&deliver), read_unmarked(&deliver));
    }

    #[test]
    fn no_body_panics_and_what_is_kept_of_it_is_bounded(
        start in proptest::bool::ANY,
        octets in prop::collection::vec(any::<u8>(), 0..400),
        data: bool,
    ) {
        // Half of them begin as a `deliver_sm` does, so that reading gets further.
        let mut body = Vec::new();
        if start {
            body.extend(b"\0\x01\x0133612345678\0\x05\0RELAIS\0\x04\0\0\0\0\0\0");
        }
        body.extend(octets);
        if let Ok(deliver) = Deliver::read(Bytes::from(body), data) {
            let reported = read(&deliver);
            prop_assert!(reported.reference.chars().count() <= ID_MAX);
            prop_assert!(reported.receipt.error.is_none_or(|code| code.chars().count() <= WORD_MAX));
            let _ = read_unmarked(&deliver);
        }
    }

    #[test]
    fn no_text_that_looks_like_fields_panics(text in "[ISid:=,; statextdlvrd0-9A-F§é]{0,80}") {
        let _ = (read(&with_text(text.as_bytes())), read_unmarked(&with_text(text.as_bytes())));
    }

    #[test]
    fn the_order_of_the_fields_does_not_matter(
        fields in Just(vec!["id:A7", "stat:UNDELIV", "err:27", "sub:001", "done date:2611221201"]).prop_shuffle(),
    ) {
        let reported = read(&with_text(fields.join(" ").as_bytes()));
        prop_assert_eq!(reported.reference, "A7");
        prop_assert_eq!(reported.receipt.state, Undeliverable);
        prop_assert_eq!(reported.receipt.error.as_deref(), Some("27"));
    }
}
