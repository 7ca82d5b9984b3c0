// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask dist`: the one file users copy, with proof that it needs nothing beside it.
//!
//! The checks are made on what was built, not on how: no interpreter, no needed library, no part of
//! glibc that would load another one at run time, and a start in a root that holds nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::place;
use crate::process::{cargo, output, program, run};
use crate::setup::{self, Level};

const SIZE_LIMIT_BYTES: u64 = 16 * 1024 * 1024;
/// A file that can be loaded anywhere lists 34,000 places to adjust: 24 bytes each, or one bit.
const PACKED_RELOCATIONS: &str = "link-arg=-Wl,-z,pack-relative-relocs";
/// Lets the linker leave out the functions of C libraries that nobody calls.
const SECTIONS: &str = "-ffunction-sections -fdata-sections";
/// librdkafka is built for size as well: what it spends on a message is spent in zstd, which is not.
const SMALL: &str = "-Os -ffunction-sections -fdata-sections";
/// Where the libraries look that are built by their own `cc`: zstd and libbpf.
const OTHERS: &str = "CFLAGS_x86_64_unknown_linux_gnu";
const SHELLS: [(&str, &str); 3] = [("bash", "purser.bash"), ("zsh", "_purser"), ("fish", "purser.fish")];

/// Functions of glibc that load modules of the host, which has another glibc, and that nobody of ours replaces.
const FORBIDDEN: [&str; 11] = [
    "gethostbyaddr",
    "gethostbyname_r",
    "getservbyname",
    "getservbyport",
    "getpwnam",
    "getpwuid",
    "getgrnam_r",
    "getgrgid_r",
    "getgrouplist",
    "initgroups",
    "iconv_open",
];

/// Those that `crates/names` replaces. glibc's own are weak, or bring one of `BROUGHT_ALONG`.
const REPLACED: [&str; 10] = [
    "dladdr",
    "dlclose",
    "dlerror",
    "dlopen",
    "dlsym",
    "getaddrinfo",
    "gethostbyname",
    "getnameinfo",
    "getpwnam_r",
    "getpwuid_r",
];

/// What glibc's look-up of hosts and users consists of, and what loads modules for it.
const BROUGHT_ALONG: [&str; 2] = ["__nss_", "_nss_"];

pub(crate) fn main(args: &[String]) -> Result<ExitCode> {
    crate::options::Options::new(args).finish_empty()?;
    setup::prepare(Level::Build)?;
    println!("{}", make()?);
    Ok(ExitCode::SUCCESS)
}

/// Makes dist/ and says what is in it.
pub(crate) fn make() -> Result<String> {
    let whole = build()?;
    refuse_symbols(&whole)?;
    let dist = place::root().join("dist");
    fs::create_dir_all(&dist).context("create dist")?;
    let purser = dist.join("purser");
    run(program("strip", ["-o"]).arg(&purser).arg(&whole))?;
    refuse_libraries(&purser)?;
    let size = fs::metadata(&purser).context("read the size of dist/purser")?.len();
    if size > SIZE_LIMIT_BYTES {
        bail!("dist/purser has {size} bytes; the limit is {SIZE_LIMIT_BYTES}");
    }
    let version = start_alone(&purser)?;
    write_completions(&purser, &dist)?;
    Ok(format!("dist/purser  {}  {size} bytes, static, starts in an empty root", version.trim()))
}

/// Builds with the symbols still in, because one of the checks reads them.
fn build() -> Result<PathBuf> {
    eprintln!("dist: building for release, for size where speed does not matter: takes minutes");
    let mut cargo =
        cargo(["rustc", "--profile", "dist", "--locked", "--package", "purser", "--bin", "purser", "--"]);
    run(cargo.args(["-C", PACKED_RELOCATIONS]).env("CFLAGS", SMALL).env(OTHERS, SECTIONS))?;
    Ok(place::built("dist", "purser"))
}

fn refuse_symbols(file: &Path) -> Result<()> {
    let symbols = output(program("nm", [] as [&str; 0]).arg(file))?;
    if !symbols.contains(" main") {
        bail!("{} has no symbols to check", file.display());
    }
    if let Some(found) = foreign_lookup(&symbols) {
        bail!(
            "glibc's name service is linked in ({found}): on hosts with modules in nsswitch.conf the \
             program would abort; find who calls it, and whether `use names as _;` is still there"
        );
    }
    Ok(())
}

/// The first function of glibc's name service or loader in the output of `nm`, lines of `ADDRESS TYPE NAME`.
fn foreign_lookup(symbols: &str) -> Option<&str> {
    symbols.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().rev();
        let (name, kind) = (words.next()?, words.next()?);
        // Only what has an address is in the file.
        words.next()?;
        let forbidden = FORBIDDEN.contains(&name)
            || BROUGHT_ALONG.iter().any(|start| name.starts_with(start))
            || kind == "W" && REPLACED.contains(&name);
        forbidden.then_some(name)
    })
}

fn refuse_libraries(file: &Path) -> Result<()> {
    let headers = output(program("readelf", ["-lW"]).arg(file))?;
    let dynamic = output(program("readelf", ["-dW"]).arg(file))?;
    match linked_to(&headers, &dynamic) {
        None => Ok(()),
        Some(found) => bail!("{} is not static: {found}", file.display()),
    }
}

/// The line of `readelf` that shows a need for another file.
fn linked_to<'a>(headers: &'a str, dynamic: &'a str) -> Option<&'a str> {
    let interpreter = headers.lines().find(|line| line.contains("INTERP"));
    let library = dynamic.lines().find(|line| line.contains("(NEEDED)"));
    interpreter.or(library).map(str::trim)
}

/// Runs `purser --version` where there is no other file at all.
fn start_alone(purser: &Path) -> Result<String> {
    let root = place::scratch().join("empty-root");
    fs::create_dir_all(&root).context("create an empty root")?;
    fs::copy(purser, root.join("purser")).context("copy purser into the empty root")?;
    let version =
        output(program("chroot", [&root]).args(["/purser", "--version"])).context("start in an empty root");
    fs::remove_dir_all(&root).context("remove the empty root")?;
    let version = version?;
    if !version.starts_with("purser ") {
        bail!("`purser --version` says {version:?} in an empty root");
    }
    Ok(version)
}

fn write_completions(purser: &Path, dist: &Path) -> Result<()> {
    let completions = dist.join("completions");
    fs::create_dir_all(&completions).context("create dist/completions")?;
    for (shell, name) in SHELLS {
        let text = output(&mut program(purser, ["completions", shell]))?;
        fs::write(completions.join(name), text)
            .with_context(|| format!("write the completions of {shell}"))?;
    }
    let man = dist.join("man");
    fs::create_dir_all(&man).context("create dist/man")?;
    run(program(purser, ["man"]).arg(man))
}

#[cfg(test)]
mod tests {
    use super::{foreign_lookup, linked_to};

    #[test]
    fn tells_our_lookup_from_glibcs() {
        let ours = "0000000000001000 T main\n0000000000002000 T getaddrinfo\n0000000000003000 T dlopen\n\
                             w __nss_database_fork_subprocess\n                 U __nss_lookup\n                 w getpwuid_r\n";
        assert_eq!(foreign_lookup(ours), None);
        for (line, name) in [
            ("0000000000005000 T getservbyname", "getservbyname"),
            ("0000000000005000 W getpwuid_r", "getpwuid_r"),
            ("0000000000005000 W dlopen", "dlopen"),
            ("0000000000005000 t _nss_files_gethostbyname4_r", "_nss_files_gethostbyname4_r"),
            ("0000000000005000 T __nss_database_get", "__nss_database_get"),
        ] {
            assert_eq!(foreign_lookup(&format!("{ours}{line}\n")), Some(name));
        }
    }

    #[test]
    fn sees_an_interpreter_and_a_library() {
        let interpreter = "  INTERP         0x0002e0 0x00000000000002e0";
        let library = " 0x0000000000000001 (NEEDED)  Shared library: [libc.so.6]";
        assert_eq!(linked_to("  LOAD 0x0\n", "There is no dynamic section"), None);
        assert_eq!(linked_to(interpreter, ""), Some(interpreter.trim()));
        assert_eq!(linked_to("", library), Some(library.trim()));
    }
}
