// SPDX-License-Identifier: Apache-2.0
//! Who comes by sudo, under a policy: hears only of containers that the policy has for them, opens no port that it does
//! not name, and attaches to and ends own sessions alone. What is refused is recorded.
//!
//! The policy of such a person is the host's, in /etc: each command runs in mounts of its own, where that is another.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::{Container, debug, kits, wait_until};
use crate::agent::{Agent, purser};
use crate::lab::{Lab, output, run, temporary, wait_limited};

const LIMIT: Duration = Duration::from_secs(20);
/// Users without a name.
const ANN: &str = "54711";
const BOB: &str = "54712";

/// A host's /etc with a policy.
pub(super) struct Host {
    etc: TempDir,
}

impl Host {
    pub(super) fn with(agent: &Agent, policy: &str) -> Result<Host> {
        let etc = TempDir::with_prefix_in("etc-", temporary())?;
        fs::create_dir_all(etc.path().join("purser"))?;
        let (store, kits) = (agent.store(), kits()?);
        let head =
            format!("[agent]\nstore = \"{}\"\n[debug]\nkits = \"{}\"\n", store.display(), kits.display());
        fs::write(etc.path().join("purser/purser.toml"), head + policy)?;
        Ok(Host { etc })
    }

    /// Another file of it.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.etc.path().join(name);
        fs::create_dir_all(path.parent().context("a name without a directory")?)?;
        Ok(fs::write(path, text)?)
    }

    /// `purser debug WORDS` as sudo starts it for this user.
    fn as_user(&self, user: &str, words: &[&str]) -> Command {
        self.purser(user, &[&["debug"], words].concat())
    }

    /// `purser WORDS` as sudo starts it for this user.
    fn purser(&self, user: &str, words: &[&str]) -> Command {
        // Two at a time have these mounts, which one upper layer is not for.
        let script = "mount -t overlay none -o \"lowerdir=$1:/etc\" /etc; shift; exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-ec", script, "sh"]).arg(self.etc.path());
        command.arg(PathBuf::from(purser().get_program())).args(words);
        command.env("SUDO_UID", user).stdin(Stdio::null());
        command
    }

    pub(super) fn said(&self, user: &str, words: &[&str]) -> Result<(Option<i32>, String)> {
        let ended = output(&mut self.as_user(user, words))?;
        let text = [ended.stdout, ended.stderr].concat();
        Ok((ended.status.code(), String::from_utf8_lossy(&text).into_owned()))
    }
}

fn refusals(agent: &Agent, count: usize) -> Result<Vec<Value>> {
    let all = agent.wait_for(&["--kind", "session"], LIMIT, |all| {
        all.iter().filter(|one| one["event"]["action"] == "session_refused").count() >= count
    })?;
    Ok(all.into_iter().filter(|one| one["event"]["action"] == "session_refused").collect())
}

#[test]
fn who_comes_by_sudo_has_what_the_policy_gives() -> Result<()> {
    let _lab = Lab::enter()?;
    let (mine, other) = (Container::idle("mine", &[])?, Container::idle("other", &[])?);
    let mut agent = Agent::start(&format!("[scope]\nnames = [\"{}\", \"{}\"]\n", mine.name, other.name))?;
    let policy = format!(
        "[[debug.allow]]\nname = \"ann\"\nusers = [\"{ANN}\", \"{BOB}\"]\ntargets = [\"{}\"]\nforward = [7777]\n",
        mine.name
    );
    let host = Host::with(&agent, &policy)?;
    let (code, told) = host.said(ANN, &[&mine.name, "--", "id", "-u"])?;
    ensure!(code == Some(0) && told == "0\n", "{code:?} {told}");

    // A container that is not there, and one that is not to be known of, are the same to them.
    let (code, nothing) = host.said(ANN, &["purser-test-nobody", "--", "id"])?;
    ensure!(code == Some(125) && nothing.contains(&mine.name) && !nothing.contains(&other.name), "{nothing}");
    let (code, hidden) = host.said(ANN, &[&other.name, "--", "id"])?;
    let same = hidden.replace(&other.name, "purser-test-nobody") == nothing;
    ensure!(code == Some(125) && same, "{hidden}\n{nothing}");
    let refused = refusals(&agent, 1)?;
    ensure!(refused[0]["purser"]["session"]["target"] == other.name, "{refused:?}");

    // Ports.
    for words in [["-L", "8080:80"], ["-L", "0.0.0.0:7777:7777"]] {
        let (code, told) = host.said(ANN, &[&[mine.name.as_str()], &words[..]].concat())?;
        ensure!(code == Some(125) && told.contains("not with -L"), "{words:?}: {told}");
    }
    refusals(&agent, 3)?;

    // Sessions.
    let words = [mine.name.as_str(), "--", "sleep", "1000"];
    let mut session = host.as_user(ANN, &words).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let list = |user: &str| -> Result<Vec<Value>> {
        let (_, text) = host.said(user, &["sessions", "-o", "json"])?;
        text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    };
    wait_until("the session is listed for who began it", || Ok(list(ANN)?.len() == 1))?;
    ensure!(list(BOB)?.is_empty(), "somebody else's session is listed");
    let id = list(ANN)?[0]["id"].as_str().unwrap_or_default().to_owned();
    for action in ["attach", "end"] {
        let (code, told) = host.said(BOB, &[action, &id])?;
        ensure!(code != Some(0) && told.contains("no session"), "{action}: {code:?} {told}");
    }
    let refused = refusals(&agent, 5)?;
    let detail = |one: &Value| one["purser"]["session"]["detail"].as_str().unwrap_or_default().to_owned();
    let tried = refused.iter().map(detail).filter(|text| text.contains(&id) && text.contains(ANN)).count();
    ensure!(tried == 2 && refused.iter().any(|one| one["user"]["id"] == BOB), "{refused:?}");
    // It has no terminal, so its own user is told that, and not that it is not there.
    let (_, told) = host.said(ANN, &["attach", &id])?;
    ensure!(told.contains("must be a terminal"), "{told}");
    let (code, told) = host.said(ANN, &["end", &id])?;
    ensure!(code == Some(0), "{told}");
    wait_limited(&mut session, LIMIT)?.context("the session does not end")?;
    agent.stop()
}

/// What a shell offers: the containers and sessions that one may know of, and the kits of the configuration.
#[test]
fn a_shell_offers_what_one_may_know_of() -> Result<()> {
    let _lab = Lab::enter()?;
    let (mine, other) = (Container::idle("offered", &[])?, Container::idle("unoffered", &[])?);
    let mut agent = Agent::start("")?;
    let policy = format!(
        "[[debug.allow]]\nname = \"ann\"\nusers = [\"{ANN}\", \"{BOB}\"]\ntargets = [\"{}\"]\n",
        mine.name
    );
    let host = Host::with(&agent, &policy)?;
    let offered = |user: &str, words: &[&str]| -> Result<Vec<String>> {
        let mut asks = host.purser(user, &[&["--", "purser"], words].concat());
        let ended = output(asks.env("PURSER_COMPLETE", "fish"))?;
        ensure!(ended.status.success(), "{ended:?}");
        let text = String::from_utf8(ended.stdout)?;
        Ok(text.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect())
    };
    let start = &mine.name[..mine.name.len() - 1];
    ensure!(offered(ANN, &["debug", start])? == [mine.name.as_str()], "the container is not offered");
    ensure!(
        !offered(ANN, &["debug", ""])?.contains(&other.name),
        "one that is not to be known of is offered"
    );
    ensure!(offered(ANN, &["debug", &mine.name, "--kit", "ba"])? == ["base"], "the kit is not offered");
    ensure!(offered(ANN, &["kit", "show", "ba"])? == ["base"], "the kit is not offered");

    let words = [mine.name.as_str(), "--", "sleep", "1000"];
    let mut session = host.as_user(ANN, &words).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let ids = |user: &str, action: &str| -> Result<Vec<String>> {
        let mut all = offered(user, &["debug", action, ""])?;
        all.retain(|word| !word.starts_with('-'));
        Ok(all)
    };
    wait_until("the session is offered to who began it", || Ok(ids(ANN, "end")?.len() == 1))?;
    ensure!(ids(BOB, "end")?.is_empty(), "somebody else's session is offered");
    ensure!(ids(ANN, "attach")?.is_empty(), "one without a terminal is offered to be attached to");
    let (code, told) = host.said(ANN, &["end", &ids(ANN, "end")?[0]])?;
    ensure!(code == Some(0), "{told}");
    wait_limited(&mut session, LIMIT)?.context("the session does not end")?;
    agent.stop()
}

/// Somebody's own process and own files, which say that they are a container's that the policy has for them.
#[test]
fn a_process_that_only_says_it_is_a_container() -> Result<()> {
    let _lab = Lab::enter()?;
    let (mine, other) = (Container::idle("said", &[])?, Container::idle("meant", &[])?);
    let policy =
        format!("[[debug.allow]]\nname = \"ann\"\nusers = [\"{ANN}\"]\ntargets = [\"{}\"]\n", mine.name);
    let mut agent = Agent::start("")?;
    let host = Host::with(&agent, &policy)?;

    // Whoever has a cgroup of their own may call those below it as they like.
    let tree = Path::new("/sys/fs/cgroup/pids");
    let tree = if tree.is_dir() { tree } else { Path::new("/sys/fs/cgroup") };
    let id = run(Command::new("docker").args(["inspect", "-f", "{{.Id}}", &mine.name]))?;
    let group = tree.join(format!("docker-{}.scope", id.trim()));
    fs::create_dir(&group)?;
    let script = "echo $$ > \"$1/cgroup.procs\"; exec setpriv --reuid \"$2\" --clear-groups sleep 1000";
    let said = ["", "unshare -m "].map(|own_mounts| -> Result<(Option<i32>, String)> {
        let script = script.replace("exec ", &format!("exec {own_mounts}"));
        let mut liar = Command::new("sh").args(["-ec", &script, "sh"]).arg(&group).arg(ANN).spawn()?;
        let sleeps = wait_until("it sleeps", || {
            Ok(fs::read_to_string(format!("/proc/{}/comm", liar.id()))? == "sleep\n")
        });
        let said = sleeps.and_then(|()| host.said(ANN, &[&format!("pid:{}", liar.id()), "--", "id", "-u"]));
        liar.kill()?;
        liar.wait()?;
        said
    });
    wait_until("the cgroup can be removed", || Ok(fs::remove_dir(&group).is_ok()))?;
    for said in said {
        let (code, told) = said?;
        ensure!(code == Some(125) && told.contains("no entry is for this user"), "{code:?} {told}");
    }

    // A state of runc's that leads to another container, and an archive, by way of a core.
    let dir = TempDir::with_prefix_in("ann-", temporary())?;
    let core = dir.path().join("core");
    fs::write(&core, fs::read("/bin/busybox")?)?;
    chown(&core, Some(ANN.parse()?), None)?;
    let state = dir.path().join(&mine.name);
    fs::create_dir(&state)?;
    fs::write(state.join("state.json"), format!(r#"{{"init_process_pid":{}}}"#, other.pid))?;
    let words = [format!("runc:{}", state.display()), format!("archive:{}", dir.path().display())];
    for word in &words {
        let core = core.display().to_string();
        let (code, told) = host.said(ANN, &["--core", &core, "--in", word, "--", "id", "-u"])?;
        ensure!(code == Some(2) && told.contains("is not for who comes by sudo"), "{code:?} {told}");
    }

    // Images are not told of, either.
    let (code, told) = host.said(ANN, &["image:no-such-image", "--", "id"])?;
    ensure!(code == Some(125) && !told.contains("these are here"), "{code:?} {told}");
    // Nobody is asked on another host that no entry is for.
    let (code, told) = host.said(ANN, &["--host", "unix:///no/such.sock", "web", "--", "id"])?;
    ensure!(code == Some(125) && told.contains("no entry is for this user"), "{code:?} {told}");
    agent.stop()
}

/// A session for somebody on another host is not that of who has the same number here.
#[test]
fn a_user_of_another_host_is_nobody_here() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Container::idle("behalf", &[])?;
    let id = format!("{:08x}", std::process::id());
    let behalf = format!(
        r#"{{"id":"{id}","uid":{ANN},"user":"ann@far","from":"x","limit_secs":null,"containers":null}}"#
    );
    let mut session = debug(&target.name, &["--behalf", &behalf], &["sleep", "1000"])?;
    let mut session = session.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let list = |user: &str| run(purser().args(["debug", "sessions"]).env("SUDO_UID", user));
    let told = wait_until("root sees it", || Ok(list("0")?.contains(&id))).and_then(|()| list(ANN));
    session.kill()?;
    session.wait()?;
    ensure!(!told?.contains(&id), "it is taken for the session of a user of this host");
    Ok(())
}
