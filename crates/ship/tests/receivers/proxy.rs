// SPDX-License-Identifier: Apache-2.0
//! An HTTP proxy that answers itself now and then, in the way a test wants.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What happens to a request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It goes on to the receiver.
    None,
    /// This is the answer; the receiver never sees the request.
    Answer(String),
    /// The receiver sees it, and the connection is cut before its answer comes.
    Cut,
}

/// A proxy at work; ends with the process.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    pub(crate) requests: Arc<AtomicU64>,
}

/// Starts one before `upstream`. `fault` is asked with the number of the request and its bytes.
pub(crate) fn start(upstream: u16, fault: impl Fn(u64, &[u8]) -> Fault + Send + Sync + 'static) -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(AtomicU64::new(0));
    let (count, fault) = (Arc::clone(&requests), Arc::new(fault));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, count, fault) = (client.unwrap(), Arc::clone(&count), Arc::clone(&fault));
            // A client that is killed ends its thread with an error, which is what it is for.
            std::thread::spawn(move || serve(client, upstream, &count, fault.as_ref()).unwrap_or_default());
        }
    });
    Proxy { port, requests }
}

fn serve(
    mut client: TcpStream,
    upstream: u16,
    count: &AtomicU64,
    fault: &dyn Fn(u64, &[u8]) -> Fault,
) -> std::io::Result<()> {
    let mut server: Option<TcpStream> = None;
    while let Some(request) = message(&mut client)? {
        match fault(count.fetch_add(1, Ordering::SeqCst), &request) {
            Fault::Answer(answer) => {
                client.write_all(answer.as_bytes())?;
                continue;
            }
            other => {
                let server = match &mut server {
                    Some(server) => server,
                    none => none.insert(TcpStream::connect(("127.0.0.1", upstream))?),
                };
                server.write_all(&request)?;
                let answer = message(server)?.unwrap_or_default();
                if matches!(other, Fault::Cut) {
                    return Ok(());
                }
                client.write_all(&answer)?;
            }
        }
    }
    Ok(())
}

/// One message with the body that its length announces.
pub(crate) fn message(stream: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 65_536];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if bytes.len() >= end + 4 + length {
                return Ok(Some(bytes));
            }
        }
        match stream.read(&mut piece)? {
            0 => return Ok(None),
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

/// An answer with a body.
pub(crate) fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
