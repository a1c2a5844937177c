//! Where a French number is at home: the territories of France, each with a clock and a calendar of its own.
//!
//! A number tells its territory by its country code and, where two share one, by its first digits (Arcep's
//! numbering plan; libphonenumber 9.0.43 metadata). It cannot tell Saint-Martin and Saint-Barthélemy, which
//! have Guadeloupe's numbers, nor Alsace-Moselle: who knows better says so in the configuration or in
//! the settings of the tenant.

use chrono_tz::Tz;

use super::msisdn::{self, Msisdn};

/// A part of France with a clock or with public holidays of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Territory {
    /// European France.
    Metropole,
    /// The departments of European France in which the local law of 1871 to 1918 lives on.
    AlsaceMoselle,
    /// Guadeloupe.
    Guadeloupe,
    /// Martinique.
    Martinique,
    /// French Guiana.
    Guyane,
    /// Réunion.
    Reunion,
    /// Mayotte.
    Mayotte,
    /// Saint-Martin, the French part.
    SaintMartin,
    /// Saint-Barthélemy.
    SaintBarthelemy,
    /// Saint-Pierre-et-Miquelon.
    SaintPierreEtMiquelon,
    /// New Caledonia.
    NouvelleCaledonie,
    /// French Polynesia.
    PolynesieFrancaise,
    /// Wallis and Futuna.
    WallisEtFutuna,
}

/// The territory that a number is of; `None` for numbers of other countries.
#[must_use]
pub fn of(number: Msisdn) -> Option<Territory> {
    let digits = number.digits();
    let (country, national) = digits.split_at_checked(3)?;
    Some(match country {
        "590" => Territory::Guadeloupe,
        "594" => Territory::Guyane,
        "596" => Territory::Martinique,
        "262" => indian_ocean(national),
        "508" => Territory::SaintPierreEtMiquelon,
        "687" => Territory::NouvelleCaledonie,
        "689" => Territory::PolynesieFrancaise,
        "681" => Territory::WallisEtFutuna,
        _ => {
            let national = digits.strip_prefix("33")?;
            // As it is dialled from European France, and as some carriers write it.
            match msisdn::overseas_home(national) {
                Some("590") => Territory::Guadeloupe,
                Some("594") => Territory::Guyane,
                Some("596") => Territory::Martinique,
                Some(_) => indian_ocean(national),
                None => Territory::Metropole,
            }
        }
    })
}

/// Réunion and Mayotte share a country code: 0269 and 0639 are Mayotte's, and 07093 from 5 to 7.
fn indian_ocean(national: &str) -> Territory {
    match national.as_bytes() {
        [b'2', b'6', b'9', ..]
        | [b'6', b'3', b'9', ..]
        | [b'7', b'0', b'9', b'3', b'5'..=b'7', ..] => Territory::Mayotte,
        _ => Territory::Reunion,
    }
}

impl Territory {
    /// Every territory.
    pub const ALL: [Self; 13] = [
        Self::Metropole,
        Self::AlsaceMoselle,
        Self::Guadeloupe,
        Self::Martinique,
        Self::Guyane,
        Self::Reunion,
        Self::Mayotte,
        Self::SaintMartin,
        Self::SaintBarthelemy,
        Self::SaintPierreEtMiquelon,
        Self::NouvelleCaledonie,
        Self::PolynesieFrancaise,
        Self::WallisEtFutuna,
    ];

    /// Its ISO 3166-1 code; Alsace-Moselle, which has none, has the ISO 3166-2 code of the Moselle.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Metropole => "FR",
            Self::AlsaceMoselle => "FR-57",
            Self::Guadeloupe => "GP",
            Self::Martinique => "MQ",
            Self::Guyane => "GF",
            Self::Reunion => "RE",
            Self::Mayotte => "YT",
            Self::SaintMartin => "MF",
            Self::SaintBarthelemy => "BL",
            Self::SaintPierreEtMiquelon => "PM",
            Self::NouvelleCaledonie => "NC",
            Self::PolynesieFrancaise => "PF",
            Self::WallisEtFutuna => "WF",
        }
    }

    /// The territory of an ISO 3166-1 code, or of the ISO 3166-2 code of a French department or
    /// collectivity, such as `FR-57`, `FR-75` or `FR-974`.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        if let Some(known) = Self::ALL.iter().find(|it| it.code() == code) {
            return Some(*known);
        }
        let part = code.strip_prefix("FR-")?;
        Some(match part {
            // The European Collectivity of Alsace holds the departments 67 and 68.
            "67" | "68" | "6AE" => Self::AlsaceMoselle,
            "971" => Self::Guadeloupe,
            "972" => Self::Martinique,
            "973" => Self::Guyane,
            "974" => Self::Reunion,
            "976" => Self::Mayotte,
            "2A" | "2B" | "20R" | "69M" | "75C" => Self::Metropole,
            _ => match part.parse() {
                Ok(1_u8..=95) if part.len() == 2 => Self::Metropole,
                _ => return Self::ALL[2..].iter().find(|it| it.code() == part).copied(),
            },
        })
    }

    /// True if it has the numbers of `wide`, as a part of it or beside it.
    #[must_use]
    pub const fn is_within(self, wide: Self) -> bool {
        matches!(
            (self, wide),
            (Self::AlsaceMoselle, Self::Metropole)
                | (Self::SaintMartin | Self::SaintBarthelemy, Self::Guadeloupe)
        )
    }

    /// Its clock.
    #[must_use]
    pub const fn zone(self) -> Tz {
        match self {
            Self::Metropole | Self::AlsaceMoselle => Tz::Europe__Paris,
            Self::Guadeloupe => Tz::America__Guadeloupe,
            Self::Martinique => Tz::America__Martinique,
            Self::Guyane => Tz::America__Cayenne,
            Self::Reunion => Tz::Indian__Reunion,
            Self::Mayotte => Tz::Indian__Mayotte,
            Self::SaintMartin => Tz::America__Marigot,
            Self::SaintBarthelemy => Tz::America__St_Barthelemy,
            Self::SaintPierreEtMiquelon => Tz::America__Miquelon,
            Self::NouvelleCaledonie => Tz::Pacific__Noumea,
            Self::PolynesieFrancaise => Tz::Pacific__Tahiti,
            Self::WallisEtFutuna => Tz::Pacific__Wallis,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_number_tells_its_territory_however_it_is_dialled() {
        for (written, code) in [
            ("0612345678", Some("FR")),
            ("+33 7 56 78 90 12", Some("FR")),
            // Dialled nationally from European France.
            ("0690123456", Some("GP")),
            ("+33 691 22 34 56", Some("GP")),
            ("0696123456", Some("MQ")),
            ("0694123456", Some("GF")),
            ("0692123456", Some("RE")),
            ("0693123456", Some("RE")),
            ("0639123456", Some("YT")),
            ("0709361234", Some("YT")),
            ("0709201234", Some("RE")),
            ("+590 690 12 34 56", Some("GP")),
            ("+596 697 12 34 56", Some("MQ")),
            ("+594 694 12 34 56", Some("GF")),
            ("+262 692 12 34 56", Some("RE")),
            ("+262 639 12 34 56", Some("YT")),
            ("+508 55 12 34", Some("PM")),
            ("+687 75 12 34", Some("NC")),
            ("+689 87 12 34 56", Some("PF")),
            ("+681 82 12 34", Some("WF")),
            ("+44 7700 900123", None),
            ("+32 470 12 34 56", None),
        ] {
            let number = msisdn::parse(written, "FR").unwrap();
            assert_eq!(of(number).map(Territory::code), code, "{written}");
        }
        // As some carriers write the numbers overseas.
        let raw = Msisdn::from_e164_digits("33639123456").unwrap();
        assert_eq!(of(raw), Some(Territory::Mayotte));
    }

    #[test]
    fn every_code_of_a_part_of_france_is_read() {
        for territory in Territory::ALL {
            assert_eq!(Territory::from_code(territory.code()), Some(territory));
        }
        for (code, territory) in [
            ("FR-68", Some(Territory::AlsaceMoselle)),
            ("FR-6AE", Some(Territory::AlsaceMoselle)),
            ("FR-75", Some(Territory::Metropole)),
            ("FR-2A", Some(Territory::Metropole)),
            ("FR-974", Some(Territory::Reunion)),
            ("FR-NC", Some(Territory::NouvelleCaledonie)),
            ("FR-BL", Some(Territory::SaintBarthelemy)),
            ("FR-96", None),
            ("FR-1", None),
            ("FR-FR", None),
            ("DE", None),
            ("", None),
        ] {
            assert_eq!(Territory::from_code(code), territory, "{code}");
        }
    }
}
