// SPDX-License-Identifier: Apache-2.0
//! Webhooks and Loki against receivers that misbehave, and ClickHouse against its own engine.

use crate::harness::{self, Mine, cached, fill, finish, free_port, line, run, trouble, wait};
use crate::inbox::{self, Got, Reply};
use crate::proxy::{self, Fault, answer};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use serde_json::Value;
use ship::{
    HttpAuth, HttpSettings, Schema, Secret, Signing, State, Status, Target, Template, TlsSettings, Url,
    WebhookForm, WebhookMethod, WebhookSettings,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) fn http(port: u16) -> HttpSettings {
    HttpSettings {
        urls: vec![Url::parse(&format!("http://127.0.0.1:{port}")).unwrap()],
        auth: HttpAuth::None,
        headers: Vec::new(),
        secret_headers: Vec::new(),
        tls: TlsSettings::default(),
        gzip: true,
        patience: Duration::from_secs(20),
    }
}

fn settings(port: u16) -> WebhookSettings {
    WebhookSettings {
        http: http(port),
        form: WebhookForm::Lines(WebhookMethod::Post),
        poison_statuses: Vec::new(),
        signing: None,
    }
}

fn sequence(document: &Value) -> u64 {
    document["event"]["sequence"].as_u64().unwrap()
}

/// The numbers in a request of lines.
fn numbers(got: &Got) -> Vec<u64> {
    got.text().lines().map(|line| sequence(&serde_json::from_str(line).unwrap())).collect()
}

/// The sequences set aside, from the store's own file.
pub(crate) fn dead(dir: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(dir.join("sinks/test/dead.jsonl")).unwrap_or_default();
    let numbers = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    numbers.map(|letter| letter["sequence"].as_u64().unwrap()).collect()
}

fn send(dir: &Path, settings: WebhookSettings, count: u64, events: usize) -> Status {
    let target = Target::Webhook(Box::new(settings));
    let (mut line, status) = line(dir, &target, count, events, Schema::Ecs);
    finish(&mut line, &status, count, |_| ())
}

#[test]
fn nothing_is_lost_and_only_what_was_cut_off_comes_twice_with_its_key() {
    const COUNT: u64 = 4_000;
    type Taken = BTreeMap<String, Vec<Vec<u64>>>;
    let taken: Arc<Mutex<Taken>> = Arc::default();
    let keep = Arc::clone(&taken);
    let port = inbox::start(move |got| {
        let keep = || {
            let key = got.headers["idempotency-key"].clone();
            keep.lock().unwrap().entry(key).or_default().push(numbers(got));
        };
        match got.number % 8 {
            0 => Reply::status("500 Internal Server Error"),
            1 => Reply::Say("429 Too Many Requests", "retry-after: 1\r\n", Vec::new()),
            2 => Reply::status("408 Request Timeout"),
            3 => {
                keep();
                Reply::Cut
            }
            4 => {
                keep();
                Reply::Slowly("202 Accepted")
            }
            5 => Reply::Cut,
            6 => Reply::status("503 Service Unavailable"),
            _ => {
                keep();
                Reply::status("204 No Content")
            }
        }
    });
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), COUNT, |_| 0);
    let status = send(dir.path(), settings(port), COUNT, 300);
    assert_eq!((status.acked, status.dead), (COUNT, 0));
    assert!(status.retried > 10);
    let taken = taken.lock().unwrap();
    let mut once = Vec::new();
    for (key, copies) in taken.iter() {
        assert!(copies.iter().all(|copy| *copy == copies[0]), "{key} is the key of different documents");
        once.extend_from_slice(&copies[0]);
    }
    assert!(taken.values().any(|copies| copies.len() > 1), "nothing was repeated");
    once.sort_unstable();
    assert_eq!(once, (1..=COUNT).collect::<Vec<u64>>());
}

#[test]
fn what_is_too_large_is_halved_until_one_is_left_and_set_aside() {
    const COUNT: u64 = 1_000;
    let taken: Arc<Mutex<Vec<u64>>> = Arc::default();
    let requests: Arc<Mutex<u64>> = Arc::default();
    let (keep, count) = (Arc::clone(&taken), Arc::clone(&requests));
    let port = inbox::start(move |got| {
        *count.lock().unwrap() += 1;
        let numbers = numbers(got);
        if numbers.contains(&77) {
            return Reply::status("413 Content Too Large");
        }
        // A document that is wrong, for a receiver that says so with this status.
        if numbers.contains(&500) {
            return Reply::Say("422 Unprocessable Content", "", b"no such field".to_vec());
        }
        keep.lock().unwrap().extend(numbers);
        Reply::status("200 OK")
    });
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), COUNT, |_| 0);
    let settings = WebhookSettings { poison_statuses: vec![422], ..settings(port) };
    let status = send(dir.path(), settings, COUNT, 1_000);
    assert_eq!((status.acked, status.dead), (COUNT - 2, 2));
    assert_eq!(dead(dir.path()), [77, 500]);
    let wanted: Vec<u64> = (1..=COUNT).filter(|number| ![77, 500].contains(number)).collect();
    assert_eq!(*taken.lock().unwrap(), wanted);
    assert!(*requests.lock().unwrap() < 60, "{} requests", requests.lock().unwrap());
}

#[test]
fn a_refusal_is_told_and_nothing_is_dropped() {
    for (status, words) in [
        ("401 Unauthorized", "the credentials are wrong or missing"),
        ("404 Not Found", "404"),
        ("400 Bad Request", "400"),
        ("302 Found", "redirects are not followed"),
    ] {
        let open = Arc::new(Mutex::new(false));
        let let_in = Arc::clone(&open);
        let port = inbox::start(move |_| match *let_in.lock().unwrap() {
            true => Reply::status("200 OK"),
            false => Reply::Say(status, "location: http://elsewhere/\r\n", Vec::new()),
        });
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), 10, |_| 0);
        let target = Target::Webhook(Box::new(settings(port)));
        let (mut line, shared) = line(dir.path(), &target, 10, 100, Schema::Ecs);
        let (state, error) = trouble(&mut line, &shared);
        assert_eq!(state, State::Refused, "{error}");
        assert!(error.contains(words), "{error}");
        *open.lock().unwrap() = true;
        let status = finish(&mut line, &shared, 10, |_| ());
        assert_eq!((status.acked, status.dead, status.error), (10, 0, None));
    }
}

#[test]
fn requests_are_signed_and_carry_who_we_are() {
    let seen: Arc<Mutex<Vec<Got>>> = Arc::default();
    let keep = Arc::clone(&seen);
    let port = inbox::start(move |got| {
        keep.lock().unwrap().push(got.clone());
        Reply::status("200 OK")
    });
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 50, |_| 0);
    let password = Secret::new(b"hunter2".to_vec());
    let mut http = http(port);
    http.urls = vec![Url::parse(&format!("http://127.0.0.1:{port}/in?team=a")).unwrap()];
    http.auth = HttpAuth::Basic { username: "purser".to_string(), password };
    http.headers = vec![("x-route".to_string(), "blue".to_string())];
    http.secret_headers = vec![("x-key".to_string(), Secret::new(b"opensesame".to_vec()))];
    let signing = Signing {
        secret: Secret::new(b"shared".to_vec()),
        header: "x-sign".to_string(),
        timestamp_header: "x-time".to_string(),
        clock: || 1_760_000_000_999_999_999,
    };
    let form = WebhookForm::Array(WebhookMethod::Put);
    send(dir.path(), WebhookSettings { http, form, poison_statuses: vec![], signing: Some(signing) }, 50, 50);
    let [got] = &seen.lock().unwrap()[..] else { panic!("one request") };
    assert_eq!(got.first, "PUT /in?team=a HTTP/1.1");
    let header = |name: &str| got.headers[name].as_str();
    assert_eq!(header("authorization"), "Basic cHVyc2VyOmh1bnRlcjI=");
    assert_eq!((header("x-route"), header("x-key")), ("blue", "opensesame"));
    assert_eq!((header("content-type"), header("content-encoding")), ("application/json", "gzip"));
    assert_eq!(header("x-time"), "1760000000");
    let key = PKey::hmac(b"shared").unwrap();
    let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
    signer.update(b"1760000000.").unwrap();
    signer.update(&got.raw).unwrap();
    let digest: String = signer.sign_to_vec().unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(header("x-sign"), format!("sha256={digest}"));
    let documents: Vec<Value> = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(documents.iter().map(sequence).collect::<Vec<u64>>(), (1..=50).collect::<Vec<u64>>());
}

/// A receiver that answers with the headers of the request, as debugging servers do: in the body, and
/// encoded in the place of a redirect.
#[test]
fn a_secret_that_a_receiver_sends_back_is_told_nowhere() {
    const SECRETS: [&str; 6] =
        ["TOP/SEC+RET=", "TOP%2FSEC%2BRET%3D", "cHVyc2Vy", "open sesame", "open%20sesame", "shared-key"];
    let basic =
        || HttpAuth::Basic { username: "purser".into(), password: Secret::new(b"TOP/SEC+RET=".to_vec()) };
    let bearer = || HttpAuth::Bearer(Secret::new(b"TOP/SEC+RET=".to_vec()));
    for status in ["500 Internal Server Error", "400 Bad Request", "422 Unprocessable Content", "302 Found"] {
        for auth in [basic(), bearer()] {
            let port = inbox::start(move |got| {
                let said = format!(
                    "{} {} TOP/SEC+RET= shared-key",
                    got.headers["authorization"], got.headers["x-key"]
                );
                let encoded: String = said
                    .bytes()
                    .map(|byte| match byte {
                        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
                        _ => format!("%{byte:02X}"),
                    })
                    .collect();
                let place = format!("location: http://elsewhere/{encoded}/here?{encoded}\r\n");
                Reply::Say(status, place.leak(), format!("you sent {said}, {encoded}").into_bytes())
            });
            let dir = tempfile::tempdir().unwrap();
            fill(dir.path(), 1, |_| 0);
            let mut http = http(port);
            http.auth = auth;
            http.secret_headers = vec![("x-key".to_string(), Secret::new(b"open sesame".to_vec()))];
            let signing = Signing {
                secret: Secret::new(b"shared-key".to_vec()),
                header: "x-sign".to_string(),
                timestamp_header: "x-time".to_string(),
                clock: || 1,
            };
            let form = WebhookForm::Lines(WebhookMethod::Post);
            let settings = WebhookSettings { http, form, poison_statuses: vec![422], signing: Some(signing) };
            let target = Target::Webhook(Box::new(settings));
            let mut steps = Vec::new();
            harness::probe(&target, dir.path(), &mut steps);
            let mut told = format!("{:?}", steps.last().unwrap().outcome.as_ref().unwrap_err());
            let (mut line, shared) = line(dir.path(), &target, 1, 1, Schema::Ecs);
            if status.starts_with("422") {
                finish(&mut line, &shared, 1, |_| ());
                told += &std::fs::read_to_string(dir.path().join("sinks/test/dead.jsonl")).unwrap();
            } else {
                told += &trouble(&mut line, &shared).1;
            }
            assert!(told.matches("***").count() >= 2, "{told}");
            assert_eq!(told.contains("http://elsewhere/"), status.starts_with("302"), "{told}");
            assert!(SECRETS.iter().all(|secret| !told.contains(secret)), "{told}");
        }
    }
}

/// Entries of each stream: time and line.
type Streams = BTreeMap<String, Vec<(u64, String)>>;

/// Takes a push as Loki's API describes it, or says what is wrong.
fn push(got: &Got, streams: &mut Streams) -> Result<(), String> {
    let check = |good: bool, what: &str| if good { Ok(()) } else { Err(what.to_string()) };
    check(got.first == "POST /loki/api/v1/push HTTP/1.1", &got.first)?;
    check(got.headers["content-type"] == "application/json", "the type of the body")?;
    let body: Value = serde_json::from_slice(&got.body).map_err(|error| error.to_string())?;
    check(body.as_object().is_some_and(|body| body.len() == 1), "other members than streams")?;
    let mut refused = Ok(());
    for stream in body["streams"].as_array().ok_or("no streams")? {
        let labels = stream["stream"].as_object().ok_or("no labels")?;
        check(!labels.is_empty() && labels.values().all(Value::is_string), "labels")?;
        let entries = streams.entry(stream["stream"].to_string()).or_default();
        let mut before = 0;
        for value in stream["values"].as_array().ok_or("no values")? {
            let [Value::String(time), Value::String(text)] = value.as_array().ok_or("no entry")?.as_slice()
            else {
                return Err("an entry is not two strings".to_string());
            };
            let time: u64 = time.parse().map_err(|_| "a time is not nanoseconds".to_string())?;
            check(time >= before, "entries are not in order")?;
            before = time;
            if text.contains("number-321\"") {
                refused = Err(format!("entry for stream '{labels:?}' has timestamp too old: {time}"));
                continue;
            }
            // Loki keeps one of two entries with the same time and line.
            if !entries.iter().any(|(known, line)| *known == time && line == text) {
                entries.push((time, text.clone()));
            }
        }
    }
    refused
}

#[test]
fn loki_gets_streams_in_order_and_what_it_will_never_take_is_set_aside() {
    const COUNT: u64 = 2_000;
    let streams: Arc<Mutex<Streams>> = Arc::default();
    let keep = Arc::clone(&streams);
    let port = inbox::start(move |got| match got.number % 5 {
        1 => Reply::Say("429 Too Many Requests", "", b"ingestion rate limit exceeded".to_vec()),
        2 => {
            push(got, &mut keep.lock().unwrap()).unwrap_or_default();
            Reply::Cut
        }
        _ => match push(got, &mut keep.lock().unwrap()) {
            Ok(()) => Reply::status("204 No Content"),
            Err(why) => Reply::Say("400 Bad Request", "", why.into_bytes()),
        },
    });
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), COUNT, |_| 0);
    let label = |name: &str, text: &str| (name.to_string(), Template::new(text).unwrap());
    let labels = vec![label("host", "{host.name}"), label("app", "{container.labels.app}")];
    let settings = WebhookSettings { form: WebhookForm::Loki(labels), ..settings(port) };
    let status = send(dir.path(), settings, COUNT, 500);
    assert_eq!((status.acked, status.dead), (COUNT - 1, 1));
    assert_eq!(dead(dir.path()), [321]);
    let streams = streams.lock().unwrap();
    let entries = &streams[r#"{"app":"web","host":"host-1"}"#];
    assert_eq!((streams.len(), entries.len() as u64), (1, COUNT - 1));
    let found: BTreeSet<u64> =
        entries.iter().map(|(_, text)| sequence(&serde_json::from_str(text).unwrap())).collect();
    assert_eq!(found.len() as u64, COUNT - 1);
}

struct ClickHouse {
    port: u16,
    _process: Mine,
    _data: tempfile::TempDir,
}

impl ClickHouse {
    fn start() -> Option<ClickHouse> {
        let library = cached("chdb-core-26.9.0")?;
        let data = tempfile::tempdir().unwrap();
        let port = free_port();
        let process = Command::new("/usr/bin/python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/receivers/clickhouse.py"))
            .arg(port.to_string())
            .arg(data.path().join("db"))
            .env("PYTHONPATH", library)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let server = ClickHouse { port, _process: Mine(process), _data: data };
        wait("ClickHouse", || server.try_query("SELECT 1").ok());
        Some(server)
    }

    fn try_query(&self, query: &str) -> Result<String, String> {
        let url = format!("http://127.0.0.1:{}/", self.port);
        let query = format!("query={query}");
        run("curl", &["-sf", "-G", "--data-urlencode", &query, &url]).map(|text| text.trim().to_string())
    }

    fn query(&self, query: &str) -> String {
        self.try_query(query).unwrap()
    }
}

/// The statements that docs/webhook.md tells people to run.
fn documented() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/webhook.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("```sql\n").unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    block.split(';').map(|one| one.trim().to_string()).filter(|one| !one.is_empty()).collect()
}

#[test]
fn clickhouse_has_everything_once() {
    const COUNT: u64 = 3_000;
    let Some(server) = ClickHouse::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), COUNT, |_| 0);
    let form = |table: &str| WebhookForm::ClickHouse { database: "audit".into(), table: table.into() };
    // Without a table it is refused, and goes on when there is one.
    let target = Target::Webhook(Box::new(WebhookSettings { form: form("purser"), ..settings(server.port) }));
    {
        let (mut line, status) = line(dir.path(), &target, COUNT, 400, Schema::Ecs);
        let (state, error) = trouble(&mut line, &status);
        assert!(state == State::Refused && error.contains("audit"), "{error}");
    }
    documented().iter().for_each(|statement| drop(server.query(statement)));
    // Cut after the insert, refused before it, and a proxy's error page.
    let before = proxy::start(server.port, |number, _| match number % 4 {
        0 => Fault::Cut,
        1 => Fault::Answer(answer("500 Internal Server Error", "Code: 252. DB::Exception: Too many parts")),
        2 => Fault::Answer(answer("502 Bad Gateway", "<html>")),
        _ => Fault::None,
    });
    let status =
        send(dir.path(), WebhookSettings { form: form("purser"), ..settings(before.port) }, COUNT, 400);
    assert_eq!((status.acked, status.dead), (COUNT, 0));
    assert!(status.retried > 8);
    // Not one row more: ClickHouse has dropped the repetitions by their token.
    assert_eq!(
        server.query("SELECT count(), uniqExact(sequence) FROM audit.purser"),
        format!("{COUNT},{COUNT}")
    );
    let row = "SELECT store, toString(time), action, host, container_name, \
               JSONExtractString(document, 'process', 'args', 2) FROM audit.purser WHERE sequence = 7";
    let id = store::Reader::open(dir.path()).unwrap().store_id();
    let store: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected =
        format!("\"{store}\",\"2025-10-09 08:53:20.000007000\",\"exec\",\"host-1\",\"web\",\"number-7\"");
    assert_eq!(server.query(row), expected);
    // A cursor that is lost sends other batches: then the table's key makes one of two.
    std::fs::remove_dir_all(dir.path().join("sinks")).unwrap();
    send(dir.path(), WebhookSettings { form: form("purser"), ..settings(server.port) }, COUNT, 700);
    let count = |words: &str| server.query(&format!("SELECT count() FROM audit.purser {words}"));
    assert_eq!((count("FINAL"), count("FINAL WHERE sequence = 7")), (COUNT.to_string(), "1".to_string()));
}

#[test]
fn a_probe_says_each_step() {
    let steps = |target: Target| {
        let dir = tempfile::tempdir().unwrap();
        let id = fill(dir.path(), 1, |_| 0);
        let origin = ship::Origin { sink: "test".to_string(), store_id: id };
        let mut sink = target.sink(origin, Box::new(std::io::sink())).unwrap();
        let context = event::document::Context { store_id: id, host_name: "host-1".to_string() };
        let mut renderer = ship::Renderer::new(context, Schema::Ecs);
        let batch = ship::Batch::of_event(&mut renderer, &harness::event(1, 0));
        let mut steps = Vec::new();
        sink.probe(&batch, &mut |step| steps.push(step));
        steps
    };
    let seen: Arc<Mutex<Vec<Got>>> = Arc::default();
    let keep = Arc::clone(&seen);
    let port = inbox::start(move |got| {
        keep.lock().unwrap().push(got.clone());
        Reply::status(if got.number == 0 { "200 OK" } else { "403 Forbidden" })
    });
    let target = Target::Webhook(Box::new(settings(port)));
    let good = steps(target.clone());
    assert!(good.iter().all(|step| step.outcome.is_ok()), "{good:?}");
    assert!(good.last().unwrap().name == "send a canary" && good.len() >= 2, "{good:?}");
    assert_eq!(numbers(&seen.lock().unwrap()[0]), [0], "the canary did not come");
    let bad = steps(target);
    let Err(why) = &bad.last().unwrap().outcome else { panic!("{bad:?}") };
    assert!(why.contains("403") && why.contains("credentials"), "{why}");
    let gone = steps(Target::Webhook(Box::new(settings(free_port()))));
    assert!(gone.last().unwrap().outcome.is_err(), "{gone:?}");
}
