#![allow(clippy::unwrap_used)]
use bytes::{Bytes, BytesMut};
use tokio_util::codec::Encoder;

use super::*;
use crate::channel::smpp::bind::{Role, bind_pdu};
use crate::channel::smpp::frame::{FrameCodec, command};
use crate::domain::id::MessageId;
use crate::domain::message::Token;
use crate::domain::msisdn::Msisdn;
use crate::domain::time::Timestamp;
use crate::domain::wire::{CustomTlv, Version};

const VALIDITY: Duration = Duration::from_hours(48);

fn request(from: Option<Sender>, alphabet: Alphabet, total: u8) -> SubmitRequest {
    SubmitRequest {
        token: Token {
            message: MessageId::new(Timestamp(1), [0; 10]),
            attempt: 0,
            claim: 1,
        },
        to: Msisdn::from_e164_digits("33612345678").unwrap(),
        from,
        alphabet,
        segment: 1,
        payload: Bytes::from_static(b"abc"),
        total,
        reference: 0xA7,
        expires_at: Timestamp(172_800_000),
        priority: 2,
        relayed: None,
    }
}

#[test]
fn the_validity_is_relative_floored_and_within_bounds() {
    for (seconds, text) in [
        (172_800, "000002000000000R"),
        (172_799, "000001235959000R"),
        (90, "000000000130000R"),
        (0, "000000000100000R"),
        (u64::MAX, "000030000000000R"),
    ] {
        assert_eq!(
            validity_period(Duration::from_secs(seconds)),
            text,
            "{seconds} s"
        );
    }
    assert_eq!(
        validity_period(Duration::from_millis(61_999)),
        "000000000101000R"
    );
}

#[test]
fn the_form_of_the_sender_decides_ton_and_npi() {
    let config = SmppConfig::new("a", "localhost", 2775, "id", "pw");
    for (sender, ton, npi, text) in [
        (Some(Sender::Alphanumeric("CCAS".into())), 5, 0, "CCAS"),
        (
            Some(Sender::International("33700000000".into())),
            1,
            1,
            "33700000000",
        ),
        (Some(Sender::Short("36111".into())), 3, 0, "36111"),
        (None, 0, 0, ""),
    ] {
        let request = request(sender, Alphabet::Gsm7, 1);
        let pdu = submit_sm(&config, &request, VALIDITY).unwrap();
        assert_eq!(
            (u8::from(pdu.source_addr_ton), u8::from(pdu.source_addr_npi)),
            (ton, npi)
        );
        assert_eq!(pdu.source_addr.as_str(), text);
        assert_eq!(
            (u8::from(pdu.dest_addr_ton), u8::from(pdu.dest_addr_npi)),
            (1, 1)
        );
        assert_eq!(pdu.destination_addr.as_str(), "33612345678");
        assert_eq!((u8::from(pdu.esm_class), u8::from(pdu.data_coding)), (0, 0));
        assert_eq!(u8::from(pdu.registered_delivery), 1);
        assert_eq!(pdu.short_message().as_ref(), b"abc");
    }
}

#[test]
fn the_account_may_number_each_form_of_sender_in_its_own_way() {
    let mut config = SmppConfig::new("a", "localhost", 2775, "id", "pw");
    config.wire.source.short = Numbering { ton: 0, npi: 1 };
    config.wire.source.international = Numbering { ton: 2, npi: 8 };
    let mut numbered = |sender: &Sender, npi: Option<u8>| {
        config.source_npi = npi;
        let request = request(Some(sender.clone()), Alphabet::Gsm7, 1);
        let pdu = submit_sm(&config, &request, VALIDITY).unwrap();
        (u8::from(pdu.source_addr_ton), u8::from(pdu.source_addr_npi))
    };
    for (sender, expected) in [
        (Sender::Alphanumeric("CCAS".into()), (5, 0)),
        (Sender::International("33700000000".into()), (2, 8)),
        (Sender::Short("36111".into()), (0, 1)),
    ] {
        assert_eq!(numbered(&sender, None), expected);
        assert_eq!(numbered(&sender, Some(9)), (expected.0, 9), "one for all");
    }
}

#[test]
fn the_account_gives_sender_and_numbering_where_it_says_so() {
    let mut config = SmppConfig::new("a", "localhost", 2775, "id", "pw");
    config.sender = Some(Sender::Short("38000".into()));
    config.source_ton = Some(6);
    config.dest_npi = Some(0);
    let request = request(None, Alphabet::Ucs2, 3);
    let pdu = submit_sm(&config, &request, VALIDITY).unwrap();
    assert_eq!(
        (u8::from(pdu.source_addr_ton), u8::from(pdu.source_addr_npi)),
        (6, 0)
    );
    assert_eq!(pdu.source_addr.as_str(), "38000");
    assert_eq!(u8::from(pdu.dest_addr_npi), 0);
    assert_eq!(
        (u8::from(pdu.esm_class), u8::from(pdu.data_coding)),
        (0x40, 8)
    );
    assert_eq!(pdu.short_message().as_ref(), b"\x05\x00\x03\xA7\x03\x02abc");
}

#[test]
fn what_does_not_fit_names_the_field_and_not_the_value() {
    let mut config = SmppConfig::new("a", "localhost", 2775, "id", "pw");
    config.service_type = "TOOLONG".to_owned();
    let request = request(None, Alphabet::Gsm7, 1);
    let error = submit_sm(&config, &request, VALIDITY).unwrap_err();
    assert_eq!(
        error.to_string(),
        "service_type is too long for its field or not ASCII"
    );
}

/// The whole PDU on the wire.
fn written(wire: WireRules, request: &SubmitRequest) -> Vec<u8> {
    let mut config = SmppConfig::new("a", "localhost", 2775, "id", "pw");
    config.service_type = "CMT".to_owned();
    config.wire = wire;
    let pdu = submit_sm(&config, request, VALIDITY).unwrap();
    let mut out = BytesMut::new();
    FrameCodec.encode(command(0, 9, pdu), &mut out).unwrap();
    out.to_vec()
}

/// What every PDU here begins with after its header, up to `esm_class`.
const ADDRESSES: &[u8] = b"CMT\0\x03\x0036111\0\x01\x0133612345678\0";

/// `schedule_delivery_time` empty, `validity_period` 48 h.
const TIMES: &[u8] = b"\x00000002000000000R\x00";

/// A PDU put together by hand: esm_class, protocol_id, priority_flag; registered_delivery,
/// replace_if_present_flag, data_coding, sm_default_msg_id, sm_length; the rest.
fn expected(three: [u8; 3], five: [u8; 5], rest: &[u8]) -> Vec<u8> {
    let body = [ADDRESSES, &three, TIMES, &five, rest].concat();
    let length = u32::try_from(16 + body.len()).unwrap().to_be_bytes();
    let header = [&length[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 9]].concat();
    [header, body].concat()
}

#[track_caller]
fn assert_octets(found: &[u8], expected: &[u8]) {
    assert!(
        found == expected,
        "\n   found {:02X?}\nexpected {:02X?}",
        found,
        expected
    );
}

fn short(alphabet: Alphabet, total: u8) -> SubmitRequest {
    let mut request = request(Some(Sender::Short("36111".into())), alphabet, total);
    request.reference = 0x12A7;
    request
}

#[test]
fn each_way_of_joining_parts_has_the_octets_of_the_specifications() {
    use Concatenation::{Payload, Sar, Udh, Udh16};
    let way = |concatenation| WireRules {
        concatenation,
        ..WireRules::default()
    };
    let part = short(Alphabet::Gsm7, 3);
    // Part 2 of 3. 3GPP TS 23.040 §9.2.3.24.1: 05 00 03 reference total number.
    assert_octets(
        &written(way(Udh), &part),
        &expected([0x40, 0, 2], [1, 0, 0, 0, 9], b"\x05\0\x03\xA7\x03\x02abc"),
    );
    // §9.2.3.24.8: 06 08 04 reference reference total number.
    assert_octets(
        &written(way(Udh16), &part),
        &expected(
            [0x40, 0, 2],
            [1, 0, 0, 0, 10],
            b"\x06\x08\x04\x12\xA7\x03\x02abc",
        ),
    );
    // SMPP 3.4 §5.3.2.22 to 24, and no UDHI.
    assert_octets(
        &written(way(Sar), &part),
        &expected(
            [0, 0, 2],
            [1, 0, 0, 0, 3],
            b"abc\x02\x0C\0\x02\0\xA7\x02\x0E\0\x01\x03\x02\x0F\0\x01\x02",
        ),
    );
    // A message of parts that were cut before the account wanted wholes.
    assert_eq!(written(way(Payload), &part), written(way(Udh), &part));
    // §5.3.2.32: sm_length 0.
    assert_octets(
        &written(way(Payload), &short(Alphabet::Ucs2, 1)),
        &expected([0, 0, 2], [1, 0, 8, 0, 0], b"\x04\x24\0\x03abc"),
    );
    for concatenation in [Udh, Udh16, Sar] {
        assert_octets(
            &written(way(concatenation), &short(Alphabet::Gsm7, 1)),
            &expected([0, 0, 2], [1, 0, 0, 0, 3], b"abc"),
        );
    }
}

#[test]
fn what_no_short_message_holds_is_a_payload_whatever_the_account_says() {
    let mut request = short(Alphabet::Ucs2, 1);
    request.payload = Bytes::from(vec![0x41; 254]);
    let pdu = written(WireRules::default(), &request);
    assert_eq!(pdu[pdu.len() - 255..][..2], [254, 0x41]);
    request.payload = Bytes::from(vec![0x41; 1000]);
    let pdu = written(WireRules::default(), &request);
    let tail = [&b"\0\x04\x24\x03\xE8"[..], &[0x41; 1000]].concat();
    assert_octets(&pdu[pdu.len() - tail.len()..], &tail);

    let mut config = SmppConfig::new("a", "localhost", 2775, "id", "pw");
    config.wire.version = Version::V33;
    assert_eq!(
        submit_sm(&config, &request, VALIDITY).unwrap_err().field,
        "message_payload"
    );
}

#[test]
fn what_the_account_wants_stands_in_every_submit_sm() {
    let tlv = |tag, value: &[u8]| CustomTlv {
        tag,
        value: value.to_vec(),
    };
    let wire = WireRules {
        protocol_id: 0x41,
        registered_delivery: 17,
        priority_flags: [0, 0, 1, 4],
        // 0x0204 is one that the specification knows, user_message_reference.
        tlvs: vec![
            tlv(0x1400, b"\x0A\x0B"),
            tlv(0x0204, b"\x01\x02"),
            tlv(0x1401, b""),
        ],
        ..WireRules::default()
    };
    assert_octets(
        &written(wire, &short(Alphabet::Gsm7, 1)),
        &expected(
            [0, 0x41, 1],
            [17, 0, 0, 0, 3],
            b"abc\x14\0\0\x02\x0A\x0B\x02\x04\0\x02\x01\x02\x14\x01\0\0",
        ),
    );
}

#[test]
fn the_bind_says_which_version_we_speak() {
    for (version, number) in [
        (Version::V33, 0x33),
        (Version::V34, 0x34),
        (Version::V50, 0x50),
    ] {
        let mut config = SmppConfig::new("a", "localhost", 2775, "id", "pw");
        config.system_type = "SMS".to_owned();
        config.wire.version = version;
        let mut out = BytesMut::new();
        let pdu = bind_pdu(&config, Role::Receiver).unwrap();
        FrameCodec.encode(command(0, 1, pdu), &mut out).unwrap();
        let body = [&b"id\0pw\0SMS\0"[..], &[number, 0, 0, 0]].concat();
        let expected = [
            &[0, 0, 0, 30, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1],
            &body[..],
        ]
        .concat();
        assert_octets(&out, &expected);
    }
}
