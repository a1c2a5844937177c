//! What comes from the network: messages (SMS-DELIVER) and status reports, put together, and the way
//! that each takes to the modem's user.

use std::time::Duration;

use super::ledger::{DeliveredEntry, Way};
use super::memory::{READ, Record, UNREAD};
use super::script::Inbound;
use super::state::{Event, Now, State};
use crate::domain::time::Timestamp;
use crate::pdu::address::{Address, AddressError};
use crate::pdu::dcs::Dcs;
use crate::pdu::deliver::Deliver;
use crate::pdu::segment::{self, Alphabet};
use crate::pdu::timestamp::NetworkTime;
use crate::pdu::tpdu::hex_of_octets;
use crate::pdu::udh;
use crate::pdu::user_data::UserData;

/// Something from the network.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) octets: Vec<u8>,
    pub(super) report: bool,
}

/// A number or a name as scripts and commands write it. Short codes are never international, and long
/// numbers are, whatever their writer forgot.
fn address(text: &str) -> Result<Address, AddressError> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
        Address::name(text)
    } else if digits.len() > 8 && !digits.starts_with('0') {
        Address::number(&format!("+{digits}"))
    } else {
        Address::number(text)
    }
}

/// The messages of a text, one a part. None where the sender is nothing that an address can hold.
fn parts(message: &Inbound, reference: u8, at: Timestamp) -> Vec<Deliver> {
    let Ok(originator) = address(&message.from) else {
        tracing::warn!("an inbound message of the script has a sender that no address can hold");
        return Vec::new();
    };
    let text = &message.text;
    let plan = match segment::plan_as(text, Alphabet::Ucs2) {
        Ok(plan) if message.ucs2 => plan,
        _ => segment::plan(text),
    };
    let dcs = match plan.alphabet {
        Alphabet::Ucs2 => Dcs::UCS2,
        _ => Dcs::GSM7,
    };
    let total = u8::try_from(plan.count()).unwrap_or(u8::MAX);
    let sent = NetworkTime::from(at.to_utc());
    (1..=total)
        .zip(plan.slices(text))
        .filter_map(|(index, slice)| {
            let header = udh::concat8(reference, total, index);
            let header = if total > 1 { &header[..] } else { &[] };
            let data = UserData::of_text(dcs, header, slice).ok()?;
            Some(Deliver::new(originator.clone(), sent, data))
        })
        .collect()
}

impl State {
    /// Old messages that nobody has deleted.
    pub(super) fn fill(&mut self, now: Now) {
        let old = Inbound {
            from: "+33600000009".to_owned(),
            text: "Ancien message".to_owned(),
            ..Inbound::default()
        };
        for _ in 0..self.script.occupied {
            for part in parts(&old, 0, now.at) {
                let record = self.record(part.encode(), READ);
                let name = self.settings.named[2].clone();
                let _ = self.store(&name).and_then(|store| store.put(record));
            }
        }
    }

    /// Queues a message from somebody, as often as it asks for.
    pub(super) fn queue(&mut self, message: &Inbound, now: Now) {
        for time in 0..message.times {
            let after = message.after_ms + u64::from(time) * message.every_ms;
            self.inbound_reference = self.inbound_reference.wrapping_add(1);
            let reference = message.reference.unwrap_or(self.inbound_reference);
            let event = Event::Composes(Box::new((message.clone(), reference)));
            self.at(now.elapsed + Duration::from_millis(after), event);
        }
    }

    /// Lets the parts of a message come, in the order that it asks for.
    pub(super) fn compose(&mut self, message: &Inbound, reference: u8, now: Now) {
        let parts = parts(message, reference, now.at);
        let order: Vec<usize> = if message.order.is_empty() {
            (1..=parts.len()).collect()
        } else {
            message.order.iter().map(|n| usize::from(*n)).collect()
        };
        for (number, index) in (0..).zip(order) {
            if let Some(part) = parts.get(index.wrapping_sub(1)) {
                let due = now.elapsed + Duration::from_millis(message.part_gap_ms * number);
                let octets = part.encode();
                let report = false;
                self.at(due, Event::Arrives(Arrival { octets, report }));
            }
        }
    }

    fn record(&self, octets: Vec<u8>, stat: u8) -> Record {
        let mut whole = Vec::new();
        match address(&self.smsc) {
            Ok(centre) => centre.write_service_centre(&mut whole),
            Err(_) => whole.push(0),
        }
        whole.extend(&octets);
        Record {
            stat,
            octets: whole,
            length: octets.len(),
        }
    }

    /// What the network could not hand over before.
    pub(super) fn hand_over_held(&mut self, now: Now) {
        for arrival in std::mem::take(&mut self.held) {
            self.arrive(arrival, now);
        }
    }

    /// Something comes from the network: 3GPP TS 27.005 clause 3.4.1 says where it goes.
    pub(super) fn arrive(&mut self, arrival: Arrival, now: Now) {
        if !self.plugged || !self.is_registered(now) {
            self.held.push_back(arrival);
            return;
        }
        let [mode, mt, _, ds, _] = self.settings.cnmi;
        let speaks = mode > 0;
        let way = match (arrival.report, if arrival.report { ds } else { mt }) {
            (true, 1) | (false, 2 | 3) if speaks => Way::Direct,
            (_, 1 | 2) if speaks => Way::Announced,
            (true, 0) => Way::Dropped,
            _ => Way::Silent,
        };
        let record = self.record(arrival.octets.clone(), UNREAD);
        match way {
            Way::Dropped => {}
            Way::Direct => {
                let (length, octets) = (record.length, hex_of_octets(&record.octets));
                let line = match arrival.report {
                    true => format!("+CDS: {length}\r\n{octets}"),
                    false => format!("+CMT: ,{length}\r\n{octets}"),
                };
                self.announce(now, &line);
                if self.settings.service == 1 {
                    self.acks = (self.acks.0 + 1, true);
                    let wait = Duration::from_millis(self.script.ack_ms);
                    self.at(now.elapsed + wait, Event::AckDue(self.acks.0));
                }
            }
            Way::Announced | Way::Silent => {
                // Reports have a memory of their own where there is one.
                let own = arrival.report && self.stores.iter().any(|store| store.name == "SR");
                let name = match own {
                    true => "SR".to_owned(),
                    false => self.settings.named[2].clone(),
                };
                let Some(place) = self.store(&name).and_then(|store| store.put(record)) else {
                    self.held.push_back(arrival);
                    return;
                };
                if way == Way::Announced {
                    let code = if arrival.report { "+CDSI" } else { "+CMTI" };
                    self.announce(now, &format!("{code}: \"{name}\",{place}"));
                }
                let full = self.store(&name).is_some_and(|store| store.is_full());
                if let (true, Some(line)) = (full, self.script.profile().full) {
                    self.announce(now, line);
                }
            }
        }
        self.ledger.deliver(DeliveredEntry {
            at: now.at,
            octets: arrival.octets,
            report: arrival.report,
            way,
        });
    }
}
