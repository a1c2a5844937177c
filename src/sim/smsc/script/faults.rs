//! What goes wrong on a connection, and when.

use serde::Deserialize;

/// Something that goes wrong: at a `submit_sm`, on the connection that it came on; or at a time, on
/// every connection.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// At this `submit_sm`, counted from 1 over all connections.
    pub at_submit: Option<u64>,
    /// At every multiple of `at_submit`.
    pub every: bool,
    /// Once, after this many milliseconds.
    pub after_ms: Option<u64>,
    /// What happens.
    pub kind: FaultKind,
    /// How long a silence lasts; until the other side has enough of it if absent.
    pub for_ms: Option<u64>,
    /// The message of that `submit_sm` is taken and reported on, though it may stay unanswered.
    pub taken: bool,
    /// What `raw` writes.
    pub octets: Octets,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The connection is closed; the `submit_sm` is not answered.
    #[default]
    Close,
    /// The connection is reset (TCP `RST`); the `submit_sm` is not answered.
    Reset,
    /// The `submit_sm` is treated as ever; then the SMSC wants to unbind.
    Unbind,
    /// Nothing is read or answered any more, with the connection open; nor is the `submit_sm`.
    Silence,
    /// The `submit_sm` is answered by `generic_nack`. At a time: a `generic_nack` to nothing.
    Nack,
    /// The `submit_sm` is treated as ever; then `octets` are written as they are.
    Raw,
}

/// Octets, in a script as hexadecimal digits with or without spaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Octets(pub Vec<u8>);

impl TryFrom<String> for Octets {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let octet = |at: usize| {
            let pair = digits.get(at..at + 2)?;
            u8::from_str_radix(pair, 16)
                .ok()
                .filter(|_| !pair.starts_with('+'))
        };
        (0..digits.len())
            .step_by(2)
            .map(octet)
            .collect::<Option<Vec<u8>>>()
            .map(Self)
            .ok_or_else(|| "octets are pairs of hexadecimal digits".to_owned())
    }
}
