//! What goes wrong, drawn from the seed: at the carriers, and with the daemon itself.

use std::time::Duration;

use relais::sim::smsc::{ScriptedState, SmscHandle, SmscScript};

use crate::disk::Fuse;
use crate::plan::Dice;

/// One thing that a carrier does for a while.
#[derive(Clone, Debug)]
pub struct Fault {
    pub at: Duration,
    pub lasts: Duration,
    /// Which carrier.
    pub account: usize,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Every connection is closed without a word.
    Disconnect,
    /// The carrier unbinds.
    Unbind,
    /// It closes the connection at every n-th message, unanswered.
    CloseEvery(u64),
    /// Connections are refused, and those that stand are closed.
    Down,
    /// Binds are refused.
    RefuseBinds(u32),
    /// It reads and answers nothing.
    Silent,
    /// It answers after so many milliseconds.
    Slow(u64),
    /// It takes and never answers.
    Mute,
    /// It takes every n-th message and loses the answer.
    LoseAnswers(u64),
    /// It writes what is no PDU.
    Garbage,
    /// It takes so many messages a second.
    Throttle(u32),
    /// It takes so many unanswered messages.
    Narrow(usize),
    /// It refuses every n-th message with this status.
    Refuse(u64, u32),
    /// Receipts come after so many milliseconds.
    LateReceipts(u64),
    /// There are none.
    NoReceipts,
    /// They come before the answer.
    EarlyReceipts,
    /// Each comes twice.
    DoubleReceipts,
}

/// A `deliver_sm` whose body ends in the middle.
const GARBAGE: [u8; 20] = [
    0, 0, 0, 20, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 77, 0, 1, 1, 0x33,
];

impl Fault {
    pub fn draw_all(dice: &Dice, accounts: usize, traffic: Duration) -> Vec<Self> {
        (0..dice.pick(&[0, 1, 2, 4, 8]))
            .map(|_| Self {
                at: dice.moment(traffic),
                lasts: dice.moment(traffic.min(Duration::from_secs(dice.pick(&[5, 60, 1200])))),
                account: usize::try_from(dice.below(accounts as u64)).unwrap(),
                kind: Kind::draw(dice),
            })
            .collect()
    }

    /// Does it, and undoes it after its time.
    pub async fn run(self, carrier: SmscHandle, usual: SmscScript) {
        tokio::time::sleep(self.at).await;
        match self.kind {
            Kind::Disconnect => return carrier.disconnect_all(),
            Kind::Unbind => return carrier.unbind_all(),
            Kind::Garbage => return carrier.inject_raw(&GARBAGE),
            kind => carrier.change_script(|script| kind.change(script, &usual)),
        }
        if let Kind::Down = self.kind {
            carrier.disconnect_all();
        }
        tokio::time::sleep(self.lasts).await;
        carrier.change_script(|script| self.kind.undo(script, &usual));
    }
}

impl Kind {
    fn draw(dice: &Dice) -> Self {
        match dice.below(18) {
            0 | 1 => Self::Disconnect,
            2 => Self::Unbind,
            3 => Self::CloseEvery(dice.between(1, 9)),
            4 => Self::Down,
            5 => Self::RefuseBinds(dice.pick(&[0x0D, 0x0E, 0x05])),
            6 => Self::Silent,
            7 => Self::Slow(dice.pick(&[900, 4_500, 20_000, 45_000])),
            8 | 9 => Self::Mute,
            10 => Self::Throttle(dice.pick(&[0, 1, 3])),
            11 => Self::Narrow(dice.pick(&[0, 1, 2])),
            12 => Self::Refuse(
                dice.between(1, 4),
                dice.pick(&[0x08, 0x58, 0x14, 0x0B, 0x64]),
            ),
            13 => Self::LateReceipts(dice.pick(&[30_000, 600_000, 7_200_000])),
            14 => Self::NoReceipts,
            15 => Self::LoseAnswers(dice.between(2, 5)),
            16 => Self::Garbage,
            _ => dice.pick(&[Self::EarlyReceipts, Self::DoubleReceipts]),
        }
    }

    fn change(self, script: &mut SmscScript, usual: &SmscScript) {
        match self {
            Self::Disconnect | Self::Unbind | Self::Garbage => {}
            Self::CloseEvery(every) => script.close_every = Some(every),
            Self::Down => script.refuse_connections = true,
            Self::RefuseBinds(status) => script.bind_status = status,
            Self::Silent => script.silent = true,
            Self::Slow(millis) => script.response_delay_ms = millis,
            Self::Mute => {
                let rule = relais::sim::smsc::Rule {
                    unanswered: true,
                    ..Default::default()
                };
                script.rules.clone_from(&usual.rules);
                script.rules.insert(0, rule);
            }
            Self::LoseAnswers(every) => script.lose_response_every = Some(every),
            Self::Throttle(rate) => script.rate_limit = Some(rate),
            Self::Narrow(window) => script.window = Some(window),
            Self::Refuse(every, status) => {
                (script.fail_every, script.fail_status) = (Some(every), status);
            }
            Self::LateReceipts(millis) => script.receipts.delay_ms = millis,
            Self::NoReceipts => script.receipts.state = ScriptedState::None,
            Self::EarlyReceipts => script.receipts.before_response = true,
            Self::DoubleReceipts => script.receipts.duplicate = true,
        }
    }

    fn undo(self, script: &mut SmscScript, usual: &SmscScript) {
        let usual = usual.clone();
        match self {
            Self::Disconnect | Self::Unbind | Self::Garbage => {}
            Self::CloseEvery(_) => script.close_every = None,
            Self::Down => script.refuse_connections = false,
            Self::RefuseBinds(_) => script.bind_status = 0,
            Self::Silent => script.silent = false,
            Self::Slow(_) => script.response_delay_ms = usual.response_delay_ms,
            Self::Mute => script.rules = usual.rules,
            Self::LoseAnswers(_) => script.lose_response_every = None,
            Self::Throttle(_) => script.rate_limit = None,
            Self::Narrow(_) => script.window = None,
            Self::Refuse(..) => script.fail_every = None,
            Self::LateReceipts(_) => script.receipts.delay_ms = usual.receipts.delay_ms,
            Self::NoReceipts => script.receipts.state = usual.receipts.state,
            Self::EarlyReceipts => {
                script.receipts.before_response = usual.receipts.before_response;
            }
            Self::DoubleReceipts => script.receipts.duplicate = usual.receipts.duplicate,
        }
    }
}

/// One end of the daemon, and how long until it is started again.
#[derive(Clone, Debug)]
pub struct Stop {
    pub when: When,
    /// How many turns of all tasks later: the await point.
    pub turns: u64,
    pub how: How,
    pub down: Duration,
    /// Whether the power goes out again while the store is being opened.
    pub opening: Option<Fuse>,
}

/// What a stop waits for.
#[derive(Clone, Debug)]
pub enum When {
    At(Duration),
    /// So many more `submit_sm` at a carrier.
    Submitted {
        account: usize,
        more: u64,
    },
    /// So many more `deliver_sm` from a carrier.
    Delivered {
        account: usize,
        more: u64,
    },
    /// In the middle of the writer's work.
    Writing(Fuse),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// All tasks end where they stand; of what was not synced, so many batches are kept.
    Killed { keeps: usize },
    /// As the daemon stops when it is told to.
    Clean,
}

impl Stop {
    pub fn draw_all(dice: &Dice, accounts: usize, traffic: Duration) -> Vec<Self> {
        (0..dice.pick(&[0, 1, 1, 2, 3, 5]))
            .map(|_| Self::draw(dice, accounts, traffic))
            .collect()
    }

    fn draw(dice: &Dice, accounts: usize, traffic: Duration) -> Self {
        let account = usize::try_from(dice.below(accounts as u64)).unwrap();
        let keeps = usize::try_from(dice.pick(&[0, 0, 1, 9])).unwrap();
        let when = match dice.below(6) {
            0 => When::At(dice.moment(traffic)),
            1 | 2 => When::Submitted {
                account,
                more: dice.between(1, 20),
            },
            3 => When::Delivered {
                account,
                more: dice.between(1, 20),
            },
            _ => When::Writing(Fuse {
                after: dice.below(60),
                keeps,
            }),
        };
        Self {
            when,
            turns: dice.pick(&[0, 1, 2, 3, 5, 8, 13]),
            how: if dice.percent(15) {
                How::Clean
            } else {
                How::Killed { keeps }
            },
            down: Duration::from_secs(dice.pick(&[0, 1, 20, 300])),
            opening: dice.percent(20).then(|| Fuse {
                after: dice.below(4),
                keeps,
            }),
        }
    }
}
