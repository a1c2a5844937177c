//! `[modem.NAME]`: one table per GSM modem.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::raw::{Placed, Reader, Section, Value};
use crate::domain::id::{Account, Tenant};
use crate::domain::policy::ModemRules;
use crate::domain::rate::Rate;

/// A modem, as configured. Plain data: the daemon makes a channel of it.
#[derive(Clone, Debug)]
pub struct ModemAccount {
    /// Its name in the configuration: the name of an account with one channel.
    pub name: Account,
    /// Its port, as it is written: a relative path starts where the process does.
    pub device: PathBuf,
    /// Speed of the line in bit/s.
    pub baud: u32,
    /// PIN of the SIM, 4 to 8 digits.
    pub pin: Option<SecretString>,
    /// SMSC address, `+` and digits; `None`: the SIM's own.
    pub service_centre: Option<String>,
    /// Pace of the modem, in parts.
    pub rate: Rate,
    /// How far the SIM may be used, and how long a doubtful submission rests.
    pub rules: ModemRules,
    /// How long the network's answer to a message is awaited.
    pub submit_timeout: Duration,
    /// The pause before each command.
    pub rest: Duration,
    /// How often every store is looked through.
    pub sweep: Duration,
    /// How often signal and registration are asked for.
    pub check: Duration,
    /// What to dial for the balance.
    pub ussd_balance: Option<String>,
    /// How often the balance is asked for.
    pub ussd_every: Duration,
    /// Shortest and longest wait before the port is opened again.
    pub reopen: (Duration, Duration),
    /// A command that cuts the modem's power and gives it back, with its arguments; may be empty.
    pub power_command: Vec<String>,
    /// Whose the messages from handsets are that come in on it.
    pub tenant: Tenant,
}

const MILLISECOND: Duration = Duration::from_millis(1);
const TENTH: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// More than any SIM sends: a limit above it is a slip of the finger.
const MOST_MESSAGES: u32 = 100_000;

/// Longest code to dial: far more than any in use, and less than a USSD string holds (160 octets,
/// 3GPP TS 24.080 §4.6).
const LONGEST_CODE: usize = 64;

/// Reads every modem, in the order of the file.
pub(super) fn read_all<'a>(
    reader: &mut Reader<'a>,
    sections: Vec<(String, Section<'a>)>,
) -> Vec<ModemAccount> {
    let mut devices: Vec<(PathBuf, String)> = Vec::new();
    sections
        .into_iter()
        .filter_map(|(name, section)| read(reader, &name, section, &mut devices))
        .collect()
}

fn read<'a>(
    reader: &mut Reader<'a>,
    name: &str,
    mut section: Section<'a>,
    devices: &mut Vec<(PathBuf, String)>,
) -> Option<ModemAccount> {
    let s = &mut section;
    let what = "the modem's port, for example a link in /dev/serial/by-id";
    let device = reader.need(s, "device", what, |v| match v.text()? {
        empty if empty.trim().is_empty() => Err(format!("it is empty: name {what}")),
        path => Ok(PathBuf::from(path)),
    });
    if let Some(device) = &device {
        check_device(reader, name, device, devices);
    }
    let baud = reader.take(s, "baud", |v| v.integer(300..=4_000_000_u32));
    let pin = pin(reader, s);
    let service_centre = reader.take(s, "service_centre", |v| service_centre(&v));
    let rate = reader.take(s, "rate", |v| v.rate());
    let rules = rules(reader, s);
    let submit_timeout = reader.take(s, "submit_timeout", |v| v.duration(TENTH..=MINUTE * 10));
    let rest = reader.take(s, "rest", |v| v.duration(Duration::ZERO..=SECOND * 5));
    let sweep = reader.take(s, "sweep", |v| v.duration(TENTH..=DAY));
    let check = reader.take(s, "check", |v| v.duration(TENTH..=DAY));
    let ussd_balance = reader.take(s, "ussd_balance", |v| code(&v));
    let ussd_every = reader.take(s, "ussd_every", |v| v.duration(MINUTE..=DAY * 30));
    let reopen = reader.take(s, "reopen", |v| v.duration_range(MILLISECOND..=HOUR));
    let power_command = power_command(reader, s);
    let tenant = reader.take(s, "tenant", |v| v.tenant());
    reader.close(section);

    Some(ModemAccount {
        name: name.into(),
        device: device?.value,
        baud: baud.map_or(115_200, |baud| baud.value),
        pin,
        service_centre: service_centre.map(|number| number.value),
        rate: rate.map_or(Rate::NONE, |rate| rate.value),
        rules,
        submit_timeout: submit_timeout.map_or(MINUTE, |t| t.value),
        rest: rest.map_or(Duration::ZERO, |t| t.value),
        sweep: sweep.map_or(MINUTE * 5, |t| t.value),
        check: check.map_or(MINUTE, |t| t.value),
        ussd_balance: ussd_balance.map(|code| code.value),
        ussd_every: ussd_every.map_or(HOUR * 12, |t| t.value),
        reopen: reopen.map_or((SECOND, SECOND * 30), |t| t.value),
        power_command,
        tenant: tenant.map_or_else(|| Tenant::DEFAULT.into(), |tenant| tenant.value),
    })
}

/// One modem has one name, and a name that stays.
fn check_device(
    reader: &mut Reader<'_>,
    name: &str,
    device: &Placed<PathBuf>,
    devices: &mut Vec<(PathBuf, String)>,
) {
    let path = &device.value;
    match devices.iter().find(|(known, _)| known == path) {
        Some((_, other)) => {
            let problem = format!(
                "{} is the device of modem {other} already; one port serves one modem",
                path.display()
            );
            reader.error(device.line, &device.path, problem);
        }
        None => devices.push((path.clone(), name.to_owned())),
    }
    if is_numbered(path) {
        let problem = format!(
            "{} may be another modem's name after a replug or a restart; use its link in \
             /dev/serial/by-id, or in /dev/serial/by-path where several have no serial number \
             (relais modem list shows them)",
            path.display()
        );
        reader.warn(device.line, &device.path, problem);
    }
}

/// True for names that the kernel gives out in the order of plugging in.
fn is_numbered(device: &Path) -> bool {
    let name = device.to_str().unwrap_or("");
    ["/dev/ttyUSB", "/dev/ttyACM"]
        .into_iter()
        .filter_map(|prefix| name.strip_prefix(prefix))
        .any(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

fn pin<'a>(reader: &mut Reader<'a>, s: &mut Section<'a>) -> Option<SecretString> {
    let pin = reader.secret(s, "pin", "pin_file")?;
    let digits = pin.value.expose_secret();
    if (4..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Some(pin.value);
    }
    let problem = "a PIN is 4 to 8 digits; remove the key if the SIM asks for none";
    reader.error(pin.line, &pin.path, problem);
    None
}

/// How far the SIM may be used; a limit of 0 is none.
fn rules<'a>(reader: &mut Reader<'a>, s: &mut Section<'a>) -> ModemRules {
    let usual = ModemRules::default();
    let mut limit =
        |key, usual: Option<u32>| match reader.take(s, key, |v| v.integer(0..=MOST_MESSAGES)) {
            Some(given) => Some(given.value).filter(|limit| *limit > 0),
            None => usual,
        };
    let daily_limit = limit("daily_limit", usual.daily_limit);
    let recipients_30d = limit("recipients_30d", usual.recipients_30d);
    let grace = reader.take(s, "in_doubt_grace", |v| v.duration(Duration::ZERO..=HOUR));
    ModemRules {
        daily_limit,
        recipients_30d,
        in_doubt_grace: grace.map_or(usual.in_doubt_grace, |grace| grace.value),
    }
}

/// `+33695000695`: an international number; at most 20 digits fit (3GPP TS 24.011 §8.2.5.2).
fn service_centre(value: &Value<'_, '_>) -> Result<String, String> {
    let text = value.text()?;
    let digits = text.strip_prefix('+').unwrap_or("");
    if (3..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(text);
    }
    Err(format!(
        "{text:?} is no SMSC address; write + and digits, like \"+33695000695\""
    ))
}

/// What can be dialled, so that nothing else gets into a command.
fn code(value: &Value<'_, '_>) -> Result<String, String> {
    let text = value.text()?;
    let dialled = |b: u8| b.is_ascii_digit() || b == b'*' || b == b'#';
    if (1..=LONGEST_CODE).contains(&text.len()) && text.bytes().all(dialled) {
        return Ok(text);
    }
    Err(format!(
        "{text:?} cannot be dialled; only digits, * and # can, like \"*123#\""
    ))
}

fn power_command<'a>(reader: &mut Reader<'a>, s: &mut Section<'a>) -> Vec<String> {
    let Some(words) = reader.list(s, "power_command", |v| v.text()) else {
        return Vec::new();
    };
    if let Some(program) = words.value.first() {
        let path = Path::new(&program.value);
        if !path.is_absolute() {
            let problem = format!(
                "{:?} is no absolute path; a service has no PATH worth trusting",
                program.value
            );
            reader.error(program.line, &program.path, problem);
        } else if !is_program(path) {
            let problem = format!(
                "{} is no program that can be run; without it a modem that hangs stays down",
                path.display()
            );
            reader.warn(program.line, &program.path, problem);
        }
    }
    words.value.into_iter().map(|word| word.value).collect()
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
