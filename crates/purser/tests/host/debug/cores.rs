// SPDX-License-Identifier: Apache-2.0
//! Sessions for cores: what is found where, what is refused and why, and that nothing is left. What gdb shows of cores is
//! tried with the kit `gdb`.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::{Container, debug, kits, marks, nothing_is_left, wait_until};
use crate::agent::{Agent, purser};
use crate::lab::{Lab, output, run, skip, source_dir, unique};

/// Where systemd-coredump keeps cores.
const STORE: &str = "/var/lib/systemd/coredump";
/// Where purser has copies.
const COPIES: &str = "/var/lib/purser-cores";

/// A container, and the core of a program that died in there.
struct Crash {
    target: Container,
    dir: TempDir,
}

impl Crash {
    fn of(word: &str) -> Result<Option<Crash>> {
        let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern")?;
        if pattern.starts_with(['|', '/']) {
            return skip(&format!("cores of this host go to {pattern}"));
        }
        let dir = TempDir::new()?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777))?;
        // A build-id that no other container has.
        let id = format!("-Wl,--build-id=0x{:016x}", RandomState::new().build_hasher().finish());
        let program = dir.path().join("crash");
        let source = source_dir().join("debug/crash.c");
        run(Command::new("gcc").args(["-O0", "-static", &id, "-o"]).arg(&program).arg(source))?;
        let volume = format!("{}:/cores", dir.path().display());
        let target = Container::idle(word, &["--ulimit", "core=-1", "-v", &volume])?;
        let died = output(Command::new("docker").args(["exec", "-w", "/cores", &target.name, "./crash"]))?;
        ensure!(died.status.code() == Some(139), "{died:?}");
        let crash = Crash { target, dir };
        let written = crash.names()?.into_iter().find(|name| name.starts_with("core")).context("no core")?;
        fs::rename(crash.path(&written), crash.path("core"))?;
        Ok(Some(crash))
    }

    fn names(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(self.dir.path())?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// A session for this core: its exit code, what was printed, and what was said.
    fn look(&self, options: &[&str], command: &[&str]) -> Result<(Option<i32>, String, String)> {
        let mut debug = purser();
        debug.args(["debug", "--kits"]).arg(kits()?).args(["--kit", "base"]).args(options);
        look(debug.arg("--").args(command))
    }
}

fn look(command: &mut Command) -> Result<(Option<i32>, String, String)> {
    let told = output(command)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((told.status.code(), text(&told.stdout), text(&told.stderr)))
}

fn sum(path: &str) -> Result<String> {
    let printed = run(Command::new("sha256sum").arg(path))?;
    Ok(printed.split(' ').next().unwrap_or_default().to_owned())
}

fn no_copies() -> Result<()> {
    let left: Vec<_> = fs::read_dir(COPIES).into_iter().flatten().flatten().collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

const SUM: [&str; 3] =
    ["sh", "-c", "sha256sum < $CORE; echo $CORE_PROGRAM; stat -c %n /cores/crash; touch $CORE"];

#[test]
fn the_container_is_found_and_the_core_is_in_it() -> Result<()> {
    let _lab = Lab::enter()?;
    let Some(crash) = Crash::of("core")? else { return Ok(()) };
    let (before, changes) = (marks(), crash.target.changes()?);
    let core = crash.path("core");
    let wanted = format!("{}  -\n/cores/crash\n/cores/crash\n", sum(&core)?);
    let whole = format!("purser: {} has all 1 files it consisted of", crash.target.name);
    let check = |options: &[&str]| -> Result<()> {
        let (_, printed, said) = crash.look(options, &SUM)?;
        ensure!(printed == wanted && said.contains(&whole), "{options:?}: {printed} {said}");
        ensure!(said.contains(": crash, pid ") && said.contains("SIGSEGV at 0x8"), "{said}");
        ensure!(said.contains("Read-only file system"), "{options:?}: it could be written to: {said}");
        Ok(())
    };
    check(&["--core", &core])?;
    check(&["--core", &core, "--in", &crash.target.name])?;
    check(&["--core", &core, "--root", "new"])?;
    check(&[&crash.target.name, "--core", "/cores/core"])?;
    // A path that the container does not have is the host's.
    check(&[&crash.target.name, "--core", &core])?;
    // Through a process's root, which is another mount namespace.
    check(&["--core", &format!("/proc/{}/root/cores/core", crash.target.pid)])?;
    for program in ["zstd", "lz4", "xz", "gzip"] {
        let packed = crash.path(&format!("core.{program}"));
        let script = format!("command -v {program} && {program} -c < {core} > {packed}");
        if output(Command::new("sh").args(["-c", &script]))?.status.success() {
            check(&["--core", &packed])?;
            check(&[&crash.target.name, "--core", &format!("/cores/core.{program}")])?;
        }
    }
    no_copies()?;
    nothing_is_left(&before)?;
    ensure!(crash.target.changes()? == changes, "{}", crash.target.changes()?);
    let listed = run(purser().args(["debug", "cores", "-o", "json"]).arg(crash.dir.path()))?;
    let line = listed.lines().find(|line| line.contains(&format!("{core}\""))).context(listed.clone())?;
    let row: serde_json::Value = serde_json::from_str(line)?;
    ensure!(row["target"] == crash.target.name && row["signal"] == "SIGSEGV", "{row}");
    ensure!(row["name"] == "crash" && row["program"] == "/cores/crash", "{row}");
    Ok(())
}

#[test]
fn other_files_are_told_and_bad_cores_are_refused() -> Result<()> {
    let _lab = Lab::enter()?;
    let Some(crash) = Crash::of("badcore")? else { return Ok(()) };
    let core = crash.path("core");
    let whole = fs::read(&core)?;
    let write = |name: &str, bytes: &[u8]| fs::write(crash.dir.path().join(name), bytes);
    write("cut", &whole[..whole.len() - 4096])?;
    write("beginning", &whole[..64])?;
    write("zst", &[0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3])?;
    let (mut arm, mut s390) = (whole.clone(), whole.clone());
    arm[18] = 183;
    s390[5] = 2;
    s390[16..20].copy_from_slice(&[0, 4, 0, 22]);
    write("arm", &arm)?;
    write("s390", &s390)?;
    run(Command::new("mkfifo").arg(crash.path("pipe")))?;
    for (name, wanted) in [
        ("crash", "is no core file: it is a program or library"),
        ("beginning", "is cut off before it says anything"),
        ("zst", "cannot be unpacked: "),
        ("s390", "is a core of a program for s390x"),
        ("pipe", "there is no file "),
        ("none", "there is no file "),
    ] {
        let (code, _, said) = crash.look(&["--core", &crash.path(name)], &["true"])?;
        ensure!(code == Some(125) && said.contains(wanted), "{name}: {code:?} {said}");
    }
    // Without a command there is no debugger for it.
    let mut bare = purser();
    bare.args(["debug", "--kits"]).arg(kits()?).args(["--core", &crash.path("arm")]);
    let (code, _, said) = look(&mut bare)?;
    ensure!(code == Some(125) && said.contains("is a core of a program for aarch64"), "{said}");
    let (code, _, said) = crash.look(&["--core", &crash.path("cut")], &["true"])?;
    ensure!(code == Some(0) && said.contains("the core is cut off"), "{code:?} {said}");
    let (code, _, said) = crash.look(&["--core", "coredump:no-such-program"], &["true"])?;
    ensure!(code == Some(2) && said.contains("no core \"no-such-program\""), "{code:?} {said}");
    let (code, _, said) = crash.look(&["--in", &crash.target.name], &["true"])?;
    ensure!(code == Some(2) && said.contains("--core"), "{code:?} {said}");
    // Another program at the place of the one that died.
    fs::remove_file(crash.path("crash"))?;
    fs::copy("/bin/true", crash.path("crash"))?;
    let (code, _, said) = crash.look(&["--core", &core], &["true"])?;
    ensure!(
        code == Some(125) && said.contains("nobody has /cores/crash") && said.contains("build-id "),
        "{said}"
    );
    let (code, _, said) = crash.look(&["--core", &core, "--in", &crash.target.name], &["true"])?;
    ensure!(code == Some(0) && said.contains("has 0 of the 1 files"), "{said}");
    ensure!(said.contains("/cores/crash: the core has build-id "), "{said}");
    fs::remove_file(crash.path("crash"))?;
    let (_, _, said) = crash.look(&["--core", &core, "--in", &crash.target.name], &["true"])?;
    ensure!(said.contains("/cores/crash is not there (build-id "), "{said}");
    no_copies()
}

/// An image; removed when dropped.
struct Image(String);

impl Drop for Image {
    fn drop(&mut self) {
        drop(output(Command::new("docker").args(["rmi", "-f", &self.0])));
    }
}

#[test]
fn stopped_containers_and_images_are_searched() -> Result<()> {
    let _lab = Lab::enter()?;
    let Some(crash) = Crash::of("coreimage")? else { return Ok(()) };
    let image = Image(unique("purser-test:core"));
    let run_docker = |words: &[&str]| run(Command::new("docker").args(words)).map(drop);
    // The program is in the container's own files, at another place than on the volume it died on.
    let core = crash.path("core");
    let mut moved = fs::read(&core)?;
    let (from, to) = (b"/cores/crash\0", b"/bin/crashes\0");
    let head = moved.len().min(1 << 20);
    for at in 0..head.saturating_sub(from.len()) {
        if moved[at..].starts_with(from) {
            moved[at..at + to.len()].copy_from_slice(to);
        }
    }
    fs::write(&core, &moved)?;
    run_docker(&["cp", &crash.path("crash"), &format!("{}:/bin/crashes", crash.target.name)])?;
    let place = || -> Result<String> {
        let listed = run(purser().args(["debug", "cores", "-o", "json"]).arg(crash.dir.path()))?;
        let line = listed.lines().find(|line| line.contains(&format!("{core}\""))).context(listed.clone())?;
        let row: serde_json::Value = serde_json::from_str(line)?;
        Ok(row["target"].as_str().unwrap_or_default().to_owned())
    };
    ensure!(place()? == crash.target.name, "running: {}", place()?);
    run_docker(&["stop", "-t", "0", &crash.target.name])?;
    let id = run(Command::new("docker").args(["inspect", "-f", "{{.Id}}", &crash.target.name]))?;
    let found = place()?;
    ensure!(found == crash.target.name || found == id.trim(), "stopped: {found}");
    run_docker(&["cp", &core, &format!("{}:/bin/core", crash.target.name)])?;
    run_docker(&["commit", &crash.target.name, &image.0])?;
    run_docker(&["rm", "-f", &crash.target.name])?;
    let word = format!("image:{}", image.0);
    ensure!(place()? == word, "an image: {}", place()?);
    // A session in there, and one for a core that is in there itself.
    let (sum, script) = (sum(&core)?, ["sh", "-c", "sha256sum < $CORE; ls $CORE_PROGRAM"]);
    for options in
        [&["--core", core.as_str()][..], &[&word, "--core", "/bin/core"], &[&word, "--core", &core]]
    {
        let (code, printed, said) = crash.look(options, &script)?;
        ensure!(
            code == Some(0) && printed == format!("{sum}  -\n/bin/crashes\n"),
            "{options:?}: {printed} {said}"
        );
        ensure!(said.contains(&format!("{word} has all 1 files")), "{options:?}: {said}");
    }
    // Only a file of it is left, which is searched where somebody says so; and the record says the same.
    let file = crash.path("app.tar");
    run_docker(&["save", "-o", &file, &image.0])?;
    run_docker(&["rmi", "-f", &image.0])?;
    let (code, _, said) = crash.look(&["--core", &core], &script)?;
    ensure!(code == Some(125) && said.contains("say where it is with --in TARGET"), "{said}");
    let word = format!("archive:{file}");
    let mut agent = Agent::start("[scope]\nnames = [\"none\"]\n")?;
    let (config, store) = (agent.config().display().to_string(), agent.store().display().to_string());
    let recorded = ["--config", &config, "--store", &store];
    for options in [&["--core", core.as_str(), "--in", &word][..], &[&word, "--core", &core]] {
        let (code, printed, said) = crash.look(&[options, &recorded].concat(), &script)?;
        ensure!(
            code == Some(0) && printed == format!("{sum}  -\n/bin/crashes\n"),
            "{options:?}: {printed} {said}"
        );
        ensure!(said.contains(&format!("{word} has all 1 files")), "{options:?}: {said}");
    }
    let limit = std::time::Duration::from_secs(20);
    let told = agent.wait_for(&["--kind", "session"], limit, |all| all.len() >= 4)?;
    for one in &told {
        ensure!(one["purser"]["session"]["target"] == word.as_str(), "{one}");
        ensure!(one["purser"]["session"]["detail"] == format!("core {core}"), "{one}");
    }
    agent.stop()
}

#[test]
fn kept_by_systemd_and_asked_for_by_sudo() -> Result<()> {
    let _lab = Lab::enter()?;
    let Some(crash) = Crash::of("keptcore")? else { return Ok(()) };
    let number = RandomState::new().build_hasher().finish();
    let (name, boot) = (format!("t{:08x}", number >> 32), "0123456789abcdef0123456789abcdef");
    fs::create_dir_all(STORE)?;
    let kept = Path::new(STORE).join(format!("core.{name}.0.{boot}.4194399.1700000000000000"));
    fs::copy(crash.path("core"), &kept)?;
    let tried = (|| -> Result<()> {
        for which in [name.as_str(), "4194399"] {
            let (code, _, said) = crash.look(&["--core", &format!("coredump:{which}")], &["true"])?;
            ensure!(code == Some(0) && said.contains(" has all 1 files"), "{which}: {said}");
        }
        let listed = run(purser().args(["debug", "cores"]).arg(crash.dir.path()))?;
        let line =
            listed.lines().find(|line| line.contains(&format!("coredump:core.{name}."))).unwrap_or_default();
        ensure!(line.contains(&crash.target.name) && line.contains("4194399"), "{listed}");
        Ok(())
    })();
    fs::remove_file(&kept)?;
    tried?;
    // Only one's own, or those of a container.
    let core = crash.path("core");
    let by_sudo = |options: &[&str]| -> Result<(Option<i32>, String, String)> {
        let mut debug = debug(&crash.target.name, &[], &[])?;
        let program = debug.get_program().to_owned();
        debug = Command::new(program);
        debug.args(["debug", "--kit", "base"]).args(options).env("SUDO_UID", "4711").args(["--", "true"]);
        look(&mut debug)
    };
    let (code, _, said) = by_sudo(&["--core", &core])?;
    ensure!(code == Some(2) && said.contains("belongs to another user"), "{code:?} {said}");
    let listed = || run(purser().args(["debug", "cores"]).arg(crash.dir.path()).env("SUDO_UID", "4711"));
    ensure!(!listed()?.contains(&core), "the core of another user is listed");
    let refused = |said: &str| said.contains("belongs to another user");
    let (_, _, said) = by_sudo(&[&crash.target.name, "--core", "/cores/core"])?;
    ensure!(!refused(&said), "{said}");
    chown(&core, Some(4711), None)?;
    ensure!(listed()?.contains(&core), "one's own core is not listed");
    let (_, _, said) = by_sudo(&["--core", &core])?;
    ensure!(!refused(&said), "{said}");
    Ok(())
}

#[test]
fn a_session_for_a_core_is_recorded() -> Result<()> {
    let _lab = Lab::enter()?;
    let Some(crash) = Crash::of("coreaudit")? else { return Ok(()) };
    let mut agent = Agent::start(&format!("[scope]\nnames = [\"{}\"]\n", crash.target.name))?;
    let core = crash.path("core");
    let (config, store) = (agent.config().display().to_string(), agent.store().display().to_string());
    let (code, _, said) =
        crash.look(&["--core", &core, "--config", &config, "--store", &store], &["true"])?;
    ensure!(code == Some(0), "{said}");
    let limit = std::time::Duration::from_secs(20);
    let told = agent.wait_for(&["--kind", "session"], limit, |all| all.len() >= 2)?;
    let session = &told[0]["purser"]["session"];
    ensure!(session["target"] == crash.target.name, "{session}");
    ensure!(session["detail"] == format!("core {core}"), "{session}");
    agent.stop()
}

#[test]
fn a_core_in_memory_that_somebody_else_may_not_read() -> Result<()> {
    let _lab = Lab::enter()?;
    let Some(crash) = Crash::of("coreuser")? else { return Ok(()) };
    let core = crash.path("core");
    fs::set_permissions(&core, fs::Permissions::from_mode(0o600))?;
    let sum = sum(&core)?;
    for user in ["0", "65532"] {
        let script = ["sh", "-c", "sha256sum < $CORE"];
        let (code, printed, said) = crash.look(&["--core", &core, "--user", user], &script)?;
        ensure!(code == Some(0) && printed.starts_with(&sum), "{user}: {code:?} {said}");
    }
    wait_until("no copies are left", || Ok(no_copies().is_ok()))
}
