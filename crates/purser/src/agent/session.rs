// SPDX-License-Identifier: Apache-2.0
//! What clients tell of debugging sessions, put into the record. Secrets become markers before that.

use super::Agent;
use crate::control::Reply;
use anyhow::Context;
use event::{Body, Event, codec};

impl Agent {
    /// A session began, ended or was refused, or its terminal showed something.
    pub(super) fn record_told(&mut self, told: &[u8]) -> anyhow::Result<Reply> {
        let mut told = codec::decode(told).context("the event of a session")?;
        let redactor = self.pipeline.redactor();
        match &mut told.body {
            Body::Session(session) => {
                let program = session.command.first().cloned().unwrap_or_default();
                redactor.args(&program, &mut session.command);
                for text in [&mut session.reason, &mut session.detail, &mut session.target] {
                    let mut bytes = std::mem::take(text).into_bytes();
                    redactor.line(&mut bytes);
                    *text = String::from_utf8_lossy(&bytes).into_owned();
                }
            }
            Body::Tty(screen) => screen.redacted = redactor.line(&mut screen.bytes),
            _ => return Ok(Reply::failed("only sessions and what their terminals showed are taken")),
        }
        let is_session = matches!(told.body, Body::Session(_));
        let event = Event { container: told.container, ..self.pipeline.clock.event(told.body) };
        self.line.append(&event)?;
        // Nobody works in a container before it is on the disk that somebody does.
        if is_session && !self.commit()? {
            return Ok(Reply::failed("the disk is full, so this waits to be recorded"));
        }
        Ok(Reply::done("recorded"))
    }
}
