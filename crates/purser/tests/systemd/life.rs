// SPDX-License-Identifier: Apache-2.0
//! The life of the agent as a service. One machine sees all of it, because booting takes seconds.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::machine::Machine;
use crate::numbered::{self, Numbered};
use crate::scrapes::Scrapes;

const LIMIT: Duration = Duration::from_secs(60);
const KILLS: u32 = 5;
/// Far above what is wanted (0.2 s): the machines that run this have other things to do.
const BACK_LIMIT_MS: u64 = 5_000;

/// Only the units that the tests start are recorded.
const CONFIG: &str = r#"mkdir -p /etc/purser; cat >/etc/purser/purser.toml <<END
[scope]
include = ["container"]
names = ["never-*"]
cgroups = ["*/numbered.service", "*/unseen.service", "*/kept.service"]
[metrics]
listen = "unix:/run/purser.metrics"
END
"#;

#[test]
fn the_agent_as_a_service() -> Result<()> {
    let Some(machine) = Machine::boot()? else { return Ok(()) };
    machine.inside(CONFIG)?;
    let before = files(&machine)?;
    install(&machine)?;
    let load = Numbered::start(&machine, "numbered")?;
    kills(&machine)?;
    reload(&machine)?;
    restart(&machine)?;
    watchdog(&machine)?;
    upgrade(&machine)?;
    failing_upgrades(&machine)?;
    let done = load.end(&machine)?;
    numbered::check(&machine, "numbered", done)?;
    ensure!(done > 100, "the load hardly ran: {done}");
    stop(&machine)?;
    stop_and_keep(&machine)?;
    stop_when_stuck(&machine)?;
    uninstall(&machine, &before)
}

fn status(machine: &Machine) -> Result<Value> {
    Ok(serde_json::from_str(&machine.inside("purser status -o json")?)?)
}

fn pid(machine: &Machine) -> Result<u64> {
    status(machine)?["pid"].as_u64().context("no pid")
}

fn install(machine: &Machine) -> Result<()> {
    machine.refused("purser status", 4)?;
    machine.refused("purser start", 4)?;
    let said = machine.refused("purser install --user nobody", 2)?;
    ensure!(said.contains("only root"), "{said}");
    let dry = machine.inside("purser install --dry-run")?;
    ensure!(dry.contains("would write /etc/systemd/system/purser.service"), "{dry}");
    machine.refused("purser status", 4)?;
    machine.inside("purser install")?;
    let again = machine.inside("purser install")?;
    ensure!(again.contains("already installed, nothing changed"), "{again}");
    machine.refused("purser status", 3)?;
    ensure!(machine.inside("systemctl is-enabled purser")?.trim() == "enabled", "not enabled");
    machine.inside("purser start")?;
    let status = status(machine)?;
    ensure!(status["state"] == "running" && status["recording"] == true, "{status}");
    ensure!(status["enabled"] == true && status["memory_bytes"].as_u64() > Some(1 << 20), "{status}");
    let systemd = machine.inside("systemctl show -P StatusText purser")?;
    ensure!(systemd.starts_with("recording"), "what it says of itself: {systemd}");
    // The kernel side and the sandbox are what the unit says.
    let caps = machine.inside("grep -E 'Cap(Bnd|Eff)' /proc/$(systemctl show -P MainPID purser)/status")?;
    let told: Vec<&str> = caps.split_whitespace().collect();
    ensure!(told == ["CapEff:", "000000c000000006", "CapBnd:", "000000c000080006"], "{caps}");
    Ok(())
}

/// How long from the end of one agent to the next one that is ready, by the kernel's clock.
fn kills(machine: &Machine) -> Result<()> {
    let scrapes = Scrapes::start(machine.outside("/run/purser.metrics"));
    let (mut started, mut took) = (Vec::new(), Vec::new());
    for kill in 1..=KILLS {
        let old = pid(machine)?;
        sleep(Duration::from_millis(300));
        let killed_us = monotonic_us();
        machine.inside(&format!("kill -9 {old}"))?;
        let ready = format!(
            "[ \"$(systemctl show -P NRestarts purser)\" = {kill} ] && systemctl is-active -q purser"
        );
        machine.wait_until(&ready, LIMIT)?;
        let since = |property: &str| -> Result<u64> {
            let value = machine.inside(&format!("systemctl show -P {property} purser"))?;
            Ok(value.trim().parse::<u64>()?.saturating_sub(killed_us) / 1_000)
        };
        started.push(since("ExecMainStartTimestampMonotonic")?);
        took.push(since("ActiveEnterTimestampMonotonic")?);
    }
    println!("from kill -9, ms: to the next start {started:?}, to ready {took:?}");
    ensure!(took.iter().all(|&ms| ms < BACK_LIMIT_MS), "{took:?}");
    let asked = scrapes.end();
    println!("asked for its health all the while: {asked:?}");
    ensure!(asked.answered > 0 && asked.turned_away.is_empty(), "{asked:?}");
    machine.inside("systemctl reset-failed purser").map(drop)
}

fn monotonic_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1_000
}

fn reload(machine: &Machine) -> Result<()> {
    machine.inside("purser reload --service purser")?;
    let said = machine.refused("purser reload -n other", 4)?;
    ensure!(said.contains("purser install --name other -- PROGRAM"), "{said}");
    let old = pid(machine)?;
    machine.inside("echo '[capture]\nfailed = false' >>/etc/purser/purser.toml; systemctl reload purser")?;
    machine.inside("cp /etc/purser/purser.toml /run/good; echo nonsense >>/etc/purser/purser.toml")?;
    machine.refused("systemctl reload purser", 1)?;
    let status = status(machine)?;
    let told = status["last_error"].as_str().context("no last error")?;
    ensure!(told.contains("purser.toml:"), "it must say where: {told}");
    ensure!(status["state"] == "running" && pid(machine)? == old, "{status}");
    machine.inside("cp /run/good /etc/purser/purser.toml; kill -HUP $(systemctl show -P MainPID purser)")?;
    machine.wait_until("systemctl is-active -q purser", LIMIT)
}

fn restart(machine: &Machine) -> Result<()> {
    let old = pid(machine)?;
    machine.inside("purser restart")?;
    machine.inside("systemctl restart purser")?;
    ensure!(pid(machine)? != old, "it is the same process");
    let said = machine.inside("purser log --kind agent")?;
    ensure!(said.contains("goes on recording") && !said.contains("nothing is recorded"), "{said}");
    Ok(())
}

/// One that is stuck is replaced; one that works is left alone for longer than the watchdog waits.
fn watchdog(machine: &Machine) -> Result<()> {
    machine.inside(
        "mkdir -p /etc/systemd/system/purser.service.d; cat >/etc/systemd/system/purser.service.d/test.conf <<END
[Service]
WatchdogSec=5s
TimeoutStopSec=3s
END
systemctl daemon-reload; purser restart",
    )?;
    let old = pid(machine)?;
    sleep(Duration::from_secs(8));
    ensure!(pid(machine)? == old, "a working agent was replaced");
    machine.inside(&format!("kill -STOP {old}"))?;
    machine.wait_until(&format!("[ \"$(systemctl show -P MainPID purser)\" -gt {old} ]"), LIMIT)?;
    machine.wait_until("systemctl is-active -q purser", LIMIT)?;
    let journal = machine.inside("journalctl -b -u purser --no-pager")?;
    ensure!(journal.contains("Watchdog timeout"), "{journal}");
    Ok(())
}

fn upgrade(machine: &Machine) -> Result<()> {
    // The same program, but not the same file.
    let mut bytes = fs::read(machine.brought().join("purser"))?;
    bytes.push(0);
    put(machine, "newer", &bytes)?;
    let old = pid(machine)?;
    let said = machine.refused("purser upgrade /mnt/brought/newer", 0)?;
    ensure!(said.contains("upgraded to purser"), "{said}");
    ensure!(pid(machine)? != old, "it is the same process");
    machine.inside(
        "cmp /mnt/brought/newer /usr/local/bin/purser; cmp /mnt/brought/purser /usr/local/bin/purser.old",
    )?;
    let again = machine.refused("purser upgrade /mnt/brought/newer", 0)?;
    ensure!(again.contains("nothing changed"), "{again}");
    Ok(())
}

fn failing_upgrades(machine: &Machine) -> Result<()> {
    let old = pid(machine)?;
    // What is not purser, or does not run, never gets into its place.
    put(machine, "script", b"#!/bin/sh\necho purser 9.9.9\n")?;
    machine.inside("cp /mnt/brought/newer /run/plain; chmod -x /run/plain")?;
    machine.inside("cp /mnt/brought/dies /run/open; chmod go+w /run/open")?;
    for (file, why) in [
        ("/mnt/brought/script", "is not purser for this machine"),
        ("/bin/true", "is not purser: asked for its version"),
        ("/bin/false", "exit status: 1: it said nothing"),
        ("/absent", "No such file"),
        ("/run/plain", "run chmod +x on it"),
        ("/run/open", "lets others write it"),
        ("/dev/null", "no file that could be a program"),
    ] {
        let said = machine.refused(&format!("purser upgrade {file}"), 1)?;
        ensure!(said.contains("nothing was touched") && said.contains(why), "{file}: {said}");
    }
    ensure!(pid(machine)? == old, "the agent was touched");
    // What passes all that and then ends is taken back.
    for name in ["dies", "refuses"] {
        let start = Instant::now();
        let said = machine.refused(&format!("purser upgrade /mnt/brought/{name}"), 1)?;
        println!("back from an upgrade that {name} after {:.1} s", start.elapsed().as_secs_f64());
        ensure!(said.contains("going back") && said.contains("the old program records again"), "{said}");
        machine.inside("cmp /mnt/brought/newer /usr/local/bin/purser")?;
    }
    let status = status(machine)?;
    ensure!(status["state"] == "running" && status["recording"] == true, "{status}");
    Ok(())
}

/// Makes a file that the machine sees.
fn put(machine: &Machine, name: &str, bytes: &[u8]) -> Result<()> {
    let path = machine.brought().join(name);
    fs::write(&path, bytes)?;
    Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?)
}

fn ensure_unloaded(machine: &Machine) -> Result<()> {
    let pins = machine.inside("ls /sys/fs/bpf")?;
    ensure!(!pins.contains("purser-"), "still in the kernel: {pins}");
    Ok(())
}

fn stop(machine: &Machine) -> Result<()> {
    for command in ["purser stop", "systemctl stop purser"] {
        machine.inside(command)?;
        ensure_unloaded(machine)?;
        machine.refused("purser status", 3)?;
        let said = machine.inside("purser log --kind agent | tail -n 1")?;
        ensure!(said.contains("nothing is recorded from now on"), "{said}");
        let unseen = Numbered::start(machine, "unseen")?;
        sleep(Duration::from_millis(200));
        unseen.end(machine)?;
        machine.inside("purser start")?;
        ensure!(numbered::recorded(machine, "unseen")?.is_empty(), "recorded after a stop");
    }
    Ok(())
}

/// A service is stopped, and its kernel side goes on all the same when that is asked for.
fn stop_and_keep(machine: &Machine) -> Result<()> {
    let said = machine.inside("purser stop --keep")?;
    ensure!(said.contains("goes on recording"), "{said}");
    machine.refused("purser status", 3)?;
    let load = Numbered::start(machine, "kept")?;
    sleep(Duration::from_millis(500));
    let done = load.end(machine)?;
    machine.inside("purser start; test ! -e /run/purser-keep-purser")?;
    numbered::check(machine, "kept", done)?;
    ensure!(done > 0, "nothing ran meanwhile");
    // It was said for that one stop.
    machine.inside("purser stop")?;
    ensure_unloaded(machine)?;
    machine.inside("purser start").map(drop)
}

/// An agent that cannot be asked is killed, and then cleaned up after.
fn stop_when_stuck(machine: &Machine) -> Result<()> {
    machine.inside("kill -STOP $(systemctl show -P MainPID purser); systemctl stop purser")?;
    ensure_unloaded(machine)?;
    machine.inside("systemctl reset-failed purser; purser start").map(drop)
}

fn files(machine: &Machine) -> Result<BTreeSet<String>> {
    let found = machine.inside(
        "find /etc /usr /opt /root /home /srv /var /run/systemd/system /run/systemd/generator* /sys/fs/bpf \
         -not -path '/var/log/journal/*' -not -path '/var/tmp/systemd-private-*'",
    )?;
    Ok(found.lines().map(str::to_string).collect())
}

fn uninstall(machine: &Machine, before: &BTreeSet<String>) -> Result<()> {
    machine.inside(
        "cp /usr/local/bin/purser /usr/local/bin/purser.old; cp /etc/systemd/system/purser.service /run/unit; echo '# mine' >>/etc/systemd/system/purser.service",
    )?;
    let said = machine.refused("purser uninstall", 1)?;
    ensure!(said.contains("was edited"), "{said}");
    ensure!(status(machine)?["state"] == "running", "stopped although refused");
    machine.inside("cp /run/unit /etc/systemd/system/purser.service")?;
    let said = machine.inside("purser uninstall")?;
    for kept in [
        "upgrade /usr/local/bin/purser.old",
        "the configuration",
        "the store /var/lib/purser",
        "your changes in",
    ] {
        ensure!(said.contains(kept), "{kept}: {said}");
    }
    ensure_unloaded(machine)?;
    machine.refused("purser status", 4)?;
    // What is left is what we were told of, and what a person made.
    machine
        .inside("rm -rf /etc/systemd/system/purser.service.d /var/lib/purser /usr/local/bin/purser.old")?;
    let left: Vec<String> = files(machine)?.difference(before).cloned().collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    let units = machine.inside(
        "systemctl list-units --all --no-legend 'purser*'; systemctl list-unit-files --no-legend 'purser*'; true",
    )?;
    ensure!(units.is_empty(), "systemd still knows {units}");
    Ok(())
}
