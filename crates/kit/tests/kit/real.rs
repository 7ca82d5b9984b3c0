// SPDX-License-Identifier: Apache-2.0
//! A small kit from a real Debian package: built twice with one digest, run in a root without libraries, damaged.
//! What cannot run here says SKIP with the reason, and fails when PURSER_REQUIRE_ALL=1.

use kit::{KitError, Mirror, Name, Recipe, Shelf, build};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

const RECIPE: &str = r#"
name = "tiny"
version = "1"
summary = "hostname"
suite = "bookworm"
packages = ["hostname"]

[commands]
hostname = "usr/bin/hostname"
"#;

fn skip(reason: &str) {
    assert!(std::env::var_os("PURSER_REQUIRE_ALL").is_none_or(|all| all != "1"), "cannot run: {reason}");
    println!("SKIP {reason}");
}

/// Runs `script` in mount namespace whose `/dev` holds only the kit.
fn in_a_session(root: &Path, script: &str) -> Output {
    let set_up = format!(
        "mount --make-rprivate / && mount -t tmpfs none /dev && mkdir -p /dev/.purser/tiny && \
         mount --bind {} /dev/.purser/tiny && {script}",
        root.display()
    );
    Command::new("unshare").args(["-m", "sh", "-c", &set_up]).output().unwrap()
}

#[test]
fn a_kit_is_built_run_and_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = Recipe::parse(RECIPE, "tiny.toml").unwrap();
    let make = |scratch: &str| {
        let scratch = dir.path().join(scratch);
        fs::create_dir(&scratch).unwrap();
        build(&recipe, &Mirror::default(), &scratch)
    };
    let first = match make("first") {
        Err(KitError::NoPackages { program, source }) => return skip(&format!("{program}: {source}")),
        Err(error @ KitError::Fetch { .. }) => return skip(&error.to_string()),
        other => other.unwrap(),
    };
    let settings = fs::metadata(dir.path().join("first/bookworm/apt.conf")).unwrap();
    assert_eq!(settings.permissions().mode() & 0o777, 0o600, "they may have a password of a proxy");
    let (one, two) = (Shelf::new(&dir.path().join("one")), Shelf::new(&dir.path().join("two")));
    let kit = one.put(&first).unwrap();
    assert_eq!(kit.digest, two.put(&make("second").unwrap()).unwrap().digest, "the same twice");
    assert!(kit.manifest.packages.iter().any(|package| package.starts_with("libc6 2.")));

    let name = Name::new("tiny").unwrap();
    assert_eq!(one.verify(&name).unwrap().digest, kit.digest);
    let run = in_a_session(&kit.root(), "exec /dev/.purser/tiny/bin/hostname");
    let expected = Command::new("uname").arg("-n").output().unwrap();
    match String::from_utf8_lossy(&run.stderr) {
        said if said.contains("Operation not permitted") => skip(&said),
        said => assert_eq!(
            String::from_utf8_lossy(&run.stdout),
            String::from_utf8_lossy(&expected.stdout),
            "{said}"
        ),
    }

    let program = kit.root().join("usr/bin/hostname");
    let bytes = fs::read(&program).unwrap();
    fs::write(&program, [&bytes[..100], &[!bytes[100]], &bytes[101..]].concat()).unwrap();
    assert!(matches!(one.verify(&name), Err(KitError::Damaged { .. })));
    fs::write(&program, bytes).unwrap();
    one.verify(&name).unwrap();
    fs::write(kit.root().join("usr/bin/more"), "").unwrap();
    assert!(matches!(one.verify(&name), Err(KitError::Damaged { .. })));
}

#[test]
fn what_packages_do_not_have_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let text = RECIPE.replace("usr/bin/hostname", "usr/bin/nothing");
    let recipe = Recipe::parse(&text, "tiny.toml").unwrap();
    match build(&recipe, &Mirror::default(), dir.path()) {
        Err(KitError::NoPackages { program, source }) => skip(&format!("{program}: {source}")),
        Err(error @ KitError::Fetch { .. }) => skip(&error.to_string()),
        other => {
            let said = other.unwrap_err().to_string();
            assert_eq!(said, "kit tiny: usr/bin/nothing: is not there");
        }
    }
}
