// SPDX-License-Identifier: Apache-2.0
//! What can be taken away from under a running agent: its store directory and its pins. Looked at
//! once a second, because nothing else would tell before it is too late.

use super::Agent;
use crate::command::say;
use crate::control::Notice;
use crate::exit::Exit;
use anyhow::Context;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use store::Writer;

/// What must stay where it is.
#[derive(Debug)]
pub(super) struct Watch {
    store: PathBuf,
    /// Device and inode of the store directory.
    identity: (u64, u64),
    pins: PathBuf,
    pinned: BTreeSet<OsString>,
}

impl Watch {
    pub(super) fn new(store: &Path, pins: PathBuf) -> anyhow::Result<Watch> {
        let identity =
            identity(store).with_context(|| format!("looking at the store {}", store.display()))?;
        let pinned = names(&pins);
        Ok(Watch { store: store.to_path_buf(), identity, pins, pinned })
    }

    /// What happened to the store directory, if anything did.
    fn lost_store(&self) -> Option<&'static str> {
        match identity(&self.store) {
            Ok(now) if now == self.identity => None,
            Ok(_) => Some("another directory stands in its place"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some("it was removed or renamed"),
            // A moment without an answer is no loss; writing will tell.
            Err(_) => None,
        }
    }

    pub(super) fn pins(&self) -> &Path {
        &self.pins
    }

    /// How many pins are gone since the last look, of how many.
    fn lost_pins(&mut self) -> Option<(usize, usize)> {
        let now = names(&self.pins);
        let (gone, all) = (self.pinned.difference(&now).count(), self.pinned.len());
        self.pinned.retain(|name| now.contains(name));
        (gone > 0).then_some((gone, all))
    }
}

fn identity(directory: &Path) -> std::io::Result<(u64, u64)> {
    fs::metadata(directory).map(|metadata| (metadata.dev(), metadata.ino()))
}

fn names(directory: &Path) -> BTreeSet<OsString> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).collect()
}

/// The store directory is not where the agent made it.
#[derive(Debug, thiserror::Error)]
#[error(
    "the store directory {store} is gone while the agent recorded into it: {how}; the kernel side is \
     unloaded and nothing is recorded from now on; start again with: purser run",
    store = store.display()
)]
struct LostStore {
    store: PathBuf,
    how: &'static str,
}

impl Agent {
    /// Fails when the store directory is gone; tells of pins that are.
    pub(super) fn look_around(&mut self) -> anyhow::Result<()> {
        if let Some(how) = self.watch.lost_store() {
            return Err(LostStore { store: self.watch.store.clone(), how }.into());
        }
        if let Some((gone, all)) = self.watch.lost_pins() {
            let notice = Notice {
                what: format!("{gone} of {all} pins in {} were removed", self.watch.pins.display()),
                consequence:
                    "recording goes on only as long as this agent runs: what runs between its end and \
                              the next start will be missing"
                        .to_string(),
                advice: "exchange the agent to pin again: purser stop, purser run".to_string(),
            };
            say(&format!("purser: {notice}"));
            self.tell("pins_removed", notice.to_string())?;
            self.blame(notice.what.clone());
            self.notices.push(notice);
        }
        Ok(())
    }

    /// The loop failed. Without a store nobody could carry on, so the kernel side goes too; else it
    /// stays and goes on recording for the next agent.
    pub(super) fn end_on_failure(self, error: anyhow::Error) -> anyhow::Result<Exit> {
        let store = self.watch.store.clone();
        let Some(how) = self.watch.lost_store() else {
            return Err(error.context(format!(
                "the agent cannot go on; the kernel side still records: carry on with purser run, \
                 or unload it with purser stop --unload --store {}",
                store.display()
            )));
        };
        drop(self.unload()?);
        Err(LostStore { store, how }.into())
    }

    /// Unloads the kernel side, whether its pins are there or not.
    pub(super) fn unload(self) -> anyhow::Result<Writer> {
        let pins = self.watch.pins;
        if pins.exists() {
            self.pipeline.probe.unload().with_context(|| format!("unloading {}", pins.display()))?;
        } else {
            // Links that are not pinned end with their last descriptor.
            drop(self.pipeline);
        }
        Ok(self.line.store)
    }
}

#[cfg(test)]
mod tests {
    use super::Watch;
    use std::fs;

    #[test]
    fn what_is_taken_away_is_seen_once() {
        let root = tempfile::tempdir().unwrap();
        let (store, pins) = (root.path().join("store"), root.path().join("pins"));
        fs::create_dir(&store).unwrap();
        fs::create_dir(&pins).unwrap();
        fs::write(pins.join("meta"), "").unwrap();
        fs::write(pins.join("link-x"), "").unwrap();
        let mut watch = Watch::new(&store, pins.clone()).unwrap();
        assert_eq!((watch.lost_store(), watch.lost_pins()), (None, None));
        fs::remove_file(pins.join("meta")).unwrap();
        assert_eq!((watch.lost_pins(), watch.lost_pins()), (Some((1, 2)), None));
        fs::remove_dir_all(&pins).unwrap();
        assert_eq!((watch.lost_pins(), watch.lost_pins()), (Some((1, 1)), None));
        fs::rename(&store, root.path().join("old")).unwrap();
        assert_eq!(watch.lost_store(), Some("it was removed or renamed"));
        fs::create_dir(&store).unwrap();
        assert_eq!(watch.lost_store(), Some("another directory stands in its place"));
    }
}
