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

pub mod default_alphabet;
pub mod gsm7;
pub mod latin1;
pub mod segment;
pub mod transliterate;
pub mod ucs2;
pub mod udh;
