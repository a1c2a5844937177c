//! Octets from a modem → lines and prompts.
//!
//! A line ends at CR or LF, whichever comes: modems write CR LF, an echo ends in CR alone, some
//! results end in CR CR LF (3GPP TS 27.007 §4.1 asks for CR LF around each). Lines of blanks are
//! nothing. SUB and ESC end a line too, because only an echo of our own dialogue holds them.
//!
//! The prompt of `AT+CMGS` has no line end (3GPP TS 27.005 §4.3): `>` at the start of a line is a
//! prompt as soon as it is there, with or without a blank after it, whatever comes before or after.
//!
//! Invariant: what comes out depends on the octets alone, never on how they were cut into reads.

use std::collections::VecDeque;

/// Longest line in octets. The longest that means something is a stored PDU in hex (about 380), or a
/// USSD text in UCS-2 hex (about 740).
pub const MAX_LINE: usize = 2_048;

const CR: u8 = b'\r';
const LF: u8 = b'\n';
const SUB: u8 = 0x1A;
const ESC: u8 = 0x1B;
const TAB: u8 = b'\t';

/// The one result whose quoted string may run over several lines (3GPP TS 27.007 §7.15).
const USSD: &str = "+CUSD:";

/// What a modem has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A line without its end and without blanks around it; never empty. A `+CUSD` text keeps its
    /// own line ends, as `\n`.
    Line(String),
    /// The prompt that asks for a PDU.
    Prompt,
    /// A line longer than [`MAX_LINE`], dropped.
    TooLong,
}

/// The line that is being received. Holds at most [`MAX_LINE`] octets.
#[derive(Debug, Default)]
pub struct Lines {
    text: Vec<u8>,
    after_cr: bool,
    /// In the rest of a line that was too long.
    skipping: bool,
}

impl Lines {
    /// Takes octets as they came, and appends what they complete: at most two tokens an octet.
    pub fn push(&mut self, octets: &[u8], out: &mut VecDeque<Token>) {
        for &octet in octets {
            let after_cr = std::mem::replace(&mut self.after_cr, octet == CR);
            match octet {
                LF if after_cr => {}
                CR | LF | SUB | ESC => self.end(out),
                _ if self.skipping => {}
                TAB | b' ' if self.text.is_empty() => {}
                b'>' if self.text.is_empty() => out.push_back(Token::Prompt),
                // NULs and the like: noise of a line that opens or closes.
                0..=0x1F | 0x7F if octet != TAB => {}
                _ if self.text.len() == MAX_LINE => self.overflow(out),
                _ => self.text.push(octet),
            }
        }
    }

    fn overflow(&mut self, out: &mut VecDeque<Token>) {
        self.text.clear();
        self.skipping = true;
        out.push_back(Token::TooLong);
    }

    fn end(&mut self, out: &mut VecDeque<Token>) {
        self.skipping = false;
        if self.text.is_empty() {
            return;
        }
        if !has_open_quote(&self.text) {
            emit(&self.text, out);
            self.text.clear();
            return;
        }
        // A quote that never closes must not swallow the result of a command.
        let last = self
            .text
            .iter()
            .rposition(|&octet| octet == LF)
            .map_or(0, |at| at + 1);
        let ends = matches!(self.text.get(last..), Some(b"OK" | b"ERROR"));
        if ends {
            emit(&self.text[..last], out);
            emit(&self.text[last..], out);
            self.text.clear();
        } else if self.text.len() == MAX_LINE {
            self.overflow(out);
            self.skipping = false;
        } else {
            self.text.push(LF);
        }
    }
}

fn emit(text: &[u8], out: &mut VecDeque<Token>) {
    // Operators' names come in whatever alphabet the modem has; Latin-1 gives each octet a
    // character, so that nothing is lost and nothing fails.
    let line = std::str::from_utf8(text).map_or_else(
        |_| text.iter().copied().map(char::from).collect(),
        str::to_owned,
    );
    let line = line.trim();
    if !line.is_empty() {
        out.push_back(Token::Line(line.to_owned()));
    }
}

/// True for a USSD answer whose text goes on: a closed one ends in its quote or in `",<dcs>`.
fn has_open_quote(text: &[u8]) -> bool {
    if !text.starts_with(USSD.as_bytes()) {
        return false;
    }
    let mut quotes = (0..text.len()).filter(|&at| text[at] == b'"');
    let Some(first) = quotes.next() else {
        return false;
    };
    let Some(last) = quotes.next_back() else {
        return true;
    };
    let tail = text[last + 1..].trim_ascii();
    let closed = last > first
        && (tail.is_empty()
            || tail
                .strip_prefix(b",")
                .is_some_and(|dcs| dcs.trim_ascii().iter().all(u8::is_ascii_digit)));
    !closed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<Token> {
        let (mut lines, mut out) = (Lines::default(), VecDeque::new());
        for piece in pieces {
            lines.push(piece, &mut out);
        }
        out.into()
    }

    fn line(text: &str) -> Token {
        Token::Line(text.to_owned())
    }

    #[test]
    fn every_prompt_form_is_one_prompt() {
        for form in [
            "\r\n> ",
            "> ",
            "\n>",
            "> \r\n",
            "\r\n>",
            "\r\r\n> \r\n",
            " > ",
        ] {
            assert_eq!(read(&[form.as_bytes()]), [Token::Prompt], "{form:?}");
        }
        assert_eq!(
            read(&[b"> +CMGS: 4\r\n"]),
            [Token::Prompt, line("+CMGS: 4")]
        );
    }

    #[test]
    fn a_greater_than_sign_inside_a_line_is_no_prompt() {
        assert_eq!(read(&[b"a > b\r\n"]), [line("a > b")]);
        let menu = b"+CUSD: 1,\"Menu\r\n> Solde\r\n> Aide\",15\r\n";
        assert_eq!(
            read(&[menu]),
            [line("+CUSD: 1,\"Menu\n> Solde\n> Aide\",15")]
        );
    }

    #[test]
    fn every_line_end_is_understood() {
        let all =
            b"AT+CSQ\r\r\n+CSQ: 9,99\r\n\r\nOK\r\n^MODE:5,4\r\r\nRDY\nAT\r\0\0\r\n WAVECOM \r\n";
        assert_eq!(
            read(&[all]),
            [
                "AT+CSQ",
                "+CSQ: 9,99",
                "OK",
                "^MODE:5,4",
                "RDY",
                "AT",
                "WAVECOM"
            ]
            .map(line)
        );
    }

    #[test]
    fn the_echo_of_a_pdu_is_a_line_of_its_own() {
        assert_eq!(
            read(&[b"\r\n> 0001\x1a\r\n+CMGS: 1\r\n"]),
            [Token::Prompt, line("0001"), line("+CMGS: 1")]
        );
    }

    #[test]
    fn a_quote_that_never_closes_does_not_hide_the_result() {
        assert_eq!(
            read(&[b"+CUSD: 0,\"Solde\r\n\r\nOK\r\n+CSQ: 1,2\r\n"]),
            ["+CUSD: 0,\"Solde", "OK", "+CSQ: 1,2"].map(line)
        );
        // Elsewhere an odd quote means nothing.
        assert_eq!(
            read(&[b"+CREG: 2,1,\"0B,\"0100701\",7\r\nOK\r\n"]),
            ["+CREG: 2,1,\"0B,\"0100701\",7", "OK"].map(line)
        );
    }

    #[test]
    fn a_line_that_is_too_long_is_said_once_and_the_next_is_whole() {
        let mut octets = vec![b'x'; 3 * MAX_LINE];
        octets.extend_from_slice(b"\r\nOK\r\n");
        assert_eq!(read(&[&octets]), [Token::TooLong, line("OK")]);
    }

    #[test]
    fn octets_that_are_no_utf_8_are_latin_1() {
        assert_eq!(read(&[b"+COPS: \"caf\xe9\"\r"]), [line("+COPS: \"café\"")]);
    }

    /// Octets of the kind that decide something, with others among them.
    fn octets() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"\r\n".to_vec()),
            Just(b"\r".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"> ".to_vec()),
            Just(b"+CUSD: 0,\"".to_vec()),
            Just(b"\",15".to_vec()),
            Just(b"OK".to_vec()),
            Just(b"+CMT: ,24\r\n".to_vec()),
            Just(vec![b'A'; MAX_LINE - 3]),
            proptest::collection::vec(any::<u8>(), 0..6),
        ];
        proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn where_the_reads_are_cut_does_not_matter(
            octets in octets(),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let whole = read(&[&octets]);
            let mut places: Vec<usize> =
                cuts.iter().map(|cut| cut.index(octets.len() + 1)).collect();
            places.sort_unstable();
            let (mut pieces, mut from) = (Vec::new(), 0);
            for place in places {
                pieces.push(&octets[from..place]);
                from = place;
            }
            pieces.push(&octets[from..]);
            prop_assert_eq!(read(&pieces), whole.clone());
            let single: Vec<&[u8]> = octets.chunks(1).collect();
            prop_assert_eq!(read(&single), whole);
        }

        #[test]
        fn lines_are_bounded_and_never_blank(octets in octets()) {
            let (mut lines, mut out) = (Lines::default(), VecDeque::new());
            for octet in octets {
                lines.push(&[octet], &mut out);
                prop_assert!(lines.text.len() <= MAX_LINE);
            }
            for token in out {
                if let Token::Line(text) = token {
                    prop_assert!(!text.is_empty() && text.trim() == text);
                    prop_assert!(text.chars().count() <= MAX_LINE);
                }
            }
        }
    }
}
