//! TP-UD with the TP-DCS that says how to read it and the TP-UDL that says how long it is
//! (3GPP TS 23.040 clauses 9.2.3.10, 9.2.3.16 and 9.2.3.24).
//!
//! Invariants: header and text fit 140 octets; the header's first octet is the length of
//! its others; septets are below 0x80.

use super::dcs::{Alphabet, Dcs};
use super::reader::{DecodeError, Problem, Reader};
use super::udh::{self, Udh, UdhError, UdhFault};
use super::{gsm7, national, packing, ucs2};

/// What one short message carries (clause 9.2.3.24).
const MOST_OCTETS: usize = 140;

/// The name of the field in errors.
const FIELD: &str = "TP-UD";

/// The user data of one TPDU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserData {
    dcs: Dcs,
    alphabet: Alphabet,
    header: Vec<u8>,
    /// One octet a septet if the alphabet is GSM 7 bit and not compressed.
    content: Vec<u8>,
}

/// User data that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserDataError {
    /// It does not fit one short message.
    #[error("the user data takes {octets} octets, and a short message carries at most 140")]
    TooLong {
        /// With the header.
        octets: usize,
    },
    /// The header's first octet is not the length of its others.
    #[error("the user data header of {octets} octets declares another length")]
    Header {
        /// What was given.
        octets: usize,
    },
    /// A septet has 8 bits.
    #[error("0x{0:02X} is no septet")]
    Septet(u8),
    /// The text has a character that the alphabet lacks.
    #[error("the alphabet has no {0:?}")]
    Character(char),
    /// The scheme says 8 bit data or compression, which hold no text.
    #[error("data coding scheme 0x{0:02X} holds no text")]
    NoText(u8),
}

impl UserData {
    /// `content` as it stands: septets, one an octet, where the scheme says GSM 7 bit, else
    /// octets. `header` is a whole user data header with its length octet, or empty.
    ///
    /// # Errors
    /// What breaks an invariant of this type.
    pub fn new(dcs: Dcs, header: &[u8], content: Vec<u8>) -> Result<Self, UserDataError> {
        if let Some((&length, others)) = header.split_first()
            && usize::from(length) != others.len()
        {
            let octets = header.len();
            return Err(UserDataError::Header { octets });
        }
        let data = Self {
            dcs,
            alphabet: dcs.alphabet(),
            header: header.to_vec(),
            content,
        };
        if data.in_septets()
            && let Some(&septet) = data.content.iter().find(|&&septet| septet > 0x7F)
        {
            return Err(UserDataError::Septet(septet));
        }
        let octets = data.octets();
        if octets > MOST_OCTETS {
            return Err(UserDataError::TooLong { octets });
        }
        Ok(data)
    }

    /// `text` in the alphabet of the scheme, behind `header`.
    ///
    /// # Errors
    /// A text that does not fit, or cannot be written in this alphabet.
    pub fn of_text(dcs: Dcs, header: &[u8], text: &str) -> Result<Self, UserDataError> {
        let content = match dcs.alphabet() {
            _ if dcs.compressed() => return Err(UserDataError::NoText(dcs.0)),
            Alphabet::Octets => return Err(UserDataError::NoText(dcs.0)),
            Alphabet::Gsm7 => gsm7::encode(text).map_err(UserDataError::Character)?,
            Alphabet::Ucs2 => ucs2::encode(text),
        };
        Self::new(dcs, header, content)
    }

    /// The data coding scheme.
    #[must_use]
    pub fn dcs(&self) -> Dcs {
        self.dcs
    }

    /// The alphabet that it was read in: the scheme's, but for the schemes F8 to FB that
    /// turned out to hold UCS2.
    #[must_use]
    pub fn alphabet(&self) -> Alphabet {
        self.alphabet
    }

    /// The user data header with its length octet; empty if there is none.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// What the header says.
    ///
    /// # Errors
    /// An element that cannot be read; the text behind the header is still good.
    pub fn udh(&self) -> Result<Udh, UdhError> {
        if self.header.is_empty() {
            return Ok(Udh::default());
        }
        udh::parse(&self.header).map(|(udh, _)| udh)
    }

    /// What is behind the header: septets, one an octet, or octets.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// The text, read with the national language tables that the header names; `None` for
    /// 8 bit data and for compressed text.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        if self.dcs.compressed() {
            return None;
        }
        match self.alphabet {
            Alphabet::Octets => None,
            Alphabet::Ucs2 => Some(ucs2::decode_marked(&self.content)),
            Alphabet::Gsm7 => {
                let udh = self.udh().unwrap_or_default();
                let tables = national::Tables {
                    locking: udh.locking_shift,
                    single: udh.single_shift,
                };
                Some(tables.decode(&self.content))
            }
        }
    }

    /// TP-UDL: septets or octets, header included (clause 9.2.3.16).
    #[must_use]
    pub fn length(&self) -> u8 {
        let length = if self.in_septets() {
            packing::septets_of(self.header.len()) + self.content.len()
        } else {
            self.header.len() + self.content.len()
        };
        // At most 160, by the invariant.
        u8::try_from(length).unwrap_or(u8::MAX)
    }

    fn in_septets(&self) -> bool {
        self.alphabet == Alphabet::Gsm7 && !self.dcs.compressed()
    }

    fn octets(&self) -> usize {
        if self.in_septets() {
            let header = packing::septets_of(self.header.len());
            packing::octets_of(header + self.content.len())
        } else {
            self.header.len() + self.content.len()
        }
    }

    /// Reads TP-UDL and TP-UD; `has_header` is TP-UDHI (clause 9.2.3.23).
    pub(super) fn read(
        dcs: Dcs,
        has_header: bool,
        reader: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        let units = usize::from(reader.octet("TP-UDL")?);
        let alphabet = if means_ucs2(dcs, units, reader.rest().len()) {
            Alphabet::Ucs2
        } else {
            dcs.alphabet()
        };
        let in_septets = alphabet == Alphabet::Gsm7 && !dcs.compressed();
        let wanted = if in_septets {
            packing::octets_of(units)
        } else {
            units
        };
        if wanted > MOST_OCTETS {
            let octets = wanted;
            return Err(reader.fault("TP-UDL", 1, Problem::UserDataTooLong { octets }));
        }
        let octets = reader.take(FIELD, wanted)?;
        let header_ends = match (has_header, octets) {
            (false, _) => 0,
            (true, []) => return Err(reader.fault(FIELD, 0, Problem::Header(UdhFault::Empty))),
            (true, [length, ..]) => usize::from(*length) + 1,
        };
        // A header that ends in the middle of the last septet leaves less than none.
        let taken = packing::septets_of(header_ends);
        let (Some((header, text)), true) = (
            octets.split_at_checked(header_ends),
            !in_septets || taken <= units,
        ) else {
            let fault = UdhFault::HeaderTooLong {
                declared: header_ends.saturating_sub(1),
                available: octets.len().saturating_sub(1),
            };
            return Err(reader.fault(FIELD, octets.len(), Problem::Header(fault)));
        };
        let content = if in_septets {
            let fill = packing::fill_bits(header_ends);
            packing::unpack(text, fill, units.saturating_sub(taken))
        } else {
            text.to_vec()
        };
        Ok(Self {
            dcs,
            alphabet,
            header: header.to_vec(),
            content,
        })
    }

    /// TP-UDL and TP-UD.
    pub(super) fn write(&self, octets: &mut Vec<u8>) {
        octets.push(self.length());
        octets.extend(&self.header);
        if self.in_septets() {
            let fill = packing::fill_bits(self.header.len());
            octets.extend(packing::pack(&self.content, fill));
        } else {
            octets.extend(&self.content);
        }
    }
}

/// True if a scheme with the reserved bit 3 of group 1111 was meant as UCS2, which real
/// senders do: then exactly as many octets follow as the length says, an even number, where
/// septets would need fewer.
fn means_ucs2(dcs: Dcs, units: usize, follow: usize) -> bool {
    dcs.reserved_bit()
        && dcs.alphabet() == Alphabet::Gsm7
        && follow == units
        && units.is_multiple_of(2)
        && packing::octets_of(units) < units
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::pdu::udh::{concat8, concat16};
    use proptest::prelude::*;

    fn read(dcs: u8, has_header: bool, octets: &[u8]) -> Result<UserData, DecodeError> {
        UserData::read(Dcs(dcs), has_header, &mut Reader::new(octets))
    }

    fn written(data: &UserData) -> Vec<u8> {
        let mut octets = Vec::new();
        data.write(&mut octets);
        octets
    }

    #[test]
    fn a_short_message_carries_160_153_or_152_septets() {
        for (header, most) in [
            (&[][..], 160),
            (&concat8(7, 2, 1), 153),
            (&concat16(7, 2, 1), 152),
        ] {
            let fits = UserData::of_text(Dcs::GSM7, header, &"a".repeat(most)).unwrap();
            assert_eq!((fits.length(), written(&fits).len()), (160, 141));
            let over = UserData::of_text(Dcs::GSM7, header, &"a".repeat(most + 1));
            assert_eq!(over, Err(UserDataError::TooLong { octets: 141 }));
        }
        for (header, most) in [
            (&[][..], 70),
            (&concat8(7, 2, 1), 67),
            (&concat16(7, 2, 1), 66),
        ] {
            assert!(UserData::of_text(Dcs::UCS2, header, &"ê".repeat(most)).is_ok());
            assert!(UserData::of_text(Dcs::UCS2, header, &"ê".repeat(most + 1)).is_err());
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        use UserDataError as E;
        for (dcs, header, text, error) in [
            (0x00, &[][..], "ê", E::Character('ê')),
            (0x04, &[], "a", E::NoText(4)),
            (0x20, &[], "a", E::NoText(0x20)),
            (0x00, &[4, 0, 3, 1], "a", E::Header { octets: 4 }),
        ] {
            assert_eq!(UserData::of_text(Dcs(dcs), header, text), Err(error));
        }
        let septets = UserData::new(Dcs::GSM7, &[], vec![0x41, 0x80]);
        assert_eq!(septets, Err(E::Septet(0x80)));
    }

    #[test]
    fn errors_name_the_octet() {
        let at = |dcs, has_header, octets: &[u8]| {
            read(dcs, has_header, octets).map_err(|error| (error.offset, error.problem))
        };
        let cut = |wanted, have| Problem::Truncated { wanted, have };
        let empty = Problem::Header(UdhFault::Empty);
        assert_eq!(at(0, false, &[]), Err((0, cut(1, 0))));
        assert_eq!(at(0, false, &[8, 1, 2]), Err((1, cut(7, 2))));
        assert_eq!(at(8, false, &[2, 1]), Err((1, cut(2, 1))));
        assert_eq!(at(0, true, &[0]), Err((1, empty)));
        let long = Problem::UserDataTooLong { octets: 141 };
        assert_eq!(at(0, false, &[161]), Err((0, long)));
        assert_eq!(at(8, false, &[141]), Err((0, long)));
        let (declared, available) = (5, 2);
        let header = Problem::Header(UdhFault::HeaderTooLong {
            declared,
            available,
        });
        assert_eq!(at(0, true, &[3, 5, 0, 3]), Err((1, header)));
        assert_eq!(at(4, true, &[3, 5, 0, 3]), Err((1, header)));
    }

    #[test]
    fn a_broken_element_costs_the_header_and_not_the_text() {
        let octets = [2 + 3, 2, 0x00, 9, b'o', b'k'];
        let data = read(4, true, &octets).unwrap();
        assert!(data.udh().is_err());
        assert_eq!(data.content(), b"ok");
    }

    #[test]
    fn national_tables_are_used_as_the_header_says() {
        let header = [3, 0x24, 1, 1];
        let data = UserData::new(Dcs::GSM7, &header, vec![0x1B, 0x73]).unwrap();
        assert_eq!(data.text().as_deref(), Some("ş"));
    }

    #[test]
    fn the_reserved_bit_means_ucs2_only_where_the_length_proves_it() {
        let text = |dcs, octets: &[u8]| read(dcs, false, octets).unwrap().text().unwrap();
        let ucs2 = [
            16, 4, 0x22, 4, 0x35, 4, 0x41, 4, 0x42, 0, 32, 0, 84, 0, 101, 0, 115,
        ];
        assert_eq!(text(0xF9, &ucs2), "Тест Tes");
        let mut septets = vec![10];
        septets.extend(packing::pack(b"hellohello", 0));
        assert_eq!(text(0xF9, &septets), "hellohello");
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused(octets: Vec<u8>, dcs: u8, has_header: bool) {
            match read(dcs, has_header, &octets) {
                Ok(data) => {
                    let _ = (data.text(), data.udh());
                    prop_assert_eq!(data.length(), octets[0]);
                    prop_assert_eq!(read(dcs, has_header, &written(&data)), Ok(data));
                }
                Err(error) => prop_assert!(error.offset <= octets.len()),
            }
        }

        #[test]
        fn texts_survive(
            text in "[A-Za-z @éèàÇ€\\[\\]]{0,70}", ucs2: bool, wide: bool, bare: bool, reference: u8,
        ) {
            let narrow = concat8(reference, 3, 2);
            let long = concat16(u16::from(reference), 3, 2);
            let header = if bare { &[][..] } else if wide { &long[..] } else { &narrow[..] };
            let dcs = if ucs2 { Dcs::UCS2 } else { Dcs::GSM7 };
            prop_assume!(!ucs2 || text.chars().count() <= 66);
            let data = UserData::of_text(dcs, header, &text).unwrap();
            prop_assert_eq!(data.text(), Some(text));
            prop_assert_eq!(data.udh().unwrap().concat.is_some(), !bare);
            prop_assert_eq!(read(dcs.0, !bare, &written(&data)), Ok(data));
        }

        #[test]
        fn data_survive(content in proptest::collection::vec(any::<u8>(), 0..140)) {
            let data = UserData::new(Dcs::OCTETS, &[], content).unwrap();
            prop_assert_eq!(data.text(), None);
            prop_assert_eq!(read(4, false, &written(&data)), Ok(data));
        }
    }
}
