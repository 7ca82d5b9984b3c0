// SPDX-License-Identifier: Apache-2.0
//! Asking until there is an answer: waits and tries again while the registry is busy or away, follows where it sends
//! us, and logs in when it wants that. The login stays with the registry, wherever it sends us.

use super::Repository;
use crate::error::{RegistryError, Why};
use crate::http::{Answer, Fault, Request};
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

/// Tries of one request.
const TRIES: u32 = 5;
/// The first wait between two of them; each further one is twice as long, up to the last.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LAST_WAIT: Duration = Duration::from_secs(8);
/// Longest wait that a registry may ask for.
const RETRY_LIMIT: u64 = 60;
/// Most redirections of one request.
const REDIRECTS_LIMIT: usize = 5;
/// What is read of an answer that refuses.
const REFUSAL_LIMIT: u64 = 16 << 10;
/// What is shown of it.
const SHOWN_LIMIT: usize = 200;

impl Repository<'_> {
    /// The answer of the registry, or of where it sends us, once we have logged in.
    pub(super) fn ask(&mut self, request: &Request<'_>) -> Result<Answer, RegistryError> {
        let answer = self.follow(request)?;
        if answer.head.status != 401 {
            return Ok(answer);
        }
        if !answer.from.same_place(&self.base) {
            return Ok(answer);
        }
        self.log_in(&answer)?;
        self.client.keep(answer);
        self.follow(request)
    }

    fn follow(&mut self, request: &Request<'_>) -> Result<Answer, RegistryError> {
        let mut request = request.clone();
        for _ in 0..=REDIRECTS_LIMIT {
            request.secret = self.secret.clone().filter(|_| request.url.same_place(&self.base));
            let answer = self.answer(&request)?;
            let moved = matches!(answer.head.status, 301 | 302 | 303 | 307 | 308);
            let Some(location) = answer.head.get("location").filter(|_| moved && request.body.is_empty())
            else {
                return Ok(answer);
            };
            let to = match request.url.join(location) {
                Err(why) => return self.lie(format!("it sends us somewhere else, and {why}")),
                Ok(to) => to,
            };
            if request.url.secure && !to.secure {
                return self.lie(format!("it sends us to {} without encryption", to.host));
            }
            self.client.keep(answer);
            request.url = to;
        }
        self.lie(format!("it sends us on and on, more than {REDIRECTS_LIMIT} times"))
    }

    /// An answer that says something: not that it is busy.
    pub(super) fn answer(&mut self, request: &Request<'_>) -> Result<Answer, RegistryError> {
        let begun = Instant::now();
        let mut tries = 1;
        loop {
            let (why, wait) = match self.client.ask(request) {
                Ok(answer) if matches!(answer.head.status, 429 | 500 | 502 | 503 | 504) => {
                    let wait = answer.head.get("retry-after").and_then(|value| value.parse::<u64>().ok());
                    (format!("it is busy or out of order ({})", answer.head.status), wait)
                }
                Ok(answer) => return Ok(answer),
                Err(Fault::Trouble(why)) => (why, None),
                Err(Fault::Lasting(why)) => return self.lie(why),
                Err(Fault::NoTls(why)) => {
                    return self.lie(format!(
                        "{why}; a registry without TLS is named by insecure in [debug] of the configuration"
                    ));
                }
            };
            // What is elsewhere is called by its name.
            let at = &request.url.host;
            let why = if *at == self.base.host { why } else { format!("{at}: {why}") };
            if let Some(secs) = wait.filter(|secs| *secs > RETRY_LIMIT) {
                return Err(self.fault(Why::Trouble(format!("{why}, and wants us back in {secs} s"))));
            }
            // One that hangs is not waited for as often as one that answers at once.
            if tries == TRIES || begun.elapsed() > 2 * self.settings.patience {
                return Err(self.fault(Why::Trouble(format!("{why}; tried {tries} times"))));
            }
            self.pause(&why, tries, wait.map(Duration::from_secs));
            tries += 1;
        }
    }

    /// Waits before another try.
    pub(super) fn pause(&self, why: &str, tries: u32, wait: Option<Duration>) {
        let wait = wait.unwrap_or((FIRST_WAIT * 2_u32.pow(tries.min(8) - 1)).min(LAST_WAIT));
        (self.settings.note)(&format!("{}: {why}; again in {:.1} s", self.place(), wait.as_secs_f32()));
        thread::sleep(wait);
    }

    /// Why it says no; `what` was asked for.
    pub(super) fn refusal(&self, answer: Answer, what: &str) -> RegistryError {
        let status = answer.head.status;
        let mut bytes = Vec::new();
        // An answer that breaks off has said enough.
        answer.body.take(REFUSAL_LIMIT).read_to_end(&mut bytes).map(drop).unwrap_or_default();
        let said = serde_json::from_slice::<serde_json::Value>(&bytes).ok().and_then(|document| {
            let first = document.get("errors")?.get(0)?;
            let word = |key: &str| first.get(key)?.as_str().map(str::to_string);
            word("message").filter(|message| !message.is_empty()).or_else(|| word("code"))
        });
        let said: String =
            said.unwrap_or_default().chars().filter(|c| !c.is_control()).take(SHOWN_LIMIT).collect();
        let said = if said.is_empty() { format!("({status})") } else { format!("({status}: {said})") };
        let host = &self.reference.registry;
        self.fault(match status {
            404 => Why::Absent(format!("{what} {said}")),
            401 if !matches!(self.login, Some(Some(_))) => Why::Denied(format!(
                "it wants a login {said}; log in with docker login {host} or podman login {host}"
            )),
            401 | 403 => Why::Denied(format!("our login may not have {what} {said}")),
            _ => Why::Lie(format!("asked for {what}, it answers what no registry should {said}")),
        })
    }
}
