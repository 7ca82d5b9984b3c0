// SPDX-License-Identifier: Apache-2.0
//! Images of Docker as kits: programs of musl and of glibc, static ones and scripts, from layers that remove things, run
//! in a container that has none of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::agent::purser;
use crate::debug::Container;
use crate::lab::{Lab, output, run, unique};

/// Tells where it and its libraries are, and opens one by its name alone.
const PROGRAM: &str = r#"
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
void greet(void);
int main(void) {
    char line[512];
    greet();
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps))
        if (strchr(line, '/') && strstr(line, "r-xp")) printf("%s", strchr(line, '/'));
    void *plug = dlopen("libplug.so", RTLD_NOW);
    printf("plug %s\n", plug ? "opened" : dlerror());
    return 0;
}
"#;
const LIBRARY: &str = "#include <stdio.h>\nvoid greet(void) { puts(\"greetings\"); }\n";

/// An image that is removed with this.
struct Image(String);

impl Drop for Image {
    fn drop(&mut self) {
        // A second name, or a failed test before it was made.
        output(Command::new("docker").args(["rmi", "-f", &self.0])).map(drop).unwrap_or_default();
    }
}

/// The root of an image with programs that `compiler` makes.
fn root(dir: &Path, compiler: &str) -> Result<()> {
    for at in ["root/bin", "root/lib", "root/lib64", "root/usr/bin", "root/usr/lib", "root/usr/local/lib"] {
        fs::create_dir_all(dir.join(at))?;
    }
    fs::write(dir.join("program.c"), PROGRAM)?;
    fs::write(dir.join("library.c"), LIBRARY)?;
    let compile = |arguments: &str| run(Command::new(compiler).args(arguments.split(' ')).current_dir(dir));
    compile("-shared -fPIC -o root/usr/lib/libgreet.so library.c")?;
    compile("-shared -fPIC -o root/usr/local/lib/libplug.so library.c")?;
    compile("-o root/usr/bin/tell program.c -Lroot/usr/lib -lgreet -ldl")?;
    fs::copy("/bin/busybox", dir.join("root/bin/busybox"))
        .context("copying /bin/busybox (package busybox-static)")?;
    symlink("/bin/busybox", dir.join("root/usr/bin/wc"))?;
    symlink("busybox", dir.join("root/bin/sh"))?;
    symlink("../usr/bin/tell", dir.join("root/bin/also"))?;
    script(&dir.join("root/usr/bin/counts"), "#!/bin/sh\nprintf abc | wc -c\n")?;
    script(&dir.join("root/usr/bin/lost"), "#!/usr/bin/perl\n")?;
    script(&dir.join("root/usr/bin/gone"), "#!/bin/sh\n")
}

fn script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

/// The image, with a layer above in which `gone` is not there any more.
fn image(dir: &Path) -> Result<Image> {
    let image = Image(format!("{}:1", unique("purser-test-images")));
    let (below, container) =
        (Image(format!("{}:1", unique("purser-test-below"))), unique("purser-test-layer"));
    let import = format!("tar -C '{}' -c . | docker import - {}", dir.join("root").display(), below.0);
    run(Command::new("sh").args(["-c", &import]))?;
    let remove =
        ["run", "--network", "none", "--name", &container, &below.0, "/bin/busybox", "rm", "/usr/bin/gone"];
    let removed = run(Command::new("docker").args(remove));
    let committed = removed.and_then(|_| run(Command::new("docker").args(["commit", &container, &image.0])));
    output(Command::new("docker").args(["rm", "-f", &container]))?;
    committed.map(|_| image)
}

fn kit(dir: &Path, image: &Image, shelf: &str) -> Result<Output> {
    let mut command = purser();
    command.args(["kit", "import", "--image", &image.0, "--name", "tools", "--keep", "usr/local/lib/*.so"]);
    let made = command.arg("--kits").arg(dir.join(shelf)).output()?;
    ensure!(made.status.success(), "{made:?}");
    Ok(made)
}

fn within(dir: &Path, target: &str, program: &str) -> Result<Output> {
    let mut command = purser();
    command.args(["debug", target, "--kit", "tools", "--kits"]).arg(dir.join("kits"));
    Ok(command.arg("--store").arg(dir.join("store")).args(["--", program]).output()?)
}

fn all(compiler: &str) -> Result<()> {
    let _lab = Lab::enter()?;
    let dir = TempDir::with_prefix("purser-test-images-")?;
    root(dir.path(), compiler)?;
    if compiler == "gcc" {
        for library in ["lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu/libc.so.6"] {
            fs::create_dir_all(dir.path().join("root").join(library).parent().context("no parent")?)?;
            fs::copy(Path::new("/").join(library), dir.path().join("root").join(library))?;
        }
    } else {
        fs::copy("/lib/ld-musl-x86_64.so.1", dir.path().join("root/lib/ld-musl-x86_64.so.1"))?;
    }
    let image = image(dir.path())?;
    let made = kit(dir.path(), &image, "kits")?;
    let again = kit(dir.path(), &image, "again")?;
    ensure!(made.stdout == again.stdout, "the same digest twice: {made:?} {again:?}");
    let told = String::from_utf8_lossy(&made.stderr).into_owned();
    ensure!(told.contains("left out: usr/bin/lost: is a script for /usr/bin/perl"), "{told}");

    let target = Container::idle("images", &[])?;
    let told = within(dir.path(), &target.name, "tell")?;
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    ensure!(text.starts_with("greetings\n") && text.ends_with("plug opened\n"), "{told:?}");
    let foreign =
        text.lines().filter(|line| line.starts_with('/') && !line.starts_with("/dev/.purser/tools/"));
    ensure!(foreign.count() == 0, "everything is the kit's own: {text}");
    ensure!(within(dir.path(), &target.name, "also")?.stdout == told.stdout);
    let counts = within(dir.path(), &target.name, "counts")?;
    ensure!(counts.stdout == b"3\n", "{counts:?}");
    for missing in ["gone", "lost"] {
        let output = within(dir.path(), &target.name, missing)?;
        ensure!(output.status.code() == Some(127), "{output:?}");
    }

    // The same by a recipe, which takes what it names.
    let recipe = format!(
        "name = \"few\"\nversion = \"1\"\nsummary = \"one\"\nimage = \"{}\"\n[commands]\ntold = \"usr/bin/tell\"\n",
        image.0
    );
    fs::write(dir.path().join("few.toml"), recipe)?;
    let mut build = purser();
    build.args(["kit", "build"]).arg(dir.path().join("few.toml")).arg("--kits").arg(dir.path().join("kits"));
    run(&mut build)?;
    let few = fs::read_dir(dir.path().join("kits/few/root/usr/bin"))?.count();
    ensure!(few == 1, "{few} programs");
    Ok(())
}

#[test]
fn of_musl() -> Result<()> {
    all("musl-gcc")
}

#[test]
fn of_glibc() -> Result<()> {
    all("gcc")
}
