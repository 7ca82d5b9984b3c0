// SPDX-License-Identifier: Apache-2.0
//! Archives that are right, damaged and hostile. After each refusal the shelf is as it was.

use super::{Archive, Gathering, Packed, Wanted, export, pack, seal};
use crate::build::Built;
use crate::digest::Digest;
use crate::layer::{self, Kind, Writer};
use crate::manifest::Manifest;
use crate::name::Name;
use crate::oci::{INDEX_FILE, Image, Index, LAYOUT, LAYOUT_FILE};
use crate::shelf::Shelf;
use crate::sign::SecretKey;
use crate::tree::{Node, Tree};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

fn manifest(name: &str) -> String {
    let arch = std::env::consts::ARCH;
    format!("name = \"{name}\"\nversion = \"1\"\narch = \"{arch}\"\nsummary = \"a test\"\n")
}

fn built(name: &str) -> Built {
    let mut tree = Tree::default();
    tree.put("bin/x", Node::Link { target: "../usr/bin/x".to_string() });
    tree.put("usr/bin/x", Node::File { executable: true, bytes: name.repeat(5000).into_bytes() });
    Built { manifest: Manifest::parse(&manifest(name), "test").unwrap(), tree }
}

/// An archive of one image with this layer.
fn archive(dir: &Path, layer: &[u8]) -> PathBuf {
    archive_of(dir, &[image("evil", layer)])
}

fn image(title: &str, layer: &[u8]) -> Image {
    Image::new(title, "1", Digest::of(layer), zstd::encode_all(layer, 1).unwrap()).unwrap()
}

fn archive_of(dir: &Path, images: &[Image]) -> PathBuf {
    let path = dir.join("made.tar");
    let mut builder = tar::Builder::new(fs::File::create(&path).unwrap());
    let mut put = |at: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len().try_into().unwrap());
        header.set_mode(0o644);
        builder.append_data(&mut header, at, bytes).unwrap();
    };
    put(LAYOUT_FILE, LAYOUT.as_bytes());
    let index = Index::of(images.iter().map(|image| image.descriptor.clone()).collect());
    put(INDEX_FILE, &serde_json::to_vec(&index).unwrap());
    for (descriptor, bytes) in images.iter().flat_map(|image| &image.blobs) {
        put(&descriptor.path(), bytes);
    }
    builder.into_inner().unwrap();
    path
}

fn layer_of(entries: &[(&str, Kind)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    let text = manifest("evil");
    let size = text.len().try_into().unwrap();
    writer.entry("kit.toml", &Kind::File { executable: false, size }, &mut text.as_bytes()).unwrap();
    for (at, kind) in entries {
        writer.entry(at, kind, &mut io::repeat(b'x')).unwrap();
    }
    writer.finish().unwrap()
}

fn import(path: &Path, shelf: &Shelf) -> Result<usize, String> {
    let archive = Archive::open(path).map_err(|error| error.to_string())?;
    archive
        .import(shelf, &Wanted::default(), &|_| {})
        .map(|kits| kits.len())
        .map_err(|error| error.to_string())
}

/// Everything on a shelf but its lock.
fn left(shelf: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(shelf) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != ".lock").collect()
}

#[test]
fn kits_travel() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (Shelf::new(&dir.path().join("here")), Shelf::new(&dir.path().join("there")));
    let kits = [here.put(&built("one")).unwrap(), here.put(&built("two")).unwrap()];
    let (first, second) = (dir.path().join("first.tar"), dir.path().join("second.tar"));
    export(&here, &kits, &first, &|_| {}).unwrap();
    export(&here, &kits, &second, &|_| {}).unwrap();
    assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());

    let archive = Archive::open(&first).unwrap();
    let wrong = archive
        .import(&there, &Wanted { digests: &[kits[0].digest], ..Wanted::default() }, &|_| {})
        .unwrap_err()
        .to_string();
    assert!(wrong.contains("none of those given"), "{wrong}");
    let pins = [kits[0].digest, kits[1].digest];
    let taken = archive.import(&there, &Wanted { digests: &pins, ..Wanted::default() }, &|_| {}).unwrap();
    assert_eq!(taken.iter().map(|kit| kit.digest).collect::<Vec<_>>(), pins);
    // Once more changes nothing, and mends what was damaged.
    let program = there.find(&Name::new("one").unwrap()).unwrap().root().join("usr/bin/x");
    fs::write(&program, "short").unwrap();
    let said = there.verify(&Name::new("one").unwrap()).unwrap_err().to_string();
    assert!(said.contains("kit one is damaged"), "{said}");
    archive.import(&there, &Wanted::default(), &|_| {}).unwrap();
    for name in ["one", "two"] {
        there.verify(&Name::new(name).unwrap()).unwrap();
    }
    assert_eq!(left(&dir.path().join("there")).len(), 4);
}

#[test]
fn kits_need_signatures_of_those_who_are_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (Shelf::new(&dir.path().join("here")), Shelf::new(&dir.path().join("there")));
    let kits = [here.put(&built("one")).unwrap(), here.put(&built("two")).unwrap()];
    let file = dir.path().join("kits.tar");
    let (ours, theirs) = (SecretKey::random().unwrap(), SecretKey::random().unwrap());
    let trust = [ours.public()];
    let wanted = Wanted { trust: &trust, ..Wanted::default() };
    let import = || {
        let taken = Archive::open(&file).unwrap().import(&there, &wanted, &|_| {});
        taken.map(|kits| kits.len()).map_err(|error| error.to_string())
    };
    export(&here, &kits, &file, &|_| {}).unwrap();
    assert!(import().unwrap_err().contains("kit one: nobody has signed it"));
    // One of two is not enough, and neither is somebody else.
    here.sign(&Name::new("one").unwrap(), &ours).unwrap();
    export(&here, &kits, &file, &|_| {}).unwrap();
    assert!(import().unwrap_err().contains("kit two: nobody has signed it"));
    here.sign(&Name::new("two").unwrap(), &theirs).unwrap();
    export(&here, &kits, &file, &|_| {}).unwrap();
    assert!(import().unwrap_err().contains("not among those trusted"));
    assert!(left(&dir.path().join("there")).is_empty());
    // A file that is signed as a whole; the signatures come along and go on.
    assert_eq!(seal(&file, &ours).unwrap().len(), 2);
    let sealed = fs::read(&file).unwrap();
    seal(&file, &ours).unwrap();
    assert_eq!(fs::read(&file).unwrap(), sealed);
    assert_eq!(import(), Ok(2));
    assert_eq!(there.signatures(&kits[1].digest).unwrap().len(), 2);
    let again = dir.path().join("again.tar");
    export(&there, &kits, &again, &|_| {}).unwrap();
    Archive::open(&again).unwrap().import(&here, &wanted, &|_| {}).unwrap();
    for kit in &kits {
        there.forget(&kit.manifest.name).unwrap();
    }
    there.collect().unwrap();
    assert!(left(&dir.path().join("there")).is_empty());
    // The signature of one kit under another.
    let of_one = ours.sign(&kits[0].digest);
    let mut evil = image("two", &layer_of(&[("root", Kind::Directory)]));
    evil.descriptor.annotations.insert(crate::oci::SIGNATURES.to_string(), crate::sign::render(&[of_one]));
    let file = archive_of(dir.path(), &[evil]);
    let said = Archive::open(&file).unwrap().import(&there, &wanted, &|_| {}).unwrap_err().to_string();
    assert!(said.contains("its signature is for something else"), "{said}");
}

/// Whoever adds their own signatures, and as many as there may be, keeps nobody else from signing.
#[test]
fn the_newest_signatures_stay() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (Shelf::new(&dir.path().join("here")), Shelf::new(&dir.path().join("there")));
    let name = Name::new("one").unwrap();
    let kit = here.put(&built("one")).unwrap();
    let file = dir.path().join("kits.tar");
    export(&here, std::slice::from_ref(&kit), &file, &|_| {}).unwrap();
    for _ in 0..16 {
        seal(&file, &SecretKey::random().unwrap()).unwrap();
    }
    Archive::open(&file).unwrap().import(&there, &Wanted::default(), &|_| {}).unwrap();
    let ours = SecretKey::random().unwrap();
    there.sign(&name, &ours).unwrap();
    assert_eq!(seal(&file, &ours).unwrap()[0].signatures.last().unwrap().by, ours.public());
    let left = there.signatures(&kit.digest).unwrap();
    assert_eq!((left.len(), left.last().unwrap().by), (16, ours.public()));
    export(&there, &[kit], &file, &|_| {}).unwrap();
    let trust = [ours.public()];
    let wanted = Wanted { trust: &trust, ..Wanted::default() };
    Archive::open(&file).unwrap().import(&here, &wanted, &|_| {}).unwrap();
}

#[test]
fn names_can_be_pinned_and_archives_gathered() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (Shelf::new(&dir.path().join("here")), Shelf::new(&dir.path().join("there")));
    let name = Name::new("one").unwrap();
    let kit = here.put(&built("one")).unwrap();
    let key = SecretKey::random().unwrap();
    here.sign(&name, &key).unwrap();
    let packed = pack(&here, &kit).unwrap();
    let beside = Packed::signatures(&packed, &here.signatures(&kit.digest).unwrap()).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&beside.manifest.1).unwrap();
    let annotations = serde_json::from_value(document["annotations"].clone()).unwrap();
    let gathered = |title: &str| {
        let path = dir.path().join("gathered.tar");
        let file =
            fs::File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        let mut gathering = Gathering::new(file, Path::new("r.example/one")).unwrap();
        for blob in &packed.blobs {
            let (digest, size) = (Digest::of(blob).to_string(), blob.len().try_into().unwrap());
            let fill = |out: &mut dyn io::Write| out.write_all(blob).map_err(crate::error::files("x", &path));
            gathering.blob(&digest, size, fill).unwrap();
        }
        let (kind, manifest) = &packed.manifest;
        gathering.image(kind, manifest, title, Packed::signed(&annotations)).unwrap();
        gathering.finish().unwrap()
    };
    let wrong = BTreeMap::from([(name.clone(), Digest::of(b"other"))]);
    let trust = [key.public()];
    let import = |pins: &BTreeMap<Name, Digest>| {
        // What an archive calls a kit does not matter.
        let wanted = Wanted { pins: Some(pins), trust: &trust, ..Wanted::default() };
        gathered("two").import(&there, &wanted, &|_| {}).map_err(|error| error.to_string())
    };
    let said = import(&wrong).unwrap_err();
    assert!(said.starts_with("r.example/one: kit one") && said.contains("pins it to"), "{said}");
    assert!(left(&dir.path().join("there")).is_empty());
    let right = BTreeMap::from([(name, kit.digest)]);
    let base = Name::new("base").unwrap();
    let other = Wanted { name: Some(&base), ..Wanted::default() };
    let said = gathered("base").import(&there, &other, &|_| {}).unwrap_err().to_string();
    assert!(said.contains("it is the kit one and not base"), "{said}");
    assert_eq!(import(&right).unwrap()[0].digest, kit.digest);
}

#[test]
fn all_kits_share_what_may_be_unpacked() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (Shelf::new(&dir.path().join("here")), Shelf::new(&dir.path().join("there")));
    let kits = ["one", "two", "three"].map(|name| here.put(&built(name)).unwrap());
    let file = dir.path().join("kits.tar");
    export(&here, &kits, &file, &|_| {}).unwrap();
    let archive = Archive::open(&file).unwrap();
    let size = |kit| here.layer(kit, Vec::new()).unwrap().len() as u64;
    let all: u64 = kits.iter().map(size).sum();
    let unpack = |room: u64| {
        let adding = there.adding().unwrap();
        archive.unpack(&adding, &AtomicU64::new(room), &|_| {}).map(|kits| kits.len())
    };
    assert_eq!(unpack(all).unwrap(), 3);
    let said = unpack(all - 1).unwrap_err().to_string();
    assert!(said.contains("all kits together are larger"), "{said}");
    assert!(left(&dir.path().join("there")).is_empty());
}

#[test]
fn used_kits_stay_until_nobody_uses_them() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(dir.path());
    let name = Name::new("one").unwrap();
    let kit = shelf.put(&built("one")).unwrap();
    let held = kit.hold().unwrap();
    shelf.forget(&name).unwrap();
    assert_eq!(shelf.collect().unwrap(), (vec![], vec![kit.digest]));
    drop(held);
    assert_eq!(shelf.collect().unwrap(), (vec![kit.digest], vec![]));
    assert!(left(dir.path()).is_empty());
    assert!(shelf.forget(&name).is_err());
}

#[test]
fn damage_is_found_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (Shelf::new(&dir.path().join("here")), dir.path().join("there"));
    let file = dir.path().join("kits.tar");
    let kits = [here.put(&built("one")).unwrap(), here.put(&built("two")).unwrap()];
    export(&here, &kits, &file, &|_| {}).unwrap();
    let right = fs::read(&file).unwrap();
    // The zeros behind the last entry are nobody's, and neither are those that fill its block.
    let end = right.len() - 1024 - 512;
    for cut in (0..end).step_by(211) {
        fs::write(&file, &right[..cut]).unwrap();
        assert!(import(&file, &Shelf::new(&there)).is_err(), "cut to {cut}");
        assert!(left(&there).is_empty(), "cut to {cut}");
    }
    let mut refused = 0;
    for at in (0..end).step_by(13) {
        let mut damaged = right.clone();
        damaged[at] ^= 0x20;
        fs::write(&file, damaged).unwrap();
        match import(&file, &Shelf::new(&there)) {
            Err(_) => {
                refused += 1;
                assert!(left(&there).is_empty(), "byte {at}");
            }
            // Some bytes of the outer file say nothing: times, owners, padding.
            Ok(_) => {
                for (name, _) in Shelf::new(&there).list().unwrap() {
                    Shelf::new(&there).verify(&name).unwrap();
                }
                fs::remove_dir_all(&there).unwrap();
            }
        }
    }
    assert!(refused * 2 > end / 13, "{refused} of {}", end / 13);
}

#[test]
fn hostile_layers_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let there = dir.path().join("there");
    let file = Kind::File { executable: false, size: 3 };
    let link = |target: &str| Kind::Link { target: target.to_string() };
    let root = ("root", Kind::Directory);
    let cases: Vec<(&str, Vec<(&str, Kind)>)> = vec![
        ("dots", vec![root.clone(), ("root/../../../x", file.clone())]),
        ("absolute", vec![("/x", file.clone())]),
        ("beside the root", vec![root.clone(), ("ssh", file.clone())]),
        ("link out", vec![root.clone(), ("root/a", link("../../../etc/passwd"))]),
        ("absolute link", vec![root.clone(), ("root/a", link("/etc/passwd"))]),
        ("through a link", vec![root.clone(), ("root/a", link(".")), ("root/a/b", file.clone())]),
        ("root is a link", vec![("root", link("/tmp"))]),
        ("no directory above", vec![root.clone(), ("root/a/b", file.clone())]),
        ("twice", vec![root.clone(), ("root/a", file.clone()), ("root/a", file.clone())]),
        ("backwards", vec![root.clone(), ("root/b", file.clone()), ("root/a", file.clone())]),
        ("no root", vec![("root/a", file.clone())]),
    ];
    for (what, entries) in cases {
        let said = import(&archive(dir.path(), &layer_of(&entries)), &Shelf::new(&there)).unwrap_err();
        assert!(said.contains("nothing of it was taken"), "{what}: {said}");
        assert!(left(&there).is_empty(), "{what}");
    }
    assert_eq!(import(&archive(dir.path(), &layer_of(&[root])), &Shelf::new(&there)), Ok(1));
}

#[test]
fn other_lies_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let there = dir.path().join("there");
    let refused = |path: PathBuf, says: &str| {
        let said = import(&path, &Shelf::new(&there)).unwrap_err();
        assert!(said.contains(says), "{said}");
        assert!(left(&there).is_empty(), "{said}");
    };
    let layer = layer_of(&[("root", Kind::Directory)]);
    let packed = || zstd::encode_all(&*layer, 1).unwrap();
    // A digest of something else.
    let lie = Image::new("evil", "1", Digest::of(b"else"), packed()).unwrap();
    refused(archive_of(dir.path(), &[lie]), "damaged");
    // Two kits of one name, as two images.
    let other = layer_of(&[("root", Kind::Directory), ("root/a", Kind::Directory)]);
    let twice = [image("evil", &layer), image("other", &other)];
    refused(archive_of(dir.path(), &twice), "two kits evil");
    // A kit for another processor that says so only inside.
    let text = manifest("evil").replace(std::env::consts::ARCH, "vax");
    let vax = layer::write(&text, &Tree::default(), Vec::new()).unwrap();
    refused(archive(dir.path(), &vax), "is for vax");
    // A layer as another tool would write it.
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o600);
    header.set_mtime(1);
    header.set_uid(1000);
    header.set_gid(1000);
    builder.append_data(&mut header, "kit.toml", &b"x"[..]).unwrap();
    refused(archive(dir.path(), &builder.into_inner().unwrap()), "not as kits have their files");
    // A name of four gigabytes, which takes no room in the file, for a file that would be one of ours.
    let path = dir.path().join("named.tar");
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(4 << 30);
    header.set_cksum();
    fs::write(&path, header.as_bytes()).unwrap();
    let long = fs::File::options().append(true).open(&path).unwrap();
    long.set_len(512 + (4 << 30) + 1024).unwrap();
    refused(path, "there is no oci-layout in it");
    // No kit at all, and no archive at all.
    refused(archive(dir.path(), b"nothing"), "nothing of it was taken");
    fs::write(dir.path().join("x"), "no tar").unwrap();
    refused(dir.path().join("x"), "no tar file");
    refused(dir.path().to_path_buf(), "no regular file");
}

#[test]
fn a_pipe_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, rustix::fs::Mode::from_raw_mode(0o600), 0).unwrap();
    assert!(Archive::open(&pipe).unwrap_err().to_string().contains("no regular file"));
}

#[test]
fn a_blob_that_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut image = image("evil", &layer_of(&[("root", Kind::Directory)]));
    image.blobs.remove(0);
    let said = Archive::open(&archive_of(dir.path(), &[image])).unwrap_err().to_string();
    assert!(said.contains("there is no blobs/sha256/"), "{said}");
}
