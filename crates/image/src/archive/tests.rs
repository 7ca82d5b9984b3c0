// SPDX-License-Identifier: Apache-2.0
//! Layers and trees as they come out of their files. Owners, marks and attributes need root.

use super::unpack::Unpacking;
use super::{Archive, digest};
use rustix::fs::{getxattr, lgetxattr};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use tar::{Builder, EntryType, Header};

fn header(kind: EntryType, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    header
}

/// What a layer's or a tree's entries are.
struct Tar(Builder<Vec<u8>>);

impl Tar {
    fn new() -> Tar {
        Tar(Builder::new(Vec::new()))
    }

    fn with(mut self, mut header: Header, name: &[u8], link: &[u8], bytes: &[u8]) -> Tar {
        let fields = header.as_old_mut();
        fields.name[..name.len()].copy_from_slice(name);
        fields.linkname[..link.len()].copy_from_slice(link);
        header.set_cksum();
        self.0.append(&header, bytes).unwrap();
        self
    }

    fn file(self, name: &str, text: &str) -> Tar {
        self.with(header(EntryType::Regular, text.len()), name.as_bytes(), b"", text.as_bytes())
    }

    fn directory(self, name: &str) -> Tar {
        self.with(header(EntryType::Directory, 0), name.as_bytes(), b"", b"")
    }

    fn link(self, kind: EntryType, name: &str, to: &str) -> Tar {
        self.with(header(kind, 0), name.as_bytes(), to.as_bytes(), b"")
    }

    /// An extended header for the next entry.
    fn extended(self, key: &str, value: &[u8]) -> Tar {
        let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
        // The length counts its own digits.
        let length = (1..).find(|length: &usize| *length == rest.len() + length.to_string().len()).unwrap();
        let record = [length.to_string().as_bytes(), &rest].concat();
        self.with(header(EntryType::XHeader, record.len()), b"x", b"", &record)
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

fn opened(dir: &Path) -> OwnedFd {
    File::open(dir).unwrap().into()
}

/// Unpacks a layer, and gives the directory with what was said.
fn layer(tar: Tar) -> (tempfile::TempDir, Result<bool, String>) {
    let (dir, bytes) = (tempfile::tempdir().unwrap(), tar.bytes());
    let digest = format!("sha256:{}", digest(&bytes));
    let said = Unpacking::new(1 << 20).layer(bytes.as_slice(), &opened(dir.path()), &digest);
    (dir, said)
}

fn refused(tar: Tar) -> String {
    layer(tar).1.unwrap_err()
}

fn is_mark(path: &Path) -> bool {
    let meta = fs::symlink_metadata(path).unwrap();
    meta.file_type().is_char_device() && meta.rdev() == 0
}

fn is_opaque(path: &Path) -> bool {
    getxattr(path, "trusted.overlay.opaque", &mut [0; 8]).is_ok()
}

#[test]
fn marks_are_about_the_layers_below() {
    let tar = Tar::new()
        .file(".wh.gone", "")
        // Directories of the layer that take the place of what was there below: the mark may come first or last.
        .file(".wh.first", "")
        .directory("first/")
        .file("first/own", "1")
        .directory("last/")
        .file("last/own", "2")
        .file(".wh.last", "")
        .file(".wh.below", "")
        .file("below/deeper/own", "3")
        .file(".wh.file", "")
        .file("file", "4")
        .file("early", "5")
        .file(".wh.early", "")
        .file("opaque/.wh..wh..opq", "")
        .file(".wh..wh.plnk", "");
    let (dir, said) = layer(tar);
    assert_eq!(said, Ok(false));
    let at = |name: &str| dir.path().join(name);
    assert!(is_mark(&at("gone")));
    for (name, text) in
        [("first/own", "1"), ("last/own", "2"), ("below/deeper/own", "3"), ("file", "4"), ("early", "5")]
    {
        assert_eq!(fs::read_to_string(at(name)).unwrap(), text, "{name}");
    }
    for name in ["first", "last", "below", "opaque"] {
        assert!(is_opaque(&at(name)), "{name}");
    }
    assert!(!is_opaque(&at("below/deeper")) && !is_opaque(dir.path()));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 7);
    // The kernel would not look for that mark on a layer itself.
    assert_eq!(layer(Tar::new().file("a", "").file(".wh..wh..opq", "")).1, Ok(true));
}

#[test]
fn what_comes_later_takes_the_place() {
    let tar = Tar::new()
        .file("d/deep/file", "x")
        .file("d", "now a file")
        .file("f", "a file")
        .directory("f/")
        .file("f/in", "y")
        .link(EntryType::Symlink, "s", "/etc")
        .directory("s/")
        .file("s/passwd", "z")
        .file("twice", "a")
        .link(EntryType::Link, "twice", "./twice")
        .link(EntryType::Link, "h", "f/in");
    let (dir, said) = layer(tar);
    assert_eq!(said, Ok(false));
    for (name, text) in [("d", "now a file"), ("f/in", "y"), ("s/passwd", "z"), ("twice", "a"), ("h", "y")] {
        assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), text, "{name}");
    }
    assert_eq!(fs::metadata(dir.path().join("h")).unwrap().nlink(), 2);
    let says = |tar: Tar, why: &str| {
        let said = refused(tar);
        assert!(said.contains(why), "{said}");
    };
    says(
        Tar::new().link(EntryType::Link, "h", "none"),
        "h: it is another name of what is not in the same layer",
    );
    says(Tar::new().directory("d/").link(EntryType::Link, "h", "d"), "another name of a directory");
    // What is linked to is below what would be removed for it.
    says(Tar::new().file("d/x", "").link(EntryType::Link, "d", "d/x"), "not in the same layer");
    says(
        Tar::new().link(EntryType::Symlink, "l", "/etc").file("l/x", ""),
        "below something that is no directory",
    );
}

#[test]
fn owners_modes_names_and_attributes() {
    let mut far = header(EntryType::Regular, 1);
    far.set_uid(1 << 31);
    far.set_gid(u64::from(u32::MAX) - 1);
    far.set_mode(0o4751);
    let mut open = header(EntryType::Directory, 0);
    open.set_mode(0o1777);
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let tar = Tar::new()
        .with(open, b"./", b"", b"")
        .with(far, b"far", b"", b"x")
        .with(header(EntryType::Regular, 1), b"odd\xff\xfename", b"", b"y")
        .link(EntryType::Symlink, "loop", "loop")
        .with(header(EntryType::Fifo, 0), b"pipe", b"", b"")
        .extended("SCHILY.xattr.security.capability", capability)
        .file("able", "")
        .extended("SCHILY.xattr.trusted.overlay.redirect", b"/etc")
        .file("plain", "")
        .extended("uid", b"2147483649")
        .link(EntryType::Symlink, "told", "x");
    let (dir, said) = layer(tar);
    assert_eq!(said, Ok(false));
    let meta = |name: &str| fs::symlink_metadata(dir.path().join(name)).unwrap();
    assert_eq!(
        (meta("far").uid(), meta("far").gid(), meta("far").mode() & 0o7777),
        (1 << 31, u32::MAX - 1, 0o4751)
    );
    assert_eq!(meta("told").uid(), (1 << 31) + 1);
    assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o7777, 0o1777);
    let odd = std::ffi::OsStr::from_bytes(b"odd\xff\xfename");
    assert_eq!(fs::read(dir.path().join(odd)).unwrap(), b"y");
    assert_eq!(fs::read_link(dir.path().join("loop")).unwrap(), Path::new("loop"));
    assert!(meta("pipe").file_type().is_fifo() && meta("pipe").mode() & 0o777 == 0o644);
    let mut value = [0; 64];
    let length = lgetxattr(dir.path().join("able"), "security.capability", &mut value).unwrap();
    assert_eq!(&value[..length], capability);
    assert!(lgetxattr(dir.path().join("plain"), "trusted.overlay.redirect", &mut value).is_err());
}

#[test]
fn what_would_be_too_much_is_refused() {
    let mut nobody = header(EntryType::Regular, 0);
    nobody.set_uid(u64::from(u32::MAX));
    let said = refused(Tar::new().with(nobody, b"x", b"", b""));
    assert!(said.contains("x: its owner is nobody's number"), "{said}");
    let said = refused(Tar::new().extended("uid", b"4294967295").file("x", ""));
    assert!(said.contains("nobody's number"), "{said}");
    // Files without a byte, and directories on the way to them, take memory as well.
    let many = (0..1100).fold(Tar::new(), |tar, number| tar.file(&number.to_string(), ""));
    assert!(refused(many).contains("needs more than 1 MiB: give more with --room-mib"));
    let deep =
        (0..30).fold(Tar::new(), |tar, number| tar.file(&format!("{number}/{}x", "d/".repeat(45)), ""));
    assert!(refused(deep).contains("needs more than 1 MiB"));
    let large = [0; 600 << 10];
    let attributes =
        (0..2).fold(Tar::new(), |tar, number| tar.extended(&format!("SCHILY.xattr.user.{number}"), &large));
    assert!(refused(attributes.file("x", "")).contains("too many attributes"));
    let said = refused(Tar::new().extended("size", b"9000000000").file("x", ""));
    assert!(said.contains("of 8 GiB or more"), "{said}");
    let said = refused(Tar::new().extended("SCHILY.xattr.security.capability", b"none").file("x", ""));
    assert!(said.contains("x: its attribute security.capability: "), "{said}");
}

#[test]
fn files_that_are_no_images() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let said = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let into = tempfile::tempdir().unwrap();
        let archive = Archive::open(&path, None);
        let unpacked = archive.and_then(|archive| archive.unpack(opened(into.path()).as_fd(), 1 << 20));
        unpacked.map(|layers| layers.len()).map_err(|error| error.to_string())
    };
    let tree = Tar::new().file("a", "1").bytes();
    assert_eq!(said(&tree), Ok(1));
    for (bytes, why) in [
        (&b""[..], "there is nothing in it; is it a tar file?"),
        (&[7; 2000], "it is damaged, or no tar file"),
        (&Tar::new().file("manifest.json", "[]").bytes(), "there is no image in it"),
        (&Tar::new().file("index.json", "{").bytes(), "index.json: "),
        (&Tar::new().file("index.json", r#"{"manifests":[]}"#).bytes(), "there is no image in it"),
        (&Tar::new().file("index.json", r#"{"manifests":[{"digest":"x"}]}"#).bytes(), "a digest is none"),
    ] {
        let told = said(bytes).unwrap_err();
        assert!(told.contains(why) && told.contains("/file: "), "{told}");
    }
    // A mark is a file like any other in what is no layer.
    let into = tempfile::tempdir().unwrap();
    fs::write(&path, Tar::new().file(".wh.a", "kept").bytes()).unwrap();
    Archive::open(&path, None).unwrap().unpack(opened(into.path()).as_fd(), 1 << 20).unwrap();
    let mut text = String::new();
    File::open(into.path().join("0/.wh.a")).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "kept");
}
