// SPDX-License-Identifier: Apache-2.0
//! Registries that lie, hang, break off and send others away, on this host's loopback. After each of them the
//! message says who and why, and the shelf is empty.

use crate::fake::{Fault, Registry};
use crate::program::{bad, good, purser};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A kit of one command.
const RECIPE: &str = include_str!("../../../../tests/tiny.toml");

struct Lab {
    dir: TempDir,
    registry: Registry,
}

impl Lab {
    /// A registry with the kit `tiny` in it.
    fn new() -> Lab {
        let lab = Lab { dir: tempfile::tempdir().unwrap(), registry: Registry::start() };
        fs::write(lab.at("tiny.toml"), RECIPE).unwrap();
        good(&lab.purser(&["kit", "build", "./tiny.toml", "--kits", "src"]));
        lab.config("");
        good(&lab.purser(&["kit", "push", "tiny", "--kits", "src", "--config", "purser.toml"]));
        lab
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self, more: &str) {
        let registry = self.registry.place();
        let text = format!("[debug]\nregistry = \"{registry}/kits\"\ntimeout_secs = 1\n{more}");
        fs::write(self.at("purser.toml"), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = purser();
        command.args(arguments).current_dir(self.dir.path());
        command.env("DOCKER_CONFIG", self.dir.path()).env("HOME", self.dir.path());
        command.env_remove("REGISTRY_AUTH_FILE").env_remove("XDG_RUNTIME_DIR");
        command
    }

    fn purser(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn pull(&self, what: &str) -> Output {
        self.purser(&["kit", "pull", what, "--kits", "shelf", "--config", "purser.toml"])
    }

    /// What a pull complains about that fails and leaves nothing.
    fn refused(&self, fault: Fault) -> String {
        self.registry.set(fault);
        let said = bad(&self.pull("tiny"), 1);
        assert_eq!(left(&self.at("shelf")), Vec::<String>::new(), "{said}");
        assert!(said.contains(&format!("{}/kits/tiny", self.registry.place())), "{said}");
        said
    }
}

/// Everything on a shelf but its lock.
fn left(shelf: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(shelf) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != ".lock").collect()
}

#[test]
fn lies_are_found_and_leave_nothing() {
    let lab = Lab::new();
    for (fault, says) in [
        (Fault::WrongBlob, "has the digest sha256:"),
        (Fault::ShortBlob, "are announced"),
        (Fault::LongBlob, "sends more than the"),
        (Fault::EndlessBlob, "sends more than the"),
        (Fault::WrongManifest, "and should have sha256:"),
        (Fault::HugeManifest, "a manifest is longer than"),
        (Fault::Html, "no manifest but text/html"),
        (Fault::Circle, "sends us on and on"),
        (Fault::Nonsense, "does not speak HTTP"),
        (Fault::BareRealm, "it wants our login sent to tokens.example without encryption"),
        (Fault::Denied, "it wants a login (401"),
    ] {
        let said = lab.refused(fault);
        assert!(said.contains(says), "{fault:?}: {said}");
    }
    lab.registry.set(Fault::None);
    good(&lab.pull("tiny"));
    good(&lab.purser(&["kit", "verify", "--kits", "shelf"]));
}

#[test]
fn silence_ends_and_trouble_passes() {
    let lab = Lab::new();
    let said = lab.refused(Fault::Silent);
    assert!(said.contains("did not answer in time") && said.contains("again in"), "{said}");
    // Byte by byte is no better than nothing.
    let said = lab.refused(Fault::Drip);
    assert!(said.contains("too little, came within 1 s") || said.contains("in time"), "{said}");
    let said = lab.refused(Fault::Away);
    assert!(said.contains("wants us back in 3600 s"), "{said}");

    lab.registry.set(Fault::Busy(2));
    let begun = Instant::now();
    let told = lab.pull("tiny");
    good(&told);
    assert!(String::from_utf8_lossy(&told.stderr).contains("busy or out of order (429); again in 1.0 s"));
    assert!(begun.elapsed() >= Duration::from_secs(2));
}

#[test]
fn what_is_cut_off_goes_on() {
    for fault in [Fault::Cut, Fault::CutWithoutRanges] {
        let lab = Lab::new();
        lab.registry.set(fault);
        good(&lab.pull("tiny"));
        good(&lab.purser(&["kit", "verify", "--kits", "shelf"]));
        let ranges = lab.registry.heard().iter().filter(|head| head.contains("range: bytes=")).count();
        assert!(ranges >= 2, "{fault:?}: {ranges}");
    }
}

#[test]
fn a_login_stays_where_it_belongs() {
    let lab = Lab::new();
    let elsewhere = Registry::start();
    // user:hunter2
    let auths = format!(r#"{{"auths": {{"{}": {{"auth": "dXNlcjpodW50ZXIy"}}}}}}"#, lab.registry.place());
    fs::write(lab.at("config.json"), auths).unwrap();
    lab.registry.set(Fault::Password);
    good(&lab.pull("tiny"));
    assert!(lab.registry.heard().iter().any(|head| head.contains("authorization: Basic")));
    fs::remove_dir_all(lab.at("shelf")).unwrap();
    // The blobs lie with somebody else, who has the same path and gets no login.
    elsewhere.take_from(&lab.registry);
    lab.registry.set(Fault::Elsewhere(elsewhere.port()));
    good(&lab.pull("tiny"));
    let heard = elsewhere.heard();
    assert!(heard.iter().any(|head| head.contains("/blobs/")), "{heard:?}");
    assert!(heard.iter().all(|head| !head.contains("authorization")), "{heard:?}");

    fs::write(lab.at("config.json"), r#"{"auths": {"x": {"auth": "hunter2"}}, "credsStore": "../x"}"#)
        .unwrap();
    lab.registry.set(Fault::Password);
    fs::remove_dir_all(lab.at("shelf")).unwrap();
    let said = bad(&lab.pull("tiny"), 1);
    assert!(said.contains("no name of a helper") && !said.contains("hunter2"), "{said}");
}

#[test]
fn what_is_begun_elsewhere_goes_on_there() {
    let lab = Lab::new();
    let elsewhere = Registry::start();
    fs::write(lab.at("other.toml"), RECIPE.replace("tiny", "other").replace("hello", "bye")).unwrap();
    good(&lab.purser(&["kit", "build", "./other.toml", "--kits", "src"]));
    let before = lab.registry.heard().len();
    lab.registry.set(Fault::PutElsewhere(elsewhere.port()));
    good(&lab.purser(&["kit", "push", "other", "--kits", "src", "--config", "purser.toml"]));
    let is_blob = |head: &&String| head.starts_with("PUT ") && head.contains("digest=");
    assert_eq!(elsewhere.heard().iter().filter(is_blob).count(), 2);
    assert_eq!(lab.registry.heard()[before..].iter().filter(is_blob).count(), 0);
}

#[test]
fn names_pins_and_signatures_decide() {
    let lab = Lab::new();
    // By another name, and by a digest that is another's.
    lab.registry.set(Fault::AnyName);
    let said = bad(&lab.pull("other"), 1);
    assert!(said.contains("it is the kit tiny and not other"), "{said}");
    let zeros = format!("{}/kits/tiny@sha256:{}", lab.registry.place(), "0".repeat(64));
    let said = bad(&lab.pull(&zeros), 1);
    assert!(said.contains("and should have sha256:000"), "{said}");
    lab.registry.set(Fault::None);
    lab.config(&format!("pins = {{ tiny = \"sha256:{}\" }}", "0".repeat(64)));
    let said = bad(&lab.pull("tiny"), 1);
    assert!(said.contains("the configuration pins it to sha256:000"), "{said}");

    good(&lab.purser(&["kit", "key", "ours"]));
    good(&lab.purser(&["kit", "key", "theirs"]));
    let trust = format!("trust = [\"{}\"]", lab.at("ours.pub").display());
    lab.config(&trust);
    let said = bad(&lab.pull("tiny"), 1);
    assert!(said.contains("kit tiny: nobody has signed it"), "{said}");
    let sign = |key: &str| {
        good(&lab.purser(&["kit", "sign", "tiny", "--key", key, "--kits", "src"]));
        good(&lab.purser(&["kit", "push", "tiny", "--kits", "src", "--config", "purser.toml"]));
    };
    sign("theirs");
    let said = bad(&lab.pull("tiny"), 1);
    assert!(said.contains("which is not among those trusted"), "{said}");
    assert_eq!(left(&lab.at("shelf")), Vec::<String>::new());
    sign("ours");
    good(&lab.pull("tiny"));
    // What came with a signature goes on with it, and a file needs one, too.
    good(&lab.purser(&["kit", "export", "tiny", "-o", "signed.tar", "--kits", "shelf"]));
    good(&lab.purser(&["kit", "import", "signed.tar", "--kits", "other", "--config", "purser.toml"]));
    fs::write(lab.at("other.toml"), RECIPE.replace("tiny", "other").replace("hello", "bye")).unwrap();
    good(&lab.purser(&["kit", "build", "./other.toml", "--kits", "src"]));
    good(&lab.purser(&["kit", "export", "other", "-o", "bare.tar", "--kits", "src"]));
    let import = ["kit", "import", "bare.tar", "--kits", "other", "--config", "purser.toml"];
    let said = bad(&lab.purser(&import), 1);
    assert!(said.contains("kit other: nobody has signed it"), "{said}");
    good(&lab.purser(&["kit", "sign", "bare.tar", "--key", "ours"]));
    good(&lab.purser(&import));
}

#[test]
fn mirrors_go_first_and_nothing_is_meant_without_a_name() {
    let lab = Lab::new();
    let mirror = Registry::start();
    mirror.take_from(&lab.registry);
    let mirrors =
        |first: &str| lab.config(&format!("mirrors = [\"{first}/kits\", \"{}/kits\"]", mirror.place()));
    // One that lies is passed over, and told.
    let liar = Registry::start();
    liar.take_from(&lab.registry);
    liar.set(Fault::WrongBlob);
    mirrors(&liar.place());
    let before = lab.registry.heard().len();
    let told = lab.pull("tiny");
    good(&told);
    let said = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(said.contains(&liar.place()) && said.contains("trying 127.0.0.1"), "{said}");
    assert_eq!(lab.registry.heard().len(), before);
    assert!(good(&lab.pull("tiny")).contains("as before"));

    fs::write(lab.at("purser.toml"), "").unwrap();
    for name in ["tiny", "tiny:1", "library/tiny"] {
        let said = bad(&lab.pull(name), 2);
        assert!(said.contains("names no registry"), "{said}");
    }
}
