// SPDX-License-Identifier: Apache-2.0
//! Images with all that an image may have: many layers, another processor, marks, links, owners and names that are odd.
//! What a session sees of one is what a container of Docker sees, from Docker's own files and from an archive.

use std::process::Command;

use anyhow::{Result, ensure};

use super::super::{debug, marks, nothing_is_left};
use super::{nothing_stands, stand_ins};
use crate::lab::{Lab, output, run, unique};

/// Writes images: an OCI layout, or what `docker save` writes.
const IMAGES: &str = r#"
import hashlib, io, json, os, sys, tarfile
def layer(entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
        for name, more in entries:
            data = more.pop("data", b"")
            one = tarfile.TarInfo(name); one.size = len(data); one.mode = 0o644; one.mtime = 1
            for key, value in more.items(): setattr(one, key, value)
            tar.addfile(one, io.BytesIO(data))
    return out.getvalue()
def configuration(layers, **more):
    digests = ["sha256:" + hashlib.sha256(one).hexdigest() for one in layers]
    return json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": digests}} | more).encode()
def layout(at, layers, **more):
    os.makedirs(at + "/blobs/sha256")
    def blob(data):
        digest = hashlib.sha256(data).hexdigest()
        open(at + "/blobs/sha256/" + digest, "wb").write(data)
        return {"mediaType": "m", "digest": "sha256:" + digest, "size": len(data)}
    parts = {"config": blob(configuration(layers, **more)), "layers": [blob(one) for one in layers]}
    manifest = blob(json.dumps({"schemaVersion": 2} | parts).encode())
    open(at + "/index.json", "w").write(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
def saved(at, name, layers, **more):
    with tarfile.open(at, "w") as tar:
        def file(name, data):
            one = tarfile.TarInfo(name); one.size = len(data)
            tar.addfile(one, io.BytesIO(data))
        for number, one in enumerate(layers): file(f"{number}/layer.tar", one)
        file("config.json", configuration(layers, **more))
        names = [f"{number}/layer.tar" for number in range(len(layers))]
        file("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": names}]).encode())
DIR = {"type": tarfile.DIRTYPE, "mode": 0o755}
def link(to): return {"type": tarfile.SYMTYPE, "linkname": to}
def hard(to): return {"type": tarfile.LNKTYPE, "linkname": to}
"#;

fn make(script: &str, words: &[&str]) -> Result<()> {
    run(Command::new("python3").args(["-c", &format!("{IMAGES}{script}")]).args(words)).map(drop)
}

#[test]
fn hundreds_of_layers() -> Result<()> {
    let _lab = Lab::enter()?;
    let dir = tempfile::tempdir()?;
    let at = |count: usize| dir.path().join(count.to_string()).display().to_string();
    let script = r#"
for at in sys.argv[1:]:
    count = int(at.rsplit("/", 1)[1])
    layout(at, [layer([(f"own-{n}", {"data": b"%d" % n}), ("last", {"data": b"%d" % n}), (f".wh.own-{n - 7}", {})]) for n in range(count)])
"#;
    make(script, &[&at(130), &at(500), &at(501)])?;
    let before = (marks(), stand_ins());
    for count in [130, 500] {
        let script = "cat /last; echo; ls -d /own-* | wc -l; cat /own-$1";
        let last = (count - 1).to_string();
        let mut debug = debug(&format!("archive:{}", at(count)), &[], &["sh", "-c", script, "sh", &last])?;
        let said = run(&mut debug)?;
        let words: Vec<&str> = said.split_whitespace().collect();
        ensure!(words == [last.as_str(), "7", &last], "{count}: {said}");
    }
    let ended = output(&mut debug(&format!("archive:{}", at(501)), &[], &["true"])?)?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(ended.status.code() == Some(125) && said.contains("too many layers"), "{said}");
    nothing_stands(&before.1)?;
    nothing_is_left(&before.0)
}

#[test]
fn an_image_for_another_processor() -> Result<()> {
    let _lab = Lab::enter()?;
    let dir = tempfile::tempdir()?;
    let at = dir.path().join("arm").display().to_string();
    // The head of a program for aarch64, and nothing behind it.
    let script = r#"
head = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00\x01\x00\x00\x00" + bytes(40)
program = {"mode": 0o755, "data": head}
layout(sys.argv[1], [layer([("bin", DIR), ("bin/app", program), ("bin/ls", dict(program))])], architecture="arm64", config={"Cmd": ["/bin/app"]})
"#;
    make(script, &[&at])?;
    let word = format!("archive:{at}");
    let ended = output(&mut debug(&word, &[], &["ls", "/bin"])?)?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(ended.stdout == b"app\nls\n", "the kit's ls is not the one that runs: {ended:?}");
    ensure!(said.contains("is for arm64 and this host is amd64: only tools of kits run"), "{said}");
    for program in ["/bin/app", "app"] {
        let ended = output(&mut debug(&word, &[], &[program])?)?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        ensure!(ended.status.code() == Some(126), "{program}: {ended:?}");
        ensure!(said.contains("starting /bin/app: ") && said.contains("for another architecture"), "{said}");
    }
    Ok(())
}

/// An image; removed when dropped.
struct Image(String);

impl Drop for Image {
    fn drop(&mut self) {
        drop(output(Command::new("docker").args(["rmi", "-f", &self.0])));
    }
}

#[test]
fn what_docker_shows_of_an_image() -> Result<()> {
    let _lab = Lab::enter()?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("odd.tar").display().to_string();
    let image = Image(unique("purser-test-odd") + ":1");
    let script = r#"
busybox = {"mode": 0o755, "data": open("/bin/busybox", "rb").read()}
low = [("bin", DIR), ("bin/busybox", busybox), ("bin/sh", link("busybox")), ("odd", DIR),
    ("odd/gone", {"data": b"x"}), ("odd/gone-too", DIR), ("odd/gone-too/deep", {"data": b"x"}),
    ("odd/opaque", DIR), ("odd/opaque/old", {"data": b"x"}), ("odd/opaque/both", {"data": b"old"}),
    ("odd/was-file", {"data": b"x"}), ("odd/was-dir", DIR), ("odd/was-dir/in", {"data": b"x"}),
    ("odd/was-link", link("/odd/opaque")), ("odd/one", {"data": b"one"}), ("odd/two", hard("odd/one")),
    ("odd/caf\udce9\udcff", {"data": b"not UTF-8"}), ("odd/loop", link("loop")), ("odd/a", link("b")), ("odd/b", link("a")),
    ("odd/out", link("../../../../../../etc/shadow")), ("odd/far", {"data": b"far", "uid": 1 << 31, "gid": (1 << 32) - 2}),
    ("odd/su", {"mode": 0o6755, "data": b"su"}), ("odd/sticky", dict(DIR, mode=0o1777)), ("odd/pipe", {"type": tarfile.FIFOTYPE}),
    ("odd/able", {"data": b"x", "pax_headers": {"SCHILY.xattr.user.note": "kept"}}), ("odd/" + "n" * 200, {"data": b"long"})]
high = [("odd/.wh.gone", {}), ("odd/.wh.gone-too", {}), ("odd/opaque", DIR), ("odd/opaque/.wh..wh..opq", {}),
    ("odd/opaque/both", {"data": b"new"}), ("odd/opaque/new", {"data": b"x"}), ("odd/was-file", DIR), ("odd/was-file/in", {"data": b"y"}),
    ("odd/was-dir", {"data": b"file"}), ("odd/was-link", {"data": b"file"}), ("odd/one", {"data": b"one", "uid": 7}), ("odd/two", dict(hard("odd/one"), uid=7))]
saved(sys.argv[1], sys.argv[2], [layer(low), layer(high)])
"#;
    make(script, &[&file, &image.0])?;
    run(Command::new("docker").args(["load", "-i", &file]))?;
    // All files with all that can be seen of them; only Docker's container has nobody's tools but its own.
    let look = "b=/bin/busybox; cd /; $b find odd bin | $b sort | while read -r f; do \
        $b stat -c '%n %F %u:%g %a %s %h' \"$f\" | $b sed 's/\\(directory .*\\) [0-9]* [0-9]*$/\\1/'; \
        $b readlink \"$f\"; if [ -f \"$f\" ] && [ ! -h \"$f\" ] && [ \"$f\" != bin/busybox ]; then $b cat \"$f\"; echo; fi; \
        done; $b cat odd/loop odd/a odd/out 2>&1 | $b sed 's/.*: //'";
    let mut docker = Command::new("docker");
    docker.args(["run", "--rm", "--network", "none", &image.0, "/bin/sh", "-c", look]);
    let wanted = output(&mut docker)?;
    let text = String::from_utf8_lossy(&wanted.stdout).into_owned();
    for there in ["odd/opaque/new", "2147483648:4294967294", " 6755 ", " 1777", "fifo", "not UTF-8", "one\n"]
    {
        ensure!(text.contains(there), "{there:?} is not in what docker shows: {wanted:?}");
    }
    ensure!(!text.contains("gone") && !text.contains("old") && text.contains("Too many levels"), "{text}");
    let before = (marks(), stand_ins());
    for word in [format!("image:{}", image.0), format!("archive:{file}")] {
        let seen = output(&mut debug(&word, &[], &["/bin/sh", "-c", look])?)?;
        let said = String::from_utf8_lossy(&seen.stdout).into_owned();
        let differing = said.lines().zip(text.lines()).find(|(one, other)| one != other);
        let errors = String::from_utf8_lossy(&seen.stderr);
        ensure!(seen.stdout == wanted.stdout, "{word}, and docker: {differing:?}\n{errors}\n{said}");
    }
    nothing_stands(&before.1)?;
    nothing_is_left(&before.0)
}

/// What images may have in the places where a session has its own, and in the place of the root.
#[test]
fn what_is_in_the_way() -> Result<()> {
    let _lab = Lab::enter()?;
    let dir = tempfile::tempdir()?;
    let script = r#"
cases = {
    "link": [("dev", link("/etc")), ("proc", link("dev")), ("sys", link("sys"))],
    "file": [("dev", {"data": b"x"}), ("proc", {"data": b"x"}), ("sys", {"type": tarfile.FIFOTYPE})],
    "root": [("./", link("/etc")), (".", {"data": b"x"}), ("/", {"type": tarfile.CHRTYPE}), ("kept", {"data": b"x"})],
    "closed": [("./", dict(DIR, mode=0o0, uid=5)), ("kept", {"data": b"x"})],
    "marks": [(".wh.dev", {}), (".wh.proc", {}), ("dev", DIR), ("dev/null", {"data": b"x"}), ("dev/.wh..wh..opq", {}), (".wh..wh..opq", {})],
}
for name, entries in cases.items():
    layout(name, [layer([("dev", DIR), ("dev/own", {"data": b"x"}), ("low", {"data": b"x"})]), layer(entries)])
"#;
    let made = format!("{IMAGES}{script}");
    run(Command::new("python3").args(["-c", &made]).current_dir(dir.path()))?;
    let before = (marks(), stand_ins());
    for name in ["link", "file", "root", "closed", "marks"] {
        let word = format!("archive:{}", dir.path().join(name).display());
        let script = "echo x > /dev/null && cat /proc/1/comm && ls -d /sys/class && touch /new && ls /low";
        let ended = output(&mut debug(&word, &[], &["sh", "-c", script])?)?;
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        // Of the last one the upper layer hides all of the lower.
        let wanted =
            if name == "marks" { "purser-stand\n/sys/class\n" } else { "purser-stand\n/sys/class\n/low\n" };
        ensure!(said == wanted, "{name}: {ended:?}");
    }
    nothing_stands(&before.1)?;
    nothing_is_left(&before.0)
}
