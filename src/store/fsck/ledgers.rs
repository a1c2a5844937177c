//! Credit: every balance is the sum of its ledger, whose lines have no gaps.

use super::{Findings, readable};
use crate::domain::credit::{Balance, KeyUse, Line, Purse};
use crate::domain::tenant::Unit;
use crate::store::codec::{decode, hex};
use crate::store::keys;
use crate::store::kv::{Kv, KvError};

pub(super) fn account<K: Kv>(
    kv: &K,
    key: &[u8],
    octets: &[u8],
    findings: &mut Findings,
) -> Result<(), KvError> {
    if keys::is_purse(key) {
        readable::<Purse>(key, octets, findings);
        return match decode::<Purse>(key, octets) {
            Ok(purse) => balance(kv, key, &purse, findings),
            Err(_) => Ok(()),
        };
    }
    readable::<KeyUse>(key, octets, findings);
    if decode::<KeyUse>(key, octets).is_ok_and(|it| keys::key_use(&it.tenant, &it.key) != key) {
        findings.problem(format!(
            "{}: what a key has used stands under another's",
            hex(key)
        ));
    }
    Ok(())
}

fn balance<K: Kv>(
    kv: &K,
    key: &[u8],
    purse: &Purse,
    findings: &mut Findings,
) -> Result<(), KvError> {
    let tenant = &purse.tenant;
    if keys::purse(tenant) != key {
        findings.problem(format!("{}: a credit stands under another's key", hex(key)));
        return Ok(());
    }
    let mut sum = purse.carried;
    let mut next = purse.first;
    for pair in kv.scan(keys::ledger_range(tenant, None), false) {
        let (key, octets) = pair?;
        // What cannot be read is told where it stands.
        let Ok(line) = decode::<Line>(&key, &octets) else {
            continue;
        };
        let balance = sum.of(line.unit).saturating_add(line.amount);
        sum = sum.with(line.unit, balance);
        if line.number != next || line.balance != balance || balance < 0 {
            findings.problem(format!(
                "line {} of the ledger of {tenant} does not follow from the one before it",
                line.number
            ));
        }
        next = line.number.saturating_add(1);
    }
    if next != purse.next || sum != purse.balance {
        let told = |it: Balance| {
            let Balance { micros, parts } = it;
            format!("{} and {parts} parts", Unit::Eur.words(micros))
        };
        findings.problem(format!(
            "the credit of {tenant} is {} after {} lines, and its ledger says {} after {next}",
            told(purse.balance),
            purse.next,
            told(sum)
        ));
    }
    Ok(())
}

pub(super) fn line<K: Kv>(
    kv: &K,
    key: &[u8],
    octets: &[u8],
    findings: &mut Findings,
) -> Result<(), KvError> {
    readable::<Line>(key, octets, findings);
    let Ok(line) = decode::<Line>(key, octets) else {
        return Ok(());
    };
    if keys::line(&line.tenant, line.number) != key {
        findings.problem(format!(
            "{}: a line of a ledger stands under another's key",
            hex(key)
        ));
    }
    if kv.get(&keys::purse(&line.tenant))?.is_none() {
        findings.problem(format!(
            "the ledger of {} has lines, and there is no credit",
            line.tenant
        ));
    }
    Ok(())
}
