// SPDX-License-Identifier: Apache-2.0
//! What clients tell of debugging sessions, put into the record. Secrets become markers before that.

use super::{Agent, plain};
use crate::control::{Reply, Text};
use crate::pipeline::is_still;
use anyhow::Context;
use event::{Body, Container, Event, SessionAction, codec};
use std::path::Path;

impl Agent {
    /// A session began, ended or was refused, or its terminal showed something; `more` is what
    /// it showed next, and `who` is the process that tells it.
    pub(super) fn record_told(
        &mut self,
        told: &[u8],
        more: &[Text],
        who: Option<i32>,
    ) -> anyhow::Result<Reply> {
        let mut told = codec::decode(told).context("the event of a session")?;
        if let Body::Session(session) = &told.body
            && session.action == SessionAction::End
            && !self.open.is_first_end(&session.id)
        {
            // Told again by who did not hear the answer, or too late.
            return Ok(Reply::done("recorded already"));
        }
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
            Body::Tty(_) => return self.record_shown(told, more),
            _ => return Ok(Reply::failed("only sessions and what their terminals showed are taken")),
        }
        let event = Event { container: told.container, ..self.pipeline.clock.event(told.body) };
        self.introduce(&event);
        self.line.append(&event)?;
        self.mind(&event, who);
        // Nobody works in a container before it is on the disk that somebody does.
        if !self.commit()? {
            return Ok(Reply::failed("the disk is full, so this waits to be recorded"));
        }
        Ok(Reply::done("recorded"))
    }

    /// No runtime can be asked what an image or an archive is called, in which a session begins.
    fn introduce(&mut self, event: &Event) {
        let Body::Session(session) = &event.body else { return };
        if event.container.is_empty() || !is_still(&session.target) {
            return;
        }
        let image = session.target.strip_prefix("image:").unwrap_or_default().to_owned();
        let (id, name) = (event.container.clone(), session.target.clone());
        let info = Container { id, name, image, ..Container::default() };
        self.line.store.attach(info.id.as_bytes(), &codec::encode_container(&info));
        self.pipeline.cgroups.introduce(info);
    }

    /// What a terminal showed, piece by piece, unless there is a secret in it: then it is one piece.
    fn record_shown(&mut self, first: Event, more: &[Text]) -> anyhow::Result<Reply> {
        let container = first.container.clone();
        let mut pieces = Vec::new();
        let more = more.iter().map(|told| codec::decode(&told.0).context("what a terminal showed next"));
        for event in std::iter::once(Ok(first)).chain(more) {
            let Body::Tty(screen) = event?.body else {
                return Ok(Reply::failed("only more of what a terminal showed goes together"));
            };
            pieces.push(*screen);
        }
        let redactor = self.pipeline.redactor();
        for screen in plain::without_secrets(pieces, |text| redactor.line(text)) {
            let event = self.pipeline.clock.event(Body::Tty(Box::new(screen)));
            self.line.append(&Event { container: container.clone(), ..event })?;
        }
        Ok(Reply::done("recorded"))
    }

    fn mind(&mut self, event: &Event, who: Option<i32>) {
        let Body::Session(session) = &event.body else { return };
        match session.action {
            SessionAction::Start => self.open.begin(event, who),
            SessionAction::End => self.open.end(&session.id),
            SessionAction::Refused => {}
        }
    }

    /// Tells the end of sessions whose client and keeper were both killed.
    pub(super) fn end_orphans(&mut self) -> anyhow::Result<()> {
        let is_kept = |id: &str| debug::is_kept(Path::new(debug::DIRECTORY), id);
        for mut end in self.open.orphans(is_kept) {
            let Some(start) = self.open.start(&end.id) else { continue };
            let (container, began) = (start.container.clone(), start.time_ns);
            let id = end.id.clone();
            end.duration_ns = self.pipeline.clock.wall_now().saturating_sub(began);
            let event = self.pipeline.clock.event(Body::Session(Box::new(end)));
            self.line.append(&Event { container, ..event })?;
            self.open.end(&id);
        }
        Ok(())
    }
}
