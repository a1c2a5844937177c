//! What a script can ask for, seen from the other end of the link: each test is an ESME by hand.

use rusmpp::tlvs::{MessageSubmissionRequestTlvValue, TlvTag};
use rusmpp::types::{AnyOctetString, OctetString};
use rusmpp::values::{DataCoding, EsmClass, InterfaceVersion, RegisteredDelivery};
use rusmpp::{Pdu, pdus};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::channel::smpp::deliver::{Deliver, tag};
use crate::channel::smpp::inbound;
use crate::channel::smpp::link::{Closed, Link, LinkEvent, LinkTimers};
use crate::channel::smpp::text::Reading;
use crate::domain::inbound::Part;

const ROK: u32 = 0;

fn script(toml: &str) -> SmscScript {
    toml::from_str(toml).unwrap()
}

fn smsc(toml: &str) -> SmscHandle {
    let clock = Clock::starting_at(Timestamp(1_795_000_000_000));
    start(script(toml), &clock, &Random::seeded(7))
}

/// An ESME on one connection.
struct Esme {
    link: Link<DuplexStream, u64>,
    sent: u64,
}

/// What happened to a submission: its answer, or the end of the link.
#[derive(Debug, PartialEq)]
enum Seen {
    Answer { tag: u64, status: u32, id: String },
    Receipt(String),
    Unbind,
    Closed,
    TimedOut(u64),
}

fn to(destination: &str, text: &str) -> pdus::SubmitSm {
    pdus::SubmitSm::builder()
        .source_addr(compose::c_string("CCAS"))
        .destination_addr(compose::c_string(destination))
        .registered_delivery(RegisteredDelivery::from(1))
        .short_message(OctetString::from_vec(text.as_bytes().to_vec()).unwrap())
        .build()
}

fn tlv(tag: TlvTag, value: &[u8]) -> MessageSubmissionRequestTlvValue {
    let value = AnyOctetString::from_vec(value.to_vec());
    MessageSubmissionRequestTlvValue::Other { tag, value }
}

impl Esme {
    async fn bound(smsc: &SmscHandle) -> Self {
        let mut esme = Self::connected(smsc);
        assert_eq!(esme.bind().await, ROK);
        esme
    }

    fn connected(smsc: &SmscHandle) -> Self {
        let (near, far) = tokio::io::duplex(DUPLEX);
        smsc.attach(far);
        let timers = LinkTimers {
            response: Duration::from_secs(30),
            enquire_link: None,
        };
        let link = Link::new(near, timers, smsc.shared.clock.clone());
        Self { link, sent: 0 }
    }

    async fn bind(&mut self) -> u32 {
        let pdu = pdus::BindTransceiver::builder()
            .system_id(compose::c_string("relais"))
            .interface_version(InterfaceVersion::Smpp3_4)
            .build();
        self.send(pdu);
        loop {
            if let Seen::Answer { status, .. } = self.next().await {
                return status;
            }
        }
    }

    fn send(&mut self, pdu: impl Into<Pdu>) -> u64 {
        self.sent += 1;
        self.link.request(pdu, self.sent);
        self.sent
    }

    async fn next(&mut self) -> Seen {
        loop {
            let next = tokio::time::timeout(DEADLINE, self.link.next());
            match next.await.expect("in time") {
                LinkEvent::Answer {
                    tag, status, id, ..
                } => return Seen::Answer { tag, status, id },
                LinkEvent::Deliver { header, deliver } => {
                    self.link
                        .respond(0, header.sequence, pdus::DeliverSmResp::default());
                    let text = deliver.message.iter().copied().map(char::from).collect();
                    return Seen::Receipt(text);
                }
                LinkEvent::TimedOut { tag, .. } => return Seen::TimedOut(tag),
                LinkEvent::Unbind { .. } => return Seen::Unbind,
                LinkEvent::Closed(_) => return Seen::Closed,
                LinkEvent::Request { .. } | LinkEvent::Unbound => {}
            }
        }
    }

    /// Submits one message and gives its status; receipts in between are not looked at.
    async fn submit(&mut self, pdu: pdus::SubmitSm) -> u32 {
        let mine = self.send(pdu);
        loop {
            match self.next().await {
                Seen::Answer { tag, status, .. } if tag == mine => return status,
                Seen::Receipt(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn deliver(&mut self) -> Deliver {
        loop {
            let next = tokio::time::timeout(DEADLINE, self.link.next());
            match next.await.expect("in time") {
                LinkEvent::Deliver { header, deliver } => {
                    self.link
                        .respond(0, header.sequence, pdus::DeliverSmResp::default());
                    return deliver;
                }
                LinkEvent::Closed(why) => panic!("{why}"),
                _ => {}
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_refuses_each_destination_so_often_and_by_the_answer_it_names() {
    let smsc = smsc(
        "[[rules]]\nsuffix = \"1\"\nstatus = 0x58\ntimes = 2\neach = true\n\
         [[rules]]\nsuffix = \"2\"\nstatus = 0x14\ntimes = 1\n\
         [[rules]]\nsuffix = \"3\"\nstatus = 0x0B\nnack = true\n\
         [[rules]]\nsuffix = \"4\"\nrate_limit = 1\n\
         [[rules]]\nsuffix = \"5\"\nstatus = 0x58\nafter_ms = 10_000\nfor_ms = 5_000\n",
    );
    let mut esme = Esme::bound(&smsc).await;
    let mut statuses = Vec::new();
    for destination in [
        "3361", "3371", "3361", "3361", "3371", "3371", "3362", "3372",
    ] {
        statuses.push(esme.submit(to(destination, "a")).await);
    }
    assert_eq!(statuses, [0x58, 0x58, 0x58, 0, 0x58, 0, 0x14, 0]);
    assert_eq!(esme.submit(to("3363", "a")).await, 0x0B);
    assert_eq!(
        [
            esme.submit(to("3364", "a")).await,
            esme.submit(to("3374", "a")).await
        ],
        [0, 0x58]
    );
    let mut during = Vec::new();
    for wait in [0, 11, 5] {
        tokio::time::sleep(Duration::from_secs(wait)).await;
        during.push(esme.submit(to("3365", "a")).await);
    }
    assert_eq!(during, [0, 0x58, 0]);
}

#[tokio::test(start_paused = true)]
async fn answers_are_lost_or_come_after_every_time_out() {
    let smsc = smsc(
        "lose_response_every = 2\nreceipts.state = \"none\"\n\
         [[rules]]\nsuffix = \"9\"\nresponse_delay_ms = 45_000\n",
    );
    let mut esme = Esme::bound(&smsc).await;
    assert_eq!(esme.submit(to("3361", "a")).await, ROK);
    let lost = esme.send(to("3362", "b"));
    assert_eq!(esme.next().await, Seen::TimedOut(lost));
    let late = esme.send(to("3369", "c"));
    assert_eq!(esme.next().await, Seen::TimedOut(late));
    let (tag, status, id) = (late, ROK, "3".to_owned());
    assert_eq!(esme.next().await, Seen::Answer { tag, status, id });
    smsc.ledger(|ledger| assert_eq!(ledger.texts().len(), 3, "each was taken"));
}

#[tokio::test(start_paused = true)]
async fn a_link_breaks_at_the_submission_that_the_script_names() {
    for (kind, taken) in [
        ("close", false),
        ("close", true),
        ("reset", false),
        ("reset", true),
    ] {
        let smsc = smsc(&format!(
            "receipts.state = \"none\"\n[[faults]]\nat_submit = 3\nkind = \"{kind}\"\ntaken = {taken}\n"
        ));
        let mut esme = Esme::bound(&smsc).await;
        for _ in 0..5 {
            esme.send(to("3361", "a"));
        }
        let mut answers = 0;
        while esme.next().await != Seen::Closed {
            answers += 1;
        }
        assert!(answers <= 2, "{kind}: {answers} answers");
        let taken_before = if taken { 3 } else { 2 };
        smsc.ledger(|ledger| {
            assert_eq!(
                (ledger.submitted_total, ledger.taken().count()),
                (3, taken_before)
            );
            assert_eq!(ledger.submitted[2].status, None);
        });
        // It strikes once: the count goes on over the next connection.
        let mut again = Esme::bound(&smsc).await;
        assert_eq!(again.submit(to("3361", "a")).await, ROK);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unbind_and_raw_octets_come_after_the_answer_and_a_nack_instead_of_it() {
    let smsc = smsc(
        "receipts.state = \"none\"\n\
         [[faults]]\nat_submit = 1\nkind = \"nack\"\n\
         [[faults]]\nat_submit = 2\nkind = \"raw\"\noctets = \"00000010 00000777 00000000 0000004D\"\n\
         [[faults]]\nat_submit = 3\nkind = \"unbind\"\n",
    );
    let mut esme = Esme::bound(&smsc).await;
    assert_eq!(esme.submit(to("3361", "a")).await, 0x08);
    assert_eq!(esme.submit(to("3361", "b")).await, ROK);
    assert_eq!(esme.submit(to("3361", "c")).await, ROK);
    assert_eq!(esme.next().await, Seen::Unbind);
    assert_eq!(smsc.ledger(|ledger| ledger.taken().count()), 2);
}

#[tokio::test(start_paused = true)]
async fn a_silence_of_a_time_ends_with_the_answers_and_one_without_end_does_not() {
    let smsc = smsc(
        "receipts.state = \"none\"\n\
         [[faults]]\nafter_ms = 10_000\nkind = \"silence\"\nfor_ms = 5_000\n\
         [[faults]]\nat_submit = 2\nkind = \"silence\"\n",
    );
    let mut esme = Esme::bound(&smsc).await;
    let clock = smsc.shared.clock.clone();
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(esme.submit(to("3361", "a")).await, ROK);
    assert_eq!(clock.elapsed().as_secs(), 15);
    let (second, enquiry) = (esme.send(to("3361", "b")), esme.send(Pdu::EnquireLink));
    assert_eq!(esme.next().await, Seen::TimedOut(second));
    assert_eq!(esme.next().await, Seen::TimedOut(enquiry));
    // The other side sees that we are gone, whatever it answers.
    drop(esme);
    smsc.wait_for(|ledger| (ledger.connections, ledger.bound) == (0, 0))
        .await;
}

#[tokio::test(start_paused = true)]
async fn enquiries_alone_may_stay_unanswered() {
    let smsc = smsc("ignore_enquire_link = true\nreceipts.state = \"none\"\n");
    let mut esme = Esme::bound(&smsc).await;
    let enquiry = esme.send(Pdu::EnquireLink);
    assert_eq!(esme.submit(to("3361", "a")).await, ROK);
    assert_eq!(esme.next().await, Seen::TimedOut(enquiry));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_reads_a_piece_and_rests() {
    let smsc = smsc("read_pause_ms = 1_000\nreceipts.state = \"none\"\n");
    let mut esme = Esme::bound(&smsc).await;
    let clock = smsc.shared.clock.clone();
    let began = clock.elapsed();
    for _ in 0..3_000 {
        esme.send(to("33612345678", &"a".repeat(100)));
    }
    for _ in 0..3_000 {
        assert!(matches!(
            esme.next().await,
            Seen::Answer { status: ROK, .. }
        ));
    }
    let took = (clock.elapsed() - began).as_secs();
    assert!((5..30).contains(&took), "{took} s for 400 KiB");
}

#[tokio::test(start_paused = true)]
async fn binds_are_refused_so_often_and_the_log_names_each() {
    let smsc = smsc("bind_status = 0x0E\nbind_refusals = 2\n");
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(Esme::connected(&smsc).bind().await);
    }
    assert_eq!(statuses, [0x0E, 0x0E, ROK]);
    smsc.ledger(|ledger| {
        let logged: Vec<_> = ledger.bind_log.iter().map(|bind| bind.status).collect();
        assert_eq!(logged, statuses);
        assert_eq!(ledger.bind_log[0].system_id, "relais");
        assert_eq!((ledger.refused_binds, ledger.binds), (2, 1));
    });
}

/// Octets of the answer to `request`, whose length is read off its first word.
async fn raw_answer(stream: &mut DuplexStream, request: &[u8]) -> Vec<u8> {
    stream.write_all(request).await.unwrap();
    let length = stream.read_u32().await.unwrap();
    let mut rest = vec![0; usize::try_from(length).unwrap() - 4];
    stream.read_exact(&mut rest).await.unwrap();
    rest
}

fn frame(command: u32, body: &[u8]) -> Vec<u8> {
    let words = [u32::try_from(16 + body.len()).unwrap(), command, 0, 1];
    let header = words.iter().flat_map(|word| word.to_be_bytes());
    header.chain(body.iter().copied()).collect()
}

#[tokio::test(start_paused = true)]
async fn smpp_5_is_spoken_where_both_sides_do() {
    for (ours, theirs, version, congestion) in [
        (
            0x50,
            0x50,
            &b"\x02\x10\0\x01\x50"[..],
            &b"\x04\x28\0\x01\x50"[..],
        ),
        (0x50, 0x34, b"\x02\x10\0\x01\x50", b""),
        (0x34, 0x50, b"\x02\x10\0\x01\x34", b""),
        (0, 0x50, b"", b""),
    ] {
        let smsc = smsc(&format!(
            "interface_version = {ours}\ncongestion_state = 80\nreceipts.state = \"none\"\n"
        ));
        let (mut near, far) = tokio::io::duplex(DUPLEX);
        smsc.attach(far);
        let bind = [b"relais\0\0\0", &[theirs][..], b"\0\0\0"].concat();
        let answer = raw_answer(&mut near, &frame(0x09, &bind)).await;
        assert_eq!(answer[12..], [b"relais-sim\0", version].concat());
        let submit = b"\0\0\0CCAS\0\x01\x013361\0\0\0\0\0\0\x01\0\0\0\x01a";
        let answer = raw_answer(&mut near, &frame(0x04, submit)).await;
        assert_eq!(
            answer[12..],
            [b"1\0", congestion].concat(),
            "{ours:#x} {theirs:#x}"
        );
        assert_eq!(
            smsc.ledger(|ledger| ledger.bind_log[0].interface_version),
            theirs
        );
    }
}

#[tokio::test(start_paused = true)]
async fn parts_by_sar_and_a_payload_make_the_text_that_a_handset_shows() {
    let smsc = smsc("receipts.state = \"none\"\n");
    let mut esme = Esme::bound(&smsc).await;
    for (index, text) in [(2_u8, "le monde"), (1, "Bonjour ")] {
        let mut part = to("3361", text);
        part.set_tlvs(vec![
            tlv(TlvTag::SarMsgRefNum, &[1, 2]),
            tlv(TlvTag::SarTotalSegments, &[2]),
            tlv(TlvTag::SarSegmentSeqnum, &[index]),
            tlv(TlvTag::Other(0x1401), b"xyz"),
        ]);
        assert_eq!(esme.submit(part).await, ROK);
    }
    let mut long = to("3362", "");
    let text = "Une seule pièce ".repeat(40);
    let payload: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
    long.data_coding = DataCoding::from(3);
    long.set_tlvs(vec![tlv(TlvTag::MessagePayload, &payload)]);
    assert_eq!(esme.submit(long).await, ROK);
    smsc.ledger(|ledger| {
        let texts = ledger.texts();
        assert_eq!(texts["3361"], ["Bonjour le monde"]);
        assert_eq!(texts["3362"], [text]);
        let part = &ledger.submitted[0];
        let place = PartOf {
            reference: 0x0102,
            total: 2,
            index: 2,
        };
        assert_eq!(part.part, Some(place));
        assert_eq!(part.tlv(0x1401).unwrap(), &b"xyz"[..]);
    });
}

#[tokio::test(start_paused = true)]
async fn data_coding_0_is_read_in_the_alphabet_of_the_script() {
    for (alphabet, shown) in [
        ("gsm", "@é\u{e0}"),
        ("latin1", "\0\u{5}\u{7f}"),
        ("ascii", "\0\u{5}\u{7f}"),
    ] {
        let smsc = smsc(&format!(
            "alphabet = \"{alphabet}\"\nreceipts.state = \"none\"\n"
        ));
        let mut esme = Esme::bound(&smsc).await;
        esme.submit(to("3361", "\0\u{5}\u{7f}")).await;
        assert_eq!(
            smsc.ledger(|ledger| ledger.texts()["3361"].clone()),
            [shown]
        );
    }
    let smsc = smsc("alphabet = \"latin1\"\nreceipts.state = \"none\"\n");
    let mut esme = Esme::bound(&smsc).await;
    let mut pdu = to("3361", "");
    pdu.set_short_message(OctetString::from_vec(b"d\xE9j\xE0".to_vec()).unwrap());
    esme.submit(pdu.clone()).await;
    smsc.change_script(|script| script.alphabet = DefaultAlphabet::Ascii);
    esme.submit(pdu).await;
    let texts = smsc.ledger(|ledger| ledger.texts()["3361"].clone());
    assert_eq!(texts, ["déjà", "d\u{FFFD}j\u{FFFD}"]);
}

#[tokio::test(start_paused = true)]
async fn receipts_have_the_fields_ids_and_codes_that_a_rule_gives_them() {
    let smsc = smsc(
        r#"
        [ids]
        start = 255
        [[rules]]
        suffix = "1"
        error = "0x1A"
        ids = { submitted = "hex", submitted_width = 8, reported = "decimal" }
        receipts = { state = "undeliverable", form = "text", template = "ERR:{err} stat:{stat_lower} id:{id}" }
        [[rules]]
        suffix = "2"
        ids = { submitted_prefix = "fr-", reported_prefix = "FR-", submitted = "hex", reported = "hex_upper" }
        receipts = { state = "expired", form = "tlv", network_error = [3, 10], esm_class = 0 }
        [[rules]]
        suffix = "3"
        receipts = { accepted_first = true, enroute_first = true, delay_ms = 10 }
        "#,
    );
    let mut esme = Esme::bound(&smsc).await;
    esme.send(to("3361", "a"));
    let (tag, status, id) = (2, ROK, "000000ff".to_owned());
    assert_eq!(esme.next().await, Seen::Answer { tag, status, id });
    let text = "ERR:0x1A stat:undeliv id:255".to_owned();
    assert_eq!(esme.next().await, Seen::Receipt(text));
    esme.send(to("3362", "a"));
    let deliver = esme.deliver().await;
    assert_eq!((deliver.esm_class, deliver.message.len()), (0, 0));
    assert_eq!(
        deliver.tlv(tag::RECEIPTED_MESSAGE_ID).unwrap(),
        &b"FR-100\0"[..]
    );
    assert_eq!(
        deliver.tlv(tag::NETWORK_ERROR_CODE).unwrap(),
        &[3, 0, 10][..]
    );
    esme.send(to("3363", "a"));
    for _ in 0..3 {
        esme.deliver().await;
    }
    let says = smsc.ledger(|ledger| {
        let says = ledger.delivered.iter().map(|entry| entry.says.clone());
        says.skip(2).collect::<Vec<_>>()
    });
    assert_eq!(says, ["ENROUTE", "ACCEPTD", "DELIVRD"]);
}

#[tokio::test(start_paused = true)]
async fn receipts_may_be_of_one_part_only_or_lost() {
    let smsc = smsc(
        "[receipts]\nonly_part = 2\n[[rules]]\nsuffix = \"9\"\nreceipts = { lose_every = 3 }\n",
    );
    let mut esme = Esme::bound(&smsc).await;
    for index in 1..=3 {
        let mut part = to("3361", "a");
        part.esm_class = EsmClass::from(0x40);
        let octets = vec![5, 0, 3, 7, 3, index, b'a'];
        part.set_short_message(OctetString::from_vec(octets).unwrap());
        esme.submit(part).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    smsc.change_script(|_| {});
    for _ in 0..6 {
        esme.submit(to("3369", "a")).await;
    }
    let all = |ledger: &Ledger| ledger.delivered_total == 5;
    while !smsc.ledger(all) {
        esme.deliver().await;
    }
    let ids = smsc.ledger(|ledger| {
        let ids = ledger.delivered.iter().filter_map(|entry| entry.id.clone());
        ids.collect::<Vec<_>>()
    });
    assert_eq!(ids, ["2", "4", "5", "7", "8"]);
}

#[tokio::test(start_paused = true)]
async fn receipts_may_come_on_another_bind_of_the_account_while_there_is_one() {
    let smsc = smsc("receipts.other_bind = true\n");
    let mut first = Esme::bound(&smsc).await;
    let mut second = Esme::bound(&smsc).await;
    let mine = first.send(to("3361", "a"));
    let answer = first.next().await;
    assert!(matches!(answer, Seen::Answer { tag, status: ROK, .. } if tag == mine));
    assert!(matches!(second.next().await, Seen::Receipt(_)));
    // A link writes when it is looked at.
    tokio::select! {
        () = smsc.wait_for(|ledger| ledger.acknowledged_total == 1) => {}
        event = second.link.next() => panic!("{event:?}"),
    }
    drop(second);
    smsc.wait_for(|ledger| ledger.bound == 1).await;
    first.submit(to("3361", "b")).await;
    first.deliver().await;
    let sessions = smsc.ledger(|ledger| {
        let sessions = ledger.delivered.iter().map(|entry| entry.session);
        sessions.collect::<Vec<_>>()
    });
    assert_eq!(sessions, [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn messages_from_handsets_come_in_every_alphabet_and_division() {
    let long = "L'été à Zürich, 5 £. ".repeat(15);
    let emoji = "Ça va 😀 ? ".repeat(20);
    for (keys, text, data_coding, parts) in [
        ("", "Ça va ?", 0, 1),
        ("", "reçu", 8, 1),
        ("alphabet = \"latin1\"", "reçu", 3, 1),
        ("alphabet = \"ascii\"", "STOP", 1, 1),
        ("alphabet = \"ucs2\"", "STOP", 8, 1),
        (
            "alphabet = \"gsm\"\ndata_coding = 0xF1",
            "Stop à 36111",
            0xF1,
            1,
        ),
        ("alphabet = \"binary\"", "00FF10", 4, 1),
        ("", &long, 0, 3),
        ("split = \"udh16\"", &long, 0, 3),
        ("split = \"sar\"\nalphabet = \"latin1\"", &long, 3, 3),
        ("split = \"payload\"", &long, 0, 1),
        ("split = \"payload\"\ndata_sm = true", &emoji, 8, 1),
        ("split = \"sar\"\ndata_sm = true", &emoji, 8, 4),
        ("split = \"udh\"\norder = [3, 1, 4, 2]", &emoji, 8, 4),
    ] {
        let smsc = smsc(&format!(
            "[[inbound]]\nreference = 0x0107\n{keys}\ntext = '''{text}'''\n"
        ));
        let mut esme = Esme::bound(&smsc).await;
        let mut pieces = BTreeMap::new();
        let mut arrival = Vec::new();
        for _ in 0..parts {
            let deliver = esme.deliver().await;
            assert_eq!(deliver.data_coding, data_coding, "{keys}");
            let read = inbound::read(&deliver, Reading::default());
            assert_eq!(
                (read.from.as_str(), read.to.as_str()),
                ("+33612345678", "36111")
            );
            let index = read.part.map_or(1, |part: Part| part.index);
            assert_eq!(read.part.map_or(1, |part| part.total), parts, "{keys}");
            arrival.push(index);
            pieces.insert(index, read.text);
        }
        assert_eq!(pieces.into_values().collect::<String>(), text, "{keys}");
        if keys.contains("order") {
            assert_eq!(arrival, [3, 1, 4, 2]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_from_a_handset_comes_at_its_time_so_often_and_may_lack_a_part() {
    let long = "x".repeat(400);
    let smsc = smsc(&format!(
        "[[inbound]]\nafter_ms = 60_000\ntimes = 2\nevery_ms = 5_000\npart_gap_ms = 1_000\n\
         order = [3, 1]\ntext = \"{long}\"\n"
    ));
    let mut esme = Esme::bound(&smsc).await;
    let clock = smsc.shared.clock.clone();
    let mut times = Vec::new();
    for _ in 0..4 {
        let part = inbound::read(&esme.deliver().await, Reading::default())
            .part
            .unwrap();
        times.push((clock.elapsed().as_secs(), part.index));
    }
    assert_eq!(times, [(60, 3), (61, 1), (65, 3), (66, 1)]);
    let silence = tokio::time::timeout(Duration::from_hours(1), esme.link.next()).await;
    assert!(silence.is_err(), "{silence:?}");
}

/// Over TCP, where a reset is something else than a close.
#[tokio::test]
async fn a_reset_over_tcp_is_a_reset() {
    for (kind, reset) in [("reset", true), ("close", false)] {
        let (clock, random) = (Clock::system(), Random::system());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let script = script(&format!("[[faults]]\nat_submit = 1\nkind = \"{kind}\"\n"));
        let smsc = serve(listener, script, &clock, &random).unwrap();
        let address = smsc.local_addr().unwrap();
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let timers = LinkTimers {
            response: DEADLINE,
            enquire_link: None,
        };
        let mut link = Link::new(stream, timers, clock);
        link.request(pdus::BindTransceiver::default(), 1_u64);
        link.request(to("3361", "a"), 2);
        let closed = loop {
            let next = tokio::time::timeout(Duration::from_mins(1), link.next());
            if let LinkEvent::Closed(why) = next.await.expect("in time") {
                break why;
            }
        };
        let found =
            matches!(&closed, Closed::Io(error) if error.kind() == io::ErrorKind::ConnectionReset);
        assert_eq!(found, reset, "{kind}: {closed}");
        smsc.shutdown().await;
    }
}
