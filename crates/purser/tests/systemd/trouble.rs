// SPDX-License-Identifier: Apache-2.0
//! What people do wrong, and that each command tells it and still does its work.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::machine::Machine;

const LIMIT: Duration = Duration::from_secs(60);
const CONFIG: &str = "mkdir -p /etc/purser
printf '[agent]\\nstore = \"/srv/record\"\\n[scope]\\nnames = [\"never-*\"]\\n' >/etc/purser/purser.toml";
/// An unknown key, and a line that is no TOML at all.
const WRONGS: [&str; 2] = ["nonsense = 1", "nonsense"];

#[test]
fn a_wrong_configuration() -> Result<()> {
    let Some(machine) = Machine::boot()? else { return Ok(()) };
    for wrong in WRONGS {
        machine.inside(&format!("{CONFIG}; purser install; purser start"))?;
        let pid = machine.inside("systemctl show -P MainPID purser")?;
        machine.inside(&format!("echo '{wrong}' >>/etc/purser/purser.toml"))?;
        let said = machine.refused("purser restart", 2)?;
        ensure!(said.contains("so the running agent was left alone: /etc/purser/purser.toml:"), "{said}");
        ensure!(machine.inside("systemctl show -P MainPID purser")? == pid, "it was restarted");
        // What asks nobody ends a healthy agent, and the next one does not start.
        machine.shell("systemctl restart purser")?;
        machine.wait_until("systemctl is-failed -q purser", LIMIT)?;
        let said = machine.refused("purser status", 3)?;
        ensure!(said.contains("the kernel side records without an agent"), "{said}");
        let json: Value = serde_json::from_str(&machine.refused("purser status -o json", 3)?)?;
        ensure!(json["left_loaded"] == true && json["store"] == "/srv/record", "{json}");
        let said = machine.refused("purser start", 1)?;
        ensure!(said.contains("purser: service purser does not start: /etc/purser/purser.toml:"), "{said}");
        ensure!(said.contains("; more: journalctl -n 20 -u purser"), "{said}");
        let said = machine.refused("purser stop", 3)?;
        ensure!(said.contains("carry on with: purser start\n"), "{said}");
        let said = machine.refused("purser stop --unload", 0)?;
        ensure!(said.contains("taking /srv/record for the store, name another one with --store"), "{said}");
        ensure_unloaded(&machine)?;
        // A service that cannot start any more is removed as any other.
        machine.inside(&format!("{CONFIG}; purser start"))?;
        machine.inside(&format!("echo '{wrong}' >>/etc/purser/purser.toml"))?;
        machine.shell("systemctl restart purser")?;
        let said = machine.inside("purser uninstall")?;
        ensure!(said.contains("kept: the store /srv/record") && said.contains("did: unload"), "{said}");
        ensure_unloaded(&machine)?;
    }
    a_stop_with_a_wrong_configuration(&machine)
}

/// The agent still runs: whoever stops it means it.
fn a_stop_with_a_wrong_configuration(machine: &Machine) -> Result<()> {
    machine.inside(&format!("{CONFIG}; purser install"))?;
    for command in ["purser stop", "systemctl stop purser"] {
        machine
            .inside(&format!("{CONFIG}; purser start; echo nonsense >>/etc/purser/purser.toml; {command}"))?;
        ensure_unloaded(machine)?;
    }
    Ok(())
}

/// The sandbox cannot be made, so the program never runs.
#[test]
fn a_directory_that_is_missing() -> Result<()> {
    let Some(machine) = Machine::boot()? else { return Ok(()) };
    machine.inside(&format!(
        "{CONFIG}; purser install; mkdir /etc/systemd/system/purser.service.d
         printf '[Service]\\nReadWritePaths=/srv/missing\\n' >/etc/systemd/system/purser.service.d/more.conf
         systemctl daemon-reload"
    ))?;
    let said = machine.refused("purser start", 1)?;
    ensure!(said.contains("does not start: 226/NAMESPACE: ") && said.contains("/srv/missing"), "{said}");
    machine.wait_until("systemctl is-failed -q purser", LIMIT)?;
    let said = machine.refused("purser status", 3)?;
    ensure!(said.contains("226/NAMESPACE: ") && said.contains("then purser start"), "{said}");
    machine.inside("mkdir /srv/missing; purser start")?;
    crashes(&machine)?;
    machine.inside("purser stop; purser uninstall").map(drop)
}

/// However often an agent that works is killed, it comes back; only a crowd of kills is slowed down.
fn crashes(machine: &Machine) -> Result<()> {
    let start = Instant::now();
    for kill in 1..=45 {
        machine.inside("kill -9 $(systemctl show -P MainPID purser)")?;
        let again = format!("[ $(systemctl show -P NRestarts purser) = {kill} ]");
        machine.wait_until(&again, LIMIT)?;
        machine.wait_until("systemctl is-active -q purser", LIMIT)?;
    }
    println!("45 kills in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// The program runs and cannot do its work: it is tried for ever, but seldom, and comes by itself.
#[test]
fn a_store_that_cannot_be() -> Result<()> {
    let Some(machine) = Machine::boot()? else { return Ok(()) };
    machine.inside(&format!("{CONFIG}; purser install; echo >/srv/record"))?;
    let said = machine.refused("purser start", 1)?;
    ensure!(said.contains("does not start: ") && said.contains("/srv/record"), "{said}");
    sleep(Duration::from_secs(8));
    let restarts: u32 = machine.inside("systemctl show -P NRestarts purser")?.trim().parse()?;
    ensure!((3..=8).contains(&restarts), "{restarts} restarts in 8 s");
    let said = machine.refused("purser status", 3)?;
    ensure!(said.contains("state       starting") && said.contains("/srv/record"), "{said}");
    machine.inside("rm /srv/record")?;
    machine.wait_until("systemctl is-active -q purser", LIMIT)?;
    machine.inside("purser stop; purser uninstall")?;
    let left = machine.inside("ls /run")?;
    ensure!(!left.contains("purser-"), "{left}");
    Ok(())
}

fn ensure_unloaded(machine: &Machine) -> Result<()> {
    let pins = machine.inside("ls /sys/fs/bpf")?;
    ensure!(!pins.contains("purser-"), "still in the kernel: {pins}");
    Ok(())
}
