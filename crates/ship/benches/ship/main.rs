// SPDX-License-Identifier: Apache-2.0
//! What shipping costs: CPU time per event from the store to a real Kafka and a real OpenSearch,
//! beside librdkafka alone, rsyslog and kcat with the same documents, and what a fleet of agents
//! costs one broker. Every figure but a rate is CPU time, bytes or a count.
//!
//! Starts its own servers on loopback; `cargo xtask setup --bench` fetches them.
//!
//!   cargo bench -p ship --bench ship -- [--events N] [--agents N,N,…] [--only PART]
//!
//! PART is kafka, search or fleet. Only with `--only fleet` more than 100 agents are simulated.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring program prints and may stop at any error"
)]

mod broker;
mod documents;
mod fleet;
mod kafka;
mod rivals;
mod sample;
mod search;
mod usage;
mod way;

use names as _;

const PARTS: [&str; 3] = ["kafka", "search", "fleet"];

/// What the command line asks for.
#[derive(Debug)]
struct Wanted {
    events: u64,
    agents: Vec<usize>,
    only: Option<String>,
}

impl Wanted {
    /// Cargo adds `--bench`; everything else must be known.
    fn from_args() -> Result<Wanted, String> {
        let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
        let mut wanted = Wanted { events: 500_000, agents: vec![10, 100], only: None };
        while let Some(arg) = args.next() {
            let value = args.next().ok_or_else(|| format!("{arg} needs a value"))?;
            let number = |text: &str| text.parse().map_err(|_| format!("{arg} {text}: not a number"));
            match arg.as_str() {
                "--events" => wanted.events = number(&value)?,
                "--agents" => {
                    let each = value.split(',').map(|text| number(text).map(|count| count as usize));
                    wanted.agents = each.collect::<Result<_, _>>()?;
                }
                "--only" if PARTS.contains(&value.as_str()) => wanted.only = Some(value),
                "--only" => return Err(format!("--only {value}: the parts are {}", PARTS.join(", "))),
                _ => {
                    return Err(format!("unknown argument {arg:?}; there are --events, --agents and --only"));
                }
            }
        }
        Ok(wanted)
    }

    fn has(&self, part: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == part)
    }
}

fn main() -> Result<(), String> {
    let wanted = Wanted::from_args()?;
    println!("load average {}", usage::load_average());
    if wanted.has("kafka") {
        kafka::measure(wanted.events);
    }
    if wanted.has("search") {
        search::measure(wanted.events.min(200_000));
    }
    if wanted.has("fleet") {
        fleet::measure(&wanted.agents);
    }
    println!("load average {}", usage::load_average());
    Ok(())
}
