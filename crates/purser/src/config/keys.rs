// SPDX-License-Identifier: Apache-2.0
//! Every key of the configuration with its meaning, in the order in which it is printed.
//! A test holds this table and the types against each other.

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Sections and name joined by dots, such as `store.segment_mib`.
    pub path: &'static str,
    /// What it means, one sentence.
    pub doc: &'static str,
}

const fn key(path: &'static str, doc: &'static str) -> Key {
    Key { path, doc }
}

/// Every key.
pub const KEYS: &[Key] = &[
    key("agent.store", "The store directory."),
    key("capture.env", "Environment variables recorded with an exec: at most 16 names of at most 64 bytes."),
    key("capture.failed", "Whether refused execs are recorded."),
    key(
        "capture.ring_mib",
        "Ring between kernel and agent for events, in MiB: a power of two from 1 to 256.",
    ),
    key(
        "capture.bulk_ring_mib",
        "Ring for long arguments and environments, in MiB: a power of two from 1 to 256.",
    ),
    key("scope.include", "What is recorded: \"container\", \"host\" or both."),
    key("scope.names", "Only containers with one of these names, as globs; none given means all."),
    key("scope.exclude_names", "Never containers with one of these names, as globs."),
    key("scope.images", "Only containers of one of these images, as globs."),
    key("scope.labels", "Only containers with one of these labels, as KEY=VALUE; the value may be a glob."),
    key("scope.ids", "Only containers with one of these ids, as globs."),
    key("scope.cgroups", "Also everything in these cgroup paths, as globs."),
    key("rule.name", "Names the rule; unique."),
    key("rule.container", "Condition: the container's name, as a glob."),
    key("rule.image", "Condition: the container's image, as a glob."),
    key("rule.uid", "Condition: the effective user id."),
    key(
        "rule.executable",
        "Condition: the absolute path of the executable, at most 240 bytes; never matches a refused exec.",
    ),
    key("rule.argv0", "Condition: the first argument, at most 120 bytes; never matches a refused exec."),
    key("rule.parent", "Condition: the absolute path of the parent's executable, at most 240 bytes."),
    key(
        "rule.action",
        "What becomes of the exec: record, count (for the rule and its container) or ignore (for the rule only).",
    ),
    key("redaction.enabled", "Whether the built-in patterns for secrets are used."),
    key("redaction.disable", "Built-in patterns that are not used, by name."),
    key("redaction.rule.name", "Names the pattern in errors; unique."),
    key(
        "redaction.rule.pattern",
        "A regular expression; the group named secret, else the first group, else the whole match is replaced.",
    ),
    key("redaction.rule.commands", "Only in the arguments of these programs; none given means all."),
    key("store.segment_mib", "Size at which a segment is sealed, in MiB: 1 to 1024."),
    key("store.retain_age", "Segments older than this are removed; \"none\" keeps them."),
    key("store.retain_bytes", "The oldest segments are removed above this size; \"none\" keeps them."),
    key(
        "store.disk_full",
        "On a full disk \"block\" holds events back, \"reserve\" first uses up reserve_mib, \"drop_oldest\" removes old segments.",
    ),
    key("store.reserve_mib", "Space kept free for the last words on a full disk, in MiB: 0 to 1024."),
    key("store.checkpoint_secs", "Seconds between signed checkpoints: 1 to 3600."),
    key("runtimes.docker_socket", "Docker's API socket."),
    key("runtimes.docker_containers", "Where Docker keeps its containers' configuration."),
    key("runtimes.docker_user_sockets", "Sockets of rootless Docker; * stands for one path component."),
    key("runtimes.podman_sockets", "Podman's API sockets."),
    key("runtimes.podman_user_sockets", "Sockets of rootless Podman; * stands for one path component."),
    key("runtimes.podman_storage", "Storage directories of Podman and CRI-O."),
    key("runtimes.containerd_states", "State directories of containerd."),
    key("runtimes.containerd_sockets", "containerd's sockets."),
    key("runtimes.runc_roots", "State directories of runc and crun."),
    key("runtimes.lxc", "The directory of LXC containers."),
    key("runtimes.machines", "The registry of systemd-machined."),
    key("runtimes.request_timeout_ms", "Longest wait for a runtime's answer, in milliseconds: 10 to 60000."),
    key(
        "metrics.listen",
        "Where /metrics and /healthz are served: \"off\", a loopback address with a port, or \"unix:/PATH\".",
    ),
    key(
        "sink.any.type",
        "Where a sink sends to: elasticsearch, file, kafka, logstash, otlp, stdout, syslog or webhook.",
    ),
    key("debug.kits", "The directory with kits."),
    key("debug.transcript", "Whether what the terminals of sessions show is recorded."),
    key("debug.require_record", "Whether a session is refused when no agent records it."),
    key(
        "debug.registry",
        "HOST:PORT/PATH of a registry below which kits are fetched by name; none when empty.",
    ),
    key("debug.mirrors", "The same of others that have the same kits, tried before it in this order."),
    key(
        "debug.pull",
        "When a session fetches a kit: \"never\", when it is \"missing\", or \"always\" looks for another one.",
    ),
    key("debug.pins", "What kits that come from elsewhere must be, NAME = \"sha256:…\"."),
    key(
        "debug.trust",
        "Files with public keys; one of them must have signed each kit that comes from elsewhere.",
    ),
    key("debug.ca", "Certificates of the authorities of registries; the host's own when not given."),
    key(
        "debug.insecure",
        "Registries beside those of this host that may be spoken to without TLS, HOST:PORT.",
    ),
    key("debug.timeout_secs", "Longest wait for a registry, in seconds: 1 to 600."),
    key("debug.debug_files", "Directories of the host with debug files, for sessions with gdb."),
    key("debug.debuginfod", "Servers of debug files that gdb asks from within the target's network."),
    key("debug.allow.name", "Names the entry; unique."),
    key(
        "debug.allow.users",
        "Users by name, or %GROUP for the members of a group; none given means everyone.",
    ),
    key(
        "debug.allow.targets",
        "Names of containers, or targets as they are typed, as globs; none given means all.",
    ),
    key("debug.allow.images", "Only containers of one of these images, as globs; none given means all."),
    key("debug.allow.kits", "Kits that may be used; any when it is left out."),
    key(
        "debug.allow.capabilities",
        "Capabilities that a session may have beyond those of the target's process; any when it is left out, but for those \
         that are as good as root.",
    ),
    key(
        "debug.allow.volumes",
        "Files and directories of the host that a session may see (`--volume`), with all below; `PATH:rw` may be written.",
    ),
    key(
        "debug.allow.forward",
        "Ports of targets that `-L` may open here: true for all on any address, or a list of them for loopback addresses.",
    ),
    key("debug.allow.privileged", "Whether all capabilities may be asked for at once."),
    key("debug.allow.require_reason", "Whether a reason must be given."),
    key("debug.allow.max_time", "How long a session may last; as long as it likes when it is left out."),
    key("sink.any.schema", "The names that documents use: \"ecs\", \"otel\" or \"ocsf\"."),
    key("sink.any.from", "Where a new sink begins: with the \"start\" of the store or at its \"end\"."),
    key("sink.any.batch_events", "Most events sent at once: 1 to 65536."),
    key("sink.any.batch_bytes", "Most bytes sent at once: 1KiB to 64MiB."),
    key(
        "sink.any.canary",
        "Time between events that only measure how long the way takes: 1s to 1d, or \"none\".",
    ),
    key(
        "sink.elasticsearch.urls",
        "URLs of the receiver, https:// or http://; the next one is used when one fails.",
    ),
    key("sink.elasticsearch.data_stream", "The data stream: small letters, digits, -, _ and ."),
    key("sink.elasticsearch.pipeline", "An ingest pipeline of the cluster."),
    key("sink.elasticsearch.auth.username", "The user, with a password."),
    key(
        "sink.elasticsearch.auth.password_file",
        "A file of root's that only root can read, with the password.",
    ),
    key("sink.elasticsearch.auth.password_command", "A program and its arguments that prints the password."),
    key("sink.elasticsearch.auth.password_credential", "The name of a systemd credential with the password."),
    key(
        "sink.elasticsearch.auth.api_key_file",
        "A file with the API key, encoded as Elasticsearch prints it.",
    ),
    key("sink.elasticsearch.auth.api_key_command", "A program and its arguments that prints the API key."),
    key("sink.elasticsearch.auth.api_key_credential", "The name of a systemd credential with the API key."),
    key("sink.elasticsearch.auth.token_file", "A file with a bearer token."),
    key("sink.elasticsearch.auth.token_command", "A program and its arguments that prints a bearer token."),
    key("sink.elasticsearch.auth.token_credential", "The name of a systemd credential with a bearer token."),
    key("sink.elasticsearch.headers", "Headers of every request, NAME = \"VALUE\"."),
    key(
        "sink.elasticsearch.header_files",
        "The same with the files that hold the values, which only root can read.",
    ),
    key("sink.elasticsearch.tls.ca", "Certificates of trusted authorities; the host's own when not given."),
    key("sink.elasticsearch.tls.certificate", "Our certificate, for receivers that ask for one."),
    key("sink.elasticsearch.tls.key", "The key of our certificate."),
    key("sink.elasticsearch.tls.key_password_file", "A file with the password of that key."),
    key(
        "sink.elasticsearch.tls.skip_name_check",
        "Take a certificate for any name: no protection against the one in between.",
    ),
    key("sink.elasticsearch.gzip", "Compress requests."),
    key("sink.elasticsearch.timeout_secs", "Longest time for one request: 1 to 3600."),
    key("sink.file.path", "The file, absolute; older ones are called PATH.1, PATH.2 and so on."),
    key("sink.file.rotate_bytes", "Size above which a new file is begun, or \"none\"."),
    key("sink.file.rotate_after", "Age at which a new file is begun, or \"none\"."),
    key("sink.file.keep", "Older files that are kept: 0 to 10000."),
    key("sink.kafka.brokers", "HOST:PORT of some of the brokers."),
    key(
        "sink.kafka.topic",
        "The topic; fields of the document may stand in it, as in \"audit-{host.name}\".",
    ),
    key(
        "sink.kafka.key",
        "What decides on the partition and so keeps its order: \"container\", \"host\" or \"none\".",
    ),
    key("sink.kafka.compression", "none, gzip, snappy, lz4 or zstd."),
    key("sink.kafka.compression_level", "How hard; what that means depends on the compression."),
    key("sink.kafka.sasl.mechanism", "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER."),
    key("sink.kafka.sasl.username", "The user."),
    key("sink.kafka.sasl.password_file", "A file of root's that only root can read, with the password."),
    key("sink.kafka.sasl.password_command", "A program and its arguments that prints the password."),
    key("sink.kafka.sasl.password_credential", "The name of a systemd credential with the password."),
    key("sink.kafka.sasl.token_file", "A file with the token, read again when the token ends."),
    key("sink.kafka.sasl.token_command", "A program and its arguments that prints a token."),
    key("sink.kafka.tls.ca", "Certificates of trusted authorities; the host's own when not given."),
    key("sink.kafka.tls.certificate", "Our certificate, for brokers that ask for one."),
    key("sink.kafka.tls.key", "The key of our certificate."),
    key("sink.kafka.tls.key_password_file", "A file with the password of that key."),
    key(
        "sink.kafka.tls.skip_name_check",
        "Take a certificate for any name: no protection against the one in between.",
    ),
    key(
        "sink.kafka.exactly_once",
        "Write documents and cursor in one transaction: nothing twice, also after a crash.",
    ),
    key("sink.kafka.cursor_topic", "The compacted topic of the cursors, for exactly_once."),
    key("sink.kafka.max_message_bytes", "Longest document; longer ones are set aside: 1kB to 100MB."),
    key(
        "sink.logstash.hosts",
        "HOST:PORT of each receiver, port 5044 if none; the next one is used when one fails.",
    ),
    key("sink.logstash.transport", "How documents travel: \"tls\", or \"tcp\" to a receiver on this host."),
    key("sink.logstash.compression_level", "How hard windows are compressed: 1 to 9, or 0 for not at all."),
    key("sink.logstash.window_events", "Most documents that wait for one acknowledgement: 1 to 65536."),
    key(
        "sink.logstash.timeout_secs",
        "Longest silence of a receiver while documents wait for it: 1 to 3600.",
    ),
    key("sink.logstash.tls.ca", "Certificates of trusted authorities; the host's own when not given."),
    key("sink.logstash.tls.certificate", "Our certificate, for receivers that ask for one."),
    key("sink.logstash.tls.key", "The key of our certificate."),
    key("sink.logstash.tls.key_password_file", "A file with the password of that key."),
    key(
        "sink.logstash.tls.skip_name_check",
        "Take a certificate for any name: no protection against the one in between.",
    ),
    key("source.container.type", "What a source reads: container or file."),
    key("source.container.names", "Only containers with one of these names, as globs; none given means all."),
    key("source.container.exclude_names", "Never containers with one of these names, as globs."),
    key("source.container.images", "Only containers of one of these images, as globs."),
    key(
        "source.container.labels",
        "Only containers with one of these labels, as KEY=VALUE; the value may be a glob.",
    ),
    key("source.container.streams", "Which output is taken: \"stdout\", \"stderr\" or \"all\"."),
    key("source.container.pod_logs", "Where the kubelet links the logs of containers; \"\" for nowhere."),
    key(
        "source.container.from",
        "Where a new source begins in logs that are there already: at their \"start\" or their \"end\".",
    ),
    key(
        "source.container.max_line_bytes",
        "Longest line, and longest text of joined lines: 1KiB to 2MiB; the rest is cut, and that is told.",
    ),
    key("source.container.scan_every", "Time between looks for new containers and files."),
    key(
        "source.container.ignore_older",
        "Files that were not changed for this long are not begun with, or \"none\".",
    ),
    key(
        "source.container.close_inactive",
        "A file without a new line for this long is closed until it grows; \"none\" keeps it open.",
    ),
    key("source.container.redact", "Whether secrets in lines are replaced by markers, as [redaction] says."),
    key(
        "source.container.json.keys_under_root",
        "Whether fields of JSON stand at the top of the document, not below json.",
    ),
    key(
        "source.container.json.overwrite_keys",
        "Whether they replace fields of the document there; never those that say where it comes from.",
    ),
    key("source.container.json.add_error_key", "Whether a line that is no JSON says so in error.message."),
    key("source.container.json.message_key", "The key whose text is the message, which multiline looks at."),
    key("source.container.multiline.pattern", "A regular expression for lines that belong to another one."),
    key("source.container.multiline.negate", "Whether lines that it does not match belong to another one."),
    key("source.container.multiline.match", "Which one: they come \"after\" it or \"before\" it."),
    key("source.container.multiline.max_lines", "Most lines that are joined: 2 to 100000."),
    key("source.container.multiline.timeout", "Longest wait for a line that belongs to the last one."),
    key("source.file.type", "What a source reads: container or file."),
    key(
        "source.file.paths",
        "Files, as globs: \"/var/log/app/*.log\", or \"container:NAME:/var/log/*.log\" inside containers.",
    ),
    key(
        "source.file.exclude",
        "Files that are not read, as globs of whole paths in which * stands for slashes, too.",
    ),
    key(
        "source.file.from",
        "Where a new source begins in files that are there already: at their \"start\" or their \"end\".",
    ),
    key("source.file.encoding", "utf-8, utf-16le, utf-16be or latin1."),
    key(
        "source.file.max_line_bytes",
        "Longest line, and longest text of joined lines: 1KiB to 2MiB; the rest is cut, and that is told.",
    ),
    key("source.file.scan_every", "Time between looks for new files."),
    key(
        "source.file.ignore_older",
        "Files that were not changed for this long are not begun with, or \"none\".",
    ),
    key(
        "source.file.close_inactive",
        "A file without a new line for this long is closed until it grows; \"none\" keeps it open.",
    ),
    key("source.file.close_removed", "Whether a file that was removed is closed at its end."),
    key("source.file.close_renamed", "Whether a file that was renamed is closed at its end."),
    key("source.file.close_eof", "Whether each file is closed at its end."),
    key("source.file.symlinks", "Whether what symbolic links lead to is read."),
    key("source.file.redact", "Whether secrets in lines are replaced by markers, as [redaction] says."),
    key(
        "source.file.json.keys_under_root",
        "Whether fields of JSON stand at the top of the document, not below json.",
    ),
    key(
        "source.file.json.overwrite_keys",
        "Whether they replace fields of the document there; never those that say where it comes from.",
    ),
    key("source.file.json.add_error_key", "Whether a line that is no JSON says so in error.message."),
    key("source.file.json.message_key", "The key whose text is the message, which multiline looks at."),
    key("source.file.multiline.pattern", "A regular expression for lines that belong to another one."),
    key("source.file.multiline.negate", "Whether lines that it does not match belong to another one."),
    key("source.file.multiline.match", "Which one: they come \"after\" it or \"before\" it."),
    key("source.file.multiline.max_lines", "Most lines that are joined: 2 to 100000."),
    key("source.file.multiline.timeout", "Longest wait for a line that belongs to the last one."),
    key("sink.syslog.address", "HOST:PORT of the receiver."),
    key("sink.syslog.transport", "How messages travel: \"tls\", \"tcp\" or \"udp\"."),
    key("sink.syslog.facility", "The facility of each message: 0 to 23."),
    key("sink.syslog.tls.ca", "Certificates of trusted authorities; the host's own when not given."),
    key("sink.syslog.tls.certificate", "Our certificate, for receivers that ask for one."),
    key("sink.syslog.tls.key", "The key of our certificate."),
    key("sink.syslog.tls.key_password_file", "A file with the password of that key."),
    key(
        "sink.syslog.tls.skip_name_check",
        "Take a certificate for any name: no protection against the one in between.",
    ),
    key("sink.otlp.urls", "URLs of the receiver, https:// or http://; the next one is used when one fails."),
    key("sink.otlp.auth.username", "The user, with a password."),
    key("sink.otlp.auth.password_file", "A file of root's that only root can read, with the password."),
    key("sink.otlp.auth.password_command", "A program and its arguments that prints the password."),
    key("sink.otlp.auth.password_credential", "The name of a systemd credential with the password."),
    key("sink.otlp.auth.api_key_file", "A file with the API key, sent behind ApiKey."),
    key("sink.otlp.auth.api_key_command", "A program and its arguments that prints the API key."),
    key("sink.otlp.auth.api_key_credential", "The name of a systemd credential with the API key."),
    key("sink.otlp.auth.token_file", "A file with a bearer token."),
    key("sink.otlp.auth.token_command", "A program and its arguments that prints a bearer token."),
    key("sink.otlp.auth.token_credential", "The name of a systemd credential with a bearer token."),
    key("sink.otlp.headers", "Headers of every request, NAME = \"VALUE\"."),
    key("sink.otlp.header_files", "The same with the files that hold the values, which only root can read."),
    key("sink.otlp.tls.ca", "Certificates of trusted authorities; the host's own when not given."),
    key("sink.otlp.tls.certificate", "Our certificate, for receivers that ask for one."),
    key("sink.otlp.tls.key", "The key of our certificate."),
    key("sink.otlp.tls.key_password_file", "A file with the password of that key."),
    key(
        "sink.otlp.tls.skip_name_check",
        "Take a certificate for any name: no protection against the one in between.",
    ),
    key("sink.otlp.gzip", "Compress requests."),
    key("sink.otlp.timeout_secs", "Longest time for one request: 1 to 3600."),
    key("sink.otlp.poison_statuses", "Statuses that lie in a document: it is looked for and set aside."),
    key(
        "sink.webhook.urls",
        "URLs of the receiver, https:// or http://; the next one is used when one fails.",
    ),
    key("sink.webhook.preset", "A receiver that wants a form of its own: \"loki\" or \"clickhouse\"."),
    key("sink.webhook.format", "How documents stand in a request: as \"lines\" or as an \"array\"."),
    key("sink.webhook.method", "POST or PUT."),
    key(
        "sink.webhook.labels",
        "Labels for Loki, NAME = \"VALUE\"; fields of the document may stand in values, as in \"{host.name}\".",
    ),
    key("sink.webhook.database", "ClickHouse's database."),
    key("sink.webhook.table", "ClickHouse's table."),
    key("sink.webhook.hmac.secret_file", "A file with the secret that requests are signed with."),
    key("sink.webhook.hmac.secret_command", "A program and its arguments that prints that secret."),
    key("sink.webhook.hmac.secret_credential", "The name of a systemd credential with that secret."),
    key("sink.webhook.hmac.header", "The header of the signature."),
    key("sink.webhook.hmac.timestamp_header", "The header of the time that is signed, too."),
    key("sink.webhook.hmac.algorithm", "sha256."),
    key("sink.webhook.auth.username", "The user, with a password."),
    key("sink.webhook.auth.password_file", "A file of root's that only root can read, with the password."),
    key("sink.webhook.auth.password_command", "A program and its arguments that prints the password."),
    key("sink.webhook.auth.password_credential", "The name of a systemd credential with the password."),
    key("sink.webhook.auth.api_key_file", "A file with the API key, sent behind ApiKey."),
    key("sink.webhook.auth.api_key_command", "A program and its arguments that prints the API key."),
    key("sink.webhook.auth.api_key_credential", "The name of a systemd credential with the API key."),
    key("sink.webhook.auth.token_file", "A file with a bearer token."),
    key("sink.webhook.auth.token_command", "A program and its arguments that prints a bearer token."),
    key("sink.webhook.auth.token_credential", "The name of a systemd credential with a bearer token."),
    key("sink.webhook.headers", "Headers of every request, NAME = \"VALUE\"."),
    key(
        "sink.webhook.header_files",
        "The same with the files that hold the values, which only root can read.",
    ),
    key("sink.webhook.tls.ca", "Certificates of trusted authorities; the host's own when not given."),
    key("sink.webhook.tls.certificate", "Our certificate, for receivers that ask for one."),
    key("sink.webhook.tls.key", "The key of our certificate."),
    key("sink.webhook.tls.key_password_file", "A file with the password of that key."),
    key(
        "sink.webhook.tls.skip_name_check",
        "Take a certificate for any name: no protection against the one in between.",
    ),
    key("sink.webhook.gzip", "Compress requests."),
    key("sink.webhook.timeout_secs", "Longest time for one request: 1 to 3600."),
    key("sink.webhook.poison_statuses", "Statuses that lie in a document: it is looked for and set aside."),
];

/// Where the keys of a source of this type stand.
pub(super) fn source_section(word: &str) -> String {
    format!("source.{word}")
}

/// Where the keys of every sink stand, whatever its type.
pub(super) const EVERY_SINK: &str = "sink.any";

/// `sink.any` for the section of a type of sinks.
fn shared(section: &str) -> Option<&'static str> {
    let kind = section.strip_prefix("sink.")?;
    (!kind.contains('.') && section != EVERY_SINK).then_some(EVERY_SINK)
}

/// Keys below which users choose the names.
const NAMED_FREELY: [&str; 4] = ["headers", "header_files", "labels", "pins"];

/// The key whose members users name, when `path` is such a member.
pub(super) fn named_freely(path: &str) -> Option<&str> {
    NAMED_FREELY.iter().find_map(|name| {
        let at = path.find(&format!(".{name}."))?;
        let key = path.get(..at + 1 + name.len())?;
        KEYS.iter().any(|known| known.path == key).then_some(key)
    })
}

/// Whether `path` is a key or a section of keys.
pub(super) fn is_known(path: &str) -> bool {
    if named_freely(path).is_some() {
        return true;
    }
    let common = path.rsplit_once('.').and_then(|(section, name)| Some((shared(section)?, name)));
    if common.is_some_and(|(section, name)| children(section).contains(&name)) {
        return true;
    }
    KEYS.iter().any(|key| key.path == path || below(key.path, path).is_some())
}

/// The names directly below a section, in order; the section `""` holds the others.
pub(super) fn children(section: &str) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for key in KEYS {
        let common = || below(key.path, shared(section)?);
        let Some(rest) = below(key.path, section).or_else(common) else { continue };
        let name = rest.split('.').next().unwrap_or(rest);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The sections that have a key called `name`.
pub(super) fn sections_with(name: &str) -> Vec<&'static str> {
    let split = KEYS.iter().filter_map(|key| key.path.rsplit_once('.'));
    split.filter(|(_, last)| *last == name).map(|(section, _)| section).collect()
}

fn below(path: &'static str, section: &str) -> Option<&'static str> {
    if section.is_empty() { Some(path) } else { path.strip_prefix(section)?.strip_prefix('.') }
}
