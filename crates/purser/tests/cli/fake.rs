// SPDX-License-Identifier: Apache-2.0
//! A registry that takes what is put into it and gives it back with one fault.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How it is wrong when something is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    WrongBlob,
    ShortBlob,
    LongBlob,
    EndlessBlob,
    WrongManifest,
    HugeManifest,
    Html,
    Circle,
    Nonsense,
    /// A token server that is elsewhere and without TLS.
    BareRealm,
    /// No login is good enough.
    Denied,
    /// It wants user and password.
    Password,
    Silent,
    /// A byte now and then.
    Drip,
    /// It is busy for so many requests.
    Busy(u32),
    /// Busy, and for long.
    Away,
    /// Each blob breaks off after a few bytes.
    Cut,
    /// The same, and it never goes on from where it was.
    CutWithoutRanges,
    /// Blobs are on another port; it wants a password itself.
    Elsewhere(u16),
    /// What is put is begun on another port.
    PutElsewhere(u16),
    /// Whatever name is asked for, it has one.
    AnyName,
}

#[derive(Default)]
struct State {
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: BTreeMap<String, Vec<u8>>,
    heard: Vec<String>,
    fault: Option<Fault>,
    /// Requests for blobs so far.
    asked: u32,
}

pub(crate) struct Registry {
    port: u16,
    state: Arc<Mutex<State>>,
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    pub(crate) fn start() -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let registry = Registry { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let state = Arc::clone(&registry.state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                // Whoever hangs up ends its thread.
                thread::spawn(move || serve(stream, &state).unwrap_or_default());
            }
        });
        registry
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn place(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, fault: Fault) {
        let mut state = locked(&self.state);
        (state.fault, state.asked) = (Some(fault), 0);
    }

    /// The heads of all requests, in lower case up to the values.
    pub(crate) fn heard(&self) -> Vec<String> {
        locked(&self.state).heard.clone()
    }

    pub(crate) fn take_from(&self, other: &Registry) {
        let other = locked(&other.state);
        let mut state = locked(&self.state);
        (state.blobs, state.manifests) = (other.blobs.clone(), other.manifests.clone());
    }
}

/// One connection.
fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut bytes = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        let end = loop {
            if bytes.first() == Some(&0x16) {
                // TLS, which is not spoken here.
                return stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            }
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            let count = stream.read(&mut piece)?;
            if count == 0 {
                return Ok(());
            }
            bytes.extend_from_slice(&piece[..count]);
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        while bytes.len() < end + 4 + length {
            let count = stream.read(&mut piece)?;
            bytes.extend_from_slice(&piece[..count]);
        }
        let body = bytes[end + 4..end + 4 + length].to_vec();
        bytes.drain(..end + 4 + length);
        let keeps = answer(&mut stream, &head, body, state)?;
        if !keeps {
            return Ok(());
        }
    }
}

fn simple(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<bool> {
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len())?;
    stream.write_all(body)?;
    Ok(true)
}

/// Whether the connection goes on.
fn answer(stream: &mut TcpStream, head: &str, body: Vec<u8>, state: &Mutex<State>) -> std::io::Result<bool> {
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (fault, blob, manifest) = {
        let mut state = locked(state);
        state.heard.push(head.to_string());
        let name = path.rsplit('/').next().unwrap_or_default().to_string();
        match (method, state.fault) {
            ("POST", Some(Fault::PutElsewhere(port))) => {
                let location = format!("location: http://127.0.0.1:{port}{path}\r\n");
                return simple(stream, "307 Temporary Redirect", &location, b"");
            }
            ("POST", _) => {
                return simple(stream, "202 Accepted", "location: /v2/kits/x/blobs/uploads/1\r\n", b"");
            }
            ("PUT", _) => {
                let digest = path.split("digest=").nth(1).map(|digest| digest.replace("%3A", ":"));
                match digest {
                    Some(digest) => state.blobs.insert(digest, body),
                    None => state.manifests.insert(path.to_string(), body),
                };
                return simple(stream, "201 Created", "", b"");
            }
            _ => {}
        }
        let mut fault = state.fault.unwrap_or(Fault::None);
        if let Fault::Busy(left) = fault {
            if left > 0 {
                state.fault = Some(Fault::Busy(left - 1));
                return simple(stream, "429 Too Many Requests", "retry-after: 1\r\n", b"");
            }
            fault = Fault::None;
        }
        let manifest = state.manifests.get(path).cloned();
        let any = || state.manifests.values().next().cloned().filter(|_| path.contains("/manifests/"));
        let manifest = if fault == Fault::AnyName { manifest.or_else(any) } else { manifest };
        (fault, state.blobs.get(&name).cloned(), manifest)
    };
    let is_open = head.contains("authorization: Basic dXNlcjpodW50ZXIy");
    match fault {
        Fault::Silent => thread::sleep(Duration::from_secs(20)),
        Fault::Nonsense => stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")?,
        Fault::Circle => return simple(stream, "302 Found", &format!("location: {path}\r\n"), b""),
        Fault::Html => {
            return simple(stream, "200 OK", "content-type: text/html\r\n", b"<html>Please sign in</html>");
        }
        Fault::Away => return simple(stream, "503 Service Unavailable", "retry-after: 3600\r\n", b""),
        Fault::BareRealm => {
            let header = "www-authenticate: Bearer realm=\"http://tokens.example/t\",service=\"x\"\r\n";
            return simple(stream, "401 Unauthorized", header, b"");
        }
        Fault::Denied | Fault::Password | Fault::Elsewhere(_) if fault == Fault::Denied || !is_open => {
            let body = br#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
            return simple(stream, "401 Unauthorized", "www-authenticate: Basic realm=\"x\"\r\n", body);
        }
        Fault::Elsewhere(port) if blob.is_some() => {
            let location = format!("location: http://127.0.0.1:{port}{path}\r\n");
            return simple(stream, "307 Temporary Redirect", &location, b"");
        }
        _ => {
            return match (blob, manifest) {
                (Some(blob), _) => give_blob(stream, head, &blob, fault, state),
                (_, Some(manifest)) => give_manifest(stream, manifest, fault),
                _ => simple(stream, "404 Not Found", "", b""),
            };
        }
    }
    Ok(false)
}

fn give_manifest(stream: &mut TcpStream, mut manifest: Vec<u8>, fault: Fault) -> std::io::Result<bool> {
    let mut headers = "content-type: application/vnd.oci.image.manifest.v1+json\r\n".to_string();
    match fault {
        Fault::WrongManifest => {
            write!(headers, "docker-content-digest: sha256:{}\r\n", "0".repeat(64)).unwrap();
        }
        Fault::HugeManifest => manifest.extend(vec![b' '; 5 << 20]),
        _ => {}
    }
    simple(stream, "200 OK", &headers, &manifest)
}

fn give_blob(
    stream: &mut TcpStream,
    head: &str,
    blob: &[u8],
    fault: Fault,
    state: &Mutex<State>,
) -> std::io::Result<bool> {
    let range = head.lines().find_map(|line| line.strip_prefix("range: bytes="));
    let from = range.map_or(0, |range| range.trim_end_matches('-').parse().unwrap());
    match fault {
        Fault::WrongBlob => {
            let mut blob = blob.to_vec();
            blob[0] ^= 1;
            return simple(stream, "200 OK", "", &blob);
        }
        Fault::ShortBlob => return simple(stream, "200 OK", "", &blob[1..]),
        Fault::LongBlob | Fault::EndlessBlob => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            let most = if fault == Fault::LongBlob { blob.len() + 1 } else { usize::MAX };
            for _ in (0..most).step_by(1000) {
                write!(stream, "3e8\r\n{}\r\n", "x".repeat(1000))?;
            }
            stream.write_all(b"0\r\n\r\n")?;
        }
        Fault::Drip => {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", blob.len())?;
            for byte in blob {
                stream.write_all(&[*byte])?;
                thread::sleep(Duration::from_millis(300));
            }
        }
        Fault::Cut => {
            let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
            let rest = &blob[from..];
            let (whole, last) = (blob.len(), blob.len() - 1);
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n", rest.len())?;
            write!(stream, "content-range: bytes {from}-{last}/{whole}\r\n\r\n")?;
            stream.write_all(&rest[..rest.len().min(blob.len() / 3 + 1)])?;
        }
        Fault::CutWithoutRanges => {
            locked(state).asked += 1;
            let asked = locked(state).asked as usize;
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", blob.len())?;
            stream.write_all(&blob[..blob.len().min(asked * (blob.len() / 3 + 1))])?;
        }
        _ => return simple(stream, "200 OK", "", blob),
    }
    Ok(false)
}
