// SPDX-License-Identifier: Apache-2.0
//! What a core says: who died, of what, and of which objects the program consisted.

use crate::CoreError;
use crate::auxv::Auxv;
use crate::elf::{Bytes, Class, ET_CORE, EXECUTABLE, Header, NoHeader, PT_LOAD, PT_NOTE, Segment, up_to};
use crate::elf::{array, machine_name, word};
use crate::files::{self, Mapping};
use crate::identity::{self, Identity};
use crate::notes::{self, Note};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The most segments of a core that are looked at: a process has no more mappings than a host lets it have, which is
/// a million where that limit was raised.
const SEGMENTS_LIMIT: u64 = 1 << 20;
/// The most runs of notes that are read; real cores have one.
const NOTES_LIMIT: usize = 4;
/// The most objects of a program; the most that real ones have is some hundreds.
const OBJECTS_LIMIT: usize = 1 << 14;
/// The longest list of mapped files: the kernel has a limit of 4 MiB, which can be raised to 16.
const FILES_LIMIT: u32 = 16 << 20;
/// The longest list of what the kernel told the program, and what is read of a process's description.
const AUXV_LIMIT: u32 = 64 << 10;
const DESCRIPTION_LEN: usize = 136;
/// The longest name a program is started by.
const NAME_LIMIT: usize = 4096;

const NT_PRSTATUS: u32 = 1;
const NT_PRPSINFO: u32 = 3;
const NT_AUXV: u32 = 6;
const NT_FILE: u32 = 0x4649_4c45;
const NT_SIGINFO: u32 = 0x5349_4749;

/// A program that died, or was copied while it lived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Core {
    /// The kind of processor, as ELF numbers it.
    pub machine: u16,
    /// Its number, in its own pid namespace.
    pub pid: i32,
    /// What ended it; 0 for a copy of a live one.
    pub signal: i32,
    /// Where it touched what it must not, for the signals that have such a place.
    pub fault: Option<u64>,
    /// How many threads it had.
    pub threads: usize,
    /// The name of its first thread, at most 15 bytes.
    pub name: String,
    /// Its arguments, as far as the kernel keeps them: at most 79 bytes.
    pub arguments: String,
    /// What it was started by: a path, perhaps a link or a relative one.
    pub started_as: Option<PathBuf>,
    /// The files it consisted of, in the order of their names' first places in memory.
    pub objects: Vec<Object>,
    /// Which of them is the program.
    pub program: Option<usize>,
    /// What is missing at the end, if anything is.
    pub cut: Option<Cut>,
}

/// A program or library that was mapped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// As the program's own root has it.
    pub path: PathBuf,
    /// What tells it from other builds, as far as the core has that.
    pub identity: Identity,
    /// Whether the file had been removed or replaced when the core was written.
    pub deleted: bool,
}

/// A core that is shorter than it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The bytes there are.
    pub has: u64,
    /// The bytes there should be.
    pub wants: u64,
}

impl Core {
    /// Reads what a core of `len` bytes says. Of one that is cut off, or is only a beginning, what is there.
    ///
    /// # Errors
    /// When it is no core, or of another kind of machine than can be read, or the kernel says so.
    pub fn read(bytes: &dyn Bytes, len: u64) -> Result<Core, CoreError> {
        let header = header(bytes)?;
        let (mut loads, mut notes, mut wants) = (Vec::new(), Vec::new(), 0_u64);
        let are_all_there = header.segments(bytes, SEGMENTS_LIMIT, |segment| {
            wants = wants.max(segment.offset.saturating_add(segment.file_len));
            match segment.kind {
                PT_LOAD => loads.push(Load::of(&segment)),
                PT_NOTE => notes.push(segment),
                _ => {}
            }
        })?;
        loads.sort_unstable_by_key(|load| load.address);
        let mut told = Told { class: header.class, ..Told::default() };
        for segment in notes.iter().take(NOTES_LIMIT) {
            notes::each(bytes, (segment.offset, segment.file_len, segment.align), |note| {
                told.take(bytes, note).map(|()| true)
            })?;
        }
        if told.core.threads == 0 && told.core.name.is_empty() {
            return Err(CoreError::Cut);
        }
        let mut core = Core { machine: header.machine, ..told.core };
        let memory = Memory { bytes, loads: &loads, base: 0 };
        let auxv = told.auxv.unwrap_or_default();
        core.started_as = started_as(&memory, auxv.name)?;
        core.objects(&memory, &told.mappings.unwrap_or_default(), auxv.entry)?;
        core.cut = (!are_all_there || wants > len).then_some(Cut { has: len, wants: wants.max(len) });
        Ok(core)
    }

    /// The program's file.
    pub fn program(&self) -> Option<&Object> {
        self.objects.get(self.program?)
    }

    fn objects(&mut self, memory: &Memory<'_>, all: &[Mapping], entry: Option<u64>) -> io::Result<()> {
        let mut by_path: HashMap<&PathBuf, usize> = HashMap::new();
        let mut groups: Vec<Group<'_>> = Vec::new();
        for mapping in all {
            let place = *by_path.entry(&mapping.path).or_insert(groups.len());
            if place == groups.len() {
                groups.push(Group { mapping, beginning: None, is_code: false, has_entry: false });
            }
            let Some(group) = groups.get_mut(place) else { continue };
            if mapping.offset == 0 && group.beginning.is_none() {
                group.beginning = Some(mapping.start);
            }
            group.is_code |= memory.load(mapping.start).is_some_and(|load| load.is_code);
            group.has_entry |= entry.is_some_and(|entry| mapping.start <= entry && entry < mapping.end);
        }
        for group in groups {
            let Some(object) = group.object(memory)? else { continue };
            if self.objects.len() == OBJECTS_LIMIT {
                break;
            }
            if group.has_entry {
                self.program = Some(self.objects.len());
            }
            self.objects.push(object);
        }
        Ok(())
    }
}

/// All mappings of one file.
struct Group<'a> {
    mapping: &'a Mapping,
    /// Where its first byte is.
    beginning: Option<u64>,
    is_code: bool,
    has_entry: bool,
}

impl Group<'_> {
    /// The object that the file is, unless it is none: data is mapped, too.
    fn object(&self, memory: &Memory<'_>) -> io::Result<Option<Object>> {
        let (path, deleted) = (self.mapping.path.clone(), self.mapping.deleted);
        let at = self.beginning.map(|base| Memory { base, ..*memory });
        let is_elf = at.as_ref().map_or(Ok(None), |at| identity::is_elf(at))?;
        if let (Some(at), Some(true)) = (&at, is_elf) {
            let identity = identity::of_mapped(at)?.unwrap_or_default();
            return Ok(Some(Object { path, identity, deleted }));
        }
        // Where the beginning was not dumped, code tells that it is one.
        let is_one = self.is_code && is_elf.is_none();
        Ok(is_one.then(|| Object { path, identity: Identity::default(), deleted }))
    }
}

fn header(bytes: &dyn Bytes) -> Result<Header, CoreError> {
    let (header, kind) = match Header::read(bytes)? {
        Ok(header) => (Some(header.clone()), header.kind),
        Err(NoHeader::OtherOrder { kind, machine }) if kind == ET_CORE => {
            return Err(CoreError::OtherMachine { machine: machine_name(machine) });
        }
        Err(NoHeader::OtherOrder { kind, .. }) => (None, kind),
        Err(NoHeader::NotElf) => {
            return Err(CoreError::NotACore { what: "it does not begin like an ELF file" });
        }
    };
    match (header, kind) {
        (Some(header), ET_CORE) => Ok(header),
        (_, 1) => Err(CoreError::NotACore { what: "it is an object file" }),
        (_, 2 | 3) => Err(CoreError::NotACore { what: "it is a program or library" }),
        _ => Err(CoreError::NotACore { what: "its kind is unknown" }),
    }
}

/// What is said in notes. Of those that a kernel writes once, the first counts, and no other is read.
#[derive(Default)]
struct Told {
    class: Class,
    core: Core,
    auxv: Option<Auxv>,
    mappings: Option<Vec<Mapping>>,
}

impl Told {
    fn take(&mut self, bytes: &dyn Bytes, note: &Note) -> io::Result<()> {
        if note.owner != b"CORE" {
            return Ok(());
        }
        let is_wide = self.class == Class::Wide;
        let short = |content: &[u8], at| array(content, at).map(i16::from_le_bytes).map(i32::from);
        let number = |content: &[u8], at| array(content, at).map(i32::from_le_bytes);
        match note.kind {
            // The thread that died comes first.
            NT_PRSTATUS => {
                self.core.threads += 1;
                if self.core.threads == 1 {
                    let content = note.start(bytes, 64)?;
                    self.core.signal = short(&content, 12).unwrap_or_default();
                    let pid = number(&content, if is_wide { 32 } else { 24 }).unwrap_or_default();
                    self.core.pid = if self.core.pid == 0 { pid } else { self.core.pid };
                }
            }
            NT_PRPSINFO => {
                let content = note.start(bytes, DESCRIPTION_LEN)?;
                let (pid, name) = if is_wide { (24, 40) } else { (12, 28) };
                self.core.pid = number(&content, pid).filter(|pid| *pid > 0).unwrap_or(self.core.pid);
                self.core.name = text(content.get(name..name + 16));
                self.core.arguments = text(content.get(name + 16..name + 96)).trim_end().to_owned();
            }
            NT_SIGINFO if self.core.fault.is_none() => {
                let content = note.start(bytes, 24)?;
                // The signals of a wrong access: SIGILL, SIGBUS, SIGFPE and SIGSEGV, unless somebody has sent them.
                let is_fault = word(&content, 0).is_some_and(|signal| matches!(signal, 4 | 7 | 8 | 11));
                // The three numbers may stand in another order, but only on MIPS.
                let was_sent = number(&content, 8).is_none_or(|code| code <= 0);
                let at = if is_wide { 16 } else { 12 };
                self.core.fault = self.class.address(&content, at).filter(|_| is_fault && !was_sent);
            }
            NT_AUXV if self.auxv.is_none() => {
                let content = note.content(bytes, AUXV_LIMIT)?.unwrap_or_default();
                self.auxv = Some(Auxv::parse(self.class, &content));
            }
            NT_FILE if self.mappings.is_none() => {
                let content = note.content(bytes, FILES_LIMIT)?.unwrap_or_default();
                self.mappings = Some(files::parse(self.class, &content));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Up to the first zero.
fn text(bytes: Option<&[u8]>) -> String {
    let bytes = bytes.unwrap_or_default();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

fn started_as(memory: &Memory<'_>, at: Option<u64>) -> io::Result<Option<PathBuf>> {
    let Some(at) = at else { return Ok(None) };
    let bytes = up_to(memory, at, NAME_LIMIT)?;
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok((!name.is_empty()).then(|| PathBuf::from(OsString::from_vec(name.to_vec()))))
}

/// A range of memory, and where it is in the core.
#[derive(Clone, Copy, Debug)]
struct Load {
    address: u64,
    memory_len: u64,
    offset: u64,
    /// How much of it was dumped.
    len: u64,
    is_code: bool,
}

impl Load {
    fn of(segment: &Segment) -> Load {
        Load {
            address: segment.address,
            memory_len: segment.memory_len,
            offset: segment.offset,
            len: segment.file_len.min(segment.memory_len),
            is_code: segment.flags & EXECUTABLE != 0,
        }
    }
}

/// The program's memory, from an address on, as far as the core has it.
#[derive(Clone, Copy)]
struct Memory<'a> {
    bytes: &'a dyn Bytes,
    loads: &'a [Load],
    base: u64,
}

impl Memory<'_> {
    fn load(&self, address: u64) -> Option<&Load> {
        let after = self.loads.partition_point(|load| load.address <= address);
        let load = self.loads.get(after.checked_sub(1)?)?;
        (address - load.address < load.memory_len).then_some(load)
    }
}

impl Bytes for Memory<'_> {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let Some(address) = self.base.checked_add(at) else { return Ok(0) };
        let Some(load) = self.load(address) else { return Ok(0) };
        let within = address - load.address;
        let len = load.len.saturating_sub(within).min(into.len() as u64);
        let (Some(place), Ok(len)) = (load.offset.checked_add(within), usize::try_from(len)) else {
            return Ok(0);
        };
        into.get_mut(..len).map_or(Ok(0), |into| self.bytes.read_at(place, into))
    }
}
