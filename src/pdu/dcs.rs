//! TP-DCS, the data coding scheme (3GPP TS 23.038 clause 4): the alphabet of the user
//! data, and what the receiver shall do with the message.
//!
//! The octet is kept as it came. All 256 values have a meaning here: the reserved ones
//! are read as the GSM 7 bit default alphabet, as clause 4 demands.

/// The alphabet that TP-UD is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alphabet {
    /// GSM 7 bit, packed; TP-UDL counts septets.
    Gsm7,
    /// 8 bit data, which have no characters; TP-UDL counts octets.
    Octets,
    /// UCS2; TP-UDL counts octets.
    Ucs2,
}

/// Where the message is meant to go (clause 4, bits 1 and 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Shown at once and not kept ("flash").
    Display,
    /// The mobile equipment.
    Equipment,
    /// The SIM.
    Sim,
    /// The terminal equipment.
    Terminal,
}

impl Class {
    /// 0 to 3.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Display => 0,
            Self::Equipment => 1,
            Self::Sim => 2,
            Self::Terminal => 3,
        }
    }

    fn of_bits(octet: u8) -> Self {
        match octet & 0b11 {
            0 => Self::Display,
            1 => Self::Equipment,
            2 => Self::Sim,
            _ => Self::Terminal,
        }
    }
}

/// What waits elsewhere for the subscriber (clause 4, groups 1100 to 1110, bits 1 and 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitingKind {
    /// A voice mail.
    Voicemail,
    /// A fax.
    Fax,
    /// An e-mail.
    Email,
    /// Something else.
    Other,
}

/// A message waiting indication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Waiting {
    /// True if the indicator shall light, false if it shall go out (bit 3).
    pub active: bool,
    /// What waits.
    pub kind: WaitingKind,
    /// True if the text is to be kept: groups 1101 and 1110, not 1100.
    pub stored: bool,
}

/// A data coding scheme octet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Dcs(pub u8);

impl Dcs {
    /// The default alphabet, no class.
    pub const GSM7: Self = Self(0x00);
    /// 8 bit data, no class.
    pub const OCTETS: Self = Self(0x04);
    /// UCS2, no class.
    pub const UCS2: Self = Self(0x08);

    /// The same alphabet with a class, in the general data coding group (bit 4).
    #[must_use]
    pub fn with_class(alphabet: Alphabet, class: Class) -> Self {
        let Self(octet) = Self::from(alphabet);
        Self(octet | 0x10 | class.number())
    }

    /// The four bits that choose the coding group.
    fn group(self) -> u8 {
        self.0 >> 4
    }

    /// The alphabet; [`Alphabet::Gsm7`] for every reserved value.
    #[must_use]
    pub fn alphabet(self) -> Alphabet {
        match self.group() {
            0b0000..=0b0111 => match self.0 >> 2 & 0b11 {
                0b01 => Alphabet::Octets,
                0b10 => Alphabet::Ucs2,
                _ => Alphabet::Gsm7,
            },
            0b1110 => Alphabet::Ucs2,
            0b1111 if self.0 & 0b100 != 0 => Alphabet::Octets,
            _ => Alphabet::Gsm7,
        }
    }

    /// True if the text is compressed (groups 00xx and 01xx, bit 5; 3GPP TS 23.042): its
    /// octets are not characters, and TP-UDL counts octets.
    #[must_use]
    pub fn compressed(self) -> bool {
        self.group() < 0b1000 && self.0 & 0x20 != 0
    }

    /// True if the message is to be deleted once it was read (groups 01xx).
    #[must_use]
    pub fn deleted_after_reading(self) -> bool {
        self.group() >> 2 == 0b01
    }

    /// The class, if the octet gives one.
    #[must_use]
    pub fn class(self) -> Option<Class> {
        let given = match self.group() {
            0b0000..=0b0111 => self.0 & 0x10 != 0,
            group => group == 0b1111,
        };
        given.then(|| Class::of_bits(self.0))
    }

    /// What waits, if this is a message waiting indication.
    #[must_use]
    pub fn waiting(self) -> Option<Waiting> {
        let stored = match self.group() {
            0b1100 => false,
            0b1101 | 0b1110 => true,
            _ => return None,
        };
        let kind = match self.0 & 0b11 {
            0 => WaitingKind::Voicemail,
            1 => WaitingKind::Fax,
            2 => WaitingKind::Email,
            _ => WaitingKind::Other,
        };
        let active = self.0 & 0b1000 != 0;
        Some(Waiting {
            active,
            kind,
            stored,
        })
    }

    /// True if bit 3 of group 1111 is set, which is reserved. Some senders set it and mean
    /// UCS2, as bit 3 says in the other groups; only the length of the text can tell.
    #[must_use]
    pub fn reserved_bit(self) -> bool {
        self.group() == 0b1111 && self.0 & 0b1000 != 0
    }
}

impl From<Alphabet> for Dcs {
    fn from(alphabet: Alphabet) -> Self {
        match alphabet {
            Alphabet::Gsm7 => Self::GSM7,
            Alphabet::Octets => Self::OCTETS,
            Alphabet::Ucs2 => Self::UCS2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_its_alphabet_and_class() {
        use Alphabet::{Gsm7, Octets, Ucs2};
        for (octet, alphabet, class) in [
            (0x00, Gsm7, None),
            (0x01, Gsm7, None),
            (0x04, Octets, None),
            (0x06, Octets, None),
            (0x08, Ucs2, None),
            (0x0C, Gsm7, None),
            (0x10, Gsm7, Some(Class::Display)),
            (0x11, Gsm7, Some(Class::Equipment)),
            (0x16, Octets, Some(Class::Sim)),
            (0x18, Ucs2, Some(Class::Display)),
            (0x1B, Ucs2, Some(Class::Terminal)),
            (0x48, Ucs2, None),
            (0x80, Gsm7, None),
            (0xB8, Gsm7, None),
            (0xC8, Gsm7, None),
            (0xD8, Gsm7, None),
            (0xE0, Ucs2, None),
            (0xF0, Gsm7, Some(Class::Display)),
            (0xF3, Gsm7, Some(Class::Terminal)),
            (0xF4, Octets, Some(Class::Display)),
            (0xF5, Octets, Some(Class::Equipment)),
            (0xFB, Gsm7, Some(Class::Terminal)),
        ] {
            let dcs = Dcs(octet);
            assert_eq!(
                (dcs.alphabet(), dcs.class()),
                (alphabet, class),
                "{octet:02X}"
            );
        }
    }

    #[test]
    fn indications_and_flags_are_read() {
        let waiting = |octet| Dcs(octet).waiting();
        let of = |active, kind, stored| {
            Some(Waiting {
                active,
                kind,
                stored,
            })
        };
        assert_eq!(waiting(0xC8), of(true, WaitingKind::Voicemail, false));
        assert_eq!(waiting(0xC1), of(false, WaitingKind::Fax, false));
        assert_eq!(waiting(0xDA), of(true, WaitingKind::Email, true));
        assert_eq!(waiting(0xEB), of(true, WaitingKind::Other, true));
        assert_eq!(waiting(0xF8), None);
        assert_eq!(waiting(0x08), None);
        let flags = |octet| {
            let dcs = Dcs(octet);
            (
                dcs.compressed(),
                dcs.deleted_after_reading(),
                dcs.reserved_bit(),
            )
        };
        assert_eq!(flags(0x39), (true, false, false));
        assert_eq!(flags(0x60), (true, true, false));
        assert_eq!(flags(0xE8), (false, false, false));
        assert_eq!(flags(0xF9), (false, false, true));
    }

    #[test]
    fn what_is_asked_for_is_what_the_octet_says() {
        for alphabet in [Alphabet::Gsm7, Alphabet::Octets, Alphabet::Ucs2] {
            assert_eq!(Dcs::from(alphabet).alphabet(), alphabet);
            assert_eq!(Dcs::from(alphabet).class(), None);
            for bits in 0..4 {
                let class = Class::of_bits(bits);
                let dcs = Dcs::with_class(alphabet, class);
                assert_eq!((dcs.alphabet(), dcs.class()), (alphabet, Some(class)));
                assert_eq!(class.number(), bits);
            }
        }
    }
}
