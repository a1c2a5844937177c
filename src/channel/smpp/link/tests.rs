#![allow(clippy::unwrap_used)]
use bytes::Buf;
use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::domain::time::Timestamp;

const TIMERS: LinkTimers = LinkTimers {
    response: Duration::from_secs(5),
    enquire_link: Some(Duration::from_secs(30)),
};

fn pair() -> (Link<DuplexStream, u32>, Link<DuplexStream, u32>) {
    let clock = Clock::starting_at(Timestamp(0));
    let (a, b) = duplex(64 * 1024);
    let quiet = LinkTimers {
        enquire_link: None,
        ..TIMERS
    };
    (
        Link::new(a, TIMERS, clock.clone()),
        Link::new(b, quiet, clock),
    )
}

#[tokio::test(start_paused = true)]
async fn a_request_is_answered_under_its_tag() {
    let (mut here, mut there) = pair();
    here.request(pdus::SubmitSm::default(), 7);
    let peer = async {
        let LinkEvent::Request { header, .. } = there.next().await else {
            panic!()
        };
        let id = rusmpp::types::COctetString::from_slice(b"id1\0").unwrap();
        there.respond(
            ESME_ROK,
            header.sequence,
            pdus::SubmitSmResp::builder().message_id(id).build(),
        );
        there.next().await
    };
    tokio::select! {
        event = here.next() => {
            let LinkEvent::Answer { tag: 7, status: ESME_ROK, id, late: false, .. } = event else {
                panic!("{event:?}")
            };
            assert_eq!(id, "id1");
        }
        event = peer => panic!("{event:?}"),
    }
    assert_eq!(here.outstanding(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_generic_nack_ends_the_request_with_its_number() {
    let (mut here, mut there) = pair();
    here.request(pdus::SubmitSm::default(), 7);
    there.respond(ESME_RINVCMDLEN, 1, Pdu::GenericNack);
    there.respond(ESME_ROK, 99, Pdu::GenericNack);
    tokio::select! {
        event = here.next() => {
            assert!(matches!(event, LinkEvent::Answer { tag: 7, status: ESME_RINVCMDLEN, .. }));
        }
        () = async { loop { there.next().await; } } => {}
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_link_enquires_and_lives_as_long_as_it_is_answered() {
    let (mut here, mut there) = pair();
    tokio::select! {
        event = here.next() => panic!("{event:?}"),
        event = there.next() => panic!("{event:?}"),
        () = tokio::time::sleep(Duration::from_hours(1)) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_enquire_link_ends_the_link_in_time() {
    let (mut here, _there) = pair();
    let clock = here.clock.clone();
    let event = here.next().await;
    assert!(
        matches!(event, LinkEvent::Closed(Closed::Silent(_))),
        "{event:?}"
    );
    let took = clock.elapsed();
    assert!(
        (Duration::from_secs(35)..Duration::from_secs(36)).contains(&took),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_delivered_after_the_time_out() {
    let (mut here, mut there) = pair();
    here.request(pdus::SubmitSm::default(), 7);
    assert!(matches!(
        here.next().await,
        LinkEvent::TimedOut { tag: 7, .. }
    ));
    there.respond(ESME_ROK, 1, pdus::SubmitSmResp::default());
    tokio::select! {
        event = here.next() => assert!(matches!(event, LinkEvent::Answer { tag: 7, late: true, .. })),
        _ = async { loop { there.next().await; } } => {}
    }
    assert!(here.abandon().is_empty());
}

#[tokio::test(start_paused = true)]
async fn unknown_commands_are_refused_and_malformed_ones_end_it_when_they_come_in_a_row() {
    let (mut here, there) = pair();
    let Link {
        stream: mut raw, ..
    } = there;
    let frame = |id: u32, sequence: u32, body: &[u8]| {
        let length = u32::try_from(16 + body.len()).unwrap();
        [length, id, 0, sequence]
            .iter()
            .flat_map(|w| w.to_be_bytes())
            .chain(body.iter().copied())
            .collect::<Vec<u8>>()
    };
    let mut sent = frame(0x0777, 41, b"");
    for sequence in 0..4 {
        sent.extend(frame(5, sequence, b"bad"));
    }
    sent.extend(frame(0x15, 42, b""));
    for sequence in 0..5 {
        sent.extend(frame(5, sequence, b"bad"));
    }
    raw.write_all(&sent).await.unwrap();
    assert!(matches!(
        here.next().await,
        LinkEvent::Closed(Closed::Malformed(5))
    ));
    here.close().await;
    let mut answers = Vec::new();
    raw.read_to_end(&mut answers).await.unwrap();
    let mut answers = &answers[..];
    let mut seen = Vec::new();
    while answers.has_remaining() {
        let length = answers.get_u32();
        seen.push((answers.get_u32(), answers.get_u32(), answers.get_u32()));
        answers.advance(usize::try_from(length).unwrap() - 16);
    }
    assert_eq!(seen[0], (0x8000_0000, ESME_RINVCMDID, 41));
    assert_eq!(seen[1], (0x8000_0005, ESME_RINVCMDLEN, 0));
    assert_eq!(seen[5], (0x8000_0015, 0, 42));
    assert_eq!(seen.len(), 11);
}

#[tokio::test(start_paused = true)]
async fn unbind_is_reported_on_one_side_and_its_answer_on_the_other() {
    let (mut here, mut there) = pair();
    here.unbind();
    let peer = async {
        let LinkEvent::Unbind { sequence } = there.next().await else {
            panic!()
        };
        there.respond_unbind(sequence);
        there.next().await
    };
    tokio::select! {
        event = here.next() => assert!(matches!(event, LinkEvent::Unbound)),
        event = peer => panic!("{event:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn two_peers_that_both_write_much_do_not_block_each_other() {
    let clock = Clock::starting_at(Timestamp(0));
    let (a, b) = duplex(512);
    let mut here = Link::<_, u32>::new(a, TIMERS, clock.clone());
    let mut there = Link::<_, u32>::new(b, TIMERS, clock);
    for tag in 0..2_000 {
        here.request(pdus::SubmitSm::default(), tag);
        there.request(pdus::SubmitSm::default(), tag);
    }
    async fn answer_all(link: &mut Link<DuplexStream, u32>) {
        let (mut requests, mut answers) = (0, 0);
        while requests < 2_000 || answers < 2_000 {
            match link.next().await {
                LinkEvent::Request { header, .. } => {
                    requests += 1;
                    link.refuse(header, ESME_ROK);
                }
                LinkEvent::Answer { late: false, .. } => answers += 1,
                other => panic!("{other:?}"),
            }
        }
        // The last answers are written by a last look.
        let _ = tokio::time::timeout(Duration::from_secs(1), link.next()).await;
    }
    tokio::join!(answer_all(&mut here), answer_all(&mut there));
}
