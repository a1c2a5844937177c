//! Peers that send what no SMSC should.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_length_that_no_pdu_has_ends_the_link_at_once_and_it_comes_back() {
    let mut world = world();
    for length in [0_u32, 1, 15, 66_601, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF] {
        let mut peer = world.bound().await;
        peer.write(&length.to_be_bytes()).await;
        let (took, cause) = world.given_up().await;
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert!(
            cause.contains(&format!("frame of {length} octets")),
            "{cause}"
        );
        let since = world.clock.elapsed();
        let mut peer = world.bound().await;
        let back = world.clock.elapsed() - since;
        assert!(back <= Duration::from_secs(15), "{back:?}");
        world.works(&mut peer).await;
        drop(peer);
        world.given_up().await;
    }
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn unknown_commands_are_refused_with_generic_nack_on_a_kept_session() {
    let mut world = world();
    let mut peer = world.bound().await;
    for (sequence, command) in (1..).zip([0x0000_00FF, 0x0001_0200, 0x7FFF_FFFF, 0x0000_0000]) {
        peer.send(command, 0, sequence, b"whatever").await;
        let (nack, status, answered, _) = peer.read().await.unwrap();
        assert_eq!(
            (nack, status, answered),
            (NACK, 0x03, sequence),
            "{command:#x}"
        );
    }
    // Requests of the specification that no SMSC has a reason to send get the answer of their kind.
    peer.send(SUBMIT, 0, 9, &deliver(b"x")).await;
    assert_eq!(peer.read_a(SUBMIT_RESP).await.2, 9);
    world.works(&mut peer).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn thirteen_kinds_of_malformed_deliver_sm_are_refused_one_by_one_on_a_kept_session() {
    let whole = deliver(b"STOP");
    let with_tlv = |tlv: &[u8]| [&whole[..], tlv].concat();
    let mut long_text = whole.clone();
    long_text[whole.len() - 5] = 200;
    let endless = |at: usize| [&whole[..at], &[b'9'; 300]].concat();
    let kinds: [(&str, Vec<u8>); 13] = [
        ("no body", Vec::new()),
        ("service_type without end", vec![b'x'; 200]),
        ("ends after service_type", whole[..1].to_vec()),
        ("ends inside the source", whole[..6].to_vec()),
        ("source without end", endless(3)),
        ("ends inside the destination", whole[..17].to_vec()),
        ("destination without end", endless(17)),
        ("ends before esm_class", whole[..22].to_vec()),
        ("schedule without end", endless(25)),
        ("ends before sm_length", whole[..whole.len() - 5].to_vec()),
        ("sm_length beyond the body", long_text),
        (
            "a TLV longer than the body",
            with_tlv(&[0x04, 0x24, 0xFF, 0xFF, b'x']),
        ),
        (
            "a TLV of one octet too many",
            with_tlv(&[0x00, 0x1E, 0x00, 0x03, b'1', 0]),
        ),
    ];
    let mut world = world();
    let mut peer = world.bound().await;
    for (sequence, (kind, body)) in (1..).zip(kinds) {
        peer.send(DELIVER, 0, sequence, &body).await;
        let (answer, status, answered, _) = peer.read().await.unwrap();
        assert_eq!((answer, answered), (DELIVER_RESP, sequence), "{kind}");
        assert_ne!(status, 0, "{kind}");
        // In between it speaks well, as a peer with one broken message does.
        world.works(&mut peer).await;
    }
    peer.send(DELIVER, 0, 99, &whole).await;
    match world.event().await {
        ChannelEvent::Inbound { text, ack, .. } => {
            assert_eq!(text, "STOP");
            ack.taken();
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(peer.read_a(DELIVER_RESP).await.1, 0);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn several_deliver_sm_with_one_sequence_number_are_each_answered() {
    let mut world = world();
    let mut peer = world.bound().await;
    let mut acks = Vec::new();
    for text in [b"one", b"two", b"six"] {
        peer.send(DELIVER, 0, 7, &deliver(text)).await;
        match world.event().await {
            ChannelEvent::Inbound { ack, .. } => acks.push(ack),
            other => panic!("{other:?}"),
        }
    }
    let mut answers = Vec::new();
    for (n, ack) in (0..).zip(acks) {
        if n == 1 {
            ack.not_now()
        } else {
            ack.taken()
        }
        let (.., status, sequence, _) = peer.read_a(DELIVER_RESP).await;
        answers.push((sequence, status));
    }
    assert_eq!(answers, [(7, 0), (7, 0x64), (7, 0)]);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn answers_to_nothing_twice_or_of_another_kind_change_nothing() {
    let mut world = world();
    let mut peer = world.bound().await;
    let token = world.submit();
    let (.., sequence, _) = peer.read_a(SUBMIT).await;
    peer.send(SUBMIT_RESP, 0, sequence + 1000, b"other\0").await;
    peer.send(ENQUIRE_RESP, 0, sequence, b"").await;
    peer.send(UNBIND_RESP, 0, 12345, b"").await;
    peer.send(BIND_RESP, 0, sequence, b"smsc\0").await;
    peer.send(SUBMIT_RESP, 0, sequence, b"right\0").await;
    peer.send(SUBMIT_RESP, 0, sequence, b"again\0").await;
    peer.send(SUBMIT_RESP, 0x58, sequence, b"").await;
    let accepted = SegmentOutcome::Accepted("right".to_owned());
    assert_eq!(world.outcome().await, (token, accepted));
    world.works(&mut peer).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_id_of_any_length_and_octets_is_taken_and_cut() {
    let mut world = world();
    let mut peer = world.bound().await;
    for (body, id) in [
        (b"5FA8\0".to_vec(), "5FA8".to_owned()),
        (b"5FA8".to_vec(), "5FA8".to_owned()),
        (Vec::new(), String::new()),
        (b"\xE9\x01\0".to_vec(), "\u{e9}\u{1}".to_owned()),
        (vec![b'7'; 60_000], "7".repeat(100)),
    ] {
        let token = world.submit();
        let (.., sequence, _) = peer.read_a(SUBMIT).await;
        peer.send(SUBMIT_RESP, 0, sequence, &body).await;
        let accepted = SegmentOutcome::Accepted(id);
        assert_eq!(world.outcome().await, (token, accepted));
    }
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn no_octets_whatever_end_the_channel() {
    let mut world = world();
    let random = Random::seeded(42);
    for round in 0..150 {
        let mut peer = if round % 3 == 0 {
            world.connection().await
        } else {
            world.bound().await
        };
        let octets: [u8; 96] = random.bytes();
        // Pure noise; or noise behind a header that is right, so that it is read further.
        let noise = match round % 4 {
            0 => octets.to_vec(),
            1 => pdu(DELIVER, 0, 1, &octets),
            2 => pdu(u32::from(octets[0] % 0x16), 0, 1, &octets),
            _ => [pdu(DELIVER, 0, 2, &deliver(&octets)), octets.to_vec()].concat(),
        };
        let _ = peer.0.write_all(&noise).await;
        drop(peer);
        while world.events.try_recv().is_ok() {}
    }
    let mut peer = world.bound().await;
    while world.events.try_recv().is_ok() {}
    world.works(&mut peer).await;
    world.end().await;
}
