// SPDX-License-Identifier: Apache-2.0
//! A relay before a server on loopback whose connections can be left half open: both ends keep theirs, and
//! nothing passes any more, as behind a firewall that forgot them. It knows nothing of what passes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Result;

pub(crate) struct Gate {
    pub(crate) port: u16,
    /// Connections made before the last one was deafened are of an earlier number.
    age: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Gate {
    /// Opens one before `server`, until the process ends.
    pub(crate) fn open(server: u16) -> Result<Gate> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let gate = Gate { port: listener.local_addr()?.port(), age: Arc::default(), open: Arc::default() };
        let (age, open) = (Arc::clone(&gate.age), Arc::clone(&gate.open));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Without a server the client's connection ends at once.
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let here = age.load(Ordering::SeqCst);
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
                    let (age, open) = (Arc::clone(&age), Arc::clone(&open));
                    thread::spawn(move || {
                        open.fetch_add(1, Ordering::SeqCst);
                        pass(&from, &to, || age.load(Ordering::SeqCst) == here);
                        open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            }
        });
        Ok(gate)
    }

    /// Leaves the connections there are half open; new ones pass. How many there were.
    pub(crate) fn deafen(&self) -> usize {
        self.age.fetch_add(1, Ordering::SeqCst);
        self.open.load(Ordering::SeqCst) / 2
    }
}

/// Hands on what comes; what comes after the gate was deafened is swallowed, an end of it too.
fn pass(mut from: &TcpStream, mut to: &TcpStream, heard: impl Fn() -> bool) {
    let mut piece = vec![0; 65_536];
    while let Ok(len @ 1..) = from.read(&mut piece) {
        if heard() && to.write_all(&piece[..len]).is_err() {
            break;
        }
    }
    if heard() {
        // The other end may be gone already.
        to.shutdown(Shutdown::Both).unwrap_or_default();
    }
}
