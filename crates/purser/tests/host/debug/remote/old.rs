// SPDX-License-Identifier: Apache-2.0
//! A daemon as old as can be: the real one behind somebody who says that it speaks 1.24 at most, and lets nothing newer
//! through. The real one then does what such an old one did.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};

use super::far::Far;
use crate::debug::wait_until;
use crate::lab::{Lab, output, run};

const VERSION: &str = r#"{"Version":"1.12.6","ApiVersion":"1.24","Os":"linux","Arch":"amd64"}"#;

/// Serves until the process ends. `was_wrong` is set when somebody asks for another version.
fn stand_before(socket: PathBuf, at: &Path, was_wrong: &Arc<AtomicBool>) -> Result<()> {
    let listener = UnixListener::bind(at)?;
    let was_wrong = Arc::clone(was_wrong);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (socket, was_wrong) = (socket.clone(), Arc::clone(&was_wrong));
            std::thread::spawn(move || serve(stream, &socket, &was_wrong));
        }
    });
    Ok(())
}

fn serve(mut client: UnixStream, socket: &Path, was_wrong: &AtomicBool) -> Result<()> {
    let mut head = vec![0; 1024];
    let count = client.read(&mut head)?;
    let head = head.get(..count).unwrap_or_default();
    let line = String::from_utf8_lossy(head).lines().next().unwrap_or_default().to_owned();
    let path = line.split(' ').nth(1).unwrap_or_default();
    if path == "/version" {
        let length = VERSION.len();
        // One question a connection, so that the next one is seen as well.
        return Ok(write!(
            client,
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{VERSION}"
        )?);
    }
    if !path.starts_with("/v1.24/") {
        was_wrong.store(true, Ordering::Release);
        return Ok(write!(
            client,
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )?);
    }
    let mut daemon = UnixStream::connect(socket)?;
    daemon.write_all(head)?;
    let (mut from, mut to) = (client.try_clone()?, daemon.try_clone()?);
    let back = std::thread::spawn(move || {
        std::io::copy(&mut daemon, &mut client).unwrap_or_default();
        client.shutdown(Shutdown::Write).unwrap_or_default();
    });
    std::io::copy(&mut from, &mut to).unwrap_or_default();
    to.shutdown(Shutdown::Write).unwrap_or_default();
    back.join().map_err(|_| anyhow::anyhow!("a thread panicked"))
}

#[test]
fn an_old_daemon() -> Result<()> {
    let lab = Lab::enter()?;
    let far = Far::start(&lab)?;
    let (socket, was_wrong) = (far.dir.join("old.sock"), Arc::new(AtomicBool::new(false)));
    stand_before(far.dir.join("docker.sock"), &socket, &was_wrong)?;
    let old = format!("unix://{}", socket.display());
    for _ in 0..2 {
        let ended = output(&mut far.debug(&old, &[], "web", &["sh", "-c", "echo in; exit 6"])?)?;
        ensure!(ended.status.code() == Some(6) && ended.stdout == b"in\n", "{ended:?}");
        // Nobody there removes what has ended.
        far.is_clean(&["web"])?;
    }
    let images = run(&mut far.docker(&["images", "-q", "purser-debug"]))?;
    ensure!(images.lines().count() == 1, "{images}");
    // What a killed client leaves, the next session takes away.
    let mut client = far.debug(&old, &[], "web", &["sleep", "4711"])?;
    let mut client = client.stdin(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    far.runs("4711")?;
    client.kill()?;
    client.wait()?;
    wait_until("the outpost has ended", || {
        let ended = ["ps", "-aq", "--filter", "status=exited", "--filter", "label=purser.debug.session"];
        Ok(!run(&mut far.docker(&ended))?.is_empty())
    })?;
    run(&mut far.debug(&old, &[], "web", &["true"])?).context("after a client that was killed")?;
    ensure!(!was_wrong.load(Ordering::Acquire), "it was asked in another version");
    far.is_clean(&["web"])
}
