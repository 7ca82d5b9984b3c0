// SPDX-License-Identifier: Apache-2.0
//! Somebody who asks for the agent's health all the time, from outside of the machine.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

/// Longer than any agent takes to come back.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

/// What came of the questions.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) answered: u32,
    /// The agent that had taken the question died with it.
    pub(crate) cut: u32,
    /// Nobody listened.
    pub(crate) turned_away: Vec<String>,
}

pub(crate) struct Scrapes {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Asked>,
}

impl Scrapes {
    pub(crate) fn start(socket: PathBuf) -> Scrapes {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let thread = spawn(move || {
            let mut asked = Asked::default();
            while !is_over.load(Ordering::Relaxed) {
                match UnixStream::connect(&socket).map(ask) {
                    Err(error) => asked.turned_away.push(error.to_string()),
                    Ok(true) => asked.answered += 1,
                    Ok(false) => asked.cut += 1,
                }
                sleep(PAUSE);
            }
            asked
        });
        Scrapes { over, thread }
    }

    pub(crate) fn end(self) -> Asked {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn ask(mut stream: UnixStream) -> bool {
    let mut answer = || {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text)
    };
    answer().is_ok_and(|text: String| text.starts_with("HTTP/1.1 "))
}
