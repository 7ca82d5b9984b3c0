// SPDX-License-Identifier: Apache-2.0
//! From a kernel record to the body of an event: the one place that maps the two. Secrets are
//! replaced on the way. Knows no containers and no clock.

use event::{Body, Exec, ExecFailed, Exit, Namespaces, Process, ProcessKey, Tty, flags};
use probe::record::{self, Head, Record};
use redact::Redactor;
use std::sync::Arc;

/// Turns records into bodies.
#[derive(Debug)]
pub(super) struct Converter {
    redactor: Arc<Redactor>,
    /// Names of the environment variables to keep.
    env: Vec<String>,
}

impl Converter {
    pub(super) fn new(redactor: Arc<Redactor>, env: Vec<String>) -> Converter {
        Converter { redactor, env }
    }

    pub(super) fn redactor(&self) -> Arc<Redactor> {
        Arc::clone(&self.redactor)
    }

    pub(super) fn body(&self, record: Record) -> Body {
        let Record { head, body } = record;
        let process = process(&head);
        match body {
            record::Body::Exec(exec) => Body::Exec(Box::new(self.exec(&head, process, exec))),
            record::Body::Running(exec) => Body::Running(Box::new(self.exec(&head, process, exec))),
            record::Body::Failed(failed) => Body::ExecFailed(Box::new(self.failed(process, failed))),
            record::Body::Exit(exit) => Body::Exit(ended(&head, process, exit)),
        }
    }

    fn exec(&self, head: &Head, process: Process, exec: record::Exec) -> Exec {
        let mut args = arguments(&exec.args);
        let mut redacted = self.redactor.args(&exec.executable, &mut args);
        let env = self.variables(&exec.env, &mut redacted);
        let [mount, pid, network, uts, ipc, user, cgroup] = exec.namespaces;
        let args_count = if exec.argc == u32::MAX { args.len() as u32 } else { exec.argc };
        let script = !exec.interpreter.is_empty() && exec.interpreter != exec.filename;
        let setup = if sets_up_container(&exec.executable, &args) { flags::RUNTIME_INIT } else { 0 };
        Exec {
            process,
            executable: exec.executable,
            filename: exec.filename,
            interpreter: if script { exec.interpreter } else { Vec::new() },
            working_directory: exec.directory,
            args,
            args_count,
            args_bytes: exec.args_bytes,
            env,
            namespaces: Namespaces { mount, pid, network, uts, ipc, user, cgroup },
            flags: head.flags | setup,
            redacted,
        }
    }

    /// The kernel compared only the first bytes of the names.
    fn variables(&self, env: &[u8], redacted: &mut u32) -> Vec<Vec<u8>> {
        let mut kept = Vec::new();
        for variable in env.split(|&byte| byte == 0) {
            let Some(equals) = variable.iter().position(|&byte| byte == b'=') else { continue };
            let (name, value) = variable.split_at(equals);
            if self.env.iter().any(|wanted| wanted.as_bytes() == name) {
                let mut value = value[1..].to_vec();
                *redacted += self.redactor.env(name, &mut value);
                kept.push([name, b"=", &value].concat());
            }
        }
        kept
    }

    fn failed(&self, process: Process, failed: record::Failed) -> ExecFailed {
        let mut args = arguments(&failed.args);
        let redacted = self.redactor.args(&failed.filename, &mut args);
        let args_count = match failed.argc {
            // More than were read: how many is not known.
            u16::MAX => args.len() as u32 + 1,
            count => count.into(),
        };
        ExecFailed { process, filename: failed.filename, args, args_count, errno: failed.errno, redacted }
    }
}

fn process(head: &Head) -> Process {
    let key = |pid, start_boot_ns| ProcessKey { pid, start_boot_ns };
    let parent = key(head.parent_pid, head.parent_start);
    Process {
        key: key(head.pid, head.start),
        parent,
        ancestor: match head.ancestor_pid {
            0 => parent,
            pid if pid == head.pid => parent,
            pid => key(pid, head.ancestor_start),
        },
        namespace_pid: head.namespace_pid,
        uid: head.uid,
        gid: head.gid,
        euid: head.euid,
        egid: head.egid,
        login_uid: head.login_uid,
        capabilities: head.capabilities,
        session: head.session,
        tty: head.tty.map(|(major, minor)| Tty { major, minor }),
    }
}

fn ended(head: &Head, process: Process, exit: record::Exit) -> Exit {
    Exit {
        process,
        code: (exit.status >> 8) as u8,
        signal: (exit.status & 0x7f) as u8,
        core_dumped: exit.status & 0x80 != 0,
        duration_ns: head.boot_ns.saturating_sub(exit.exec_boot_ns),
        cpu_ns: exit.cpu_ns,
        peak_rss_bytes: exit.peak_rss,
        executable: exit.executable,
    }
}

/// Arguments as the kernel laid them out: each ended by NUL, an empty one too.
fn arguments(bytes: &[u8]) -> Vec<Vec<u8>> {
    match bytes.strip_suffix(&[0]).or(Some(bytes).filter(|bytes| !bytes.is_empty())) {
        Some(bytes) => bytes.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect(),
        None => Vec::new(),
    }
}

/// runc and crun execute themselves inside the new container, from a memfd since 1.1.15.
fn sets_up_container(executable: &[u8], args: &[Vec<u8>]) -> bool {
    let name = executable.rsplit(|&byte| byte == b'/').next().unwrap_or(executable);
    let runtime = name == b"runc"
        || name == b"crun"
        || name.starts_with(b"memfd:runc")
        || name.starts_with(b"memfd:crun");
    runtime && args.get(1).is_some_and(|arg| arg == b"init")
}

#[cfg(test)]
mod tests {
    use super::arguments;

    #[test]
    fn empty_arguments_survive() {
        assert_eq!(arguments(b""), Vec::<Vec<u8>>::new());
        assert_eq!(arguments(b"\0"), [b""]);
        assert_eq!(arguments(b"a\0\0b\n\0"), [b"a".to_vec(), b"".to_vec(), b"b\n".to_vec()]);
        assert_eq!(arguments(b"a\0cut"), [b"a".to_vec(), b"cut".to_vec()]);
    }
}
