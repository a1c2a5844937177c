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

pub(super) fn run(reload: &Reload, lang: Lang) -> Result<(), Failure> {
    let reach = &reload.reach;
    if reach.url.is_none() || reach.key.is_none() {
        // Where the daemon is stands in the file: one that is wrong need not be asked about.
        config::load(&reach.config)?;
    }
    block_on(async {
        let api = Api::reach(reach, lang)?.patient(PATIENCE);
        let done = api.call(Method::POST, "/v1/admin/reload", None).await?;
        if reach.json {
            return print_json(&done);
        }
        show(&done, lang)
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
