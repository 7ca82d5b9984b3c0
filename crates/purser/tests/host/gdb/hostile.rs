// SPDX-License-Identifier: Apache-2.0
//! A target with start-up files, libraries and variables for whoever debugs it. Whatever is obeyed leaves a file in
//! its `/marker`, which root of a session could write.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::targets::{Root, kits};
use super::{gdb, in_session};
use crate::debug::Container;
use crate::lab::{Lab, run};

/// Start-up files, and scripts that belong to object files.
const SCRIPTS: [&str; 9] = [
    ".gdbinit",
    ".gdbearlyinit",
    "root/.gdbinit",
    "root/.gdbearlyinit",
    "root/.config/gdb/gdbinit",
    "etc/gdb/gdbinit",
    "etc/gdb/gdbinit.d/one.gdb",
    "lib/layer.so-gdb.gdb",
    "usr/share/gdb/auto-load/bin/target-gdb.gdb",
];
/// Names that a program of the kit could look for where it does not belong.
const LIBRARIES: [&str; 8] = [
    "libnss_obeyed.so.2",
    "libthread_db.so.1",
    "libpython3.14.so.1.0",
    "libncursesw.so.6",
    "libtinfo.so.6",
    "libexpat.so.1",
    "libdebuginfod.so.1",
    "libreadline.so.8",
];

fn fill(root: &Root) -> Result<()> {
    let at = root.path();
    fs::create_dir(at.join("marker"))?;
    fs::set_permissions(at.join("marker"), fs::Permissions::from_mode(0o777))?;
    root.compile("gcc", "lib/obeyed.so", &["-shared", "-fPIC", "obeyed.c"])?;
    // The same as a program.
    root.compile("gcc", "bin/sh", &["obeyed.c"])?;
    for script in SCRIPTS {
        let file = at.join(script);
        fs::create_dir_all(file.parent().context("no directory")?)?;
        let mark = script.replace('/', "-");
        fs::write(file, format!("python open('/marker/{mark}', 'w')\necho OBEYED\\n\n"))?;
    }
    let libraries = at.join("lib/x86_64-linux-gnu");
    fs::create_dir(&libraries)?;
    for library in LIBRARIES {
        symlink("/lib/obeyed.so", at.join("lib").join(library))?;
        symlink("/lib/obeyed.so", libraries.join(library))?;
    }
    let site = at.join("usr/lib/python3.14");
    fs::create_dir_all(&site)?;
    fs::write(site.join("sitecustomize.py"), "open('/marker/sitecustomize', 'w')\n")?;
    fs::write(at.join("etc/ld.so.preload"), "/lib/obeyed.so\n")?;
    fs::write(at.join("etc/nsswitch.conf"), "passwd: obeyed\ngroup: obeyed\nhosts: obeyed\n")?;
    fs::write(at.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n")?;
    for file in [".bashrc", ".profile", "etc/profile", "etc/bash.bashrc"] {
        fs::write(at.join(file), "echo > /marker/shell\n")?;
    }
    Ok(())
}

fn markers(target: &Container) -> Result<Vec<String>> {
    let entries = fs::read_dir(Path::new("/proc").join(target.pid.to_string()).join("root/marker"))?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

#[test]
fn nothing_of_the_target_is_obeyed() -> Result<()> {
    let _lab = Lab::enter()?;
    let Some(kits) = kits()? else { return Ok(()) };
    let root = Root::glibc()?;
    fill(&root)?;
    fs::copy(root.path().join("bin/target"), root.path().join("bin/other"))?;
    let image = root.image("hostile")?;
    let mut options = vec!["-w", "/"];
    for variable in [
        "LD_PRELOAD=/lib/obeyed.so",
        "LD_LIBRARY_PATH=/lib",
        "LD_AUDIT=/lib/obeyed.so",
        "PYTHONPATH=/usr/lib/python3.14",
        "PYTHONHOME=/usr",
        "HOME=/root",
        "XDG_CONFIG_HOME=/root/.config",
        "BASH_ENV=/.bashrc",
        "ENV=/.bashrc",
    ] {
        options.extend(["-e", variable]);
    }
    let target = Container::start("hostile", &options, &image.0, &["/bin/target"])?;

    let told =
        gdb(&target.name, &kits, &["bt", "info sharedlibrary", "python print(6 * 7)", "shell id -un"])?;
    ensure!(told[0].contains("main () at target.c:90") && !told.concat().contains("OBEYED"), "{told:?}");
    ensure!(told[2] == "42" && told[3] == "root", "{told:?}");
    let shell = in_session(&target.name, &kits, &["bash", "-ic", "ls -l /etc; id; getent hosts x; exit 0"])?;
    ensure!(shell.contains("root"), "{shell}");
    in_session(
        &target.name,
        &kits,
        &["bash", "-lc", "ps; exec gdb -batch /bin/target -ex 'info line main'"],
    )?;
    let found = markers(&target)?;
    ensure!(found.is_empty(), "obeyed: {found:?}");
    ensure!(target.changes()?.is_empty(), "{}", target.changes()?);

    // That the traps would have snapped: when they are named, and for a program of the container itself.
    let told = in_session(&target.name, &kits, &["gdb", "-batch", "-x", "/.gdbinit"])?;
    ensure!(told.contains("OBEYED") && markers(&target)?.contains(&".gdbinit".to_owned()), "{told}");
    let exec = ["exec", "-d", &target.name, "/bin/other"];
    run(Command::new("docker").args(exec))?;
    crate::debug::wait_until("a program of the container has obeyed", || {
        Ok(markers(&target)?.contains(&"other".to_owned()))
    })?;
    Ok(())
}
