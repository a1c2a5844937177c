#![allow(clippy::unwrap_used, clippy::expect_used)]
use bytes::BufMut;
use proptest::prelude::*;
use rusmpp::pdus;
use rusmpp::types::OctetString;
use rusmpp::values::EsmClass;

use super::*;

fn octets(commands: impl IntoIterator<Item = Command>) -> BytesMut {
    let mut out = BytesMut::new();
    for command in commands {
        FrameCodec.encode(command, &mut out).unwrap();
    }
    out
}

fn raw(id: u32, status: u32, sequence: u32, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_u32(u32::try_from(16 + body.len()).unwrap());
    out.put_u32(id);
    out.put_u32(status);
    out.put_u32(sequence);
    out.put_slice(body);
    out
}

fn all(mut src: BytesMut) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(frame) = FrameCodec.decode(&mut src).unwrap() {
        frames.push(frame);
    }
    assert!(src.is_empty());
    frames
}

fn deliver(text: &'static [u8]) -> pdus::DeliverSm {
    pdus::DeliverSm::builder()
        .esm_class(EsmClass::from(0))
        .short_message(OctetString::from_static_slice(text).unwrap())
        .build()
}

#[test]
fn a_damaged_pdu_takes_nothing_from_the_one_behind_it() {
    let mut src = raw(5, 0, 76, b"\x00\x01\x01ab");
    assert_eq!(src.len(), 21);
    src.unsplit(octets([command(0, 77, deliver(b"good"))]));
    let frames = all(src);
    let Frame::Malformed { header, .. } = &frames[0] else {
        panic!("{:?}", frames[0])
    };
    assert_eq!(
        (header.command, header.sequence),
        (CommandId::DeliverSm, 76)
    );
    let Frame::Deliver { header, deliver } = &frames[1] else {
        panic!("{:?}", frames[1])
    };
    assert_eq!((header.sequence, &deliver.message[..]), (77, &b"good"[..]));
}

#[test]
fn frames_come_out_whole_however_the_octets_come_in() {
    let src = octets([
        command(0, 1, Pdu::EnquireLink),
        command(0, 2, deliver(b"a")),
        command(0, 3, Pdu::Unbind),
    ]);
    let mut buffer = BytesMut::new();
    let mut sequences = Vec::new();
    for octet in src {
        buffer.put_u8(octet);
        match FrameCodec.decode(&mut buffer).unwrap() {
            Some(Frame::Request { header, .. } | Frame::Deliver { header, .. }) => {
                sequences.push(header.sequence);
            }
            None => {}
            Some(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(sequences, [1, 2, 3]);
}

#[test]
fn an_impossible_length_is_fatal_before_anything_is_awaited() {
    for length in [0, 15, 66_601, 0x7FFF_FFFF, 0xFFFF_FFFF] {
        let mut src = BytesMut::from(&u32::to_be_bytes(length)[..]);
        assert!(matches!(FrameCodec.decode(&mut src), Err(FrameError::Length(l)) if l == length));
    }
    let mut src = BytesMut::from(&u32::to_be_bytes(16)[..]);
    assert!(FrameCodec.decode(&mut src).unwrap().is_none());
}

#[test]
fn a_submit_sm_resp_may_lack_its_body_or_its_nul_and_hold_any_octet() {
    for (status, body, id) in [
        (0x58, &b""[..], ""),
        (0, b"", ""),
        (0, b"\0", ""),
        (0, b"abc\0", "abc"),
        (0, b"abc", "abc"),
        (0, b"caf\xE9\0", "café"),
        (0, b"abc\0\x00\x1D\x00\x01", "abc"),
    ] {
        let frames = all(raw(0x8000_0004, status, 9, body));
        let header = Header {
            command: CommandId::SubmitSmResp,
            status,
            sequence: 9,
        };
        assert_eq!(
            frames,
            [Frame::Response {
                header,
                id: id.to_owned(),
                peer: PeerWord::default(),
            }],
            "{body:02X?}"
        );
    }
}

#[test]
fn a_sender_that_is_not_ascii_costs_nothing() {
    let body = b"\0\x05\x00Caf\xE9\0\x01\x01336123\0\0\0\0\0\0\0\0\0\0\x02hi";
    let frames = all(raw(5, 0, 3, body));
    let Frame::Deliver { deliver, .. } = &frames[0] else {
        panic!("{:?}", frames[0])
    };
    assert_eq!(
        (deliver.source.text.as_str(), deliver.source.ton),
        ("Café", 5)
    );
    assert_eq!(&deliver.message[..], b"hi");
}

#[test]
fn message_payload_is_taken_for_an_absent_short_message_and_stray_octets_are_not() {
    let body = b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x04\x24\x00\x03abc\0\0";
    let frames = all(raw(5, 0, 3, body));
    let Frame::Deliver { deliver, .. } = &frames[0] else {
        panic!("{:?}", frames[0])
    };
    assert_eq!((&deliver.message[..], deliver.tlvs.len()), (&b"abc"[..], 1));
}

#[test]
fn what_is_unknown_and_what_is_malformed_are_told_apart() {
    assert!(matches!(
        all(raw(0x0999, 0, 1, b"x"))[..],
        [Frame::UnknownCommand { .. }]
    ));
    assert!(matches!(
        all(raw(0x8000_0999, 0, 1, b"x"))[..],
        [Frame::Response { .. }]
    ));
    // submit_sm and bind_transceiver without a body; a TLV beyond the end.
    assert!(matches!(
        all(raw(4, 0, 1, b""))[..],
        [Frame::Malformed { .. }]
    ));
    assert!(matches!(
        all(raw(9, 0, 1, b"abc"))[..],
        [Frame::Malformed { .. }]
    ));
    let body = b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x00\x1E\x00\x09abc";
    assert!(matches!(
        all(raw(5, 0, 1, body))[..],
        [Frame::Malformed { .. }]
    ));
    // A short_message that claims more than there is.
    let body = b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x20abc";
    assert!(matches!(
        all(raw(5, 0, 1, body))[..],
        [Frame::Malformed { .. }]
    ));
}

#[test]
fn our_pdus_are_what_the_specification_shows() {
    let submit = pdus::SubmitSmResp::default();
    assert_eq!(
        &octets([command(0x58, 7, submit)])[..],
        &raw(0x8000_0004, 0x58, 7, b"\0")[..]
    );
    assert_eq!(
        &octets([command(3, 7, Pdu::GenericNack)])[..],
        &raw(0x8000_0000, 3, 7, b"")[..]
    );
    assert_eq!(
        &octets([command(0x0400, 1, Pdu::GenericNack)])[8..12],
        &[0, 0, 4, 0]
    );
}

proptest! {
    #[test]
    fn random_octets_never_panic_and_every_frame_makes_progress(src: Vec<u8>) {
        let mut buffer = BytesMut::from(&src[..]);
        loop {
            let before = buffer.len();
            match FrameCodec.decode(&mut buffer) {
                Ok(Some(_)) => prop_assert!(buffer.len() + MIN_FRAME <= before),
                Ok(None) | Err(_) => break,
            }
        }
    }

    #[test]
    fn random_bodies_never_panic_and_never_harm_the_next(
        id in prop::sample::select(vec![1_u32, 2, 3, 4, 5, 6, 9, 0xB, 0x15, 0x21, 0x102, 0x103,
            0x111, 0x8000_0000, 0x8000_0004, 0x8000_0005, 0x8000_0009, 0x999]),
        body: Vec<u8>,
    ) {
        let mut src = raw(id, 0, 1, &body);
        src.unsplit(raw(0x15, 0, 99, b""));
        let frames = all(src);
        prop_assert_eq!(frames.len(), 2);
        let enquiry = Header { command: CommandId::EnquireLink, status: 0, sequence: 99 };
        prop_assert_eq!(&frames[1], &Frame::Request { header: enquiry, pdu: Pdu::EnquireLink });
    }
}

#[test]
fn a_response_says_version_and_congestion_and_damage_behind_them_harms_nothing() {
    let peer = |id: u32, body: &[u8]| match &all(raw(id, 0, 1, body))[..] {
        [Frame::Response { peer, id, .. }] => (peer.interface_version, peer.congestion, id.clone()),
        other => panic!("{other:?}"),
    };
    let id = || "id".to_owned();
    for (body, version, congestion) in [
        (&b"id\0"[..], None, None),
        (b"id", None, None),
        (b"id\0\x02\x10\0\x01\x50", Some(0x50), None),
        (b"id\0\x04\x28\0\x01\x63", None, Some(99)),
        (
            b"id\0\x04\x28\0\x01\x00\x02\x10\0\x01\x34",
            Some(0x34),
            Some(0),
        ),
        // A stranger first; a length that is wrong; one that ends inside.
        (b"id\0\x14\0\0\x02ab\x02\x10\0\x01\x34", Some(0x34), None),
        (b"id\0\x02\x10\0\x02\x34\x34", None, None),
        (
            b"id\0\x02\x10\0\x01\x34\x04\x28\xFF\xFF\x01",
            Some(0x34),
            None,
        ),
        (b"id\0\x02\x10\0", None, None),
    ] {
        for response in [0x8000_0004, 0x8000_0009] {
            assert_eq!(
                peer(response, body),
                (version, congestion, id()),
                "{body:02X?}"
            );
        }
    }
}
