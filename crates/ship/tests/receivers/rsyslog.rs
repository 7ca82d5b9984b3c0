// SPDX-License-Identifier: Apache-2.0
//! The real rsyslog over TLS, TCP and UDP: what it writes to its file is read back.

use crate::harness::{self, Mine, fill, finish, free_port, line, run, skip, wait};
use ship::{HostPort, Schema, State, SyslogSettings, SyslogTransport, Target, TlsSettings};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const EVENTS: u64 = 5_000;

struct Rsyslog {
    dir: tempfile::TempDir,
    ports: [u16; 3],
    process: Option<Mine>,
}

impl Rsyslog {
    fn new() -> Option<Rsyslog> {
        if !Path::new("/usr/sbin/rsyslogd").exists()
            || !Path::new("/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_ossl.so").exists()
        {
            skip("rsyslog with rsyslog-openssl is not there: run cargo xtask setup");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let (key, cert) = (path("key.pem"), path("cert.pem"));
        run(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
                "-keyout",
                &key,
                "-out",
                &cert,
            ],
        )
        .unwrap();
        let ports = [free_port(), free_port(), free_port()];
        let [tls, tcp, udp] = ports;
        let configuration = format!(
            r#"global(workDirectory="{work}" maxMessageSize="128k" defaultNetstreamDriver="ossl"
  defaultNetstreamDriverCAFile="{cert}" defaultNetstreamDriverCertFile="{cert}" defaultNetstreamDriverKeyFile="{key}")
module(load="imtcp")
module(load="imudp")
input(type="imtcp" address="127.0.0.1" port="{tls}" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
input(type="imtcp" address="127.0.0.1" port="{tcp}" streamDriver.name="ptcp" streamDriver.mode="0")
input(type="imudp" address="127.0.0.1" port="{udp}" rcvbufSize="4m")
template(name="t" type="string" string="%hostname%|%app-name%|%msgid%|%pri%|%msg%\n")
action(type="omfile" file="{out}" template="t" flushInterval="1" asyncWriting="off")
"#,
            work = dir.path().display(),
            out = path("out.log"),
        );
        fs::write(dir.path().join("rsyslog.conf"), configuration).unwrap();
        let mut rsyslog = Rsyslog { dir, ports, process: None };
        rsyslog.start();
        Some(rsyslog)
    }

    fn start(&mut self) {
        let path = |name: &str| self.dir.path().join(name);
        let process = Command::new("/usr/sbin/rsyslogd")
            .args(["-n", "-f"])
            .arg(path("rsyslog.conf"))
            .args(["-i", "NONE"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(path("errors")).unwrap())
            .spawn()
            .unwrap();
        self.process = Some(Mine(process));
        wait("rsyslog", || std::net::TcpStream::connect(("127.0.0.1", self.ports[0])).ok());
    }

    /// How often each number was written, once there are `count` of them.
    fn numbers(&self, count: usize) -> BTreeMap<u64, u64> {
        wait("rsyslog's file", || {
            let text = fs::read_to_string(self.dir.path().join("out.log")).unwrap_or_default();
            let mut found = BTreeMap::new();
            for line in text.lines() {
                let Some(json) = line.strip_prefix("host-1|purser|exec|109|") else { continue };
                let Ok(json) = serde_json::from_str::<serde_json::Value>(json.trim()) else { continue };
                *found.entry(json["event"]["sequence"].as_u64().unwrap()).or_insert(0) += 1;
            }
            (found.len() >= count).then_some(found)
        })
    }

    fn forget(&mut self) {
        self.process = None;
        fs::remove_file(self.dir.path().join("out.log")).unwrap();
        self.start();
    }
}

fn target(host: &str, port: u16, transport: SyslogTransport) -> Target {
    let place = HostPort { host: host.to_string(), port };
    Target::Syslog(Box::new(SyslogSettings { place, transport, facility: 13 }))
}

#[test]
fn rsyslog_gets_everything_over_tls_tcp_and_udp() {
    let Some(mut rsyslog) = Rsyslog::new() else { return };
    let [tls, tcp, udp] = rsyslog.ports;
    let ca = Some(rsyslog.dir.path().join("cert.pem"));
    let trusted = || TlsSettings { ca: ca.clone(), ..TlsSettings::default() };
    let once: BTreeMap<u64, u64> = (1..=EVENTS).map(|number| (number, 1)).collect();

    // By another name the certificate is not good, and without the authority neither.
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), EVENTS, |_| 0);
    for (host, settings) in [("127.0.0.1", trusted()), ("localhost", TlsSettings::default())] {
        let (mut line, status) =
            line(dir.path(), &target(host, tls, SyslogTransport::Tls(settings)), EVENTS, 500, Schema::Ecs);
        let (state, error) = harness::trouble(&mut line, &status);
        assert_eq!(state, State::Refused, "{error}");
        assert!(error.contains("is not good"), "{error}");
    }
    let secure = target("localhost", tls, SyslogTransport::Tls(trusted()));
    let (mut one, status) = line(dir.path(), &secure, EVENTS, 500, Schema::Ecs);
    finish(&mut one, &status, EVENTS, |_| {});
    assert_eq!(rsyslog.numbers(once.len()), once);

    // A receiver that goes away in between: nothing that was not handed over yet is lost.
    rsyslog.forget();
    one.rewind(1).unwrap();
    wait("half of them", || {
        one.turn(Duration::from_millis(1));
        (status.lock().unwrap().cursor > EVENTS / 2).then_some(())
    });
    rsyslog.process = None;
    wait("trouble", || {
        one.turn(Duration::from_millis(1));
        status.lock().unwrap().error.clone()
    });
    let next = status.lock().unwrap().cursor;
    assert!(next <= EVENTS, "it was noticed");
    // It may have been ended in the middle of a line.
    let out = rsyslog.dir.path().join("out.log");
    let mut text = fs::read(&out).unwrap();
    text.push(b'\n');
    fs::write(&out, text).unwrap();
    rsyslog.start();
    finish(&mut one, &status, EVENTS, |_| {});
    let after = wait("the last one", || Some(rsyslog.numbers(1)).filter(|found| found.contains_key(&EVENTS)));
    assert!((next..=EVENTS).all(|number| after.contains_key(&number)), "from {next} on: {after:?}");

    for transport in [(tcp, SyslogTransport::Tcp), (udp, SyslogTransport::Udp)] {
        rsyslog.forget();
        // Few enough for the buffer of a socket: datagrams that find no room are lost.
        let count = if transport.1 == SyslogTransport::Udp { 50 } else { EVENTS };
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), count, |_| 0);
        let (mut line, status) =
            line(dir.path(), &target("127.0.0.1", transport.0, transport.1), count, 500, Schema::Ecs);
        finish(&mut line, &status, count, |_| {});
        assert_eq!(rsyslog.numbers(count as usize), (1..=count).map(|number| (number, 1)).collect());
    }
}
