//! What is in force, defaults included, as text for people: the output of `relais check`.

use std::fmt::Write;

use super::{Backend, Config, Durability, Http, LogFormat, ModemAccount, SmppAccount, duration};
use crate::domain::holidays::Day;
use crate::domain::inbound::InboundRules;
use crate::domain::msisdn::destination::own_country;
use crate::domain::optout::Wish;
use crate::domain::policy::{EmailTls, OnDoubt, Operator, Policy};
use crate::domain::portability::Portability;
use crate::domain::rate::Rate;
use crate::domain::refusal::status_text;
use crate::domain::text::DefaultAlphabet;
use crate::domain::windows::{NamedHoursBook, Outside};
use crate::domain::wire::SourceNumbering;

impl Config {
    /// The effective policy, one setting a line; secrets are not shown.
    #[must_use]
    pub fn effective(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_effective(&mut out);
        out
    }

    fn write_effective(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "data          {}", self.data_dir.display())?;
        writeln!(out, "time zone     {}", self.timezone.name())?;
        writeln!(
            out,
            "country       {} (national numbers are read as its own)",
            self.default_country
        )?;
        write_http(out, &self.http)?;
        let backend = match self.store.backend {
            Backend::Sled => "sled",
            Backend::Memory => "memory (nothing survives a stop)",
        };
        let promise = match (self.store.backend, self.store.durability) {
            (Backend::Memory, _) => "a 202 promises nothing",
            (Backend::Sled, Durability::Power) => "a 202 survives a power cut",
            (Backend::Sled, Durability::Process) => "a 202 survives kill -9, not a power cut",
        };
        writeln!(
            out,
            "store         {backend}, {promise}, cache {} MiB",
            self.store.cache_bytes >> 20
        )?;
        let kept = duration::write;
        writeln!(
            out,
            "retention     texts {}, numbers {}, messages {} after their final state",
            kept(self.retention.texts),
            kept(self.retention.numbers),
            kept(self.retention.messages)
        )?;
        let format = match self.log.format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        if self.hashed_optouts {
            writeln!(out, "opt-outs      kept as keyed hashes of their numbers")?;
        }
        writeln!(out, "log           {}, {format}", self.log.level)?;
        let limits = &self.policy.limits;
        writeln!(
            out,
            "limits        {} parts a message, {} recipients a call, {} live messages",
            limits.max_parts, limits.max_recipients, limits.max_live_messages
        )?;
        let requests = match limits.key_rate.interval() {
            None => "any number of".to_owned(),
            Some(_) => limits.key_rate.to_string(),
        };
        let messages = match limits.key_daily_messages {
            0 => "any number of messages".to_owned(),
            most => format!("{most} messages"),
        };
        writeln!(out, "api keys      {requests} requests, {messages} a day")?;
        writeln!(
            out,
            "delivery      receipts awaited {} past validity, doubtful submissions rest {}",
            duration::write(self.policy.receipt_grace),
            duration::write(self.policy.in_doubt_grace)
        )?;
        let allow: Vec<_> = self
            .policy
            .webhook_allow
            .iter()
            .map(ToString::to_string)
            .collect();
        writeln!(
            out,
            "webhooks      public addresses over https{}",
            if allow.is_empty() {
                String::new()
            } else {
                format!(", and {}", allow.join(", "))
            }
        )?;
        if let Some(email) = &self.policy.email {
            let tls = match email.tls {
                EmailTls::Starttls => "STARTTLS",
                EmailTls::Tls => "TLS",
                EmailTls::None => "in the clear",
            };
            writeln!(
                out,
                "e-mail        {}:{}, {tls}, from {}, an answer within {}",
                email.host,
                email.port,
                email.from,
                duration::write(email.response_timeout)
            )?;
        }
        write_guard(out, &self.policy)?;
        write_inbound(out, &self.policy.inbound)?;
        write_portability(out, &self.policy.portability)?;
        write_hours(out, &self.policy)?;
        for account in &self.smpp {
            writeln!(out)?;
            write_account(out, account)?;
        }
        for modem in &self.modems {
            writeln!(out)?;
            write_modem(out, modem)?;
        }
        for operator in &self.policy.operators {
            writeln!(out)?;
            write_operator(out, operator)?;
        }
        Ok(())
    }
}

/// The hours and holidays that are not the gateway's own.
fn write_hours(out: &mut String, policy: &Policy) -> std::fmt::Result {
    let presets = NamedHoursBook::default();
    let own = policy
        .hours
        .names()
        .filter(|name| presets.get(name).is_none());
    for hours in own.filter_map(|name| policy.hours.get(name)) {
        let outside = match hours.outside {
            Outside::Defer => "deferred",
            Outside::Reject => "refused",
        };
        writeln!(
            out,
            "hours         {}: {hours}; outside them {outside}",
            hours.name
        )?;
    }
    for (territory, changes) in &policy.holidays.0 {
        let signed = |sign: char, days: &[Day]| {
            let days: Vec<_> = days.iter().map(|day| format!(" {sign}{day}")).collect();
            days.concat()
        };
        writeln!(
            out,
            "holidays      {}{}{}",
            territory.code(),
            signed('+', &changes.added),
            signed('-', &changes.removed)
        )?;
    }
    Ok(())
}

fn rate(rate: Rate) -> String {
    match rate.interval() {
        None => "no limit".to_owned(),
        Some(_) => rate.to_string().replace('/', " parts/"),
    }
}

fn write_http(out: &mut String, http: &Http) -> std::fmt::Result {
    let tls = http.tls.as_ref().map_or_else(
        || "in the clear".to_owned(),
        |tls| format!("TLS by {}", tls.cert_file.display()),
    );
    let of_one = match http.max_connections_per_address {
        0 => "any number".to_owned(),
        n => n.to_string(),
    };
    writeln!(
        out,
        "http          {}, {tls}, {} connections, {of_one} of one address",
        http.listen, http.max_connections
    )?;
    writeln!(
        out,
        "              head {}, body {}, answer {}",
        duration::write(http.head_timeout),
        duration::write(http.body_timeout),
        duration::write(http.answer_timeout)
    )?;
    match http.metrics_listen {
        Some(at) => writeln!(out, "metrics       {at}, in the clear"),
        None => Ok(()),
    }
}

fn write_account(out: &mut String, account: &SmppAccount) -> std::fmt::Result {
    writeln!(out, "account {}", account.name)?;
    writeln!(
        out,
        "  smsc        {}:{} as {}, password ****",
        account.host, account.port, account.system_id
    )?;
    if let Some(tls) = &account.tls {
        let trusted = tls.ca_file.as_ref().map_or_else(
            || "the system's authorities".to_owned(),
            |file| file.display().to_string(),
        );
        let name = tls.server_name.as_ref().unwrap_or(&account.host);
        let own = tls.identity.as_ref().map_or_else(String::new, |(cert, _)| {
            format!(", our certificate {}", cert.display())
        });
        writeln!(out, "  tls         {name} by {trusted}{own}")?;
    }
    writeln!(
        out,
        "  sessions    {} × {}, window {}",
        account.binds,
        account.bind.as_str(),
        account.window
    )?;
    writeln!(out, "  rate        {}", rate(account.rate))?;
    writeln!(
        out,
        "  timing      answer {}, enquire_link {}, reconnect {}..{}",
        duration::write(account.response_timeout),
        duration::write(account.enquire_link),
        duration::write(account.reconnect.0),
        duration::write(account.reconnect.1)
    )?;
    let by_form = |number: Option<u8>| number.map_or("by form".to_owned(), |n| n.to_string());
    writeln!(
        out,
        "  sender      {}, ton {}, npi {}",
        account
            .sender
            .as_ref()
            .map_or("the carrier's own".to_owned(), ToString::to_string),
        by_form(account.source_ton),
        by_form(account.source_npi)
    )?;
    if let Some(number) = &account.stop {
        writeln!(out, "  stop        by a message to {number}")?;
    }
    writeln!(
        out,
        "  recipients  ton {}, npi {}",
        account.dest_ton, account.dest_npi
    )?;
    writeln!(
        out,
        "  types       system_type {:?}, service_type {:?}, data_coding {}",
        account.system_type, account.service_type, account.data_coding_gsm
    )?;
    writeln!(out, "  inbound     to tenant {}", account.tenant)?;
    let wire = &account.wire;
    let flags = wire.priority_flags.map(|flag| flag.to_string()).join(" ");
    writeln!(
        out,
        "  wire        SMPP {}, concatenation {}, registered_delivery {}, protocol_id {}, priority_flag {flags}",
        wire.version.as_str(),
        wire.concatenation.as_str(),
        wire.registered_delivery,
        wire.protocol_id
    )?;
    if wire.source != SourceNumbering::default() {
        let SourceNumbering {
            alphanumeric: a,
            short: s,
            international: i,
        } = wire.source;
        writeln!(
            out,
            "  numbering   alphanumeric {}/{}, short {}/{}, international {}/{}",
            a.ton, a.npi, s.ton, s.npi, i.ton, i.npi
        )?;
    }
    for tlv in &wire.tlvs {
        let octets: String = tlv
            .value
            .iter()
            .map(|octet| format!("{octet:02X}"))
            .collect();
        writeln!(out, "  tlv         0x{:04X} = {octets}", tlv.tag)?;
    }
    write_texts(out, account)?;
    if !account.invalid_errors.is_empty() {
        let codes = account.invalid_errors.join(" ");
        writeln!(out, "  no number   err: {codes} in receipts")?;
    }
    for (status, class) in account.refusals.overrides() {
        writeln!(
            out,
            "  refusals    {} is {}",
            status_text(status),
            class.word()
        )?;
    }
    Ok(())
}

fn write_modem(out: &mut String, modem: &ModemAccount) -> std::fmt::Result {
    writeln!(out, "modem {}", modem.name)?;
    writeln!(
        out,
        "  device      {}, {} bit/s",
        modem.device.display(),
        modem.baud
    )?;
    let pin = if modem.pin.is_some() {
        "PIN ****"
    } else {
        "no PIN"
    };
    let centre = modem.service_centre.as_ref().map_or_else(
        || "its own SMSC address".to_owned(),
        |number| format!("SMSC {number}"),
    );
    writeln!(out, "  SIM         {pin}, {centre}")?;
    writeln!(out, "  rate        {}", rate(modem.rate))?;
    let limit = |limit: Option<u32>| limit.map_or("any number of".to_owned(), |n| n.to_string());
    writeln!(
        out,
        "  budget      {} messages in 24h, {} recipients in 30d",
        limit(modem.rules.daily_limit),
        limit(modem.rules.recipients_30d)
    )?;
    writeln!(
        out,
        "  timing      answer {}, rest {}, sweep {}, check {}, reopen {}..{}",
        duration::write(modem.submit_timeout),
        duration::write(modem.rest),
        duration::write(modem.sweep),
        duration::write(modem.check),
        duration::write(modem.reopen.0),
        duration::write(modem.reopen.1)
    )?;
    writeln!(
        out,
        "  in doubt    rests {}, for a status report to settle it",
        duration::write(modem.rules.in_doubt_grace)
    )?;
    if let Some(code) = &modem.ussd_balance {
        let every = duration::write(modem.ussd_every);
        writeln!(out, "  balance     {code} every {every}")?;
    }
    if !modem.power_command.is_empty() {
        let command = modem.power_command.join(" ");
        writeln!(out, "  power       {command} {}", modem.device.display())?;
    }
    writeln!(out, "  inbound     to tenant {}", modem.tenant)
}

fn write_guard(out: &mut String, policy: &Policy) -> std::fmt::Result {
    let rules = &policy.guard;
    let countries = match rules.countries.as_deref() {
        None => own_country(&policy.default_country).to_owned(),
        Some(countries) => countries.join(" "),
    };
    let limit = |most: u32| match most {
        0 => "any number".to_owned(),
        most => most.to_string(),
    };
    let spend = rules.daily_spend.as_deref();
    let spend = spend.map_or_else(String::new, |euros| format!(", {euros} euros a day"));
    writeln!(
        out,
        "guard         to {countries}; {} names reserved, {} too general",
        rules.reserved_senders.len(),
        rules.generic_senders.len()
    )?;
    let limits = &rules.limits;
    writeln!(
        out,
        "              a recipient {} an hour, {} a day; a prefix {} in 10m; {} consecutive numbers{spend}",
        limit(limits.recipient_hourly),
        limit(limits.recipient_daily),
        limit(limits.prefix_burst),
        limit(limits.consecutive)
    )
}

fn write_inbound(out: &mut String, rules: &InboundRules) -> std::fmt::Result {
    let words = |wish| {
        let words: Vec<_> = rules.keywords.of(wish).collect();
        if words.is_empty() {
            "nothing".to_owned()
        } else {
            words.join(" ")
        }
    };
    writeln!(
        out,
        "inbound       out by {}, in again by {}, missing parts awaited {}",
        words(Wish::Stop),
        words(Wish::Start),
        duration::write(rules.parts_timeout)
    )
}

fn write_portability(out: &mut String, portability: &Portability) -> std::fmt::Result {
    let mut asked = Vec::new();
    if let Some(table) = &portability.table {
        asked.push(format!("a table of {} numbers and prefixes", table.len()));
    }
    if let Some(service) = &portability.service {
        asked.push(format!(
            "{} (awaited {}, believed {})",
            service.host(),
            duration::write(service.timeout),
            duration::write(service.keep)
        ));
    }
    if asked.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "portability   {}, then the prefix",
        asked.join(", then ")
    )
}

fn write_texts(out: &mut String, account: &SmppAccount) -> std::fmt::Result {
    let rules = &account.text;
    let default = match rules.alphabet {
        DefaultAlphabet::Gsm => "GSM 03.38",
        DefaultAlphabet::Latin1 => "Latin-1",
        DefaultAlphabet::Ascii => "ASCII",
    };
    let next = if rules.latin1 {
        ", then Latin-1 (3)"
    } else {
        ""
    };
    let replaced = if rules.transliterate {
        ", characters replaced to avoid it"
    } else {
        ""
    };
    let packed = if account.packed_gsm {
        ", GSM comes in packed"
    } else {
        ""
    };
    writeln!(
        out,
        "  texts       {default}{next}, then Unicode{replaced}{packed}"
    )
}

fn write_operator(out: &mut String, operator: &Operator) -> std::fmt::Result {
    writeln!(out, "operator {}", operator.name)?;
    let prefixes: Vec<_> = operator.prefixes.iter().map(|p| format!("+{p}")).collect();
    writeln!(
        out,
        "  prefixes    {}",
        if prefixes.is_empty() {
            "every number that no prefix names".to_owned()
        } else {
            prefixes.join(" ")
        }
    )?;
    let steps: Vec<_> = operator
        .route
        .iter()
        .map(|step| {
            let names: Vec<_> = step.iter().map(ToString::to_string).collect();
            names.join("|")
        })
        .collect();
    writeln!(out, "  route       {}", steps.join(" → "))?;
    if steps.len() > 1 {
        let after = duration::write(operator.failover_after);
        writeln!(out, "  next step   once one is unusable for {after}")?;
    }
    writeln!(out, "  validity    {}", duration::write(operator.validity))?;
    let waits: Vec<_> = operator
        .retry
        .0
        .iter()
        .map(|w| duration::write(*w))
        .collect();
    writeln!(
        out,
        "  retry       {}",
        if waits.is_empty() {
            "never".to_owned()
        } else {
            waits.join(" ")
        }
    )?;
    let on_doubt = match operator.on_doubt {
        OnDoubt::Resend => "resend (at least once)",
        OnDoubt::Fail => "fail (at most once)",
    };
    writeln!(out, "  on doubt    {on_doubt}")?;
    if operator.rate.interval().is_some() {
        writeln!(out, "  rate        {}", rate(operator.rate))?;
    }
    let zone = operator.timezone;
    if !operator.hours.are_always() {
        writeln!(out, "  hours       {}, {zone}", operator.hours)?;
    }
    if let Some(name) = &operator.named_hours {
        writeln!(out, "  hours       {name}")?;
    }
    if let Some(territory) = &operator.territory {
        writeln!(out, "  territory   {territory}, {zone}")?;
    }
    Ok(())
}
