// SPDX-License-Identifier: Apache-2.0
//! The configuration as its users meet it: defaults, errors with their places, trust, origins.

use super::keys::named_freely;
use super::{Action, Config, ConfigError, Include, KEYS, Provenance, parse, read, show};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

const FULL: &str = r#"
[agent]
store = "/srv/purser"
[capture]
env = ["PATH"]
[scope]
include = ["container", "host"]
labels = ["team=*"]
cgroups = ["/purser-test/*"]
[[rule]]
name = "quiet-health"
container = "web-*"
executable = "/usr/bin/curl"
action = "ignore"
[[rule]]
name = "count-sh"
argv0 = "sh"
action = "count"
[[redaction.rule]]
name = "ticket"
pattern = "TICKET-[0-9]+"
[store]
retain_age = "7d"
retain_bytes = "none"
[debug]
transcript = false
debug_files = ["/srv/symbols"]
debuginfod = ["https://debuginfod.example"]
registry = "r.example:5000/kits"
mirrors = ["[::1]:5000", "Mirror.example/a/b"]
pull = "missing"
trust = ["/etc/purser/kits.pub"]
ca = "/etc/ca.pem"
insecure = ["r.example:5000"]
timeout_secs = 5
[debug.pins]
gdb = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
[[debug.allow]]
name = "oncall"
users = ["ann", "%sre"]
targets = ["web-*"]
images = ["*"]
kits = ["base"]
capabilities = ["SYS_PTRACE"]
require_reason = true
max_time = "1h"
"#;

fn message(text: &str) -> String {
    parse(text, "purser.toml").unwrap_err().to_string()
}

#[test]
fn nothing_written_means_the_defaults() {
    let config = parse("", "empty").unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.agent.store.to_str(), Some("/var/lib/purser"));
    assert_eq!(config.capture.env, ["LD_PRELOAD", "LD_LIBRARY_PATH", "HTTP_PROXY"]);
    assert_eq!(config.scope.include, [Include::Container]);
    assert_eq!(config.store.retain_age.secs(), Some(2_592_000));
    assert_eq!(config.store.retain_bytes.bytes(), Some(10_737_418_240));
    assert!(config.rules.is_empty() && config.redaction.enabled && config.capture.failed);
}

#[test]
fn what_is_written_is_taken() {
    let config = parse(FULL, "full").unwrap();
    assert_eq!(config.rules.len(), 2);
    assert_eq!(config.rules[0].action, Action::Ignore);
    assert!(config.rules[0].container.as_ref().unwrap().matches("web-7"));
    assert!(config.scope.labels[0].matches("team", "red"));
    assert!(!config.scope.labels[0].matches("crew", "red"));
    assert_eq!(config.store.retain_bytes.bytes(), None);
    assert_eq!(config.store.retain_age.secs(), Some(604_800));
}

#[test]
fn errors_name_line_and_column() {
    assert!(message("[agent]\nstore = \n").starts_with("purser.toml:2:"));
    assert_eq!(
        message("[capture]\n\n  ring_mib = 3\n"),
        "purser.toml:3:3: capture.ring_mib: 3 is not a power of two from 1 to 256"
    );
    assert!(message("[capture]\nfailed = \"yes\"\n").starts_with("purser.toml:2:10: "));
    assert!(message("[store]\nretain_age = \"long\"\n").contains("\"long\" is no length of time"));
    assert!(message("[store]\nretain_age = \"long\"\n").starts_with("purser.toml:2:14: "));
    assert!(
        message("[capture]\nenv = [\"A\", \"B=C\"]\n")
            .starts_with("purser.toml:2:13: capture.env[1]: \"B=C\"")
    );
    assert!(
        message("[agent]\nstore = \"here\"\n")
            .starts_with("purser.toml:2:1: agent.store: \"here\" is not an absolute")
    );
    assert!(message("[scope]\ninclude = []\n").contains("nothing would be recorded"));
    assert!(message("[store]\ndisk_full = \"panic\"\n").contains("drop_oldest"));
}

#[test]
fn unknown_keys_name_the_nearest_one() {
    assert_eq!(
        message("[agent]\nstroe = \"/x\"\n"),
        "purser.toml:2:1: unknown key \"stroe\" in [agent]; did you mean \"store\"?"
    );
    assert_eq!(
        message("[captur]\nenv = []\n"),
        "purser.toml:1:2: unknown key \"captur\"; did you mean \"capture\"?"
    );
    assert_eq!(
        message("[agent]\nsegment_mib = 3\n"),
        "purser.toml:2:1: unknown key \"segment_mib\" in [agent]; it belongs in [store]"
    );
    assert_eq!(
        message("[agent]\nqqqqqqqqqqqqqqqq = 3\n"),
        "purser.toml:2:1: unknown key \"qqqqqqqqqqqqqqqq\" in [agent]; known here: store"
    );
    let rule =
        "[[rule]]\nname = \"a\"\nuid = 0\naction = \"ignore\"\n[[rule]]\nname = \"b\"\nexecutabel = \"/x\"\n";
    assert!(
        message(rule).starts_with(
            "purser.toml:7:1: unknown key \"executabel\" in [rule]; did you mean \"executable\""
        )
    );
}

#[test]
fn rules_are_checked_where_they_stand() {
    let two = "[[rule]]\nname = \"a\"\nuid = 0\naction = \"count\"\n[[rule]]\nname = \"a\"\nuid = 1\naction = \"count\"\n";
    assert_eq!(message(two), "purser.toml:6:1: rule[1].name: there are two rules \"a\"");
    let bare = "[[rule]]\nname = \"a\"\naction = \"count\"\n";
    assert!(message(bare).starts_with("purser.toml:2:1: rule[0].name: rule \"a\" has no condition"));
    let relative = "[[rule]]\nname = \"a\"\naction = \"count\"\nexecutable = \"curl\"\n";
    assert!(
        message(relative)
            .starts_with("purser.toml:4:1: rule[0].executable: \"curl\" is not an absolute path")
    );
    let many: String =
        (0..65).map(|i| format!("[[rule]]\nname = \"r{i}\"\nuid = {i}\naction = \"count\"\n")).collect();
    assert!(message(&many).ends_with("65 rules; at most 64"));
    assert!(
        message("[[rule]]\nname = \"a\"\nuid = -1\naction = \"count\"\n").starts_with("purser.toml:3:7: ")
    );
}

#[test]
fn a_value_of_the_wrong_type_names_its_key() {
    let wrong = message("[store]\nsegment_mib = \"big\"\n");
    assert!(wrong.starts_with("purser.toml:2:15: store.segment_mib: invalid type"), "{wrong}");
    let wrong = message("[scope]\nnames = [\"web\", 7]\n");
    assert!(wrong.starts_with("purser.toml:2:17: scope.names[1]: "), "{wrong}");
    let wrong = message("[[rule]]\nname = \"a\"\nuid = \"root\"\naction = \"count\"\n");
    assert!(wrong.starts_with("purser.toml:3:7: rule[0].uid: "), "{wrong}");
    let wrong = message("[scope]\nnames = [\"web-[12]\"]\n");
    assert!(wrong.starts_with("purser.toml:2:9: scope.names: \"web-[12]\" is no glob: '['"), "{wrong}");
    let wrong = message("[[rule]]\nname = \"a\"\ncontainer = \"[\"\naction = \"count\"\n");
    assert!(wrong.contains(":3:13: rule[0].container: ") && wrong.contains("at character 1"), "{wrong}");
    let wrong = message("[runtimes]\nrequest_timeout_ms = 5\n");
    assert!(wrong.contains("5 is not from 10 to 60000"), "{wrong}");
}

#[test]
fn redaction_is_checked_where_it_stands() {
    let disable = message("[redaction]\ndisable = [\"url\", \"githb\"]\n");
    assert!(
        disable
            .starts_with("purser.toml:2:19: redaction.disable[1]: no built-in pattern is called \"githb\""),
        "{disable}"
    );
    assert!(disable.ends_with("did you mean \"github\"?"), "{disable}");
    let pattern = message("[[redaction.rule]]\nname = \"x\"\npattern = \"a(\"\n");
    assert!(
        pattern.starts_with("purser.toml:3:1: redaction.rule[0].pattern: redaction rule \"x\""),
        "{pattern}"
    );
    assert!(message("[[redaction.rule]]\nname = \"x\"\npattern = \"a*\"\n").starts_with("purser.toml:3:1: "));
}

#[test]
fn who_may_debug_is_checked_where_it_stands() {
    for (text, told) in [
        ("[debug]\nkits = \"kits\"", "2:1: debug.kits: \"kits\" is not an absolute path"),
        ("[debug]\nregistry = \"kits\"", "2:1: debug.registry: \"kits\" is no place in a registry"),
        ("[debug]\nregistry = \"r.example/kits:1\"", "is no place in a registry"),
        ("[debug]\nregistry = \"https://r.example/kits\"", "is no place in a registry"),
        ("[debug]\nmirrors = [\"r.example\", \"x\"]", "2:25: debug.mirrors[1]: \"x\" is no place"),
        ("[debug]\npins = { gdb = \"1\" }", "debug.pins.gdb: \"1\" is no digest"),
        ("[debug]\npins = { GDB = \"1\" }", "\"GDB\" is no name for a kit"),
        ("[debug]\npull = \"often\"", "debug.pull: unknown variant"),
        ("[debug]\ntrust = [\"key\"]", "debug.trust[0]: \"key\" is not an absolute path"),
        ("[debug]\ninsecure = [\"http://r\"]", "HOST:PORT"),
        ("[debug]\ntimeout_secs = 0", "0 is not from 1 to 600"),
        ("[debug]\ndebug_files = [\"x\"]", "debug.debug_files[0]: \"x\" is not an absolute path"),
        ("[debug]\ndebuginfod = [\"file:///x\"]", "debug.debuginfod[0]: a URL begins with https://"),
        ("[[debug.allow]]\nname = \"\"", "2:1: debug.allow[0].name: a name has 1 to 64 bytes"),
        ("[[debug.allow]]\nname = \"a\"\nusers = [\"%\"]", "3:10: debug.allow[0].users[0]: this is no name"),
        ("[[debug.allow]]\nname = \"a\"\nkits = [\"a b\"]", "3:9: debug.allow[0].kits[0]: this is no name"),
        (
            "[[debug.allow]]\nname = \"a\"\nvolumes = [\"/x\", \"y:rw\"]",
            "3:18: debug.allow[0].volumes[1]: write an absolute path, with :rw behind it when it may be written",
        ),
        ("[[debug.allow]]\nname = \"a\"\nmax_time = \"soon\"", "is no length of time"),
        ("[[debug.allow]]\nname = \"a\"\nuser = []", "did you mean \"users\"?"),
        ("[[debug.allow]]\nname = \"a\"\n[[debug.allow]]\nname = \"a\"", "there are two entries \"a\""),
    ] {
        let said = message(text);
        assert!(said.contains(told), "{text}: {said}");
    }
}

#[test]
fn a_huge_text_is_refused() {
    let text = "#".repeat(super::FILE_LIMIT + 1);
    assert!(matches!(parse(&text, "huge"), Err(ConfigError::TooLong { .. })));
    assert!(parse(&format!("[scope]\nnames = {}", "[".repeat(5_000)), "deep").is_err());
}

#[test]
fn the_table_of_keys_is_the_types() {
    let (mut config, _) = read(FULL, "full").unwrap();
    config.rules[0].image = config.rules[0].container.clone();
    config.rules[0].uid = Some(1);
    config.rules[0].argv0 = Some("a".to_string());
    config.rules[0].parent = Some("/a".to_string());
    let mut found = BTreeSet::new();
    collect("", &toml::Value::Table(toml::Table::try_from(&config).unwrap()), &mut found);
    // Below some keys users choose the names.
    let found: BTreeSet<String> =
        found.iter().map(|path| named_freely(path).unwrap_or(path).to_string()).collect();
    let listed = KEYS
        .iter()
        .map(|key| key.path.to_string())
        .filter(|path| !path.starts_with("sink.") && !path.starts_with("source."));
    assert_eq!(found, listed.collect());
    assert!(KEYS.iter().all(|key| key.doc.ends_with('.')));
}

/// Each type of sink with every key it may have.
const SINKS: &str = r#"
[sink.out]
type = "stdout"
[sink.disk]
type = "file"
path = "/srv/events.jsonl"
[sink.bus]
type = "kafka"
brokers = ["kafka1.example:9093"]
compression_level = 3
sasl = { mechanism = "SCRAM-SHA-512", username = "purser", password_file = "/etc/purser/kafka.pw" }
tls = { ca = "/etc/ssl/ca.pem", certificate = "/c", key = "/k", key_password_file = "/p" }
[sink.token]
type = "kafka"
brokers = ["[::1]:9093"]
sasl = { mechanism = "OAUTHBEARER", token_file = "/t" }
[sink.search]
type = "elasticsearch"
urls = ["https://es1.example:9200"]
pipeline = "enrich"
auth = { api_key_file = "/k" }
headers = { x-route = "a" }
header_files = { x-key = "/x" }
tls = { ca = "/etc/ssl/ca.pem", certificate = "/c", key = "/k", key_password_file = "/p" }
[sink.pipeline]
type = "logstash"
hosts = ["ls1.example", "ls2.example:5045"]
tls = { ca = "/etc/ssl/ca.pem", certificate = "/c", key = "/k", key_password_file = "/p" }
[sink.siem]
type = "syslog"
address = "siem.example:6514"
tls = { ca = "/etc/ssl/ca.pem", certificate = "/c", key = "/k", key_password_file = "/p" }
[sink.hook]
type = "webhook"
urls = ["https://hook.example/in?team=a"]
hmac = { secret_file = "/s" }
headers = { x-route = "a" }
header_files = { x-key = "/x" }
tls = { ca = "/etc/ssl/ca.pem", certificate = "/c", key = "/k", key_password_file = "/p" }
[sink.loki]
type = "webhook"
preset = "loki"
urls = ["https://loki.example"]
labels = { host = "{host.name}" }
[sink.table]
type = "webhook"
preset = "clickhouse"
urls = ["https://clickhouse.example:8443"]
database = "audit"
table = "events"
[sink.collector]
type = "otlp"
urls = ["https://collector.example:4318"]
headers = { x-route = "a" }
header_files = { x-key = "/x" }
tls = { ca = "/etc/ssl/ca.pem", certificate = "/c", key = "/k", key_password_file = "/p" }
"#;

/// Types of sinks with an `auth`.
const WITH_AUTH: [&str; 3] = ["elasticsearch", "otlp", "webhook"];

#[test]
fn the_table_of_keys_is_the_types_of_sinks() {
    let (config, _) = read(SINKS, "sinks").unwrap();
    let mut found = BTreeSet::new();
    for sink in config.sinks.values() {
        let table = toml::Value::Table(toml::Table::try_from(sink).unwrap());
        collect(&format!("sink.{}", sink.kind.word()), &table, &mut found);
    }
    // One sink cannot have all of these.
    let others = ["username", "password_command", "password_credential", "token_command"];
    found.extend(others.map(|name| format!("sink.kafka.sasl.{name}")));
    for (secret, place) in ["password", "api_key", "token"]
        .into_iter()
        .flat_map(|secret| ["file", "command", "credential"].map(|place| (secret, place)))
    {
        found.extend(WITH_AUTH.map(|kind| format!("sink.{kind}.auth.{secret}_{place}")));
    }
    found.extend(WITH_AUTH.map(|kind| format!("sink.{kind}.auth.username")));
    found.extend(["command", "credential"].map(|place| format!("sink.webhook.hmac.secret_{place}")));
    let found: BTreeSet<String> =
        found.iter().map(|path| named_freely(path).unwrap_or(path).to_string()).collect();
    let shared = |path: &str| {
        let name = path.rsplit('.').next().unwrap_or_default();
        KEYS.iter().any(|key| key.path == format!("sink.any.{name}")) && path.matches('.').count() == 2
    };
    let own: BTreeSet<String> = found.iter().filter(|path| !shared(path)).cloned().collect();
    let is_own = |path: &&str| path.starts_with("sink.") && !path.starts_with("sink.any.");
    let listed = KEYS.iter().map(|key| key.path).filter(is_own).map(str::to_string);
    assert_eq!(own, listed.collect());
    assert_eq!(
        found.len() - own.len(),
        8 * KEYS.iter().filter(|key| key.path.starts_with("sink.any.")).count()
    );
}

#[test]
fn sinks_are_shown_and_read_again() {
    let (config, provenance) = read(SINKS, "/etc/p.toml").unwrap();
    let text = show(&config, &provenance);
    assert_eq!(parse(&text, "shown").unwrap(), config, "{text}");
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap().to_string();
    assert!(line("path =").ends_with("# /etc/p.toml:6"));
    assert!(line("sasl.username =").ends_with("# /etc/p.toml:11"), "{text}");
    assert!(line("exactly_once =").ends_with("# default"));
}

#[test]
fn wrong_sinks_are_told_with_their_place() {
    let kafka = "[sink.k]\ntype = \"kafka\"\nbrokers = [\"a:1\"]\n";
    let told = |more: &str| message(&format!("{kafka}{more}"));
    assert!(message("[sink.k]\ntype = \"kafak\"\n").starts_with("purser.toml:2:8: "));
    assert!(message("[sink.k]\ntype = \"kafak\"\n").ends_with("did you mean \"kafka\"?"));
    let file = |name: &str, path: &str| format!("[sink.{name}]\ntype = \"file\"\npath = \"{path}\"\n");
    for other in ["/x", "/y/../x", "/x.1", "/x.canary"] {
        assert_eq!(
            message(&(file("a", "/x") + &file("b", other))),
            "purser.toml:6:1: sink.b.path: sink.a writes /x and older ones beside it; each sink needs files of its own"
        );
    }
    let circle = file("a", "/out/x.log") + "[source.s]\ntype = \"file\"\npaths = [\"/out/*.log\"]\n";
    assert_eq!(
        message(&circle),
        "purser.toml:6:10: source.s.paths[0]: it fits /out/x.log, which sink.a writes: each line would make another"
    );
    assert!(message("rule = 3\n").ends_with("expected a list: [\"…\"]"), "{}", message("rule = 3\n"));
    assert!(message("[rule]\nname = \"a\"\n").ends_with("write [[NAME]]"));
    assert!(message("scope = 3\n").ends_with("expected a table of keys"));
    assert!(
        message("[sink.k]\ntype = \"carrier pigeon\"\n")
            .contains("known: elasticsearch, file, kafka, logstash, otlp, stdout, syslog, webhook")
    );
    assert!(message("[sink.k]\npath = \"/x\"\n").starts_with("purser.toml:1:7: a sink needs a type"));
    assert!(message("[sink.\"../x\"]\ntype = \"stdout\"\n").contains("letters, digits, - or _"));
    assert!(message("sink = 3\n").contains("write [sink.NAME]"));
    let near = told("compresion = \"zstd\"\n");
    assert_eq!(
        near,
        "purser.toml:4:1: unknown key \"compresion\" in [sink.k]; did you mean \"compression\"?"
    );
    assert!(told("batch_event = 3\n").contains("did you mean \"batch_events\"?"));
    assert!(told("compression = \"brotli\"\n").starts_with("purser.toml:4:15: "));
    assert!(
        told("topic = \"a-{host.nam}\"\n")
            .starts_with("purser.toml:4:1: sink.k.topic: {host.nam} is no field")
    );
    assert!(told("batch_events = 0\n").contains("0 is not from 1 to 65536"));
    let sasl = told("sasl = { mechanism = \"PLAIN\", username = \"u\" }\n");
    assert!(sasl.starts_with("purser.toml:4:1: sink.k.sasl: write exactly one of password_file"), "{sasl}");
    let sasl = told("sasl = { mechanism = \"PLAIN\", username = \"u\", password = \"hunter2\" }\n");
    assert!(sasl.contains("unknown key \"password\"") && !sasl.contains("hunter2"), "{sasl}");
    assert!(told("tls = { certificate = \"/c\" }\n").contains("belong together"));
    let broker = message("[sink.k]\ntype = \"kafka\"\nbrokers = [\"a:1\", \"b\"]\n");
    assert!(broker.starts_with("purser.toml:3:19: sink.k.brokers[1]: \"b\" is not HOST:PORT"), "{broker}");
    assert!(message("[sink.k]\ntype = \"kafka\"\n").contains("at least one"));
}

fn collect(path: &str, value: &toml::Value, found: &mut BTreeSet<String>) {
    let tables: Vec<&toml::Table> = match value {
        toml::Value::Table(table) => vec![table],
        toml::Value::Array(items) => items.iter().filter_map(toml::Value::as_table).collect(),
        _ => Vec::new(),
    };
    if tables.is_empty() {
        found.insert(path.to_string());
    }
    for (key, value) in tables.into_iter().flatten() {
        collect(&if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, value, found);
    }
}

#[test]
fn shown_with_origins_and_read_again() {
    let (mut config, mut provenance) = read(FULL, "/etc/p.toml").unwrap();
    config.agent.store = "/elsewhere".into();
    provenance.set_flag("agent.store", "--store");
    let text = show(&config, &provenance);
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap().to_string();
    assert_eq!(line("store ="), "store = \"/elsewhere\"                              # --store");
    assert!(line("env =").ends_with("# /etc/p.toml:5"));
    assert!(line("failed =").ends_with("# default"));
    assert!(line("argv0 =").ends_with("# /etc/p.toml:17"));
    assert_eq!(parse(&text, "shown").unwrap(), config);
    let defaults = show(&Config::default(), &Provenance::default());
    assert_eq!(parse(&defaults, "shown").unwrap(), Config::default());
}

#[test]
fn a_file_that_others_can_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("purser.toml");
    fs::write(&path, "[agent]\nstore = \"/srv/purser\"\n").unwrap();
    for (mode, good) in [(0o600, true), (0o644, true), (0o664, false), (0o646, false), (0o602, false)] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let loaded = Config::load(Some(&path));
        assert_eq!(loaded.is_ok(), good, "{mode:o}");
        if let Err(error) = loaded {
            assert!(error.to_string().contains(&format!("its mode {mode:04o}")), "{error}");
        }
    }
    let error = Config::load(Some(dir.path())).unwrap_err().to_string();
    assert!(error.contains("not a regular file"), "{error}");
    let error = Config::load(Some(&dir.path().join("none"))).unwrap_err();
    assert!(matches!(error, ConfigError::Read { .. }));
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, b"[agent]\nstore = \"\xff\"\n").unwrap();
    let error = Config::load(Some(&path)).unwrap_err().to_string();
    assert!(error.ends_with("purser.toml:2:10: the text is not UTF-8 from here on"), "{error}");
}

#[test]
fn a_search_cluster_needs_urls_and_one_secret() {
    let read = |more: &str| {
        let text = format!("[sink.s]\ntype = \"elasticsearch\"\n{more}");
        parse(&text, "p.toml").map_err(|error| error.to_string())
    };
    let good =
        "urls = [\"https://es:9200\"]\nauth = { api_key_file = \"/etc/k\" }\ndata_stream = \"logs-a-b\"\n";
    assert!(read(good).is_ok(), "{:?}", read(good));
    for (wrong, said) in [
        ("", "at least one"),
        ("urls = [\"es:9200\"]", "begins with https"),
        ("urls = [\"https://es\"]\ndata_stream = \"Logs\"", "no data stream"),
        ("urls = [\"https://es\"]\nauth = { username = \"u\" }", "exactly one of"),
        ("urls = [\"https://es\"]\nauth = { password_file = \"/p\" }", "needs a username"),
        ("urls = [\"https://es\"]\nauth = { api_key_file = \"/p\", token_file = \"/t\" }", "exactly one of"),
        ("urls = [\"https://es\"]\nauth = { api_key_file = \"p\" }", "absolute"),
        ("urls = [\"https://es\"]\ntimeout_secs = 0", "not from 1"),
        ("url = \"https://es\"", "urls"),
        ("urls = [\"https://es\"]\nschema = \"ocsf\"", "only schema = \"ecs\""),
    ] {
        let error = read(wrong).expect_err(wrong);
        assert!(error.contains(said), "{wrong}: {error}");
    }
}

#[test]
fn logstash_is_sent_to_in_the_clear_on_this_host_only() {
    let read = |more: &str| {
        let text = format!("[sink.s]\ntype = \"logstash\"\n{more}");
        parse(&text, "p.toml").map_err(|error| error.to_string())
    };
    for good in [
        "hosts = [\"ls.example\"]",
        "hosts = [\"127.0.0.1:5044\", \"[::1]\", \"localhost\"]\ntransport = \"tcp\"",
    ] {
        assert!(read(good).is_ok(), "{:?}", read(good));
    }
    for (wrong, said) in [
        ("", "at least one"),
        ("hosts = [\"a b\"]", "is not HOST:PORT"),
        ("hosts = [\"localhost\", \"ls.example\"]\ntransport = \"tcp\"", "must be encrypted"),
        ("hosts = [\"localhost\"]\ntransport = \"tcp\"\ntls = {}", "\"tls\" only"),
        ("hosts = [\"ls\"]\ncompression_level = 10", "not from 0 to 9"),
        ("hosts = [\"ls\"]\nwindow_events = 0", "not from 1"),
    ] {
        let error = read(wrong).expect_err(wrong);
        assert!(error.contains(said), "{wrong}: {error}");
    }
}

const SOURCE: &str = r#"
[source.app]
type = "file"
paths = ["/var/log/app/*.log", "container:web-*:/var/log/*.json"]
json = { keys_under_root = true, message_key = "log" }
multiline = { pattern = '^\\s' }
"#;

#[test]
fn sources_are_shown_and_read_again() {
    let containers = SOURCE.replace("\"file\"", "\"container\"").replace("paths", "names");
    for (text, kind) in [(SOURCE, "file"), (&containers, "container")] {
        let (config, provenance) = read(text, "/etc/p.toml").unwrap();
        let text = show(&config, &provenance);
        assert_eq!(parse(&text, "shown").unwrap(), config, "{text}");
        let section = format!("source.{kind}.");
        let listed: Vec<&str> = KEYS.iter().filter_map(|key| key.path.strip_prefix(&section)).collect();
        for name in &listed {
            assert!(
                text.lines().any(|line| line.starts_with(&format!("{name} ="))),
                "{name} is not in\n{text}"
            );
        }
        let shown = text.split("[source.app]").nth(1).unwrap().lines().filter(|line| line.contains(" = "));
        assert_eq!(shown.count(), listed.len(), "{text}");
    }
}

#[test]
fn sources_of_containers_have_their_own_keys() {
    let told = |more: &str| message(&format!("[source.c]\ntype = \"container\"\n{more}"));
    assert!(parse("[source.c]\ntype = \"container\"\n", "p").is_ok());
    assert!(told("paths = [\"/x\"]\n").contains("; it belongs in [source.file]"));
    assert!(told("lables = [\"a=b\"]\n").ends_with("did you mean \"labels\"?"));
    assert!(told("labels = [\"a\"]\n").contains("is no label"));
    assert!(told("pod_logs = \"logs\"\n").contains("is not an absolute path"));
    assert!(told("streams = \"both\"\n").contains("stdout"));
    assert!(message("[source.c]\ntype = \"socket\"\n").contains("container"));
}

#[test]
fn wrong_sources_are_told_with_their_place() {
    let start = "[source.app]\ntype = \"file\"\npaths = [\"/x\"]\n";
    let told = |more: &str| message(&format!("{start}{more}"));
    assert!(told("jsn = {}\n").ends_with("did you mean \"json\"?"));
    assert!(told("json = { keys_under_rot = true }\n").contains("did you mean \"keys_under_root\"?"));
    assert!(
        told("max_line_bytes = \"1GiB\"\n")
            .starts_with("purser.toml:4:1: source.app.max_line_bytes: a line has")
    );
    assert!(told("multiline = { pattern = \"(\" }\n").starts_with("purser.toml:4:15: "));
    assert!(message("[source.app]\ntype = \"file\"\npaths = [\"x\"]\n").contains("it is not absolute"));
    assert!(message("[source.app]\npaths = [\"/x\"]\n").contains("type"));
    assert!(message("[source.\"a b\"]\ntype = \"file\"\npaths = [\"/x\"]\n").contains("letters, digits"));
}

#[test]
fn a_webhook_is_checked_where_it_is_wrong() {
    let told = |more: &str| {
        let text = format!("[sink.h]\ntype = \"webhook\"\nurls = [\"https://h\"]\n{more}\n");
        parse(&text, "p.toml").map_or_else(|error| error.to_string(), |_| String::new())
    };
    assert_eq!(told("headers = { X-Team = \"a\" }\nformat = \"array\"\nmethod = \"PUT\""), "");
    assert_eq!(told("preset = \"loki\"\nlabels = { host = \"{host.name}\" }"), "");
    for (wrong, said) in [
        ("method = \"GET\"", "p.toml:4:10: "),
        (
            "headers = { Host = \"a\" }",
            "p.toml:4:13: sink.h.headers.Host: the header Host is written by purser",
        ),
        ("headers = { \"a b\" = \"a\" }", "is no name of a header"),
        ("headers = { a = \"b\\nc: d\" }", "printable ASCII"),
        ("headers = { a = \"b\" }\nheader_files = { A = \"/f\" }", "two headers A"),
        ("header_files = { a = \"f\" }", "absolute"),
        (
            "auth = { token_file = \"/t\" }\nheader_files = { Authorization = \"/x\" }",
            "leave one of both out",
        ),
        (
            "headers = { X-Api-Key = \"hunter2\" }",
            "p.toml:4:13: sink.h.headers.X-Api-Key: X-Api-Key looks like a secret",
        ),
        ("hmac = {}", "exactly one of secret_file"),
        ("hmac = { secret_file = \"/s\", header = \"a b\" }", "no name of a header"),
        ("hmac = { secret_file = \"/s\", header = \"A\", timestamp_header = \"a\" }", "two headers"),
        ("hmac = { secret_file = \"/s\", algorithm = \"md5\" }", "md5"),
        ("hmac = { secret = \"hunter2\" }", "unknown key \"secret\""),
        ("labels = { a = \"b\" }", "for preset = \"loki\" only"),
        ("table = \"t\"", "for preset = \"clickhouse\" only"),
        ("preset = \"clickhouse\"\ntable = \"a.b\"", "no database or table"),
        ("preset = \"loki\"\nformat = \"array\"", "the preset decides"),
        ("preset = \"loki\"\nlabels = { a-b = \"x\" }", "sink.h.labels.a-b: \"a-b\" is no label"),
        ("preset = \"loki\"\nlabels = { id = \"{container.id}\" }", "makes a stream of each"),
        ("preset = \"lokki\"", "p.toml:4:10: "),
        (
            "poison_statuses = [400, 404]",
            "p.toml:4:25: sink.h.poison_statuses[1]: 404 says nothing of a document",
        ),
    ] {
        assert!(told(wrong).contains(said), "{wrong}: {}", told(wrong));
        assert!(!told(wrong).contains("hunter2"), "{wrong}: {}", told(wrong));
    }
    let query = "[sink.h]\ntype = \"webhook\"\npreset = \"clickhouse\"\nurls = [\"https://h/?user=a\"]\n";
    assert!(
        message(query).starts_with("purser.toml:4:9: sink.h.urls[0]: leave out the query"),
        "{}",
        message(query)
    );
}

#[test]
fn otlp_has_one_schema() {
    let text = "[sink.c]\ntype = \"otlp\"\nurls = [\"https://h:4318\"]\n";
    let config = parse(text, "p.toml").unwrap();
    assert_eq!(config.sinks["c"].common.schema, super::sink::Schema::Otel);
    assert!(message(&format!("{text}schema = \"ecs\"\n")).contains("schema = \"otel\" and no other"));
}
