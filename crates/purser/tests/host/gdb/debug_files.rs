// SPDX-License-Identifier: Apache-2.0
//! Stripped programs whose debug files are elsewhere: in a directory of the host in any shape, in a kit, or on a
//! server, which is asked only when somebody says so.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::targets::{Root, kits};
use super::{DESCENT, PAUSE, gdb_with, parked, session};
use crate::debug::{Container, wait_until};
use crate::lab::{Lab, output, run, temporary, terminate};

/// In the target's network, where nothing else listens.
const SERVER: &str = "http://127.0.0.1:8002";
const SECURE: &str = "https://127.0.0.1:8443";

/// A stripped target, and its debug files.
struct Stripped {
    root: Root,
    place: TempDir,
}

impl Stripped {
    fn make() -> Result<Stripped> {
        let root = Root::glibc()?;
        let place = TempDir::with_prefix_in("symbols-", temporary())?;
        let dir = |name: &str| -> Result<PathBuf> {
            let path = place.path().join(name);
            fs::create_dir_all(&path)?;
            Ok(path)
        };
        let (loose, by_id, hostile) = (dir("loose/a")?, dir("by-id/.build-id")?, dir("loose/b")?);
        for file in ["bin/target", "lib/layer.so"] {
            let file = root.path().join(file);
            let apart = loose.join(file.file_name().context("no name")?);
            run(Command::new("objcopy").arg("--only-keep-debug").arg(&file).arg(&apart))?;
            run(Command::new("strip").arg(&file))?;
            let id = build_id(&file)?;
            let (head, tail) = id.split_at(2);
            fs::create_dir_all(by_id.join(head))?;
            fs::copy(&apart, by_id.join(head).join(format!("{tail}.debug")))?;
        }
        // What must hold nobody up.
        fs::write(hostile.join("text"), "no object file")?;
        fs::write(hostile.join("short"), b"\x7fELF\x02\x01")?;
        fs::write(hostile.join("long"), [&b"\x7fELF\x02\x01"[..], &[0xff; 4096]].concat())?;
        run(Command::new("mkfifo").arg(hostile.join("pipe")))?;
        symlink(".", hostile.join("loop"))?;
        Ok(Stripped { root, place })
    }

    fn dir(&self, name: &str) -> String {
        self.place.path().join(name).display().to_string()
    }
}

fn build_id(file: &Path) -> Result<String> {
    let notes = run(Command::new("readelf").arg("-n").arg(file))?;
    let line = notes.lines().find_map(|line| line.trim().strip_prefix("Build ID: "));
    Ok(line.context("no build-id")?.to_owned())
}

/// A kit that brings debug files and nothing else.
fn kit(stripped: &Stripped) -> Result<String> {
    let kit = stripped.place.path().join("kit");
    fs::create_dir_all(kit.join("root/usr/lib"))?;
    run(Command::new("cp").arg("-a").arg(stripped.dir("by-id")).arg(kit.join("root/usr/lib/debug")))?;
    let text = "name = \"symbols\"\nversion = \"1\"\narch = \"x86_64\"\nsummary = \"debug files\"\n";
    fs::write(kit.join("kit.toml"), text)?;
    Ok(kit.display().to_string())
}

#[test]
fn of_directories_and_kits() -> Result<()> {
    let _lab = Lab::enter()?;
    let Some(kits) = kits()? else { return Ok(()) };
    let stripped = Stripped::make()?;
    let image = stripped.root.image("stripped")?;
    let target = Container::start("stripped", &super::HARDENED, &image.0, &["/bin/target"])?;
    parked(target.pid, PAUSE)?;
    let told = |options: &[&str]| -> Result<Vec<String>> {
        let options = [&["--kit", "gdb"], options].concat();
        gdb_with(session(&target.name, &kits, &options)?, &["bt", "info sharedlibrary layer"])
    };
    let without = told(&[])?;
    ensure!(without[0].contains("?? ()") && without[1].contains("(*)"), "not stripped: {without:?}");
    let (loose, by_id, kit) = (stripped.dir("loose"), stripped.dir("by-id"), kit(&stripped)?);
    for options in [["--debug-files", &loose], ["--debug-files", &by_id], ["--kit", &kit]] {
        let told = told(&options)?;
        ensure!(told[0] == DESCENT && !told[1].contains("(*)"), "{options:?}: {told:?}");
    }
    // Of the configuration, with one that is not there.
    let config = stripped.place.path().join("purser.toml");
    fs::write(&config, format!("[debug]\ndebug_files = [\"/no/such\", {by_id:?}]\n"))?;
    let mut command = Command::new(crate::agent::purser().get_program());
    command.args(["debug", &target.name, "--kit", "gdb", "--kits"]).arg(&kits).arg("--config").arg(&config);
    let told = gdb_with(command, &["bt", "info sharedlibrary layer"])?;
    ensure!(told[0] == DESCENT, "{told:?}");
    ensure!(target.changes()?.is_empty(), "{}", target.changes()?);

    let missing = output(session(&target.name, &kits, &["--debug-files", "/no/such"])?.args(["--", "true"]))?;
    let said = String::from_utf8_lossy(&missing.stderr);
    ensure!(missing.status.code() == Some(125) && said.contains("/no/such"), "{said}");
    Ok(())
}

/// A program of the host in the target's network, ended when dropped.
struct Beside(Option<Child>);

impl Beside {
    fn start(target: &Container, log: &Path, words: &[&str]) -> Result<Beside> {
        let log = fs::File::create(log)?;
        let mut command = Command::new("nsenter");
        command.args(["-t", &target.pid.to_string(), "-n"]).args(words);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("starting {words:?}"))?;
        Ok(Beside(Some(child)))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        drop(self.0.take().map(|child| terminate(child, Duration::from_secs(5))));
    }
}

#[test]
fn of_a_server() -> Result<()> {
    let _lab = Lab::enter()?;
    let Some(kits) = kits()? else { return Ok(()) };
    let stripped = Stripped::make()?;
    let image = stripped.root.image("served")?;
    let target = Container::start("served", &super::HARDENED, &image.0, &["/bin/target"])?;
    parked(target.pid, PAUSE)?;
    let (log, dir) = (stripped.place.path().join("log"), stripped.dir("by-id"));
    let words = ["debuginfod", "-v", "-p", "8002", "-d", ":memory:", "-F", &dir];
    let _server = Beside::start(&target, &log, &words)?;
    let asked = || -> Result<usize> { Ok(fs::read_to_string(&log)?.matches("UA:elfutils").count()) };
    let id = build_id(&stripped.root.path().join("bin/target"))?;
    let own = format!("{SERVER}/buildid/{id}/debuginfo");
    wait_until("debuginfod has read the files", || {
        let mut curl = Command::new("nsenter");
        curl.args(["-t", &target.pid.to_string(), "-n", "curl", "-sf", "-o", "/dev/null", &own]);
        Ok(output(&mut curl)?.status.success())
    })?;
    let told = |options: &[&str]| -> Result<Vec<String>> {
        let options = [&["--kit", "gdb"], options].concat();
        gdb_with(session(&target.name, &kits, &options)?, &["bt", "show debuginfod enabled", "info source"])
    };
    let without = told(&[])?;
    ensure!(without[0].contains("?? ()") && without[1].contains("\"off\""), "{without:?}");
    ensure!(asked()? == 0, "a server was asked that nobody has named");
    let with = told(&["--debuginfod", SERVER])?;
    ensure!(with[0] == DESCENT && with[1].contains("\"on\""), "{with:?}");
    ensure!(asked()? > 0, "nobody was asked");
    ensure!(target.changes()?.is_empty(), "{}", target.changes()?);

    // Whom to trust says the kit, not the container.
    let (key, certificate) = (stripped.dir("key.pem"), stripped.dir("cert.pem"));
    run(Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"])
        .args(["-days", "2", "-keyout", &key, "-out", &certificate]))?;
    let log = stripped.place.path().join("secure");
    let words =
        ["openssl", "s_server", "-accept", "127.0.0.1:8443", "-key", &key, "-cert", &certificate, "-WWW"];
    let _secure = Beside::start(&target, &log, &words)?;
    wait_until("the server is ready", || Ok(fs::read_to_string(&log)?.contains("ACCEPT")))?;
    let options = ["--kit", "gdb", "--debuginfod", SECURE, "--env", "DEBUGINFOD_VERBOSE=1"];
    let mut command = session(&target.name, &kits, &options)?;
    let told = output(command.args(["--", "gdb", "-p", "1", "-batch", "-ex", "bt"]))?;
    let (shown, said) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    ensure!(shown.contains("?? ()") && said.contains("CAfile: /dev/.purser/gdb/etc/ca.crt"), "{said}");
    Ok(())
}
