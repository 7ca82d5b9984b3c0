// SPDX-License-Identifier: Apache-2.0
//! `/metrics` and `/healthz` over HTTP, on a loopback address or a unix socket.
//!
//! A client here is a client of the control socket: it asks the main line as `purser stats` does.
//! So an agent that is stuck is seen as one, and nothing here can hold the main line up.

mod listen;
mod text;

pub use listen::{Listen, ListenError};

use crate::control::{Reply, Request, ask};
use anyhow::Context;
use serde_json::json;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use listen::{Client, Listener};

/// Clients at a time; the next one is turned away.
const CLIENTS_LIMIT: usize = 64;
/// Age up to which an answer is given again: any user of the host may ask, and the main line has more to do.
const FRESH: Duration = Duration::from_millis(500);
/// Longest time for one client's whole request, and again for taking the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest request, bytes.
const REQUEST_BYTES: usize = 8 << 10;
/// Pause when the kernel gives no more connections, as without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the agent that works on `store` for as long as the process lives. `kept` is the socket of the agent
/// before, if somebody kept it. Returns the socket, so that it can be kept for the next one: meanwhile clients
/// wait instead of being turned away.
///
/// # Errors
/// When the address cannot be listened on.
pub(crate) fn start(listen: &Listen, store: &Path, kept: Option<OwnedFd>) -> anyhow::Result<OwnedFd> {
    let opening = || format!("[metrics] listen: opening {listen}");
    let kept = kept.and_then(|socket| Listener::kept(listen, socket));
    let listener = kept.map_or_else(|| Listener::open(listen), Ok).with_context(opening)?;
    let socket = listener.socket().with_context(opening)?;
    let pages =
        Arc::new(Pages { store: store.to_path_buf(), metrics: Mutex::default(), health: Mutex::default() });
    thread::Builder::new().name("metrics".to_string()).spawn(move || serve(&listener, &pages))?;
    Ok(socket)
}

/// The answers, and who is asked for them.
struct Pages {
    store: PathBuf,
    metrics: Page,
    health: Page,
}

type Page = Mutex<Option<(Instant, Answer)>>;

/// The answer of a moment ago, or a new one. One client at a time asks for it; the others wait for that.
fn fresh(page: &Page, ask: impl FnOnce() -> Answer) -> Answer {
    let mut kept = page.lock().unwrap_or_else(PoisonError::into_inner);
    match &*kept {
        Some((since, answer)) if since.elapsed() < FRESH => answer.clone(),
        _ => {
            let answer = ask();
            *kept = Some((Instant::now(), answer.clone()));
            answer
        }
    }
}

fn serve(listener: &Listener, pages: &Arc<Pages>) {
    let clients = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok(mut client) = listener.accept() else {
            thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        if clients.load(Ordering::Relaxed) >= CLIENTS_LIMIT {
            // It fits into the socket, whether anybody reads it or not.
            client.write_all(&Answer::text(503, "too many clients\n").to_bytes()).unwrap_or_default();
            continue;
        }
        clients.fetch_add(1, Ordering::Relaxed);
        let (pages, counted) = (Arc::clone(pages), Counted(Arc::clone(&clients)));
        let thread = thread::Builder::new().name("metrics-client".to_string());
        // Without a thread the client is turned away, and no longer counted.
        drop(thread.spawn(move || {
            let _counted = counted;
            // A client that goes away or dawdles has only itself to answer for.
            talk(client, &pages).unwrap_or_default();
        }));
    }
}

/// One client at work.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn talk(mut client: Client, pages: &Pages) -> std::io::Result<()> {
    let answer = match read_head(&mut client)? {
        Some(head) => answer(&head, pages),
        None => Answer::text(400, "not an HTTP request\n"),
    };
    client.patience(PATIENCE)?;
    client.write_all(&answer.to_bytes())
}

/// The first line of the request, once all of its head is there.
fn read_head(client: &mut Client) -> std::io::Result<Option<String>> {
    let deadline = Instant::now() + PATIENCE;
    let mut bytes = Vec::new();
    let mut piece = [0; 1024];
    loop {
        client.patience(deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)))?;
        let length = client.read(&mut piece)?;
        bytes.extend_from_slice(piece.get(..length).unwrap_or_default());
        let whole = bytes.windows(4).any(|end| end == b"\r\n\r\n");
        if whole {
            let line = bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
            return Ok(std::str::from_utf8(line).ok().map(str::to_string));
        }
        if length == 0 || bytes.len() > REQUEST_BYTES || Instant::now() >= deadline {
            return Ok(None);
        }
    }
}

#[derive(Clone, Debug)]
struct Answer {
    code: u16,
    content: &'static str,
    body: String,
}

impl Answer {
    fn text(code: u16, body: &str) -> Answer {
        Answer { code, content: "text/plain; charset=utf-8", body: body.to_string() }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let word = match self.code {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            _ => "Service Unavailable",
        };
        format!(
            "HTTP/1.1 {} {word}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
            self.code,
            self.content,
            self.body.len(),
            self.body
        )
        .into_bytes()
    }
}

fn answer(request: &str, pages: &Pages) -> Answer {
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if method != "GET" {
        return Answer::text(405, "only GET\n");
    }
    match path.split('?').next() {
        Some("/metrics") => fresh(&pages.metrics, || metrics(&pages.store)),
        Some("/healthz") => fresh(&pages.health, || health(&pages.store)),
        _ => Answer::text(404, "there are /metrics and /healthz\n"),
    }
}

fn metrics(store: &Path) -> Answer {
    let asked = || -> Result<(Reply, Reply, Reply), crate::control::ControlError> {
        Ok((ask(store, &Request::Status)?, ask(store, &Request::Stats)?, ask(store, &Request::SinkList)?))
    };
    match asked() {
        Ok((status, stats, sinks)) => Answer {
            code: 200,
            content: "text/plain; version=0.0.4; charset=utf-8",
            body: text::render(
                &status.status.unwrap_or_default(),
                &stats.stats.unwrap_or_default(),
                &sinks.sinks.unwrap_or_default(),
            ),
        },
        Err(error) => Answer::text(503, &format!("{error}\n")),
    }
}

/// 200 while the main line answers and events reach the disk, else 503 with the reason.
fn health(store: &Path) -> Answer {
    let problem = match ask(store, &Request::Status) {
        Err(error) => Some(error.to_string()),
        Ok(reply) if reply.status.as_ref().is_some_and(|status| status.disk_full) => {
            Some("no space left for the store; events wait in the kernel's rings".to_string())
        }
        Ok(_) => None,
    };
    let (code, word) = if problem.is_none() { (200, "ok") } else { (503, "failing") };
    Answer {
        code,
        content: "application/json",
        body: json!({"status": word, "problem": problem}).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Page, Pages, answer, fresh};
    use std::path::PathBuf;
    use std::sync::Mutex;

    #[test]
    fn only_what_is_there_is_answered() {
        let store = PathBuf::from("/nonexistent");
        let nowhere = Pages { store, metrics: Mutex::default(), health: Mutex::default() };
        let code = |request| answer(request, &nowhere).code;
        assert_eq!(code("POST /metrics HTTP/1.1"), 405);
        assert_eq!(code("GET / HTTP/1.1"), 404);
        assert_eq!(code(""), 405);
        let dead = answer("GET /healthz HTTP/1.1", &nowhere);
        assert_eq!(dead.code, 503);
        assert!(dead.body.contains("no agent is running"), "{}", dead.body);
        assert!(dead.to_bytes().starts_with(b"HTTP/1.1 503 Service Unavailable\r\n"));
    }

    #[test]
    fn many_clients_ask_the_agent_once() {
        let page: Page = Mutex::default();
        let asked = Mutex::new(0);
        std::thread::scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| {
                    fresh(&page, || {
                        *asked.lock().unwrap() += 1;
                        Answer::text(200, "fine")
                    })
                });
            }
        });
        // A machine that is very slow may let it grow old in between.
        assert!(*asked.lock().unwrap() < 10);
    }
}
