// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask bench`: runs the benchmark programs of the rooms; each prints its own table.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::process::{cargo, output, run};
use crate::setup::{self, Level};

/// A room's benchmarks, found by the name of the room or of the benchmark.
#[derive(Debug, PartialEq, Eq)]
struct Bench {
    room: String,
    name: String,
}

pub(crate) fn main(args: &[String]) -> Result<ExitCode> {
    let mut options = crate::options::Options::new(args);
    let seconds = options.number("--seconds")?;
    let (names, rest) = options.finish()?;
    let all = known()?;
    let chosen = choose(&all, &names)?;
    setup::prepare(Level::Bench)?;
    for bench in chosen {
        eprintln!("bench: {} {}", bench.room, bench.name);
        let mut cargo = cargo(["bench", "--quiet", "--package", &bench.room, "--bench", &bench.name, "--"]);
        if let Some(seconds) = seconds {
            cargo.args(["--seconds", &seconds.to_string()]);
        }
        run(cargo.args(&rest))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A benchmark is a file `crates/ROOM/benches/NAME.rs` or a folder there with a `main.rs`.
fn known() -> Result<Vec<Bench>> {
    let files =
        output(&mut crate::process::program("git", ["ls-files", "-co", "--exclude-standard", "crates"]))
            .context("list the benchmarks")?;
    Ok(files.lines().filter_map(bench_of).collect())
}

fn bench_of(path: &str) -> Option<Bench> {
    let (room, file) = path.strip_prefix("crates/")?.split_once("/benches/")?;
    let name = file.strip_suffix("/main.rs").or_else(|| file.strip_suffix(".rs"))?;
    (!name.contains('/')).then(|| Bench { room: room.to_owned(), name: name.to_owned() })
}

fn choose<'a>(all: &'a [Bench], names: &[String]) -> Result<Vec<&'a Bench>> {
    for name in names {
        if !all.iter().any(|bench| bench.room == *name || bench.name == *name) {
            let known: Vec<&str> = all.iter().map(|bench| bench.name.as_str()).collect();
            bail!("no benchmark {name:?}; there are: {}", known.join(", "));
        }
    }
    let wanted =
        |bench: &&Bench| names.is_empty() || names.contains(&bench.room) || names.contains(&bench.name);
    Ok(all.iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_benchmarks_by_path() {
        let bench = bench_of("crates/store/benches/query.rs").unwrap();
        assert_eq!((bench.room.as_str(), bench.name.as_str()), ("store", "query"));
        assert_eq!(bench_of("crates/purser/benches/host/main.rs").unwrap().name, "host");
        assert_eq!(bench_of("crates/purser/benches/host/table.rs"), None);
        assert_eq!(bench_of("crates/store/src/lib.rs"), None);
    }

    #[test]
    fn chooses_by_room_or_name_and_refuses_others() {
        let all = [
            bench_of("crates/store/benches/query.rs").unwrap(),
            bench_of("crates/redact/benches/rules.rs").unwrap(),
        ];
        assert_eq!(choose(&all, &[]).unwrap().len(), 2);
        assert_eq!(choose(&all, &["redact".into()]).unwrap(), [&all[1]]);
        assert_eq!(choose(&all, &["query".into()]).unwrap(), [&all[0]]);
        assert!(choose(&all, &["nothing".into()]).is_err());
    }
}
