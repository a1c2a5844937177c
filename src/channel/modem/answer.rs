//! What stands in the lines of answers and unsolicited results (3GPP TS 27.005, TS 27.007).
//!
//! Modems differ in blanks, quotes, brackets and in which fields they leave out, so every reader
//! takes what can be understood and says `None` for what cannot. None of them panics.

/// A line with the line that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// For example `+CSQ: 17,99`.
    pub line: String,
    /// The next line, of those that come in two: the PDU in hex.
    pub body: Option<String>,
}

impl Entry {
    /// A line by itself.
    #[must_use]
    pub const fn single(line: String) -> Self {
        Self { line, body: None }
    }

    /// The name in front of the colon, with its sign: `+CSQ`. Empty if there is none.
    #[must_use]
    pub fn name(&self) -> &str {
        name(&self.line)
    }

    /// What follows the colon.
    #[must_use]
    pub fn value(&self) -> &str {
        value(&self.line)
    }
}

/// The name of a result, `+CSQ` of `+CSQ: 17,99`: a sign, then capitals and digits up to the colon.
#[must_use]
pub fn name(line: &str) -> &str {
    let head = line.split(':').next().unwrap_or_default().trim_end();
    let named = head.len() > 1
        && head.len() < line.len()
        && head.starts_with(['+', '^', '*', '$', '#', '_'])
        && head[1..].chars().all(|c| c.is_ascii_alphanumeric());
    if named { head } else { "" }
}

/// What follows the name and its colon; the whole line if it has no name.
#[must_use]
pub fn value(line: &str) -> &str {
    match name(line) {
        "" => line.trim(),
        _ => line.split_once(':').map_or("", |(_, value)| value.trim()),
    }
}

/// The fields between commas, without blanks and quotes. A comma in quotes separates nothing, unless
/// the quotes are broken (an odd number of them).
#[must_use]
pub fn fields(value: &str) -> Vec<&str> {
    let broken = value.matches('"').count() % 2 == 1;
    let mut quoted = false;
    value
        .split(|c| {
            quoted ^= c == '"' && !broken;
            c == ',' && !quoted
        })
        .map(bare)
        .collect()
}

fn bare(field: &str) -> &str {
    field.trim().trim_matches('"')
}

/// The groups of a test answer: `("SM","ME"),"SM"` gives `[[SM, ME], [SM]]`. Brackets around
/// everything are seen through, a group without brackets has one value, an empty one none.
#[must_use]
pub fn groups(value: &str) -> Vec<Vec<String>> {
    let value = value.trim();
    let whole = value.starts_with("((") && value.ends_with("))");
    let value = if whole {
        &value[1..value.len() - 1]
    } else {
        value
    };
    if value.is_empty() {
        return Vec::new();
    }
    let (mut all, mut group, mut depth) = (Vec::new(), String::new(), 0_u32);
    let mut close = |group: &mut String| {
        let values = group.split(',').map(bare).filter(|text| !text.is_empty());
        all.push(values.map(str::to_owned).collect());
        group.clear();
    };
    for c in value.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => close(&mut group),
            c => group.push(c),
        }
    }
    close(&mut group);
    all
}

/// The groups of a test answer as numbers, with intervals written out: `(0-2),(1)` gives
/// `[[0, 1, 2], [1]]`. What is no number is left out.
#[must_use]
pub fn ranges(value: &str) -> Vec<Vec<u8>> {
    let numbers = |text: &String| -> Vec<u8> {
        match text.split_once('-') {
            None => text.parse().into_iter().collect(),
            Some((low, high)) => match (low.trim().parse::<u8>(), high.trim().parse::<u8>()) {
                (Ok(low), Ok(high)) => (low..=high).collect(),
                _ => Vec::new(),
            },
        }
    };
    groups(value)
        .iter()
        .map(|group| group.iter().flat_map(numbers).collect())
        .collect()
}

/// Registration (`<stat>`, 3GPP TS 27.007 §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Registration {
    /// 0: not registered, not searching.
    Idle,
    /// 1: in the home network; 6: for SMS only.
    Home,
    /// 2: searching.
    Searching,
    /// 3: denied.
    Denied,
    /// 5: roaming; 7: for SMS only.
    Roaming,
    /// Anything else: the modem does not know.
    Unknown,
}

impl Registration {
    /// From `<stat>`.
    #[must_use]
    pub const fn from_stat(stat: u8) -> Self {
        match stat {
            0 => Self::Idle,
            1 | 6 => Self::Home,
            2 => Self::Searching,
            3 => Self::Denied,
            5 | 7 => Self::Roaming,
            _ => Self::Unknown,
        }
    }

    /// For programs: `home`, `roaming`, `searching`, `denied`, `idle` or `unknown`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Home => "home",
            Self::Searching => "searching",
            Self::Denied => "denied",
            Self::Roaming => "roaming",
            Self::Unknown => "unknown",
        }
    }

    /// True if messages can be sent; `None` if nobody knows, which must not be read as no.
    #[must_use]
    pub const fn is_registered(self) -> Option<bool> {
        match self {
            Self::Home | Self::Roaming => Some(true),
            Self::Idle | Self::Searching | Self::Denied => Some(false),
            Self::Unknown => None,
        }
    }
}

/// `(<n>, <stat>)` of `+CREG`, `+CGREG` or `+CEREG`; `<n>` stands only in the answer to a question.
///
/// The two forms look alike, `<n>,<stat>,…` and `<stat>,<lac>,…`: a second field of one digit
/// without quotes is `<stat>`, because no area code is so short.
#[must_use]
pub fn registration(line: &str) -> Option<(Option<u8>, u8)> {
    let mut parts = value(line).split(',').map(str::trim);
    let first = parts.next()?.parse().ok()?;
    match parts.next() {
        Some(second) if second.len() == 1 && second.as_bytes()[0].is_ascii_digit() => {
            Some((Some(first), second.parse().ok()?))
        }
        _ => Some((None, first)),
    }
}

/// The header of `+CMGR`, `+CMGL`, `+CMT`, `+CDS` or `+CBM` in PDU mode, with its PDU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PduHeader {
    /// Index in the store (`+CMGL`).
    pub index: Option<u16>,
    /// 0 unread, 1 read, 2 unsent, 3 sent; `None` if left out, as for reports.
    pub stat: Option<u8>,
    /// Octets of the TPDU as announced, without the SMSC address. Modems are known to err.
    pub length: u16,
    /// The PDU in hex, as it came.
    pub pdu: String,
}

/// Reads the answer to `AT+CMGR`: `[<index>,]<stat>,[<alpha>],<length>`, the PDU in the next line or
/// behind the length (Telit). `None` if the length or the PDU is missing.
#[must_use]
pub fn cmgr(entry: &Entry) -> Option<PduHeader> {
    let (head, pdu) = with_pdu(entry)?;
    let (length, before) = head.split_last()?;
    // Some repeat the index; the status stands second last but one in any case.
    let stat = match before {
        [_, stat, _] | [stat, _] | [stat] => stat.parse().ok(),
        _ => None,
    };
    Some(PduHeader {
        index: None,
        stat,
        length: length.parse().ok()?,
        pdu,
    })
}

/// Reads one message of `AT+CMGL`: `<index>,<stat>,[<alpha>],<length>`; some leave `<alpha>` out.
#[must_use]
pub fn cmgl(entry: &Entry) -> Option<PduHeader> {
    let (head, pdu) = with_pdu(entry)?;
    let (length, before) = head.split_last()?;
    Some(PduHeader {
        index: Some(before.first()?.parse().ok()?),
        stat: before.get(1).and_then(|stat| stat.parse().ok()),
        length: length.parse().ok()?,
        pdu,
    })
}

/// Reads an unsolicited PDU: `+CMT: [<alpha>],<length>`, `+CDS: <length>`; ZTE writes `+CDS: ,<length>`.
#[must_use]
pub fn direct(entry: &Entry) -> Option<PduHeader> {
    let (head, pdu) = with_pdu(entry)?;
    Some(PduHeader {
        index: None,
        stat: None,
        length: head.last()?.parse().ok()?,
        pdu,
    })
}

fn with_pdu(entry: &Entry) -> Option<(Vec<&str>, String)> {
    let mut head = fields(entry.value());
    if let Some(body) = &entry.body {
        return Some((head, body.clone()));
    }
    let (length, pdu) = head.pop()?.split_once(' ')?;
    head.push(length);
    Some((head, pdu.trim().to_owned()))
}

/// `"SM",3` of `+CMTI` and `+CDSI`: store and index. The store may be missing; a SIM7000 writes −1,
/// which is no index.
#[must_use]
pub fn stored(line: &str) -> (Option<String>, Option<u16>) {
    let fields = fields(value(line));
    let memory = fields.first().filter(|name| !name.is_empty());
    let index = fields.get(1).and_then(|index| index.parse().ok());
    (memory.map(|name| (*name).to_owned()), index)
}

/// What is used and what there is of a store (`+CPMS`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Messages in it.
    pub used: u16,
    /// Places in it.
    pub total: u16,
}

impl Usage {
    /// From which share on a store counts as nearly full, in percent: a full one takes neither
    /// messages nor reports, without a word.
    pub const NEARLY_FULL: u32 = 80;

    /// True if it is nearly full.
    #[must_use]
    pub fn is_nearly_full(self) -> bool {
        self.total > 0 && u32::from(self.used) * 100 >= u32::from(self.total) * Self::NEARLY_FULL
    }
}

/// Usage of `<mem1>`, `<mem2>`, `<mem3>` from the answer to a set or read of `+CPMS`.
#[must_use]
pub fn usage(line: &str) -> Vec<Usage> {
    let numbers: Vec<u16> = fields(value(line))
        .iter()
        .filter_map(|field| field.parse().ok())
        .collect();
    numbers
        .chunks_exact(2)
        .map(|pair| Usage {
            used: pair[0],
            total: pair[1],
        })
        .collect()
}

/// The number of `+CSCA: "<number>",<type>`, with `+` if it is international. `None` if it is empty.
/// In the character set UCS2 it comes as hex of UTF-16.
#[must_use]
pub fn service_centre(line: &str) -> Option<String> {
    let fields = fields(value(line));
    let written = *fields.first()?;
    let number = utf16_hex(written).unwrap_or_else(|| written.to_owned());
    let digits = number.trim_start_matches('+');
    if digits.is_empty() || !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    let international = number.starts_with('+') || fields.get(1) == Some(&"145");
    let sign = if international { "+" } else { "" };
    Some(format!("{sign}{digits}"))
}

/// Digits and `+` written as UTF-16BE hex: `002B0033…`.
fn utf16_hex(text: &str) -> Option<String> {
    let units = text.as_bytes().chunks(4).map(|unit| {
        let unit = std::str::from_utf8(unit).ok()?.strip_prefix("00")?;
        let octet = u8::from_str_radix(unit, 16).ok()?;
        (unit.len() == 2 && (octet == b'+' || octet.is_ascii_digit())).then_some(char::from(octet))
    });
    units.collect::<Option<String>>().filter(|t| !t.is_empty())
}

/// A USSD answer (3GPP TS 27.007 §7.15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ussd {
    /// 0 done, 1 wants an answer, 2 ended by the network, 3 answered by another client, 4 not
    /// supported, 5 time-out.
    pub state: u8,
    /// The text as written, which may be hex; line ends as `\n`.
    pub text: Option<String>,
    /// Its data coding.
    pub dcs: Option<u8>,
}

/// Reads `+CUSD: <m>[,"<text>"[,<dcs>]]`.
#[must_use]
pub fn ussd(line: &str) -> Option<Ussd> {
    let value = value(line);
    let (state, rest) = value.split_once(',').unwrap_or((value, ""));
    let state = state.trim().parse().ok()?;
    let rest = rest.trim_start();
    let (text, tail) = match rest.strip_prefix('"') {
        // The last quote closes: the text may hold some.
        Some(quoted) => quoted.rsplit_once('"').unwrap_or((quoted, "")),
        None => rest.split_once(',').unwrap_or((rest, "")),
    };
    Some(Ussd {
        state,
        text: (!text.is_empty()).then(|| text.to_owned()),
        dcs: tail.trim_start_matches(',').trim().parse().ok(),
    })
}

/// Strength of the signal in dBm from `+CSQ: <rssi>,<ber>` (3GPP TS 27.007 §8.5): −113 to −51.
/// `None` if it is not known (99).
#[must_use]
pub fn signal(line: &str) -> Option<i16> {
    match fields(value(line)).first()?.parse::<i16>().ok()? {
        rssi @ 0..=31 => Some(2 * rssi - 113),
        _ => None,
    }
}

/// The operator's name, or number, from `+COPS: <mode>[,<format>,"<name>"]`.
#[must_use]
pub fn operator(line: &str) -> Option<String> {
    let fields = fields(value(line));
    let name = fields.get(2).filter(|name| !name.is_empty())?;
    Some((*name).to_owned())
}

/// The message reference of `+CMGS: <mr>[,…]`.
#[must_use]
pub fn message_reference(line: &str) -> Option<u8> {
    fields(value(line)).first()?.parse().ok()
}

/// Tries that the PIN has left: `+CPINR: SIM PIN,3,3` (3GPP TS 27.007 §8.65), or Huawei's
/// `^CPIN: <state>,<times>,<puk>,<pin>,<puk2>,<pin2>`.
#[must_use]
pub fn pin_tries(line: &str) -> Option<u8> {
    let fields = fields(value(line));
    match (name(line), fields.first().copied()) {
        ("+CPINR", Some("SIM PIN")) => fields.get(1)?.parse().ok(),
        ("^CPIN", _) => fields.get(3)?.parse().ok(),
        _ => None,
    }
}
