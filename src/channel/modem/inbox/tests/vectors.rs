//! Published PDUs through the reading of records, and any octets.

use proptest::prelude::*;
use serde_json::Value;

use super::super::record::{self, Message, Record, Sim};
use super::*;
use crate::domain::inbound::{Numbering, Part};
use crate::domain::receipt::ReceiptState;
use crate::domain::sim;

const VECTORS: &str = include_str!("../../../../../tests/data/pdu.json");
const NOW: Timestamp = Timestamp(1_795_000_000_000);

fn french() -> Sim {
    Sim {
        name: IMSI.to_owned(),
        country: report::country(IMSI),
    }
}

/// As a modem would give it: the length counts the TPDU.
fn header(pdu: &str, has_centre: bool) -> PduHeader {
    let length = match has_centre {
        true => rig::length(pdu),
        false => pdu.len() / 2,
    };
    PduHeader {
        index: None,
        stat: None,
        length: u16::try_from(length).unwrap(),
        pdu: pdu.to_owned(),
    }
}

fn message(pdu: &str) -> Message {
    match record::read(&header(pdu, true), &french(), NOW).unwrap() {
        Record::Message(message) => *message,
        other => panic!("{other:?}"),
    }
}

fn check_message(id: &str, fields: &Value, message: &Message) {
    let number = fields["number"].as_str().unwrap();
    let short = number.len() < 9 && number.starts_with('+');
    let from = if short { &number[1..] } else { number };
    assert_eq!(message.from, from, "{id}");
    let text = fields.get("text").or(fields.get("data")).unwrap();
    assert_eq!(message.text, text.as_str().unwrap(), "{id}");
    let concat = &fields["concat"];
    let number = |key: &str| u16::try_from(concat[key].as_u64().unwrap()).unwrap();
    let part = concat.is_object().then(|| Part {
        numbering: match concat["bits"].as_u64() {
            Some(8) => Numbering::Header8,
            _ => Numbering::Header16,
        },
        reference: number("ref"),
        total: number("total").to_le_bytes()[0],
        index: number("seq").to_le_bytes()[0],
    });
    assert_eq!(message.part, part.filter(|part| part.total > 1), "{id}");
}

#[test]
fn published_messages_and_reports_are_read_as_their_sources_say() {
    let all: Value = serde_json::from_str(VECTORS).unwrap();
    let (mut messages, mut reports, mut drafts) = (0, 0, 0);
    for vector in all["vectors"].as_array().unwrap() {
        let id = vector["id"].as_str().unwrap();
        let pdu = vector["pdu_hex"].as_str().unwrap();
        let header = header(pdu, vector["has_sca"].as_bool().unwrap());
        let read = record::read(&header, &french(), NOW);
        if vector["expect"] != "accept" {
            assert!(vector["expect"] != "reject" || read.is_err(), "{id}");
            continue;
        }
        let fields = &vector["fields"];
        match (fields["kind"].as_str().unwrap(), read.unwrap()) {
            ("deliver", Record::Message(message)) => {
                check_message(id, fields, &message);
                messages += 1;
            }
            ("status-report", Record::Report(report)) => {
                let number = fields["number"].as_str().unwrap();
                let octet = |key: &str| fields[key].as_u64().unwrap().to_le_bytes()[0];
                let reference = sim::reference_of_digits(IMSI, number, octet("tp_mr"));
                assert_eq!(report.reference, reference, "{id}");
                assert_eq!(report.receipt, report::receipt(octet("st")), "{id}");
                assert_eq!(report.taken.is_some(), fields["scts"].is_string(), "{id}");
                reports += 1;
            }
            ("submit", Record::Draft) => drafts += 1,
            (kind, read) => panic!("{id}: {kind} is {read:?}"),
        }
    }
    assert_eq!((messages, reports, drafts), (57, 17, 35));
}

#[test]
fn damaged_digits_of_a_recipient_still_name_the_submission() {
    // Captured from a ZTE modem; the announced length is right.
    let pdu = "0297F1061C0F910B487228297020F5317062419272803170624192138000";
    let Record::Report(report) = record::read(&header(pdu, true), &french(), NOW).unwrap() else {
        panic!("no report");
    };
    assert_eq!(
        report.reference,
        sim::reference_of_digits(IMSI, "829207025", 28)
    );
    assert_eq!(
        (report.handset, report.receipt.state),
        (None, ReceiptState::Delivered)
    );
}

#[test]
fn senders_texts_and_data_are_what_they_are() {
    // Type, number and user data from TP-PID on: from a short code, a national number, a name.
    let of = |originator: &str, dcs: &str, data: &str| {
        let indicator = if data.starts_with('!') { "44" } else { "04" };
        let data = data.trim_start_matches('!');
        message(&format!(
            "00{indicator}{originator}00{dcs}62112221030000{data}"
        ))
    };
    let ok = "02EF35";
    assert_eq!(of("05818306F0", "00", ok).from, "38600");
    assert_eq!(
        of("05918306F0", "00", ok).from,
        "38600",
        "called international"
    );
    assert_eq!(of("0AA16021436587", "00", ok).from, "0612345678");
    assert_eq!(of("0B913316325476F8", "00", ok).from, "+33612345678");
    assert_eq!(of("0DD0CDF2396C7EBB01", "00", ok).from, "Megafon");
    assert_eq!(of("0081", "00", ok).from, "");
    let from = "0B913316325476F8";
    assert_eq!(of(from, "00", ok).text, "ok");
    assert_eq!(of(from, "10", ok).text, "ok", "class 0");
    assert_eq!(of(from, "08", "04D83DDE00").text, "😀");
    assert_eq!(of(from, "00", "00").text, "");
    // Data, and data of a WAP push behind its ports.
    assert_eq!(of(from, "04", "0300FFAF").text, "00FFAF");
    assert_eq!(of(from, "F5", "!0A0605040B8423F00601AE").text, "0601AE");
    // A header that cannot be read is no less data.
    assert_eq!(of(from, "04", "!0502000900FF").text, "02000900FF");
    // Turkish, and a part with a reference of 16 bits.
    assert_eq!(
        of(from, "00", "!0703240101D8CC01").text.chars().last(),
        Some('ş')
    );
    let part = of(from, "08", "!0A0608041234020200610062").part.unwrap();
    assert_eq!(
        (part.numbering, part.reference),
        (Numbering::Header16, 0x1234)
    );
    assert_eq!((part.total, part.index), (2, 2));
    // The only part of one is no part.
    assert_eq!(of(from, "08", "!080500030701010061").part, None);
}

#[test]
fn a_fingerprint_knows_the_sim_and_the_message_and_not_its_padding() {
    let pdu = rig::message("same");
    let first = message(&pdu).fingerprint;
    assert_eq!(message(&format!("{pdu}FFFFFFFF")).fingerprint, first);
    assert_eq!(
        message(&format!("00{}", &pdu[16..])).fingerprint,
        first,
        "other centre"
    );
    assert_ne!(message(&rig::message("other")).fingerprint, first);
    let elsewhere = Sim {
        name: "1".to_owned(),
        country: None,
    };
    let read = record::read(&header(&pdu, true), &elsewhere, NOW).unwrap();
    let Record::Message(other) = read else {
        panic!("{read:?}")
    };
    assert_ne!(other.fingerprint, first);
}

#[test]
fn a_modem_that_leaves_the_service_centre_out_is_understood() {
    let whole = rig::message("bare");
    let bare = &whole[16..];
    let read = record::read(&header(bare, false), &french(), NOW).unwrap();
    assert_eq!(
        read,
        record::read(&header(&whole, true), &french(), NOW).unwrap()
    );
    // One that counts it errs, and is understood as well.
    let counted = PduHeader {
        length: u16::try_from(whole.len() / 2).unwrap(),
        ..header(&whole, true)
    };
    assert_eq!(record::read(&counted, &french(), NOW).unwrap(), read);
}

proptest! {
    #[test]
    fn any_octets_are_read_or_refused(octets: Vec<u8>, length: u16, stat: Option<u8>) {
        let pdu = crate::pdu::tpdu::hex_of_octets(&octets);
        let header = PduHeader { index: None, stat, length, pdu };
        let _ = record::read(&header, &french(), NOW);
    }

    #[test]
    fn any_line_is_read_or_refused(pdu: String, length: u16) {
        let header = PduHeader { index: None, stat: None, length, pdu };
        let _ = record::read(&header, &french(), NOW);
    }

    #[test]
    fn any_text_of_a_handset_is_the_same_again(text in "[A-Za-z @éèàÇ€]{0,60}") {
        prop_assert_eq!(message(&rig::message(&text)).text, text);
    }
}
