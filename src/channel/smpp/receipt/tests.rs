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
        assert_eq!(reported.reference.as_deref(), *reference, "{text:?}");
        assert_eq!(reported.receipt.state, *state, "{text:?}");
        assert_eq!(reported.receipt.error.as_deref(), *error, "{text:?}");
    }
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
    assert_eq!(reported.reference.as_deref(), Some("ABC"));
    assert_eq!(reported.receipt.state, Delivered);
    assert_eq!(reported.receipt.error.as_deref(), Some("3:27"));
    // Without its NUL, with octets that are not ASCII, with a state that does not exist.
    deliver.tlvs = vec![
        (tag::RECEIPTED_MESSAGE_ID, Bytes::from_static(b"caf\xE9")),
        (tag::MESSAGE_STATE, Bytes::from_static(&[99])),
    ];
    let reported = read(&deliver);
    assert_eq!(
        (reported.reference.as_deref(), reported.receipt.state),
        (Some("café"), Expired)
    );
    // Empty TLVs say nothing.
    deliver.tlvs = vec![
        (tag::RECEIPTED_MESSAGE_ID, Bytes::from_static(b"\0")),
        (tag::MESSAGE_STATE, Bytes::new()),
    ];
    let reported = read(&deliver);
    assert_eq!(
        (reported.reference.as_deref(), reported.receipt.state),
        (Some("1"), Expired)
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
    assert_eq!(read(&deliver).reference.as_deref(), Some("5"));
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
        let _ = read(&deliver);
    }

    #[test]
    fn the_order_of_the_fields_does_not_matter(
        fields in Just(vec!["id:A7", "stat:UNDELIV", "err:27", "sub:001", "done date:2611221201"]).prop_shuffle(),
    ) {
        let reported = read(&with_text(fields.join(" ").as_bytes()));
        prop_assert_eq!(reported.reference.as_deref(), Some("A7"));
        prop_assert_eq!(reported.receipt.state, Undeliverable);
        prop_assert_eq!(reported.receipt.error.as_deref(), Some("27"));
    }
}
