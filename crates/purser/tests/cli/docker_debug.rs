// SPDX-License-Identifier: Apache-2.0
//! docker-debug's name, sub-commands and configuration, and the table that says so.

use crate::program::{bad, good};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program under docker-debug's name, with a home directory of its own.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        let dir = tempfile::tempdir().unwrap();
        symlink(env!("CARGO_BIN_EXE_purser"), dir.path().join("docker-debug")).unwrap();
        Home(dir)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.0.path().join("docker-debug"));
        for name in ["DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "SUDO_UID"] {
            command.env_remove(name);
        }
        command.env("HOME", self.0.path()).args(words);
        command
    }

    fn good(&self, words: &[&str]) -> String {
        good(&self.command(words).output().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join(".docker-debug/config.toml")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }
}

#[test]
fn info() {
    let told = Home::new().good(&["info"]);
    let heads: Vec<&str> = told.lines().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(heads, ["Version:", "Platform:", "Commit:", "Time:"]);
    assert!(told.starts_with(&format!("Version:\t{} (purser)\n", env!("CARGO_PKG_VERSION"))), "{told}");
}

#[test]
fn init_keeps_the_old_file() {
    let home = Home::new();
    home.good(&["init"]);
    let first = home.text();
    assert!(first.contains("host = \"unix:///var/run/docker.sock\"") && first.contains("timeout = \"10s\""));
    fs::write(home.file(), "# mine\n").unwrap();
    good(&home.command(&["init"]).env("DOCKER_HOST", "tcp://far").output().unwrap());
    assert_eq!(home.text(), first.replace("unix:///var/run/docker.sock", "tcp://far:2375"));
    assert_eq!(fs::read_to_string(home.file().with_extension("toml.old")).unwrap(), "# mine\n");
    let said = bad(&home.command(&["init"]).env("DOCKER_HOST", "foo://x").output().unwrap(), 1);
    assert!(said.contains("foo://x"), "{said}");
}

#[test]
fn config_shows_and_writes() {
    let home = Home::new();
    let told = home.good(&["config"]);
    assert_eq!(
        told,
        "config `default`:\n{\n  \"Version\": \"1.47\",\n  \"Host\": \"unix:///var/run/docker.sock\",\n  \
         \"TLS\": false,\n  \"CertDir\": \"\",\n  \"CertPassword\": \"\"\n}\n"
    );
    let first = home.text();
    home.good(&["config", "-n", "far", "-t", "-c", "/certs", "-H", "tcp://far:2376", "-p", "secret"]);
    assert!(home.text().starts_with(&first) && home.text().contains("cert_password = \"secret\""));
    let told = home.good(&["config", "--name", "far"]);
    assert!(told.contains("\"TLS\": true") && told.contains("\"CertDir\": \"/certs\""), "{told}");
    assert!(!told.contains("secret"), "{told}");
    let said = bad(&home.command(&["config", "-n", "none"]).output().unwrap(), 1);
    assert!(said.contains("there is no [config.none]; there are: default, far"), "{said}");
    let said = bad(&home.command(&["config", "-H", "foo://x"]).output().unwrap(), 2);
    assert!(said.contains("foo://x"), "{said}");
}

#[test]
fn use_changes_one_value() {
    let home = Home::new();
    home.good(&["init"]);
    let text = home.text().replace("image", "# whose?\nimage").replace("[config.default]", "[config.near]");
    fs::write(home.file(), &text).unwrap();
    home.good(&["use", "near"]);
    assert_eq!(home.text(), text.replace("config_default = \"default\"", "config_default = \"near\""));
    let said = bad(&home.command(&["use", "default"]).output().unwrap(), 1);
    assert!(said.contains("there is no [config.default]"), "{said}");
    bad(&home.command(&["use"]).output().unwrap(), 2);
}

#[test]
fn nothing_is_written_by_sudo() {
    let home = Home::new();
    for words in [&["init"][..], &["use", "default"], &["config", "-H", "unix://"]] {
        let said = bad(&home.command(words).env("SUDO_UID", "1000").output().unwrap(), 2);
        assert!(said.contains("not changed by sudo"), "{said}");
    }
    let told = good(&home.command(&["config"]).env("SUDO_UID", "1000").output().unwrap());
    assert!(told.contains("docker.sock") && !home.file().exists(), "{told}");
}

/// Bash finds the options of the name that the link has.
#[test]
fn completion() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = home.good(&["completion", shell, "--no-descriptions"]);
        assert!(script.contains("docker-debug") && !script.contains("purser log"), "{shell}");
    }
    let script = home.0.path().join("script");
    fs::write(&script, home.good(&["completion", "bash"])).unwrap();
    let ask = "source $0; complete -p docker-debug >&2; f=$(complete -p docker-debug | sed 's/.*-F \\([^ ]*\\).*/\\1/'); \
               for word in --detach inf; do COMP_WORDS=(docker-debug $word); COMP_CWORD=1; COMPREPLY=(); \
               $f docker-debug $word docker-debug; echo ${COMPREPLY[@]}; done";
    let told = good(&Command::new("bash").args(["--norc", "-c", ask]).arg(&script).output().unwrap());
    assert_eq!(told, "--detach-keys\ninfo\n");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The tables of the document: the first cell of each row, and the tests of the last.
fn rows() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(root().join("docs/from-docker-debug.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.ends_with("| test |"));
    let cells = |line: &str| {
        let line = line.replace("\\|", "/");
        let cells: Vec<String> =
            line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        assert_eq!(cells.len(), 3, "{line}");
        let tests = cells[2].split(", ").map(|name| name.trim_matches('`').to_owned()).collect();
        (cells[0].clone(), tests)
    };
    rows.map(cells).collect()
}

#[test]
fn every_row_of_the_table_names_a_test() {
    let own = root().join("crates/purser");
    let mut text = String::new();
    for file in [
        "tests/host/debug/compat.rs",
        "tests/host/debug/remote.rs",
        "tests/cli/docker_debug.rs",
        "tests/cli/registry.rs",
        "src/command/docker_debug.rs",
        "src/command/docker_debug/file.rs",
        "src/command/docker_debug/settings.rs",
    ] {
        text.push_str(&fs::read_to_string(own.join(file)).unwrap());
    }
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_test = |name: &str| {
        let head = format!("fn {name}() ");
        lines.windows(2).any(|pair| pair[0] == "#[test]" && pair[1].starts_with(&head))
    };
    let rows = rows();
    assert!(rows.len() > 40, "{} rows", rows.len());
    for (row, tests) in &rows {
        assert!(!tests.is_empty() && tests.iter().all(|name| is_test(name)), "{row}: {tests:?}");
    }
    // And no test of a session is without a row.
    let named: BTreeSet<&str> = rows.iter().flat_map(|(_, tests)| tests.iter().map(String::as_str)).collect();
    let compat = fs::read_to_string(own.join("tests/host/debug/compat.rs")).unwrap();
    let tests = compat.lines().zip(compat.lines().skip(1)).filter(|(mark, _)| *mark == "#[test]");
    for (_, line) in tests {
        let name = line.trim_start_matches("fn ").split('(').next().unwrap();
        assert!(named.contains(name) || name == "without_a_link", "{name} is in no row");
    }
}

/// Each option, sub-command and key that docker-debug has is in a row, and in the help.
#[test]
fn help_names_every_option() {
    const OPTIONS: [(&str, &str); 13] = [
        ("-v", "--volume"),
        ("-i", "--image"),
        ("-n", "--name"),
        ("-H", "--host"),
        ("-c", "--cert-dir"),
        ("-d", "--detach-keys"),
        ("-u", "--user"),
        ("-p", "--privileged"),
        ("-w", "--work-dir"),
        ("-t", "--target-dir"),
        ("-s", "--security-opts"),
        ("-C", "--cap-adds"),
        ("-h", "--help"),
    ];
    let home = Home::new();
    let help = home.good(&["--help"]);
    let rows: Vec<String> = rows().into_iter().map(|(row, _)| row).collect();
    let has_row = |word: &str| rows.iter().any(|row| row.contains(word));
    for (short, long) in OPTIONS {
        assert!(help.contains(&format!("  {short}, {long}")), "{long} is not in the help");
        assert!(has_row(&format!("`{short}`, `{long}")), "{long} has no row");
    }
    assert!(help.contains("      --ipc ") && has_row("`--ipc`"));
    for command in ["init", "info", "config", "use", "completion"] {
        assert!(help.contains(&format!("\n  {command} ")) && has_row(&format!("`{command}")), "{command}");
        assert!(home.good(&["help", command]).contains("Usage: docker-debug"), "{command}");
    }
    for key in ["version", "mount_dir", "image", "timeout", "config_default", "read_timeout"] {
        assert!(has_row(&format!("`{key}`")), "{key} has no row");
    }
    for key in ["version", "host", "tls", "cert_dir", "cert_password"] {
        let is = |row: &String| row.starts_with("`[config.NAME]`") && row.contains(&format!("`{key}`"));
        assert!(rows.iter().any(is), "{key} has no row");
    }
    for name in ["DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
        assert!(has_row(name), "{name} has no row");
    }
}
