//! `version`, `concatenation`, `[smpp.NAME.tlvs]` and the like of `[smpp.NAME]`.

use super::super::raw::{Placed, Reader, Section, Value};
use super::Bind;
use crate::domain::wire::{
    Concatenation, CustomTlv, Numbering, SourceNumbering, Version, WireRules,
};

/// Longest value of a TLV of the account's.
const MAX_VALUE: usize = 255;

/// Most TLVs of the account's.
const MAX_TLVS: usize = 32;

/// TLVs that Relais writes itself where they belong (SMPP 3.4 §5.3.2).
const OURS: [(u16, &str); 4] = [
    (0x020C, "sar_msg_ref_num"),
    (0x020E, "sar_total_segments"),
    (0x020F, "sar_segment_seqnum"),
    (0x0424, "message_payload"),
];

/// Reads how the account's messages are put into PDUs; `bind` is how it binds.
pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    s: &mut Section<'a>,
    bind: Option<Bind>,
) -> WireRules {
    let version = reader.take(s, "version", |v| {
        v.word(&[Version::V33, Version::V34, Version::V50].map(|known| (known.as_str(), known)))
    });
    let concatenation = reader.take(s, "concatenation", |v| {
        use Concatenation::{Payload, Sar, Udh, Udh16};
        v.word(&[Udh, Udh16, Sar, Payload].map(|known| (known.as_str(), known)))
    });
    let protocol_id = reader.take(s, "protocol_id", |v| v.integer(0..=u8::MAX));
    let registered_delivery = reader.take(s, "registered_delivery", |v| v.integer(0..=31_u8));
    if let Some(given) = &registered_delivery
        && given.value & 0x03 != 1
    {
        reader.warn(
            given.line,
            &given.path,
            "not every outcome is reported: messages without a receipt end as expired (no_receipt)",
        );
    }
    let flags = reader.list(s, "priority_flag", |v| v.integer(0..=4_u8));
    let flags = flags.and_then(|flags| {
        let values: Vec<u8> = flags.value.iter().map(|flag| flag.value).collect();
        let four = <[u8; 4]>::try_from(values).ok();
        if four.is_none() {
            let problem = "four numbers are expected, for our priorities 0 to 3";
            reader.error(flags.line, &flags.path, problem);
        }
        four
    });
    let source = source(reader, s);
    let section = reader.table(s, "tlvs");
    let tlvs_at = (section.line, section.path.clone());
    let tlvs = tlvs(reader, section);

    let version_at = version.as_ref().map(|v| (v.line, v.path.clone()));
    let version = version.map_or_else(Version::default, |version| version.value);
    if version == Version::V33 {
        let (line, path) = version_at.unwrap_or_default();
        if bind.unwrap_or(Bind::Transceiver) == Bind::Transceiver {
            let problem = "SMPP 3.3 has no transceiver; set bind = \"transmitter+receiver\"";
            reader.error(line, &path, problem);
        }
        if !tlvs.is_empty() {
            reader.error(tlvs_at.0, &tlvs_at.1, "SMPP 3.3 has no TLVs");
        }
        if let Some(way) = &concatenation
            && matches!(way.value, Concatenation::Sar | Concatenation::Payload)
        {
            let problem = "SMPP 3.3 has no TLVs; use \"udh\" or \"udh16\"";
            reader.error(way.line, &way.path, problem);
        }
    }
    let defaults = WireRules::default();
    // 0 and 1 are all the priorities of SMPP 3.3.
    let flags_by_version = match version {
        Version::V33 => [0, 1, 1, 1],
        Version::V34 | Version::V50 => defaults.priority_flags,
    };
    WireRules {
        version,
        concatenation: concatenation.map_or(defaults.concatenation, |way| way.value),
        protocol_id: protocol_id.map_or(defaults.protocol_id, |id| id.value),
        registered_delivery: registered_delivery
            .map_or(defaults.registered_delivery, |asked| asked.value),
        source,
        priority_flags: flags.unwrap_or(flags_by_version),
        tlvs,
    }
}

/// `[smpp.NAME.numbering]`: type of number and numbering plan of senders, by their form.
fn source<'a>(reader: &mut Reader<'a>, account: &mut Section<'a>) -> SourceNumbering {
    let mut section = reader.table(account, "numbering");
    let mut source = SourceNumbering::default();
    for (key, numbering) in [
        ("alphanumeric", &mut source.alphanumeric),
        ("short", &mut source.short),
        ("international", &mut source.international),
    ] {
        if let Some(given) = reader.take(&mut section, key, |v| numbers(&v.text()?)) {
            *numbering = given.value;
        }
    }
    reader.close(section);
    source
}

/// `5/0`: type of number 0 to 6, numbering plan 0 to 18 (SMPP 3.4 §5.2.5, §5.2.6).
fn numbers(text: &str) -> Result<Numbering, String> {
    text.split_once('/')
        .and_then(|(ton, npi)| Some((ton.parse().ok()?, npi.parse().ok()?)))
        .filter(|(ton, npi)| *ton <= 6 && *npi <= 18)
        .map(|(ton, npi)| Numbering { ton, npi })
        .ok_or_else(|| format!("{text:?} is no ton/npi; write it like \"5/0\", at most \"6/18\""))
}

/// `[smpp.NAME.tlvs]`: what this carrier wants in every `submit_sm`.
fn tlvs<'a>(reader: &mut Reader<'a>, section: Section<'a>) -> Vec<CustomTlv> {
    let mut tlvs: Vec<CustomTlv> = Vec::new();
    for (name, value) in reader.named_values(section, |value| octets(&value)) {
        let Placed { value, path, line } = value;
        let problem = match tag(&name) {
            Err(problem) => problem,
            Ok(tag) if tlvs.iter().any(|known| known.tag == tag) => {
                format!("0x{tag:04X} is given twice")
            }
            Ok(_) if tlvs.len() == MAX_TLVS => format!("more than {MAX_TLVS} TLVs"),
            Ok(tag) => {
                tlvs.push(CustomTlv { tag, value });
                continue;
            }
        };
        reader.error(line, &path, problem);
    }
    tlvs
}

fn tag(name: &str) -> Result<u16, String> {
    let number = match name.strip_prefix("0x").or(name.strip_prefix("0X")) {
        Some(hex) => u16::from_str_radix(hex, 16),
        None => name.parse(),
    };
    let tag = number.map_err(|_| "no tag; write it like 0x1400".to_owned())?;
    match OURS.iter().find(|(ours, _)| *ours == tag) {
        Some((_, known_as)) => Err(format!(
            "{known_as} is written by Relais; see concatenation"
        )),
        None => Ok(tag),
    }
}

/// The octets of a value: `hex:…`, `u8:…`, `u16:…`, `u32:…`, `text:…`, or text as it is.
fn octets(value: &Value<'_, '_>) -> Result<Vec<u8>, String> {
    if let Ok(number) = value.integer(0..=u32::MAX) {
        return Err(format!(
            "{number} has no width; write \"u8:{number}\", \"u16:{number}\" or \"u32:{number}\""
        ));
    }
    let text = value.text()?;
    let number = |digits: &str, most: u32| {
        digits
            .parse::<u32>()
            .ok()
            .filter(|number| *number <= most)
            .ok_or_else(|| format!("{digits:?} is no whole number from 0 to {most}"))
    };
    let octets = match text.split_once(':') {
        Some(("hex", digits)) => hex(digits)
            .ok_or_else(|| format!("{digits:?} is not hexadecimal, two digits an octet"))?,
        Some(("u8", digits)) => number(digits, 0xFF)?.to_be_bytes()[3..].to_vec(),
        Some(("u16", digits)) => number(digits, 0xFFFF)?.to_be_bytes()[2..].to_vec(),
        Some(("u32", digits)) => number(digits, u32::MAX)?.to_be_bytes().to_vec(),
        Some(("text", text)) => ascii(text)?,
        _ => ascii(&text)?,
    };
    if octets.len() > MAX_VALUE {
        return Err(format!(
            "{} octets; at most {MAX_VALUE} are allowed",
            octets.len()
        ));
    }
    Ok(octets)
}

fn ascii(text: &str) -> Result<Vec<u8>, String> {
    if text.is_ascii() {
        return Ok(text.as_bytes().to_vec());
    }
    Err("only plain ASCII characters are allowed; write others as \"hex:…\"".to_owned())
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok())
        .collect()
}
