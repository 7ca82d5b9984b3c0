// SPDX-License-Identifier: Apache-2.0
//! The thread of a line: takes turns, sleeps between them, and follows orders at once.

use crate::line::{Line, Turn};
use crate::status::{State, Status};
use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Orders that may wait for the line.
const ORDERS_LIMIT: usize = 16;
/// Longest wait for events before orders are looked for.
const PATIENCE: Duration = Duration::from_millis(200);
/// Time between tries to set a sink up.
const SET_UP: Duration = Duration::from_secs(10);
/// Longest sleep without a reason to wake.
const LOOK: Duration = Duration::from_secs(1);

/// Where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RewindTo {
    /// The oldest event there is.
    Start,
    /// The next event to come.
    End,
    /// This event.
    Sequence(u64),
    /// The first event not before this time, ns since 1970.
    TimeNs(u64),
}

/// What a line can be told.
pub enum Order {
    /// Send nothing until told otherwise.
    Pause,
    /// Go on, and try again at once what failed.
    Resume,
    /// Go on elsewhere; the answer is the sequence.
    Rewind(RewindTo, Box<dyn FnOnce(Result<u64, String>) + Send>),
    /// End: at once, or after what is committed was sent, at most after this time.
    Stop(Duration),
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Order::Pause => "Pause",
            Order::Resume => "Resume",
            Order::Rewind(..) => "Rewind",
            Order::Stop(_) => "Stop",
        })
    }
}

/// A line at work.
#[derive(Debug)]
pub struct Runner {
    orders: SyncSender<Order>,
    thread: JoinHandle<()>,
}

/// Makes a line; the error is in words, and it is called again later.
pub type Make = Box<dyn FnMut() -> Result<Line, String> + Send>;

impl Runner {
    /// Starts a thread called `name` that makes a line and runs it. `make` may wait for the end of
    /// another runner. While there is no line yet, `status` tells why.
    ///
    /// # Errors
    /// When the kernel gives no thread.
    pub fn start(name: &str, status: Arc<Mutex<Status>>, make: Make) -> io::Result<Runner> {
        let (orders, ordered) = sync_channel(ORDERS_LIMIT);
        let work = Work { make, line: None, status, paused: false, until: None };
        let thread = thread::Builder::new().name(name.to_string()).spawn(move || work.run(&ordered))?;
        Ok(Runner { orders, thread })
    }

    /// Gives an order without waiting. False when the line has ended or does not listen.
    pub fn order(&self, order: Order) -> bool {
        match self.orders.try_send(order) {
            Ok(()) => true,
            Err(TrySendError::Full(order) | TrySendError::Disconnected(order)) => {
                if let Order::Rewind(_, answer) = order {
                    answer(Err("the sink does not listen; purser sink ls tells its state".to_string()));
                }
                false
            }
        }
    }

    /// Whether the thread has ended.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the thread's end. A line that is waiting for a receiver takes a second or two.
    pub fn join(self) {
        drop(self.orders);
        // A panic was printed where it happened; the cursor is safe whatever the thread did.
        self.thread.join().unwrap_or_default();
    }
}

struct Work {
    make: Make,
    line: Option<Line>,
    status: Arc<Mutex<Status>>,
    paused: bool,
    /// When to end.
    until: Option<Instant>,
}

impl Work {
    fn run(mut self, orders: &Receiver<Order>) {
        let mut wait = Duration::ZERO;
        loop {
            match next(orders, wait) {
                Ok(Some(order)) => {
                    self.follow(order);
                    wait = Duration::ZERO;
                    continue;
                }
                Ok(None) => {}
                // The agent is gone without a word.
                Err(()) => self.until = Some(Instant::now()),
            }
            if self.is_over() {
                break;
            }
            wait = self.turn();
        }
        if let Some(line) = &mut self.line {
            line.end();
        }
    }

    fn is_over(&self) -> bool {
        let Some(until) = self.until else { return false };
        let done = self.line.as_ref().is_none_or(Line::is_caught_up);
        self.paused || done || Instant::now() >= until
    }

    /// One turn; how long to wait for orders before the next.
    fn turn(&mut self) -> Duration {
        let patience = if self.until.is_some() { Duration::ZERO } else { PATIENCE };
        let Some(line) = &mut self.line else { return self.set_up() };
        if self.paused {
            // What waits grows older meanwhile.
            line.show(State::Paused);
            return LOOK;
        }
        match line.turn(patience) {
            Turn::Again => Duration::ZERO,
            Turn::Idle if self.until.is_some() => Duration::from_millis(10),
            Turn::Idle => Duration::ZERO,
            Turn::Wait(wait) => match self.until {
                Some(until) => wait.min(until.saturating_duration_since(Instant::now())),
                None => wait,
            },
        }
    }

    fn set_up(&mut self) -> Duration {
        match (self.make)() {
            Ok(line) => {
                self.line = Some(line);
                if self.paused {
                    self.show(State::Paused);
                }
                Duration::ZERO
            }
            Err(error) => {
                let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
                status.state = State::Refused;
                status.error = Some(error);
                SET_UP
            }
        }
    }

    fn show(&mut self, state: State) {
        if let Some(line) = &mut self.line {
            line.show(state);
        }
    }

    fn follow(&mut self, order: Order) {
        match order {
            Order::Pause => {
                self.paused = true;
                self.show(State::Paused);
            }
            Order::Resume => {
                self.paused = false;
                if let Some(line) = &mut self.line {
                    line.ask_again();
                }
                self.show(State::Running);
            }
            Order::Rewind(to, answer) => {
                let result = self.rewind(to);
                if self.paused {
                    self.show(State::Paused);
                }
                answer(result);
            }
            Order::Stop(patience) => self.until = Some(Instant::now() + patience),
        }
    }

    fn rewind(&mut self, to: RewindTo) -> Result<u64, String> {
        let Some(line) = &mut self.line else { return Err("the sink is not set up yet".to_string()) };
        let told = |error: crate::Error| error.to_string();
        let next = match to {
            RewindTo::Start => line.oldest().map_err(told)?,
            RewindTo::End => line.head(),
            RewindTo::Sequence(sequence) => line.check(sequence).map_err(told)?,
            RewindTo::TimeNs(time) => line.sequence_at(time).map_err(told)?,
        };
        line.rewind(next).map_err(told)?;
        Ok(next)
    }
}

/// The next order, `None` when none comes within `wait`; an error when nobody can give one.
fn next(orders: &Receiver<Order>, wait: Duration) -> Result<Option<Order>, ()> {
    match orders.recv_timeout(wait) {
        Ok(order) => Ok(Some(order)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => Err(()),
    }
}
