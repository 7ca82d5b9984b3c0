// SPDX-License-Identifier: Apache-2.0
//! What sinks ask of the agent and are told by it: notices for the record, and orders.

use super::{Agent, count_gap};
use crate::command::say;
use crate::config::Sink;
use crate::control::{Answer, Reply, RewindTo};
use crate::sinks::{Sinks, Told};
use event::{Gap, GapCause};
use ship::{CANARY, Notice, Order};
use std::path::Path;
use std::time::{Duration, Instant};

/// Time that sinks have to send what is committed when the agent ends.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Agent {
    /// Puts what sinks have to tell into the record; they go on once it is committed.
    pub(super) fn take_notices(&mut self) -> anyhow::Result<()> {
        while let Some(Told { sink, notice, done }) = self.sinks.notice() {
            let committed = !self.full && {
                self.record_notice(&sink, notice)?;
                self.commit()?
            };
            // A sink that waits no longer tells it again.
            done.try_send(committed).unwrap_or_default();
        }
        Ok(())
    }

    fn record_notice(&mut self, sink: &str, notice: Notice) -> anyhow::Result<()> {
        match notice {
            Notice::Missing { first, last } => {
                let event = self.pipeline.gap(Gap {
                    cause: GapCause::Unsent,
                    count: last.saturating_sub(first) + 1,
                    cpu: u32::MAX,
                    detail: format!("sink {sink}: events {first} to {last}"),
                    ..Gap::default()
                });
                count_gap(&mut self.gaps, &event);
                self.line.append(&event)
            }
            Notice::Dead { count, first, reason } => {
                let events = if count == 1 { "1 event".to_string() } else { format!("{count} events") };
                let told = format!("sink {sink} set {events} aside, first event {first}: {reason}");
                say(&format!("purser: {told}"));
                self.tell("sink_dead", told)
            }
            Notice::Rejected { count, first, last, reason } => self.tell(
                "sink_rejected",
                format!(
                    "the receiver of sink {sink} refused {count} of the events {first} to {last} and does not \
                     say which: {reason}; the store still has them"
                ),
            ),
            Notice::Ahead { cursor, end } => self.tell(
                "sink_ahead",
                format!(
                    "sink {sink} had sent events before {cursor}, and the store ends before {end}: it lost the \
                     others; the sink goes on with event {end}"
                ),
            ),
        }
    }

    /// Records a canary when one is due. It is an event like all others, so that nothing about order,
    /// numbers and cursors is different for it.
    pub(super) fn send_canary(&mut self) -> anyhow::Result<()> {
        let every = |sink: &Sink| sink.common.canary.secs().map(Duration::from_secs);
        let Some(shortest) = self.config.sinks.values().filter_map(every).min() else { return Ok(()) };
        if self.canary_at.elapsed() < shortest {
            return Ok(());
        }
        self.canary_at = Instant::now();
        self.tell(CANARY, "measures the way to the sinks; nothing happened".to_string())
    }

    pub(super) fn pause_sink(&mut self, name: &str) -> anyhow::Result<Reply> {
        if let Err(error) = self.sinks.order(name, Order::Pause) {
            return Ok(Reply::failed(error));
        }
        self.tell("sink_pause", format!("sink {name} paused"))?;
        Ok(Reply::done(format!("sink {name} is paused; purser sink resume {name} goes on")))
    }

    pub(super) fn resume_sink(&mut self, name: &str) -> anyhow::Result<Reply> {
        if let Err(error) = self.sinks.order(name, Order::Resume) {
            return Ok(Reply::failed(error));
        }
        self.tell("sink_resume", format!("sink {name} resumed"))?;
        Ok(Reply::done(format!("sink {name} goes on")))
    }

    /// The sink answers itself, when it has moved.
    pub(super) fn rewind_sink(&mut self, name: &str, to: RewindTo, answer: Answer) {
        // What is refused has not happened and leaves no event.
        if let Err(error) = self.sinks.can_go_to(name, to) {
            answer.give(Reply::failed(error));
            return;
        }
        if let Err(error) = self.tell("sink_rewind", format!("sink {name} is to go on at {}", words(to))) {
            answer.give(Reply::failed(format!("{error:#}")));
            return;
        }
        let sink = name.to_string();
        let answer = std::sync::Mutex::new(Some(answer));
        let give = move |reply: Reply| {
            let answer = answer.lock().ok().and_then(|mut answer| answer.take());
            if let Some(answer) = answer {
                answer.give(reply);
            }
        };
        let give = std::sync::Arc::new(give);
        let later = std::sync::Arc::clone(&give);
        let told = Order::Rewind(
            place(to),
            Box::new(move |moved| {
                later(match moved {
                    Ok(next) => Reply::done(format!("sink {sink} goes on with event {next}")),
                    Err(error) => Reply::failed(error),
                });
            }),
        );
        if let Err(error) = self.sinks.order(name, told) {
            give(Reply::failed(error));
        }
    }

    pub(super) fn end_sinks(&mut self) {
        let none = Sinks::new(Path::new(""), || ());
        std::mem::replace(&mut self.sinks, none).end(LAST_WORDS);
    }
}

fn place(to: RewindTo) -> ship::RewindTo {
    match to {
        RewindTo::Start => ship::RewindTo::Start,
        RewindTo::End => ship::RewindTo::End,
        RewindTo::Sequence(sequence) => ship::RewindTo::Sequence(sequence),
        RewindTo::TimeNs(time) => ship::RewindTo::TimeNs(time),
    }
}

fn words(to: RewindTo) -> String {
    match to {
        RewindTo::Start => "the start of the store".to_string(),
        RewindTo::End => "the end of the store".to_string(),
        RewindTo::Sequence(sequence) => format!("event {sequence}"),
        RewindTo::TimeNs(time) => event::document::rfc3339(time),
    }
}
