// SPDX-License-Identifier: Apache-2.0
//! From `[source.NAME]` to the settings of a source.

use crate::config::Source;
use crate::config::{sink, source as config};
use anyhow::anyhow;
use event::line_flags;
use source::{Encoding, From, Json, Multiline, PathGlob, Settings, Side};
use std::time::Duration;

/// What stands for "never".
const EVER: Duration = Duration::from_secs(u32::MAX as u64);
/// Files held open by one source; a part of what the process may.
const OPEN_LIMIT: usize = 4096;

/// Whether it must know which containers there are.
pub(super) fn knows_containers(source: &Source) -> bool {
    source.kind == config::Kind::Container || reads_containers(source)
}

/// Whether it reads inside containers.
pub(crate) fn reads_containers(source: &Source) -> bool {
    source.paths.iter().any(|path| path.starts_with("container:"))
}

/// Bytes of unfinished lines that all sources may hold, and each of them in any case.
const HELD_LIMIT: (usize, usize) = (16 << 20, 1 << 20);

/// One of `count` sources.
pub(super) fn settings(name: &str, source: &Source, count: usize) -> anyhow::Result<Settings> {
    let paths = source.paths.iter().map(|path| PathGlob::new(path)).collect::<Result<_, _>>()?;
    let secs = |age: crate::config::Age| age.secs().map(Duration::from_secs);
    let line = source.max_line_bytes.bytes().and_then(|bytes| usize::try_from(bytes).ok());
    let is_container = source.kind == config::Kind::Container;
    Ok(Settings {
        held_limit: (HELD_LIMIT.0 / count.max(1)).max(HELD_LIMIT.1),
        exclude: match is_container {
            true => super::logs::LEFT_OUT.map(str::to_string).to_vec(),
            false => source.exclude.clone(),
        },
        streams: match source.streams {
            config::Streams::All => 0,
            config::Streams::Stdout => line_flags::STDOUT,
            config::Streams::Stderr => line_flags::STDERR,
        },
        from: match source.from {
            sink::From::Start => From::Start,
            sink::From::End => From::End,
        },
        encoding: match source.encoding {
            config::Encoding::Utf8 => Encoding::Utf8,
            config::Encoding::Utf16Le => Encoding::Utf16Le,
            config::Encoding::Utf16Be => Encoding::Utf16Be,
            config::Encoding::Latin1 => Encoding::Latin1,
        },
        max_line_bytes: line.unwrap_or(1 << 20),
        multiline: source.multiline.as_ref().map(multiline).transpose()?,
        json: source.json.as_ref().map(|json| Json {
            keys_under_root: json.keys_under_root,
            overwrite_keys: json.overwrite_keys,
            add_error_key: json.add_error_key,
            message_key: json.message_key.clone(),
        }),
        scan_every: secs(source.scan_every).unwrap_or(EVER),
        ignore_older: secs(source.ignore_older),
        close_inactive: secs(source.close_inactive).unwrap_or(EVER),
        close_removed: source.close_removed,
        close_renamed: source.close_renamed,
        close_eof: source.close_eof,
        symlinks: source.symlinks,
        open_limit: open_limit(),
        ..Settings::new(name, paths)
    })
}

fn multiline(how: &config::Multiline) -> anyhow::Result<Multiline> {
    Ok(Multiline {
        pattern: source::pattern(&how.pattern).map_err(|error| anyhow!("multiline.pattern: {error}"))?,
        negate: how.negate,
        side: match how.side {
            config::Side::After => Side::After,
            config::Side::Before => Side::Before,
        },
        max_lines: how.max_lines as usize,
        timeout: how.timeout.secs().map_or(EVER, Duration::from_secs),
    })
}

fn open_limit() -> usize {
    let allowed = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(allowed / 4).unwrap_or(OPEN_LIMIT).clamp(16, OPEN_LIMIT)
}
