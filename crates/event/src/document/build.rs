// SPDX-License-Identifier: Apache-2.0
//! From an event to the fields of its document: the one place that maps the two.

use super::{
    AgentFields, CharDeviceFields, ContainerFields, Context, Document, EffectiveFields, ErrorFields,
    EventFields, GapFields, HostFields, IdFields, LogFields, LogFileFields, NameFields, NamespaceFields,
    OrchestratorFields, ParentFields, PidFields, ProcessFields, PurserFields, ResourceFields, TtyFields,
    UserFields, rfc3339, text, uuid,
};
use crate::{
    Agent, Body, Container, Event, Exec, ExecFailed, Exit, Gap, Line, Namespaces, Process, base64, flags,
    line_flags, names,
};
use serde_json::{Map, Value};

pub(super) fn document(
    context: &Context,
    sequence: u64,
    event: &Event,
    container: Option<&Container>,
) -> Document {
    let process = event.process();
    let mut document = Document {
        timestamp: rfc3339(event.time_ns),
        event: event_fields(context, sequence, event),
        process: process.map(|process| process_fields(event, process)),
        user: process.map(user_fields),
        container: container_fields(&event.container, container),
        orchestrator: container.and_then(orchestrator_fields),
        host: HostFields { name: context.host_name.clone(), boot: IdFields { id: uuid(&event.boot_id) } },
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
        Body::Line(line) => add_line(&mut document, line),
    }
    document
}

fn event_fields(context: &Context, sequence: u64, event: &Event) -> EventFields {
    let store: String = context.store_id.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let (kind, category, kinds, outcome): (_, &[_], &[_], _) = match &event.body {
        Body::Exec(_) => (None, &["process"], &["start"], None),
        Body::Running(_) => (Some("state"), &["process"], &["info"], None),
        Body::ExecFailed(_) => (None, &["process"], &["start"], Some("failure")),
        Body::Exit(_) => (None, &["process"], &["end"], None),
        Body::Gap(_) => (Some("pipeline_error"), &[], &["error"], None),
        Body::Agent(_) => (None, &["configuration"], &["info"], None),
        Body::Line(_) => (None, &[], &["info"], None),
    };
    let action = match &event.body {
        Body::Agent(agent) => agent.action.clone(),
        _ => event.kind().word().to_string(),
    };
    let duration = match &event.body {
        Body::Exit(exit) => Some(exit.duration_ns),
        _ => None,
    };
    EventFields {
        action,
        kind,
        category,
        kinds,
        outcome,
        duration,
        sequence,
        id: format!("{store}-{sequence}"),
    }
}

fn process_fields(event: &Event, process: &Process) -> ProcessFields {
    let offset = event.time_ns.wrapping_sub(event.boot_ns);
    // Elsewhere it is a moment before the event, and stands in the entity id.
    let is_running = matches!(event.body, Body::Running(_));
    ProcessFields {
        pid: process.key.pid,
        entity_id: process.key.entity_id(&event.boot_id),
        start: is_running.then(|| rfc3339(process.key.start_boot_ns.wrapping_add(offset))),
        parent: ParentFields { pid: process.parent.pid, entity_id: process.parent.entity_id(&event.boot_id) },
        session_leader: (process.session != 0 && process.session != process.key.pid)
            .then_some(PidFields { pid: process.session }),
        tty: process
            .tty
            .map(|tty| TtyFields { char_device: CharDeviceFields { major: tty.major, minor: tty.minor } }),
        ..ProcessFields::default()
    }
}

fn user_fields(process: &Process) -> UserFields {
    let id = |id: u32| IdFields { id: id.to_string() };
    let raised = process.euid != process.uid || process.egid != process.gid;
    UserFields {
        id: process.uid.to_string(),
        group: (process.gid != process.uid).then(|| id(process.gid)),
        effective: raised.then(|| EffectiveFields { id: process.euid.to_string(), group: id(process.egid) }),
        audit: (process.login_uid != u32::MAX).then(|| id(process.login_uid)),
    }
}

fn container_fields(id: &str, container: Option<&Container>) -> Option<ContainerFields> {
    if id.is_empty() {
        return None;
    }
    let known = container.cloned().unwrap_or_default();
    Some(ContainerFields {
        id: id.to_string(),
        name: known.name,
        runtime: known.runtime,
        image: (!known.image.is_empty()).then_some(NameFields { name: known.image }),
        labels: known.labels.into_iter().collect(),
    })
}

fn orchestrator_fields(container: &Container) -> Option<OrchestratorFields> {
    (!container.pod_name.is_empty()).then(|| OrchestratorFields {
        kind: "kubernetes",
        namespace: container.pod_namespace.clone(),
        resource: ResourceFields {
            kind: "pod",
            name: container.pod_name.clone(),
            id: container.pod_uid.clone(),
        },
    })
}

fn purser_fields(event: &Event, process: &Process) -> PurserFields {
    let inside = process.namespace_pid != 0 && process.namespace_pid != process.key.pid;
    PurserFields {
        namespace_pid: inside.then_some(process.namespace_pid),
        ancestor_entity_id: (process.ancestor != process.parent && process.ancestor.pid != 0)
            .then(|| process.ancestor.entity_id(&event.boot_id)),
        ..PurserFields::default()
    }
}

fn add_exec(document: &mut Document, exec: &Exec) {
    if let Some(process) = &mut document.process {
        process.executable = text(&exec.executable);
        process.name = base_name(&exec.executable);
        process.working_directory = text(&exec.working_directory);
        process.env_vars = exec.env.iter().map(|variable| text(variable)).collect();
        add_args(process, &exec.args, exec.args_count);
    }
    let purser = &mut document.purser;
    if exec.filename != exec.executable {
        purser.filename = text(&exec.filename);
    }
    if !exec.interpreter.is_empty() {
        purser.interpreter = text(&exec.interpreter);
        purser.script = text(&exec.filename);
    }
    purser.args_bytes = (exec.flags & flags::ARGS_CUT != 0).then_some(exec.args_bytes);
    purser.flags =
        flags::WORDS.iter().filter(|(bit, _)| exec.flags & bit != 0).map(|(_, word)| *word).collect();
    purser.redacted = (exec.redacted != 0).then_some(exec.redacted);
    purser.capabilities =
        (exec.process.capabilities != 0).then(|| format!("{:016x}", exec.process.capabilities));
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

fn add_args(process: &mut ProcessFields, args: &[Vec<u8>], count: u32) {
    process.args = Some(args.iter().map(|arg| text(arg)).collect());
    process.args_count = Some(count);
    if args.iter().any(|arg| std::str::from_utf8(arg).is_err()) {
        process.args_raw = Some(args.iter().map(|arg| base64::encode(arg)).collect());
    }
}

fn add_failed(document: &mut Document, failed: &ExecFailed) {
    if let Some(process) = &mut document.process {
        process.executable = text(&failed.filename);
        process.name = base_name(&failed.filename);
        add_args(process, &failed.args, failed.args_count);
    }
    let code = names::errno(failed.errno);
    document.error = Some(ErrorFields { code, kind: None, message: String::new() });
    document.purser.redacted = (failed.redacted != 0).then_some(failed.redacted);
}

/// A killed process has the exit code a shell would show: 128 and the signal's number.
fn add_exit(document: &mut Document, exit: &Exit) {
    let killed = exit.signal != 0;
    if let Some(process) = &mut document.process {
        process.executable = text(&exit.executable);
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

fn add_gap(document: &mut Document, gap: &Gap) {
    let numbered = gap.cpu != u32::MAX && gap.last >= gap.first && gap.last != 0;
    document.purser.gap = Some(GapFields {
        cause: gap.cause.word(),
        count: gap.count,
        cpu: (gap.cpu != u32::MAX).then_some(gap.cpu),
        first: numbered.then_some(gap.first),
        last: numbered.then_some(gap.last),
        detail: gap.detail.clone(),
    });
}

fn add_agent(document: &mut Document, agent: &Agent) {
    document.agent = Some(AgentFields { kind: "purser", version: agent.version.clone() });
    document.message = (!agent.message.is_empty()).then(|| agent.message.clone());
}

fn add_line(document: &mut Document, line: &Line) {
    let words = [(line_flags::CUT, "truncated"), (line_flags::MULTILINE, "multiline")];
    document.log = Some(LogFields {
        file: LogFileFields {
            path: text(&line.path),
            device_id: line.file.device.to_string(),
            inode: line.file.inode.to_string(),
            fingerprint: format!("{:016x}", line.file.fingerprint),
        },
        offset: line.offset,
        flags: words.iter().filter(|(bit, _)| line.flags & bit != 0).map(|(_, word)| *word).collect(),
    });
    document.stream = match line.flags {
        flags if flags & line_flags::STDOUT != 0 => Some("stdout"),
        flags if flags & line_flags::STDERR != 0 => Some("stderr"),
        _ => None,
    };
    let is_json = !line.json.is_empty();
    document.message = (!is_json || !line.message.is_empty()).then(|| text(&line.message));
    if line.flags & line_flags::UNDER_ROOT == 0 {
        document.json = json(line);
    }
    if !line.error.is_empty() {
        let message = line.error.clone();
        document.error = Some(ErrorFields { code: String::new(), kind: Some("json"), message });
    }
    document.purser.source.clone_from(&line.source);
}

/// The fields of a line of JSON; an object, or it was not ours.
pub(super) fn json(line: &Line) -> Option<Map<String, Value>> {
    if line.json.is_empty() { None } else { serde_json::from_str(&line.json).ok() }
}

fn base_name(path: &[u8]) -> String {
    text(path.rsplit(|&byte| byte == b'/').next().unwrap_or(path))
}
