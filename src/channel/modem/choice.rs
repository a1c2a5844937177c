//! What to ask of a modem, given what it says it can do: pure decisions.

use super::answer;

/// Values of `+CNMI` (3GPP TS 27.005 §3.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Routing {
    /// How results are held back: 2 while the port is reserved.
    pub mode: u8,
    /// Messages: 0 nothing, 1 stored and announced by `+CMTI`.
    pub mt: u8,
    /// Cell broadcasts: 0.
    pub bm: u8,
    /// Reports: 0 none, 1 directly by `+CDS`, 2 stored and announced by `+CDSI`.
    pub ds: u8,
    /// What becomes of results held back: 0 written, 1 cleared.
    pub bfr: u8,
}

/// How status reports come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reports {
    /// By `+CDS`, not stored anywhere: lost while the port is closed.
    Direct,
    /// By `+CDSI`, stored.
    Stored,
    /// Not at all: *sent* is the last that is known of a message.
    None,
}

impl Routing {
    /// The command that sets it.
    #[must_use]
    pub fn command(self) -> String {
        let Self {
            mode,
            mt,
            bm,
            ds,
            bfr,
        } = self;
        format!("AT+CNMI={mode},{mt},{bm},{ds},{bfr}")
    }

    /// From the answer to `AT+CNMI?`; a field that is missing is 0.
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        let fields = answer::fields(answer::value(line));
        let field = |at: usize| fields.get(at).and_then(|field| field.parse().ok());
        Some(Self {
            mode: field(0)?,
            mt: field(1).unwrap_or(0),
            bm: field(2).unwrap_or(0),
            ds: field(3).unwrap_or(0),
            bfr: field(4).unwrap_or(0),
        })
    }

    /// How reports come with it.
    #[must_use]
    pub const fn reports(self) -> Reports {
        match self.ds {
            1 => Reports::Direct,
            2 => Reports::Stored,
            _ => Reports::None,
        }
    }

    /// True if it routes messages and reports as `wanted` does; a modem may show the other fields
    /// otherwise than they were set.
    #[must_use]
    pub const fn does(self, wanted: Self) -> bool {
        self.mode == wanted.mode && self.mt == wanted.mt && self.ds == wanted.ds
    }
}

/// Settings of `+CNMI` to try, best first, from the answer to `AT+CNMI=?`. Without one, those that
/// most modems take.
///
/// Mode 2 before 1, 3 and 0; messages stored; reports direct before stored before none. Modems based
/// on Qualcomm's offer mode 2 and refuse it, so the other modes follow.
#[must_use]
pub fn routings(test_answer: Option<&str>) -> Vec<Routing> {
    let offered = test_answer.map(|line| answer::ranges(answer::value(line)));
    let offers = |place: usize, value: u8| match &offered {
        // A group that is left out allows its default, 0.
        Some(groups) => groups
            .get(place)
            .map_or(value == 0, |group| group.contains(&value)),
        None => value != 3 || place != 0,
    };
    let best = |place: usize, wishes: &[u8]| -> Vec<u8> {
        let able = wishes.iter().copied().filter(|&value| offers(place, value));
        able.collect()
    };
    let modes = best(0, &[2, 1, 3, 0]);
    let mt = best(1, &[1, 0]).first().copied().unwrap_or(0);
    let bm = best(2, &[0]).first().copied().unwrap_or(0);
    let ds = best(3, &[1, 2, 0]);
    let bfr = best(4, &[0, 1]).first().copied().unwrap_or(0);
    let routing = |mode, ds| Routing {
        mode,
        mt,
        bm,
        ds,
        bfr,
    };
    let with = |wanted: bool| {
        let modes = modes.clone();
        let ds = ds.clone();
        modes.into_iter().flat_map(move |mode| {
            let kinds: Vec<u8> = ds
                .iter()
                .copied()
                .filter(|&ds| (ds > 0) == wanted)
                .collect();
            kinds.into_iter().map(move |ds| routing(mode, ds))
        })
    };
    // Any mode with reports is better than the best mode without.
    with(true).chain(with(false)).collect()
}

/// The stores that a modem has, from `AT+CPMS=?`: for reading, for sending, for receiving.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memories {
    /// The groups as listed: `<mem1>`, `<mem2>`, `<mem3>`; a modem may list fewer.
    pub groups: Vec<Vec<String>>,
}

/// Stores worth sweeping; others hold phone books and settings.
const SWEPT: [&str; 5] = ["SM", "ME", "MT", "SR", "BM"];

impl Memories {
    /// Reads the answer to `AT+CPMS=?`.
    #[must_use]
    pub fn read(line: &str) -> Self {
        Self {
            groups: answer::groups(answer::value(line)),
        }
    }

    fn offers(&self, group: usize, name: &str) -> bool {
        let group = self.groups.get(group);
        group.is_some_and(|names| names.iter().any(|known| known == name))
    }

    /// Settings of `+CPMS` to try, best first: one store for everything, so that the index of a
    /// `+CMTI` is that of the store read. A modem that lists fewer than three groups takes as many
    /// arguments as it lists, or one.
    #[must_use]
    pub fn choices(&self) -> Vec<MemoryChoice> {
        let groups = self.groups.len().clamp(1, 3);
        let mut all = Vec::new();
        for arguments in [groups, 1] {
            for name in ["SM", "ME", "MT"] {
                let able = (0..arguments).all(|group| self.offers(group, name));
                let choice = MemoryChoice {
                    name: name.to_owned(),
                    arguments,
                };
                if able && !all.contains(&choice) {
                    all.push(choice);
                }
            }
        }
        all
    }

    /// Stores that messages or reports may lie in. `MT` is `SM` and `ME` together, and needed only
    /// where these are not listed.
    #[must_use]
    pub fn to_sweep(&self) -> Vec<&'static str> {
        let listed = |name: &&&str| self.offers(0, name);
        let all: Vec<_> = SWEPT.iter().filter(listed).copied().collect();
        let apart = all.contains(&"SM") && all.contains(&"ME");
        all.into_iter()
            .filter(|name| *name != "BM" && !(apart && *name == "MT"))
            .collect()
    }
}

/// One setting of `+CPMS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryChoice {
    /// The store.
    pub name: String,
    /// How many times it is named.
    pub arguments: usize,
}

impl MemoryChoice {
    /// The command that sets it.
    #[must_use]
    pub fn command(&self) -> String {
        let quoted = format!("\"{}\"", self.name);
        format!("AT+CPMS={}", vec![quoted; self.arguments].join(","))
    }
}

/// What the SIM wants, from `+CPIN: <state>` (3GPP TS 27.007 §8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SimState {
    /// Nothing.
    Ready,
    /// Its PIN.
    Pin,
    /// Something that only a person should give: a PUK, a PIN2, a network's or the phone's lock.
    Locked(String),
}

impl SimState {
    /// Reads the state.
    #[must_use]
    pub fn read(line: &str) -> Self {
        match answer::value(line).trim_matches('"') {
            "READY" => Self::Ready,
            "SIM PIN" => Self::Pin,
            other => Self::Locked(other.to_owned()),
        }
    }
}

/// What to do about the PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PinStep {
    /// Enter the one that is configured.
    Enter,
    /// Enter none: none is configured.
    Missing,
    /// Enter none: this one has been refused before, and a third time locks the SIM.
    RefusedBefore,
    /// Enter none: the last try belongs to a person.
    LastTry,
}

/// Decides whether to enter the PIN. `tries` is what the modem says is left, if it says so; without
/// that one try is made, because a refusal is remembered.
#[must_use]
pub const fn pin_step(configured: bool, refused_before: bool, tries: Option<u8>) -> PinStep {
    match (configured, refused_before, tries) {
        (false, ..) => PinStep::Missing,
        (true, true, _) => PinStep::RefusedBefore,
        (true, false, Some(0 | 1)) => PinStep::LastTry,
        (true, false, _) => PinStep::Enter,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tried(test_answer: &str) -> Vec<String> {
        let commands = routings(Some(test_answer)).into_iter();
        commands
            .map(|routing| routing.command().replace("AT+CNMI=", ""))
            .collect()
    }

    #[test]
    fn the_routing_is_chosen_from_what_is_offered() {
        let cases = [
            ("(0,1,2),(0,1,2,3),(0,2),(0,1,2),(0,1)", "2,1,0,1,0"),
            ("(0-2),(0-1),(0-3),(0,2),(0-1)", "2,1,0,2,0"),
            ("(2),(0-1,3),(0,2),(0-1),(0)", "2,1,0,1,0"),
            ("(0,1,2),(0,1),(0,2),(0),(1)", "2,1,0,0,1"),
            ("(3),(0,1),(0),(0,1,2),(0)", "3,1,0,1,0"),
            ("(1),(0),(0),(0),(0)", "1,0,0,0,0"),
        ];
        for (offered, expected) in cases {
            assert_eq!(
                tried(&format!("+CNMI: {offered}"))[0],
                expected,
                "{offered}"
            );
        }
    }

    #[test]
    fn what_is_refused_is_followed_by_the_next_best() {
        assert_eq!(
            tried("+CNMI: (0-2),(0-1),(0),(0-2),(0)"),
            [
                "2,1,0,1,0",
                "2,1,0,2,0",
                "1,1,0,1,0",
                "1,1,0,2,0",
                "0,1,0,1,0",
                "0,1,0,2,0",
                "2,1,0,0,0",
                "1,1,0,0,0",
                "0,1,0,0,0"
            ]
        );
        assert_eq!(routings(None)[0].command(), "AT+CNMI=2,1,0,1,0");
        assert!(routings(Some("+CNMI: ")).len() <= 1);
    }

    #[test]
    fn the_stores_are_chosen_from_what_is_listed() {
        let first = |line: &str| {
            let choices = Memories::read(line).choices();
            choices.first().map(MemoryChoice::command)
        };
        let commands = [
            (
                "+CPMS: (\"MT\",\"SM\",\"ME\"),(\"MT\",\"SM\",\"ME\"),(\"MT\",\"SM\")",
                Some("AT+CPMS=\"SM\",\"SM\",\"SM\""),
            ),
            (
                "+CPMS: (ME\", \"SR\"), (\"ME\", \"SR\"), (\"ME\")",
                Some("AT+CPMS=\"ME\",\"ME\",\"ME\""),
            ),
            (
                "+CPMS: ((\"SM\",\"BM\",\"SR\"),(\"SM\"))",
                Some("AT+CPMS=\"SM\",\"SM\""),
            ),
            ("+CPMS: (),(),()", None),
            ("+CPMS: ", None),
        ];
        for (line, expected) in commands {
            assert_eq!(first(line).as_deref(), expected, "{line}");
        }
        let all = Memories::read("+CPMS: (\"SM\",\"ME\",\"MT\",\"SR\",\"BM\")");
        assert_eq!(all.to_sweep(), ["SM", "ME", "SR"]);
    }

    #[test]
    fn the_pin_is_never_tried_with_one_try_left_nor_twice() {
        assert_eq!(pin_step(true, false, Some(3)), PinStep::Enter);
        assert_eq!(pin_step(true, false, None), PinStep::Enter);
        assert_eq!(pin_step(true, false, Some(1)), PinStep::LastTry);
        assert_eq!(pin_step(true, true, Some(2)), PinStep::RefusedBefore);
        assert_eq!(pin_step(false, false, Some(3)), PinStep::Missing);
        assert_eq!(SimState::read("+CPIN: SIM PIN"), SimState::Pin);
        assert_eq!(SimState::read("+CPIN: READY"), SimState::Ready);
        assert_eq!(
            SimState::read("+CPIN: SIM PUK"),
            SimState::Locked("SIM PUK".to_owned())
        );
    }
}
