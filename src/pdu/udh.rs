//! The user data header (3GPP TS 23.040 clause 9.2.3.24): what stands before the
//! text when `esm_class` has the UDHI bit.
//!
//! An octet of length, then information elements of identifier, length and data.
//! Understood are concatenation with an 8 bit reference (identifier 0x00, clause
//! 9.2.3.24.1) and with a 16 bit one (0x08, clause 9.2.3.24.8), application ports of 8 and
//! 16 bits (0x04 and 0x05, clauses 9.2.3.24.3 and .4), and national language single and
//! locking shift (0x24 and 0x25, clauses 9.2.3.24.15 and .16). All others are stepped over.

use super::national::Language;

/// Identifier of the concatenation element with an 8 bit reference.
const CONCAT_8: u8 = 0x00;
/// Identifier of the concatenation element with a 16 bit reference.
const CONCAT_16: u8 = 0x08;

/// Identifier of application ports of 8 bits.
const PORTS_8: u8 = 0x04;
/// Identifier of application ports of 16 bits.
const PORTS_16: u8 = 0x05;
/// Identifier of a national language single shift.
const SINGLE_SHIFT: u8 = 0x24;
/// Identifier of a national language locking shift.
const LOCKING_SHIFT: u8 = 0x25;

/// The header of segment `index` (from 1) of `total`, with an 8 bit reference
/// common to all segments of the message. This is what [`super::segment`] leaves
/// room for.
#[must_use]
pub fn concat8(reference: u8, total: u8, index: u8) -> [u8; 6] {
    [5, CONCAT_8, 3, reference, total, index]
}

/// The same with a 16 bit reference: one octet longer, so a segment holds 152
/// septets or 66 UTF-16 units beside it.
#[must_use]
pub fn concat16(reference: u16, total: u8, index: u8) -> [u8; 7] {
    let [high, low] = reference.to_be_bytes();
    [6, CONCAT_16, 4, high, low, total, index]
}

/// The reference that the segments of one message share. The two widths are two
/// spaces: 8 bit 7 and 16 bit 7 are different messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// From element 0x00.
    Eight(u8),
    /// From element 0x08.
    Sixteen(u16),
}

/// Which segment of which message this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Concat {
    /// Common to all segments of the message.
    pub reference: Reference,
    /// How many segments there are, at least 1.
    pub total: u8,
    /// Which one this is, 1 to `total`.
    pub index: u8,
}

/// Between which applications the message goes: it is for a program, not for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ports {
    /// At the receiver.
    pub destination: u16,
    /// At the sender.
    pub source: u16,
}

/// What a user data header says that the gateway can use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Udh {
    /// The place in a message of several segments, if it is one of several.
    pub concat: Option<Concat>,
    /// The application ports, if it names any.
    pub ports: Option<Ports>,
    /// The language of the single shift table, if it names one.
    pub single_shift: Option<Language>,
    /// The language of the locking shift table, if it names one.
    pub locking_shift: Option<Language>,
}

/// A header that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("user data header, octet {offset}: {fault}")]
pub struct UdhError {
    /// Where, counted from the length octet, which is 0.
    pub offset: usize,
    /// What is wrong there.
    pub fault: UdhFault,
}

/// What can be wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UdhFault {
    /// There is no length octet.
    #[error("the user data is empty, so its header has no length octet")]
    Empty,
    /// The header would be longer than the user data.
    #[error("the header declares {declared} octets, but only {available} follow")]
    HeaderTooLong {
        /// What the length octet says.
        declared: usize,
        /// What follows it.
        available: usize,
    },
    /// The header ends between an identifier and its length.
    #[error("element 0x{identifier:02X} has no length octet")]
    NoElementLength {
        /// The element.
        identifier: u8,
    },
    /// An element would be longer than what is left of the header.
    #[error("element 0x{identifier:02X} declares {declared} octets, but only {available} are left")]
    ElementTooLong {
        /// The element.
        identifier: u8,
        /// What its length octet says.
        declared: usize,
        /// What is left of the header.
        available: usize,
    },
    /// A concatenation element has a length that it cannot have.
    #[error("concatenation element 0x{identifier:02X} has {length} octets")]
    ConcatLength {
        /// The element.
        identifier: u8,
        /// Its length; 3 for 0x00 and 4 for 0x08 are right.
        length: usize,
    },
}

impl Udh {
    /// Keeps what an element says that a text can be read without. One of a wrong length
    /// says nothing (clause 9.2.3.24).
    fn note(&mut self, identifier: u8, data: &[u8]) {
        let ports = |destination, source| {
            Some(Ports {
                destination,
                source,
            })
        };
        match (identifier, data) {
            (PORTS_8, &[to, from]) => self.ports = ports(u16::from(to), u16::from(from)),
            (PORTS_16, &[a, b, c, d]) => {
                self.ports = ports(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            }
            (SINGLE_SHIFT, &[language]) => self.single_shift = Some(Language(language)),
            (LOCKING_SHIFT, &[language]) => self.locking_shift = Some(Language(language)),
            _ => {}
        }
    }
}

/// Reads the header at the start of `user_data`; also gives what follows it.
///
/// A concatenation element that numbers impossibly (a total of 0, an index of 0 or
/// above the total) is ignored, as clauses 9.2.3.24.1 and 9.2.3.24.8 say. When
/// several are present the last valid one counts (clause 9.2.3.24).
///
/// # Errors
/// A length that does not fit, with the octet where it stands. The caller may
/// then still show the user data as it came.
pub fn parse(user_data: &[u8]) -> Result<(Udh, &[u8]), UdhError> {
    let fail = |offset, fault| Err(UdhError { offset, fault });
    let Some((&length, after)) = user_data.split_first() else {
        return fail(0, UdhFault::Empty);
    };
    let declared = usize::from(length);
    let Some((header, rest)) = after.split_at_checked(declared) else {
        let available = after.len();
        return fail(
            0,
            UdhFault::HeaderTooLong {
                declared,
                available,
            },
        );
    };
    let mut udh = Udh::default();
    let mut left = header;
    while let [identifier, tail @ ..] = left {
        let identifier = *identifier;
        let offset = 1 + header.len() - left.len();
        let [declared, tail @ ..] = tail else {
            return fail(offset, UdhFault::NoElementLength { identifier });
        };
        let declared = usize::from(*declared);
        let Some((data, next)) = tail.split_at_checked(declared) else {
            let available = tail.len();
            let fault = UdhFault::ElementTooLong {
                identifier,
                declared,
                available,
            };
            return fail(offset + 1, fault);
        };
        let found = match (identifier, data) {
            (CONCAT_8, &[reference, total, index]) => {
                Some((Reference::Eight(reference), total, index))
            }
            (CONCAT_16, &[high, low, total, index]) => {
                let reference = u16::from_be_bytes([high, low]);
                Some((Reference::Sixteen(reference), total, index))
            }
            (CONCAT_8 | CONCAT_16, _) => {
                let fault = UdhFault::ConcatLength {
                    identifier,
                    length: declared,
                };
                return fail(offset + 1, fault);
            }
            _ => {
                udh.note(identifier, data);
                None
            }
        };
        if let Some((reference, total, index)) = found
            && (1..=total).contains(&index)
        {
            udh.concat = Some(Concat {
                reference,
                total,
                index,
            });
        }
        left = next;
    }
    Ok((udh, rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn concat(reference: Reference, total: u8, index: u8) -> Option<Concat> {
        Some(Concat {
            reference,
            total,
            index,
        })
    }

    #[test]
    fn headers_are_read_and_the_text_is_what_follows() {
        use Reference::{Eight, Sixteen};
        for (octets, expected) in [
            (&[0][..], None),
            (&[5, 0, 3, 0xA7, 3, 2], concat(Eight(0xA7), 3, 2)),
            (&[6, 8, 4, 0x12, 0x34, 2, 1], concat(Sixteen(0x1234), 2, 1)),
            // Port addressing before, an unknown element after.
            (
                &[14, 5, 4, 0, 1, 0, 2, 0, 3, 7, 2, 2, 0x70, 1, 0xFF],
                concat(Eight(7), 2, 2),
            ),
            // The last of several counts.
            (
                &[11, 0, 3, 7, 2, 2, 8, 4, 0, 9, 4, 3],
                concat(Sixteen(9), 4, 3),
            ),
            // Impossible numbering is ignored.
            (&[5, 0, 3, 7, 0, 0], None),
            (&[5, 0, 3, 7, 2, 0], None),
            (&[5, 0, 3, 7, 2, 3], None),
            (&[2, 0x24, 0], None),
        ] {
            let mut user_data = octets.to_vec();
            user_data.extend(b"text");
            let (udh, rest) = parse(&user_data).unwrap();
            assert_eq!(
                (udh.concat, rest),
                (expected, &b"text"[..]),
                "{octets:02X?}"
            );
        }
    }

    #[test]
    fn ports_and_languages_are_read() {
        let read = |octets: &[u8]| parse(octets).unwrap().0;
        let ports = |octets: &[u8]| read(octets).ports.map(|p| (p.destination, p.source));
        assert_eq!(
            ports(&[6, 5, 4, 0x0B, 0x84, 0x23, 0xF0]),
            Some((2948, 9200))
        );
        assert_eq!(ports(&[4, 4, 2, 0xFD, 1]), Some((253, 1)));
        assert_eq!(ports(&[3, 5, 1, 9]), None);
        let shifts = |octets: &[u8]| {
            let udh = read(octets);
            let number = |Language(number)| number;
            (udh.single_shift.map(number), udh.locking_shift.map(number))
        };
        assert_eq!(shifts(&[3, 0x24, 1, 3]), (Some(3), None));
        assert_eq!(shifts(&[6, 0x25, 1, 1, 0x24, 1, 2]), (Some(2), Some(1)));
        assert_eq!(shifts(&[4, 0x24, 2, 1, 1]), (None, None));
    }

    #[test]
    fn bad_lengths_are_named_with_their_octet() {
        use UdhFault as F;
        for (octets, offset, fault) in [
            (&[][..], 0, F::Empty),
            (
                &[5, 0, 3, 1],
                0,
                F::HeaderTooLong {
                    declared: 5,
                    available: 3,
                },
            ),
            (&[1, 0x70], 1, F::NoElementLength { identifier: 0x70 }),
            (
                &[5, 0x70, 0, 0x71, 9, 1],
                4,
                F::ElementTooLong {
                    identifier: 0x71,
                    declared: 9,
                    available: 1,
                },
            ),
            (
                &[4, 0, 2, 1, 1],
                2,
                F::ConcatLength {
                    identifier: 0,
                    length: 2,
                },
            ),
            (
                &[5, 8, 3, 1, 1, 1],
                2,
                F::ConcatLength {
                    identifier: 8,
                    length: 3,
                },
            ),
        ] {
            assert_eq!(
                parse(octets),
                Err(UdhError { offset, fault }),
                "{octets:02X?}"
            );
        }
        let error = parse(&[5, 0, 3, 1]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "user data header, octet 0: the header declares 5 octets, but only 3 follow"
        );
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused(octets in any::<Vec<u8>>()) {
            match parse(&octets) {
                Ok((udh, rest)) => {
                    prop_assert_eq!(rest.len() + 1 + usize::from(octets[0]), octets.len());
                    if let Some(c) = udh.concat {
                        prop_assert!(1 <= c.index && c.index <= c.total);
                    }
                }
                Err(error) => prop_assert!(error.offset <= octets.len()),
            }
        }

        #[test]
        fn built_headers_are_read_back(
            wide in any::<u16>(), narrow in any::<u8>(), total in 1..=255u8, at in any::<u8>(),
            text in any::<Vec<u8>>(),
        ) {
            let index = at % total + 1;
            let eight = [&concat8(narrow, total, index)[..], &text].concat();
            let (udh, rest) = parse(&eight).unwrap();
            prop_assert_eq!(udh.concat, concat(Reference::Eight(narrow), total, index));
            prop_assert_eq!(rest, &text[..]);
            let sixteen = [&concat16(wide, total, index)[..], &text].concat();
            let (udh, rest) = parse(&sixteen).unwrap();
            prop_assert_eq!(udh.concat, concat(Reference::Sixteen(wide), total, index));
            prop_assert_eq!(rest, &text[..]);
        }
    }
}
