// SPDX-License-Identifier: Apache-2.0
//! Root in a container, with all the rights Docker can give it and the agent's store and socket at hand,
//! looks for the password of a sink, and so does somebody on the host without root's right to trace.
//! The same search finds other secrets there, and the password where the host's root may look.

use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::thread::capabilities;

use crate::agent::{Agent, purser};
use crate::kafka::broker::{Broker, SCRAM_PASSWORD};
use crate::kafka::sinks::{caught_up, wait_for_sinks};
use crate::lab::{IMAGE, Lab, output, run, source_dir, temporary, unique};
use crate::restart::{SEEN_LIMIT, execute};

const SCOPE: &str = "[scope]\ninclude = [\"container\"]\nnames = [\"purser-test-hostile-*\"]\n";
/// What the search is to find in the container.
const CONTROL: &str = "control-of-the-search-1893";
/// What a container can ask the agent by its socket and read from its store.
const QUESTIONS: &str = "status -o json|stats -o json|sink ls -o json|sink ls|rule ls -o json|doctor -o json|\
                         config|config -o json|log -o json|export --format jsonl|verify|sink test kafka|\
                         sink pause kafka|sink rewind kafka --to soon|sink resume kafka|reload|status";

#[test]
fn no_container_finds_the_password_of_a_sink() -> Result<()> {
    let lab = Lab::enter()?;
    let search = build_search()?;
    let broker = Broker::start()?;
    for topic in ["file", "asked"] {
        broker.create(topic, 1)?;
    }
    let mut agent = Agent::start(&(SCOPE.to_string() + &two_sinks(&broker)?))?;
    execute(&lab, &unique("hostile-load"), 20)?;
    let sent = |sinks: &[_]| caught_up(sinks, "file") && caught_up(sinks, "asked");
    wait_for_sinks(&agent, SEEN_LIMIT, sent)?;
    with_every_right(&agent, &search)?;
    among_the_hosts_processes(&agent, &search)?;
    on_the_host(&agent, &search)?;
    ensure!(!agent.said()?.contains(SCRAM_PASSWORD), "it prints the password");
    leaves_no_core(&mut agent)
}

fn build_search() -> Result<PathBuf> {
    let program = temporary().join("search");
    let source = source_dir().join("search/search.c");
    run(Command::new("gcc").args(["-O1", "-static", "-o"]).arg(&program).arg(source))?;
    Ok(program)
}

/// One reads the password from a file, the other asks a program for it.
fn two_sinks(broker: &Broker) -> Result<String> {
    let file = broker.secret("password", SCRAM_PASSWORD)?;
    let file = file.display();
    let ways = [
        ("file", format!("password_file = \"{file}\"")),
        ("asked", format!("password_command = [\"/bin/cat\", \"{file}\"]")),
    ];
    let mut config = String::new();
    for (name, way) in ways {
        write!(
            config,
            "[sink.{name}]\ntype = \"kafka\"\nbrokers = [\"{}\"]\ntopic = \"{name}\"\n\
             sasl = {{ mechanism = \"SCRAM-SHA-512\", username = \"u2\", {way} }}\n",
            broker.sasl()
        )?;
    }
    Ok(config)
}

/// The needles as the search wants them: the password is number 0, the control number 1.
fn needles() -> [String; 2] {
    [SCRAM_PASSWORD, CONTROL].map(|needle| needle.chars().rev().collect())
}

/// A container of its own, but with the store, the socket in it, the program and every capability.
fn with_every_right(agent: &Agent, search: &Path) -> Result<()> {
    let rights = rights()?;
    let volumes = [
        format!("{}:/search:ro", search.display()),
        format!("{}:/purser:ro", env!("CARGO_BIN_EXE_purser")),
        format!("{}:/etc/purser/purser.toml:ro", agent.config().display()),
        format!("{}:/store", agent.store().display()),
    ];
    let [password, control] = needles();
    let script = format!(
        "echo {CONTROL} > /tmp/control; /bin/echo {CONTROL}; sleep 300 &\n\
         IFS='|'; for question in '{questions}'; do for one in $question; do\n\
         IFS=' '; echo \"asked $one\"; /purser $one --store /store 2>&1; IFS='|'; done; done\n\
         /search / all {password} {control}; echo over",
        questions = QUESTIONS,
    );
    let name = format!("purser-test-{}", unique("hostile-root"));
    let mut docker = Command::new("docker");
    docker.args(["run", "--rm", "--network", "host", "--name", &name]).args(&rights);
    docker.args(["--security-opt", "seccomp=unconfined", "-e", &format!("CONTROL={CONTROL}")]);
    for volume in &volumes {
        docker.args(["-v", volume]);
    }
    let told = run(docker.arg(IMAGE).args(["/bin/sh", "-c", &script]))?;
    ensure!(!told.contains(SCRAM_PASSWORD), "an answer has the password:\n{told}");
    ensure!(!told.contains("found 0 "), "found the password:\n{}", lines(&told, "found 0 "));
    // The search was where it matters: files, environments, memory; and the agent gave answers.
    for place in ["found 1 /tmp/control", "found 1 /proc/1/environ", "found 1 /proc/1/mem"] {
        ensure!(told.contains(place), "not {place}:\n{}", lines(&told, "found "));
    }
    ensure!(
        told.contains("\"store_id\"") || told.contains("\"events\""),
        "no answer of the agent:\n{told:.4000}"
    );
    ensure!(told.contains("/bin/echo") && told.contains("export"), "nothing from the store:\n{told:.4000}");
    Ok(())
}

/// A container that sees all processes of the host, with the capabilities that every container has.
fn among_the_hosts_processes(agent: &Agent, search: &Path) -> Result<()> {
    let holder = format!("purser-test-{}", unique("hostile-holder"));
    let mut docker = Command::new("docker");
    docker.args(["run", "-d", "--rm", "--network", "none", "--name", &holder, "-e"]);
    run(docker.arg(format!("CONTROL={CONTROL}")).args([IMAGE, "/bin/sleep", "300"]))?;
    let looked = look_around(agent, search, &holder);
    run(Command::new("docker").args(["kill", &holder]))?;
    let (told, pid, control) = looked?;
    ensure!(!told.contains("found 0 "), "found the password:\n{}", lines(&told, "found 0 "));
    for place in [
        format!("found 1 /proc/{control}/environ"),
        format!("closed /proc/{pid}/mem"),
        format!("closed /proc/{pid}/root"),
    ] {
        ensure!(told.contains(&place), "not {place}:\n{told:.4000}");
    }
    Ok(())
}

/// Every capability that this machine has and its Docker knows.
fn rights() -> Result<Vec<String>> {
    let held = capabilities(None)?.effective;
    let mut names: Vec<&str> = held.iter_names().map(|(name, _)| name).collect();
    let container = format!("purser-test-{}", unique("hostile-rights"));
    loop {
        let mut docker = Command::new("docker");
        docker.args(["create", "--name", &container]);
        let wanted = names.iter().map(|name| format!("--cap-add={name}"));
        docker.args(wanted.clone()).args([IMAGE, "/bin/true"]);
        let made = output(&mut docker)?;
        if made.status.success() {
            run(Command::new("docker").args(["rm", &container]))?;
            ensure!(names.contains(&"SYS_PTRACE") && names.contains(&"SYS_ADMIN"), "only {names:?}");
            return Ok(wanted.collect());
        }
        let why = String::from_utf8_lossy(&made.stderr).into_owned();
        let before = names.len();
        names.retain(|name| !why.contains(&format!("\"CAP_{name}\"")));
        ensure!(names.len() < before, "{why}");
    }
}

fn look_around(agent: &Agent, search: &Path, holder: &str) -> Result<(String, u32, u32)> {
    let control = run(Command::new("docker").args(["inspect", "-f", "{{.State.Pid}}", holder]))?;
    let (pid, control) = (agent.pid()?, control.trim().parse()?);
    let volume = format!("{}:/search:ro", search.display());
    let name = format!("purser-test-{}", unique("hostile-pid"));
    let mut docker = Command::new("docker");
    docker.args(["run", "--rm", "--network", "none", "--pid", "host", "--name", &name, "-v", &volume, IMAGE]);
    let told = run(docker.args(["/search", "/proc", &format!("{pid},{control}")]).args(needles()))?;
    Ok((told, pid, control))
}

/// Only where the host's root may look into the agent's memory is the password found.
fn on_the_host(agent: &Agent, search: &Path) -> Result<()> {
    let pid = agent.pid()?.to_string();
    let of = |directory: &str| run(Command::new(search).args([directory, &pid]).args(needles()));
    let told = of(&format!("/proc/{pid}"))?;
    ensure!(told.contains(&format!("found 0 /proc/{pid}/mem")), "the search finds nothing:\n{told}");
    ensure!(told.matches("found 0 ").count() == 1, "found elsewhere:\n{told}");
    let told = of(&agent.store().to_string_lossy())?;
    ensure!(!told.contains("found 0 "), "found in the store:\n{told}");
    for question in QUESTIONS.split('|') {
        let mut command = purser();
        command.args(question.split(' ')).arg("--store").arg(agent.store());
        if question.starts_with("config") || question.starts_with("sink test") {
            command.arg("--config").arg(agent.config());
        }
        let output = output(&mut command)?;
        let told = [output.stdout, output.stderr].concat();
        ensure!(!String::from_utf8_lossy(&told).contains(SCRAM_PASSWORD), "purser {question} tells it");
    }
    Ok(())
}

/// A crash writes no memory to disk, although it may: another program's is written.
fn leaves_no_core(agent: &mut Agent) -> Result<()> {
    let dir = tempfile::tempdir_in(temporary())?;
    let mut child = Command::new("/bin/sh")
        .args(["-c", "ulimit -c unlimited; exec sleep 300"])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .spawn()?;
    run(Command::new("prlimit").args(["--core=unlimited", "--pid", &agent.pid()?.to_string()]))?;
    let others = abort(&mut child)?;
    ensure!(others, "no core is written here at all, so nothing is shown by this");
    let status = agent.end_by("ABRT")?;
    ensure!(!status.core_dumped() && status.signal() == Some(6), "{status}");
    Ok(())
}

/// Whether a core was written.
fn abort(child: &mut Child) -> Result<bool> {
    crate::lab::signal(child.id(), "ABRT")?;
    let status = crate::lab::wait_limited(child, SEEN_LIMIT)?.context("it does not end")?;
    Ok(status.core_dumped())
}

fn lines(text: &str, start: &str) -> String {
    let found: Vec<&str> = text.lines().filter(|line| line.starts_with(start)).collect();
    found.join("\n")
}
