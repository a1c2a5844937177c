//! Peers that are dead, half dead, or say no.

use super::*;
use crate::channel::smpp::link::MAX_UNWRITTEN;
use crate::domain::message::Doubt;

#[tokio::test(start_paused = true)]
async fn a_half_open_connection_is_replaced_within_enquire_interval_and_response_time_out() {
    let mut world = world();
    let mut dead = world.bound().await;
    let (took, cause) = world.given_up().await;
    assert!(took <= Duration::from_secs(61), "{took:?}");
    assert!(cause.contains("enquire_link unanswered"), "{cause}");
    let mut peer = world.bound().await;
    world.works(&mut peer).await;
    dead.closes().await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn any_pdu_is_a_sign_of_life_even_if_enquire_link_is_never_answered() {
    let mut world = world();
    let mut peer = world.bound().await;
    for sequence in 1..200 {
        tokio::time::sleep(Duration::from_secs(25)).await;
        peer.send(ENQUIRE, 0, sequence, b"").await;
        peer.read_a(ENQUIRE_RESP).await;
    }
    assert!(world.channel.status.borrow().is_up());
    world.works(&mut peer).await;
    // Once it falls silent it is replaced as soon as any other.
    let (took, _) = world.given_up().await;
    assert!(took <= Duration::from_secs(61), "{took:?}");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_enquire_link_and_nothing_else_does_not_keep_messages() {
    let mut world = world();
    let mut peer = world.bound().await;
    let answering = tokio::spawn(async move {
        while let Some((command, _, sequence, _)) = peer.read().await {
            if command == ENQUIRE {
                peer.send(ENQUIRE_RESP, 0, sequence, b"").await;
            }
        }
    });
    let since = world.clock.elapsed();
    let mut unknown = 0;
    while world.channel.status.borrow().is_up() {
        let token = world.submit();
        let outcome = world.outcome().await;
        assert!(
            matches!(outcome.1, SegmentOutcome::Unknown(_)),
            "{outcome:?}"
        );
        assert_eq!(outcome.0, token);
        unknown += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let took = world.clock.elapsed() - since;
    assert!((2..=4).contains(&unknown), "{unknown}");
    assert!(took <= Duration::from_secs(100), "{took:?}");
    answering.await.unwrap();
    let mut peer = world.bound().await;
    world.works(&mut peer).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_response_after_the_time_out_still_brings_its_id() {
    let mut world = world();
    let mut peer = world.bound().await;
    let token = world.submit();
    let (.., sequence, _) = peer.read_a(SUBMIT).await;
    let late = SegmentOutcome::Unknown(Doubt::Timeout);
    assert_eq!(world.outcome().await, (token, late));
    // More than the time-out later, and long after the enquire_link in between.
    let enquired = peer.read_a(ENQUIRE).await.2;
    peer.send(ENQUIRE_RESP, 0, enquired, b"").await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    peer.send(SUBMIT_RESP, 0, sequence, b"5FA8\0").await;
    let accepted = SegmentOutcome::Accepted("5FA8".to_owned());
    assert_eq!(world.outcome().await, (token, accepted));
    world.works(&mut peer).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_reset_in_mid_window_leaves_each_open_part_in_doubt_and_no_other() {
    let mut world = world();
    let mut peer = world.bound().await;
    let tokens: Vec<_> = (0..10).map(|_| world.submit()).collect();
    for n in 0..10 {
        let (.., sequence, _) = peer.read_a(SUBMIT).await;
        if n < 4 {
            peer.send(SUBMIT_RESP, 0, sequence, b"id\0").await;
            world.outcome().await;
        }
    }
    drop(peer);
    for token in &tokens[4..] {
        let (doubted, outcome) = world.outcome().await;
        assert_eq!(doubted, *token);
        assert_eq!(outcome, SegmentOutcome::Unknown(Doubt::Disconnected));
    }
    let mut peer = world.bound().await;
    world.works(&mut peer).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_unbind_by_the_smsc_waits_for_its_own_answers_and_is_answered() {
    let mut world = world();
    let mut peer = world.bound().await;
    let token = world.submit();
    let (.., sequence, _) = peer.read_a(SUBMIT).await;
    peer.send(UNBIND, 0, 77, b"").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    peer.send(SUBMIT_RESP, 0, sequence, b"id\0").await;
    let accepted = SegmentOutcome::Accepted("id".to_owned());
    assert_eq!(world.outcome().await, (token, accepted));
    assert_eq!(peer.read_a(UNBIND_RESP).await.2, 77);
    peer.closes().await;
    let mut peer = world.bound().await;
    world.works(&mut peer).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn wrong_credentials_are_tried_minutes_apart_and_ever_less_often() {
    for status in [0x0E, 0x0F] {
        let mut world = world();
        let mut tries = Vec::new();
        for _ in 0..8 {
            let mut peer = world.connection().await;
            tries.push(world.clock.elapsed());
            let (.., sequence, _) = peer.read().await.unwrap();
            peer.send(BIND_RESP, status, sequence, b"").await;
            peer.closes().await;
            assert!(world.is(ChannelStatus::is_refused).await.is_refused());
        }
        let waits: Vec<_> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(waits[0] >= Duration::from_mins(1), "{waits:?}");
        assert!(waits[3] > waits[0] * 4, "{waits:?}");
        assert!(
            waits.iter().all(|wait| *wait < Duration::from_mins(20)),
            "{waits:?}"
        );
        // Put right, it is bound at the next try, and a lost link comes back at once.
        drop(world.bound().await);
        let since = world.clock.elapsed();
        let mut peer = world.bound().await;
        assert!(world.clock.elapsed() - since <= Duration::from_secs(15));
        world.works(&mut peer).await;
        world.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn other_refused_binds_are_tried_again_within_the_reconnect_time() {
    let mut world = world();
    let mut tries = Vec::new();
    for status in [0x0D, 0x05, 0x08, 0x14, 0x58, 0x4FF] {
        let mut peer = world.connection().await;
        tries.push(world.clock.elapsed());
        let (.., sequence, _) = peer.read().await.unwrap();
        peer.send(BIND_RESP, status, sequence, b"").await;
        peer.closes().await;
    }
    for pair in tries.windows(2) {
        let wait = pair[1] - pair[0];
        let (least, most) = (Duration::from_secs(10), Duration::from_secs(20));
        assert!((least..=most).contains(&wait), "{wait:?}");
    }
    let mut peer = world.bound().await;
    world.works(&mut peer).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_never_ends_counts_as_silence() {
    let mut world = world();
    let mut peer = world.bound().await;
    // An octet now and then is no sign of life: no whole PDU comes of it.
    peer.write(&[0, 0, 0x10, 0, 0, 0, 0, 5]).await;
    let since = world.clock.elapsed();
    while world.channel.status.borrow().is_up() {
        let _ = peer.0.write_all(b"x").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let took = world.clock.elapsed() - since;
    assert!(took <= Duration::from_secs(62), "{took:?}");
    let mut peer = world.bound().await;
    // A connection that ends inside a frame is a lost one, not a fault.
    peer.write(&pdu(ENQUIRE, 0, 1, b"")[..10]).await;
    drop(peer);
    let mut peer = world.bound().await;
    world.works(&mut peer).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_replaced_and_cannot_fill_our_memory() {
    let mut world = world();
    let mut peer = world.bound().await;
    let since = world.clock.elapsed();
    // It writes as much as it can and never reads. Each PDU of 16 octets makes us answer with 16: what
    // it can write is bounded by what may wait unwritten here, the two pipes and one read.
    let flood = pdu(ENQUIRE, 0, 1, b"").repeat(64);
    let mut written = 0;
    while let Ok(Ok(())) =
        tokio::time::timeout(Duration::from_mins(5), peer.0.write_all(&flood)).await
    {
        written += flood.len();
    }
    let took = world.clock.elapsed() - since;
    assert!(
        written <= MAX_UNWRITTEN + 3 * 32 * 1024,
        "{written} octets were taken"
    );
    assert!(took <= Duration::from_secs(61), "{took:?}");
    drop(peer);
    let mut peer = world.bound().await;
    world.works(&mut peer).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_speaks_slowly_and_does_not_read_is_replaced_too() {
    let mut world = world();
    let mut peer = world.bound().await;
    let since = world.clock.elapsed();
    // More answers than the pipe holds, and then a sign of life now and then.
    let _ = peer
        .0
        .write_all(&pdu(ENQUIRE, 0, 1, b"").repeat(PIPE / 16 + 10))
        .await;
    while world.channel.status.borrow().is_up() {
        let _ = peer.0.write_all(&pdu(ENQUIRE, 0, 1, b"")).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    let took = world.clock.elapsed() - since;
    assert!(took <= Duration::from_secs(40), "{took:?}");
    let mut peer = world.bound().await;
    world.works(&mut peer).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_account_whose_peer_floods_does_not_hold_up_another() {
    // Two accounts on one queue towards the engine.
    let (connect, mut connections) = mpsc::channel(1);
    let (sender, mut events) = mpsc::channel(8);
    let random = Random::seeded(8);
    let stop = CancellationToken::new();
    let config = |name| {
        Arc::new(SmppConfig::new(
            name,
            "smsc.invalid",
            2775,
            "relais",
            "secret",
        ))
    };
    let wire = Arc::new(Wire(connect));
    let clock = Clock::starting_at(Timestamp(1_795_000_000_000));
    let mut tasks = Vec::new();
    let mut peers = Vec::new();
    let mut handles: Vec<ChannelHandle> = Vec::new();
    for name in ["flood", "calm"] {
        let started = start_on(wire.clone(), config(name), &clock, &random, &sender, &stop);
        for (handle, task) in started {
            handles.push(handle);
            tasks.push(task);
        }
        let mut peer = Peer(connections.recv().await.unwrap());
        let (.., sequence, _) = peer.read().await.unwrap();
        peer.send(BIND_RESP, 0, sequence, b"smsc\0").await;
        let mut status = handles[handles.len() - 1].status.clone();
        status.wait_for(ChannelStatus::is_up).await.unwrap();
        peers.push(peer);
    }
    let (mut calm, mut flood) = (peers.pop().unwrap(), peers.pop().unwrap());
    // Before it has read the answer to its bind it would return what it is given.
    let mut status = handles[1].status.clone();
    status.wait_for(ChannelStatus::is_up).await.unwrap();
    let flooding = tokio::spawn(async move {
        let octets = pdu(DELIVER, 0, 1, &deliver(b"noise")).repeat(20);
        while flood.0.write_all(&octets).await.is_ok() {
            // It reads, so that nothing but the engine's queue is in its way.
            let mut sink = [0; 4096];
            let _ = tokio::time::timeout(Duration::from_millis(1), flood.0.read(&mut sink)).await;
        }
    });
    for n in 0..20_u8 {
        let token = Token {
            message: MessageId::new(Timestamp(1), [n; 10]),
            attempt: 0,
            claim: 1,
        };
        let request = request(token, clock.now());
        handles[1].requests.try_send(request).unwrap();
        let (.., sequence, _) = calm.read_a(SUBMIT).await;
        calm.send(SUBMIT_RESP, 0, sequence, b"id\0").await;
        let mut between = 0;
        loop {
            match events.recv().await.unwrap() {
                ChannelEvent::Segment {
                    token: answered, ..
                } => {
                    assert_eq!(answered, token);
                    break;
                }
                ChannelEvent::Inbound { ack, .. } => {
                    between += 1;
                    ack.taken();
                }
                other => panic!("{other:?}"),
            }
        }
        // What stands in the queue already, and no more than a few of the flood beside.
        assert!(between <= 64, "{between} of the flood came first");
    }
    stop.cancel();
    drop(events);
    flooding.abort();
    for task in tasks {
        task.abort();
    }
}
