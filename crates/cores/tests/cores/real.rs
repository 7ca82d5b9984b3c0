// SPDX-License-Identifier: Apache-2.0
//! A program that died, read back.

use cores::{BuildId, Bytes, Core, CoreError, Cut, Match, Packing, Room};
use proptest::prelude::{any, proptest};
use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A core of a `sleep` that got a signal; `None`, and a word about it, where the kernel does not put cores here. The
/// file has no name any more, so nothing of it stays.
fn dumped() -> Option<&'static Path> {
    static CORE: OnceLock<Option<(File, PathBuf)>> = OnceLock::new();
    let made = CORE.get_or_init(|| {
        let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
        if pattern.starts_with(['|', '/']) {
            let required = std::env::var_os("PURSER_REQUIRE_ALL").is_some_and(|all| all == "1");
            assert!(!required, "cannot run: cores go to {pattern}");
            println!("SKIP cores go to {pattern}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let script = "ulimit -c unlimited; exec sleep 100";
        let mut child =
            Command::new("sh").args(["-c", script]).arg0("sh").current_dir(dir.path()).spawn().unwrap();
        // In clock_nanosleep() it is the new program, and its libraries are there.
        let call = format!("/proc/{}/syscall", child.id());
        while !fs::read_to_string(&call).is_ok_and(|call| call.starts_with("230 ")) {
            assert_eq!(child.try_wait().unwrap(), None, "it has ended");
            std::thread::yield_now();
        }
        assert!(Command::new("kill").args(["-SEGV", &child.id().to_string()]).status().unwrap().success());
        child.wait().unwrap();
        let found = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        let core = File::open(found).unwrap();
        let path = format!("/proc/self/fd/{}", core.as_raw_fd()).into();
        Some((core, path))
    });
    made.as_ref().map(|(_, path)| path.as_path())
}

fn bytes(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

fn read(bytes: &[u8]) -> Result<Core, CoreError> {
    Core::read(&bytes.to_vec(), bytes.len() as u64)
}

fn on_host(path: &Path) -> std::io::Result<Option<File>> {
    File::open(path).map(Some)
}

#[test]
fn a_core_says_who_died() {
    let Some(path) = dumped() else { return };
    let file = File::open(path).unwrap();
    let core = Core::read(&file, file.metadata().unwrap().len()).unwrap();
    assert_eq!((core.name.as_str(), core.arguments.as_str(), core.signal), ("sleep", "sleep 100", 11));
    assert_eq!((core.threads, core.cut, core.fault), (1, None, None));
    assert!(core.pid > 1);
    let program = core.program().unwrap();
    assert_eq!(program.path, fs::canonicalize("/bin/sleep").unwrap());
    assert!(matches!(program.identity.build_id, Some(BuildId::Gnu(_))));
    let names: Vec<String> = core.objects.iter().map(|object| object.path.display().to_string()).collect();
    assert!(names.iter().any(|name| name.ends_with("/libc.so.6")), "{names:?}");
    assert!(names.iter().any(|name| name.contains("/ld-linux")), "{names:?}");
    let compared = cores::compare(&core, &mut on_host);
    assert!(compared.is_whole() && compared.same() == core.objects.len(), "{compared:?}");
}

#[test]
fn other_files_are_told_apart() {
    let Some(path) = dumped() else { return };
    let core = read(&bytes(path)).unwrap();
    let program = core.program.unwrap();
    let mut open = |path: &Path| match path.ends_with("sleep") {
        true => File::open("/bin/true").map(Some),
        false => Ok(None),
    };
    let compared = cores::compare(&core, &mut open);
    assert!(matches!(&compared.0[program], Match::Differs(other) if other.build_id.is_some()));
    assert!(!compared.may_have(program) && !compared.is_whole());
    assert!(compared.0.iter().enumerate().all(|(at, one)| at == program || *one == Match::Missing));
    let text = cores::compare(&core, &mut |_| File::open("/etc/passwd").map(Some));
    assert!(text.0.iter().all(|one| matches!(one, Match::Unreadable(_))));
}

#[test]
fn what_is_cut_off_says_what_it_can() {
    let Some(path) = dumped() else { return };
    let whole = bytes(path);
    let half = read(&whole[..whole.len() / 2]).unwrap();
    assert_eq!(half.cut, Some(Cut { has: whole.len() as u64 / 2, wants: whole.len() as u64 }));
    assert_eq!(half.name, "sleep");
    assert!(half.program().is_some_and(|program| program.path.ends_with("sleep")));
    // Nothing of the memory is there, so nothing can be compared.
    let notes = read(&whole[..8192]).unwrap();
    assert!(!notes.objects.is_empty());
    assert!(!cores::compare(&notes, &mut on_host).is_whole());
    assert!(matches!(read(&whole[..100]), Err(CoreError::Cut)));
    assert!(matches!(read(&whole[..3]), Err(CoreError::NotACore { .. })));
}

#[test]
fn other_files_and_machines() {
    let Some(path) = dumped() else { return };
    assert!(
        matches!(read(&bytes(Path::new("/bin/true"))), Err(CoreError::NotACore { what }) if what.contains("program"))
    );
    assert!(matches!(read(b"hello"), Err(CoreError::NotACore { .. })));
    let mut other = bytes(path);
    other[18] = 183;
    assert_eq!(cores::machine_name(read(&other).unwrap().machine), "aarch64");
    (other[5], other[16], other[17], other[18], other[19]) = (2, 0, 4, 0, 22);
    assert_eq!(
        read(&other).unwrap_err().to_string(),
        "is a core of a program for s390x; look at it on such a machine"
    );
}

#[test]
fn compressed_by_everybody() {
    let Some(path) = dumped() else { return };
    let whole = bytes(path);
    let ways = [("zstd", Packing::Zstd), ("lz4", Packing::Lz4), ("xz", Packing::Xz), ("gzip", Packing::Gzip)];
    for (program, packing) in ways {
        let mut packed = tempfile::tempfile().unwrap();
        let mut command = Command::new(program);
        command.arg("-c").stdin(File::open(path).unwrap()).stdout(packed.try_clone().unwrap());
        match command.stderr(Stdio::null()).status() {
            Err(_) if packing != Packing::Zstd => {
                let out = tempfile::tempfile().unwrap();
                let room = Room { file: &out, place: "here" };
                let error = cores::unpack(&packed, Some(packing), &room, &mut |_| {}).unwrap_err();
                assert!(error.to_string().contains(program), "{error}");
                continue;
            }
            Err(_) => {
                packed.rewind().unwrap();
                zstd_of(&whole, &packed);
            }
            Ok(status) => assert!(status.success(), "{program}"),
        }
        assert_eq!(cores::packing(&packed).unwrap(), Some(packing));
        let mut out = tempfile::tempfile().unwrap();
        let room = Room { file: &out, place: "here" };
        assert_eq!(cores::unpack(&packed, Some(packing), &room, &mut |_| {}).unwrap(), whole.len() as u64);
        let mut back = Vec::new();
        out.rewind().unwrap();
        out.read_to_end(&mut back).unwrap();
        assert!(back == whole, "{program}");
        let head = cores::head(&packed, packing, 100_000).unwrap();
        assert!(head == whole[..100_000], "{program}");
        assert!(read(&head).unwrap().program().is_some());
        // Cut in the middle, and damaged in the middle.
        let len = packed.metadata().unwrap().len();
        packed.set_len(len / 2).unwrap();
        let out = tempfile::tempfile().unwrap();
        let room = Room { file: &out, place: "here" };
        let cut = cores::unpack(&packed, Some(packing), &room, &mut |_| {});
        assert!(matches!(cut, Err(CoreError::Damaged { .. })), "{program}: {cut:?}");
    }
    assert_eq!(cores::packing(&File::open(path).unwrap()).unwrap(), None);
}

fn zstd_of(whole: &[u8], out: &File) {
    zstd::stream::copy_encode(whole, out, 1).unwrap();
}

#[test]
fn zeros_take_no_room() {
    let zeros = vec![0_u8; 8 << 20];
    let mut packed = tempfile::tempfile().unwrap();
    zstd_of(&zeros, &packed);
    packed.rewind().unwrap();
    let out = tempfile::tempfile().unwrap();
    let room = Room { file: &out, place: "here" };
    assert_eq!(cores::unpack(&packed, Some(Packing::Zstd), &room, &mut |_| {}).unwrap(), 8 << 20);
    assert_eq!(std::os::unix::fs::MetadataExt::blocks(&out.metadata().unwrap()), 0);
}

/// Bytes that count how many of them were read.
struct Counted<'a>(&'a [u8], Cell<u64>);

impl Bytes for Counted<'_> {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(at).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.1.set(self.1.get() + count as u64);
        Ok(count)
    }
}

/// A core, or an object, in which all of many segments are the same notes, one behind the other.
fn of_notes(segments: u16, kind: u16, owner: &[u8; 4], note: u32, notes: u32) -> Vec<u8> {
    let mut all = vec![0; 64 + 56 * usize::from(segments)];
    let start = all.len() as u64;
    for _ in 0..notes {
        for word in [4, 16, note] {
            all.extend(u32::to_le_bytes(word));
        }
        all.extend(owner);
        all.extend([b'x'; 16]);
    }
    all[..20].copy_from_slice(
        &[&b"\x7fELF\x02\x01"[..], &[0; 10], &kind.to_le_bytes(), &62_u16.to_le_bytes()].concat(),
    );
    all[32..40].copy_from_slice(&64_u64.to_le_bytes());
    all[54..58].copy_from_slice(&[56_u16.to_le_bytes(), segments.to_le_bytes()].concat());
    for at in (64..).step_by(56).take(segments.into()) {
        all[at..at + 4].copy_from_slice(&4_u32.to_le_bytes());
        all[at + 8..at + 16].copy_from_slice(&start.to_le_bytes());
        all[at + 32..at + 40].copy_from_slice(&(u64::from(notes) * 32).to_le_bytes());
    }
    all
}

#[test]
fn what_is_said_a_thousand_times_is_read_a_few_times() {
    // NT_FILE.
    let core = of_notes(5000, 4, b"CORE", 0x4649_4c45, 1000);
    let counted = Counted(&core, Cell::new(0));
    assert!(matches!(Core::read(&counted, core.len() as u64), Err(CoreError::Cut)));
    assert!(counted.1.get() < 2 * core.len() as u64, "{} bytes", counted.1.get());
    // No build-id, but many notes.
    let object = of_notes(5000, 3, b"none", 3, 1000);
    let counted = Counted(&object, Cell::new(0));
    assert!(cores::identify(&counted).unwrap().unwrap().build_id.is_none());
    assert!(counted.1.get() < 2 * object.len() as u64, "{} bytes", counted.1.get());
    let named = of_notes(3, 3, b"GNU\0", 3, 1);
    let found = cores::identify(&named).unwrap().unwrap();
    assert_eq!(found.build_id, Some(BuildId::Gnu(vec![b'x'; 16])));
}

proptest! {
    #[test]
    fn damage_never_panics(at in 0_usize..6000, byte in any::<u8>(), len in 0_usize..300_000) {
        if let Some(path) = dumped() {
            let mut bytes = bytes(path);
            bytes.truncate(len);
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            read(&bytes).map(drop).unwrap_or_default();
        }
    }
}
