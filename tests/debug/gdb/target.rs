// SPDX-License-Identifier: Apache-2.0
//! What the debugger is tried on: two threads of Rust, one that counts, and the first one, parked below generic code.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

thread_local! {
    static COUNTER: Cell<u64> = const { Cell::new(42) };
}

struct Job<T> {
    what: T,
}

impl<T: Fn()> Job<T> {
    #[inline(never)]
    fn run(&self) {
        loop {
            (self.what)();
        }
    }
}

fn main() {
    let counting = || {
        loop {
            COUNTER.with(|counter| counter.set(counter.get() + 1));
            thread::sleep(Duration::from_millis(2));
        }
    };
    let thread = thread::Builder::new().name("counting".to_owned()).spawn(counting);
    assert!(thread.is_ok());
    Job { what: || thread::sleep(Duration::from_secs(1000)) }.run();
}
