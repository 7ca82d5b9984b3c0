// SPDX-License-Identifier: Apache-2.0
//! Units for systemd. Which key stands in which section, and why it is there.

mod quote;
mod sandbox;

use crate::definition::{Agent, Definition, Kind};
use crate::installed::header;
use quote::{command, optional, specifiers, word};

/// Runtimes that start containers: whoever records those is there before them, and until after them.
const RUNTIMES: &str =
    "docker.service containerd.service crio.service podman.service lxc.service kubelet.service";

/// The text of the unit.
pub(crate) fn unit(definition: &Definition) -> String {
    let mut unit = Unit { text: header(definition) };
    head(&mut unit, definition);
    unit.section("Service");
    match &definition.kind {
        Kind::Agent(agent) => agent_service(&mut unit, definition, agent),
        Kind::Program => program_service(&mut unit, definition),
    }
    unit.section("Install");
    unit.set("WantedBy", if definition.user_service { "default.target" } else { "multi-user.target" });
    unit.text
}

/// Lines of a unit.
struct Unit {
    text: String,
}

impl Unit {
    fn section(&mut self, name: &str) {
        self.text.push_str(&format!("\n[{name}]\n"));
    }

    fn set(&mut self, key: &str, value: &str) {
        self.text.push_str(&format!("{key}={value}\n"));
    }

    fn about(&mut self, why: &str) {
        self.text.push_str(&format!("# {why}\n"));
    }
}

fn head(unit: &mut Unit, definition: &Definition) {
    unit.section("Unit");
    unit.set("Description", &specifiers(&definition.description));
    match &definition.kind {
        Kind::Agent(agent) => {
            unit.about("Before the first container, and until after the last.");
            unit.set("Before", RUNTIMES);
            unit.set("RequiresMountsFor", &word(&agent.store.to_string_lossy()));
        }
        Kind::Program if definition.user_service => {}
        Kind::Program => unit.set("After", "network.target"),
    }
    unit.set("ConditionFileIsExecutable", &specifiers(definition.program_text()));
    match definition.kind {
        Kind::Agent(_) => {
            unit.about(
                "Only starts that fail before the program runs get there: it keeps away from this limit",
            );
            unit.about("itself. These keys have no effect in any other section.");
            unit.set("StartLimitIntervalSec", "20s");
            unit.set("StartLimitBurst", "40");
        }
        Kind::Program => {
            unit.about("Never give up starting it again. This key has no effect in any other section.");
            unit.set("StartLimitIntervalSec", "0");
        }
    }
}

fn program_service(unit: &mut Unit, definition: &Definition) {
    unit.set("Type", "exec");
    common(unit, definition);
    unit.set("Restart", "always");
    unit.set("RestartSec", "1s");
}

fn agent_service(unit: &mut Unit, definition: &Definition, agent: &Agent) {
    unit.set("Type", "notify");
    unit.set("NotifyAccess", "main");
    unit.about("Waits longer and longer after starts that came to nothing, and not after a crash.");
    unit.set("ExecStartPre", &optional(&definition.words_for(&agent.starting)));
    common(unit, definition);
    unit.set("SyslogIdentifier", definition.name.as_str());
    unit.set("ExecReload", &command(&definition.words_for(&agent.reload)));
    unit.about("These ask systemd whether this is a stop or one half of a restart. After a stop nothing");
    unit.about("is recorded; over a restart or a crash the kernel side goes on without the agent.");
    unit.set("ExecStop", &command(&definition.words_for(&agent.stopping)));
    unit.set("ExecStopPost", &command(&definition.words_for(&agent.stopped)));
    unit.set("Restart", "always");
    unit.set("RestartSec", "10ms");
    unit.about("Exit code 2 is a wrong configuration: starting it again would not make it right.");
    unit.set("RestartPreventExitStatus", "2");
    unit.about("The main loop itself feeds the watchdog, so one that is stuck is replaced.");
    unit.set("WatchdogSec", "30s");
    unit.about(
        "Keeps the socket of metrics over a restart: who asks meanwhile waits, and is not turned away.",
    );
    unit.set("FileDescriptorStoreMax", "4");
    unit.set("TimeoutStartSec", "3min");
    unit.set("TimeoutStopSec", "1min");
    unit.set("OOMScoreAdjust", "-900");
    unit.set("LimitNOFILE", "65536");
    unit.set("LimitCORE", "0");
    unit.text.push('\n');
    for (why, key, value) in sandbox::KEYS {
        if !why.is_empty() {
            unit.about(why);
        }
        unit.set(key, value);
    }
    unit.set("ReadWritePaths", &format!("-/sys/fs/bpf {}", word(&format!("-{}", agent.store.display()))));
}

fn common(unit: &mut Unit, definition: &Definition) {
    unit.set("ExecStart", &command(&definition.words()));
    if let Some(directory) = &definition.working_directory {
        unit.set("WorkingDirectory", &specifiers(&directory.to_string_lossy()));
    }
    if let Some(user) = &definition.user {
        unit.set("User", user);
    }
}

#[cfg(test)]
mod tests;
