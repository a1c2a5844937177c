//! `relais reload`: has a running daemon read its configuration again, and says what has changed.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::args::Reload;
use super::client::{Api, block_on, list, print_json, text};
use super::texts::Lang;
use super::{Failure, out};
use crate::config;

/// What is under way lands first, which over a modem takes as long as its network does.
const PATIENCE: Duration = Duration::from_mins(15);

/// A file that is wrong is the daemon's to refuse: it goes on saying so, in its metrics, until one is right.
pub(super) fn run(reload: &Reload, lang: Lang) -> Result<(), Failure> {
    let reach = &reload.reach;
    let is_asked_for_own = reach.url.is_none() || reach.key.is_none();
    let wrong = is_asked_for_own.then(|| config::load(&reach.config).err());
    let wrong = wrong.flatten().map(|errors| errors.to_string());
    block_on(async {
        let asked = match Api::reach(reach, lang) {
            Ok(api) => {
                let api = api.patient(PATIENCE);
                api.call(Method::POST, "/v1/admin/reload", None).await
            }
            // What is missing follows from what is wrong.
            Err(why) if wrong.is_some() => Err(Failure::Failed(why.into_words())),
            Err(why) => Err(why),
        };
        let done = match (asked, &wrong) {
            (Err(Failure::Failed(why)), Some(wrong)) => {
                let why = lang.reload_nobody_asked(&why);
                return Err(Failure::Usage(format!("{wrong}\n{why}")));
            }
            (asked, _) => asked?,
        };
        if reach.json {
            print_json(&done)?;
        } else {
            show(&done, lang)?;
        }
        // The daemon's own file is another one, or has just become right.
        wrong.map_or(Ok(()), |wrong| Err(Failure::Usage(wrong)))
    })
}

fn show(done: &Value, lang: Lang) -> Result<(), Failure> {
    for warning in list(done, "warnings") {
        out::complain(&lang.warning(warning.as_str().unwrap_or("")));
    }
    let changes = list(done, "changes");
    if changes.is_empty() {
        out::line(&lang.reload_nothing())?;
    }
    for change in changes {
        let (was, is) = (change["was"].as_str(), change["is"].as_str());
        let effect = lang.reload_effect(text(change, "effect"));
        let values = match (was, is) {
            (None, None) => String::new(),
            (was, is) => {
                let unset = lang.reload_unset();
                format!("{} → {}, ", was.unwrap_or(&unset), is.unwrap_or(&unset))
            }
        };
        out::line(&format!("{}: {values}{effect}", text(change, "key")))?;
    }
    for it in list(done, "waiting") {
        let (operator, under) = (text(it, "operator"), text(it, "under"));
        let messages = it["messages"].as_u64().unwrap_or(0);
        let line = lang.reload_waiting(operator, under, messages, text(it, "why"));
        out::line(&line)?;
    }
    let keys: Vec<_> = list(done, "needs_restart")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    if !keys.is_empty() {
        out::complain(&lang.warning(&lang.reload_needs_restart(&keys.join(", "))));
    }
    Ok(())
}
