// SPDX-License-Identifier: Apache-2.0
//! Events to a real Apache Kafka, started here, and read back by a consumer of its own. What stands in
//! a topic is compared with what stands in the store, number by number.

pub(crate) mod broker;
mod gate;
mod reader;
pub(crate) mod sinks;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::agent::{Agent, purser};
use crate::lab::{Lab, run, unique};
use crate::restart::execute;
use crate::trial::{Receiver, Trial, scratch};
use broker::{Broker, SCRAM_PASSWORD};
pub(crate) use reader::{Isolation, read};
use sinks::{caught_up, lacks, sequences, sink, stored, wait_for_sinks};

const SENT_LIMIT: Duration = Duration::from_secs(300);
const SCOPE: &str = "[scope]\ninclude = [\"container\"]\nnames = [\"purser-test-kafka-*\"]\n";

#[test]
fn every_way_in_takes_every_event_and_those_shut_out_say_why() -> Result<()> {
    let lab = Lab::enter()?;
    let broker = Broker::start()?;
    let good = ["plain", "scram512", "scram256", "saslplain", "tls", "token", "exact"];
    for topic in good.into_iter().chain(["denied"]) {
        broker.create(topic, 3)?;
    }
    let mut agent = Agent::start(&(SCOPE.to_string() + &ways_in(&broker)?))?;
    execute(&lab, &unique("kafka-ways"), 300)?;
    let done = |sinks: &[Value]| {
        good.iter().all(|name| caught_up(sinks, name))
            && ["wrong", "nowhere", "denied"].iter().all(|name| sink(sinks, name)["state"] == "refused")
    };
    let sinks = wait_for_sinks(&agent, SENT_LIMIT, done)?;
    let told = |name: &str| sink(&sinks, name)["error"].as_str().unwrap_or_default().to_string();
    ensure!(told("wrong").contains("refused who we say we are"), "{}", told("wrong"));
    ensure!(told("nowhere").contains("the topic does not exist"), "{}", told("nowhere"));
    ensure!(told("denied").contains("this user may not write"), "{}", told("denied"));
    ensure!(!format!("{sinks:?}").contains("not-this-one"), "a password stands in {sinks:?}");
    // No more events come, so the store stands still.
    agent.stop()?;
    let stored = stored(&agent)?;
    ensure!(stored.len() > 600, "only {} events", stored.len());
    for topic in good {
        let records = read(&broker.plain(), topic, Isolation::Committed)?;
        lacks(topic, &stored, records.iter().map(|record| record.sequence))?;
        let with_headers = records.iter().filter(|record| record.schema == "ecs" && record.keyed).count();
        ensure!(with_headers == records.len(), "{topic}: {with_headers} of {} with headers", records.len());
    }
    test_command(&agent)
}

/// A sink for each listener and compression.
fn ways_in(broker: &Broker) -> Result<String> {
    let secret = |name: &str, text: &str| broker.secret(name, text);
    let (pw1, pw2, no) =
        (secret("pw1", "pw1")?, secret("pw2", SCRAM_PASSWORD)?, secret("no", "not-this-one")?);
    let pw4 = secret("pw4", "pw4")?;
    let (ca, certificate, key) = broker.certificates();
    // {"alg":"none"}.{"sub":"u3","iat":1,"exp":4102444800}: what Kafka's unsecured login takes.
    let token = secret("token", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1MyIsImlhdCI6MSwiZXhwIjo0MTAyNDQ0ODAwfQ.")?;
    let sasl = |mechanism: &str, user: &str, file: &Path| {
        let file = file.display();
        format!(
            "sasl = {{ mechanism = \"{mechanism}\", username = \"{user}\", password_file = \"{file}\" }}\n"
        )
    };
    let section = |name: &str, at: &str, compression: &str, more: &str| {
        format!(
            "[sink.{name}]\ntype = \"kafka\"\nbrokers = [\"{at}\"]\ntopic = \"{name}\"\n\
             compression = \"{compression}\"\n{more}\n"
        )
    };
    let tls = format!(
        "tls = {{ ca = \"{}\", certificate = \"{}\", key = \"{}\" }}\n",
        ca.display(),
        certificate.display(),
        key.display()
    );
    let token = format!("sasl = {{ mechanism = \"OAUTHBEARER\", token_file = \"{}\" }}\n", token.display());
    Ok([
        section("plain", &broker.plain(), "zstd", ""),
        section("scram512", &broker.sasl(), "lz4", &sasl("SCRAM-SHA-512", "u2", &pw2)),
        section("scram256", &broker.sasl(), "snappy", &sasl("SCRAM-SHA-256", "u2", &pw2)),
        section("saslplain", &broker.sasl(), "gzip", &sasl("PLAIN", "u1", &pw1)),
        section("tls", &broker.tls(), "none", &tls),
        section("token", &broker.token(), "zstd", &token),
        section("exact", &broker.plain(), "zstd", "exactly_once = true\n"),
        section("wrong", &broker.sasl(), "zstd", &sasl("SCRAM-SHA-512", "u2", &no)),
        section("nowhere", &broker.plain(), "zstd", ""),
        section("denied", &broker.sasl(), "zstd", &sasl("PLAIN", "u4", &pw4)),
    ]
    .concat())
}

/// `purser sink test`, which needs no agent: where it works, and at which step it does not.
fn test_command(agent: &Agent) -> Result<()> {
    let test = |name: &str| {
        let mut command = purser();
        let store = agent.store();
        crate::lab::output(
            command.args(["sink", "test", name, "--config"]).arg(agent.config()).arg("--store").arg(store),
        )
    };
    for name in ["scram512", "tls", "token"] {
        let output = test(name)?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success() && told.contains("acknowledged"), "{name}: {told}");
    }
    let output = test("exact")?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    for step in [
        "ok      use the transactional id purser-",
        "ok      read the topic of cursors purser-cursors: this sink goes on",
    ] {
        ensure!(output.status.success() && told.contains(step), "exact: {told}");
    }
    for (name, step) in [("wrong", "failed  authenticate"), ("nowhere", "failed  send a canary")] {
        let output = test(name)?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.code() == Some(1) && told.contains(step), "{name}: {told}");
    }
    Ok(())
}

#[test]
fn exactly_once_through_kills_of_agent_and_broker() -> Result<()> {
    let lab = Lab::enter()?;
    let mut broker = Broker::start()?;
    broker.create("once", 3)?;
    let (_dir, file) = scratch()?;
    let config = format!(
        "{SCOPE}[sink.once]\ntype = \"kafka\"\nbrokers = [\"{}\"]\ntopic = \"once\"\nexactly_once = true\ncanary = \"1s\"\n\
         [sink.disk]\ntype = \"file\"\npath = \"{}\"\nrotate_bytes = \"none\"\n",
        broker.plain(),
        file.display()
    );
    // Nobody is there at first: events wait, and the other sink does not.
    broker.stop()?;
    let mut trial = Trial::start(&lab, "kafka-once", &config)?;
    wait_for_sinks(&trial.agent, SENT_LIMIT, |sinks| sink(sinks, "disk")["acked"].as_u64() > Some(100))?;
    let now = sinks::list(&trial.agent)?;
    ensure!(sink(&now, "once")["acked"] == 0, "acknowledged by nobody: {now:?}");
    broker.start_again()?;
    wait_for_sinks(&trial.agent, SENT_LIMIT, |sinks| sink(sinks, "once")["acked"].as_u64() > Some(0))?;
    let tally = trial.run(&mut broker)?;
    let both = |sinks: &[Value]| caught_up(sinks, "once") && caught_up(sinks, "disk");
    let canary = |sinks: &[Value]| both(sinks) && sink(sinks, "once")["canary_us"].as_u64() > Some(0);
    wait_for_sinks(&trial.agent, trial.patience(), canary)?;
    let stored = trial.end(&tally)?;
    let records = read(&broker.plain(), "once", Isolation::Committed)?;
    lacks("Kafka, read_committed", &stored, records.iter().map(|record| record.sequence))?;
    lacks("the file", &stored, sequences(std::fs::File::open(&file)?)?.into_iter())
}

#[test]
fn half_open_connections_are_given_up_and_nothing_is_lost_or_twice() -> Result<()> {
    let lab = Lab::enter()?;
    let broker = Broker::start()?;
    let section = |name: &str, more: &str| {
        let port = broker.gate.port;
        format!(
            "[sink.{name}]\ntype = \"kafka\"\nbrokers = [\"127.0.0.1:{port}\"]\ntopic = \"{name}\"\n{more}"
        )
    };
    let config = SCOPE.to_string() + &section("idle", "") + &section("exact", "exactly_once = true\n");
    let names = ["idle", "exact"];
    for name in names {
        broker.create(name, 3)?;
    }
    let mut agent = Agent::start(&config)?;
    execute(&lab, &unique("kafka-before"), 100)?;
    let all = |sinks: &[Value]| names.iter().all(|name| caught_up(sinks, name));
    wait_for_sinks(&agent, SENT_LIMIT, all)?;
    ensure!(broker.gate.deafen() >= 2, "no connections to leave half open");
    execute(&lab, &unique("kafka-after"), 300)?;
    let told = |sinks: &[Value]| {
        names.iter().all(|name| {
            let sink = sink(sinks, name);
            sink["state"] == "retrying" && sink["error"].as_str().is_some_and(|why| why.contains("no answer"))
        })
    };
    wait_for_sinks(&agent, SENT_LIMIT, told)?;
    wait_for_sinks(&agent, SENT_LIMIT, all)?;
    agent.stop()?;
    let stored = stored(&agent)?;
    for name in names {
        let records = read(&broker.plain(), name, Isolation::Committed)?;
        lacks(name, &stored, records.iter().map(|record| record.sequence))?;
    }
    Ok(())
}

#[test]
fn what_the_broker_never_takes_is_set_aside_and_the_rest_goes_on() -> Result<()> {
    let lab = Lab::enter()?;
    let broker = Broker::start()?;
    for topic in ["small", "exact"] {
        broker.create_with(topic, 1, &[("max.message.bytes", "3000")])?;
    }
    let section = |name: &str, more: &str| {
        let at = broker.plain();
        format!(
            "[sink.{name}]\ntype = \"kafka\"\nbrokers = [\"{at}\"]\ntopic = \"{name}\"\ncompression = \"none\"\n{more}"
        )
    };
    // Topics that containers choose: one that does not exist must not hold up the others.
    let chosen = |name: &str, more: &str| {
        section(name, more).replace(&format!("\"{name}\"\ncomp"), "\"{container.labels.team}\"\ncomp")
    };
    let config = SCOPE.to_string()
        + &section("small", "")
        + &section("exact", "exactly_once = true\n")
        + &chosen("chosen", "")
        + &chosen("chosen-exact", "exactly_once = true\n");
    broker.create("team", 1)?;
    let mut agent = Agent::start(&config)?;
    for team in ["team=..", "team=missing", "team=team"] {
        let name = format!("purser-test-{}", unique("kafka-team"));
        run(&mut lab.docker(&name, &["--label", team], &["/bin/true"]))?;
    }
    let long = "x".repeat(4_000);
    let name = format!("purser-test-{}", unique("kafka-large"));
    run(&mut lab.docker(
        &name,
        &[],
        &["/bin/sh", "-c", &format!("true; echo {long} > /dev/null; /bin/echo {long}; true; id")],
    ))?;
    execute(&lab, &unique("kafka-after"), 50)?;
    let both = |sinks: &[Value]| {
        ["small", "exact", "chosen", "chosen-exact"]
            .iter()
            .all(|name| caught_up(sinks, name) && sink(sinks, name)["dead"].as_u64() > Some(0))
    };
    wait_for_sinks(&agent, SENT_LIMIT, both)?;
    agent.stop()?;
    let stored = stored(&agent)?;
    for topic in ["small", "exact"] {
        let path = agent.store().join("sinks").join(topic).join("dead.jsonl");
        let dead: Vec<Value> =
            std::fs::read_to_string(path)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        ensure!(
            dead.iter().all(|dead| dead["reason"].as_str().is_some_and(|why| why.contains("size"))),
            "{dead:?}"
        );
        let dead = dead.iter().filter_map(|dead| dead["sequence"].as_u64());
        let records = read(&broker.plain(), topic, Isolation::Committed)?;
        lacks(topic, &stored, records.iter().map(|record| record.sequence).chain(dead))?;
    }
    for name in ["chosen", "chosen-exact"] {
        let path = agent.store().join("sinks").join(name).join("dead.jsonl");
        let dead = std::fs::read_to_string(path)?;
        ensure!(dead.contains("topic missing: ") && dead.contains("topic purser-other: "), "{name}: {dead}");
    }
    let records = read(&broker.plain(), "team", Isolation::Committed)?;
    ensure!(records.len() >= 4, "{} records in the topic that is there", records.len());
    let told = agent.log(&["--kind", "agent"])?;
    let told = told.iter().filter(|document| document["event"]["action"] == "sink_dead").count();
    ensure!(told >= 2, "{told} sink_dead");
    Ok(())
}
