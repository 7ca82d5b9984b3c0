// SPDX-License-Identifier: Apache-2.0
//! Which container runtimes there are to ask for names.

use super::{Line, State};
use crate::config::Config;
use container::RuntimeState;

const CONSEQUENCE: &str = "containers have ids and no names";

pub(super) fn check(config: &Config) -> Vec<Line> {
    let found = container::detect(&config.runtimes);
    if found.is_empty() {
        let advice = "start one, or name its socket in [runtimes]";
        return vec![Line::bad("runtimes", State::Degraded, "none found", CONSEQUENCE, advice)];
    }
    found.iter().map(line).collect()
}

fn line(found: &RuntimeState) -> Line {
    let name = format!("runtime {}", found.runtime);
    let path = found.path.display();
    match &found.error {
        None => Line::ok(&name, path.to_string()),
        Some(error) => {
            let advice = "see whether it runs; purser goes on trying";
            Line::bad(&name, State::Degraded, format!("{path}: {error}"), CONSEQUENCE, advice)
        }
    }
}
