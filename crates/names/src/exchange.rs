// SPDX-License-Identifier: Apache-2.0
//! One server, one name, one or two questions at once: by UDP, by TCP when an answer was cut. It waits
//! no longer than it is told to and believes only what answers its own question.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::error::Outcome;
use crate::message::{self, Answer, Kind, NO_SUCH_NAME, Name, Unfit};

/// Without EDNS an answer by UDP has at most 512 bytes; some servers do not care.
const DATAGRAM_LIMIT: usize = 4096;
/// Once one kind is answered for good, how long the other is waited for. Some networks drop the questions
/// for AAAA, and a program must not stand still because of that.
const OTHER_KIND_WAIT: Duration = Duration::from_secs(1);

/// What one question came to.
pub(crate) type Replied = (Kind, Result<Answer, Outcome>);

/// Random numbers for questions, drawn by the caller: they are what a forger has to guess.
pub(crate) type Ids = [u16; 2];

/// Asks `server` for the addresses of `name`, of each of `kinds` (one or two) at once.
pub(crate) fn ask(
    server: SocketAddr,
    name: &Name,
    kinds: &[Kind],
    ids: Ids,
    timeout: Duration,
    tcp: bool,
) -> Vec<Replied> {
    let mut exchange = Exchange { server, name, deadline: Instant::now() + timeout, replied: Vec::new() };
    if tcp {
        for (kind, id) in kinds.iter().zip(ids) {
            let reply = exchange.by_tcp(id, *kind);
            exchange.settle(*kind, reply);
        }
    } else {
        exchange.by_udp(kinds, ids);
    }
    exchange.replied
}

#[derive(Debug)]
struct Exchange<'a> {
    server: SocketAddr,
    name: &'a Name,
    deadline: Instant,
    replied: Vec<Replied>,
}

/// A question on its way. Each has its own socket, so that the kernel draws a port for each, and so that
/// two do not share one: firewalls that keep one state for both lose the second.
#[derive(Debug)]
struct Pending {
    kind: Kind,
    id: u16,
    socket: UdpSocket,
}

impl Exchange<'_> {
    fn settle(&mut self, kind: Kind, reply: Result<Answer, Outcome>) {
        let for_good = |answer: &Answer| match answer.code {
            0 => !answer.addresses.is_empty(),
            code => code == NO_SUCH_NAME,
        };
        if reply.as_ref().is_ok_and(for_good) {
            self.deadline = self.deadline.min(Instant::now() + OTHER_KIND_WAIT);
        }
        self.replied.push((kind, reply));
    }

    fn remaining(&self) -> Option<Duration> {
        self.deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    fn by_udp(&mut self, kinds: &[Kind], ids: Ids) {
        let mut pending = Vec::new();
        for (kind, id) in kinds.iter().zip(ids) {
            match self.send(*kind, id) {
                Ok(sent) => pending.push(sent),
                Err(error) => self.settle(*kind, Err(Outcome::Network(error.kind()))),
            }
        }
        let mut in_time = true;
        while in_time && !pending.is_empty() {
            in_time = self.wait(&pending);
            // Once more when the time is up: fetching one answer by TCP may have used all of it.
            pending.retain(|one| match self.receive(one) {
                Some(reply) => {
                    self.settle(one.kind, reply);
                    false
                }
                None => true,
            });
        }
        self.replied.extend(pending.iter().map(|one| (one.kind, Err(Outcome::TimedOut))));
    }

    /// A connected socket takes datagrams from the server only, and is told when nobody listens there.
    fn send(&self, kind: Kind, id: u16) -> io::Result<Pending> {
        let socket = match self.server {
            SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
            SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
        };
        socket.set_nonblocking(true)?;
        socket.connect(self.server)?;
        socket.send(&message::question(id, self.name, kind))?;
        Ok(Pending { kind, id, socket })
    }

    /// Until something came. False when the time is up, or when the kernel cannot wait.
    fn wait(&self, pending: &[Pending]) -> bool {
        let Some(left) = self.remaining() else { return false };
        let limit = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut sockets: Vec<PollFd<'_>> =
            pending.iter().map(|one| PollFd::new(&one.socket, PollFlags::IN)).collect();
        matches!(poll(&mut sockets, Some(&limit)), Ok(_) | Err(Errno::INTR))
    }

    /// What came for one question; nothing yet when there is nothing or only what is not for us.
    fn receive(&self, one: &Pending) -> Option<Result<Answer, Outcome>> {
        let mut bytes = [0; DATAGRAM_LIMIT];
        let length = match one.socket.recv(&mut bytes) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return None;
            }
            Err(error) => return Some(Err(Outcome::Network(error.kind()))),
        };
        match message::answer(bytes.get(..length)?, one.id, self.name, one.kind) {
            Err(Unfit::NotOurs) => None,
            Err(Unfit::Malformed(what)) => Some(Err(Outcome::Malformed(what))),
            // A network that lets only UDP through still gives the addresses that fitted.
            Ok(cut) if cut.truncated => Some(
                self.by_tcp(one.id, one.kind)
                    .or_else(|failure| if cut.addresses.is_empty() { Err(failure) } else { Ok(cut) }),
            ),
            Ok(answer) => Some(Ok(answer)),
        }
    }

    fn by_tcp(&self, id: u16, kind: Kind) -> Result<Answer, Outcome> {
        let bytes =
            self.talk(&message::question(id, self.name, kind)).map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Outcome::TimedOut,
                kind => Outcome::Network(kind),
            })?;
        message::answer(&bytes, id, self.name, kind).map_err(|unfit| match unfit {
            Unfit::NotOurs => Outcome::Malformed("it answers another question"),
            Unfit::Malformed(what) => Outcome::Malformed(what),
        })
    }

    /// One message there and one back, each after its length.
    fn talk(&self, question: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&self.server, self.left()?)?;
        stream.set_write_timeout(Some(self.left()?))?;
        let length = u16::try_from(question.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), question].concat())?;
        let mut length = [0; 2];
        self.fill(&mut stream, &mut length)?;
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
        self.fill(&mut stream, &mut bytes)?;
        Ok(bytes)
    }

    fn left(&self) -> io::Result<Duration> {
        self.remaining().ok_or_else(|| io::ErrorKind::TimedOut.into())
    }

    /// Fills `buffer`, however the server cuts what it sends, and however slowly: the deadline holds.
    fn fill(&self, stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<()> {
        let mut rest = buffer;
        while !rest.is_empty() {
            stream.set_read_timeout(Some(self.left()?))?;
            match stream.read(rest) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => rest = rest.split_at_mut_checked(count).map_or(&mut [], |(_, after)| after),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
