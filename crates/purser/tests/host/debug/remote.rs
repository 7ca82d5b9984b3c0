// SPDX-License-Identifier: Apache-2.0
//! Sessions on another host, through its Docker daemon: over a socket, TLS and SSH, with everything that a session here
//! has, and nothing left there, whoever is killed.

pub(crate) mod far;
mod old; // a daemon as old as can be
mod podman; // Podman's API in place of Docker's

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::terminal::Person;
use super::wait_until;
use crate::agent::Agent;
use crate::lab::{Lab, output, run, signal, wait_limited};
use far::Far;

const LIMIT: Duration = Duration::from_secs(40);
/// How many clients are killed, and the longest time until then.
const KILLS: u32 = 20;
const LATEST: Duration = Duration::from_millis(1000);

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Wrong in this way, with exit code 125.
fn fails(mut command: Command, why: &str) -> Result<()> {
    let ended = output(&mut command)?;
    ensure!(ended.status.code() == Some(125) && said(&ended).contains(why), "not {why:?}: {ended:?}");
    Ok(())
}

#[test]
fn codes_pipes_and_errors() -> Result<()> {
    let lab = Lab::enter()?;
    let far = Far::start(&lab)?;
    let unix = far.unix();
    let debug = |options: &[&str], target: &str, command: &[&str]| far.debug(&unix, options, target, command);
    for code in [0, 1, 42, 255] {
        let ended = output(&mut debug(&[], "web", &["sh", "-c", &format!("exit {code}")])?)?;
        ensure!(ended.status.code() == Some(code), "{code}: {ended:?}");
    }
    for (command, code) in [(&["sh", "-c", "kill -9 $$"][..], 137), (&["nowhere"], 127), (&["/etc"], 126)] {
        let ended = output(&mut debug(&[], "web", command)?)?;
        ensure!(ended.status.code() == Some(code), "{command:?}: {ended:?}");
    }
    let both = output(&mut debug(&["-e", "A=b c"], "web", &["sh", "-c", "echo out $A; echo err >&2"])?)?;
    ensure!(both.stdout == b"out b c\n" && said(&both) == "err\n", "{both:?}");
    // The tools are the kit's and the files the target's.
    let found =
        run(&mut debug(&[], "web", &["sh", "-c", "echo $0 $PATH; ls /bin/execmodes; ls /dev/.purser"])?)?;
    ensure!(found.contains("/dev/.purser/base/bin") && found.ends_with("/bin/execmodes\nbase\n"), "{found}");
    let id = run(&mut far.docker(&["inspect", "-f", "{{.Id}}", "web"]))?;
    for target in ["docker:web", id.trim(), &id[..12]] {
        ensure!(run(&mut debug(&[], target, &["echo", "in"])?)? == "in\n", "not by {target}");
    }
    let nope = output(&mut debug(&[], "nope", &["true"])?)?;
    ensure!(nope.status.code() == Some(125), "{nope:?}");
    let text = said(&nope);
    ensure!(
        text.contains("no container is called \"nope\"; these run here:") && text.contains(" web (docker)"),
        "{text}"
    );
    ensure!(!text.contains("purser-debug"), "{text}");
    let ended = output(&mut debug(&["--kit", "none"], "web", &["true"])?)?;
    ensure!(ended.status.code() == Some(2) && said(&ended).contains("no kit \"none\""), "{ended:?}");
    binary(&far, &unix)?;
    // Who reads no more, and who never reads.
    let line = format!("{} | head -c 5", shell(&debug(&[], "web", &["cat", "/dev/zero"])?));
    ensure!(run(Command::new("sh").args(["-c", &line]))? == "\0\0\0\0\0", "not the first five bytes");
    let mut sleeper = debug(&[], "web", &["sh", "-c", "sleep 1; echo done"])?;
    let zeros = fs::File::open("/dev/zero")?;
    let done = sleeper.stdin(zeros).output()?;
    ensure!(done.stdout == b"done\n", "{done:?}");
    ensure!(run(&mut far.docker(&["diff", "web"]))?.is_empty(), "the target's files have changed");
    // One image, whatever was asked for, and another in its place when a kit is another.
    let images = || run(&mut far.docker(&["images", "-q", "--no-trunc", "purser-debug"]));
    let image = images()?;
    ensure!(image.lines().count() == 1, "{image}");
    let newer = far.dir.join("newer");
    run(Command::new("cp").arg("-a").arg(super::kits()?).arg(&newer))?;
    fs::write(newer.join("base/root/new"), "new\n")?;
    let mut with_newer = crate::agent::purser();
    with_newer.args(["debug", "-H", &unix, "--kits"]).arg(&newer).args([
        "web",
        "--",
        "cat",
        "/dev/.purser/base/new",
    ]);
    ensure!(run(&mut with_newer)? == "new\n", "not the newer kit");
    ensure!(images()?.lines().count() == 1 && images()? != image, "{image}");
    far.is_clean(&["web"])
}

/// As a shell writes it.
fn shell(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words
        .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''")))
        .collect::<Vec<_>>()
        .join(" ")
}

/// What goes through comes back to the byte.
fn binary(far: &Far, host: &str) -> Result<()> {
    let mut bytes = vec![0; 20 << 20];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut cat =
        far.debug(host, &[], "web", &["cat"])?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = cat.stdin.take().context("no input")?;
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || input.write_all(&sent));
    let ended = cat.wait_with_output()?;
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    ensure!(
        ended.status.success() && ended.stdout == bytes,
        "{} of {} bytes",
        ended.stdout.len(),
        bytes.len()
    );
    Ok(())
}

#[test]
fn a_terminal_there() -> Result<()> {
    let lab = Lab::enter()?;
    let far = Far::start(&lab)?;
    let mut person = Person::at(far.debug(&far.unix(), &["-it"], "web", &["sh"])?)?;
    person.sees("capabilities: ")?;
    person.sees("# ")?;
    person.resize(33, 111)?;
    // The keys that leave a session here are keys like others.
    person.types("tty; stty size; echo $TERM-$((6*7))\r")?;
    person.sees("xterm-42")?;
    ensure!(person.has_seen("/dev/pts/") && person.has_seen("33 111"), "another terminal");
    person.types("cat\r")?;
    person.sees("cat")?;
    person.types("\x10\x11x\r")?;
    person.sees("x")?;
    person.types("\x03")?;
    person.sees("# ")?;
    let script = "trap 'echo drawn-$(stty size)' WINCH; printf '\\033[?25l'; while :; do sleep 0.01; done";
    person.types(&format!("sh -c \"{}\"\r", script.replace('$', "\\$")))?;
    person.sees("\x1b[?25l")?;
    person.receives("TSTP")?;
    person.sees("\x1b[?25h\x1b[m")?;
    wait_until("the terminal is given back", || person.is_cooked())?;
    person.receives("CONT")?;
    person.sees("drawn-33 111")?;
    ensure!(!person.is_cooked()?, "the terminal is not raw any more");
    person.types("\x03")?;
    person.sees("# ")?;
    person.types("exit 19\r")?;
    ensure!(person.ends()? == Some(19), "another exit code");
    ensure!(person.is_cooked()?, "the terminal is left raw");
    far.is_clean(&["web"])?;
    for word in ["TERM", "HUP"] {
        let mut person = Person::at(far.debug(&far.unix(), &[], "web", &["sh"])?)?;
        person.sees("# ")?;
        person.receives(word)?;
        person.ends()?;
        ensure!(person.is_cooked()?, "the terminal is left raw by {word}");
        far.is_clean(&["web"])?;
    }
    Ok(())
}

#[test]
fn certificates() -> Result<()> {
    let lab = Lab::enter()?;
    let far = Far::start(&lab)?;
    let here = far.tcp("127.0.0.1");
    let with = |host: &str, name: &str| {
        let dir = far.dir.join(name).display().to_string();
        far.debug(host, &["--cert-dir", &dir], "web", &["sh", "-c", "cat; exit 3"])
    };
    let ended = with(&here, "client")?.stdin(Stdio::null()).output()?;
    ensure!(ended.status.code() == Some(3), "{ended:?}");
    binary_tls(&far, &here)?;
    fails(with(&here, "unknown")?, "its certificate is not accepted: ")?;
    fails(with(&far.tcp("localhost"), "client")?, "its certificate is not accepted: ")?;
    fails(with(&here, "stranger")?, "the connection to tcp://")?;
    fails(with(&here, "nowhere")?, "ca.pem: there is no such file")?;
    let plain = output(&mut far.debug(&here, &[], "web", &["true"])?)?;
    ensure!(
        plain.status.code() == Some(125) && said(&plain).contains("HTTP request to an HTTPS server"),
        "{plain:?}"
    );
    // By a context of Docker's, and by the environment, where they are asked for.
    let config = far.dir.join("docker");
    let mut docker = Command::new("docker");
    docker.env("DOCKER_CONFIG", &config).args(["context", "create", "far", "--docker"]);
    let at = |name: &str| far.dir.join("client").join(name).display().to_string();
    run(docker.arg(format!(
        "host={here},ca={},cert={},key={}",
        at("ca.pem"),
        at("cert.pem"),
        at("key.pem")
    )))?;
    let mut by_context = crate::agent::purser();
    by_context.args(["debug", "--context", "far", "--kits"]).arg(super::kits()?);
    by_context.args(["web", "--", "echo", "in"]).env("DOCKER_CONFIG", &config);
    ensure!(run(&mut by_context)? == "in\n", "not by the context");
    let mut by_environment = far.debug("env", &[], "web", &["echo", "in"])?;
    by_environment.env("DOCKER_HOST", &here).env("DOCKER_TLS_VERIFY", "1");
    by_environment.env("DOCKER_CERT_PATH", far.dir.join("client"));
    ensure!(run(&mut by_environment)? == "in\n", "not by the environment");
    far.is_clean(&["web"])
}

fn binary_tls(far: &Far, host: &str) -> Result<()> {
    let dir = far.dir.join("client").display().to_string();
    let options = ["--cert-dir", &dir];
    let mut sum =
        far.debug(host, &options, "web", &["sh", "-c", "dd if=/dev/zero bs=1M count=20 2>/dev/null"])?;
    let ended = output(&mut sum)?;
    ensure!(
        ended.stdout.len() == 20 << 20 && ended.stdout.iter().all(|byte| *byte == 0),
        "{}",
        ended.stdout.len()
    );
    Ok(())
}

#[test]
fn through_ssh() -> Result<()> {
    let lab = Lab::enter()?;
    let far = Far::start(&lab)?;
    let ssh = far.ssh();
    let ended = output(&mut far.debug(&ssh, &[], "web", &["sh", "-c", "echo in; exit 7"])?)?;
    ensure!(ended.status.code() == Some(7) && ended.stdout == b"in\n", "{ended:?}");
    let by_socket = format!("{ssh}/run/docker.sock");
    ensure!(run(&mut far.debug(&by_socket, &[], "web", &["echo", "in"])?)? == "in\n", "not by the socket");
    for (config, why) in
        [("stranger_config", "Permission denied"), ("unknown_config", "Host key verification failed")]
    {
        let mut wrong = far.debug(&ssh, &[], "web", &["true"])?;
        wrong.env("PURSER_SSH", format!("ssh -F {}", far.dir.join(config).display()));
        fails(wrong, why)?;
    }
    fails(far.debug(&format!("{ssh}/run/nowhere.sock"), &[], "web", &["true"])?, "nowhere.sock")?;
    far.is_clean(&["web"])?;
    // The way is cut, and then it only hangs.
    for word in ["KILL", "STOP"] {
        let mut client = far.debug(&ssh, &[], "web", &["sleep", "4711"])?;
        let mut client = client.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        far.runs("4711")?;
        let id = client.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        signal(children.trim().parse().context("not one ssh")?, word)?;
        let status = wait_limited(&mut client, LIMIT)?.context("the client does not end")?;
        let mut text = String::new();
        client.stderr.take().context("no errors")?.read_to_string(&mut text)?;
        let why = if word == "KILL" { "the session on that host is over" } else { "nothing has been heard" };
        ensure!(status.code() == Some(125) && text.contains(why), "{status} {text}");
        far.is_clean(&["web"])?;
    }
    Ok(())
}

#[test]
fn whoever_is_killed_nothing_is_left() -> Result<()> {
    let lab = Lab::enter()?;
    let far = Far::start(&lab)?;
    let begin = || -> Result<_> {
        let mut client = far.debug(&far.unix(), &[], "web", &["sleep", "4711"])?;
        let client = client.stdin(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        far.runs("4711")?;
        Ok(client)
    };
    let mut client = begin()?;
    client.kill()?;
    client.wait()?;
    far.is_clean(&["web"])?;
    // At any point: from before it has asked anything to long after the program runs.
    for kill in 0..KILLS {
        let mut client = far.debug(&far.unix(), &[], "web", &["sleep", "4711"])?;
        let mut client = client.stdin(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        std::thread::sleep(LATEST * kill / KILLS);
        client.kill()?;
        client.wait()?;
    }
    // Only one that was made and not started yet stays; it holds nothing, and later sessions remove it.
    let unstarted = ["ps", "-aq", "--filter", "status=created", "--filter", "label=purser.debug.session"];
    for id in run(&mut far.docker(&unstarted))?.lines() {
        run(&mut far.docker(&["rm", id]))?;
    }
    far.is_clean(&["web"])?;
    // The container, by somebody there.
    let mut client = begin()?;
    let containers = run(&mut far.docker(&["ps", "-q", "--filter", "label=purser.debug.session"]))?;
    ensure!(containers.lines().count() == 1, "{containers}");
    run(&mut far.docker(&["rm", "-f", containers.trim()]))?;
    let status = wait_limited(&mut client, LIMIT)?.context("the client does not end")?;
    ensure!(status.code() == Some(125), "{status}");
    // Client and keeper went with it; the socket that is left then, the next session takes away.
    run(&mut far.debug(&far.unix(), &[], "web", &["true"])?)?;
    far.is_clean(&["web"])?;
    // The target.
    let mut client = begin()?;
    run(&mut far.docker(&["kill", "web"]))?;
    let status = wait_limited(&mut client, LIMIT)?.context("the client does not end")?;
    ensure!(status.code() == Some(137), "{status}");
    far.is_clean(&["web"])?;
    // A daemon that hangs is named.
    signal(far.dockerd, "STOP")?;
    let begun = Instant::now();
    let hung = output(&mut far.debug(&far.unix(), &["--timeout", "2"], "web", &["true"])?)?;
    signal(far.dockerd, "CONT")?;
    ensure!(hung.status.code() == Some(125) && begun.elapsed() < Duration::from_secs(10), "{hung:?}");
    ensure!(said(&hung).contains("docker.sock has not answered within 2 s"), "{hung:?}");
    far.is_clean(&["web"])
}

#[test]
fn both_hosts_record() -> Result<()> {
    let lab = Lab::enter()?;
    let far = Far::start(&lab)?;
    let nothing = "[scope]\nnames = [\"purser-test-none\"]\n";
    let (mut here, mut there) = (Agent::start(nothing)?, Agent::start(nothing)?);
    let (config, store) = (here.config().display().to_string(), here.store().display().to_string());
    let that_store = there.store().display().to_string();
    let that_config = format!("[agent]\nstore = \"{that_store}\"\n[debug]\nrequire_record = true\n");
    fs::write(far.file("/etc/purser/purser.toml"), that_config)?;
    let options = ["--config", &config, "--store", &store, "--reason", "case 9"];
    let mut session = far.debug(&far.unix(), &options, "web", &["sh", "-c", "exit 6"])?;
    ensure!(output(&mut session)?.status.code() == Some(6), "another exit code");
    let told = |agent: &Agent| agent.wait_for(&["--kind", "session"], LIMIT, |all| all.len() >= 2);
    let (here_told, there_told) = (told(&here)?, told(&there)?);
    let of = |document: &Value, key: &str| document["purser"]["session"][key].clone();
    for (told, target) in [(&here_told, format!("{}/web", far.unix())), (&there_told, "web".to_owned())] {
        let [start, end] = told.as_slice() else { anyhow::bail!("not two: {told:?}") };
        ensure!(of(start, "target") == target && of(start, "reason") == "case 9", "{start}");
        ensure!(of(start, "id") == of(&here_told[0], "id") && of(end, "exit_code") == 6, "{start} {end}");
    }
    let text = there_told[0].to_string();
    let user = format!("root@{}", run(&mut Command::new("hostname"))?.trim());
    ensure!(text.contains(&format!("via {}", far.unix())) && text.contains(&user), "{text}");
    ensure!(there_told[0]["container"]["id"].is_string(), "{text}");
    // That host's record is wanted, and nobody keeps one any more.
    there.stop()?;
    fails(far.debug(&far.unix(), &options, "web", &["true"])?, "no session without a record")?;
    here.stop()?;
    far.is_clean(&["web"])
}

#[test]
fn that_hosts_policy_holds() -> Result<()> {
    let lab = Lab::enter()?;
    let far = Far::start(&lab)?;
    far.container("db", &[])?;
    let policy = "[[debug.allow]]\nname = \"remote\"\nusers = [\"*@*\"]\n";
    let user = format!("root@{}", run(&mut Command::new("hostname"))?.trim());
    let policy = policy.replace("*@*", &user) + "targets = [\"web\"]\ncapabilities = []\nmax_time = \"1s\"\n";
    fs::write(far.file("/etc/purser/purser.toml"), policy)?;
    let own = far.dir.join("own.toml");
    fs::write(&own, "")?;
    let own = own.display().to_string();
    let debug = |options: &[&str], target: &str, command: &[&str]| {
        far.debug(&far.unix(), &[&["--config", &own], options].concat(), target, command)
    };
    ensure!(run(&mut debug(&[], "web", &["echo", "in"])?)? == "in\n", "what is allowed does not go");
    // Who may not work in it does not hear that it is there.
    fails(debug(&[], "db", &["true"])?, "no container that you may debug is called \"db\"")?;
    fails(debug(&["--cap-add", "SYS_PTRACE"], "web", &["true"])?, "not with capability SYS_PTRACE")?;
    let limited = output(&mut debug(&[], "web", &["sleep", "100"])?)?;
    ensure!(limited.status.code() == Some(137), "{limited:?}");
    // And this host's.
    fs::write(&own, "[[debug.allow]]\nname = \"x\"\ntargets = [\"web\", \"ssh://*\"]\n")?;
    fails(debug(&[], "web", &["true"])?, "no entry is for this user and target")?;
    fs::write(&own, format!("[[debug.allow]]\nname = \"x\"\ntargets = [\"{}/w*\"]\n", far.unix()))?;
    ensure!(run(&mut debug(&[], "web", &["echo", "in"])?)? == "in\n", "what is allowed here does not go");
    fs::write(&own, "[debug]\nrequire_record = true\n")?;
    let mut unrecorded = debug(&["--store", &far.dir.join("store").display().to_string()], "web", &["true"])?;
    let ended = output(&mut unrecorded)?;
    ensure!(!ended.status.success() && said(&ended).contains("no session without a record"), "{ended:?}");
    far.is_clean(&["web", "db"])
}

/// docker-debug's command line and configuration lead there, too, and its scripts find the target's files where they
/// look for them.
#[test]
fn as_docker_debug() -> Result<()> {
    let lab = Lab::enter()?;
    let far = Far::start(&lab)?;
    let home = tempfile::TempDir::new()?;
    let certificates = far.dir.join("client").display().to_string();
    let (tcp, ssh) = (far.tcp("127.0.0.1"), far.ssh());
    let text = format!(
        "config_default = \"ssh\"\ntimeout = \"30s\"\n[config.ssh]\nhost = \"{ssh}\"\nversion = \"1.12\"\n\
         [config.tls]\nhost = \"{tcp}\"\ntls = true\ncert_dir = \"{certificates}\"\n\
         [config.bad]\nhost = \"{tcp}\"\ntls = true\n"
    );
    std::fs::create_dir(home.path().join(".docker-debug"))?;
    std::fs::write(home.path().join(".docker-debug/config.toml"), text)?;
    let docker_debug = |words: &[&str]| -> Result<Command> {
        let mut command = crate::agent::purser();
        command.args(["debug", "--as", "docker-debug", "--kits"]).arg(crate::debug::kits()?).args(words);
        command.env("PURSER_SSH", format!("ssh -F {}", far.dir.join("ssh_config").display()));
        command.env("HOME", home.path()).env_remove("DOCKER_HOST");
        Ok(command)
    };
    for options in [&[][..], &["-n", "tls"], &["-H", &tcp, "-c", &certificates]] {
        let script =
            ["-t", "/etc", "-v", "$c/bin:/tools:ro", "web", "sh", "-c", "pwd; ls -d /tools/sh; exit 6"];
        let ended = output(&mut docker_debug(&[options, &script].concat())?)?;
        ensure!(ended.stdout == b"/mnt/container/etc\n/tools/sh\n", "{options:?}: {ended:?}");
        ensure!(ended.status.code() == Some(6), "{options:?}: {ended:?}");
    }
    fails(docker_debug(&["-n", "bad", "web", "true"])?, "TLS needs a directory")?;
    let ended = output(&mut docker_debug(&["-v", "/etc:/x", "web", "true"])?)?;
    ensure!(ended.status.code() == Some(2) && said(&ended).contains("does not go with --host"), "{ended:?}");
    ensure!(run(&mut far.docker(&["diff", "web"]))?.is_empty(), "the target's files have changed");
    far.is_clean(&["web"])
}
