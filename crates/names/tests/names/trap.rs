// SPDX-License-Identifier: Apache-2.0
//! A root whose `nsswitch.conf` and `openssl.cnf` name libraries that end every program that loads
//! them. A static program with glibc's look-up does load them; this one must not open one.

use std::ffi::OsStr;
use std::fs;
use std::mem::MaybeUninit;
use std::net::ToSocketAddrs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::fs::inotify;
use tempfile::TempDir;

use crate::server::{AAAA, Server};

const DNS_PORT: u16 = 53;
const LIBRARIES: &str = "lib/x86_64-linux-gnu";
/// The names a module, glibc itself and a provider of OpenSSL would have.
const MODULES: [&str; 5] =
    ["libnss_hesiod.so.2", "libnss_dns.so.2", "libnss_files.so.2", "libc.so.6", "hostile-provider.so"];
/// What the module ends a program with, see module.c.
const LOADED: i32 = 77;
const IN_HOSTS: &str = "broker-in-hosts.example";
const IN_DNS: &str = "broker-in-dns.example";
const IN_NEITHER: &str = "broker-in-neither.example";

/// The part that runs inside the root.
#[test]
#[ignore = "started by the test below, inside the root"]
fn inside() {
    for name in [IN_HOSTS, IN_DNS, IN_NEITHER] {
        match (name, 9092).to_socket_addrs() {
            Ok(found) => println!("{name} is {:?}", found.collect::<Vec<_>>()),
            Err(error) => println!("{name} is not found: {error}"),
        }
    }
    println!("home is {:?}", std::env::home_dir());
    for module in MODULES {
        println!("{module} {}", if opens(module) { "opened" } else { "refused" });
    }
    println!("inside: done");
}

/// Asks glibc's interface, as OpenSSL does for a provider.
fn opens(module: &str) -> bool {
    let path = std::ffi::CString::new(format!("/{LIBRARIES}/{module}")).unwrap();
    !names::symbols::dlopen(path.as_ptr(), 2).is_null()
}

#[test]
fn nothing_of_the_host_is_loaded() {
    if !is_root() {
        let all = std::env::var_os("PURSER_REQUIRE_ALL").is_some_and(|all| all == "1");
        assert!(!all, "cannot run: needs root, to change into another root");
        return println!("SKIP needs root, to change into another root");
    }
    let server = Server::start(DNS_PORT, |asked| {
        vec![if asked.name == IN_DNS {
            asked.addresses(&["10.0.0.53", "2001:db8::53"])
        } else {
            asked.code(3)
        }]
    });
    let trap = Trap::set(&server);
    for question in [["host", IN_DNS], ["user", "nobody"]] {
        let bitten = trap.run("control", &question);
        assert_eq!(bitten.status.code(), Some(LOADED), "the trap is not set: {bitten:?}");
    }
    assert!(trap.opened().iter().any(|file| file == "libnss_hesiod.so.2"));

    let output = trap.run("program", &["--ignored", "--exact", "trap::inside", "--nocapture"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for line in [
        format!("{IN_HOSTS} is [10.0.0.7:9092]"),
        format!("{IN_NEITHER} is not found: "),
        "home is None".to_owned(),
        "libc.so.6 refused".to_owned(),
        "hostile-provider.so refused".to_owned(),
        "inside: done".to_owned(),
    ] {
        assert!(text.contains(&line), "{line:?} is not in {text}");
    }
    let dns = text.lines().find(|line| line.starts_with(IN_DNS)).unwrap_or_default();
    assert!(dns.contains("10.0.0.53:9092") && dns.contains("[2001:db8::53]:9092"), "{text}");
    assert!(server.names(AAAA).contains(&IN_DNS.to_owned()));

    let opened = trap.opened();
    for file in ["hosts", "resolv.conf"] {
        assert!(opened.iter().any(|name| name == file), "nothing is watched: {opened:?}");
    }
    let foreign = |name: &String| name.contains(".so") || name == "nsswitch.conf" || name.contains("openssl");
    assert!(!opened.iter().any(foreign), "{opened:?}");
}

/// The parts of glibc that look hosts and users up, and load what does so, are not even there.
#[test]
fn glibcs_lookup_is_not_linked_in() {
    let output = Command::new("nm").arg(std::env::current_exe().unwrap()).output().expect("start nm");
    assert!(output.status.success(), "{output:?}");
    let listed = String::from_utf8_lossy(&output.stdout);
    // A weak reference that nothing fulfils has no address.
    let defined: Vec<&str> = listed
        .lines()
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split(' ').nth(2))
        .collect();
    for ours in ["main", "getaddrinfo", "getpwuid_r"] {
        assert!(defined.contains(&ours), "{ours} is not there: is this a static program with symbols?");
    }
    let found: Vec<&&str> =
        defined.iter().filter(|name| name.starts_with("__nss_") || name.starts_with("_nss_")).collect();
    assert!(found.is_empty(), "{found:?}");
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("start id");
    output.stdout == b"0\n"
}

/// The root, and a watch over the files in it.
struct Trap {
    folder: TempDir,
    watch: OwnedFd,
}

impl Trap {
    fn set(server: &Server) -> Trap {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let libraries = root.join(LIBRARIES);
        for name in [LIBRARIES, "etc/ssl", "usr/lib/ssl"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        symlink("../../lib/x86_64-linux-gnu", root.join("usr/lib/x86_64-linux-gnu")).unwrap();
        let module = compile("module.c", &root.join("module.so"), &["-shared", "-fPIC", "-nostdlib"]);
        for name in MODULES {
            fs::copy(&module, libraries.join(name)).unwrap();
        }
        write_settings(root, server);
        compile("control.c", &root.join("control"), &["-static"]);
        fs::copy(std::env::current_exe().unwrap(), root.join("program")).unwrap();
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).unwrap();
        for name in [LIBRARIES, "etc", "etc/ssl", "usr/lib/ssl"] {
            inotify::add_watch(&watch, root.join(name), inotify::WatchFlags::OPEN).unwrap();
        }
        Trap { folder, watch }
    }

    fn run(&self, program: &str, words: &[&str]) -> Output {
        let mut command = Command::new("chroot");
        command.arg(self.folder.path()).arg(format!("/{program}")).args(words).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().expect("start chroot")
    }

    /// The files opened since the last time this was asked.
    fn opened(&self) -> Vec<String> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.watch, &mut buffer);
        let mut names = Vec::new();
        while let Ok(event) = events.next() {
            names.extend(event.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
        names
    }
}

fn write_settings(root: &Path, server: &Server) {
    let provider = format!(
        "openssl_conf = start\n[start]\nproviders = all\n[all]\nhostile = one\n[one]\nmodule = /{LIBRARIES}/hostile-provider.so\nactivate = 1\n"
    );
    for (file, text) in [
        ("etc/nsswitch.conf", "hosts: hesiod dns files\npasswd: hesiod files\ngroup: hesiod files\n"),
        ("etc/hosts", &format!("127.0.0.1 localhost\n10.0.0.7 {IN_HOSTS}\n")),
        ("etc/resolv.conf", &format!("nameserver {}\n", server.address.ip())),
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
        ("etc/ssl/openssl.cnf", &provider),
        ("usr/lib/ssl/openssl.cnf", &provider),
    ] {
        fs::write(root.join(file), text).unwrap();
    }
}

fn compile(source: &str, target: &Path, flags: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/names").join(source);
    let words =
        [OsStr::new("-O1"), OsStr::new("-w"), OsStr::new("-o"), target.as_os_str(), source.as_os_str()];
    let output = Command::new("gcc").args(words).args(flags).output().expect("start gcc");
    assert!(output.status.success(), "{output:?}");
    target.to_owned()
}
