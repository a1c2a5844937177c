//! TP-OA, TP-DA and TP-RA: the address at the other end (3GPP TS 23.040 clause 9.1.2.5),
//! and the service centre's, which precedes a TPDU on a modem's line (3GPP TS 27.005
//! clause 3.1) and counts octets where the others count digits.
//!
//! Written is what was validated; read is whatever stands there. A digit that the network
//! damaged stays visible (`#`, `F`) rather than making a status report unreadable.

use std::fmt;

use super::reader::{DecodeError, Problem, Reader};
use super::{gsm7, packing};

/// The most digits an address has: 12 octets less length and type, two digits each.
const MOST_DIGITS: usize = 20;
/// The most septets that fit into the same 10 octets.
const MOST_SEPTETS: usize = 11;

/// The digits by their semi-octet (clause 9.1.2.3). 1111 fills up an odd number; one that
/// stands elsewhere is damage and is shown as an F.
const DIGITS: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'a', 'b', 'c', 'F',
];
/// The semi-octet that fills up.
const FILLER: u8 = 0x0F;

/// What kind of number it is (clause 9.1.2.5, bits 6 to 4 of the type octet).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TypeOfNumber {
    /// The network decides: short codes, and national numbers from many networks.
    Unknown,
    /// With country code, and without a prefix for it.
    International,
    /// Without country code.
    National,
    /// Of the network's own administration.
    NetworkSpecific,
    /// A short code of the network ("subscriber number").
    Subscriber,
    /// A name, in the GSM 7 bit default alphabet.
    Alphanumeric,
    /// Abbreviated.
    Abbreviated,
    /// Reserved for extension.
    Reserved,
}

impl TypeOfNumber {
    const ALL: [Self; 8] = [
        Self::Unknown,
        Self::International,
        Self::National,
        Self::NetworkSpecific,
        Self::Subscriber,
        Self::Alphanumeric,
        Self::Abbreviated,
        Self::Reserved,
    ];

    /// The three bits, 0 to 7.
    #[must_use]
    pub fn number(self) -> u8 {
        (0..)
            .zip(Self::ALL)
            .find_map(|(number, ton)| (ton == self).then_some(number))
            .unwrap_or_default()
    }

    fn of_octet(octet: u8) -> Self {
        Self::ALL[usize::from(octet >> 4 & 0b111)]
    }
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    ton: TypeOfNumber,
    npi: u8,
    value: String,
}

/// An address that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is nothing to write.
    #[error("the address is empty")]
    Empty,
    /// More than fits.
    #[error("the address has {length} characters, and {most} fit")]
    TooLong {
        /// What it has: digits, or septets of a name.
        length: usize,
        /// 20 digits or 11 septets.
        most: usize,
    },
    /// A character without a form.
    #[error("an address cannot hold {0:?}")]
    Character(char),
}

impl Address {
    /// A number in the ISDN/telephone numbering plan (1), of digits and `*`, `#`, `a`, `b`,
    /// `c`; or a name ([`Self::name`]) when the type says alphanumeric.
    ///
    /// # Errors
    /// A number that is empty, too long, or has another character.
    pub fn new(ton: TypeOfNumber, number: &str) -> Result<Self, AddressError> {
        if ton == TypeOfNumber::Alphanumeric {
            return Self::name(number);
        }
        if number.is_empty() {
            return Err(AddressError::Empty);
        }
        let odd = |c: &char| *c == 'F' || !DIGITS.contains(c);
        if let Some(c) = number.chars().find(odd) {
            return Err(AddressError::Character(c));
        }
        fits(number.len(), MOST_DIGITS)?;
        let value = number.to_owned();
        Ok(Self { ton, npi: 1, value })
    }

    /// A number as people write it to a modem: with `+` it is international, else the
    /// network decides, as it must for a short code.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn number(number: &str) -> Result<Self, AddressError> {
        match number.strip_prefix('+') {
            Some(number) => Self::new(TypeOfNumber::International, number),
            None => Self::new(TypeOfNumber::Unknown, number),
        }
    }

    /// A name of at most 11 septets, in an unknown numbering plan (0). One of 8 characters
    /// that ends in `@` loses it on the way: its octets are those of the 7 before.
    ///
    /// # Errors
    /// A name that is empty, too long, or has a character outside the alphabet.
    pub fn name(name: &str) -> Result<Self, AddressError> {
        let septets = gsm7::encode(name).map_err(AddressError::Character)?;
        if septets.is_empty() {
            return Err(AddressError::Empty);
        }
        fits(septets.len(), MOST_SEPTETS)?;
        Ok(Self {
            ton: TypeOfNumber::Alphanumeric,
            npi: 0,
            value: name.to_owned(),
        })
    }

    /// What kind of number it is.
    #[must_use]
    pub fn ton(&self) -> TypeOfNumber {
        self.ton
    }

    /// The numbering plan, bits 3 to 0 of the type octet: 1 is the telephone's.
    #[must_use]
    pub fn npi(&self) -> u8 {
        self.npi
    }

    /// The digits without any prefix, or the name. Empty only if it was read so.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Reads a length in digits, a type, and the digits.
    pub(super) fn read(field: &'static str, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let semi_octets = reader.octet(field)?;
        let digits = usize::from(semi_octets);
        if digits > MOST_DIGITS {
            return Err(reader.fault(field, 1, Problem::AddressTooLong { semi_octets }));
        }
        let kind = reader.octet(field)?;
        let octets = reader.take(field, digits.div_ceil(2))?;
        Ok(Self::of(kind, octets, digits))
    }

    /// Reads the service centre's address, which counts the octets of type and digits; a
    /// length of 0 says that the modem uses its own.
    ///
    /// # Errors
    /// A length beyond the end.
    pub(super) fn read_service_centre(
        reader: &mut Reader<'_>,
    ) -> Result<Option<Self>, DecodeError> {
        const FIELD: &str = "SCA";
        let length = usize::from(reader.octet(FIELD)?);
        let Some((&kind, octets)) = reader.take(FIELD, length)?.split_first() else {
            return Ok(None);
        };
        Ok(Some(Self::of(kind, octets, octets.len() * 2)))
    }

    fn of(kind: u8, octets: &[u8], digits: usize) -> Self {
        let ton = TypeOfNumber::of_octet(kind);
        let value = match ton {
            TypeOfNumber::Alphanumeric => {
                // Half an octet too much is common, and would be an @.
                let mut septets = gsm7::unpack(octets, 0);
                septets.truncate(digits * 4 / 7);
                gsm7::decode(&septets)
            }
            _ => {
                let halves = octets.iter().flat_map(|octet| [octet & 0x0F, octet >> 4]);
                let digits: String = halves
                    .take(digits)
                    .map(|half| DIGITS[usize::from(half)])
                    .collect();
                digits.trim_end_matches('F').to_owned()
            }
        };
        let npi = kind & 0x0F;
        Self { ton, npi, value }
    }

    /// Length in digits, type, digits.
    pub(super) fn write(&self, octets: &mut Vec<u8>) {
        let (digits, packed) = self.packed();
        octets.extend([digits, self.kind()]);
        octets.extend(packed);
    }

    /// Writes it as a service centre's, which stands before a TPDU: its length counts octets, the
    /// type among them (3GPP TS 24.011 clause 8.2.5.1).
    pub fn write_service_centre(&self, octets: &mut Vec<u8>) {
        let (_, packed) = self.packed();
        let length = u8::try_from(packed.len() + 1).unwrap_or(u8::MAX);
        octets.extend([length, self.kind()]);
        octets.extend(packed);
    }

    /// The type octet (clause 9.1.2.5), whose upper bit is always set.
    fn kind(&self) -> u8 {
        0x80 | self.ton.number() << 4 | self.npi
    }

    /// How many semi-octets count, and the octets.
    fn packed(&self) -> (u8, Vec<u8>) {
        let (count, octets) = if self.ton == TypeOfNumber::Alphanumeric {
            let septets = gsm7::encode(&self.value).unwrap_or_default();
            let semi_octets = (septets.len() * 7).div_ceil(4);
            (semi_octets, packing::pack(&septets, 0))
        } else {
            let half = |c: char| (0..).zip(DIGITS).find(|(_, d)| *d == c);
            let mut halves: Vec<u8> = self
                .value
                .chars()
                .map(|c| half(c).map_or(FILLER, |(half, _)| half))
                .collect();
            let count = halves.len();
            if count % 2 == 1 {
                halves.push(FILLER);
            }
            let (pairs, _) = halves.as_chunks::<2>();
            (
                count,
                pairs.iter().map(|[low, high]| high << 4 | low).collect(),
            )
        };
        (u8::try_from(count).unwrap_or(u8::MAX), octets)
    }
}

fn fits(length: usize, most: usize) -> Result<(), AddressError> {
    if length > most {
        return Err(AddressError::TooLong { length, most });
    }
    Ok(())
}

impl fmt::Display for Address {
    /// The name, or the number, with `+` if it is international.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ton == TypeOfNumber::International {
            f.write_str("+")?;
        }
        f.write_str(&self.value)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn read(octets: &[u8]) -> Result<Address, DecodeError> {
        Address::read("TP-DA", &mut Reader::new(octets))
    }

    fn written(address: &Address) -> Vec<u8> {
        let mut octets = Vec::new();
        address.write(&mut octets);
        octets
    }

    #[test]
    fn known_addresses_have_known_octets() {
        for (address, octets) in [
            (
                Address::number("+27820001111"),
                "\x0B\u{91}\x72\x28\x00\x10\x11\u{F1}",
            ),
            (Address::number("1234"), "\x04\u{81}\x21\x43"),
            (Address::number("*10#"), "\x04\u{81}\x1A\u{B0}"),
            (
                Address::name("Megafon"),
                "\x0D\u{D0}\u{CD}\u{F2}\x39\x6C\x7E\u{BB}\x01",
            ),
            (Address::name("O2_"), "\x06\u{D0}\x4F\x59\x04"),
        ] {
            let octets: Vec<u8> = octets.chars().map(|c| u8::try_from(c).unwrap()).collect();
            let address = address.unwrap();
            assert_eq!(written(&address), octets, "{address}");
            assert_eq!(read(&octets), Ok(address));
        }
    }

    #[test]
    fn every_type_is_read() {
        for (kind, ton, npi) in [
            (0x81, TypeOfNumber::Unknown, 1),
            (0x91, TypeOfNumber::International, 1),
            (0xA1, TypeOfNumber::National, 1),
            (0xB9, TypeOfNumber::NetworkSpecific, 9),
            (0xC8, TypeOfNumber::Subscriber, 8),
            (0xE0, TypeOfNumber::Abbreviated, 0),
            (0xFF, TypeOfNumber::Reserved, 15),
            (0x11, TypeOfNumber::International, 1),
        ] {
            let address = read(&[3, kind, 0x21, 0xF3]).unwrap();
            assert_eq!((address.ton(), address.npi()), (ton, npi));
            assert_eq!(address.value(), "123");
        }
    }

    #[test]
    fn a_name_with_half_an_octet_too_much_has_no_at_sign() {
        // 7 characters in 7 octets, counted as 14 semi-octets.
        let octets = [0x0E, 0xD0, 0xCD, 0xF2, 0x39, 0x6C, 0x7E, 0xBB, 0x01];
        assert_eq!(read(&octets).unwrap().value(), "Megafon");
    }

    #[test]
    fn fillers_are_dropped_at_the_end_and_shown_elsewhere() {
        let value = |octets: &[u8]| read(octets).unwrap().value().to_owned();
        assert_eq!(value(&[4, 0x81, 0x21, 0xF3]), "123");
        assert_eq!(value(&[4, 0x81, 0xF1, 0x32]), "1F23");
        assert_eq!(value(&[0, 0x81]), "");
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        use AddressError::{Character, Empty, TooLong};
        for (address, error) in [
            (Address::number(""), Empty),
            (Address::number("+"), Empty),
            (Address::number("+33 6"), Character(' ')),
            (Address::number("12F"), Character('F')),
            (
                Address::number("012345678901234567890"),
                TooLong {
                    length: 21,
                    most: 20,
                },
            ),
            (Address::name(""), Empty),
            (Address::name("Ça ô"), Character('ô')),
            (
                Address::name("Twelve chars"),
                TooLong {
                    length: 12,
                    most: 11,
                },
            ),
        ] {
            assert_eq!(address, Err(error));
        }
    }

    #[test]
    fn errors_name_the_octet() {
        let at = |octets: &[u8]| read(octets).map_err(|error| (error.offset, error.problem));
        let cut = |wanted, have| Problem::Truncated { wanted, have };
        assert_eq!(at(&[]), Err((0, cut(1, 0))));
        assert_eq!(at(&[4]), Err((1, cut(1, 0))));
        assert_eq!(at(&[4, 0x81, 0x21]), Err((2, cut(2, 1))));
        let long = Problem::AddressTooLong { semi_octets: 21 };
        assert_eq!(at(&[21, 0x81, 0x21]), Err((0, long)));
        assert_eq!(
            read(&[4, 0x81, 0x21]).unwrap_err().to_string(),
            "TP-DA, octet 2: 2 octets wanted, 1 left"
        );
    }

    #[test]
    fn the_service_centre_counts_octets() {
        let read = |octets: &[u8]| Address::read_service_centre(&mut Reader::new(octets));
        assert_eq!(read(&[0]), Ok(None));
        let address = read(&[2, 0x97, 0xF1]).unwrap().unwrap();
        assert_eq!((address.to_string(), address.npi()), ("+1".to_owned(), 7));
        assert_eq!(read(&[1, 0x81]).unwrap().unwrap().value(), "");
        assert_eq!(read(&[9, 0x91, 0x12]).unwrap_err().offset, 1);
        let mut octets = Vec::new();
        let address = Address::number("+33609001390").unwrap();
        address.write_service_centre(&mut octets);
        assert_eq!(octets, [7, 0x91, 0x33, 0x06, 0x09, 0x10, 0x93, 0xF0]);
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused(octets: Vec<u8>) {
            match read(&octets) {
                Ok(address) => prop_assert_eq!(read(&written(&address)), Ok(address)),
                Err(error) => prop_assert!(error.offset <= octets.len()),
            }
            let _ = Address::read_service_centre(&mut Reader::new(&octets));
        }

        #[test]
        fn numbers_survive(number in "[0-9*#abc]{1,20}", plus: bool) {
            let number = if plus { format!("+{number}") } else { number };
            let address = Address::number(&number).unwrap();
            prop_assert_eq!(address.to_string(), number);
            prop_assert_eq!(read(&written(&address)), Ok(address));
        }

        #[test]
        fn names_survive(name in "[A-Za-z0-9éÇ_. ]{1,11}") {
            let address = Address::name(&name).unwrap();
            prop_assert_eq!(read(&written(&address)), Ok(address));
        }
    }
}
