// SPDX-License-Identifier: Apache-2.0
//! Tells the service manager how the agent is: ready, reloading, alive, stopping. One datagram a
//! word, to the socket named in `NOTIFY_SOCKET`; without that name nobody is told. It never waits.

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::time::{ClockId, clock_gettime};
use std::ffi::OsStr;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The way to the service manager.
#[derive(Debug, Default)]
pub(super) struct Notify {
    socket: Option<UnixDatagram>,
    watchdog: bool,
}

impl Notify {
    /// Reads the environment that a service manager gives its services.
    pub(super) fn from_environment() -> Notify {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|name| connect(&name).ok());
        let set = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
        let ours = set("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = ours && set("WATCHDOG_USEC").is_some_and(|usec| usec > 0);
        Notify { socket, watchdog }
    }

    /// Records flow. `status` is one line for people.
    pub(super) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// How it is going now.
    pub(super) fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// The configuration is being read again; [`Notify::ready`] ends that.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let usec = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    /// The main loop still turns.
    pub(super) fn alive(&self) {
        if self.watchdog {
            self.send("WATCHDOG=1");
        }
    }

    /// The end has begun.
    pub(super) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    /// The manager shall keep `socket` under `name` and hand it over with the next start. One that it keeps already
    /// under that name is given up.
    pub(super) fn keep(&self, name: &str, socket: BorrowedFd<'_>) {
        let Some(manager) = &self.socket else { return };
        self.forget(name);
        let words = format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0");
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        let sockets = [socket];
        if rights.push(SendAncillaryMessage::ScmRights(&sockets)) {
            let words = [IoSlice::new(words.as_bytes())];
            // Without it clients find nobody during a restart, as without a manager.
            sendmsg(manager.as_fd(), &words, &mut rights, SendFlags::NOSIGNAL).unwrap_or_default();
        }
    }

    /// The manager shall give up what it keeps under `name`.
    pub(super) fn forget(&self, name: &str) {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
    }

    /// A manager that does not listen is no reason to stop recording: its watchdog will tell it.
    fn send(&self, words: &str) {
        if let Some(socket) = &self.socket {
            drop(socket.send(words.as_bytes()));
        }
    }
}

/// `@` at the beginning stands for the zero byte of an abstract address.
fn connect(name: &OsStr) -> std::io::Result<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::{Notify, connect};
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    use std::ffi::OsString;
    use std::io::{IoSliceMut, Read, Write};
    use std::mem::MaybeUninit;
    use std::os::fd::AsFd;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let count = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    #[test]
    fn both_kinds_of_sockets_are_reached() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("purser-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        for (manager, name) in
            [(by_path, path.into_os_string()), (by_name, OsString::from(format!("@{name}")))]
        {
            let notify = Notify { socket: Some(connect(&name).unwrap()), watchdog: true };
            notify.ready("two\nlines");
            assert_eq!(heard(&manager), "READY=1\nSTATUS=two lines");
            notify.alive();
            assert_eq!(heard(&manager), "WATCHDOG=1");
            notify.reloading();
            assert!(heard(&manager).starts_with("RELOADING=1\nMONOTONIC_USEC="));
            let unwatched = Notify { watchdog: false, ..notify };
            unwatched.alive();
            unwatched.stopping();
            assert!(heard(&manager).starts_with("STOPPING=1"));
        }
    }

    #[test]
    fn a_socket_is_given_to_the_manager_under_a_name() {
        let (manager, ours) = UnixDatagram::pair().unwrap();
        let notify = Notify { socket: Some(ours), watchdog: false };
        let (kept, other) = std::os::unix::net::UnixStream::pair().unwrap();
        notify.keep("metrics", kept.as_fd());
        drop(kept);
        assert_eq!(heard(&manager), "FDSTOREREMOVE=1\nFDNAME=metrics");
        let mut bytes = [0; 256];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut bytes)];
        let got = recvmsg(&manager, &mut into, &mut rights, RecvFlags::empty()).unwrap();
        assert_eq!(&bytes[..got.bytes], b"FDSTORE=1\nFDNAME=metrics\nFDPOLL=0");
        let mut passed = rights.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => sockets.collect(),
            _ => Vec::new(),
        });
        // It is the same socket.
        let mut again = std::os::unix::net::UnixStream::from(passed.next().unwrap());
        again.write_all(b"here").unwrap();
        let mut text = [0; 4];
        (&other).read_exact(&mut text).unwrap();
        assert_eq!(&text, b"here");
    }

    #[test]
    fn without_a_manager_nobody_is_told() {
        Notify::default().ready("x");
        assert!(connect("/nowhere/notify".as_ref()).is_err());
        assert!(connect("".as_ref()).is_err());
    }

    #[test]
    fn a_manager_that_does_not_listen_holds_nothing_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let _deaf = UnixDatagram::bind(&path).unwrap();
        let notify = Notify { socket: Some(connect(path.as_os_str()).unwrap()), watchdog: true };
        for _ in 0..10_000 {
            notify.alive();
        }
    }
}
