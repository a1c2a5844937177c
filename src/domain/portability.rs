//! Whose a number is today: what a look-up says of it before its prefix is asked.
//!
//! A prefix tells who gave a number out. People take numbers along, and then a look-up knows better: a
//! table of ported numbers, and after it a service that is asked over HTTP. Here are the rules and
//! the table; who asks, and what a silent service costs, is the engine's.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::id::OperatorName;
use super::msisdn::Msisdn;

/// How the operator of a number is looked up; by default not at all.
#[derive(Clone, Debug, Default)]
pub struct Portability {
    /// Ported numbers and prefixes, asked first.
    pub table: Option<Arc<PortedNumbers>>,
    /// Asked for what the table does not know.
    pub service: Option<Arc<LookupService>>,
    /// What answers mean that are no operator's name, such as `20801`.
    pub codes: HashMap<String, OperatorName>,
}

impl Portability {
    /// True if anything is looked up at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.table.is_some() || self.service.is_some()
    }
}

/// A service that is asked over HTTP.
#[derive(Clone, PartialEq, Eq)]
pub struct LookupService {
    /// Where, with `{number}` or `{+number}` in the number's place. It may hold a key.
    pub url: String,
    /// JSON pointer (RFC 6901) to the answer; empty: the whole body is the answer.
    pub answer: String,
    /// How long an answer is awaited.
    pub timeout: Duration,
    /// How long an answer is believed.
    pub keep: Duration,
    /// Prefixes, in digits, of the numbers that it is asked for; none means every number.
    pub prefixes: Vec<String>,
}

impl LookupService {
    /// Where to ask for a number.
    #[must_use]
    pub fn url_for(&self, number: Msisdn) -> String {
        let digits = number.as_u64().to_string();
        self.url
            .replace("{+number}", &format!("%2B{digits}"))
            .replace("{number}", &digits)
    }

    /// True if it is asked for this number.
    #[must_use]
    pub fn knows(&self, number: Msisdn) -> bool {
        let digits = number.as_u64().to_string();
        let mut prefixes = self.prefixes.iter();
        self.prefixes.is_empty() || prefixes.any(|prefix| digits.starts_with(prefix))
    }

    /// Scheme and host: what may be shown of the URL.
    #[must_use]
    pub fn host(&self) -> &str {
        let start = self.url.find("://").map_or(0, |at| at + 3);
        let rest = &self.url[start..];
        let host = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        host.rsplit_once('@').map_or(host, |(_, host)| host)
    }
}

impl fmt::Debug for LookupService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookupService")
            .field("host", &self.host())
            .field("timeout", &self.timeout)
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

/// Bits of an entry that tell the operator; the others hold the number, of 15 digits at most.
const OPERATOR_BITS: u32 = 14;

/// A table of numbers and prefixes with the operator of each: eight octets an entry.
#[derive(Clone, Default)]
pub struct PortedNumbers {
    operators: Vec<OperatorName>,
    /// Number and index of the operator, in order.
    entries: Vec<u64>,
    /// Bit `n` is set if there are entries of `n` digits.
    lengths: u32,
}

/// One line of a table.
#[derive(Clone, Copy, Debug)]
pub struct PortedNumber {
    /// The number, or the beginning of numbers, in digits: not 0, 15 digits at most.
    pub number: u64,
    /// Index of its operator.
    pub operator: u16,
    /// Line in the file.
    pub line: u32,
}

/// Two lines that say different things of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The later line.
    pub line: u32,
    /// The earlier one.
    pub earlier: u32,
}

impl PortedNumbers {
    /// Most operators that a table can tell apart.
    pub const MOST_OPERATORS: usize = 1 << OPERATOR_BITS;

    /// Puts a table together; `operator` of each line is an index into `operators`.
    ///
    /// # Errors
    /// The lines that contradict others.
    pub fn new(
        operators: Vec<OperatorName>,
        mut lines: Vec<PortedNumber>,
    ) -> Result<Self, Vec<Contradiction>> {
        lines.sort_unstable_by_key(|line| (line.number, line.line));
        let pairs = lines.windows(2).filter_map(|pair| match pair {
            [a, b] if a.number == b.number && a.operator != b.operator => Some(Contradiction {
                line: b.line,
                earlier: a.line,
            }),
            _ => None,
        });
        let mut contradictions: Vec<_> = pairs.collect();
        if !contradictions.is_empty() {
            contradictions.sort_unstable_by_key(|it| it.line);
            return Err(contradictions);
        }
        let mut lengths = 0;
        let entry = |line: &PortedNumber| line.number << OPERATOR_BITS | u64::from(line.operator);
        let mut entries: Vec<u64> = Vec::with_capacity(lines.len());
        for line in &lines {
            lengths |= 1 << digits(line.number);
            entries.push(entry(line));
        }
        entries.dedup();
        Ok(Self {
            operators,
            entries,
            lengths,
        })
    }

    /// The operator of a number: of the longest entry that it begins with.
    #[must_use]
    pub fn find(&self, number: Msisdn) -> Option<&OperatorName> {
        let mut number = number.as_u64();
        while number > 0 {
            if self.lengths & 1 << digits(number) != 0 {
                let at = self
                    .entries
                    .partition_point(|entry| entry >> OPERATOR_BITS < number);
                let entry = self.entries.get(at).copied();
                if let Some(entry) = entry.filter(|entry| entry >> OPERATOR_BITS == number) {
                    let operator = entry & ((1 << OPERATOR_BITS) - 1);
                    return self.operators.get(usize::try_from(operator).ok()?);
                }
            }
            number /= 10;
        }
        None
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The same for the same entries, and most likely another one for others.
    #[must_use]
    pub fn checksum(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.operators, &self.entries).hash(&mut hasher);
        hasher.finish()
    }

    /// What the entries take of the memory, in octets.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.entries.len() * size_of::<u64>()
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Number of decimal digits; up to 20.
fn digits(number: u64) -> u32 {
    number.checked_ilog10().map_or(1, |log| log + 1)
}

impl fmt::Debug for PortedNumbers {
    /// The numbers are people's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PortedNumbers({} entries)", self.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(number: u64, operator: u16, line: u32) -> PortedNumber {
        PortedNumber {
            number,
            operator,
            line,
        }
    }

    fn number(digits: &str) -> Msisdn {
        Msisdn::from_e164_digits(digits).unwrap()
    }

    #[test]
    fn the_longest_entry_that_a_number_begins_with_tells_its_operator() {
        let operators = vec!["orange".into(), "sfr".into(), "free".into()];
        let lines = vec![
            line(33_612_345_678, 2, 1),
            line(336, 0, 2),
            line(336_123, 1, 3),
            line(336, 0, 4),
        ];
        let table = PortedNumbers::new(operators, lines).unwrap();
        assert_eq!(table.len(), 3, "said twice is said once");
        for (digits, operator) in [
            ("33612345678", Some("free")),
            ("33612345679", Some("sfr")),
            ("33612445678", Some("orange")),
            ("33712345678", None),
        ] {
            let found = table.find(number(digits)).map(OperatorName::as_str);
            assert_eq!(found, operator, "{digits}");
        }
        assert_eq!(PortedNumbers::default().find(number("33612345678")), None);
    }

    #[test]
    fn lines_that_contradict_each_other_are_told() {
        let lines = vec![line(336, 0, 1), line(337, 0, 2), line(336, 1, 3)];
        let told = PortedNumbers::new(vec!["a".into(), "b".into()], lines).unwrap_err();
        assert_eq!(
            told,
            [Contradiction {
                line: 3,
                earlier: 1
            }]
        );
    }

    #[test]
    fn the_number_stands_in_the_url_and_only_the_host_is_shown() {
        let service = |url: &str, prefixes: &[&str]| LookupService {
            url: url.to_owned(),
            answer: String::new(),
            timeout: Duration::from_millis(300),
            keep: Duration::from_hours(24),
            prefixes: prefixes.iter().map(|p| (*p).to_owned()).collect(),
        };
        let plain = service(
            "https://u:p@mnp.example:8443/{number}?key=k",
            &["33", "262"],
        );
        let to = number("33612345678");
        assert_eq!(
            plain.url_for(to),
            "https://u:p@mnp.example:8443/33612345678?key=k"
        );
        assert_eq!(plain.host(), "mnp.example:8443");
        assert!(!format!("{plain:?}").contains("key"), "{plain:?}");
        assert!(plain.knows(to) && !plain.knows(number("447700900123")));
        let plus = service("http://mnp.example?n={+number}", &[]);
        assert_eq!(plus.url_for(to), "http://mnp.example?n=%2B33612345678");
        assert!(plus.knows(number("447700900123")));
        assert_eq!(plus.host(), "mnp.example");
    }
}
