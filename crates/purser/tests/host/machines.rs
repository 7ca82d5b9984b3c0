// SPDX-License-Identifier: Apache-2.0
//! Containers of LXC and of systemd-nspawn: the real programs, each with a root of its own. The first
//! process, those started from outside and their ends carry the container's name.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::agent::Agent;
use crate::group::Group;
use crate::lab::{Lab, output, run, temporary, unique, wait_limited};
use crate::record::{is, number, strings, text};

const SCOPE: &str =
    "[scope]\ninclude = [\"container\"]\nnames = [\"purser-test-lxc-*\", \"purser-test-nspawn-*\"]\n";
const SEEN_LIMIT: Duration = Duration::from_secs(30);
const END_LIMIT: Duration = Duration::from_secs(20);
/// Starts a program, then is one that runs until it is killed. A file, because LXC takes no quotes.
const LIVES_ON: (&str, &str) =
    ("bin/lives-on", "#!/bin/sh\n/bin/load-target \"$1\" 1\nexec /bin/sleep 1000\n");
/// Starts a program and ends with a code of its own.
const ENDS: &str = "/bin/load-target $0 1; exit 7";

#[test]
fn containers_of_lxc() -> Result<()> {
    let lab = Lab::enter()?;
    let place = Place::make(&lab)?;
    let mut agent = Agent::start(SCOPE)?;
    let (long, short) = (unique("purser-test-lxc-long"), unique("purser-test-lxc-short"));

    let init = format!("lxc.init.cmd=/{} {long}", LIVES_ON.0);
    let running = Lxc::start(place.lxc("lxc-start", &long)?.args(["-F", "-s", &init]), &place, &long)?;
    let lives = |documents: &[Value]| programs(documents, &["/bin/sleep", "1000"]).len() == 1;
    agent.wait_for(&["--kind", "exec"], SEEN_LIMIT, lives)?;
    run(place.command("lxc-attach", &long).args(["--", "/bin/load-target", &long, "2"]))?;
    running.stop()?;
    let documents = settled(&agent, &long)?;
    belong_to(&documents, &long, "lxc")?;
    ends(&documents, &["/bin/load-target", &long, "1"], 0)?;
    ends(&documents, &["/bin/load-target", &long, "2"], 0)?;
    is_first(one(&documents, &["/bin/sh", "/bin/lives-on", &long])?)?;
    let slept = ends(&documents, &["/bin/sleep", "1000"], 137)?;
    ensure!(text(slept, "/purser/signal") == "SIGKILL", "not killed: {slept:#}");

    let command = ["--", "/bin/sh", "-c", ENDS, &short];
    let ended = output(place.lxc("lxc-execute", &short)?.args(command))?;
    ensure!(ended.status.code() == Some(7), "lxc-execute: {ended:?}");
    let documents = settled(&agent, &short)?;
    belong_to(&documents, &short, "lxc")?;
    ends(&documents, &["/bin/load-target", &short, "1"], 0)?;
    ends(&documents, &["/bin/sh", "-c", ENDS, &short], 7)?;
    agent.verify()?;
    agent.stop()
}

/// systemd gives a machine the cgroup of its unit, or machined makes a scope. nspawn itself starts in there,
/// which makes its own start the machine's.
#[test]
fn containers_of_nspawn() -> Result<()> {
    let lab = Lab::enter()?;
    let place = Place::make(&lab)?;
    let mut agent = Agent::start(SCOPE)?;
    for (kind, before, after) in [("service", "systemd-nspawn@", ".service"), ("scope", "machine-", ".scope")]
    {
        let name = unique(&format!("purser-test-nspawn-{kind}"));
        let unit = format!("{before}{}{after}", name.replace('-', r"\x2d"));
        let group = Group::make(&Path::new("machine.slice").join(unit))?;
        let ended = output(&mut group.enter(&place.nspawn(&name, &["/bin/sh", "-c", ENDS, &name])))?;
        ensure!(ended.status.code() == Some(7), "systemd-nspawn: {ended:?}");
        let documents = settled(&agent, &name)?;
        belong_to(&documents, &name, "nspawn")?;
        is_first(one(&documents, &["/bin/sh", "-c", ENDS, &name])?)?;
        ends(&documents, &["/bin/load-target", &name, "1"], 0)?;
        ends(&documents, &["/bin/sh", "-c", ENDS, &name], 7)?;
    }
    agent.verify()?;
    agent.stop()
}

/// With `--keep-unit` and no unit of its own a machine stays in the cgroup of the one who started it:
/// nothing tells it from that one's other programs, so it is the host's.
#[test]
fn nspawn_without_a_cgroup_is_the_hosts() -> Result<()> {
    let lab = Lab::enter()?;
    let place = Place::make(&lab)?;
    let mut agent = Agent::start("[scope]\ninclude = [\"container\", \"host\"]\n")?;
    let name = unique("purser-test-nspawn-bare");
    let group = Group::make(Path::new(&format!("user.slice/session-{name}.scope")))?;
    let ended = output(&mut group.enter(&place.nspawn(&name, &["/bin/sh", "-c", ENDS, &name])))?;
    ensure!(ended.status.code() == Some(7), "systemd-nspawn: {ended:?}");
    let target = ["/bin/load-target", &name, "1"];
    let seen = |documents: &[Value]| programs(documents, &target).len() == 1;
    let documents = agent.wait_for(&["--kind", "exec"], SEEN_LIMIT, seen)?;
    for args in [&target[..], &["/bin/sh", "-c", ENDS, &name]] {
        let exec = one(&documents, args)?;
        ensure!(number(exec, "/purser/namespace_pid").is_some(), "not inside: {exec:#}");
        ensure!(exec.get("container").is_none(), "{exec:#}");
    }
    agent.verify()?;
    agent.stop()
}

/// A root of their own for containers that write into it, and where LXC keeps its state.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn make(lab: &Lab) -> Result<Place> {
        let dir = TempDir::with_prefix_in("machines-", temporary())?;
        run(Command::new("cp").arg("-a").arg(lab.root()).arg(dir.path().join("root")))?;
        // nspawn wants what looks like a system.
        fs::create_dir_all(dir.path().join("root/usr"))?;
        let script = dir.path().join("root").join(LIVES_ON.0);
        fs::write(&script, LIVES_ON.1)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        Ok(Place { dir })
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// A program of LXC about the container `name`.
    fn command(&self, program: &str, name: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["-n", name, "-P"]).arg(self.dir.path());
        command
    }

    /// The same for one that starts a container.
    pub(crate) fn lxc(&self, program: &str, name: &str) -> Result<Command> {
        let config = self.dir.path().join(format!("{name}.conf"));
        let root = self.root();
        let lines = format!(
            "lxc.uts.name = {name}\nlxc.rootfs.path = dir:{}\nlxc.net.0.type = empty\n\
             lxc.mount.auto = proc:mixed sys:ro\nlxc.autodev = 1\nlxc.pty.max = 1\n",
            root.display()
        );
        fs::write(&config, lines)?;
        let mut command = self.command(program, name);
        command.arg("-f").arg(config);
        Ok(command)
    }

    pub(crate) fn nspawn(&self, name: &str, program: &[&str]) -> Command {
        let mut command = Command::new("systemd-nspawn");
        command.args(["-q", "--register=no", "--keep-unit", "--console=pipe", "--machine", name, "-D"]);
        command.arg(self.root()).args(program);
        command
    }
}

/// A container of LXC that runs; killed when this is dropped.
pub(crate) struct Lxc<'a> {
    place: &'a Place,
    name: &'a str,
    child: Child,
}

impl<'a> Lxc<'a> {
    pub(crate) fn start(command: &mut Command, place: &'a Place, name: &'a str) -> Result<Lxc<'a>> {
        let said = fs::File::create(place.dir.path().join("said"))?;
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        Ok(Lxc { place, name, child })
    }

    pub(crate) fn stop(mut self) -> Result<()> {
        run(self.place.command("lxc-stop", self.name).arg("-k"))?;
        wait_limited(&mut self.child, END_LIMIT)?.context("lxc-start did not end")?;
        Ok(())
    }
}

impl Drop for Lxc<'_> {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Best effort on the way out of a failed test; the failure itself is what is reported.
            drop(run(self.place.command("lxc-stop", self.name).arg("-k")));
            drop(self.child.wait());
        }
    }
}

/// What `purser log --container NAME` has once every program in it has ended.
fn settled(agent: &Agent, name: &str) -> Result<Vec<Value>> {
    let all_ended = |documents: &[Value]| {
        let ours = |document: &&Value| is(document, "exec") && text(document, "/container/name") == name;
        let execs = documents.iter().filter(ours);
        execs.clone().count() > 0 && execs.clone().all(|exec| end(documents, exec).is_some())
    };
    agent.wait_for(&[], SEEN_LIMIT, all_ended)?;
    agent.log(&["--container", name])
}

fn belong_to(documents: &[Value], name: &str, runtime: &str) -> Result<()> {
    for document in documents {
        let of = ["id", "name", "runtime"].map(|field| text(document, &format!("/container/{field}")));
        ensure!(of == [name, name, runtime], "of {of:?}, not {name}: {document:#}");
    }
    Ok(())
}

fn programs<'a>(documents: &'a [Value], args: &[&str]) -> Vec<&'a Value> {
    let execs = documents.iter().filter(|document| is(document, "exec"));
    execs.filter(|document| strings(document, "/process/args") == args).collect()
}

fn one<'a>(documents: &'a [Value], args: &[&str]) -> Result<&'a Value> {
    match programs(documents, args).as_slice() {
        [exec] => Ok(exec),
        others => anyhow::bail!("{} executions of {args:?} in {documents:#?}", others.len()),
    }
}

fn is_first(exec: &Value) -> Result<()> {
    ensure!(number(exec, "/purser/namespace_pid") == Some(1), "not the first process: {exec:#}");
    Ok(())
}

/// The end of one program, which must have this code.
fn ends<'a>(documents: &'a [Value], args: &[&str], code: u64) -> Result<&'a Value> {
    let exit = end(documents, one(documents, args)?).with_context(|| format!("{args:?} has no end"))?;
    ensure!(number(exit, "/process/exit_code") == Some(code), "{args:?} must end with {code}: {exit:#}");
    Ok(exit)
}

fn end<'a>(documents: &'a [Value], exec: &Value) -> Option<&'a Value> {
    let id = text(exec, "/process/entity_id");
    documents.iter().find(|document| is(document, "exit") && text(document, "/process/entity_id") == id)
}
