//! Server-sent events, as they come in pieces
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>), as far as
//! our own daemon writes them.

/// Longest event that is kept: a message with its history has a few KiB.
const LONGEST: usize = 1 << 20;

/// What has come of the stream and is no whole event yet.
#[derive(Debug, Default)]
pub(super) struct Events {
    rest: Vec<u8>,
    event: String,
    data: String,
}

impl Events {
    /// The events that these octets complete: each its name and its data.
    pub(super) fn take_in(&mut self, octets: &[u8]) -> Vec<(String, String)> {
        let mut whole = Vec::new();
        for piece in octets.split_inclusive(|octet| *octet == b'\n') {
            self.rest.extend_from_slice(piece);
            if self.rest.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.rest);
                let line = String::from_utf8_lossy(&line);
                whole.extend(self.line(line.trim_end_matches(['\n', '\r'])));
            }
        }
        if self.rest.len() + self.data.len() > LONGEST {
            *self = Self::default();
        }
        whole
    }

    fn line(&mut self, line: &str) -> Option<(String, String)> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            let data = std::mem::take(&mut self.data);
            return (!data.is_empty()).then_some((event, data));
        }
        // A line that begins with a colon is a comment: the daemon says that it lives.
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" if self.data.is_empty() => value.clone_into(&mut self.data),
            "data" => {
                self.data.push('\n');
                self.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": alive\n\nevent: message.sent\nid: 1:2\ndata: {\"to\":\"é\"}\n\n\
        event: lagged\r\ndata:1\r\ndata: 2\r\n\r\nevent: none\n\n";

    #[test]
    fn events_are_whole_however_the_octets_are_cut() {
        let expected = [("message.sent", "{\"to\":\"é\"}"), ("lagged", "1\n2")];
        let expected = expected.map(|(event, data)| (event.to_owned(), data.to_owned()));
        for size in 1..STREAM.len() {
            let mut events = Events::default();
            let pieces = STREAM.as_bytes().chunks(size);
            let got: Vec<_> = pieces.flat_map(|piece| events.take_in(piece)).collect();
            assert_eq!(got, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_without_an_end_does_not_fill_the_memory() {
        let mut events = Events::default();
        for _ in 0..100 {
            assert!(events.take_in(&vec![b'x'; 64 << 10]).is_empty());
            assert!(events.rest.len() <= LONGEST);
        }
    }
}
