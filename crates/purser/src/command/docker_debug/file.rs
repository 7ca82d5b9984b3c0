// SPDX-License-Identifier: Apache-2.0
//! `~/.docker-debug/config.toml` itself: found, read, and changed at the places that are meant and nowhere else,
//! so that comments, order and keys of others stay.

use super::settings::{Daemon, Environment, Settings};
use anyhow::{Context, bail};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// Below the home directory.
const DIRECTORY: &str = ".docker-debug";
const NAME: &str = "config.toml";
/// The longest file.
const LIMIT: u64 = 1 << 20;

/// The file, and what stands in it.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    text: String,
    pub(super) settings: Settings,
}

impl Store {
    /// Reads the file below `home`, or makes what would be written at a first run. True when there is none.
    pub(super) fn open(home: &Path, environment: &Environment) -> anyhow::Result<(Store, bool)> {
        let path = home.join(DIRECTORY).join(NAME);
        let Some(text) = read(&path)? else {
            return Ok((Store::first(path, environment)?, true));
        };
        let settings = Settings::read(&text).map_err(anyhow::Error::msg);
        let settings = settings.with_context(|| format!("reading {}", path.display()))?;
        Ok((Store { path, text, settings }, false))
    }

    /// The file of a first run, whatever is there.
    pub(super) fn anew(home: &Path, environment: &Environment) -> anyhow::Result<Store> {
        Store::first(home.join(DIRECTORY).join(NAME), environment)
    }

    fn first(path: PathBuf, environment: &Environment) -> anyhow::Result<Store> {
        let settings =
            Settings::first(environment).map_err(anyhow::Error::msg).context("reading DOCKER_HOST")?;
        Ok(Store { path, text: settings.text(), settings })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes another daemon the default.
    pub(super) fn choose(&mut self, name: &str) -> anyhow::Result<()> {
        let mut wanted = self.settings.clone();
        wanted.config_default = name.to_owned();
        let text = with_key(&self.text, None, "config_default", &toml::Value::from(name));
        self.become_text(text, wanted)
    }

    /// Puts a daemon in, or in the place of the one of this name.
    pub(super) fn put(&mut self, name: &str, daemon: Daemon) -> anyhow::Result<()> {
        let mut wanted = self.settings.clone();
        let mut text = Some(self.text.clone());
        if wanted.daemons.insert(name.to_owned(), daemon.clone()).is_none() {
            let head = if self.text.is_empty() || self.text.ends_with('\n') { "" } else { "\n" };
            let mut section = format!("{}{head}\n[config.{}]\n", self.text, key(name));
            for (key, value) in daemon.keys() {
                section.push_str(&format!("{key} = {value}\n"));
            }
            text = Some(section);
        } else {
            for (key, value) in daemon.keys() {
                text = text.and_then(|text| with_key(&text, Some(name), key, &value));
            }
        }
        self.become_text(text, wanted)
    }

    /// Takes a changed text over when it says what it is to say.
    fn become_text(&mut self, text: Option<String>, wanted: Settings) -> anyhow::Result<()> {
        let text = text.filter(|text| Settings::read(text).as_ref() == Ok(&wanted));
        let Some(text) = text else {
            bail!(
                "{} is written in a way that cannot be changed without loss; edit it by hand",
                self.path.display()
            );
        };
        (self.text, self.settings) = (text, wanted);
        Ok(())
    }

    /// Keeps the file that is there beside, when there is one.
    pub(super) fn keep_old(&self) -> anyhow::Result<()> {
        let old = self.path.with_extension("toml.old");
        match fs::rename(&self.path, &old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("keeping {} as {}", self.path.display(), old.display()))
            }
            _ => Ok(()),
        }
    }

    /// Writes it: all of it or nothing, and for its owner alone, as there may be a password in it.
    pub(super) fn save(&self) -> anyhow::Result<()> {
        let doing = || format!("writing {}", self.path.display());
        // A link that somebody's collection of settings has put there stays one.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let directory = path.parent().with_context(doing)?;
        fs::DirBuilder::new().recursive(true).mode(0o755).create(directory).with_context(doing)?;
        let new = directory.join(format!(".{NAME}.{}", std::process::id()));
        let mode = fs::metadata(&path)
            .map_or(0o600, |meta| std::os::unix::fs::PermissionsExt::mode(&meta.permissions()));
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode & 0o7777).open(&new)?;
            file.write_all(self.text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().inspect_err(|_| fs::remove_file(&new).unwrap_or_default()).with_context(doing)
    }
}

/// The text of a regular file; `None` when there is none.
fn read(path: &Path) -> anyhow::Result<Option<String>> {
    let doing = || format!("reading {}", path.display());
    // A pipe in its place is not waited for.
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.with_context(doing)?,
    };
    let meta = file.metadata().with_context(doing)?;
    if !meta.is_file() || meta.len() > LIMIT {
        bail!("{} is no regular file of at most {LIMIT} bytes", path.display());
    }
    let mut text = String::new();
    File::take(file, LIMIT).read_to_string(&mut text).with_context(doing)?;
    Ok(Some(text))
}

/// A name as it stands in a table's head.
pub(super) fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match !name.is_empty() && name.chars().all(is_bare) {
        true => name.to_owned(),
        false => toml::Value::from(name).to_string(),
    }
}

/// The text with another value for a key, at the top or of a daemon. Nothing where there is no place for a new key.
fn with_key(text: &str, daemon: Option<&str>, key: &str, value: &toml::Value) -> Option<String> {
    let parsed = DeTable::parse(text).ok()?;
    let top = parsed.get_ref();
    let table = match daemon {
        None => top,
        Some(name) => below(below(top, "config")?, name)?,
    };
    let entries = || table.iter().map(|(name, value)| (name.get_ref().as_ref(), value.span()));
    let (at, put): (Range<usize>, String) = match entries().find(|(name, _)| *name == key) {
        Some((_, span)) => (span, value.to_string()),
        // Before all tables, or behind the last key of this one.
        None if daemon.is_none() => (0..0, format!("{key} = {value}\n")),
        None => {
            let last = entries().map(|(_, span)| span.end).max()?;
            let line = text.get(..last)?.rfind('\n').map_or(0, |end| end + 1);
            let indent: String = text.get(line..)?.chars().take_while(|c| matches!(c, ' ' | '\t')).collect();
            let end = text.get(last..)?.find('\n').map_or(text.len(), |end| last + end);
            (end..end, format!("\n{indent}{key} = {value}"))
        }
    };
    let mut changed = text.to_owned();
    changed.get(at.clone())?;
    changed.replace_range(at, &put);
    Some(changed)
}

fn below<'a, 'b>(table: &'a DeTable<'b>, name: &str) -> Option<&'a DeTable<'b>> {
    let found = table.iter().find(|(key, _)| key.get_ref().as_ref() == name)?;
    match found.1.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Environment, Settings, Store};
    use crate::command::docker_debug::settings::Daemon;
    use std::fs;

    const TEXT: &str = "\
# mine
image = \"registry.example/tools:1\"   # ours
config_default = 'default' # the usual
mine = [1,
  2]

[config.default]
  host = \"unix:///var/run/docker.sock\"
  tls = false # no
[config.\"far away\"]
host = \"tcp://a:1\"
";

    fn home(text: &str) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".docker-debug")).unwrap();
        fs::write(home.path().join(".docker-debug/config.toml"), text).unwrap();
        home
    }

    fn changed(text: &str, change: impl Fn(&mut Store) -> anyhow::Result<()>) -> Result<String, String> {
        let home = home(text);
        let (mut store, is_new) = Store::open(home.path(), &Environment::default()).unwrap();
        assert!(!is_new);
        change(&mut store).map_err(|error| error.to_string())?;
        store.save().unwrap();
        let (again, _) = Store::open(home.path(), &Environment::default()).unwrap();
        assert_eq!(again.settings, store.settings);
        assert_eq!(fs::read_dir(home.path().join(".docker-debug")).unwrap().count(), 1);
        Ok(fs::read_to_string(store.path()).unwrap())
    }

    #[test]
    fn only_what_is_meant_is_changed() {
        let used = changed(TEXT, |store| store.choose("far away")).unwrap();
        assert_eq!(used, TEXT.replace("'default'", "\"far away\""));
        let without = "[config.a]\nhost=\"unix://\"";
        let used = changed(without, |store| store.choose("a")).unwrap();
        assert_eq!(used, format!("config_default = \"a\"\n{without}"));
    }

    #[test]
    fn daemons_come_and_change() {
        let daemon =
            || Daemon { host: "tcp://b:2".into(), tls: true, cert_dir: "/c".into(), ..Daemon::default() };
        let put = changed(TEXT, |store| store.put("new", daemon())).unwrap();
        let keys =
            "version = \"\"\nhost = \"tcp://b:2\"\ntls = true\ncert_dir = \"/c\"\ncert_password = \"\"\n";
        assert_eq!(put, format!("{TEXT}\n[config.new]\n{keys}"));
        let put = changed(TEXT, |store| store.put("default", daemon())).unwrap();
        let wanted = "  host = \"tcp://b:2\"\n  tls = true # no\n  version = \"\"\n  cert_dir = \"/c\"\n  cert_password = \"\"\n";
        let old = "  host = \"unix:///var/run/docker.sock\"\n  tls = false # no\n";
        // Keys are put behind the last one, each of them.
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(lines(&put), lines(&TEXT.replace(old, wanted)), "{put}");
        let put = changed(TEXT, |store| store.put("a.b\"c", daemon())).unwrap();
        assert!(put.contains("[config.'a.b\"c']") || put.contains("[config.\"a.b\\\"c\"]"), "{put}");
    }

    /// Whatever the text is like: it is changed as it should be, or not at all, and nothing else is.
    #[test]
    fn texts_with_faults() {
        let mut changed = 0;
        for at in 0..TEXT.len() {
            let odd = ["", "\"", "'", "\n", "[", "]", "=", "{", "#", "\\", "\u{e9}"];
            let cut = std::iter::once(TEXT[..at].to_owned());
            for text in odd.iter().map(|odd| format!("{}{odd}{}", &TEXT[..at], &TEXT[at + 1..])).chain(cut) {
                let Ok(settings) = Settings::read(&text) else { continue };
                let mut store = Store { path: "x".into(), text: text.clone(), settings };
                let before = store.settings.clone();
                if store.choose("new").is_ok() {
                    assert_eq!(Settings { config_default: "new".into(), ..before.clone() }, store.settings);
                    changed += 1;
                }
                let daemon = Daemon { host: "unix://".into(), ..Daemon::default() };
                let text = store.text.clone();
                if store.put("new", daemon.clone()).is_ok() {
                    assert!(store.text.starts_with(&text) && store.settings.daemons["new"] == daemon);
                }
            }
        }
        assert!(changed > 500, "{changed}");
    }

    #[test]
    fn what_cannot_be_changed_is_left() {
        for text in ["config = { a = { host = \"unix://\" } }", "[config]\nb = {}"] {
            let error = changed(text, |store| store.put("b", Daemon::default())).unwrap_err();
            assert!(error.contains("edit it by hand"), "{text}: {error}");
        }
    }

    #[test]
    fn a_first_run_and_odd_files() {
        let home = tempfile::tempdir().unwrap();
        let (store, is_new) = Store::open(home.path(), &Environment::default()).unwrap();
        assert!(is_new);
        store.save().unwrap();
        assert!(!Store::open(home.path(), &Environment::default()).unwrap().1);
        let place = home.path().join(".docker-debug/config.toml");
        fs::remove_file(&place).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&place).status().unwrap().success());
        let error = Store::open(home.path(), &Environment::default()).unwrap_err();
        assert!(error.to_string().contains("is no regular file"), "{error}");
    }
}
