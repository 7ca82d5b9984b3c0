// SPDX-License-Identifier: Apache-2.0
//! The other commands: tree, verify, export, config, doctor, the ones that need an agent, and
//! what happens to wrong command lines.

use crate::program::{bad, good, on, purser, run};
use crate::record::Record;
use serde_json::Value;
use std::fs;

fn documents(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn tree_shows_who_started_what() {
    let record = Record::sample();
    let text = good(&on(&record, &["tree", "--container", "demo-1"]));
    assert_eq!(
        text,
        "\
demo-1 (c0ffee000000)
sh -c 'ls /etc | wc -l'  pid 10 uid 0  ok 3.1ms
├─ ls /etc  pid 11 uid 0  ok 0.8ms
└─ wc -l  pid 12 uid 0  exit 3 0.9ms
"
    );
    let lines = documents(&good(&on(&record, &["tree", "-o", "json"])));
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[1]["process"]["parent"]["entity_id"], lines[0]["process"]["entity_id"]);
    assert_eq!((&lines[1]["depth"], &lines[1]["result"]), (&Value::from(1), &Value::from("ok")));
}

#[test]
fn verify_tells_whole_from_edited() {
    let mut record = Record::sample();
    record.close();
    assert_eq!(good(&on(&record, &["verify"])), "9 events, 1 segment, whole\n");
    let document: Value = serde_json::from_str(&good(&on(&record, &["verify", "-o", "json"]))).unwrap();
    assert_eq!((&document["whole"], &document["events"]), (&Value::from(true), &Value::from(9)));
    let said = bad(&on(&record, &["verify", "--key", "nonsense"]), 2);
    assert!(said.contains("64 hexadecimal digits"), "{said}");
    let segment = fs::read_dir(record.dir()).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.into_iter().find(|path| path.extension().is_some_and(|end| end == "seg")).unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let output = on(&record, &["verify"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(".seg: events 1 to 9") && text.contains("not whole"), "{text}");
}

#[test]
fn export_writes_csv_and_json_lines() {
    let record = Record::sample();
    let text = good(&on(&record, &["export", "--format", "csv", "--container", "demo-1", "--kind", "exec"]));
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert_eq!(lines.len(), 5);
    assert!(lines[0].starts_with("sequence,time,action,container_id,"), "{}", lines[0]);
    assert!(lines[1].contains(r#","[""sh"",""-c"",""ls /etc | wc -l""]","#), "{}", lines[1]);
    assert_eq!(documents(&good(&on(&record, &["export", "--format", "jsonl"]))).len(), 9);
}

#[test]
fn config_shows_origins_and_finds_mistakes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("purser.toml");
    let name = file.to_str().unwrap();
    fs::write(&file, "[store]\nretain_age = \"7d\"\n").unwrap();
    let text = good(&run(&["config", "--config", name, "--store", "/elsewhere"]));
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
    assert!(line("retain_age = \"7d\"").ends_with(&format!("# {name}:2")));
    assert!(line("store = \"/elsewhere\"").ends_with("# --store"));
    assert!(line("checkpoint_secs = 60").ends_with("# default"));
    let document: Value =
        serde_json::from_str(&good(&run(&["config", "--config", name, "-o", "json"]))).unwrap();
    assert_eq!(document["config"]["store"]["retain_age"], "7d");
    assert!(good(&run(&["config", "--keys"])).contains("capture.ring_mib"));
    fs::write(&file, "[store]\nretian_age = \"7d\"\n").unwrap();
    let said = bad(&run(&["config", "--config", name]), 2);
    assert!(
        said.contains(&format!(
            "{name}:2:1: unknown key \"retian_age\" in [store]; did you mean \"retain_age\"?"
        )),
        "{said}"
    );
    let said = bad(&run(&["config", "--config", "/no/such/file"]), 2);
    assert!(said.contains("/no/such/file"), "{said}");
}

#[test]
fn doctor_always_has_an_answer() {
    let record = Record::sample();
    let output = on(&record, &["doctor", "-o", "json"]);
    let lines = documents(std::str::from_utf8(&output.stdout).unwrap());
    let states: Vec<&str> = lines.iter().map(|line| line["state"].as_str().unwrap()).collect();
    let expected = if states.contains(&"missing") { 2 } else { i32::from(states.contains(&"degraded")) };
    assert_eq!(output.status.code(), Some(expected));
    for name in [
        "root",
        "capabilities",
        "kernel",
        "BTF",
        "bpffs",
        "tracefs",
        "cgroups",
        "store",
        "agent",
        "clock",
        "rule swap",
    ] {
        assert!(lines.iter().any(|line| line["name"] == name), "no line on {name}");
    }
    for line in lines.iter().filter(|line| line["state"] != "ok") {
        assert!(line["consequence"].is_string() && line["advice"].is_string(), "{line}");
    }
}

#[test]
fn without_an_agent_the_commands_that_need_one_say_so() {
    let record = Record::sample();
    for command in [&["stats"][..], &["reload"], &["stop"], &["rule", "ls"], &["rule", "rm", "x"]] {
        let said = bad(&on(&record, command), 3);
        assert!(said.contains("no agent is running on the store") && said.contains("purser run"), "{said}");
    }
    let said = bad(&on(&record, &["rule", "add", "--name", "x", "--action", "ignore"]), 2);
    assert!(said.contains("no condition"), "{said}");
    let said =
        bad(&on(&record, &["rule", "add", "--name", "x", "--action", "ignore", "--executable", "curl"]), 2);
    assert!(said.contains("not an absolute path"), "{said}");
}

#[test]
fn a_rule_that_could_never_work_is_refused() {
    let record = Record::sample();
    let add = |more: &[&str]| {
        let base = ["rule", "add", "--name", "x", "--action", "ignore"];
        bad(&on(&record, &[&base, more].concat()), 2)
    };
    let said = add(&["--container", "["]);
    assert!(said.contains("--container: \"[\" is no glob: '[' at character 1"), "{said}");
    let said = add(&["--image", "web:{1,2}"]);
    assert!(said.contains("--image: ") && said.contains("at character 5"), "{said}");
    let said = add(&["--uid", "0", "--for", "99999999999d"]);
    assert!(said.contains("--for: 99999999999d is longer than 3650d"), "{said}");
}

#[test]
fn the_first_key_can_be_noted_and_used() {
    let mut record = Record::sample();
    record.close();
    let key = good(&on(&record, &["verify", "--print-key"]));
    assert_eq!(key.len(), 65, "{key}");
    assert!(good(&on(&record, &["verify", "--key", key.trim()])).ends_with("whole\n"));
    let output = on(&record, &["verify", "--key", &"ab".repeat(32)]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    bad(&output, 1);
    assert!(text.contains("origin: every event: its first key is not the trusted one"), "{text}");
    fs::remove_file(record.dir().join("origin")).unwrap();
    let output = on(&record, &["verify"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("origin: every event: it is gone") && !text.contains("18,446"), "{text}");
    let document: Value = serde_json::from_slice(&on(&record, &["verify", "-o", "json"]).stdout).unwrap();
    assert_eq!(document["findings"][0]["last_sequence"], Value::Null, "{document}");
    let said = bad(&on(&record, &["verify", "--print-key"]), 1);
    assert!(said.contains("\"origin\" is missing or damaged"), "{said}");
}

#[test]
fn a_full_disk_behind_standard_output_is_told() {
    let record = Record::sample();
    for command in [&["log"][..], &["log", "-o", "json"], &["export", "--format", "csv"], &["tree"]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = purser().args(command).arg("--store").arg(record.dir()).stdout(full).output().unwrap();
        let said = bad(&output, 1);
        assert!(said.starts_with("purser: writing to standard output: No space left"), "{command:?}: {said}");
    }
}

#[test]
fn moments_beyond_all_events_are_taken() {
    let record = Record::sample();
    assert_eq!(good(&on(&record, &["log", "--since", "9999-12-31T23:59:59Z"])), "");
    let all = good(&on(&record, &["log", "--until", "9999-12-31T23:59:59Z"]));
    assert_eq!(all, good(&on(&record, &["log", "--since", "1960-01-01"])));
    assert_eq!(all, good(&on(&record, &["log"])));
}

#[test]
fn wrong_command_lines_are_told() {
    let record = Record::sample();
    bad(&run(&["log", "--no-such-flag"]), 2);
    bad(&run(&["no-such-command"]), 2);
    let said = bad(&run(&["debug", "web", "ls", "-l"]), 2);
    assert!(said.contains("the command comes behind --"), "{said}");
    let said = bad(&run(&["debug", "sessions", "ls"]), 2);
    assert!(!said.contains("behind --"), "{said}");
    let said = bad(&on(&record, &["log", "--since", "soon"]), 2);
    assert!(said.contains("--since: \"soon\" is no time; write 10m"), "{said}");
    let said = bad(&on(&record, &["log", "--kind", "exce"]), 2);
    assert!(said.contains("exec_failed"), "{said}");
    let said = bad(&on(&record, &["log", "--since", "today", "--until", "yesterday"]), 2);
    assert!(said.contains("not before"), "{said}");
    let said = bad(&run(&["log", "--store", "/no/such/store"]), 1);
    assert!(said.starts_with("purser: opening the store /no/such/store"), "{said}");
}

#[test]
fn help_completions_and_manual_pages_come_from_one_definition() {
    assert!(good(&run(&["--version"])).starts_with("purser "));
    let help = good(&run(&["log", "--help"]));
    assert!(help.contains("Examples:") && help.contains("--follow"), "{help}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = good(&run(&["completions", shell]));
        assert!(script.contains("PURSER_COMPLETE") && script.contains("purser"), "{shell}: {script}");
        // A shell that asks for a word that is begun; bash and zsh say which it is.
        let mut asks = purser();
        asks.env("PURSER_COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", "2").env("_CLAP_IFS", "\n");
        let answer = good(&asks.args(["--", "purser", "kit", "bu"]).output().unwrap());
        assert!(answer.starts_with("build"), "{shell}: {answer}");
    }
    let record = Record::new();
    let dir = record.path().join("man");
    fs::create_dir(&dir).unwrap();
    let said = good(&run(&["man", dir.to_str().unwrap()]));
    let pages = fs::read_dir(&dir).unwrap().count();
    assert!(said.starts_with(&format!("{pages} pages, ")), "{pages}: {said}");
    assert!(good(&run(&["--help"])).contains("\n  man "));
    assert!(fs::read_to_string(dir.join("purser-log.1")).unwrap().contains("follow"));
    assert!(fs::metadata(dir.join("purser.1")).is_ok());
}
