// SPDX-License-Identifier: Apache-2.0
//! What is said to people, on standard error. An agent says it through a thread: whoever reads there may have
//! stopped reading, and recording does not wait for that.

use crate::table::harmless;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Messages that may wait for the one who reads.
const WAITING_LIMIT: usize = 256;
/// Time for the last words at the end.
const LAST_WORDS: Duration = Duration::from_millis(500);

static ASIDE: OnceLock<SyncSender<Said>> = OnceLock::new();
/// Messages that found no room.
static LOST: AtomicU64 = AtomicU64::new(0);

enum Said {
    Text(String),
    /// To be answered once everything before it is written.
    Flush(SyncSender<()>),
}

/// From now on nobody waits for standard error.
///
/// # Errors
/// When the kernel gives no thread.
pub(crate) fn aside() -> io::Result<()> {
    let (sender, said) = sync_channel(WAITING_LIMIT);
    thread::Builder::new().name("talk".to_string()).spawn(move || pass_on(&said))?;
    // Once for a process.
    ASIDE.set(sender).unwrap_or_default();
    Ok(())
}

fn pass_on(said: &Receiver<Said>) {
    for said in said {
        match said {
            Said::Text(text) => {
                let lost = LOST.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    write(&format!("purser: {lost} messages were not written, because nobody read them"));
                }
                write(&text);
            }
            // Who asked may have stopped waiting.
            Said::Flush(done) => done.try_send(()).unwrap_or_default(),
        }
    }
}

/// Talk goes to stderr. When even that fails there is nobody left to tell.
pub(crate) fn say(text: &str) {
    let text = harmless_lines(text);
    match ASIDE.get() {
        None => write(&text),
        Some(aside) if aside.try_send(Said::Text(text)).is_err() => {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        Some(_) => {}
    }
}

/// Waits a moment until what was said is written: the process is about to end.
pub(super) fn flush() {
    let Some(aside) = ASIDE.get() else { return };
    let (done, answer) = sync_channel(1);
    if aside.try_send(Said::Flush(done)).is_ok() {
        // A reader that does not read is not waited for.
        answer.recv_timeout(LAST_WORDS).unwrap_or_default();
    }
}

fn write(text: &str) {
    writeln!(io::stderr().lock(), "{text}").unwrap_or_default();
}

/// Messages may carry names that are not ours; their own line ends stay.
fn harmless_lines(text: &str) -> String {
    text.split('\n').map(harmless).collect::<Vec<_>>().join("\n")
}
