// SPDX-License-Identifier: Apache-2.0
//! The real Podman, with a storage of the test's own: names by its files, and by its API.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use container::{Runtime, Sources};

use crate::real::{Mine, Undo, ask, busybox, of_pid, run, skip, wait_for};
use crate::start;

/// Podman's default limits cannot be set on every test host, so its runtime runs without them.
const WITHOUT_LIMITS: &str = r#"#!/bin/sh
previous=
for word in "$@"; do
    [ "$previous" = --bundle ] && bundle=$word
    previous=$word
done
if [ -n "$bundle" ]; then
    text=$(jq 'del(.process.rlimits)' "$bundle/config.json") && printf %s "$text" > "$bundle/config.json"
fi
exec runc "$@"
"#;

/// The options that keep everything inside `dir`.
fn options(dir: &Path) -> Result<Vec<String>, String> {
    let runtime = dir.join("runc");
    fs::write(&runtime, WITHOUT_LIMITS).map_err(|error| error.to_string())?;
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755)).map_err(|error| error.to_string())?;
    let at = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let words = ["--cgroup-manager", "cgroupfs", "--events-backend", "file"].map(str::to_owned);
    let places =
        [["--root".into(), at("storage")], ["--runroot".into(), at("run")], ["--runtime".into(), at("runc")]];
    Ok(places.into_iter().flatten().chain(words).collect())
}

#[test]
fn a_container_of_podman() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path()).unwrap();
    let podman = |arguments: &[&str]| {
        let all: Vec<&str> = options.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        run("podman", &all)
    };
    let (root, tar) = (dir.path().join("root"), dir.path().join("root.tar").to_string_lossy().into_owned());
    let name = format!("purser-names-{}", std::process::id());
    let started = run("jq", &["--version"])
        .and_then(|_| busybox(&root))
        .and_then(|()| run("tar", &["-C", &root.to_string_lossy(), "-cf", &tar, "."]))
        .and_then(|_| podman(&["import", &tar, "localhost/names:1"]))
        .and_then(|_| {
            podman(&[
                "run",
                "-d",
                "--network=none",
                "--label=team=x",
                "--name",
                &name,
                "localhost/names:1",
                "sleep",
                "1000",
            ])
        });
    let id = match started {
        Ok(id) => id,
        Err(reason) => return skip(&reason),
    };
    let mut gone: Vec<&str> = ["podman"].into_iter().chain(options.iter().map(String::as_str)).collect();
    gone.extend(["rm", "-f", "-t", "0", &id]);
    let _gone = Undo::by(&gone);
    let identity = of_pid(&podman(&["inspect", "-f", "{{.State.Pid}}", &id]).unwrap());
    let storage = vec![dir.path().join("storage")];
    let (by_files, file_results) = start(Sources { podman_storage: storage, ..Sources::none() });
    let told = ask(&by_files, &file_results, &identity);

    let socket = dir.path().join("api.sock");
    let address = format!("unix://{}", socket.display());
    let service = Command::new("podman")
        .args(&options)
        .args(["system", "service", "--time", "0", &address])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _service = Mine(service.unwrap());
    wait_for("podman's socket", || socket.exists());
    let (by_api, api_results) = start(Sources { podman_sockets: vec![socket], ..Sources::none() });
    let answered = ask(&by_api, &api_results, &identity);

    assert_eq!((&identity.id, identity.runtime), (&id, Runtime::Podman));
    let (told, answered) = (told.info.unwrap(), answered.info.unwrap());
    assert_eq!(
        (&told.name, told.image.as_str(), told.runtime),
        (&name, "localhost/names:1", Runtime::Podman)
    );
    assert_eq!((&answered.name, answered.image.as_str()), (&name, "localhost/names:1"));
    assert!(answered.labels.contains(&("team".to_owned(), "x".to_owned())), "{:?}", answered.labels);
}
