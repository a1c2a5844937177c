//! How message ids are written.

use serde::Deserialize;

/// How message ids are made: a number that counts up, written one way in `submit_sm_resp` and
/// maybe another way in receipts.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ids {
    /// The first one.
    pub start: u64,
    /// Form in `submit_sm_resp`.
    pub submitted: IdForm,
    /// Form in receipts.
    pub reported: IdForm,
    /// Padded with zeros to this many characters in `submit_sm_resp`.
    pub submitted_width: usize,
    /// Padded with zeros to this many characters in receipts.
    pub reported_width: usize,
    /// Text before the number in `submit_sm_resp`.
    pub submitted_prefix: String,
    /// Text before the number in receipts.
    pub reported_prefix: String,
}

impl Default for Ids {
    fn default() -> Self {
        Self {
            start: 1,
            submitted: IdForm::Decimal,
            reported: IdForm::Decimal,
            submitted_width: 0,
            reported_width: 0,
            submitted_prefix: String::new(),
            reported_prefix: String::new(),
        }
    }
}

impl Ids {
    /// The id of the message `number` as `submit_sm_resp` writes it.
    #[must_use]
    pub fn submitted(&self, number: u64) -> String {
        self.submitted_prefix.clone() + &self.submitted.write(number, self.submitted_width)
    }

    /// The same as receipts write it.
    #[must_use]
    pub fn reported(&self, number: u64) -> String {
        self.reported_prefix.clone() + &self.reported.write(number, self.reported_width)
    }
}

/// How a number is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdForm {
    /// Decimal.
    #[default]
    Decimal,
    /// Hexadecimal, lower case.
    Hex,
    /// Hexadecimal, upper case.
    HexUpper,
}

impl IdForm {
    /// Writes `number`, padded with zeros to `width`.
    #[must_use]
    pub fn write(self, number: u64, width: usize) -> String {
        match self {
            Self::Decimal => format!("{number:0width$}"),
            Self::Hex => format!("{number:0width$x}"),
            Self::HexUpper => format!("{number:0width$X}"),
        }
    }
}
