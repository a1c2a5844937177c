//! `relais modem list`: which port is the modem's, and what to write into the configuration.
//!
//! Every port is asked at the same time, for a bounded time. What is found goes to standard output;
//! progress, and what to do about ports that do not answer, to standard error.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write as _};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::args::ModemList;
use super::out::Paint;
use super::texts::Lang;
use super::{Failure, out};
use crate::channel::modem::answer::Registration;
use crate::channel::modem::choice::Reports;
use crate::channel::modem::discovery::{self, Guess, Port, Roots};
use crate::channel::modem::port::SerialOpener;
use crate::channel::modem::trial::{self, Heard, Sim, TrialError, WITHIN};

/// A port, and what came of asking.
struct Asked {
    port: Port,
    answer: Result<Heard, TrialError>,
}

/// `relais modem list`. Fails if no modem answers.
pub(super) fn list(list: &ModemList, lang: Lang) -> Result<(), Failure> {
    let roots = Roots::system();
    let ports = if list.device.is_empty() {
        discovery::ports(&roots)?
    } else {
        let named = list.device.iter();
        named
            .map(|device| discovery::port_of(&roots, device))
            .collect()
    };
    if ports.is_empty() {
        if list.json {
            out::line(&format!("{:#}", json!({ "data": [] })))?;
        }
        return Err(Failure::Failed(lang.modem_no_port()));
    }
    let asked = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(ask(&roots, ports, list.baud, lang));
    if list.json {
        let data: Vec<Value> = asked.iter().map(as_json).collect();
        out::line(&format!("{:#}", json!({ "data": data })))?;
    } else {
        show(&asked, lang)?;
    }
    if asked.iter().any(|one| one.answer.is_ok()) {
        return Ok(());
    }
    Err(Failure::Failed(lang.modem_none_answers(asked.len())))
}

/// Asks all ports at once; the answers are in the order of the ports.
async fn ask(roots: &Roots, ports: Vec<Port>, baud: u32, lang: Lang) -> Vec<Asked> {
    let mut asking = JoinSet::new();
    let count = ports.len();
    for (place, port) in ports.into_iter().enumerate() {
        let roots = roots.clone();
        asking.spawn(async move {
            let opener = SerialOpener::new(port.name(), baud);
            let answer = trial::ask(&roots, port.name(), &opener, WITHIN).await;
            (place, Asked { port, answer })
        });
    }
    let live = std::io::stderr().is_terminal();
    let progress = |done: usize| {
        if live {
            let line = lang.modem_asking(count, done, WITHIN.as_secs());
            let line = if done < count { line } else { String::new() };
            // If standard error has gone, nobody waits for this.
            let _ = write!(std::io::stderr(), "\r{line}\u{1b}[K");
        }
    };
    progress(0);
    let mut asked = BTreeMap::new();
    while let Some(one) = asking.join_next().await {
        if let Ok((place, one)) = one {
            asked.insert(place, one);
            progress(asked.len());
        }
    }
    asked.into_values().collect()
}

/// The table, what to configure, and what to do about the others.
fn show(asked: &[Asked], lang: Lang) -> Result<(), Failure> {
    let paint = Paint::for_stdout();
    let mut rows = vec![lang.modem_columns().to_vec()];
    rows.extend(asked.iter().map(|one| row(one, lang)));
    for (number, line) in table(&rows).iter().enumerate() {
        out::line(&match number {
            0 => paint.dim(line),
            number if asked[number - 1].answer.is_ok() => paint.green(line),
            _ => line.clone(),
        })?;
    }
    let chosen = choose(asked);
    if !chosen.is_empty() {
        out::line("")?;
        out::line(&lang.modem_configure())?;
    }
    for (number, one) in chosen.iter().enumerate() {
        out::line("")?;
        for line in configuration(number + 1, one, lang) {
            out::line(&line)?;
        }
    }
    for advice in advice(asked, &chosen, lang) {
        out::complain(&advice);
    }
    Ok(())
}

/// How a port is called in the table.
fn label(port: &Port) -> String {
    match &port.usb {
        Some(_) => port.kernel_name(),
        None => port.name().display().to_string(),
    }
}

fn row(one: &Asked, lang: Lang) -> Vec<String> {
    let usb = one.port.usb.as_ref().map_or_else(String::new, |usb| {
        let interface = usb.interface.map(|number| format!(" if{number:02x}"));
        let interface = interface.unwrap_or_default();
        format!("{:04x}:{:04x}{interface}", usb.vendor, usb.product)
    });
    let mut row = vec![label(&one.port), usb];
    match &one.answer {
        Ok(heard) => {
            row.push(who(heard));
            row.push(lang.modem_sim(&heard.sim));
            row.push(network(heard, lang));
            let signal = heard.signal_dbm.map(|dbm| format!("{dbm} dBm"));
            row.push(signal.unwrap_or_default());
        }
        Err(error) => {
            let mut said = lang.modem_trial_error(error);
            if matches!(error, TrialError::Silent(_)) && one.port.guess == Guess::Other {
                said = format!("{said} ({})", lang.modem_other_port());
            }
            row.push(said);
        }
    }
    row
}

/// Maker and model, without saying the maker twice.
pub(super) fn who(heard: &Heard) -> String {
    let (maker, model) = (heard.maker.as_deref(), heard.model.as_deref());
    match (maker, model) {
        (Some(maker), Some(model)) => {
            let first = maker.split(['_', ' ']).next().unwrap_or(maker);
            let said = model.to_lowercase().starts_with(&first.to_lowercase());
            if said {
                model.to_owned()
            } else {
                format!("{maker} {model}")
            }
        }
        (one, other) => one.or(other).unwrap_or("OK").to_owned(),
    }
}

/// Registration and operator.
pub(super) fn network(heard: &Heard, lang: Lang) -> String {
    let state = heard
        .registration
        .map(|state| lang.modem_registration(state.word()));
    let known = [state, heard.operator.clone()];
    known.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Columns as wide as their widest cell; the last cell of a short row goes as far as it likes.
fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let full = rows.iter().filter(|row| row.len() == columns || column < 2);
        let cells = full.filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| {
            let fill = width.saturating_sub(cell.chars().count()) + 2;
            format!("{cell}{}", " ".repeat(fill))
        });
        cells.collect::<String>().trim_end().to_owned()
    });
    lines.collect()
}

/// One port of each modem: a modem answers on two or three of them. The one that its family has for
/// commands, else the first.
fn choose(asked: &[Asked]) -> Vec<&Asked> {
    let mut chosen: Vec<&Asked> = Vec::new();
    for one in asked.iter().filter(|one| one.answer.is_ok()) {
        match chosen.iter_mut().find(|other| is_same_modem(other, one)) {
            Some(other) if rank(one) < rank(other) => *other = one,
            Some(_) => {}
            None => chosen.push(one),
        }
    }
    chosen
}

const fn rank(one: &Asked) -> u8 {
    match one.port.guess {
        Guess::Commands => 0,
        Guess::Unknown => 1,
        Guess::Other => 2,
    }
}

fn is_same_modem(one: &Asked, other: &Asked) -> bool {
    let imei = |asked: &Asked| {
        asked
            .answer
            .as_ref()
            .ok()
            .and_then(|heard| heard.imei.clone())
    };
    let socket = |asked: &Asked| asked.port.usb.as_ref().map(|usb| usb.socket.clone());
    match (socket(one), socket(other)) {
        (Some(one), Some(other)) => one == other,
        _ => imei(one).is_some() && imei(one) == imei(other),
    }
}

/// The lines for the configuration.
fn configuration(number: usize, one: &Asked, lang: Lang) -> Vec<String> {
    let Ok(heard) = &one.answer else {
        return Vec::new();
    };
    let imei = heard.imei.as_ref().map(|imei| format!(", IMEI {imei}"));
    let device = toml::Value::String(one.port.name().display().to_string());
    let mut lines = vec![
        format!("# {}{}", who(heard), imei.unwrap_or_default()),
        format!("[modem.sim{number}]"),
        format!("device = {device}"),
    ];
    if let Sim::WantsPin { tries } = heard.sim {
        lines.push(lang.modem_pin_line(tries));
    }
    lines
}

/// What to do, each thing once.
fn advice(asked: &[Asked], chosen: &[&Asked], lang: Lang) -> Vec<String> {
    let mut said: Vec<(String, Vec<String>)> = Vec::new();
    for one in asked {
        let Err(error) = &one.answer else { continue };
        // Of a modem that answers elsewhere, silence on its other ports is as it should be.
        let answers = chosen.iter().any(|other| is_same_modem(other, one));
        if answers && matches!(error, TrialError::Silent(_)) {
            continue;
        }
        let remedy = lang.modem_remedy(error);
        match said.iter_mut().find(|(known, _)| *known == remedy) {
            Some((_, ports)) => ports.push(label(&one.port)),
            None => said.push((remedy, vec![label(&one.port)])),
        }
    }
    let mut lines: Vec<String> = said
        .into_iter()
        .map(|(remedy, ports)| lang.modem_advice(&ports.join(", "), &remedy))
        .collect();
    for one in chosen.iter().filter(|one| !one.port.stable) {
        let name = one.port.name().display().to_string();
        lines.push(lang.modem_unstable(&name));
    }
    lines
}

fn as_json(one: &Asked) -> Value {
    let port = &one.port;
    let names: Vec<String> = port
        .names
        .iter()
        .map(|name| name.display().to_string())
        .collect();
    let mut value = json!({
        "device": port.name().display().to_string(),
        "names": names,
        "stable": port.stable,
        "guess": match port.guess {
            Guess::Commands => "commands",
            Guess::Other => "other",
            Guess::Unknown => "unknown",
        },
        "answers": one.answer.is_ok(),
    });
    if let Some(usb) = &port.usb {
        value["usb"] = json!({
            "vendor": format!("{:04x}", usb.vendor),
            "product": format!("{:04x}", usb.product),
            "maker": usb.maker,
            "name": usb.name,
            "serial": usb.serial,
            "interface": usb.interface,
            "socket": usb.socket,
        });
    }
    match &one.answer {
        Err(error) => {
            let code = match error {
                TrialError::Absent => "absent",
                TrialError::Held(_) => "held",
                TrialError::Forbidden => "forbidden",
                TrialError::Silent(_) => "silent",
                TrialError::Lost => "lost",
                TrialError::Other(_) => "other",
            };
            value["error"] = json!({ "code": code, "detail": error.to_string() });
        }
        Ok(heard) => value["modem"] = modem_json(heard),
    }
    value
}

fn modem_json(heard: &Heard) -> Value {
    let tries = match heard.sim {
        Sim::WantsPin { tries } => tries,
        _ => None,
    };
    let sim = match &heard.sim {
        Sim::Silent => "unknown",
        Sim::Ready => "ready",
        Sim::WantsPin { .. } => "pin",
        Sim::Locked(_) => "locked",
        Sim::Missing => "missing",
        Sim::Busy => "busy",
        Sim::Faulty(_) => "faulty",
    };
    let storage = heard
        .storage
        .as_ref()
        .map(|(name, usage)| json!({ "name": name, "used": usage.used, "total": usage.total }));
    json!({
        "maker": heard.maker,
        "model": heard.model,
        "imei": heard.imei,
        "sim": sim,
        "pin_tries": tries,
        "registration": heard.registration.map(Registration::word),
        "operator": heard.operator,
        "signal_dbm": heard.signal_dbm,
        "service_centre": heard.service_centre,
        "storage": storage,
        "reports": heard.reports.map(|reports| match reports {
            Reports::Direct => "direct",
            Reports::Stored => "stored",
            Reports::None => "none",
        }),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;
    use crate::channel::modem::discovery::Usb;

    fn port(name: &str, socket: &str, interface: u8, guess: Guess) -> Port {
        Port {
            names: vec![
                format!("/dev/serial/by-path/{socket}-{interface}").into(),
                format!("/dev/{name}").into(),
            ],
            stable: true,
            usb: Some(Usb {
                vendor: 0x2c7c,
                product: 0x0125,
                interface: Some(interface),
                socket: socket.to_owned(),
                ..Usb::default()
            }),
            guess,
        }
    }

    fn quectel() -> Heard {
        Heard {
            maker: Some("Quectel".to_owned()),
            model: Some("EC25".to_owned()),
            imei: Some("490154203237518".to_owned()),
            sim: Sim::Ready,
            registration: Some(Registration::Home),
            operator: Some("Orange F".to_owned()),
            signal_dbm: Some(-77),
            ..Heard::default()
        }
    }

    fn silent() -> Result<Heard, TrialError> {
        Err(TrialError::Silent(Duration::from_secs(5)))
    }

    #[test]
    fn a_modem_that_answers_on_two_ports_is_configured_once_by_its_command_port() {
        let asked = [
            Asked {
                port: port("ttyUSB0", "1-2", 0, Guess::Other),
                answer: silent(),
            },
            Asked {
                port: port("ttyUSB3", "1-2", 3, Guess::Other),
                answer: Ok(quectel()),
            },
            Asked {
                port: port("ttyUSB2", "1-2", 2, Guess::Commands),
                answer: Ok(quectel()),
            },
            Asked {
                port: port("ttyUSB4", "1-3", 2, Guess::Commands),
                answer: Ok(quectel()),
            },
        ];
        let chosen = choose(&asked);
        let names: Vec<_> = chosen.iter().map(|one| one.port.kernel_name()).collect();
        assert_eq!(names, ["ttyUSB2", "ttyUSB4"]);
        assert_eq!(
            configuration(1, chosen[0], Lang::En),
            [
                "# Quectel EC25, IMEI 490154203237518",
                "[modem.sim1]",
                "device = \"/dev/serial/by-path/1-2-2\""
            ]
        );
        assert!(advice(&asked, &chosen, Lang::En).is_empty());
    }

    #[test]
    fn the_table_has_columns_and_says_why_a_port_is_silent() {
        let asked = [
            Asked {
                port: port("ttyUSB0", "1-2", 0, Guess::Other),
                answer: silent(),
            },
            Asked {
                port: port("ttyUSB2", "1-2", 2, Guess::Commands),
                answer: Ok(quectel()),
            },
        ];
        let mut rows = vec![Lang::En.modem_columns().to_vec()];
        rows.extend(asked.iter().map(|one| row(one, Lang::En)));
        assert_eq!(
            table(&rows),
            [
                "PORT     USB             ANSWERS       SIM    NETWORK                 SIGNAL",
                "ttyUSB0  2c7c:0125 if00  no answer to AT within 5 s (usually not the AT port of this family)",
                "ttyUSB2  2c7c:0125 if02  Quectel EC25  ready  home network, Orange F  -77 dBm",
            ]
        );
    }

    #[test]
    fn what_to_do_is_said_once_for_all_ports_that_need_it() {
        let held = || Err(TrialError::Held(vec!["ModemManager (412)".to_owned()]));
        let asked = [0, 1].map(|number| Asked {
            port: port(&format!("ttyUSB{number}"), "1-2", number, Guess::Unknown),
            answer: held(),
        });
        let lines = advice(&asked, &[], Lang::Fr);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("ttyUSB0, ttyUSB1 : "), "{lines:?}");
        assert!(lines[0].contains("99-gsm-modem.rules"), "{lines:?}");
    }

    #[test]
    fn the_maker_is_not_said_twice() {
        let heard = |maker: &str, model: &str| Heard {
            maker: Some(maker.to_owned()),
            model: Some(model.to_owned()),
            ..Heard::default()
        };
        assert_eq!(
            who(&heard("SIMCOM_Ltd", "SIMCOM_SIM800L")),
            "SIMCOM_SIM800L"
        );
        assert_eq!(who(&heard("huawei", "E1752")), "huawei E1752");
        assert_eq!(who(&Heard::default()), "OK");
    }

    #[test]
    fn json_says_what_is_the_matter_in_words_for_programs() {
        let asked = Asked {
            port: port("ttyUSB2", "1-2", 2, Guess::Commands),
            answer: Err(TrialError::Forbidden),
        };
        let value = as_json(&asked);
        assert_eq!(value["error"]["code"], "forbidden");
        assert_eq!(value["usb"]["vendor"], "2c7c");
        let heard = Heard {
            sim: Sim::WantsPin { tries: Some(3) },
            ..quectel()
        };
        let value = modem_json(&heard);
        assert_eq!(
            (&value["sim"], &value["pin_tries"]),
            (&json!("pin"), &json!(3))
        );
        assert_eq!(value["registration"], "home");
    }
}
