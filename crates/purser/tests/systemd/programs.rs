// SPDX-License-Identifier: Apache-2.0
//! Other programs as services: their words reach them as they were written, they run as the account
//! that was named, and they come back. By systemd, and by the scripts for SysV init.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::machine::Machine;

const LIMIT: Duration = Duration::from_secs(60);
/// What init systems take apart when it is not quoted.
const WORDS: &str = r#"'a b' '$HOME' '${PATH}' '100%' '%i' "it's" '"x"' 'C:\y' '' ';' '--' "$(printf 'a\tb\nc')" 'é' '*' '`id`' '\'"#;

#[test]
fn programs_as_services() -> Result<()> {
    let Some(machine) = Machine::boot()? else { return Ok(()) };
    machine.inside(
        r#"mkdir -p "/opt/a b"; cat >"/opt/a b/show" <<'END'
#!/bin/sh
printf '%s\0' "$@" >/tmp/words.new
{ id -un; pwd; } >/tmp/who
mv /tmp/words.new /tmp/words
exec sleep 1000
END
chmod +x "/opt/a b/show"; mkdir -p "/srv/50% of it"; chmod 777 /tmp"#,
    )?;
    machine.inside(&format!("printf '%s\\0' {WORDS} >/run/wanted"))?;
    for init in ["systemd", "sysv"] {
        let which = format!("--init {init} --name shown");
        machine.inside(&format!(
            "rm -f /tmp/words; purser install {which} --user nobody --working-directory '/srv/50% of it' -- '/opt/a b/show' {WORDS}"
        ))?;
        machine.refused(&format!("purser status {which}"), 3)?;
        machine.inside(&format!("purser start {which}"))?;
        machine.wait_until("cmp -s /run/wanted /tmp/words", LIMIT)?;
        let who = machine.inside("cat /tmp/who")?;
        ensure!(who == "nobody\n/srv/50% of it\n", "{init}: {who}");
        machine.wait_until(&format!("purser status {which} | grep -q 'running, pid'"), LIMIT)?;
        machine.inside(&format!(
            "purser status {which} -o json | sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/' >/run/pid; rm /tmp/words; kill -9 $(cat /run/pid)"
        ))?;
        machine.wait_until("cmp -s /run/wanted /tmp/words", LIMIT)?;
        machine.inside(&format!("rm /tmp/words; purser restart {which}"))?;
        machine.wait_until("cmp -s /run/wanted /tmp/words", LIMIT)?;
        machine.inside(&format!("purser stop {which}"))?;
        machine.refused(&format!("purser status {which}"), 3)?;
        let left = machine
            .inside("grep -l 'sleep[^a-z.]1000' /proc/[0-9]*/cmdline 2>/dev/null | grep -v self || true")?;
        ensure!(left.is_empty(), "{init}: still there after a stop: {left}");
        machine.inside(&format!("purser uninstall {which}"))?;
        machine.refused(&format!("purser status {which}"), 4)?;
    }
    Ok(())
}

/// The script knows without an init system's help what is a stop and what one half of a restart.
#[test]
fn the_agent_by_a_script() -> Result<()> {
    let Some(machine) = Machine::boot()? else { return Ok(()) };
    machine.inside(
        "mkdir -p /etc/purser; printf '[scope]\\nnames = [\"never-*\"]\\n' >/etc/purser/purser.toml
         purser install --init sysv; purser start --init sysv",
    )?;
    machine.wait_until("purser status --init sysv -o json | grep -q '\"recording\":true'", LIMIT)?;
    machine.inside("purser restart --init sysv")?;
    machine.wait_until("purser status --init sysv -o json | grep -q '\"recording\":true'", LIMIT)?;
    machine.inside("/etc/init.d/purser reload")?;
    let said = machine.inside("purser log --kind agent")?;
    ensure!(said.contains("goes on recording") && said.contains("carrying on"), "{said}");
    machine.inside("purser stop --service purser --init sysv")?;
    let (said, pins) = (machine.inside("purser log --kind agent")?, machine.inside("ls /sys/fs/bpf")?);
    ensure!(said.contains("nothing is recorded") && !pins.contains("purser-"), "{said}{pins}");
    machine.inside("purser uninstall --init sysv").map(drop)
}
