// SPDX-License-Identifier: Apache-2.0
//! From an event to the fields of its document: the one place that maps the two.

use super::short::Short;
use super::time::short_rfc3339;
use super::{
    AgentFields, CharDeviceFields, ContainerFields, ContainerPart, Context, Document, EffectiveFields,
    ErrorFields, EventFields, GapFields, HostFields, IdFields, LogFields, LogFileFields, NameFields,
    NamespaceFields, OrchestratorFields, ParentFields, PidFields, ProcessFields, PurserFields,
    ResourceFields, ScreenFields, SessionFields, TtyFields, UserFields,
};
use super::{Bytes, Labels, Raw, Texts, short_uuid};
use crate::{
    Agent, Body, Container, Event, Exec, ExecFailed, Exit, Gap, Line, Namespaces, Process, ProcessKey,
    Screen, Session, SessionAction, flags, line_flags, names,
};
use serde_json::{Map, Value};

pub(super) fn document<'a>(
    context: &'a Context,
    sequence: u64,
    event: &'a Event,
    container: Option<&'a Container>,
) -> Document<'a> {
    let process = event.process();
    let mut document = Document {
        timestamp: short_rfc3339(event.moment_ns()),
        event: event_fields(context, sequence, event),
        process: process.map(|process| process_fields(event, process)),
        user: process.map(user_fields),
        container: container_fields(&event.container, container).map(ContainerPart::Fields),
        orchestrator: container.and_then(orchestrator_fields),
        host: HostFields { name: &context.host_name, boot: IdFields { id: short_uuid(&event.boot_id) } },
        error: None,
        log: None,
        stream: None,
        agent: None,
        message: None,
        json: None,
        purser: process.map(|process| purser_fields(event, process)).unwrap_or_default(),
    };
    match &event.body {
        Body::Exec(exec) | Body::Running(exec) => add_exec(&mut document, exec),
        Body::ExecFailed(failed) => add_failed(&mut document, failed),
        Body::Exit(exit) => add_exit(&mut document, exit),
        Body::Gap(gap) => add_gap(&mut document, gap),
        Body::Agent(agent) => add_agent(&mut document, agent),
        Body::Line(line) => add_line(&mut document, event.time_ns, line),
        Body::Session(session) => add_session(&mut document, session),
        Body::Tty(screen) => add_screen(&mut document, screen),
    }
    document
}

fn event_fields<'a>(context: &Context, sequence: u64, event: &'a Event) -> EventFields<'a> {
    let [a, b, c, d, ..] = context.store_id;
    let id = Short::new().hex_bytes(&[a, b, c, d]).byte(b'-').decimal(sequence, 1);
    let (kind, category, kinds, outcome): (_, &[_], &[_], _) = match &event.body {
        Body::Exec(_) => (None, &["process"], &["start"], None),
        Body::Running(_) => (Some("state"), &["process"], &["info"], None),
        Body::ExecFailed(_) => (None, &["process"], &["start"], Some("failure")),
        Body::Exit(_) => (None, &["process"], &["end"], None),
        Body::Gap(_) => (Some("pipeline_error"), &[], &["error"], None),
        Body::Agent(_) => (None, &["configuration"], &["info"], None),
        Body::Line(_) => (None, &[], &["info"], None),
        Body::Session(session) => match session.action {
            SessionAction::Start => (None, &["session"], &["start"], None),
            SessionAction::End => (None, &["session"], &["end"], None),
            SessionAction::Refused => (None, &["session"], &["denied"], Some("failure")),
        },
        Body::Tty(_) => (None, &["session"], &["info"], None),
    };
    let action = match &event.body {
        Body::Agent(agent) => agent.action.as_str(),
        Body::Session(session) => session.action.word(),
        _ => event.kind().word(),
    };
    let duration = match &event.body {
        Body::Exit(exit) => Some(exit.duration_ns),
        Body::Session(session) if session.action == SessionAction::End => Some(session.duration_ns),
        _ => None,
    };
    EventFields { action, kind, category, kinds, outcome, duration, created: None, sequence, id }
}

fn process_fields<'a>(event: &Event, process: &Process) -> ProcessFields<'a> {
    let entity_id = |key: &ProcessKey| entity_id(key, &event.boot_id);
    let offset = event.time_ns.wrapping_sub(event.boot_ns);
    // Elsewhere it is a moment before the event, and stands in the entity id.
    let is_running = matches!(event.body, Body::Running(_));
    ProcessFields {
        pid: process.key.pid,
        entity_id: entity_id(&process.key),
        start: is_running.then(|| short_rfc3339(process.key.start_boot_ns.wrapping_add(offset))),
        parent: ParentFields { pid: process.parent.pid, entity_id: entity_id(&process.parent) },
        session_leader: (process.session != 0 && process.session != process.key.pid)
            .then_some(PidFields { pid: process.session }),
        tty: process
            .tty
            .map(|tty| TtyFields { char_device: CharDeviceFields { major: tty.major, minor: tty.minor } }),
        executable: Bytes(b""),
        name: Bytes(b""),
        args: None,
        args_raw: None,
        args_count: None,
        working_directory: Bytes(b""),
        env_vars: Texts(&[]),
        exit_code: None,
    }
}

fn user_fields(process: &Process) -> UserFields<'static> {
    let id = |id: u32| IdFields { id: Short::number(id.into()) };
    let raised = process.euid != process.uid || process.egid != process.gid;
    UserFields {
        id: Short::number(process.uid.into()),
        name: "",
        group: (process.gid != process.uid).then(|| id(process.gid)),
        effective: raised
            .then(|| EffectiveFields { id: Short::number(process.euid.into()), group: id(process.egid) }),
        audit: (process.login_uid != u32::MAX).then(|| id(process.login_uid)),
    }
}

pub(super) fn container_fields<'a>(
    id: &'a str,
    container: Option<&'a Container>,
) -> Option<ContainerFields<'a>> {
    let text = |text: fn(&Container) -> &String| container.map_or("", |known| text(known).as_str());
    let image = text(|known| &known.image);
    (!id.is_empty()).then(|| ContainerFields {
        id,
        name: text(|known| &known.name),
        runtime: text(|known| &known.runtime),
        image: (!image.is_empty()).then_some(NameFields { name: image }),
        labels: Labels(container.map_or(&[], |known| &known.labels)),
    })
}

pub(super) fn orchestrator_fields(container: &Container) -> Option<OrchestratorFields<'_>> {
    (!container.pod_name.is_empty()).then(|| OrchestratorFields {
        kind: "kubernetes",
        namespace: &container.pod_namespace,
        resource: ResourceFields { kind: "pod", name: &container.pod_name, id: &container.pod_uid },
    })
}

/// What [`ProcessKey::entity_id`] gives.
fn entity_id(key: &ProcessKey, boot_id: &[u8; 16]) -> Short {
    let boot = Short::new().hex_bytes(&boot_id[..8]).byte(b'-');
    boot.hex(key.start_boot_ns, 1).byte(b'-').hex(key.pid.into(), 1)
}

fn purser_fields<'a>(event: &Event, process: &Process) -> PurserFields<'a> {
    let inside = process.namespace_pid != 0 && process.namespace_pid != process.key.pid;
    PurserFields {
        namespace_pid: inside.then_some(process.namespace_pid),
        ancestor_entity_id: (process.ancestor != process.parent && process.ancestor.pid != 0)
            .then(|| entity_id(&process.ancestor, &event.boot_id)),
        ..PurserFields::default()
    }
}

fn add_exec<'a>(document: &mut Document<'a>, exec: &'a Exec) {
    if let Some(process) = &mut document.process {
        process.executable = Bytes(&exec.executable);
        process.name = base_name(&exec.executable);
        process.working_directory = Bytes(&exec.working_directory);
        process.env_vars = Texts(&exec.env);
        add_args(process, &exec.args, exec.args_count);
    }
    let purser = &mut document.purser;
    if exec.filename != exec.executable {
        purser.filename = Bytes(&exec.filename);
    }
    if !exec.interpreter.is_empty() {
        purser.interpreter = Bytes(&exec.interpreter);
        purser.script = Bytes(&exec.filename);
    }
    purser.args_bytes = (exec.flags & flags::ARGS_CUT != 0).then_some(exec.args_bytes);
    purser.flags =
        flags::WORDS.iter().filter(|(bit, _)| exec.flags & bit != 0).map(|(_, word)| *word).collect();
    purser.redacted = (exec.redacted != 0).then_some(exec.redacted);
    purser.capabilities =
        (exec.process.capabilities != 0).then(|| Short::new().hex(exec.process.capabilities, 16));
    purser.namespaces = namespace_fields(&exec.namespaces);
}

/// Numbers of the namespaces that a kernel boots with (include/uapi/linux/nsfs.h since 6.18; those from
/// CGROUP on the same in include/linux/proc_ns.h since 4.6; others count from these upwards).
const FIRST_NAMESPACES: std::ops::RangeInclusive<u32> = 0xEFFF_FFF8..=0xEFFF_FFFF;

fn namespace_fields(n: &Namespaces) -> Option<NamespaceFields> {
    let own = |number: u32| (number != 0 && !FIRST_NAMESPACES.contains(&number)).then_some(number);
    let fields = NamespaceFields {
        mount: own(n.mount),
        pid: own(n.pid),
        network: own(n.network),
        uts: own(n.uts),
        ipc: own(n.ipc),
        user: own(n.user),
        cgroup: own(n.cgroup),
    };
    (fields != NamespaceFields::default()).then_some(fields)
}

fn add_args<'a>(process: &mut ProcessFields<'a>, args: &'a [Vec<u8>], count: u32) {
    process.args = Some(Texts(args));
    process.args_count = Some(count);
    if args.iter().any(|arg| std::str::from_utf8(arg).is_err()) {
        process.args_raw = Some(Raw(args));
    }
}

fn add_failed<'a>(document: &mut Document<'a>, failed: &'a ExecFailed) {
    if let Some(process) = &mut document.process {
        process.executable = Bytes(&failed.filename);
        process.name = base_name(&failed.filename);
        add_args(process, &failed.args, failed.args_count);
    }
    let code = names::errno(failed.errno);
    document.error = Some(ErrorFields { code, kind: None, message: "" });
    document.purser.redacted = (failed.redacted != 0).then_some(failed.redacted);
}

/// A killed process has the exit code a shell would show: 128 and the signal's number.
fn add_exit<'a>(document: &mut Document<'a>, exit: &'a Exit) {
    let killed = exit.signal != 0;
    if let Some(process) = &mut document.process {
        process.executable = Bytes(&exit.executable);
        process.name = base_name(&exit.executable);
        process.exit_code = Some(if killed { 128 + u32::from(exit.signal) } else { u32::from(exit.code) });
    }
    document.event.outcome = Some(if killed || exit.code != 0 { "failure" } else { "success" });
    let purser = &mut document.purser;
    purser.signal = killed.then(|| names::signal(exit.signal));
    purser.core_dumped = exit.core_dumped.then_some(true);
    purser.cpu_ns = (exit.cpu_ns != 0).then_some(exit.cpu_ns);
    purser.peak_rss_bytes = (exit.peak_rss_bytes != 0).then_some(exit.peak_rss_bytes);
}

fn add_gap<'a>(document: &mut Document<'a>, gap: &'a Gap) {
    let numbered = gap.cpu != u32::MAX && gap.last >= gap.first && gap.last != 0;
    document.purser.gap = Some(GapFields {
        cause: gap.cause.word(),
        count: gap.count,
        cpu: (gap.cpu != u32::MAX).then_some(gap.cpu),
        first: numbered.then_some(gap.first),
        last: numbered.then_some(gap.last),
        detail: &gap.detail,
    });
}

fn add_agent<'a>(document: &mut Document<'a>, agent: &'a Agent) {
    document.agent = Some(AgentFields { kind: "purser", version: &agent.version });
    document.message = (!agent.message.is_empty()).then_some(Bytes(agent.message.as_bytes()));
}

fn add_line<'a>(document: &mut Document<'a>, read_ns: u64, line: &'a Line) {
    document.event.created = (line.written_ns != 0).then(|| short_rfc3339(read_ns));
    let words = [(line_flags::CUT, "truncated"), (line_flags::MULTILINE, "multiline")];
    document.log = Some(LogFields {
        file: LogFileFields {
            path: Bytes(&line.path),
            device_id: Short::number(line.file.device),
            inode: Short::number(line.file.inode),
            fingerprint: Short::new().hex(line.file.fingerprint, 16),
        },
        offset: line.offset,
        flags: words.iter().filter(|(bit, _)| line.flags & bit != 0).map(|(_, word)| *word).collect(),
    });
    document.stream = line.stream();
    let is_json = !line.json.is_empty();
    document.message = (!is_json || !line.message.is_empty()).then_some(Bytes(&line.message));
    if line.flags & line_flags::UNDER_ROOT == 0 {
        document.json = json(line);
    }
    if !line.error.is_empty() {
        let kind = if line.flags & line_flags::UNWRAPPED != 0 { "format" } else { "json" };
        document.error = Some(ErrorFields { code: String::new(), kind: Some(kind), message: &line.error });
    }
    document.purser.source = &line.source;
    document.purser.redacted = (line.redacted != 0).then_some(line.redacted);
}

fn add_session<'a>(document: &mut Document<'a>, session: &'a Session) {
    let id = Short::number(session.uid.into());
    document.user = Some(UserFields { id, name: &session.user, group: None, effective: None, audit: None });
    document.purser.capabilities =
        (session.capabilities != 0).then(|| Short::new().hex(session.capabilities, 16));
    document.purser.session = Some(SessionFields {
        id: &session.id,
        target: &session.target,
        from: &session.from,
        kits: &session.kits,
        command: Texts(&session.command),
        reason: &session.reason,
        detail: &session.detail,
        exit_code: (session.action == SessionAction::End).then_some(session.code.into()),
    });
}

fn add_screen<'a>(document: &mut Document<'a>, screen: &'a Screen) {
    let session = SessionFields {
        id: &screen.session,
        target: "",
        from: "",
        kits: &[],
        command: Texts(&[]),
        reason: "",
        detail: "",
        exit_code: None,
    };
    document.purser.session = Some(session);
    document.purser.redacted = (screen.redacted != 0).then_some(screen.redacted);
    document.purser.screen = Some(ScreenFields {
        elapsed_ns: screen.elapsed_ns,
        text: Bytes(&screen.bytes),
        columns: screen.columns,
        rows: screen.rows,
        dropped_bytes: (screen.dropped != 0).then_some(screen.dropped),
    });
}

/// The fields of a line of JSON; an object, or it was not ours.
pub(super) fn json(line: &Line) -> Option<Map<String, Value>> {
    if line.json.is_empty() { None } else { serde_json::from_str(&line.json).ok() }
}

fn base_name(path: &[u8]) -> Bytes<'_> {
    Bytes(path.rsplit(|&byte| byte == b'/').next().unwrap_or(path))
}
