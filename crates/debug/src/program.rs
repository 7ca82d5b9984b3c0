// SPDX-License-Identifier: Apache-2.0
//! The last steps of the process that becomes the session's program: whose it is, what it may, what it sees
//! in its environment, and which file it is.

use crate::rights;
use crate::root::HOME;
use crate::spec::{Failure, Kit, Spec};
use crate::users::Identity;
use rustix::fs::{Access, access};
use rustix::process::{Gid, Pid, Resource, Rlimit, Uid, getrlimit, setrlimit};
use rustix::process::{Signal, chdir, getppid, ioctl_tiocsctty, set_parent_process_death_signal, setsid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::collections::BTreeMap;
use std::ffi::{CString, NulError, OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where programs are when the target's process has no PATH.
pub(crate) const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Shells, the best first.
const SHELLS: [&str; 3] = ["bash", "ash", "sh"];

/// What the program is connected to.
#[derive(Debug)]
pub(crate) enum Streams {
    /// Input, output, errors.
    Own([OwnedFd; 3]),
    /// All three, and its controlling terminal.
    Terminal(OwnedFd),
}

/// Turns this process into the program. Comes back only when that fails.
pub(crate) fn become_program(spec: &Spec, who: Identity, streams: Streams, parent: Pid) -> Failure {
    match prepare(spec, who, streams) {
        Ok(()) => {}
        Err(failure) => return failure,
    }
    // A change of user forgets it, so it is asked for last; the parent may have gone before.
    let watched = set_parent_process_death_signal(Some(Signal::KILL));
    if watched.is_err() || getppid() != Some(parent) {
        return Failure::ours("the session ended while it began");
    }
    let environment = environment(spec, who);
    let path = search_path(spec);
    let found = match command(spec, &path) {
        Ok(found) => found,
        Err(failure) => return failure,
    };
    let error = match as_the_kernel_takes_them(&found, environment) {
        Ok((file, words, environment)) => sys::process::execute(&file, &words, &environment),
        Err(error) => error.into(),
    };
    cannot_run(&found.file, &error)
}

/// A tool that crashes would write its core into the target. Whoever wants one can raise the limit again.
fn no_cores() -> io::Result<()> {
    let limit = getrlimit(Resource::Core);
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), ..limit })?)
}

fn prepare(spec: &Spec, who: Identity, streams: Streams) -> Result<(), Failure> {
    let failed = |doing: &str, error: io::Error| Failure::ours(format!("{doing}: {error}"));
    setsid().map_err(|error| failed("starting a process group", error.into()))?;
    no_cores().map_err(|error| failed("limiting cores", error))?;
    connect(streams).map_err(|error| failed("connecting the program's input and output", error))?;
    match &spec.work_dir {
        Some(dir) => {
            chdir(dir).map_err(|error| failed(&format!("going to {}", dir.display()), error.into()))?
        }
        // The target's directory may be out of reach or gone.
        None => chdir(&spec.facts.work_dir)
            .or_else(|_| chdir("/"))
            .map_err(|error| failed("going to /", error.into()))?,
    }
    take_identity(who).map_err(|error| {
        let hint = "is it mapped in the target's user namespace? give another with --user";
        failed(&format!("becoming user {} and group {} ({hint})", who.user, who.group), error)
    })?;
    let capabilities = if who.user == 0 { spec.capabilities } else { spec.granted };
    rights::limit(capabilities, who.user == 0, spec.privileged)
        .map_err(|error| failed("giving up capabilities", error))
}

fn connect(streams: Streams) -> io::Result<()> {
    match streams {
        Streams::Own([input, output, errors]) => {
            rustix::stdio::dup2_stdin(input)?;
            rustix::stdio::dup2_stdout(output)?;
            rustix::stdio::dup2_stderr(errors)?;
        }
        Streams::Terminal(terminal) => {
            ioctl_tiocsctty(&terminal)?;
            rustix::stdio::dup2_stdin(&terminal)?;
            rustix::stdio::dup2_stdout(&terminal)?;
            rustix::stdio::dup2_stderr(&terminal)?;
        }
    }
    Ok(())
}

fn take_identity(who: Identity) -> io::Result<()> {
    // Where the target's user namespace forbids it, the keeper has done it on the host.
    match set_thread_groups(&[]) {
        Err(error) if error != rustix::io::Errno::PERM => return Err(error.into()),
        _ => {}
    }
    if who.user != 0 {
        rights::keep_over_user_change()?;
    }
    let (user, group) = (Uid::from_raw(who.user), Gid::from_raw(who.group));
    set_thread_res_gid(group, group, group)?;
    Ok(set_thread_res_uid(user, user, user)?)
}

/// A clean one: nothing of the target's but its PATH, behind that of the kits.
fn environment(spec: &Spec, who: Identity) -> Vec<(OsString, OsString)> {
    let user = if who.user == 0 { "root".to_owned() } else { who.user.to_string() };
    let mark = if who.user == 0 { '#' } else { '$' };
    let name: String =
        spec.target.chars().filter(|c| c.is_ascii_alphanumeric() || "._:/-".contains(*c)).collect();
    let own = [
        ("PATH", search_path(spec)),
        ("HOME", HOME.to_owned()),
        ("USER", user.clone()),
        ("LOGNAME", user),
        ("PS1", format!("{name}:\\w {mark} ")),
        ("PURSER_SESSION", spec.id.clone()),
        ("PURSER_TARGET", name.clone()),
        ("PURSER_TARGET_PID", spec.facts.inner_pid.to_string()),
    ];
    let own = own.into_iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let of_kits = spec.kits.iter().flat_map(|kit| {
        let value = |value: &str| value.replace('@', &kit.prefix()).into();
        kit.environment.iter().map(move |(name, text)| (OsString::from(name), value(text)))
    });
    // What the loader obeys is nobody's to set for all programs of a session.
    let of_kits = of_kits.filter(|(name, _)| !name.as_encoded_bytes().starts_with(b"LD_"));
    own.chain(of_kits).chain(spec.environment.iter().cloned()).collect()
}

fn search_path(spec: &Spec) -> String {
    let of_kit =
        |kit: &Kit| kit.path.iter().map(|path| format!("{}/{path}", kit.prefix())).collect::<Vec<_>>();
    let mut parts: Vec<String> = spec.kits.iter().flat_map(of_kit).collect();
    parts.push(spec.facts.path.clone().unwrap_or_else(|| USUAL_PATH.to_owned()));
    parts.join(":")
}

#[derive(Debug)]
struct Found {
    file: PathBuf,
    /// At least one.
    words: Vec<OsString>,
}

fn command(spec: &Spec, path: &str) -> Result<Found, Failure> {
    let Some(name) = spec.command.first() else {
        let shell = SHELLS.iter().find_map(|shell| Some((find(OsStr::new(shell), path).ok()?, *shell)));
        let (file, shell) = shell.ok_or_else(|| Failure {
            code: 127,
            text:
                "there is no shell in the target and none in the kits; purser kit build base makes a kit with one"
                    .into(),
        })?;
        let mut words = vec![OsString::from(shell)];
        if shell == "bash" {
            words.extend(settings_of_bash(spec, &file).map(OsString::from));
        }
        return Ok(Found { file, words });
    };
    let file = find(name, path)?;
    Ok(Found { file, words: spec.command.clone() })
}

/// The file, the words and the variables; of two variables of one name the latter.
fn as_the_kernel_takes_them(
    found: &Found,
    environment: Vec<(OsString, OsString)>,
) -> Result<(CString, Vec<CString>, Vec<CString>), NulError> {
    let file = CString::new(found.file.as_os_str().as_bytes())?;
    let words = found.words.iter().map(|word| CString::new(word.as_bytes())).collect::<Result<_, _>>()?;
    let environment: BTreeMap<OsString, OsString> = environment.into_iter().collect();
    let variable = |(name, value): (&OsString, &OsString)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())
    };
    let environment = environment.iter().map(variable).collect::<Result<_, _>>()?;
    Ok((file, words, environment))
}

/// A shell of a kit has the kit's settings, and none obeys those of the target.
fn settings_of_bash(spec: &Spec, bash: &Path) -> [String; 3] {
    let of_kit = spec.kits.iter().find(|kit| bash.starts_with(kit.prefix()));
    let settings = of_kit.map(|kit| format!("{}/etc/bashrc", kit.prefix()));
    let settings = settings.filter(|file| Path::new(file).is_file());
    ["--noprofile".to_owned(), "--rcfile".to_owned(), settings.unwrap_or_else(|| "/dev/null".to_owned())]
}

/// The file behind a name, as a shell would find it.
fn find(name: &OsStr, path: &str) -> Result<PathBuf, Failure> {
    if name.as_encoded_bytes().contains(&b'/') {
        return Ok(PathBuf::from(name));
    }
    let mut forbidden = None;
    // An empty part is the current directory to a shell; nobody wants that here.
    for dir in path.split(':').filter(|dir| dir.starts_with('/')) {
        let file = Path::new(dir).join(name);
        if !std::fs::metadata(&file).is_ok_and(|meta| meta.is_file()) {
            continue;
        }
        if access(&file, Access::EXEC_OK).is_ok() {
            return Ok(file);
        }
        forbidden = forbidden.or(Some(file));
    }
    let shown = if name.is_empty() { "an empty word".into() } else { name.to_string_lossy() };
    Err(match forbidden {
        Some(file) => Failure { code: 126, text: format!("{} is not executable", file.display()) },
        None => Failure {
            code: 127,
            text: format!(
                "{shown}: no such command in the target or the kits; purser kit ls shows which kit has it"
            ),
        },
    })
}

fn cannot_run(file: &Path, error: &io::Error) -> Failure {
    let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
    let hint = match error.raw_os_error() {
        // The file is there, but not the loader or interpreter that it names.
        Some(2) if file.exists() => "; the file is there, its loader or interpreter is not",
        Some(8) => "; it is for another architecture, or a script without #!",
        _ => "",
    };
    Failure { code, text: format!("starting {}: {error}{hint}", file.display()) }
}
