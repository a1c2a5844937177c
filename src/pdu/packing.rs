//! Septets in octets: 8 characters in 7 octets, from the lowest bit on (3GPP TS 23.038
//! clause 6.1.2.1), and the fill bits that bring the text behind a user data header to
//! the beginning of a septet (3GPP TS 23.040 clause 9.2.3.24).

/// The bits of filling between a header of `octets` octets (its length octet counts) and
/// the text: 0 to 6.
#[must_use]
pub fn fill_bits(octets: usize) -> u8 {
    match octets * 8 % 7 {
        0 => 0,
        over => 7 - over.to_le_bytes()[0],
    }
}

/// How many septets `octets` octets of header take, filling included: what they count in
/// TP-UDL, and what they cost a text of 160.
#[must_use]
pub fn septets_of(octets: usize) -> usize {
    (octets * 8).div_ceil(7)
}

/// How many octets `septets` septets take.
#[must_use]
pub fn octets_of(septets: usize) -> usize {
    (septets * 7).div_ceil(8)
}

/// `fill` bits of 0 (at most 7 count), then 7 bits of each septet; the last octet ends in
/// zeros.
#[must_use]
pub fn pack(septets: &[u8], fill: u8) -> Vec<u8> {
    let mut octets = Vec::with_capacity(octets_of(septets.len() + 1));
    let (mut bits, mut held) = (0_u16, u32::from(fill.min(7)));
    for &septet in septets {
        bits |= u16::from(septet & 0x7F) << held;
        held += 7;
        if held >= 8 {
            octets.push(bits.to_le_bytes()[0]);
            (bits, held) = (bits >> 8, held - 8);
        }
    }
    if held > 0 {
        octets.push(bits.to_le_bytes()[0]);
    }
    octets
}

/// The first `count` septets behind `fill` bits, or as many as the octets hold. The count
/// comes from TP-UDL: without it 7 bits of filling would be an `@`.
#[must_use]
pub fn unpack(octets: &[u8], fill: u8, count: usize) -> Vec<u8> {
    let mut septets = Vec::with_capacity(count.min(octets.len() * 8 / 7));
    let (mut bits, mut held) = (0_u16, 0_u32);
    let mut skip = u32::from(fill);
    for &octet in octets {
        bits |= u16::from(octet) << held;
        held += 8;
        let skipped = skip.min(held);
        (bits, held, skip) = (bits >> skipped, held - skipped, skip - skipped);
        while held >= 7 && septets.len() < count {
            septets.push(bits.to_le_bytes()[0] & 0x7F);
            (bits, held) = (bits >> 7, held - 7);
        }
        if septets.len() == count {
            break;
        }
    }
    septets
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_texts_are_packed() {
        let packed = [0xE8, 0x32, 0x9B, 0xFD, 0x46, 0x97, 0xD9, 0xEC, 0x37];
        assert_eq!(pack(b"hellohello", 0), packed);
        assert_eq!(unpack(&packed, 0, 10), b"hellohello");
        assert_eq!(unpack(&packed, 0, 5), b"hello");
        assert_eq!(unpack(&packed, 0, 99), b"hellohello");
        assert!(pack(&[], 0).is_empty());
        assert!(unpack(&[], 3, 4).is_empty());
    }

    #[test]
    fn seven_bits_of_filling_are_no_character_when_counted() {
        // 7 septets in 7 octets leave 7 bits; an @ would be the same 7 bits.
        assert_eq!(unpack(&pack(b"bonjour", 0), 0, 7), b"bonjour");
        assert_eq!(unpack(&pack(b"bonjour\0", 0), 0, 8), b"bonjour\0");
        assert_eq!(pack(b"bonjour", 0), pack(b"bonjour\0", 0));
    }

    #[test]
    fn headers_are_filled_up_to_a_septet() {
        for (octets, fill, septets) in [
            (0, 0, 0),
            (1, 6, 2),
            (6, 1, 7),
            (7, 0, 8),
            (8, 6, 10),
            (140, 0, 160),
        ] {
            assert_eq!((fill_bits(octets), septets_of(octets)), (fill, septets));
            assert_eq!(septets * 7, octets * 8 + usize::from(fill));
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(
            septets in proptest::collection::vec(0_u8..0x80, 0..200), header in 0_usize..20,
        ) {
            let fill = fill_bits(header);
            let packed = pack(&septets, fill);
            prop_assert_eq!(packed.len(), (septets.len() * 7 + usize::from(fill)).div_ceil(8));
            prop_assert_eq!(unpack(&packed, fill, septets.len()), septets);
        }

        #[test]
        fn any_octets_unpack(octets: Vec<u8>, fill: u8, count in 0_usize..400) {
            let septets = unpack(&octets, fill, count);
            prop_assert!(septets.len() <= count && septets.len() <= octets.len() * 8 / 7);
            prop_assert!(septets.iter().all(|&septet| septet < 0x80));
        }
    }
}
