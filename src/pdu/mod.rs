//! The ground floor: what 3GPP TS 23.038 (alphabets) and TS 23.040 (user data)
//! say about the content of a short message, as pure code.
//!
//! Nothing here knows the gateway: no project type, no clock, no I/O. Every
//! function is total; what arrives from the air or from a client cannot make it
//! panic.
//!
//! | file | what it holds |
//! |---|---|
//! | [`gsm7`] | the GSM 7 bit default alphabet, its extension table |
//! | [`ucs2`] | UTF-16BE, for SMPP `data_coding` 8 and the UCS2 alphabet |
//! | [`latin1`] | ISO-8859-1, for SMPP `data_coding` 3 |
//! | [`default_alphabet`] | what an SMSC takes `data_coding` 0 for |
//! | [`transliterate`] | the nearest form of characters that an alphabet lacks |
//! | [`segment`] | text → alphabet, segment count, split points |
//! | [`udh`] | user data header: concatenation, building and parsing |
//!
//! and what a GSM modem gives and takes, which is a TPDU with the service centre's address
//! before it:
//!
//! | file | what it holds |
//! |---|---|
//! | [`tpdu`] | a modem's line ↔ service centre and TPDU, by its message type |
//! | [`submit`], [`deliver`], [`status_report`] | SMS-SUBMIT, SMS-DELIVER, SMS-STATUS-REPORT |
//! | [`address`] | TP-OA, TP-DA, TP-RA and the service centre's: numbers and names |
//! | [`dcs`] | TP-DCS: alphabet, class, message waiting |
//! | [`timestamp`] | TP-SCTS and TP-DT: local time with its zone |
//! | [`validity`] | TP-VP in its three formats |
//! | [`user_data`] | TP-UDL and TP-UD: header, fill bits, text |
//! | [`packing`] | septets ↔ octets |
//! | [`national`] | the national language tables, for reading (`indic` holds those of India) |

pub mod address;
pub mod dcs;
pub mod default_alphabet;
pub mod deliver;
pub mod gsm7;
mod indic;
pub mod latin1;
pub mod national;
pub mod packing;
mod reader;
pub mod segment;
pub mod status_report;
pub mod submit;
pub mod timestamp;
pub mod tpdu;
pub mod transliterate;
pub mod ucs2;
pub mod udh;
pub mod user_data;
pub mod validity;

pub use reader::{DecodeError, Problem};
