// SPDX-License-Identifier: Apache-2.0
//! JSON lines in a file that is rotated by size and age. Lines are on the disk before the cursor
//! moves, and what was written beyond the cursor when the agent died is cut off before the same
//! events are written again: each line stands in the files once.

use crate::batch::Batch;
use crate::cursor::Place;
use crate::sink::{SendError, Sent, Sink, Step};
use crate::stdout::lines;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Where and how to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSettings {
    /// The file; older ones are called `PATH.1`, `PATH.2` and so on.
    pub path: PathBuf,
    /// Bytes above which a new file is begun.
    pub rotate_bytes: Option<u64>,
    /// Time between the first event of a file and the first of the next.
    pub rotate_after: Option<Duration>,
    /// Older files that are kept.
    pub keep: u32,
}

/// The sink.
#[derive(Debug)]
pub(crate) struct FileSink {
    settings: FileSettings,
    open: Option<OpenFile>,
    lines: Vec<u8>,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    device: u64,
    inode: u64,
    /// Bytes that are on the disk and count.
    len: u64,
    /// Time of the first event in it, ns since 1970.
    begun_ns: Option<u64>,
    /// Something may stand beyond `len`.
    torn: bool,
}

impl FileSink {
    pub(crate) fn new(settings: FileSettings) -> FileSink {
        FileSink { settings, open: None, lines: Vec::new() }
    }

    fn told(&self, error: &io::Error) -> SendError {
        let path = self.settings.path.display();
        let text = format!("writing {path}: {error}");
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound | io::ErrorKind::IsADirectory => {
                SendError::Refused(text)
            }
            _ => SendError::Transient(text),
        }
    }

    fn write(&mut self, batch: &Batch) -> io::Result<Sent> {
        lines(batch, &mut self.lines);
        let first_ns = batch.document(0).map_or(0, |document| document.time_ns);
        if self.is_due(first_ns)? {
            self.rotate()?;
        }
        let open = Self::opened(&mut self.open, &self.settings.path)?;
        if open.torn {
            open.file.set_len(open.len)?;
        }
        open.torn = true;
        open.file.seek(SeekFrom::Start(open.len))?;
        open.file.write_all(&self.lines)?;
        open.file.sync_data()?;
        open.torn = false;
        open.len += self.lines.len() as u64;
        open.begun_ns.get_or_insert(first_ns);
        Ok(Sent { mark: mark(open.inode, open.len), ..Sent::default() })
    }

    fn opened<'a>(open: &'a mut Option<OpenFile>, path: &Path) -> io::Result<&'a mut OpenFile> {
        if open.is_none() {
            *open = Some(OpenFile::open(path)?);
        }
        open.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Whether the next line belongs into a new file.
    fn is_due(&mut self, first_ns: u64) -> io::Result<bool> {
        let added = self.lines.len() as u64;
        let settings = &self.settings;
        let open = Self::opened(&mut self.open, &settings.path)?;
        match fs::metadata(&settings.path) {
            Ok(known) if (known.dev(), known.ino()) == (open.device, open.inode) => {
                // Somebody emptied it: the next line goes where it ends now.
                open.len = open.len.min(known.len());
            }
            // Somebody took the file away: a new one is begun under its name.
            _ => {
                self.open = None;
                return Ok(false);
            }
        }
        let too_long = settings.rotate_bytes.is_some_and(|limit| open.len > 0 && open.len + added > limit);
        let too_old = settings
            .rotate_after
            .zip(open.begun_ns)
            .is_some_and(|(age, begun)| u128::from(first_ns.saturating_sub(begun)) >= age.as_nanos());
        Ok(too_long || too_old)
    }

    fn rotate(&mut self) -> io::Result<()> {
        let older = |number: u32| numbered(&self.settings.path, number);
        if self.settings.keep == 0 {
            fs::remove_file(&self.settings.path)?;
        }
        for number in (1..self.settings.keep).rev() {
            rename_if_there(&older(number), &older(number + 1))?;
        }
        if self.settings.keep > 0 {
            fs::rename(&self.settings.path, older(1))?;
        }
        self.open = None;
        sync_directory(&self.settings.path)
    }

    /// Cuts off what was written and never counted.
    fn cut_tail(&mut self, place: &Place) -> io::Result<()> {
        let Some((inode, len)) = read_mark(&place.mark) else { return Ok(()) };
        let counted = match fs::metadata(&self.settings.path) {
            Ok(now) if now.ino() == inode => len,
            // The file was begun after the last line that counts, which is in the one before.
            Ok(_) if fs::metadata(numbered(&self.settings.path, 1)).is_ok_and(|old| old.ino() == inode) => 0,
            _ => return Ok(()),
        };
        let open = Self::opened(&mut self.open, &self.settings.path)?;
        if open.len > counted {
            open.file.set_len(counted)?;
            open.file.sync_data()?;
            open.len = counted;
        }
        Ok(())
    }
}

impl OpenFile {
    fn open(path: &Path) -> io::Result<OpenFile> {
        let file = open_regular(path)?;
        // Two that write to one file would write over each other's lines. Who ends, ends within a second.
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            Errno::WOULDBLOCK => io::Error::new(io::ErrorKind::WouldBlock, "another sink writes to it"),
            errno => errno.into(),
        })?;
        let known = file.metadata()?;
        if known.len() == 0 {
            sync_directory(path)?;
        }
        // The age of a file found at start is that of its last line, which is young enough.
        let modified = known.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let begun = modified.and_then(|since| u64::try_from(since.as_nanos()).ok());
        Ok(OpenFile {
            device: known.dev(),
            inode: known.ino(),
            len: known.len(),
            begun_ns: begun.filter(|_| known.len() > 0),
            torn: false,
            file,
        })
    }
}

impl Sink for FileSink {
    fn resume(&mut self, place: &Place) -> Result<Place, SendError> {
        self.open = None;
        self.cut_tail(place).map_err(|error| self.told(&error))?;
        // The first lines need a place to be cut back to as well: it is kept before they are written.
        let mark = Self::opened(&mut self.open, &self.settings.path).map(|open| mark(open.inode, open.len));
        Ok(Place { mark: mark.map_err(|error| self.told(&error))?, ..place.clone() })
    }

    fn send(&mut self, batch: &Batch) -> Result<Sent, SendError> {
        self.write(batch).map_err(|error| self.told(&error))
    }

    fn probe(&mut self, canary: &Batch, tell: &mut dyn FnMut(Step)) {
        let path = self.settings.path.clone();
        let name = format!("open {}", path.display());
        match open_regular(&path) {
            Err(error) => return tell(Step::failed(name, error.to_string())),
            Ok(_) => tell(Step::done(name, "may be written")),
        }
        // A line in the file itself would be cut off by an agent that is at work on it.
        let beside = path.with_added_extension("canary");
        let name = format!("write and sync {}", beside.display());
        let mut text = Vec::new();
        lines(canary, &mut text);
        let written = File::create(&beside).and_then(|mut file| file.write_all(&text).and(file.sync_all()));
        let removed = fs::remove_file(&beside);
        match written.and(removed) {
            Ok(()) => tell(Step::done(name, "written and removed again")),
            Err(error) => tell(Step::failed(name, error.to_string())),
        }
    }
}

/// Opens the file, or makes it. A named pipe without a reader is refused at once, and not waited for.
fn open_regular(path: &Path) -> io::Result<File> {
    let not_a_file = || io::Error::new(io::ErrorKind::IsADirectory, "it is not a regular file");
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600).custom_flags(flags);
    let file =
        options.open(path).map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NXIO) => not_a_file(),
            _ => error,
        })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_a_file()) }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    path.with_added_extension(number.to_string())
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn mark(inode: u64, len: u64) -> Vec<u8> {
    [inode.to_le_bytes(), len.to_le_bytes()].concat()
}

fn read_mark(mark: &[u8]) -> Option<(u64, u64)> {
    let (inode, rest) = mark.split_first_chunk::<8>()?;
    let (len, []) = rest.split_first_chunk::<8>()? else { return None };
    Some((u64::from_le_bytes(*inode), u64::from_le_bytes(*len)))
}

#[cfg(test)]
mod tests {
    use super::{FileSettings, FileSink, numbered};
    use crate::batch::sample;
    use crate::cursor::Place;
    use crate::sink::{SendError, Sink};
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    fn settings(dir: &Path) -> FileSettings {
        FileSettings { path: dir.join("out.jsonl"), rotate_bytes: None, rotate_after: None, keep: 2 }
    }

    fn count(path: &Path) -> usize {
        fs::read_to_string(path).map_or(0, |text| text.lines().count())
    }

    #[test]
    fn a_tail_that_never_counted_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let mut sink = FileSink::new(settings.clone());
        let mark = sink.send(&sample::batch(3)).unwrap().mark;
        // Written, and then the agent died before its cursor moved.
        sink.send(&sample::batch(2)).unwrap();
        assert_eq!(count(&settings.path), 5);
        drop(sink);
        let mut sink = FileSink::new(settings.clone());
        let place = Place { next: 4, rewinds: 0, mark };
        assert_eq!(sink.resume(&place).unwrap(), place);
        assert_eq!(count(&settings.path), 3);
        sink.send(&sample::batch(2)).unwrap();
        assert_eq!(count(&settings.path), 5);
        // After a rewind nothing is cut.
        sink.resume(&Place { next: 1, ..Place::default() }).unwrap();
        assert_eq!(count(&settings.path), 5);
    }

    #[test]
    fn a_named_pipe_without_a_reader_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &settings.path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let mut sink = FileSink::new(settings);
        let error = sink.send(&sample::batch(1)).unwrap_err();
        assert!(error.to_string().contains("it is not a regular file"), "{error}");
        let mut told = Vec::new();
        sink.probe(&sample::batch(1), &mut |step| told.push(step));
        assert_eq!(told.last().unwrap().outcome, Err("it is not a regular file".to_string()));
    }

    #[test]
    fn the_first_lines_are_cut_off_too_when_they_never_counted() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        fs::write(&settings.path, "of somebody else\n").unwrap();
        let mut sink = FileSink::new(settings.clone());
        let place = sink.resume(&Place::default()).unwrap();
        sink.send(&sample::batch(2)).unwrap();
        drop(sink);
        let mut sink = FileSink::new(settings.clone());
        assert_eq!(sink.resume(&place).unwrap(), place);
        sink.send(&sample::batch(2)).unwrap();
        assert_eq!(count(&settings.path), 3);
    }

    #[test]
    fn a_file_begun_for_what_never_counted_is_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let settings = FileSettings { rotate_bytes: Some(1), ..settings(dir.path()) };
        let mut sink = FileSink::new(settings.clone());
        let mark = sink.send(&sample::batch(1)).unwrap().mark;
        sink.send(&sample::batch(2)).unwrap();
        assert_eq!((count(&settings.path), count(&numbered(&settings.path, 1))), (2, 1));
        drop(sink);
        let mut sink = FileSink::new(settings.clone());
        sink.resume(&Place { next: 2, rewinds: 0, mark }).unwrap();
        assert_eq!((count(&settings.path), count(&numbered(&settings.path, 1))), (0, 1));
    }

    #[test]
    fn rotates_by_size_and_keeps_as_many_as_told() {
        let dir = tempfile::tempdir().unwrap();
        let settings = FileSettings { rotate_bytes: Some(1), ..settings(dir.path()) };
        let mut sink = FileSink::new(settings.clone());
        for events in 1..6 {
            sink.send(&sample::batch(events)).unwrap();
        }
        let counts = [0, 1, 2].map(|number| match number {
            0 => count(&settings.path),
            number => count(&numbered(&settings.path, number)),
        });
        assert_eq!(counts, [5, 4, 3]);
        assert!(!numbered(&settings.path, 3).exists());
    }

    #[test]
    fn rotates_by_the_age_of_events() {
        let dir = tempfile::tempdir().unwrap();
        let settings = FileSettings { rotate_after: Some(Duration::from_nanos(1)), ..settings(dir.path()) };
        let mut sink = FileSink::new(settings.clone());
        sink.send(&sample::batch(1)).unwrap();
        // The sample begins at the same moment each time: not older yet.
        sink.send(&sample::batch(1)).unwrap();
        assert_eq!(count(&settings.path), 2);
        let mut later = crate::batch::Batch::new(&sample::renderer());
        later.restart(Place { next: 2, ..Place::default() });
        later.push(&mut sample::renderer(), sample::entry(2));
        sink.send(&later).unwrap();
        assert_eq!((count(&settings.path), count(&numbered(&settings.path, 1))), (1, 2));
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let mut sink = FileSink::new(settings.clone());
        sink.send(&sample::batch(2)).unwrap();
        fs::rename(&settings.path, dir.path().join("away")).unwrap();
        sink.send(&sample::batch(1)).unwrap();
        assert_eq!((count(&settings.path), count(&dir.path().join("away"))), (1, 2));
    }

    #[test]
    fn a_file_that_was_emptied_goes_on_at_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let mut sink = FileSink::new(settings.clone());
        sink.send(&sample::batch(3)).unwrap();
        fs::write(&settings.path, "").unwrap();
        sink.send(&sample::batch(1)).unwrap();
        assert_eq!(fs::read(&settings.path).unwrap().first(), Some(&b'{'));
        assert_eq!(count(&settings.path), 1);
    }

    #[test]
    fn two_sinks_do_not_write_to_one_file_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let (mut one, mut other) = (FileSink::new(settings.clone()), FileSink::new(settings.clone()));
        one.send(&sample::batch(1)).unwrap();
        let error = other.send(&sample::batch(1)).unwrap_err();
        assert!(matches!(&error, SendError::Transient(why) if why.contains("another sink")), "{error}");
        drop(one);
        other.send(&sample::batch(1)).unwrap();
        assert_eq!(count(&settings.path), 2);
    }

    #[test]
    fn a_missing_directory_is_a_refusal_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink =
            FileSink::new(FileSettings { path: dir.path().join("no/out"), ..settings(dir.path()) });
        let Err(SendError::Refused(error)) = sink.send(&sample::batch(1)) else { panic!("it is refused") };
        assert!(error.contains("no/out: No such file"), "{error}");
    }
}
