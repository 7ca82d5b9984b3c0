// SPDX-License-Identifier: Apache-2.0
//! Daemons that take some versions of the API alone, as the newest and the oldest do: everything is asked in a version
//! that they know. They check how they are asked; what they answer is the least that is an answer.

use crate::{Daemon, Host, Image, Labels, Layer, Version, Wanted};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What was asked, without versions.
type Asked = Arc<Mutex<BTreeSet<String>>>;

/// Answers until nobody asks any more; `false` for a question that a real daemon would refuse.
fn serve(stream: UnixStream, versions: (Version, Version), asked: &Asked) -> Option<()> {
    let mut to = stream.try_clone().ok()?;
    let mut from = BufReader::new(stream);
    loop {
        let (line, size) = head(&mut from)?;
        let mut words = line.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        match size {
            Some(size) => drop(std::io::copy(&mut from.by_ref().take(size), &mut std::io::sink())),
            None => while chunk(&mut from)? > 0 {},
        }
        let (status, document) = answer(method, target, versions, asked);
        let length = document.len();
        write!(to, "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n{document}").ok()?;
    }
}

/// The first line, and how long what follows is; without a length it comes in pieces.
fn head(from: &mut BufReader<UnixStream>) -> Option<(String, Option<u64>)> {
    let mut line = || {
        let mut line = String::new();
        (from.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
    };
    let (first, mut size) = (line()?, Some(0));
    loop {
        let header = line()?.to_ascii_lowercase();
        match header.split_once(": ") {
            Some(("content-length", value)) => size = value.parse().ok(),
            Some(("transfer-encoding", _)) => size = None,
            Some(_) => {}
            None => return Some((first, size)),
        }
    }
}

fn chunk(from: &mut BufReader<UnixStream>) -> Option<u64> {
    let mut line = String::new();
    from.read_line(&mut line).ok()?;
    let size = u64::from_str_radix(line.trim_end(), 16).ok()?;
    std::io::copy(&mut from.by_ref().take(size + 2), &mut std::io::sink()).ok()?;
    Some(size)
}

fn answer(method: &str, target: &str, (least, most): (Version, Version), asked: &Asked) -> (u16, String) {
    if target == "/version" {
        // The oldest daemons do not say what the least is.
        let least =
            if least > Version(1, 24) { format!(r#","MinAPIVersion":"{least}""#) } else { String::new() };
        return (200, format!(r#"{{"ApiVersion":"{most}"{least},"Os":"linux","Arch":"amd64"}}"#));
    }
    let version = target.strip_prefix("/v").and_then(|rest| rest.split_once('/'));
    let Some((version, path)) = version.and_then(|(text, path)| Some((Version::parse(text)?, path))) else {
        return (404, r#"{"message":"page not found"}"#.to_owned());
    };
    if version < least || version > most {
        return (
            400,
            format!(r#"{{"message":"client version {version} is not between {least} and {most}"}}"#),
        );
    }
    let path = path.split('?').next().unwrap_or_default();
    asked.lock().unwrap().insert(format!("{method} {path}"));
    match (method, path) {
        ("GET", "info") => (200, r#"{"DockerRootDir":"/d","SecurityOptions":["name=rootless"]}"#.into()),
        ("GET", "images/json") => (200, r#"[{"RepoTags":["localhost/a:1"],"Labels":{"k":"v"}}]"#.into()),
        ("GET", "images/a/json") => (200, r#"{"Config":{"Labels":{"k":"v"}}}"#.into()),
        ("GET", "containers/json") => (200, r#"[{"Id":"c","Created":7}]"#.into()),
        ("GET", "containers/web/json") => {
            (200, r#"{"Id":"c","Path":"/p","HostConfig":{"CapAdd":null}}"#.into())
        }
        ("POST", "images/load") => (200, r#"{"stream":"Loaded"}"#.into()),
        ("POST", "containers/create") => (201, r#"{"Id":"c","Warnings":null}"#.into()),
        ("POST", "containers/c/start") | ("DELETE", _) => (204, String::new()),
        _ => (404, r#"{"message":"no such thing"}"#.into()),
    }
}

fn everything(versions: (Version, Version)) -> (Version, BTreeSet<String>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let asked = Asked::default();
    let theirs = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let asked = Arc::clone(&theirs);
            thread::spawn(move || serve(stream, versions, &asked));
        }
    });
    let host: Host = format!("unix://{}", path.display()).parse().unwrap();
    let mut daemon = Daemon::connect(&host, &[], Duration::from_secs(20)).unwrap();
    let about = daemon.about().unwrap();
    assert!(about.root == "/d" && about.is_rootless, "{about:?}");
    assert_eq!(daemon.container("web").unwrap().unwrap().program, "/p");
    assert_eq!(daemon.container("none").unwrap(), None);
    let labels = Labels::from([("k".to_owned(), "v".to_owned())]);
    assert_eq!(daemon.labels("a").unwrap(), Some(labels.clone()));
    // As Podman names it, and as it is asked for.
    assert_eq!(daemon.images("a").unwrap(), [("a:1".to_owned(), labels.clone())]);
    assert_eq!(daemon.containers("l", &["created"]).unwrap(), [("c".to_owned(), 7)]);
    let mut layer = Layer::default();
    layer.directory("d");
    let image = Image { name: "a:1".into(), layers: vec![layer], labels, architecture: "amd64".into() };
    daemon.load(&image, &mut |_, _| {}).unwrap();
    assert_eq!(daemon.create(&Wanted::default()).unwrap(), "c");
    daemon.start("c").unwrap();
    daemon.forget("a:1").unwrap();
    daemon.again().remove("c").unwrap();
    assert_eq!(daemon.removes_by_itself(), versions.1 > Version(1, 24));
    let asked = asked.lock().unwrap().clone();
    (daemon.version(), asked)
}

#[test]
fn a_daemon_of_today_and_one_of_long_ago() {
    let (newest, by_newest) = everything((Version(1, 44), Version(1, 56)));
    let (oldest, by_oldest) = everything((Version(1, 12), Version(1, 24)));
    assert_eq!((newest, oldest), (Version(1, 51), Version(1, 24)));
    assert_eq!(by_newest, by_oldest);
    assert!(by_newest.contains("POST images/load") && by_newest.len() > 9, "{by_newest:?}");
}
