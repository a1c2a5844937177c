//! Reads the PDUs that other projects publish in their tests, bug reports and manuals
//! (`tests/data/pdu.json`, each with its source) and tells every one that is read otherwise.
//!
//! `accept` must give the listed fields, and the octets again when it is written back;
//! `reject` must be refused at the octet listed below; `lenient` may be refused, and is never
//! read as another text.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use relais::pdu::address::Address;
use relais::pdu::dcs::{Alphabet, Dcs};
use relais::pdu::timestamp::NetworkTime;
use relais::pdu::tpdu::{Pdu, Tpdu, octets_of_hex};
use relais::pdu::udh::Reference;
use relais::pdu::user_data::UserData;
use relais::pdu::validity::Validity;
use relais::pdu::{DecodeError, Problem};
use serde_json::{Map, Value, json};

/// The field and octet at which a PDU that must be refused is refused, and those of the
/// lenient ones that are refused here.
const REFUSED: [(&str, &str, usize); 21] = [
    // A length of 160 octets, and 10 follow.
    ("p007", "TP-UDL", 13),
    ("p011", "TP-MTI", 1),
    ("p020", "TP-RA", 4),
    ("p021", "TP-UD", 9),
    ("p034", "TP-UD", 10),
    // A header is announced, and there is no user data.
    ("p044", "TP-UD", 20),
    // User data that is cut off; the first field that cannot be is an address of 129 digits.
    ("p055", "TP-DA", 10),
    ("p056", "PDU", 2),
    ("p057", "TP-MTI", 12),
    ("p058", "TP-UD", 27),
    ("p059", "SCA", 1),
    ("h010", "PDU", 2),
    ("h020", "TP-UD", 27),
    ("h021", "TP-OA", 4),
    ("h022", "TP-UD", 10),
    ("h055", "TP-UD", 14),
    ("h056", "PDU", 7),
    ("h057", "TP-DT", 29),
    ("h058", "TP-MTI", 1),
    ("h059", "SCA", 1),
    // An address of 105 digits.
    ("h060", "TP-OA", 11),
];

/// PDUs whose octets are not those that are written for the same fields: fill bits that are
/// not 0 (p018, p019, p036, h005), octets behind the end (p053), padding (h051).
const WRITTEN_OTHERWISE: [&str; 6] = ["p018", "p019", "p036", "p053", "h005", "h051"];

fn vectors() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/pdu.json");
    let all: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    all["vectors"].as_array().unwrap().clone()
}

fn text<'a>(vector: &'a Value, key: &str) -> &'a str {
    vector[key].as_str().unwrap()
}

/// With or without the service centre's address, as the source had it.
fn read(vector: &Value) -> Result<Pdu, DecodeError> {
    let line = text(vector, "pdu_hex");
    if vector["has_sca"].as_bool().unwrap() {
        return Pdu::from_hex(line);
    }
    let tpdu = Tpdu::decode(&octets_of_hex(line)?)?;
    Ok(Pdu {
        service_centre: None,
        tpdu,
    })
}

/// What was read, by the names of the file.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    fn of(pdu: &Pdu) -> Self {
        let mut fields = Self::default();
        let smsc = pdu.service_centre.as_ref().map(Address::to_string);
        fields.put("smsc", smsc);
        let (_, tpdu_octets) = pdu.encode();
        fields.put("tpdu_octets", tpdu_octets);
        fields.put("first_octet", format!("{:02X}", pdu.tpdu.encode()[0]));
        match &pdu.tpdu {
            Tpdu::Deliver(deliver) => {
                fields.put("kind", "deliver");
                fields.address(&deliver.originator);
                fields.put("pid", deliver.protocol);
                fields.put("scts", time(deliver.sent));
                fields.put("rp", deliver.reply_path);
                fields.put("mms", !deliver.more_to_come);
                fields.user_data(&deliver.user_data);
            }
            Tpdu::Submit(submit) => {
                fields.put("kind", "submit");
                fields.address(&submit.destination);
                fields.put("tp_mr", submit.reference);
                fields.put("pid", submit.protocol);
                fields.put("srr", submit.status_report);
                fields.put("rd", submit.reject_duplicates);
                fields.put("rp", submit.reply_path);
                fields.validity(submit.validity);
                fields.user_data(&submit.user_data);
            }
            Tpdu::StatusReport(report) => {
                fields.put("kind", "status-report");
                fields.address(&report.recipient);
                fields.put("tp_mr", report.reference);
                fields.put("scts", time(report.sent));
                fields.put("discharge", time(report.discharged));
                fields.put("st", report.status);
                fields.put("mms", !report.more_to_come);
                let optional = &report.optional;
                if let Some(indicator) = optional.indicator {
                    fields.put("pi", indicator);
                }
                if let Some(protocol) = optional.protocol {
                    fields.put("pid", protocol);
                }
                if let Some(Dcs(octet)) = optional.dcs {
                    fields.put("dcs", octet);
                }
                if let Some(data) = &optional.user_data {
                    fields.user_data(data);
                }
            }
        }
        fields
    }

    fn address(&mut self, address: &Address) {
        self.put("number", address.to_string());
        self.put("ton", address.ton().number());
        self.put("npi", address.npi());
    }

    fn validity(&mut self, validity: Option<Validity>) {
        let format = match validity {
            None => None,
            Some(Validity::Relative(octet)) => {
                self.put("vp_raw", octet);
                let period = validity.and_then(Validity::period).unwrap();
                self.put("vp_seconds", period.as_secs());
                Some("relative")
            }
            Some(Validity::Absolute(until)) => {
                self.put("vp_time", time(until));
                Some("absolute")
            }
            Some(Validity::Enhanced(_)) => Some("enhanced"),
        };
        self.put("vp_format", format);
    }

    fn user_data(&mut self, data: &UserData) {
        self.put("dcs", data.dcs().0);
        self.put("udl", data.length());
        let alphabet = match data.alphabet() {
            Alphabet::Gsm7 => "gsm7",
            Alphabet::Octets => "8bit",
            Alphabet::Ucs2 => "ucs2",
        };
        self.put("alphabet", alphabet);
        match data.text() {
            Some(text) => self.put("text", text),
            None => self.put("data", hex(data.content())),
        }
        if let Some(class) = data.dcs().class() {
            self.put("cls", class.number());
        }
        if !data.header().is_empty() {
            self.put("udh", hex(data.header()));
        }
        let udh = data.udh().unwrap();
        if let Some(concat) = udh.concat {
            let (bits, reference) = match concat.reference {
                Reference::Eight(reference) => (8, u16::from(reference)),
                Reference::Sixteen(reference) => (16, reference),
            };
            let of = json!({
                "bits": bits, "ref": reference, "total": concat.total, "seq": concat.index,
            });
            self.put("concat", of);
        }
        if let Some(ports) = udh.ports {
            self.put(
                "ports",
                json!({"dst": ports.destination, "src": ports.source}),
            );
        }
    }
}

fn time(time: NetworkTime) -> Option<String> {
    time.moment().map(|moment| moment.to_rfc3339())
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02X}")).collect()
}

/// What differs from the listed fields, and what was read that is not listed.
fn differences(vector: &Value, pdu: &Pdu) -> Vec<String> {
    let Fields(read) = Fields::of(pdu);
    let listed = vector["fields"].as_object().unwrap();
    let mut found = Vec::new();
    for (name, value) in listed {
        let said = read.get(name).unwrap_or(&Value::Null);
        if name != "oddities" && said != value && !excused(vector, name) {
            found.push(format!("{name} is {said}, not {value}"));
        }
    }
    for (name, value) in &read {
        if !listed.contains_key(name) {
            found.push(format!("{name} is {value}, and not listed"));
        }
    }
    found
}

/// A PDU with an oddity is counted with it by its source, and without it here; the alphabet
/// of h044 is marked as doubtful.
fn excused(vector: &Value, name: &str) -> bool {
    let odd = !vector["fields"]["oddities"].as_array().unwrap().is_empty();
    name == "tpdu_octets" && odd || name == "alphabet" && vector["fields"]["alphabet"] == "ucs2?"
}

/// What is wrong with the reading of one vector.
fn judge(vector: &Value) -> Vec<String> {
    let id = text(vector, "id");
    let refusal = REFUSED.iter().find(|(of, ..)| *of == id);
    match (text(vector, "expect"), read(vector), refusal) {
        ("reject" | "lenient", Err(error), Some((_, field, offset))) => {
            let (is, should) = ((error.field, error.offset), (*field, *offset));
            if is == should {
                Vec::new()
            } else {
                vec![format!("{error}, not {should:?}")]
            }
        }
        ("accept" | "lenient", Ok(pdu), None) => {
            let mut found = differences(vector, &pdu);
            found.extend(written_back(vector, &pdu));
            found
        }
        (_, result, _) => vec![format!("{result:?}")],
    }
}

/// Writing what was read gives the octets that were read.
fn written_back(vector: &Value, pdu: &Pdu) -> Option<String> {
    let written = if vector["has_sca"].as_bool().unwrap() {
        pdu.encode().0
    } else {
        pdu.tpdu.encode()
    };
    let same = hex(&written) == text(vector, "pdu_hex").to_uppercase();
    let other = WRITTEN_OTHERWISE.contains(&text(vector, "id"));
    (same == other).then(|| format!("written back it is {}", hex(&written)))
}

#[test]
fn published_pdus_are_read_as_their_sources_say() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 132);
    let faults: Vec<String> = vectors
        .iter()
        .filter_map(|vector| {
            let found = judge(vector);
            let id = text(vector, "id");
            (!found.is_empty()).then(|| format!("{id}: {}", found.join("; ")))
        })
        .collect();
    assert!(
        faults.is_empty(),
        "{} of 132:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

#[test]
fn every_published_pdu_may_be_cut_anywhere() {
    for vector in vectors() {
        let Ok(octets) = octets_of_hex(text(&vector, "pdu_hex")) else {
            continue;
        };
        for end in 0..octets.len() {
            if let Err(error) = Pdu::decode(&octets[..end]) {
                assert!(error.offset <= end, "{}: {error}", text(&vector, "id"));
                assert_ne!(error.problem, Problem::NotHexadecimal);
            }
        }
    }
}
