// SPDX-License-Identifier: Apache-2.0
//! Makes sure that Docker answers. A daemon that runs is never touched, and the one started here is
//! left running: others may be using it by the time we end.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{program, run, succeeds};
use crate::{packages, place};

const SOCKET: &str = "/var/run/docker.sock";
const START_LIMIT: Duration = Duration::from_secs(60);

/// Returns when Docker answers; starts it when it does not.
pub(crate) fn ensure_docker() -> Result<()> {
    if answers() {
        return Ok(());
    }
    packages::require_root()?;
    if Path::new("/run/systemd/system").exists() {
        eprintln!("setup: systemctl start docker");
        run(&mut program("systemctl", ["start", "docker"]))?;
        return wait("see `journalctl -u docker`");
    }
    let log = place::scratch().join("dockerd.log");
    eprintln!("setup: starting dockerd, log in {}", log.display());
    fs::create_dir_all(place::scratch()).context("create the scratch directory")?;
    let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
    let again = file.try_clone().context("share the log file")?;
    // A session of its own, so that it outlives us and no Ctrl-C reaches it.
    let mut dockerd = program("setsid", ["--fork", "dockerd"]);
    run(dockerd.current_dir("/").stdout(file).stderr(again))?;
    wait(&format!("see {}", log.display()))
}

fn wait(advice: &str) -> Result<()> {
    let deadline = Instant::now() + START_LIMIT;
    while !answers() {
        if Instant::now() > deadline {
            bail!("docker did not answer at {SOCKET} within {} s: {advice}", START_LIMIT.as_secs());
        }
        sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn answers() -> bool {
    // The connection alone is refused in microseconds; starting the client costs more.
    UnixStream::connect(SOCKET).is_ok() && succeeds(&mut program("docker", ["version"]))
}
