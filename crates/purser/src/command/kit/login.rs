// SPDX-License-Identifier: Apache-2.0
//! Where the logins of this user are: the files that Docker's and Podman's tools write, and the helpers they name.

use crate::brief;
use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Time a helper has: it may ask a service elsewhere.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer of a helper.
const ANSWER_LIMIT: usize = 1 << 20;
/// What helpers say when they have nothing, on one output or the other.
const NOTHING: &str = "credentials not found";

/// The files, the first one first. What the user says by a variable goes before the usual places.
pub(super) fn files() -> Vec<PathBuf> {
    let from = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = from("HOME");
    let docker = from("DOCKER_CONFIG").or_else(|| Some(home.as_ref()?.join(".docker")));
    let mut files = Vec::new();
    files.extend(from("REGISTRY_AUTH_FILE"));
    files.extend(docker.map(|directory| directory.join("config.json")));
    files.extend(from("XDG_RUNTIME_DIR").map(|directory| directory.join("containers/auth.json")));
    files.extend(home.map(|home| home.join(".config/containers/auth.json")));
    files
}

/// Asks `docker-credential-NAME` for its login at `server`.
pub(super) fn helper(name: &str, server: &str) -> Result<Option<Vec<u8>>, String> {
    let program = format!("docker-credential-{name}");
    let mut command = Command::new(&program);
    command.arg("get");
    let input = written(server).map_err(|error| format!("{program}: {error}"))?;
    match brief::fed(&mut command, input, PATIENCE, ANSWER_LIMIT) {
        Err(error) => Err(format!("starting {program}: {error}")),
        Ok(None) => Err(format!("{program} did not end within {} s", PATIENCE.as_secs())),
        Ok(Some(said)) if said.status.success() => Ok(Some(said.out)),
        Ok(Some(said)) => {
            let text = String::from_utf8_lossy(&[said.out, said.errors].concat()).into_owned();
            if text.contains(NOTHING) {
                Ok(None)
            } else {
                // What it said may hold what nobody is to see here.
                Err(format!(
                    "{program} ended with {}; see why with: echo {server} | {program} get",
                    said.status
                ))
            }
        }
    }
}

/// A pipe with this text in it. The kernel holds far more than the name of a server.
fn written(text: &str) -> io::Result<Stdio> {
    let (read, mut write) = io::pipe()?;
    write.write_all(text.as_bytes())?;
    Ok(Stdio::from(read))
}
