// SPDX-License-Identifier: Apache-2.0
//! What clients tell of debugging sessions, put into the record. Secrets become markers before that.

use super::Agent;
use crate::control::Reply;
use event::{Body, Event, Screen, Session};

impl Agent {
    /// A session began, ended or was refused.
    pub(super) fn record_session(
        &mut self,
        container: String,
        mut session: Session,
    ) -> anyhow::Result<Reply> {
        let program = session.command.first().cloned().unwrap_or_default();
        self.pipeline.redactor().args(&program, &mut session.command);
        let reply = self.record_of(container, Body::Session(Box::new(session)))?;
        // Nobody works in a container before it is on the disk that somebody does.
        self.commit()?;
        Ok(reply)
    }

    /// A session's terminal showed something.
    pub(super) fn record_screen(&mut self, container: String, mut screen: Screen) -> anyhow::Result<Reply> {
        screen.redacted = self.pipeline.redactor().line(&mut screen.bytes);
        self.record_of(container, Body::Tty(Box::new(screen)))
    }

    fn record_of(&mut self, container: String, body: Body) -> anyhow::Result<Reply> {
        let event = Event { container, ..self.pipeline.clock.event(body) };
        self.line.append(&event)?;
        Ok(Reply::done("recorded"))
    }
}
