// SPDX-License-Identifier: Apache-2.0
//! Services in an image: what is written, what is refused, and the exit codes. The init systems that
//! act on it are tested elsewhere, for real.

use crate::program::{bad, good, run};
use std::fs;
use std::path::Path;

/// Runs a command on the image of a host with one init system.
fn on(image: &Path, init: &str, words: &[&str]) -> std::process::Output {
    let (command, rest) = words.split_first().unwrap();
    let root = image.to_str().unwrap();
    let options = ["--root", root, "--init", init];
    run(&[&[*command], &options[..], rest].concat())
}

#[test]
fn an_image_gets_the_agent_and_loses_it_again() {
    for (init, file) in [
        ("systemd", "etc/systemd/system/purser.service"),
        ("openrc", "etc/init.d/purser"),
        ("sysv", "etc/init.d/purser"),
    ] {
        let image = tempfile::tempdir().unwrap();
        assert!(bad(&on(image.path(), init, &["uninstall"]), 4).contains("no service purser is installed"));
        let dry = good(&on(image.path(), init, &["install", "--dry-run"]));
        assert!(dry.starts_with("would write "), "{dry}");
        assert_eq!(fs::read_dir(image.path()).unwrap().count(), 0);
        let printed = good(&on(image.path(), init, &["install", "--print-unit"]));
        let done = good(&on(image.path(), init, &["install"]));
        assert!(done.contains("service purser is installed; start it with: purser start"), "{done}");
        let unit = image.path().join(file);
        assert_eq!(fs::read_to_string(&unit).unwrap(), printed);
        assert_eq!(
            good(&on(image.path(), init, &["install"])),
            "service purser is already installed, nothing changed\n"
        );
        fs::write(&unit, printed + "# mine\n").unwrap();
        assert!(bad(&on(image.path(), init, &["install"]), 1).contains("was edited"));
        assert!(bad(&on(image.path(), init, &["uninstall"]), 1).contains("was edited"));
        good(&on(image.path(), init, &["uninstall", "--force"]));
        assert!(
            !unit.exists()
                && unit.with_file_name(format!("{}.bak", unit.file_name().unwrap().display())).exists()
        );
    }
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_written() {
    let image = tempfile::tempdir().unwrap();
    for (words, why) in [
        (&["install", "--user", "nobody"][..], "only root watch all containers"),
        (&["install", "--user", "a", "--init-user", "b", "-n", "x", "--", "/bin/true"], "differ"),
        (&["install", "--config", "/nonsense.toml", "-n", "x", "--", "/bin/true"], "are the agent's"),
        (&["install", "--", "/bin/true"], "give the service a name"),
        (&["install", "-n", "../x", "--", "/bin/true"], "is no name for a service"),
        (&["install", "-n", "x", "--", "no-such-program-at-all"], "can be executed"),
        (&["install", "--user-service"], "needs root"),
    ] {
        let said = bad(&on(image.path(), "systemd", words), 2);
        assert!(said.contains(why), "{words:?}: {said}");
    }
    assert_eq!(fs::read_dir(image.path()).unwrap().count(), 0);
    let said = bad(&run(&["install", "--root", image.path().to_str().unwrap()]), 1);
    assert!(said.contains("no init system was found") && said.contains("sbin/openrc-run"), "{said}");
}

#[test]
fn an_image_knows_its_programs_by_their_paths_inside() {
    let image = tempfile::tempdir().unwrap();
    let bin = image.path().join("usr/local/bin");
    fs::create_dir_all(&bin).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_purser"), bin.join("purser")).unwrap();
    let said = |words: &[&str]| {
        let output = on(image.path(), "systemd", words);
        good(&output);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let unit = |name: &str| fs::read_to_string(image.path().join("etc/systemd/system").join(name)).unwrap();
    let inside = bin.join("purser");
    let own = std::process::Command::new(&inside)
        .args(["install", "--init", "systemd", "--root"])
        .arg(image.path())
        .output()
        .unwrap();
    good(&own);
    assert_eq!(String::from_utf8_lossy(&own.stderr), "");
    assert!(
        unit("purser.service").contains("\nExecStart=:/usr/local/bin/purser run "),
        "{}",
        unit("purser.service")
    );
    let told = said(&["install", "-n", "later", "--", "/opt/later/bin/daemon", "-x"]);
    assert!(told.contains("the image has no /opt/later/bin/daemon yet"), "{told}");
    assert!(unit("later.service").contains("/opt/later/bin/daemon -x"));
    assert_eq!(said(&["install", "-n", "tool", "--", inside.to_str().unwrap(), "log"]), "");
    assert!(unit("tool.service").contains("/usr/local/bin/purser log"));
}

#[test]
fn options_are_kept_until_others_are_given() {
    let image = tempfile::tempdir().unwrap();
    let install = |words: &[&str]| {
        let output = on(image.path(), "systemd", &[&["install"], words].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        good(&output);
        // The program itself is not in this image.
        let said = said.split_inclusive('\n').filter(|line| !line.contains("the image has no "));
        said.collect::<String>()
    };
    let unit = || fs::read_to_string(image.path().join("etc/systemd/system/purser.service")).unwrap();
    install(&["--store", "/data/a", "--config", "/etc/a.toml", "--description", "Mine, 1"]);
    let before = unit();
    let said = install(&[]);
    assert_eq!(
        said,
        "purser: kept from the installed unit: --config /etc/a.toml --store /data/a --description \"Mine, 1\"\n"
    );
    assert_eq!(unit(), before);
    let said = install(&["--store", "/data/b", "-d", "/srv"]);
    assert!(said.contains("--config /etc/a.toml --desc") && !said.contains("--store"), "{said}");
    assert!(unit().contains("--config /etc/a.toml --store /data/b\n") && !unit().contains("/data/a"));
    assert!(install(&[]).contains("--working-directory /srv"));
    good(&on(image.path(), "systemd", &["uninstall"]));
    assert_eq!(install(&[]), "");
    good(&on(image.path(), "systemd", &["install", "-n", "x", "--", "/bin/true"]));
    let said = bad(&on(image.path(), "systemd", &["install", "-n", "x"]), 2);
    assert!(said.contains("service x is the program /bin/true"), "{said}");
}

#[test]
fn an_account_must_be_there_but_in_an_image() {
    let words = ["install", "--init", "systemd", "--dry-run", "-n", "x-of-nobody", "--user"];
    let program = ["--", "/bin/true"];
    let said = bad(&run(&[&words[..], &["nosuchuser"], &program].concat()), 2);
    assert!(said.contains("there is no account nosuchuser"), "{said}");
    for user in ["root", "4711"] {
        good(&run(&[&words[..], &[user], &program].concat()));
    }
    let image = tempfile::tempdir().unwrap();
    good(&on(image.path(), "systemd", &["install", "-n", "x", "--user", "nosuchuser", "--", "/bin/true"]));
}

#[test]
fn a_wrong_configuration_is_found_before_the_first_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("purser.toml");
    fs::write(&config, "[scoop]\n").unwrap();
    let said =
        bad(&run(&["install", "--dry-run", "--init", "systemd", "--config", config.to_str().unwrap()]), 2);
    assert!(said.contains("scoop"), "{said}");
}
