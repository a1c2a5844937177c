//! What one seed stands for: carriers, rules, traffic, and when what goes wrong.

use std::time::Duration;

use relais::channel::smpp::{BindMode, SmppConfig};
use relais::clock::Random;
use relais::domain::policy::{Limits, OnDoubt, Operator, Policy};
use relais::domain::retry::RetrySchedule;
use relais::engine::accept::Draft;
use relais::sim::smsc::{
    IdForm, Ids, MoMessage, ReceiptForm, Receipts, Rule, ScriptedState, SmscScript,
};

use crate::START;
use crate::disk::Sabotage;
use crate::faults::{Fault, Stop};

/// Chance, all of it from the seed.
pub struct Dice(Random);

impl Dice {
    pub fn new(seed: u64, stream: u64) -> Self {
        Self(Random::seeded(
            seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ stream.wrapping_mul(0xD6E8_FEB8_6659_FD93),
        ))
    }

    /// A number below `end`.
    pub fn below(&self, end: u64) -> u64 {
        u64::from_be_bytes(self.0.bytes()) % end.max(1)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in so many of a hundred cases.
    pub fn percent(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Clone>(&self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()].clone()
    }

    /// An instant before `end`.
    pub fn moment(&self, end: Duration) -> Duration {
        Duration::from_millis(self.below(u64::try_from(end.as_millis()).unwrap()))
    }
}

/// One account, and the carrier at its other end.
#[derive(Clone)]
pub struct Account {
    pub name: String,
    pub config: SmppConfig,
    pub script: SmscScript,
    pub rate: u32,
}

/// One call of a client.
#[derive(Clone)]
pub struct Post {
    pub at: Duration,
    /// Number of its first message; the others follow.
    pub first: u32,
    pub drafts: Vec<Draft>,
    /// The idempotency key. A call without one is not repeated when its answer is lost.
    pub key: Option<[u8; 16]>,
    /// The same call is made once more so much later, although it was answered.
    pub again: Option<Duration>,
    /// Messages of it that are withdrawn, and how much later.
    pub cancels: Vec<(u32, Duration)>,
}

/// An account that an operator pauses, and resumes later.
#[derive(Clone)]
pub struct Pause {
    pub at: Duration,
    pub lasts: Duration,
    pub account: String,
    /// What is known of the account is forgotten at the end of it.
    pub reset: bool,
}

/// A world before it is run.
#[derive(Clone)]
pub struct Plan {
    pub seed: u64,
    pub accounts: Vec<Account>,
    pub policy: Policy,
    /// How long clients send and things go wrong.
    pub traffic: Duration,
    pub posts: Vec<Post>,
    pub faults: Vec<Fault>,
    pub stops: Vec<Stop>,
    /// What handsets send, and to which account.
    pub inbound: Vec<(Duration, usize, MoMessage)>,
    pub pauses: Vec<Pause>,
    /// A defect that the oracle must find.
    pub sabotage: Option<Sabotage>,
}

const MINUTE: Duration = Duration::from_secs(60);

/// Every so many worlds is a crowded one.
const CROWDED_EVERY: u64 = 4;

impl Plan {
    pub fn draw(seed: u64) -> Self {
        let plan = Self::draw_usual(seed);
        if seed.is_multiple_of(CROWDED_EVERY) {
            plan.crowded()
        } else {
            plan
        }
    }

    /// The same world where ids are easily taken for one another: they count from 1, so that one
    /// message's id in decimal is another one's in hexadecimal; there are three handsets, so that the
    /// recipient seldom decides; and most carriers report before they answer.
    pub fn crowded(mut self) -> Self {
        let dice = Dice::new(self.seed, 2);
        for account in &mut self.accounts {
            let script = &mut account.script;
            script.ids.start = 1;
            script.ids.reported = match script.ids.submitted {
                IdForm::Decimal => IdForm::Decimal,
                IdForm::Hex | IdForm::HexUpper => dice.pick(&[IdForm::Hex, IdForm::HexUpper]),
            };
            script.receipts.before_response = dice.percent(60);
        }
        for draft in self.posts.iter_mut().flat_map(|post| &mut post.drafts) {
            draft.to = format!("+3361234567{}", dice.below(3));
        }
        self
    }

    fn draw_usual(seed: u64) -> Self {
        let dice = Dice::new(seed, 1);
        let traffic = dice.pick(&[MINUTE * 3, MINUTE * 20, MINUTE * 60, MINUTE * 240]);
        let traffic = if dice.percent(5) {
            MINUTE * 1440
        } else {
            traffic
        };
        let accounts: Vec<_> = (1..=dice.pick(&[1, 1, 2, 2, 3]))
            .map(|number| account(&dice, number))
            .collect();
        let policy = policy(&dice, &accounts);
        let posts = posts(&dice, traffic);
        let faults = Fault::draw_all(&dice, accounts.len(), traffic);
        let stops = Stop::draw_all(&dice, accounts.len(), traffic);
        let inbound = (0..dice.pick(&[0, 2, 5, 10]))
            .map(|number| {
                let text = format!("mo{number:04} ");
                let text = match dice.below(10) {
                    0 => "STOP".to_owned(),
                    1 => " arrêt. ".to_owned(),
                    2 => "Start".to_owned(),
                    3 => text.repeat(40),
                    _ => text,
                };
                let message = MoMessage {
                    from: number_of(&dice).trim_start_matches('+').to_owned(),
                    to: "36180".to_owned(),
                    text,
                };
                let to = usize::try_from(dice.below(accounts.len() as u64)).unwrap();
                (dice.moment(traffic), to, message)
            })
            .collect();
        let pauses = (0..dice.pick(&[0, 0, 0, 1, 2]))
            .map(|_| Pause {
                at: dice.moment(traffic),
                lasts: dice.moment(traffic.min(MINUTE * 20)),
                account: dice.pick(&accounts).name,
                reset: dice.percent(30),
            })
            .collect();
        Self {
            pauses,
            seed,
            accounts,
            policy,
            traffic,
            posts,
            faults,
            stops,
            inbound,
            sabotage: None,
        }
    }
}

fn account(dice: &Dice, number: u64) -> Account {
    let name = format!("a{number}");
    let mut config = SmppConfig::new(&name, "in memory", 1, &name, "secret");
    config.binds = dice.pick(&[1, 1, 1, 2, 3]);
    config.window = dice.pick(&[1, 2, 5, 10, 10]);
    config.response_timeout = Duration::from_secs(dice.pick(&[5, 10, 30]));
    config.enquire_link = Duration::from_secs(dice.pick(&[30, 60, 120]));
    if dice.percent(25) {
        config.bind = BindMode::TransmitterReceiver;
    }
    Account {
        name,
        config,
        script: script(dice),
        rate: dice.pick(&[0, 0, 0, 5, 50]),
    }
}

fn script(dice: &Dice) -> SmscScript {
    let far = 1_000_000_000 + dice.below(1 << 40);
    let forms = [IdForm::Decimal, IdForm::Hex, IdForm::HexUpper];
    // Small ids are written alike: written otherwise they would be other messages' ids, and no
    // program could tell.
    let ids = match dice.below(4) {
        0 => Ids {
            start: dice.pick(&[1, 1, 900_000]),
            ..Ids::default()
        },
        1 => Ids {
            start: 0x100,
            submitted: IdForm::Hex,
            reported: dice.pick(&forms[1..]),
            submitted_width: dice.pick(&[0, 8]),
            reported_width: dice.pick(&[0, 10]),
            ..Ids::default()
        },
        _ => Ids {
            start: far,
            submitted: dice.pick(&forms),
            reported: dice.pick(&forms),
            submitted_width: dice.pick(&[0, 0, 16]),
            reported_width: dice.pick(&[0, 0, 20]),
            ..Ids::default()
        },
    };
    let flag = || dice.percent(15);
    let receipts = Receipts {
        delay_ms: dice.pick(&[0, 0, 50, 3_000, 60_000, 1_200_000]),
        form: dice.pick(&[ReceiptForm::Both, ReceiptForm::Text, ReceiptForm::Tlv]),
        jitter_ms: dice.pick(&[0, 0, 0, 200, 20_000]),
        before_response: flag(),
        other_bind: flag(),
        accepted_first: flag(),
        lose_every: dice.pick(&[None, None, None, None, None, Some(7)]),
        duplicate: flag(),
        reverse_parts: flag(),
        enroute_first: flag(),
        data_sm: flag(),
        payload: flag(),
        seconds: flag(),
        ..Receipts::default()
    };
    SmscScript {
        response_delay_ms: dice.pick(&[0, 0, 5, 60, 300, 2_000]),
        ids,
        receipts,
        rules: (0..dice.pick(&[0, 0, 1, 2, 3]))
            .map(|_| rule(dice))
            .collect(),
        deliver_window: dice.pick(&[1, 4, 64]),
        enquire_link_ms: dice.pick(&[0, 0, 45_000]),
        ..SmscScript::default()
    }
}

/// A few numbers have an unhappy fate.
fn rule(dice: &Dice) -> Rule {
    let mut rule = Rule {
        suffix: dice.below(10).to_string(),
        ..Rule::default()
    };
    match dice.below(8) {
        0 => {
            rule.status = Some(dice.pick(&[0x08, 0x45, 0x64]));
            rule.times = dice.pick(&[Some(1), Some(3), None]);
        }
        1 => rule.status = Some(dice.pick(&[0x0B, 0x65])),
        2 => {
            rule.status = Some(dice.pick(&[0x58, 0x14]));
            rule.times = Some(dice.between(1, 4));
        }
        3 => rule.unanswered = true,
        4 => rule.response_delay_ms = Some(dice.pick(&[4_000, 12_000, 40_000])),
        _ => {
            rule.receipt = Some(dice.pick(&[
                ScriptedState::None,
                ScriptedState::Expired,
                ScriptedState::Undeliverable,
                ScriptedState::Rejected,
                ScriptedState::Deleted,
                ScriptedState::Accepted,
                ScriptedState::Unknown,
                ScriptedState::Enroute,
            ]));
        }
    }
    rule
}

fn policy(dice: &Dice, accounts: &[Account]) -> Policy {
    let operator = |name: &str, prefix: &[&str]| {
        let mut route = vec![Vec::new(), Vec::new()];
        for account in accounts {
            let step = dice.pick(&[0, 0, 0, 1, 1, 2]);
            if let Some(step) = route.get_mut(step) {
                step.push(account.name.as_str().into());
            }
        }
        route.retain(|step| !step.is_empty());
        if route.is_empty() {
            route.push(vec![accounts[0].name.as_str().into()]);
        }
        let mut operator = Operator::named(name, route);
        operator.failover_after = dice.pick(&[MINUTE / 12, MINUTE, MINUTE * 10]);
        operator.prefixes = prefix.iter().map(|prefix| (*prefix).to_owned()).collect();
        operator.validity = dice.pick(&[MINUTE * 10, MINUTE * 60, MINUTE * 60, MINUTE * 360]);
        operator.retry = RetrySchedule(
            dice.pick(&[
                vec![5, 10, 20],
                vec![10, 60, 300, 900],
                vec![1, 2, 4, 8, 16, 32, 64, 128, 256],
            ])
            .into_iter()
            .map(Duration::from_secs)
            .collect(),
        );
        operator.on_doubt = dice.pick(&[OnDoubt::Resend, OnDoubt::Resend, OnDoubt::Fail]);
        operator
    };
    let others = if dice.percent(60) {
        vec![operator("mobile", &["337"])]
    } else {
        Vec::new()
    };
    let mut policy = Policy::new(operator("default", &[]), others, "FR", Limits::default());
    policy.receipt_grace = dice.pick(&[MINUTE, MINUTE * 10]);
    policy.rates = accounts
        .iter()
        .map(|account| (account.name.as_str().into(), account.rate.into()))
        .collect();
    policy
}

fn number_of(dice: &Dice) -> String {
    format!("+33{}1234567{}", dice.pick(&[6, 7]), dice.below(10))
}

/// What every part of message `number` has somewhere in its text.
pub fn mark(number: u32) -> String {
    format!("m{number:04} ")
}

/// The number of the message that a text, or a part of one, belongs to.
pub fn marked(text: &str) -> Option<u32> {
    text.match_indices('m')
        .filter_map(|(at, _)| text.get(at + 1..at + 5)?.parse().ok())
        .next()
}

fn posts(dice: &Dice, traffic: Duration) -> Vec<Post> {
    let mut posts = Vec::new();
    let mut next = 0;
    for _ in 0..dice.between(2, 6) {
        let from = dice.moment(traffic);
        for _ in 0..dice.between(1, 6) {
            let count = dice.pick(&[1, 1, 1, 2, 5]);
            let count = if dice.below(150) == 0 { 100 } else { count };
            let at = from + dice.moment(dice.pick(&[MINUTE / 60, MINUTE]));
            posts.push(post(dice, at, next, count, traffic));
            next += count;
        }
    }
    posts
}

fn post(dice: &Dice, at: Duration, first: u32, count: u32, traffic: Duration) -> Post {
    let numbers = first..first + count;
    let key = dice.percent(80).then(|| {
        let mut key = [0; 16];
        key[..4].copy_from_slice(&first.to_be_bytes());
        key
    });
    Post {
        at,
        first,
        drafts: numbers
            .clone()
            .map(|number| draft(dice, number, at, traffic))
            .collect(),
        key,
        again: dice.percent(15).then(|| dice.moment(traffic)),
        cancels: numbers
            .filter(|_| dice.percent(10))
            .map(|number| (number, dice.moment(dice.pick(&[MINUTE / 60, MINUTE * 5]))))
            .collect(),
    }
}

fn draft(dice: &Dice, number: u32, at: Duration, traffic: Duration) -> Draft {
    let mark = mark(number);
    let text = match dice.below(10) {
        0 => mark.repeat(30),
        1 => mark.repeat(dice.pick(&[60, 75])),
        2 => format!("ж {mark}"),
        3 => format!("ж {}", mark.repeat(dice.pick(&[14, 20, 24]))),
        _ => mark,
    };
    Draft {
        to: number_of(dice),
        text: text.trim_end().to_owned() + " ",
        send_at: dice
            .percent(10)
            .then(|| START + at + dice.moment(traffic.min(MINUTE * 60))),
        validity: dice
            .percent(20)
            .then(|| dice.pick(&[MINUTE, MINUTE * 5, MINUTE * 45])),
        priority: dice.pick(&[None, None, None, Some(0), Some(2), Some(3)]),
        on_doubt: dice.pick(&[None, None, None, Some(OnDoubt::Fail), Some(OnDoubt::Resend)]),
        ..Draft::default()
    }
}
