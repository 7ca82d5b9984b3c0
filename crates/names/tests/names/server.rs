// SPDX-License-Identifier: Apache-2.0
//! A name server that answers as a test tells it to, by UDP and TCP on one loopback address, and
//! remembers what it was asked.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

pub(crate) const A: u16 = 1;
pub(crate) const AAAA: u16 = 28;
pub(crate) const ALIAS: u16 = 5;

/// A question as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) kind: u16,
    pub(crate) id: u16,
    pub(crate) from: SocketAddr,
    pub(crate) tcp: bool,
    bytes: Vec<u8>,
}

/// The messages to send back; none is silence. By TCP they come without their length.
type Script = dyn Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync;

/// Runs until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Listens on a loopback address that no other test of this process has.
    pub(crate) fn start(
        port: u16,
        script: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Server {
        let (udp, tcp) = listen(port).unwrap_or_else(|error| panic!("listen on port {port}: {error}"));
        let address = udp.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let script: Arc<Script> = Arc::new(script);
        let state = || (Arc::clone(&script), Arc::clone(&asked), Arc::clone(&ended));
        let (by_udp, by_tcp) = (state(), state());
        let threads = vec![
            thread::spawn(move || serve_udp(&udp, &*by_udp.0, &by_udp.1, &by_udp.2)),
            thread::spawn(move || serve_tcp(&tcp, &*by_tcp.0, &by_tcp.1, &by_tcp.2)),
        ];
        Server { address, asked, ended, threads }
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The names asked for, one for each of A and AAAA.
    pub(crate) fn names(&self, kind: u16) -> Vec<String> {
        self.asked().into_iter().filter(|asked| asked.kind == kind).map(|asked| asked.name).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Each thread waits for somebody; that is us.
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.send_to(&[], self.address).unwrap();
        drop(TcpStream::connect(self.address).unwrap());
        for thread in self.threads.drain(..) {
            assert!(thread.join().is_ok() || thread::panicking(), "a name server panicked");
        }
    }
}

/// An address of the loopback network that this process has not used, and that nobody listens on.
pub(crate) fn free_address() -> Ipv4Addr {
    static LAST: AtomicU8 = AtomicU8::new(0);
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    Ipv4Addr::new(127, high | 0x40, low, LAST.fetch_add(1, Ordering::SeqCst) + 1)
}

fn listen(port: u16) -> io::Result<(UdpSocket, TcpListener)> {
    let address = free_address();
    Ok((UdpSocket::bind((address, port))?, TcpListener::bind((address, port))?))
}

fn serve_udp(socket: &UdpSocket, script: &Script, asked: &Mutex<Vec<Asked>>, ended: &AtomicBool) {
    let mut bytes = [0; 1024];
    while let Ok((length, from)) = socket.recv_from(&mut bytes) {
        if ended.load(Ordering::SeqCst) {
            return;
        }
        for message in answer(&bytes[..length], from, false, script, asked) {
            socket.send_to(&message, from).unwrap();
        }
    }
}

fn serve_tcp(listener: &TcpListener, script: &Script, asked: &Mutex<Vec<Asked>>, ended: &AtomicBool) {
    while let Ok((mut stream, from)) = listener.accept() {
        if ended.load(Ordering::SeqCst) {
            return;
        }
        let mut length = [0; 2];
        let mut bytes = Vec::new();
        stream.read_exact(&mut length).unwrap();
        Read::by_ref(&mut stream).take(u16::from_be_bytes(length).into()).read_to_end(&mut bytes).unwrap();
        for message in answer(&bytes, from, true, script, asked) {
            // In two pieces, as networks do.
            let (head, tail) = message.split_at(message.len() / 2);
            let length = (message.len() as u16).to_be_bytes();
            if stream.write_all(&[&length, head].concat()).and_then(|()| stream.write_all(tail)).is_err() {
                break;
            }
        }
    }
}

fn answer(
    bytes: &[u8],
    from: SocketAddr,
    tcp: bool,
    script: &Script,
    all: &Mutex<Vec<Asked>>,
) -> Vec<Vec<u8>> {
    let asked = Asked::read(bytes, from, tcp);
    all.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
    script(&asked)
}

impl Asked {
    fn read(bytes: &[u8], from: SocketAddr, tcp: bool) -> Asked {
        let mut labels = Vec::new();
        let mut at = 12;
        while bytes[at] != 0 {
            let end = at + 1 + usize::from(bytes[at]);
            labels.push(std::str::from_utf8(&bytes[at + 1..end]).unwrap().to_owned());
            at = end;
        }
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        assert_eq!((bytes.len(), word(at + 3)), (at + 5, 1), "a question and nothing else");
        Asked { name: labels.join("."), kind: word(at + 1), id: word(0), from, tcp, bytes: bytes.to_vec() }
    }

    /// An answer with a response code and no records.
    pub(crate) fn code(&self, code: u8) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes[2] = 0x81;
        bytes[3] = 0x80 | code;
        bytes
    }

    /// An answer with the addresses among these that are of the kind asked for.
    pub(crate) fn addresses(&self, addresses: &[&str]) -> Vec<u8> {
        let mut bytes = self.code(0);
        for address in addresses {
            match address.parse().unwrap() {
                IpAddr::V4(v4) if self.kind == A => add(&mut bytes, &self.name, A, &v4.octets()),
                IpAddr::V6(v6) if self.kind == AAAA => add(&mut bytes, &self.name, AAAA, &v6.octets()),
                _ => {}
            }
        }
        bytes
    }
}

/// Appends a record to an answer.
pub(crate) fn add(bytes: &mut Vec<u8>, owner: &str, kind: u16, data: &[u8]) {
    bytes.extend(wire(owner));
    bytes.extend([kind.to_be_bytes(), [0, 1], [0, 0], [0, 60]].concat());
    bytes.extend((data.len() as u16).to_be_bytes());
    bytes.extend(data);
    let count = u16::from_be_bytes([bytes[6], bytes[7]]) + 1;
    bytes[6..8].copy_from_slice(&count.to_be_bytes());
}

/// A name as messages have it.
pub(crate) fn wire(name: &str) -> Vec<u8> {
    let mut wire: Vec<u8> =
        name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    wire.push(0);
    wire
}
