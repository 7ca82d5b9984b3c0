// SPDX-License-Identifier: Apache-2.0
//! Ports of the host that lead to ports of a target: each connection is made anew inside the target's network
//! namespace, by a thread that has entered it. Nothing runs in the target.

use crate::DebugError;
use crate::error::host;
use crate::signals::Signals;
use crate::target::Target;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

/// Signals that end it.
const ENDING: [i32; 3] = [1, 2, 15];
/// Most connections of one forward at a time; the next one is closed at once.
const CONNECTIONS_LIMIT: usize = 256;
/// Time for a port of the target to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause when the kernel gives no more connections.
const PAUSE: Duration = Duration::from_millis(100);

/// `[[ADDRESS:]PORT:]PORT`: a port of the host, and one of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Where the host listens; on the loopback address unless another one is named.
    pub here: SocketAddr,
    /// The port on the target's loopback address.
    pub there: u16,
}

/// What is no forward.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no forward; write PORT, PORT:PORT or ADDRESS:PORT:PORT, the target's port last")]
pub struct NoForward(String);

impl FromStr for Forward {
    type Err = NoForward;

    fn from_str(text: &str) -> Result<Forward, NoForward> {
        let wrong = || NoForward(text.to_owned());
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong);
        let (before, there) = text.rsplit_once(':').unwrap_or((text, text));
        let there = port(there)?;
        let (address, here) = match before.rsplit_once(':') {
            Some((address, here)) => {
                let address = address.trim_start_matches('[').trim_end_matches(']');
                (address.parse::<IpAddr>().map_err(|_| wrong())?, port(here)?)
            }
            None => (IpAddr::V4(Ipv4Addr::LOCALHOST), port(before)?),
        };
        Ok(Forward { here: SocketAddr::new(address, here), there })
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} to {}", self.here, self.there)
    }
}

/// Listens on all of them, for as long as the process lives.
///
/// # Errors
/// When a port of the host cannot be had, or the target's network cannot be entered.
pub fn forward(target: &Target, forwards: &[Forward]) -> Result<(), DebugError> {
    for forward in forwards {
        let listener = TcpListener::bind(forward.here).map_err(host(format!(
            "listening on {}, for the target's port {}",
            forward.here, forward.there
        )))?;
        let target = target.fd.try_clone().map_err(host("copying a descriptor"))?;
        let (entered, told) = sync_channel(1);
        let there = SocketAddr::from((Ipv4Addr::LOCALHOST, forward.there));
        let serve = move || {
            let inside = move_into_thread_name_spaces(target.as_fd(), ThreadNameSpaceType::NETWORK);
            let is_inside = inside.is_ok();
            // Whoever started this thread waits for that.
            entered.send(inside).unwrap_or_default();
            if is_inside {
                serve(&listener, there);
            }
        };
        let thread = thread::Builder::new().name("forward".to_owned()).spawn(serve);
        thread.map_err(host("starting a thread"))?;
        let inside =
            told.recv().map_err(|_| io::Error::other("the thread ended")).and_then(|inside| Ok(inside?));
        inside.map_err(host("entering the target's network"))?;
    }
    Ok(())
}

/// Waits for a signal that ends this process, and gives 128 and its number, or for the target's end: 0. After
/// `limit` it gives 137.
///
/// # Errors
/// When signals cannot be waited for.
pub fn stay(target: &Target, limit: Option<Duration>) -> Result<u8, DebugError> {
    let end = limit.and_then(|limit| Instant::now().checked_add(limit));
    let signals = Signals::catch(&ENDING).map_err(host("waiting for signals"))?;
    loop {
        let mut polled = [
            PollFd::from_borrowed_fd(target.fd.as_fd(), PollFlags::IN),
            PollFd::new(&signals.wake, PollFlags::IN),
        ];
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let left = left.map(|left| Timespec::try_from(left).unwrap_or_default());
        match poll(&mut polled, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(host("waiting for signals")(error.into())),
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            return Ok(137);
        }
        if let Some(number) = signals.take().into_iter().next() {
            return Ok(128_u8.saturating_add(u8::try_from(number).unwrap_or(0)));
        }
        if target.is_over() {
            return Ok(0);
        }
    }
}

/// The listener is the host's, the new connections are the target's.
fn serve(listener: &TcpListener, there: SocketAddr) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((client, _)) = listener.accept() else {
            thread::sleep(PAUSE);
            continue;
        };
        if open.load(Ordering::Relaxed) >= CONNECTIONS_LIMIT {
            continue;
        }
        open.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Arc::clone(&open));
        let thread = thread::Builder::new().name("forward".to_owned());
        // Threads are born in the namespace of the one that starts them. Without one the client is turned away.
        drop(thread.spawn(move || {
            let _counted = counted;
            // What is wrong with a connection is told by its end.
            pass(client, there).unwrap_or_default();
        }));
    }
}

#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Passes bytes on in both directions until both are at their end.
fn pass(client: TcpStream, there: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect_timeout(&there, PATIENCE)?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    let up = thread::Builder::new().name("forward".to_owned()).spawn(move || {
        let copied = io::copy(&mut from_client, &mut to_server);
        // The other side has to hear of the end even when it came by an error.
        to_server.shutdown(Shutdown::Write).unwrap_or_default();
        copied
    })?;
    let (mut from_server, mut to_client) = (server, client);
    let copied = io::copy(&mut from_server, &mut to_client);
    to_client.shutdown(Shutdown::Write).unwrap_or_default();
    if copied.is_err() {
        from_server.shutdown(Shutdown::Both).unwrap_or_default();
    }
    up.join().unwrap_or(Ok(0))?;
    copied.map(drop)
}

#[cfg(test)]
mod tests {
    use super::Forward;

    #[test]
    fn forwards_are_read() {
        for (text, told) in [
            ("8080:80", "127.0.0.1:8080 to 80"),
            ("5005", "127.0.0.1:5005 to 5005"),
            ("0.0.0.0:8080:80", "0.0.0.0:8080 to 80"),
            ("[::1]:8080:80", "[::1]:8080 to 80"),
        ] {
            assert_eq!(text.parse::<Forward>().unwrap().to_string(), told);
        }
        for wrong in ["", "0", "80:", ":80", "8080:0", "web:8080:80", "1:2:3:4", "70000"] {
            assert!(wrong.parse::<Forward>().unwrap_err().to_string().contains("is no forward"), "{wrong}");
        }
    }
}
