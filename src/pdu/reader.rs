//! A cursor over the octets of a PDU, and the error of everything that reads one.
//!
//! Each step names the field that it reads, so that an error says which field could not
//! be read and at which octet: a log line about a broken PDU needs no second look at it.

use super::udh::UdhFault;

/// A PDU that cannot be read: what, where and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}, octet {offset}: {problem}")]
pub struct DecodeError {
    /// The field, by its name in 3GPP TS 23.040 (`TP-UD`), or `PDU` for the whole.
    pub field: &'static str,
    /// The octet, counted from the first of what was given to decode, which is 0. For a
    /// field that is cut off, the octet where it begins.
    pub offset: usize,
    /// What is wrong there.
    pub problem: Problem,
}

impl DecodeError {
    /// The same error, seen from `by` octets further out.
    pub(super) fn behind(mut self, by: usize) -> Self {
        self.offset += by;
        self
    }
}

/// What can be wrong with a PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The line from the modem is no hexadecimal number of whole octets.
    #[error("these are not two hexadecimal digits")]
    NotHexadecimal,
    /// The PDU ends before the field does.
    #[error("{wanted} octets wanted, {have} left")]
    Truncated {
        /// What the field needs.
        wanted: usize,
        /// What is left of the PDU.
        have: usize,
    },
    /// The message type indicator is none that is understood here.
    #[error("message type {found}, not {wanted}")]
    MessageType {
        /// The two bits.
        found: u8,
        /// What they should say.
        wanted: &'static str,
    },
    /// An address is longer than an address can be.
    #[error("{semi_octets} digits, and an address has at most 20")]
    AddressTooLong {
        /// Its length octet.
        semi_octets: u8,
    },
    /// The user data would not fit a short message.
    #[error("{octets} octets, and a short message carries at most 140")]
    UserDataTooLong {
        /// What the length octet comes to.
        octets: usize,
    },
    /// The user data header cannot be told from the text.
    #[error("{0}")]
    Header(UdhFault),
}

/// The octets that are left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    octets: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// At the first octet.
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Self { octets, at: 0 }
    }

    /// How many octets have been read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.octets.get(self.at..).unwrap_or_default()
    }

    /// The next octet.
    pub(super) fn octet(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        let [octet] = self.array(field)?;
        Ok(octet)
    }

    /// The next `N` octets.
    pub(super) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        let Some((array, _)) = self.rest().split_first_chunk() else {
            return Err(self.truncated(field, N));
        };
        self.at += N;
        Ok(*array)
    }

    /// The next `wanted` octets.
    pub(super) fn take(
        &mut self,
        field: &'static str,
        wanted: usize,
    ) -> Result<&'a [u8], DecodeError> {
        let Some((octets, _)) = self.rest().split_at_checked(wanted) else {
            return Err(self.truncated(field, wanted));
        };
        self.at += wanted;
        Ok(octets)
    }

    /// An error about the octet that stands `back` octets before the cursor.
    pub(super) fn fault(&self, field: &'static str, back: usize, problem: Problem) -> DecodeError {
        DecodeError {
            field,
            offset: self.at.saturating_sub(back),
            problem,
        }
    }

    fn truncated(&self, field: &'static str, wanted: usize) -> DecodeError {
        let have = self.rest().len();
        self.fault(field, 0, Problem::Truncated { wanted, have })
    }
}
