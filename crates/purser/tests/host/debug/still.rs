// SPDX-License-Identifier: Apache-2.0
//! Sessions in what does not run: images and stopped containers. They see what a container would see, change
//! nothing, and leave nothing, whoever is killed.

mod odd; // images with all that images may have
mod record; // sessions in the record, and what a policy allows
mod stores; // containerd's images, also when it does not answer

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::terminal::Person;
use super::{debug, marks, nothing_is_left, printed, status, wait_until};
use crate::agent::purser;
use crate::lab::{IMAGE, Lab, output, run, signal, source_dir, temporary, unique};

/// A container that does not run, until it is dropped; and an image of it, if there is one.
struct Stopped {
    name: String,
    image: Option<String>,
}

impl Stopped {
    /// One that has run a command.
    fn after(word: &str, options: &[&str], image: &str, script: &str) -> Result<Stopped> {
        let stopped = Stopped { name: unique(&format!("purser-test-still-{word}")), image: None };
        let mut docker = Command::new("docker");
        docker.args(["run", "--network", "none", "--name", &stopped.name]).args(options);
        run(docker.arg(image).args(["sh", "-c", script]))?;
        Ok(stopped)
    }

    fn commit(&mut self, changes: &[&str]) -> Result<String> {
        let image = format!("{}:1", self.name);
        let mut docker = Command::new("docker");
        docker.arg("commit");
        for change in changes {
            docker.args(["--change", change]);
        }
        run(docker.args([&self.name, &image]))?;
        self.image = Some(image.clone());
        Ok(image)
    }

    fn changes(&self) -> Result<BTreeSet<String>> {
        let text = run(Command::new("docker").args(["diff", &self.name]))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Every file of its layers, with what would tell of a change.
    fn layers(&self) -> Result<BTreeMap<PathBuf, String>> {
        let format = "{{.GraphDriver.Data.UpperDir}}:{{.GraphDriver.Data.LowerDir}}";
        let dirs = run(Command::new("docker").args(["inspect", "-f", format, &self.name]))?;
        let mut all = BTreeMap::new();
        for dir in dirs.trim().split(':') {
            list(Path::new(dir), &mut all)?;
        }
        ensure!(all.len() > 20, "{dirs}: {all:?}");
        Ok(all)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        drop(output(Command::new("docker").args(["rm", "-f", &self.name])));
        if let Some(image) = &self.image {
            drop(output(Command::new("docker").args(["rmi", image])));
        }
    }
}

fn list(dir: &Path, all: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    let mut told = |path: &Path| -> Result<bool> {
        let meta = fs::symlink_metadata(path)?;
        let times = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
        all.insert(path.to_path_buf(), format!("{} {} {:o} {times:?}", meta.ino(), meta.size(), meta.mode()));
        Ok(meta.is_dir())
    };
    let mut left = vec![dir.to_path_buf()];
    while let Some(path) = left.pop() {
        if told(&path)? {
            left.extend(fs::read_dir(&path)?.collect::<Result<Vec<_>, _>>()?.iter().map(fs::DirEntry::path));
        }
    }
    Ok(())
}

/// The processes that stand in for something on this host.
fn stand_ins() -> BTreeSet<u32> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("debug-stand-in"))
    })
    .collect()
}

fn nothing_stands(before: &BTreeSet<u32>) -> Result<()> {
    wait_until("nothing stands in any more", || Ok(stand_ins().is_subset(before)))
}

#[test]
fn a_stopped_container_is_seen_and_stays_as_it_is() -> Result<()> {
    let _lab = Lab::enter()?;
    let data = tempfile::tempdir()?;
    fs::write(data.path().join("file"), "of the volume")?;
    let volume = format!("{}:/data", data.path().display());
    let script = "echo changed > /tmp/changed; rm /bin/false; mkdir /bin/x; cd /tmp; echo two > two";
    let target =
        Stopped::after("seen", &["-v", &volume, "-w", "/tmp", "-e", "PATH=/bin:/odd"], IMAGE, script)?;
    let (changes, layers, before) = (target.changes()?, target.layers()?, (marks(), stand_ins()));
    ensure!(changes.contains("D /bin/false"), "{changes:?}");
    let script = "pwd; cat /tmp/changed /data/file; ls /bin/false; ls -d /bin/x; echo $PATH; \
        echo mine > /tmp/changed && cat /tmp/changed; rm -r /bin/x && echo gone; touch /data/no; \
        touch /root.txt && chmod 700 /bin/busybox && echo done; \
        grep -c . /proc/net/dev; ps | wc -l; grep -q seen /etc/hosts; cat /etc/hostname; exit 7";
    let ended = output(&mut debug(&target.name, &[], &["sh", "-c", script])?)?;
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    let wanted = ["/tmp", "changed", "of the volume/bin/x"];
    ensure!(ended.status.code() == Some(7), "{ended:?}");
    ensure!(lines.starts_with(&wanted), "{said}");
    ensure!(lines[3].ends_with(":/bin:/odd") && lines[4..7] == ["mine", "gone", "done"], "{said}");
    // Two lines of heading and the loopback interface; the heading, and three processes of ours with ps and wc.
    ensure!(lines[7] == "3" && lines[8].trim().parse::<u32>()? <= 7, "{said}");
    let errors = String::from_utf8_lossy(&ended.stderr);
    ensure!(errors.contains("Read-only file system") && errors.contains("/bin/false"), "{errors}");
    ensure!(!data.path().join("no").exists());
    ensure!(target.changes()? == changes && target.layers()? == layers, "it is not as it was");
    data.close()?;
    let without = output(&mut debug(&target.name, &[], &["ls", "/"])?)?;
    let errors = String::from_utf8_lossy(&without.stderr);
    ensure!(without.status.success() && errors.contains("purser: /data was a volume"), "{without:?}");
    nothing_stands(&before.1)?;
    nothing_is_left(&before.0)
}

#[test]
fn an_image_by_each_of_its_names() -> Result<()> {
    let _lab = Lab::enter()?;
    // Whatever an image has in these places, a session has its own.
    let script = "rm -r /dev/* /dev /proc /sys 2>/dev/null; echo 'root:x:99:99::/:' > /etc/passwd; rm /bin/false; \
        echo 'x:x:18446744073709551616:0:' >> /etc/passwd; mkdir -p /srv/app; echo one > /srv/app/file";
    let mut target = Stopped::after("image", &[], IMAGE, script)?;
    let image =
        target.commit(&["WORKDIR /srv/app", "USER 4711:99", "ENV PATH=/bin:/app", "CMD [\"/bin/run\"]"])?;
    let before = (marks(), stand_ins());
    let id = run(Command::new("docker").args(["inspect", "-f", "{{.Id}}", &image]))?;
    let id = id.trim().trim_start_matches("sha256:").to_owned();
    let layers = target.layers()?;
    let script = "pwd; cat file; id; echo $PATH; ls /bin/false /dev/null /dev/shm; echo x > new; cat /proc/1/comm; hostname";
    for word in [&image, &image.replace(":1", ""), &id, &id[..12].to_owned()] {
        let ended = output(&mut debug(&format!("image:{word}"), &[], &["sh", "-c", script])?)?;
        let (said, errors) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        ensure!(said.starts_with("/srv/app\none\nuid=0"), "{word}: {said}{errors}");
        ensure!(said.contains(":/bin:/app") && said.contains("/dev/null"), "{word}: {said}{errors}");
        ensure!(said.contains("purser-stand"), "{word}: {said}{errors}");
        ensure!(errors.contains("/bin/false"), "{word}: {errors}");
    }
    let who = printed(&format!("image:{image}"), &["--user", "4711:99"], &["id"])?;
    ensure!(who.starts_with("uid=4711 gid=99"), "{who}");
    let who = output(&mut debug(&format!("image:{image}"), &["--user", "x"], &["id"])?)?;
    ensure!(who.status.code() == Some(125), "{who:?}");
    ensure!(target.layers()? == layers);
    nothing_stands(&before.1)?;
    nothing_is_left(&before.0)
}

#[test]
fn what_cannot_be_opened_is_told() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = Stopped::after("told", &[], IMAGE, "true")?;
    let before = stand_ins();
    for (word, options, wanted, code) in [
        ("image:purser-test-none", &[][..], "these are here:", 125),
        ("image:purser-test-none:1@sha256:0", &[], "is no name of an image", 125),
        (&target.name, &["-L", "8080"], "does not run", 2),
        (&target.name, &["--room-mib", "0"], "--room-mib", 2),
    ] {
        let ended = output(&mut debug(word, options, &["true"])?)?;
        let errors = String::from_utf8_lossy(&ended.stderr).into_owned();
        ensure!(
            ended.status.code() == Some(code) && errors.contains(wanted),
            "{word}: {:?} {errors}",
            ended.status
        );
    }
    let full = "dd if=/dev/zero of=/tmp/big bs=1M count=8 2>&1; ls /tmp/big && echo fine";
    let said = printed(&target.name, &["--room-mib", "4"], &["sh", "-c", full])?;
    ensure!(said.contains("No space left") && said.contains("fine"), "{said}");
    nothing_stands(&before)
}

#[test]
fn a_copy_of_what_runs() -> Result<()> {
    let _lab = Lab::enter()?;
    let target = super::Container::start(
        "scratch",
        &[],
        IMAGE,
        &["sh", "-c", "echo own > /tmp/own; exec sleep 10000"],
    )?;
    wait_until("it has begun", || Ok(target.changes()?.contains("/tmp/own")))?;
    let (changes, before) = (target.changes()?, (marks(), stand_ins(), target.processes()?));
    let script = "cat /tmp/own; rm /tmp/own; echo x > /tmp/x; ps | grep -c 10000";
    let ended = output(&mut debug(&target.name, &["--scratch"], &["sh", "-c", script])?)?;
    ensure!(ended.stdout.starts_with(b"own\n"), "{ended:?}");
    ensure!(target.changes()? == changes);
    target.is_as_before(&before.2)?;
    nothing_stands(&before.1)?;
    nothing_is_left(&before.0)
}

#[test]
fn images_and_containers_of_podman() -> Result<()> {
    let lab = Lab::enter()?;
    let name = unique("purser-test-still-podman");
    let podman = || {
        let mut podman = Command::new("podman");
        podman.arg("--runtime").arg(source_dir().join("podman-runtime.sh"));
        podman.args(["--cgroup-manager", "cgroupfs"]);
        podman
    };
    let archive = tempfile::NamedTempFile::new()?;
    run(Command::new("tar").arg("-C").arg(lab.root()).arg("-cf").arg(archive.path()).arg("."))?;
    let image = format!("localhost/{name}:2");
    let made = run(podman().args(["import", "-q"]).arg(archive.path()).arg(&image)).and_then(|_| {
        let script = "echo podman > /tmp/changed; chmod 640 /bin/busybox";
        run(podman().args(["run", "--network", "none", "--name", &name, &image, "sh", "-c", script]))
    });
    let seen = made.and_then(|_| {
        let stopped = printed(
            &format!("podman:{name}"),
            &[],
            &["sh", "-c", "cat /tmp/changed; stat -c %a /bin/busybox"],
        )?;
        let of_image = printed(
            &format!("image:{name}:2"),
            &[],
            &["sh", "-c", "cat /tmp/changed; stat -c %a /bin/busybox"],
        )?;
        Ok((stopped, of_image))
    });
    drop(output(podman().args(["rm", "-f", &name])));
    drop(output(podman().args(["rmi", "-f", &image])));
    let (stopped, of_image) = seen?;
    ensure!(stopped == "podman\n640\n" && of_image == "755\n", "{stopped:?} {of_image:?}");
    Ok(())
}

/// Who is killed while a session runs, or while it begins.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Client,
    Keeper,
    Outer,
    Inner,
    ClientAndKeeper,
}

#[test]
fn kills_leave_nothing() -> Result<()> {
    let _lab = Lab::enter()?;
    let before = (marks(), stand_ins());
    let victims = [Victim::Client, Victim::Keeper, Victim::Outer, Victim::Inner, Victim::ClientAndKeeper];
    let mut late = 0;
    for (round, victim) in victims.into_iter().cycle().take(30).enumerate() {
        let script = "while :; do (sleep 1000 &) ; sleep 0.002; done";
        let mut session = debug(&format!("image:{IMAGE}"), &[], &["sh", "-c", script])?
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        sleep(Duration::from_millis(u64::try_from(round)? * 37 % 150));
        let children = children(session.id());
        let is = |pid: &&u32, word: &str| {
            fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(word))
        };
        let keeper = children.iter().find(|pid| is(pid, "debug-keeper")).copied();
        let outer = children.iter().find(|pid| is(pid, "debug-stand-in")).copied();
        let inner = outer.and_then(|outer| self::children(outer).first().copied());
        late += u32::from(keeper.is_some());
        let killed = match victim {
            Victim::Client => vec![Some(session.id())],
            Victim::Keeper => vec![keeper],
            Victim::Outer => vec![outer],
            Victim::Inner => vec![inner],
            Victim::ClientAndKeeper => vec![Some(session.id()), keeper],
        };
        let killed: Vec<u32> = killed.into_iter().flatten().collect();
        killed.iter().for_each(|pid| drop(signal(*pid, "KILL")));
        if killed.is_empty() {
            session.kill()?;
        }
        session.wait()?;
        let told = || format!("round {round}, {victim:?} killed: {killed:?}");
        nothing_stands(&before.1).with_context(told)?;
        // Where client and keeper are gone, the next client removes what is empty.
        printed(&format!("image:{IMAGE}"), &[], &["true"]).with_context(told)?;
        nothing_is_left(&before.0).with_context(told)?;
    }
    ensure!(late > 10, "only {late} of 30 kills came when there was a session");
    Ok(())
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn left_and_come_back_to() -> Result<()> {
    let _lab = Lab::enter()?;
    let before = (marks(), stand_ins());
    let mut person = Person::at(debug(&format!("image:{IMAGE}"), &[], &["sh"])?)?;
    person.sees("all changes are discarded")?;
    person.sees("# ")?;
    person.types("echo kept > /kept; echo o''k\n")?;
    person.sees("ok")?;
    person.types("\x10\x11")?;
    person.sees("come back with: purser debug attach ")?;
    ensure!(person.ends()? == Some(0));
    let sessions = run(purser().args(["debug", "sessions"]))?;
    let line =
        sessions.lines().find(|line| line.contains(&format!("image:{IMAGE}"))).context("no session")?;
    let id = line.split_whitespace().next().context("no id")?.to_owned();
    let mut attach = purser();
    attach.args(["debug", "attach", &id]);
    let mut person = Person::at(attach)?;
    person.types("cat /kept; exit 5\n")?;
    person.sees("kept")?;
    ensure!(person.ends()? == Some(5));
    nothing_stands(&before.1)?;
    nothing_is_left(&before.0)
}

/// What a session's root may do there is what a container's may.
#[test]
fn rights_are_a_containers() -> Result<()> {
    let _lab = Lab::enter()?;
    let image = format!("image:{IMAGE}");
    let script = "grep CapEff /proc/self/status; echo 1 > /proc/sys/kernel/hostname; mount -t tmpfs x /tmp; \
        cat /proc/kcore | head -c 1; ls /sys/firmware; ls /proc/1/root";
    let ended = output(&mut debug(&image, &[], &["sh", "-c", script])?)?;
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    // Those of Docker but MKNOD.
    ensure!(
        said.trim() == "CapEff:\t00000000a00425fb" || said.trim() == "CapEff:\t00000000a00405fb",
        "{ended:?}"
    );
    let inner = status(i32::try_from(std::process::id())?, "NSpid").context("no NSpid")?;
    ensure!(!inner.is_empty());
    Ok(())
}

/// `docker save`, an OCI layout as a file and as a directory, packed layers, a tree in a file and in a directory.
#[test]
fn archives_of_every_form() -> Result<()> {
    let lab = Lab::enter()?;
    let script = "echo 1 > /one; mkdir /dir; echo x > /dir/old; echo gone > /gone; ln /one /linked";
    let mut first = Stopped::after("archive-a", &[], IMAGE, script)?;
    let base = first.commit(&["WORKDIR /dir", "ENV PATH=/bin"])?;
    let script =
        "rm /gone; rm -r /dir; mkdir /dir; echo y > /dir/new; chown 7:8 /dir/new; chmod 4750 /dir/new";
    let mut second = Stopped::after("archive-b", &["-w", "/"], &base, script)?;
    let image = second.commit(&["WORKDIR /dir"])?;
    let dir = tempfile::tempdir()?;
    let at = |name: &str| dir.path().join(name).display().to_string();
    let sh = |script: &str| run(Command::new("sh").args(["-euc", script]).current_dir(dir.path()));
    run(Command::new("docker").args(["save", "-o", &at("saved.tar"), &image]))?;
    run(Command::new("docker").args(["save", "-o", &at("two.tar"), &image, &base]))?;
    run(Command::new("docker").args(["export", "-o", &at("tree.tar"), &second.name]))?;
    sh("gzip -k tree.tar; gzip -k saved.tar; mkdir tree; tar -C tree -xf tree.tar --exclude=dev")?;
    layout(dir.path())?;
    let before = (marks(), stand_ins());
    let script = "pwd; ls -A /dir; cat /one /linked; ls /gone; stat -c '%u %g %a' /dir/new";
    for (file, work_dir) in [
        ("saved.tar".to_owned(), "/dir"),
        (format!("two.tar#{image}"), "/dir"),
        ("layout".to_owned(), "/dir"),
        ("layout.tar".to_owned(), "/dir"),
        ("tree.tar".to_owned(), "/"),
        ("tree.tar.gz".to_owned(), "/"),
        ("tree".to_owned(), "/"),
    ] {
        let ended = output(&mut debug(&format!("archive:{}", at(&file)), &[], &["sh", "-c", script])?)?;
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        ensure!(said == format!("{work_dir}\nnew\n1\n1\n7 8 4750\n"), "{file}: {ended:?}");
    }
    for (file, wanted) in [
        ("two.tar", "several images in it; write archive:FILE#NAME"),
        ("saved.tar.gz", "packed as a whole"),
        ("none.tar", "No such file"),
    ] {
        let ended = output(&mut debug(&format!("archive:{}", at(file)), &[], &["true"])?)?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        ensure!(ended.status.code() == Some(125) && said.contains(wanted), "{file}: {said}");
    }
    let ended =
        output(&mut debug(&format!("archive:{}", at("saved.tar")), &["--room-mib", "1"], &["true"])?)?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(said.contains("needs more than 1 MiB: give more with --room-mib"), "{said}");
    drop(lab);
    nothing_stands(&before.1)?;
    nothing_is_left(&before.0)
}

/// An OCI layout with the layers of `saved.tar`, one packed by gzip and one by zstd.
fn layout(dir: &Path) -> Result<()> {
    let script = r#"
mkdir saved layout layout/blobs layout/blobs/sha256; tar -C saved -xf saved.tar
blob() { sum=$(sha256sum < "$1" | cut -d' ' -f1); size=$(stat -c %s "$1"); cp "$1" "layout/blobs/sha256/$sum"; }
config=$(sed 's/.*"Config":"\([^"]*\)".*/\1/' saved/manifest.json)
blob "saved/$config"; documents="\"config\":{\"mediaType\":\"c\",\"digest\":\"sha256:$sum\",\"size\":$size}"
layers=; pack=gzip
for layer in $(sed 's/.*"Layers":\[\([^]]*\)\].*/\1/' saved/manifest.json | tr ',' ' ' | tr -d '"'); do
    $pack -c < "saved/$layer" > packed; blob packed; pack="zstd -q"
    layers="$layers,{\"mediaType\":\"l\",\"digest\":\"sha256:$sum\",\"size\":$size}"
done
printf '{"schemaVersion":2,%s,"layers":[%s]}' "$documents" "${layers#,}" > manifest; blob manifest
printf '{"schemaVersion":2,"manifests":[{"mediaType":"m","digest":"sha256:%s","size":%s}]}' "$sum" "$size" > layout/index.json
printf '{"imageLayoutVersion":"1.0.0"}' > layout/oci-layout
tar -C layout -cf layout.tar ."#;
    run(Command::new("sh").args(["-euc", script]).current_dir(dir)).map(drop)
}

/// Archives that lead out, that have no end, and that are damaged: refused, and nothing of the host is touched.
#[test]
fn hostile_archives_do_nothing() -> Result<()> {
    let _lab = Lab::enter()?;
    let dir = tempfile::tempdir()?;
    let at = |name: &str| dir.path().join(name).display().to_string();
    fs::write(dir.path().join("victim"), "as it was")?;
    let victim = at("victim");
    let script = r#"
import io, sys, tarfile
victim = sys.argv[1]
def entry(name, kind=tarfile.REGTYPE, link="", data=b"", **more):
    one = tarfile.TarInfo(name); one.type = kind; one.linkname = link; one.size = len(data); one.mode = 0o777
    for key, value in more.items(): setattr(one, key, value)
    return one, data
cases = {
    "up": [entry("../../../../../.." + victim, data=b"bad")],
    "absolute": [entry(victim, data=b"bad")],
    "link": [entry("d", tarfile.SYMTYPE, victim.rsplit("/", 1)[0]), entry("d/victim", data=b"bad")],
    "linkfile": [entry("d", tarfile.SYMTYPE, victim), entry("d", data=b"inside")],
    "hard": [entry("h", tarfile.LNKTYPE, "../../../../../.." + victim), entry("h", data=b"bad")],
    "hardlink": [entry("d", tarfile.SYMTYPE, victim.rsplit("/", 1)[0]), entry("h", tarfile.LNKTYPE, "d/victim")],
    "device": [entry("disk", tarfile.BLKTYPE, devmajor=8, devminor=0), entry("plain", data=b"x")],
    "long": [entry("x/" * 3000 + "y", data=b"x")],
    "bomb": [entry("big", data=bytes(40 << 20))],
    "dev": [entry("dev", tarfile.SYMTYPE, "/etc"), entry("proc", data=b"x"), entry("sys", tarfile.SYMTYPE, "proc")],
}
for name, entries in cases.items():
    with tarfile.open(name + ".tar", "w:gz" if name == "bomb" else "w", format=tarfile.PAX_FORMAT) as out:
        for one, data in entries: out.addfile(one, io.BytesIO(data))
open("cut.tar", "wb").write(open("dev.tar", "rb").read()[:700] + b"x" * 900)
open("empty.tar", "wb").close()
open("noise.tar", "wb").write(bytes(i * 7 % 251 for i in range(40000)))
"#;
    run(Command::new("python3").args(["-c", script, &victim]).current_dir(dir.path()))?;
    let before = (marks(), stand_ins());
    // What is within the tree is made there, and nowhere else.
    let opened = ["absolute", "linkfile", "device", "dev"];
    for name in [
        "up", "absolute", "link", "linkfile", "hard", "hardlink", "device", "long", "bomb", "dev", "cut",
        "empty", "noise",
    ] {
        let word = format!("archive:{}", at(&format!("{name}.tar")));
        let script = "ls /disk; ls -ld /dev/null /proc/self && cat /proc/1/comm";
        let ended = output(&mut debug(&word, &["--room-mib", "16"], &["sh", "-c", script])?)?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        let wanted = if opened.contains(&name) { 0 } else { 125 };
        ensure!(ended.status.code() == Some(wanted), "{name}: {ended:?}");
        ensure!(!opened.contains(&name) || said.contains("/disk"), "{name}: {said}");
        ensure!(fs::read_to_string(&victim)? == "as it was", "{name} has written");
        ensure!(fs::metadata(&victim)?.nlink() == 1, "{name} has linked");
    }
    nothing_stands(&before.1)?;
    nothing_is_left(&before.0)
}

/// A container's root is root by number, and may call a program of its own dockerd.
#[test]
fn a_daemon_in_a_container_says_nothing_of_the_host() -> Result<()> {
    let _lab = Lab::enter()?;
    let dir = TempDir::with_prefix_in("lie-", temporary())?;
    let id = "5".repeat(64);
    let images = dir.path().join("image/overlay2");
    fs::create_dir_all(images.join("imagedb/content/sha256"))?;
    fs::write(images.join("imagedb/content/sha256").join(&id), "{}")?;
    let names = format!(r#"{{"Repositories":{{"x":{{"purser-test-lie:1":"sha256:{id}"}}}}}}"#);
    fs::write(images.join("repositories.json"), names)?;
    let daemon = dir.path().join("dockerd");
    fs::copy("/bin/dash", &daemon)?;
    let heard = |before: &[&str]| -> Result<String> {
        let option = format!("--data-root={}", dir.path().display());
        let mut words: Vec<&str> = before.to_vec();
        let daemon = daemon.display().to_string();
        words.extend([daemon.as_str(), "-c", "read line", "dockerd", option.as_str()]);
        let mut child = Command::new(words[0]).args(&words[1..]).stdin(Stdio::piped()).spawn()?;
        let runs = wait_until("it runs", || {
            Ok(fs::read_to_string(format!("/proc/{}/comm", child.id()))? == "dockerd\n")
        });
        let asked = runs.and_then(|()| output(&mut debug("image:purser-test-lie:2", &[], &["true"])?));
        child.kill()?;
        child.wait()?;
        Ok(String::from_utf8_lossy(&asked?.stderr).into_owned())
    };
    let control = heard(&["env"])?;
    ensure!(control.contains("purser-test-lie:1"), "{control}");
    let told = heard(&["unshare", "-m"])?;
    ensure!(told.contains("no image on this host") && !told.contains("lie:1"), "{told}");
    Ok(())
}
