// SPDX-License-Identifier: Apache-2.0
//! The tags of an event and the two functions that use them.
//!
//! Times are kept as distances (`time - boot`, `boot - start`), which repeat from event to
//! event and so cost the compressor little.

use super::CodecError;
use super::field::{Fields, Put, Value};
use super::session;
use crate::{
    Agent, Body, Event, Exec, ExecFailed, Exit, Gap, GapCause, Kind, Line, Namespaces, Process, ProcessKey,
    Screen, Session, Tty,
};

mod tag {
    pub(super) const KIND: u32 = 1;
    pub(super) const BOOT_ID: u32 = 2;
    pub(super) const BOOT_NS: u32 = 3;
    /// Wall clock minus boot clock, wrapping.
    pub(super) const CLOCK_OFFSET: u32 = 4;
    pub(super) const CONTAINER: u32 = 5;
    /// The container when its id is 64 hexadecimal digits: 32 bytes.
    pub(super) const CONTAINER_HEX: u32 = 6;

    pub(super) const PID: u32 = 10;
    /// Boot clock of the event minus boot clock of the fork.
    pub(super) const AGE: u32 = 11;
    pub(super) const PARENT_PID: u32 = 12;
    pub(super) const PARENT_START: u32 = 13;
    pub(super) const ANCESTOR_PID: u32 = 14;
    pub(super) const ANCESTOR_START: u32 = 15;
    pub(super) const NAMESPACE_PID: u32 = 16;
    pub(super) const UID: u32 = 17;
    pub(super) const GID: u32 = 18;
    /// Effective ids, kept only when they differ from the real ones, plus 1.
    pub(super) const EUID: u32 = 19;
    pub(super) const EGID: u32 = 20;
    /// Login uid plus 1, so that "none" is left out.
    pub(super) const LOGIN_UID: u32 = 21;
    pub(super) const CAPABILITIES: u32 = 22;
    pub(super) const SESSION: u32 = 23;
    /// Terminal major and minor in one number, plus 1.
    pub(super) const TTY: u32 = 24;

    pub(super) const EXECUTABLE: u32 = 30;
    pub(super) const FILENAME: u32 = 31;
    pub(super) const INTERPRETER: u32 = 32;
    pub(super) const WORKING_DIRECTORY: u32 = 33;
    pub(super) const ARG: u32 = 34;
    pub(super) const ARGS_COUNT: u32 = 35;
    pub(super) const ARGS_BYTES: u32 = 36;
    pub(super) const ENV: u32 = 37;
    pub(super) const FLAGS: u32 = 38;
    pub(super) const REDACTED: u32 = 39;
    /// First of seven tags, in the order of [`super::Namespaces`].
    pub(super) const NAMESPACES: u32 = 40;
    pub(super) const NAMESPACES_LAST: u32 = 46;

    pub(super) const ERRNO: u32 = 50;
    pub(super) const CODE: u32 = 51;
    pub(super) const SIGNAL: u32 = 52;
    pub(super) const CORE: u32 = 53;
    pub(super) const DURATION: u32 = 54;
    pub(super) const CPU: u32 = 55;
    pub(super) const PEAK_RSS: u32 = 56;

    pub(super) const CAUSE: u32 = 60;
    pub(super) const COUNT: u32 = 61;
    pub(super) const GAP_CPU: u32 = 62;
    pub(super) const FIRST: u32 = 63;
    pub(super) const LAST: u32 = 64;
    pub(super) const DETAIL: u32 = 65;

    pub(super) const ACTION: u32 = 70;
    pub(super) const MESSAGE: u32 = 71;
    pub(super) const VERSION: u32 = 72;

    pub(super) const SOURCE: u32 = 80;
    pub(super) const PATH: u32 = 81;
    pub(super) const DEVICE: u32 = 82;
    pub(super) const INODE: u32 = 83;
    pub(super) const FINGERPRINT: u32 = 84;
    pub(super) const OFFSET: u32 = 85;
    pub(super) const BYTES: u32 = 86;
    pub(super) const TEXT: u32 = 87;
    pub(super) const JSON: u32 = 88;
    pub(super) const LINE_ERROR: u32 = 89;
    pub(super) const LINE_FLAGS: u32 = 90;
    pub(super) const WRITTEN: u32 = 91;
    pub(super) const LINE_REDACTED: u32 = 92;
}

/// Appends `event` to `out`.
pub fn encode(event: &Event, out: &mut Vec<u8>) {
    out.number(tag::KIND, event.kind() as u64 + 1);
    out.bytes(tag::BOOT_ID, &event.boot_id);
    out.number(tag::BOOT_NS, event.boot_ns);
    out.number(tag::CLOCK_OFFSET, event.time_ns.wrapping_sub(event.boot_ns));
    match hex_id(&event.container) {
        Some(id) => out.bytes(tag::CONTAINER_HEX, &id),
        None => out.text(tag::CONTAINER, &event.container),
    }
    if let Some(process) = event.process() {
        put_process(process, event.boot_ns, out);
    }
    match &event.body {
        Body::Exec(exec) | Body::Running(exec) => put_exec(exec, out),
        Body::ExecFailed(failed) => put_failed(failed, out),
        Body::Exit(exit) => put_exit(exit, out),
        Body::Gap(gap) => put_gap(gap, out),
        Body::Agent(agent) => {
            out.text(tag::ACTION, &agent.action);
            out.text(tag::MESSAGE, &agent.message);
            out.text(tag::VERSION, &agent.version);
        }
        Body::Line(line) => put_line(line, out),
        Body::Session(session) => session::put_session(session, out),
        Body::Tty(screen) => session::put_screen(screen, out),
    }
}

fn put_process(process: &Process, boot_ns: u64, out: &mut Vec<u8>) {
    out.number(tag::PID, process.key.pid.into());
    out.number(tag::AGE, boot_ns.wrapping_sub(process.key.start_boot_ns));
    out.number(tag::PARENT_PID, process.parent.pid.into());
    out.number(tag::PARENT_START, process.parent.start_boot_ns);
    if process.ancestor != process.parent {
        out.number(tag::ANCESTOR_PID, u64::from(process.ancestor.pid) + 1);
        out.number(tag::ANCESTOR_START, process.ancestor.start_boot_ns);
    }
    out.number(tag::NAMESPACE_PID, process.namespace_pid.into());
    out.number(tag::UID, process.uid.into());
    out.number(tag::GID, process.gid.into());
    if process.euid != process.uid {
        out.number(tag::EUID, u64::from(process.euid) + 1);
    }
    if process.egid != process.gid {
        out.number(tag::EGID, u64::from(process.egid) + 1);
    }
    out.number(tag::LOGIN_UID, u64::from(process.login_uid.wrapping_add(1)));
    out.number(tag::CAPABILITIES, process.capabilities);
    out.number(tag::SESSION, process.session.into());
    if let Some(tty) = process.tty {
        out.number(tag::TTY, (u64::from(tty.major) << 32 | u64::from(tty.minor)).wrapping_add(1));
    }
}

fn put_exec(exec: &Exec, out: &mut Vec<u8>) {
    out.bytes(tag::EXECUTABLE, &exec.executable);
    out.bytes(tag::FILENAME, &exec.filename);
    out.bytes(tag::INTERPRETER, &exec.interpreter);
    out.bytes(tag::WORKING_DIRECTORY, &exec.working_directory);
    put_args(&exec.args, exec.args_count, out);
    out.number(tag::ARGS_BYTES, exec.args_bytes.into());
    for variable in &exec.env {
        out.item(tag::ENV, variable);
    }
    let n = &exec.namespaces;
    let inodes = [n.mount, n.pid, n.network, n.uts, n.ipc, n.user, n.cgroup];
    for (number, inode) in (tag::NAMESPACES..).zip(inodes) {
        out.number(number, inode.into());
    }
    out.number(tag::FLAGS, exec.flags.into());
    out.number(tag::REDACTED, exec.redacted.into());
}

/// The count is kept only where it says more than the list does.
fn put_args(args: &[Vec<u8>], count: u32, out: &mut Vec<u8>) {
    for arg in args {
        out.item(tag::ARG, arg);
    }
    if count as usize != args.len() {
        out.number(tag::ARGS_COUNT, u64::from(count) + 1);
    }
}

fn put_failed(failed: &ExecFailed, out: &mut Vec<u8>) {
    out.bytes(tag::FILENAME, &failed.filename);
    put_args(&failed.args, failed.args_count, out);
    out.number(tag::ERRNO, failed.errno.into());
    out.number(tag::REDACTED, failed.redacted.into());
}

fn put_exit(exit: &Exit, out: &mut Vec<u8>) {
    out.number(tag::CODE, exit.code.into());
    out.number(tag::SIGNAL, exit.signal.into());
    out.number(tag::CORE, exit.core_dumped.into());
    out.number(tag::DURATION, exit.duration_ns);
    out.number(tag::CPU, exit.cpu_ns);
    out.number(tag::PEAK_RSS, exit.peak_rss_bytes);
    out.bytes(tag::EXECUTABLE, &exit.executable);
}

fn put_gap(gap: &Gap, out: &mut Vec<u8>) {
    out.number(tag::CAUSE, gap.cause as u64);
    out.number(tag::COUNT, gap.count);
    out.number(tag::GAP_CPU, u64::from(gap.cpu.wrapping_add(1)));
    out.number(tag::FIRST, gap.first);
    out.number(tag::LAST, gap.last);
    out.text(tag::DETAIL, &gap.detail);
}

fn put_line(line: &Line, out: &mut Vec<u8>) {
    out.text(tag::SOURCE, &line.source);
    out.bytes(tag::PATH, &line.path);
    out.number(tag::DEVICE, line.file.device);
    out.number(tag::INODE, line.file.inode);
    out.number(tag::FINGERPRINT, line.file.fingerprint);
    out.number(tag::OFFSET, line.offset);
    out.number(tag::BYTES, line.bytes);
    out.bytes(tag::TEXT, &line.message);
    out.text(tag::JSON, &line.json);
    out.text(tag::LINE_ERROR, &line.error);
    out.number(tag::LINE_FLAGS, line.flags.into());
    out.number(tag::WRITTEN, line.written_ns);
    out.number(tag::LINE_REDACTED, line.redacted.into());
}

/// Everything a decoder meets on its way; the kind decides what of it is used.
struct Draft {
    kind: u64,
    age: u64,
    clock_offset: u64,
    euid: Option<u32>,
    egid: Option<u32>,
    args_count: Option<u32>,
    ancestor: Option<ProcessKey>,
    boot_id: [u8; 16],
    boot_ns: u64,
    container: String,
    exec: Exec,
    errno: u32,
    exit: Exit,
    gap: Gap,
    agent: Agent,
    line: Line,
    session: Session,
    screen: Screen,
}

/// Decodes what [`encode`] wrote.
pub fn decode(bytes: &[u8]) -> Result<Event, CodecError> {
    let mut draft = Draft {
        kind: 0,
        age: 0,
        clock_offset: 0,
        euid: None,
        egid: None,
        args_count: None,
        ancestor: None,
        boot_id: [0; 16],
        boot_ns: 0,
        container: String::new(),
        exec: Exec::default(),
        errno: 0,
        exit: Exit::default(),
        gap: Gap { cpu: u32::MAX, ..Gap::default() },
        agent: Agent::default(),
        line: Line::default(),
        session: Session::default(),
        screen: Screen::default(),
    };
    draft.exec.process.login_uid = u32::MAX;
    let mut fields = Fields::new(bytes);
    while let Some((number, value)) = fields.next()? {
        match value {
            Value::Number(value) => take_number(&mut draft, number, value),
            Value::Bytes(value) => take_bytes(&mut draft, number, value),
        }
    }
    finish(draft)
}

// The casts below cut numbers that `encode` never wrote: such an event was not ours.
fn take_number(draft: &mut Draft, number: u32, value: u64) {
    let small = value as u32;
    let process = &mut draft.exec.process;
    match number {
        tag::KIND => draft.kind = value,
        tag::BOOT_NS => draft.boot_ns = value,
        tag::CLOCK_OFFSET => draft.clock_offset = value,
        tag::PID => process.key.pid = small,
        tag::AGE => draft.age = value,
        tag::PARENT_PID => process.parent.pid = small,
        tag::PARENT_START => process.parent.start_boot_ns = value,
        tag::ANCESTOR_PID => {
            draft.ancestor.get_or_insert_default().pid = small.wrapping_sub(1);
        }
        tag::ANCESTOR_START => draft.ancestor.get_or_insert_default().start_boot_ns = value,
        tag::NAMESPACE_PID => process.namespace_pid = small,
        tag::UID => process.uid = small,
        tag::GID => process.gid = small,
        tag::EUID => draft.euid = Some(small.wrapping_sub(1)),
        tag::EGID => draft.egid = Some(small.wrapping_sub(1)),
        tag::LOGIN_UID => process.login_uid = small.wrapping_sub(1),
        tag::CAPABILITIES => process.capabilities = value,
        tag::SESSION => process.session = small,
        tag::TTY => {
            let device = value.wrapping_sub(1);
            process.tty = Some(Tty { major: (device >> 32) as u32, minor: device as u32 });
        }
        tag::ARGS_COUNT => draft.args_count = Some(small.wrapping_sub(1)),
        tag::ARGS_BYTES => draft.exec.args_bytes = small,
        tag::FLAGS => draft.exec.flags = small,
        tag::REDACTED => draft.exec.redacted = small,
        tag::NAMESPACES..=tag::NAMESPACES_LAST => take_namespace(&mut draft.exec.namespaces, number, small),
        _ => take_outcome(draft, number, value),
    }
}

fn take_namespace(namespaces: &mut Namespaces, number: u32, inode: u32) {
    match number - tag::NAMESPACES {
        0 => namespaces.mount = inode,
        1 => namespaces.pid = inode,
        2 => namespaces.network = inode,
        3 => namespaces.uts = inode,
        4 => namespaces.ipc = inode,
        5 => namespaces.user = inode,
        _ => namespaces.cgroup = inode,
    }
}

fn take_outcome(draft: &mut Draft, number: u32, value: u64) {
    let (exit, gap) = (&mut draft.exit, &mut draft.gap);
    match number {
        tag::ERRNO => draft.errno = value as u32,
        tag::CODE => exit.code = value as u8,
        tag::SIGNAL => exit.signal = value as u8,
        tag::CORE => exit.core_dumped = value != 0,
        tag::DURATION => exit.duration_ns = value,
        tag::CPU => exit.cpu_ns = value,
        tag::PEAK_RSS => exit.peak_rss_bytes = value,
        tag::CAUSE => {
            gap.cause = usize::try_from(value)
                .ok()
                .and_then(|cause| GapCause::ALL.get(cause).copied())
                .unwrap_or_default();
        }
        tag::COUNT => gap.count = value,
        tag::GAP_CPU => gap.cpu = (value as u32).wrapping_sub(1),
        tag::FIRST => gap.first = value,
        tag::LAST => gap.last = value,
        tag::DEVICE..=tag::LINE_REDACTED => take_place(&mut draft.line, number, value),
        _ => session::take_number(&mut draft.session, &mut draft.screen, number, value),
    }
}

fn take_place(line: &mut Line, number: u32, value: u64) {
    match number {
        tag::DEVICE => line.file.device = value,
        tag::INODE => line.file.inode = value,
        tag::FINGERPRINT => line.file.fingerprint = value,
        tag::OFFSET => line.offset = value,
        tag::BYTES => line.bytes = value,
        tag::LINE_FLAGS => line.flags = value as u32,
        tag::WRITTEN => line.written_ns = value,
        tag::LINE_REDACTED => line.redacted = value as u32,
        _ => {}
    }
}

fn take_bytes(draft: &mut Draft, number: u32, value: &[u8]) {
    let text = || String::from_utf8_lossy(value).into_owned();
    let exec = &mut draft.exec;
    match number {
        tag::BOOT_ID => {
            if let Ok(id) = value.try_into() {
                draft.boot_id = id;
            }
        }
        tag::CONTAINER => draft.container = text(),
        tag::CONTAINER_HEX => draft.container = hex(value),
        tag::EXECUTABLE => exec.executable = value.to_vec(),
        tag::FILENAME => exec.filename = value.to_vec(),
        tag::INTERPRETER => exec.interpreter = value.to_vec(),
        tag::WORKING_DIRECTORY => exec.working_directory = value.to_vec(),
        tag::ARG => exec.args.push(value.to_vec()),
        tag::ENV => exec.env.push(value.to_vec()),
        tag::DETAIL => draft.gap.detail = text(),
        tag::ACTION => draft.agent.action = text(),
        tag::MESSAGE => draft.agent.message = text(),
        tag::VERSION => draft.agent.version = text(),
        tag::SOURCE => draft.line.source = text(),
        tag::PATH => draft.line.path = value.to_vec(),
        tag::TEXT => draft.line.message = value.to_vec(),
        tag::JSON => draft.line.json = text(),
        tag::LINE_ERROR => draft.line.error = text(),
        _ => session::take_bytes(&mut draft.session, &mut draft.screen, number, value),
    }
}

fn finish(draft: Draft) -> Result<Event, CodecError> {
    let Draft { mut exec, mut exit, .. } = draft;
    exec.process.key.start_boot_ns = draft.boot_ns.wrapping_sub(draft.age);
    exec.process.ancestor = draft.ancestor.unwrap_or(exec.process.parent);
    exec.process.euid = draft.euid.unwrap_or(exec.process.uid);
    exec.process.egid = draft.egid.unwrap_or(exec.process.gid);
    exec.args_count = draft.args_count.unwrap_or(exec.args.len() as u32);
    let kind = usize::try_from(draft.kind.wrapping_sub(1)).ok().and_then(|kind| Kind::ALL.get(kind));
    let body = match kind.ok_or(CodecError::Kind(draft.kind.wrapping_sub(1)))? {
        Kind::Exec => Body::Exec(Box::new(exec)),
        Kind::Running => Body::Running(Box::new(exec)),
        Kind::ExecFailed => Body::ExecFailed(Box::new(ExecFailed {
            process: exec.process,
            filename: exec.filename,
            args: exec.args,
            args_count: exec.args_count,
            errno: draft.errno,
            redacted: exec.redacted,
        })),
        Kind::Exit => {
            exit.process = exec.process;
            exit.executable = exec.executable;
            Body::Exit(exit)
        }
        Kind::Gap => Body::Gap(draft.gap),
        Kind::Agent => Body::Agent(draft.agent),
        Kind::Line => Body::Line(Box::new(draft.line)),
        Kind::Session => Body::Session(Box::new(draft.session)),
        Kind::Tty => Body::Tty(Box::new(draft.screen)),
    };
    let time_ns = draft.boot_ns.wrapping_add(draft.clock_offset);
    Ok(Event { boot_id: draft.boot_id, time_ns, boot_ns: draft.boot_ns, container: draft.container, body })
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        digits.push(char::from(DIGITS[usize::from(byte >> 4)]));
        digits.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    digits
}

/// The 32 bytes behind 64 lower-case hexadecimal digits.
fn hex_id(id: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = id.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Some(bytes)
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}
