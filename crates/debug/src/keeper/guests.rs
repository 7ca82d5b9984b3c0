// SPDX-License-Identifier: Apache-2.0
//! The keeper's socket in the file system, and what is asked there: attach, describe, end. Root only, by the
//! directory it is in.

use super::{Client, Keeper};
use crate::link::{Kind, Link, Message, Received};
use crate::sessions::{Session, socket_path, unready_path};
use crate::spec::{Failure, Window};
use crate::terminal::Saved;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};
use rustix::process::getpid;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The most who may be connected and have not said anything.
const GUESTS_LIMIT: usize = 16;

/// Where others knock.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) listener: OwnedFd,
    path: PathBuf,
    pub(super) guests: Vec<Link>,
}

impl Door {
    pub(super) fn make(directory: &Path, id: &str) -> io::Result<Door> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let path = socket_path(directory, id);
        let listener = socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        // Under its name it is open from the first moment: one that refuses is taken for left behind.
        let unready = unready_path(directory, id, getpid());
        bind(&listener, &SocketAddrUnix::new(&unready)?)?;
        let opened = listen(&listener, i32::try_from(GUESTS_LIMIT).unwrap_or(1))
            .map_err(io::Error::from)
            .and_then(|()| {
                // Another one that is called so keeps its name.
                Ok(renameat_with(CWD, &unready, CWD, &path, RenameFlags::NOREPLACE)?)
            });
        if let Err(error) = opened {
            fs::remove_file(&unready).unwrap_or_default();
            return Err(error);
        }
        Ok(Door { listener, path, guests: Vec::new() })
    }

    /// Lets in who knocks and hears who has something to say.
    pub(super) fn open(&mut self, is_news: bool) -> Vec<(Link, Message)> {
        if !is_news {
            return Vec::new();
        }
        while let Ok(guest) = accept_with(&self.listener, SocketFlags::CLOEXEC) {
            if self.guests.len() < GUESTS_LIMIT {
                self.guests.push(Link::from(guest));
            }
        }
        let mut heard = Vec::new();
        for guest in std::mem::take(&mut self.guests) {
            match guest.take() {
                Received::Message(message) => heard.push((guest, message)),
                Received::Nothing => self.guests.push(guest),
                Received::Closed => {}
            }
        }
        heard
    }

    /// Nobody finds it any more.
    pub(super) fn close(&mut self) {
        // Somebody may have cleaned up already.
        fs::remove_file(&self.path).unwrap_or_default();
    }

    /// In the warden: closes the descriptors and leaves the file alone.
    pub(super) fn leave(self) {
        let Door { listener, path: _, guests } = self;
        drop((listener, guests));
    }
}

impl Keeper {
    /// Does what a guest asks.
    pub(super) fn serve(&mut self, (guest, message): (Link, Message)) {
        match message.kind {
            Kind::Describe => {
                let text = serde_json::to_vec(&self.describe()).unwrap_or_default();
                guest.offer(Kind::Described, &text).unwrap_or_default();
            }
            Kind::End => {
                self.ask_end();
                // Hears of the end when this is closed with the last of us.
                self.door.guests.push(guest);
            }
            Kind::Attach => self.attach(guest, message),
            _ => {}
        }
    }

    fn describe(&self) -> Session {
        let command = self.spec.command.iter().map(|word| word.to_string_lossy().into_owned());
        // Bounded, so that it fits a message.
        let command: String = command.collect::<Vec<_>>().join(" ").chars().take(512).collect();
        Session {
            id: self.spec.id.clone(),
            target: self.spec.target.chars().take(256).collect(),
            pid: self.spec.facts.pid,
            command,
            user: self.spec.user.as_ref().map(|user| user.chars().take(256).collect()),
            kits: self.spec.kits.iter().map(|kit| kit.name.clone()).take(64).collect(),
            since_secs: self.spec.since_secs,
            owner: self.spec.owner,
            is_attached: self.client.is_some(),
            has_terminal: self.spec.terminal.is_some(),
        }
    }

    fn attach(&mut self, guest: Link, mut message: Message) {
        let Some(screen) = &mut self.screen else {
            let failure = Failure::ours("this session has no terminal");
            guest.offer(Kind::Failed, &failure.payload()).unwrap_or_default();
            return;
        };
        let saved = message.descriptors.pop().and_then(|terminal| Saved::of(terminal).ok());
        if guest.offer(Kind::Started, b"").is_err() {
            return;
        }
        screen.outgoing = screen.shown();
        let window = Window::from_bytes(&message.payload);
        if let Some(old) = self.client.replace(Client { link: guest, saved }) {
            // It puts its terminal back itself when it hears this.
            old.link.offer_last(Kind::Replaced, b"").unwrap_or_default();
            old.saved.into_iter().for_each(Saved::forget);
        }
        self.redraw(window);
    }
}
