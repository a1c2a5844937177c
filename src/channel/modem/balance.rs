//! The balance of a SIM: a short dialogue with the network by USSD (3GPP TS 27.007 §7.15).
//!
//! The question's `OK` comes before the network's answer or after it. What an operator answers is a
//! text for people, and shown as it is: nothing is concluded from it.

use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};

use super::answer::Ussd;
use super::at::{At, AtError, Command, News};
use super::unsolicited::Unsolicited;
use crate::pdu::tpdu::{hex_of_octets, octets_of_hex};
use crate::pdu::{gsm7, packing, ucs2};

/// Most characters of an answer that are kept.
pub const MAX_CHARACTERS: usize = 160;

/// Most news that are kept for the caller meanwhile; chatter is not.
const MAX_KEPT: usize = 512;

/// How long `OK` alone may take.
const OK_WITHIN: Duration = Duration::from_secs(15);

/// After a word of the network that the dialogue is over, an answer may still come for so long.
const RELEASED: Duration = Duration::from_secs(5);

/// Why there is no balance to show.
#[derive(Debug, Error)]
pub enum UssdError {
    /// The dialogue with the modem failed.
    #[error(transparent)]
    At(#[from] AtError),
    /// The code has characters that cannot be dialled.
    #[error("the USSD code holds something else than digits, * and #")]
    Code,
    /// The network answered without a text.
    #[error("the network answered without a text ({})", meaning(*.0))]
    NoText(u8),
    /// No answer in time: usual where there is only LTE.
    #[error("no answer from the network within {} s", .0.as_secs())]
    NoAnswer(Duration),
}

impl UssdError {
    /// True if there is no use in writing to this port any more.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        matches!(self, Self::At(error) if error.is_lost())
    }
}

/// `<m>` of `+CUSD` for a dialogue that the network has ended.
const ENDED: u8 = 2;

/// What `<m>` means.
const fn meaning(state: u8) -> &'static str {
    match state {
        0 => "done",
        1 => "it asks for more",
        ENDED => "it has ended the dialogue",
        3 => "another client has answered",
        4 => "not supported",
        5 => "time-out",
        _ => "for a reason of its own",
    }
}

/// Asks the network by this code, for example `#123#`, and waits for its answer up to `within`; 60 s
/// are not too much. Nothing may be sent meanwhile. What else the modem says stays with it as news.
///
/// # Errors
/// [`UssdError`]; only [`UssdError::At`] says something about the modem.
pub async fn ask<S>(at: &mut At<S>, code: &str, within: Duration) -> Result<String, UssdError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if code.is_empty()
        || !code
            .chars()
            .all(|c| c.is_ascii_digit() || "*#+".contains(c))
    {
        return Err(UssdError::Code);
    }
    let mut dialogue = Dialogue {
        at,
        kept: Vec::new(),
    };
    // An answer that nobody has waited for is not the answer to this question.
    while let Some(news) = dialogue.at.take_news() {
        dialogue.keep(news);
    }
    dialogue.converse(code, within).await
}

/// A question under way, with what was said meanwhile and is not its business: that goes back when
/// it ends, however it ends.
struct Dialogue<'a, S> {
    at: &'a mut At<S>,
    kept: Vec<News>,
}

impl<S> Drop for Dialogue<'_, S> {
    fn drop(&mut self) {
        self.at.put_back(std::mem::take(&mut self.kept));
    }
}

impl<S> Dialogue<'_, S> {
    fn keep(&mut self, news: News) {
        let is_ours = matches!(
            news,
            News::Said(_, Unsolicited::Ussd(_) | Unsolicited::Chatter)
        );
        if !is_ours && self.kept.len() < MAX_KEPT {
            self.kept.push(news);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Dialogue<'_, S> {
    async fn converse(&mut self, code: &str, within: Duration) -> Result<String, UssdError> {
        // Huawei's want packed septets until they are told otherwise; the others do not know the
        // word.
        self.optional("AT^USSDMODE=0").await?;
        match self.dial(code, within).await {
            Err(AtError::Refused { .. }) => {
                // One that does not know that word either, and understands nothing else.
                let septets = gsm7::encode(code).unwrap_or_default();
                let packed = hex_of_octets(&packing::pack(&septets, 0));
                self.dial(&packed, within).await?;
            }
            dialled => dialled?,
        }
        let answered = timeout(within, self.answer()).await;
        let result = answered.unwrap_or(Err(UssdError::NoAnswer(within)));
        let stays_open = match &result {
            Ok((_, stays_open)) => *stays_open,
            Err(UssdError::NoAnswer(_)) => true,
            Err(_) => false,
        };
        if stays_open {
            self.optional("AT+CUSD=2").await?;
        }
        result.map(|(text, _)| text)
    }

    async fn dial(&mut self, code: &str, within: Duration) -> Result<(), AtError> {
        // Some give `OK` only behind the answer.
        let dial = Command::new(format!("AT+CUSD=1,\"{code}\",15"))
            .within(within.max(OK_WITHIN))
            .shown_as("AT+CUSD=1");
        self.at.command(&dial).await.map(drop)
    }

    /// Runs a command that may be refused, or not answered.
    async fn optional(&mut self, text: &str) -> Result<(), AtError> {
        match self.at.command(&Command::new(text)).await {
            Ok(_) | Err(AtError::Refused { .. } | AtError::TimedOut { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The network's answer, and whether it wants another one.
    async fn answer(&mut self) -> Result<(String, bool), UssdError> {
        let released = sleep(Duration::MAX);
        tokio::pin!(released);
        loop {
            let news = tokio::select! {
                biased;
                news = self.at.next_news() => news?,
                () = &mut released => return Err(UssdError::NoText(ENDED)),
            };
            let ussd = match news {
                News::Said(_, Unsolicited::Ussd(ussd)) => ussd,
                News::Restarted(sign) => {
                    self.keep(News::Restarted(sign));
                    return Err(AtError::Restarted(sign).into());
                }
                news => {
                    self.keep(news);
                    continue;
                }
            };
            match (text(&ussd), ussd.state) {
                // The end may be told before the answer.
                (None, ENDED) => {}
                (Some(text), ENDED) if text == "Initiating Release" => {}
                (Some(text), state @ 0..=ENDED) => return Ok((text, state == 1)),
                (_, state) => return Err(UssdError::NoText(state)),
            }
            released.set(sleep(RELEASED));
        }
    }
}

/// The text of an answer in one line; `None` if there is none.
#[must_use]
pub fn text(ussd: &Ussd) -> Option<String> {
    let written = ussd.text.as_deref()?;
    let read = decoded(written, ussd.dcs).unwrap_or_else(|| written.to_owned());
    let visible: String = read
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let words: Vec<&str> = visible.split_whitespace().collect();
    let line: String = words.join(" ").chars().take(MAX_CHARACTERS).collect();
    (!line.is_empty()).then_some(line)
}

/// Reads hexadecimal digits that stand for something: UCS-2 where the coding says so (3GPP TS 23.038
/// clause 5) or each unit reads like a letter, else packed septets where these read like a text.
fn decoded(written: &str, dcs: Option<u8>) -> Option<String> {
    let octets = octets_of_hex(written)
        .ok()
        .filter(|octets| octets.len() > 1)?;
    let says_ucs2 = dcs.is_some_and(is_ucs2);
    if octets.len() % 2 == 0 {
        let text = ucs2::decode(&octets);
        if says_ucs2 || octets.len() >= 4 && text.chars().all(is_usual) {
            return Some(text);
        }
    }
    let septets = gsm7::unpack(&octets, 0);
    let text = gsm7::decode(&septets);
    // A padding of 7 bits is written as a carriage return.
    let text = text.trim_end_matches('\r');
    let long = octets.len() >= 4;
    (long && text.chars().all(is_usual)).then(|| text.to_owned())
}

/// Coding groups of cell broadcasts and USSD: 0x11 is UCS-2 behind a language, 0x48 and its like are
/// UCS-2 in the general group.
const fn is_ucs2(dcs: u8) -> bool {
    dcs == 0x11 || matches!(dcs, 0x40..=0x7F) && dcs & 0x0C == 0x08 || dcs == 0x08
}

/// A character of a balance in a European language.
fn is_usual(c: char) -> bool {
    matches!(c, '\n' | '\r' | ' '..='~' | '\u{A0}'..='\u{17F}' | '’' | '€' | '–' | '…')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;

    use super::super::scripted::{Reply, Scripted};
    use super::*;

    const OK: &str = "\r\nOK\r\n";
    const WITHIN: Duration = Duration::from_secs(60);

    /// A modem that answers the question with this, after `^USSDMODE` as `mode` says.
    fn modem(mode: &'static str, answer: &[Reply]) -> (At<Scripted>, Arc<Mutex<Vec<String>>>) {
        let answer = answer.to_vec();
        let modem = Scripted::new(move |line| match line {
            "\u{1b}" => Vec::new(),
            "AT^USSDMODE=0" => super::super::scripted::says(mode),
            "AT+CUSD=1,\"#123#\",15" => answer.clone(),
            _ => super::super::scripted::says(OK),
        });
        let written = modem.written.clone();
        (At::new(modem), written)
    }

    fn said(text: &str) -> Reply {
        Reply::Says(text.as_bytes().to_vec())
    }

    async fn asked(answer: &[Reply]) -> (Result<String, UssdError>, Vec<String>, At<Scripted>) {
        let (mut at, written) = modem("\r\nCOMMAND NOT SUPPORT\r\n", answer);
        let result = ask(&mut at, "#123#", WITHIN).await;
        let written = written.lock().unwrap().clone();
        (result, written, at)
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_comes_before_ok_or_behind_it_or_after_the_end() {
        let wait = || Reply::Waits(Duration::from_secs(5));
        let balance = "\r\n+CUSD: 0,\"Solde : 4,20 EUR\",15\r\n";
        for answer in [
            vec![said(OK), wait(), said(balance)],
            vec![wait(), said(balance), wait(), said(OK)],
            vec![
                said("\r\n+CUSD: 2,\"Initiating Release\",15\r\n"),
                said(balance),
                said(OK),
            ],
            vec![
                said(OK),
                said("\r\n+CUSD: 2\r\n"),
                wait_short(),
                said(balance),
            ],
            vec![
                said(OK),
                said("\r\n+CUSD: 2,\"Solde : 4,20\r\nEUR\",15\r\n"),
            ],
            vec![said(OK), said("\r\n^RSSI:18\r\n"), said(balance)],
        ] {
            let (result, written, _) = asked(&answer).await;
            assert_eq!(result.unwrap(), "Solde : 4,20 EUR", "{answer:?}");
            assert!(!written.contains(&"AT+CUSD=2".to_owned()));
        }
    }

    fn wait_short() -> Reply {
        Reply::Waits(Duration::from_secs(1))
    }

    #[tokio::test(start_paused = true)]
    async fn a_menu_is_closed_and_a_network_that_says_nothing_too() {
        let menu = [said(OK), said("\r\n+CUSD: 1,\"1 Solde\r\n2 Aide\",15\r\n")];
        let (result, written, _) = asked(&menu).await;
        assert_eq!(result.unwrap(), "1 Solde 2 Aide");
        assert_eq!(written.last().unwrap(), "AT+CUSD=2");
        let (result, written, _) = asked(&[said(OK)]).await;
        assert!(matches!(result, Err(UssdError::NoAnswer(_))), "{result:?}");
        assert_eq!(written.last().unwrap(), "AT+CUSD=2");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_answer_says_why() {
        for (line, words) in [
            (
                "+CUSD: 4",
                "the network answered without a text (not supported)",
            ),
            ("+CUSD: 5", "the network answered without a text (time-out)"),
            ("+CUSD: 0", "the network answered without a text (done)"),
            (
                "+CUSD: 2",
                "the network answered without a text (it has ended the dialogue)",
            ),
        ] {
            let (result, ..) = asked(&[said(OK), said(&format!("\r\n{line}\r\n"))]).await;
            assert_eq!(result.unwrap_err().to_string(), words);
        }
        let (result, ..) = asked(&[said("\r\n+CME ERROR: 30\r\n")]).await;
        // The second try, in packed septets, is answered and leads to nothing.
        assert!(matches!(result, Err(UssdError::NoAnswer(_))), "{result:?}");
        let (result, ..) = asked(&[Reply::Closes]).await;
        assert!(result.unwrap_err().is_lost());
        let (result, ..) = asked(&[said("\r\nRDY\r\n")]).await;
        assert!(
            matches!(result, Err(UssdError::At(AtError::Restarted(_)))),
            "{result:?}"
        );
        let (mut at, written) = modem(OK, &[]);
        let error = ask(&mut at, "*100#\r\nAT+CFUN=0", WITHIN)
            .await
            .unwrap_err();
        assert!(matches!(error, UssdError::Code), "{error}");
        assert_eq!(written.lock().unwrap().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_else_is_said_stays_with_the_modem_in_its_order() {
        let answer = [
            said("\r\n+CMTI: \"SM\",1\r\n"),
            said(OK),
            said("\r\n+CDS: 25\r\n0006230E9126983575169498610103409544C26101034095448200\r\n"),
            said("\r\n+CUSD: 0,\"ok\",15\r\n\r\n+CMTI: \"SM\",2\r\n"),
        ];
        let (result, _, mut at) = asked(&answer).await;
        assert_eq!(result.unwrap(), "ok");
        let mut names = Vec::new();
        while let Ok(news) = timeout(Duration::from_secs(1), at.next_news()).await {
            match news.unwrap() {
                News::Said(entry, _) => names.push(entry.name().to_owned()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(names, ["+CMTI", "+CDS", "+CMTI"]);
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_the_question_loses_no_news() {
        let answer = [said(OK), said("\r\n+CMTI: \"SM\",1\r\n")];
        let (mut at, _) = modem(OK, &answer);
        let question = ask(&mut at, "#123#", WITHIN);
        assert!(timeout(Duration::from_secs(10), question).await.is_err());
        assert!(matches!(at.take_news(), Some(News::Said(entry, _)) if entry.name() == "+CMTI"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_answer_is_not_taken_for_this_one() {
        let scripted = Scripted::new(|line| match line {
            "\u{1b}" => Vec::new(),
            _ if line.starts_with("AT+CUSD=1") => {
                vec![said(OK), said("\r\n+CUSD: 0,\"new\",15\r\n")]
            }
            _ => vec![said(OK)],
        });
        let mut at = At::new(scripted.saying_first("\r\n+CUSD: 0,\"old\",15\r\n"));
        at.resynchronise().await.unwrap();
        assert_eq!(ask(&mut at, "#123#", WITHIN).await.unwrap(), "new");
    }

    fn read(text: &str, dcs: Option<u8>) -> Option<String> {
        let (state, text) = (0, Some(text.to_owned()));
        super::text(&Ussd { state, text, dcs })
    }

    #[test]
    fn hexadecimal_is_read_where_it_stands_for_something() {
        let solde = "0053006F006C006400650020003A00200034002C00320030002020AC";
        for dcs in [Some(72), Some(17), Some(15), None] {
            assert_eq!(
                read(solde, dcs).as_deref(),
                Some("Solde : 4,20 €"),
                "{dcs:?}"
            );
        }
        assert_eq!(read("041404300020", Some(72)).as_deref(), Some("Да"));
        let packed = hex_of_octets(&packing::pack(
            &gsm7::encode("Credit: 12.50 EUR").unwrap(),
            0,
        ));
        assert_eq!(
            read(&packed, Some(15)).as_deref(),
            Some("Credit: 12.50 EUR")
        );
        // Seven characters are padded with a carriage return.
        let packed = hex_of_octets(&packing::pack(&gsm7::encode("Seven 7\r").unwrap(), 0));
        assert_eq!(read(&packed, Some(15)).as_deref(), Some("Seven 7"));
        for plain in ["1250", "12,50", "Solde 12", "ACE", "1234567"] {
            assert_eq!(read(plain, Some(15)).as_deref(), Some(plain));
        }
    }

    #[test]
    fn a_text_is_one_short_line_without_control_characters() {
        assert_eq!(
            read("a\u{7}b\n\n c\u{1b}[2J ", Some(15)).as_deref(),
            Some("a b c [2J")
        );
        assert_eq!(read(" \n ", Some(15)), None);
        assert_eq!(
            read(&"é".repeat(500), Some(15)).unwrap().chars().count(),
            MAX_CHARACTERS
        );
    }

    proptest! {
        #[test]
        fn any_answer_is_a_short_line_or_nothing(text: String, hex: Vec<u8>, dcs: Option<u8>) {
            for text in [text, hex_of_octets(&hex)] {
                if let Some(line) = read(&text, dcs) {
                    prop_assert!(!line.is_empty() && line.chars().count() <= MAX_CHARACTERS);
                    prop_assert!(!line.chars().any(char::is_control));
                }
            }
        }
    }
}
