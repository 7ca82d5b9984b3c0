// SPDX-License-Identifier: Apache-2.0
//! The tags of sessions and of what their terminals showed.

use super::field::Put;
use crate::{Screen, Session, SessionAction};

const ACTION: u32 = 100;
const ID: u32 = 101;
const UID: u32 = 102;
const USER: u32 = 103;
const FROM: u32 = 104;
const TARGET: u32 = 105;
const KIT: u32 = 106;
const CAPABILITIES: u32 = 107;
const COMMAND: u32 = 108;
const REASON: u32 = 109;
const DETAIL: u32 = 110;
const CODE: u32 = 111;
const DURATION: u32 = 112;

const SCREEN_SESSION: u32 = 120;
const ELAPSED: u32 = 121;
const SCREEN_BYTES: u32 = 122;
const COLUMNS: u32 = 123;
const ROWS: u32 = 124;
const DROPPED: u32 = 125;
const REDACTED: u32 = 126;

pub(super) fn put_session(session: &Session, out: &mut Vec<u8>) {
    out.number(ACTION, session.action as u64);
    out.text(ID, &session.id);
    out.number(UID, session.uid.into());
    out.text(USER, &session.user);
    out.text(FROM, &session.from);
    out.text(TARGET, &session.target);
    session.kits.iter().for_each(|kit| out.item(KIT, kit.as_bytes()));
    out.number(CAPABILITIES, session.capabilities);
    session.command.iter().for_each(|word| out.item(COMMAND, word));
    out.text(REASON, &session.reason);
    out.text(DETAIL, &session.detail);
    out.number(CODE, session.code.into());
    out.number(DURATION, session.duration_ns);
}

pub(super) fn put_screen(screen: &Screen, out: &mut Vec<u8>) {
    out.text(SCREEN_SESSION, &screen.session);
    out.number(ELAPSED, screen.elapsed_ns);
    out.bytes(SCREEN_BYTES, &screen.bytes);
    out.number(COLUMNS, screen.columns.into());
    out.number(ROWS, screen.rows.into());
    out.number(DROPPED, screen.dropped);
    out.number(REDACTED, screen.redacted.into());
}

// As for other numbers, the casts cut what `put_…` never wrote.
pub(super) fn take_number(session: &mut Session, screen: &mut Screen, number: u32, value: u64) {
    match number {
        ACTION => {
            let known = usize::try_from(value).ok().and_then(|action| SessionAction::ALL.get(action));
            session.action = known.copied().unwrap_or_default();
        }
        UID => session.uid = value as u32,
        CAPABILITIES => session.capabilities = value,
        CODE => session.code = value as u8,
        DURATION => session.duration_ns = value,
        ELAPSED => screen.elapsed_ns = value,
        COLUMNS => screen.columns = value as u32,
        ROWS => screen.rows = value as u32,
        DROPPED => screen.dropped = value,
        REDACTED => screen.redacted = value as u32,
        _ => {}
    }
}

pub(super) fn take_bytes(session: &mut Session, screen: &mut Screen, number: u32, value: &[u8]) {
    let text = || String::from_utf8_lossy(value).into_owned();
    match number {
        ID => session.id = text(),
        USER => session.user = text(),
        FROM => session.from = text(),
        TARGET => session.target = text(),
        KIT => session.kits.push(text()),
        COMMAND => session.command.push(value.to_vec()),
        REASON => session.reason = text(),
        DETAIL => session.detail = text(),
        SCREEN_SESSION => screen.session = text(),
        SCREEN_BYTES => screen.bytes = value.to_vec(),
        _ => {}
    }
}
