// SPDX-License-Identifier: Apache-2.0
//! What a daemon elsewhere says: each part of the input is the answer to what is asked on one connection. Whatever it
//! is, the question has an end.
#![no_main]

use docker::{Daemon, Host, Taken};
use libfuzzer_sys::fuzz_target;
use std::collections::VecDeque;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

const BETWEEN: &[u8] = b"\n==\n";
/// Far more than an answer takes that is in memory already.
const PATIENCE: Duration = Duration::from_secs(5);

static ANSWERS: Mutex<VecDeque<Vec<u8>>> = Mutex::new(VecDeque::new());
static HOST: OnceLock<Host> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let host = HOST.get_or_init(daemon);
    let text = String::from_utf8_lossy(data);
    if let Ok(host) = text.parse::<Host>() {
        assert_eq!(host.to_string().parse::<Host>().ok(), Some(host), "a host that is another when shown");
    }
    *ANSWERS.lock().expect("nobody panics with it") = parts(data);
    let Ok(mut daemon) = Daemon::connect(host, &[], PATIENCE) else { return };
    if let Ok(about) = daemon.about() {
        assert!(about.root.len() <= 3 * data.len(), "a path from nowhere");
    }
    daemon.container("web").map(drop).unwrap_or_default();
    daemon.labels("web:1").map(drop).unwrap_or_default();
    let images = daemon.images("purser-debug").unwrap_or_default();
    assert!(images.iter().all(|(name, _)| name.starts_with("purser-debug:")), "{images:?}");
    daemon.containers("a", &["created"]).map(drop).unwrap_or_default();
    daemon.remove("c").unwrap_or_default();
    let Ok(mut attached) = daemon.attach("c") else { return };
    let mut taken = 0;
    while let Ok(Taken::Bytes(_, bytes)) = attached.take() {
        taken += bytes.len();
    }
    assert!(taken <= data.len(), "bytes from nowhere");
});

fn parts(mut data: &[u8]) -> VecDeque<Vec<u8>> {
    let mut found = VecDeque::new();
    while let Some(at) = data.windows(BETWEEN.len()).position(|part| part == BETWEEN) {
        found.push_back(data[..at].to_vec());
        data = &data[at + BETWEEN.len()..];
    }
    found.push_back(data.to_vec());
    found
}

/// Says what it is told to and hangs up, for ever.
fn daemon() -> Host {
    // As in every program of Rust's, and not in a fuzzer: a closed connection is an error and no signal.
    signal_hook::flag::register(signal_hook::consts::SIGPIPE, Arc::default())
        .expect("a signal can be caught");
    let path = std::env::temp_dir().join("daemon.sock");
    let listener = UnixListener::bind(&path).expect("a socket can be bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let answer = ANSWERS.lock().expect("nobody panics with it").pop_front().unwrap_or_default();
            // Who asked may have heard enough.
            stream.write_all(&answer).unwrap_or_default();
            stream.shutdown(Shutdown::Write).unwrap_or_default();
            std::io::copy(&mut stream, &mut std::io::sink()).map(drop).unwrap_or_default();
        }
    });
    format!("unix://{}", path.display()).parse().expect("a host")
}
