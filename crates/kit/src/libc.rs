// SPDX-License-Identifier: Apache-2.0
//! Fixed paths in a kit's C library and loader, so that neither opens files of the root they are used in.
//!
//! A text takes the place of one of its length or longer. None of the new paths exists but `.nssw`, which a session
//! provides: what stands there says which databases of users and hosts are read. Whatever a container's
//! `/etc/nsswitch.conf` names is not loaded into our programs, and what its `/etc/ld.so.preload` names neither.

use crate::elf::Fault;

/// In the loader. All must be there, or it is none that is understood.
const LOADER: [(&str, &str); 2] =
    [("/etc/ld.so.cache", "/dev/.purser/.no"), ("/etc/ld.so.preload", "/dev/.purser/.none")];

/// In the C library: must be there.
const LIBRARY: [(&str, &str); 2] =
    [("/etc/nsswitch.conf", "/dev/.purser/.nssw"), ("/usr/lib/locale", "/dev/.purser/.l")];

/// In the C library: must go if it is there.
const LIBRARY_OLD: [(&str, &str); 3] = [
    ("/usr/lib/locale/locale-archive", "/dev/.purser/.la"),
    ("/var/run/nscd/socket", "/dev/.purser/.socket"),
    ("/etc/suid-debug", "/dev/.purser/.s"),
];

/// What compilers make of a text that is copied to the stack: its first 16 bytes as a constant.
const CONSTANTS: [(&[u8; 16], &[u8; 16]); 1] = [(b"/var/run/nscd/so", b"/dev/.purser/.so")];

/// The loader's own directories on x86_64. Compilers know how long each is and where it begins, so others must be as
/// long. Two of them are too short for a path of ours: they become the root directory itself, whatever name is put
/// behind the NUL, and that cannot be read as a library.
const DIRECTORIES: &[u8; 66] = b"/lib/x86_64-linux-gnu/\0/usr/lib/x86_64-linux-gnu/\0/lib/\0/usr/lib/\0";
const NOWHERE: &[u8; 66] =
    b"/dev/.purser//////////\0/dev/.purser//////////////\0/\0\0\0\0\0/\0\0\0\0\0\0\0\0\0";

/// Makes a loader that reads no settings and knows no directories.
pub(crate) fn patch_loader(bytes: &mut [u8]) -> Result<(), Fault> {
    for (from, to) in LOADER {
        if replace_text(bytes, from, to) == 0 {
            return Err("this loader is not known: it does not have the paths that must go");
        }
    }
    if replace(bytes, DIRECTORIES, NOWHERE) == 0 {
        return Err("this loader is not known: its directories are others");
    }
    Ok(())
}

/// Whether musl's loader is this library itself, and looks for no file of that name (`load_library` in its
/// `dynlink.c`).
pub(crate) fn is_of_musl(library: &str) -> bool {
    let known = ["c.", "pthread.", "rt.", "m.", "dl.", "util.", "xnet."];
    library.strip_prefix("lib").is_some_and(|name| known.iter().any(|known| name.starts_with(known)))
}

/// Makes a loader of musl, which is its C library too, that asks no daemon of the root. Where it looks for libraries
/// stands in a file beside it.
pub(crate) fn patch_musl(bytes: &mut [u8]) {
    replace_text(bytes, "/var/run/nscd/socket", "/dev/.purser/.socket");
}

/// Makes a C library that reads no settings of the root but those for names of hosts and users.
pub(crate) fn patch_library(bytes: &mut [u8], gconv: &str) -> Result<(), Fault> {
    for (from, to) in LIBRARY {
        if replace_text(bytes, from, to) == 0 {
            return Err("this C library is not known: it does not have the paths that must go");
        }
    }
    for (from, to) in LIBRARY_OLD {
        replace_text(bytes, from, to);
    }
    for (from, to) in CONSTANTS {
        replace(bytes, from, to);
    }
    let modules = "/usr/lib/x86_64-linux-gnu/gconv";
    // Modules that convert between character sets are code.
    let ours = if gconv.len() <= modules.len() { gconv } else { "/dev/.purser/.none" };
    replace_text(bytes, "/usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache", "/dev/.purser/.none");
    replace_text(bytes, modules, ours);
    Ok(())
}

/// Puts `to` and NULs in every place of `from` that begins and ends like a text of C. How many there were.
pub(crate) fn replace_text(bytes: &mut [u8], from: &str, to: &str) -> usize {
    let padded = |text: &str| {
        let mut padded = text.as_bytes().to_vec();
        padded.resize(from.len() + 1, 0);
        padded
    };
    let (from, to) = (padded(from), padded(to));
    let places = places(bytes, &from);
    let whole =
        |at: &usize| at.checked_sub(1).and_then(|before| bytes.get(before)).is_none_or(|byte| *byte == 0);
    let places: Vec<usize> = places.into_iter().filter(whole).collect();
    put(bytes, &places, &to);
    places.len()
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) -> usize {
    let places = places(bytes, from);
    put(bytes, &places, to);
    places.len()
}

fn put(bytes: &mut [u8], places: &[usize], to: &[u8]) {
    for at in places {
        if let Some(place) = bytes.get_mut(*at..*at + to.len()) {
            place.copy_from_slice(to);
        }
    }
}

fn places(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    memchr::memmem::find_iter(bytes, wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::{patch_library, patch_loader, replace_text};

    #[test]
    fn texts_are_replaced_whole() {
        let mut bytes = *b"\0~/.bashrc\0x~/.bashrc\0~/.bashrcx\0";
        assert_eq!(replace_text(&mut bytes, "~/.bashrc", ""), 1);
        assert_eq!(&bytes, b"\0\0\0\0\0\0\0\0\0\0\0x~/.bashrc\0~/.bashrcx\0");
    }

    #[test]
    fn this_hosts_own_loader_and_library() {
        for place in ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu"] {
            let Ok(mut loader) = std::fs::read(format!("{place}/ld-linux-x86-64.so.2")) else { continue };
            patch_loader(&mut loader).unwrap();
            let mut library = std::fs::read(format!("{place}/libc.so.6")).unwrap();
            patch_library(&mut library, "/dev/.purser/x/gconv").unwrap();
            for gone in
                [&b"/etc/ld.so.preload\0"[..], b"/usr/lib/x86_64-linux-gnu/\0", b"/etc/nsswitch.conf\0"]
            {
                assert!(memchr::memmem::find(&loader, gone).is_none());
                assert!(memchr::memmem::find(&library, gone).is_none());
            }
            // Done once, there is nothing left to be known by.
            assert!(patch_loader(&mut loader).is_err());
        }
    }

    #[test]
    fn others_are_refused() {
        assert!(patch_loader(&mut [0; 64]).is_err());
        assert!(patch_library(&mut [0; 64], "x").is_err());
    }
}
