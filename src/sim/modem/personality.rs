//! The families of modems that can be played, each with the habits that make clients stumble.

use serde::Deserialize;

/// A family of modems.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Personality {
    /// A Huawei stick: talkative, `COMMAND NOT SUPPORT`, places counted from 0.
    Huawei,
    /// A SIMCom module: an empty place is a bare `OK`, reports only by `+CDS`.
    Simcom,
    /// A Quectel module: receives into `ME`, from 0.
    #[default]
    Quectel,
    /// A Siemens terminal on a slow line: needs rest between commands, `<bfr>` must be 1.
    Siemens,
}

/// What a family has in common.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) manufacturer: &'static str,
    pub(super) model: &'static str,
    pub(super) revision: &'static str,
    pub(super) cnmi: &'static str,
    /// Name, capacity, first index.
    pub(super) memories: &'static [(&'static str, usize, usize)],
    /// Which memories `+CPMS` names at a start.
    pub(super) preferred: [&'static str; 3],
    pub(super) prompt: &'static str,
    pub(super) unknown: &'static str,
    /// What stands between the end of a line and the next one, beside CR LF.
    pub(super) trailer: &'static str,
    pub(super) chatter: &'static [&'static str],
    pub(super) boot: &'static [&'static str],
    /// Said when the receiving memory is full.
    pub(super) full: Option<&'static str>,
    /// Reading an empty place is answered by a bare `OK`.
    pub(super) empty_is_ok: bool,
    /// USSD texts are packed septets in hexadecimal until `^USSDMODE=0`.
    pub(super) packed_ussd: bool,
    /// A reset takes it off the bus.
    pub(super) usb: bool,
    pub(super) latency_ms: u64,
    pub(super) prompt_ms: u64,
    pub(super) send_ms: u64,
    pub(super) rest_ms: u64,
}

static HUAWEI: Profile = Profile {
    manufacturer: "huawei",
    model: "E1752",
    revision: "11.126.15.00.00",
    cnmi: "(0,1,2),(0,1,2,3),(0,2),(0,1,2),(0,1)",
    memories: &[("SM", 20, 0), ("ME", 255, 0)],
    preferred: ["SM", "SM", "SM"],
    prompt: "\r\n> ",
    unknown: "COMMAND NOT SUPPORT",
    trailer: "\r\n",
    chatter: &[
        "^RSSI:18",
        "^DSFLOWRPT:0000001E,00000000,00000000,0000000000000000,0000000000000000,0000,0000",
        "^HCSQ:\"WCDMA\",41,38,50",
        "^MODE:5,4",
        "^CSNR:-86,-8",
    ],
    boot: &["^BOOT:27710117,0,0,0,6", "^SIMST:1", "^SRVST:2", "^RSSI:18"],
    full: Some("^SMMEMFULL: \"SM\""),
    empty_is_ok: false,
    packed_ussd: true,
    usb: true,
    latency_ms: 0,
    prompt_ms: 0,
    send_ms: 0,
    rest_ms: 0,
};

static SIMCOM: Profile = Profile {
    manufacturer: "SIMCOM_Ltd",
    model: "SIMCOM_SIM800L",
    revision: "Revision:1418B05SIM800L24",
    cnmi: "(0-2),(0-3),(0,2,3),(0,1),(0,1)",
    memories: &[
        ("SM", 50, 1),
        ("ME", 100, 1),
        ("SM_P", 50, 1),
        ("ME_P", 100, 1),
    ],
    preferred: ["SM", "SM", "SM"],
    prompt: "\r\n> ",
    unknown: "ERROR",
    trailer: "",
    chatter: &[
        "*PSUTTZ: 2026,11,22,10,30,00,\"+4\",0",
        "DST: 0",
        "UNDER-VOLTAGE WARNNING",
        "+CIEV: 10,\"20801\",\"Simulated\",\"Simulated\",0,0",
    ],
    boot: &["RDY", "+CFUN: 1", "+CPIN: READY", "Call Ready", "SMS Ready"],
    full: None,
    empty_is_ok: true,
    packed_ussd: false,
    usb: true,
    latency_ms: 0,
    prompt_ms: 0,
    send_ms: 0,
    rest_ms: 0,
};

static QUECTEL: Profile = Profile {
    manufacturer: "Quectel",
    model: "EC25",
    revision: "EC25EFAR06A06M4G",
    cnmi: "(0-2),(0-3),(0,2),(0-2),(0,1)",
    memories: &[("ME", 255, 0), ("SM", 50, 0), ("SR", 50, 0)],
    preferred: ["ME", "ME", "ME"],
    prompt: "\r\n> ",
    unknown: "ERROR",
    trailer: "",
    chatter: &[
        "+QIND: \"csq\",18,99",
        "+QIND: \"act\",\"LTE\"",
        "+QLWURC: \"ping\",0",
    ],
    boot: &[
        "RDY",
        "+CFUN: 1",
        "+CPIN: READY",
        "+QUSIM: 1",
        "+QIND: SMS DONE",
        "+QIND: PB DONE",
    ],
    full: Some("+QIND: \"smsfull\",\"ME\""),
    empty_is_ok: false,
    packed_ussd: false,
    usb: true,
    latency_ms: 0,
    prompt_ms: 0,
    send_ms: 0,
    rest_ms: 0,
};

static SIEMENS: Profile = Profile {
    manufacturer: "SIEMENS",
    model: "TC35i",
    revision: "REVISION 03.01",
    cnmi: "(0-3),(0-3),(0,2,3),(0-2),(1)",
    memories: &[("MT", 50, 1), ("SM", 30, 1), ("ME", 25, 1), ("SR", 5, 1)],
    preferred: ["MT", "SM", "MT"],
    prompt: "\n>",
    unknown: "ERROR",
    trailer: "",
    chatter: &["^SBC: Undervoltage", "^SCKS: 1", "+CIEV: signal,3"],
    boot: &["^SYSSTART"],
    full: None,
    empty_is_ok: false,
    packed_ussd: false,
    usb: false,
    latency_ms: 30,
    prompt_ms: 100,
    send_ms: 500,
    rest_ms: 50,
};

impl Personality {
    pub(super) const fn profile(self) -> &'static Profile {
        match self {
            Self::Huawei => &HUAWEI,
            Self::Simcom => &SIMCOM,
            Self::Quectel => &QUECTEL,
            Self::Siemens => &SIEMENS,
        }
    }
}
