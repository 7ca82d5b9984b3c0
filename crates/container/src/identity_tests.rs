// SPDX-License-Identifier: Apache-2.0
//! The layouts of the runtimes, as literal paths; `ID` stands for an id of 64 hex digits.

use super::{Cgroup, Identity, Runtime, identify};

const A: &str = "5b22af62c82901e1e8e8ca927c0f822f613bd9863943cf4bdf4b8a479d410e3c";
const B: &str = "6cddebe169ce9b65e2316ed82c80ba7ffd49d8aa60b9b29e33f7142ea664303a";
const UID: &str = "0d7ef9a1-16a5-4b1c-9ae1-6a2f0f1c2b3d";
const UID_: &str = "0d7ef9a1_16a5_4b1c_9ae1_6a2f0f1c2b3d";

fn fill(path: &str) -> String {
    path.replace("ID2", B).replace("ID", A).replace("POD_", UID_).replace("POD", UID)
}

fn plain(path: &str) -> Option<Identity> {
    let path = fill(path);
    identify(&Cgroup { path: path.as_bytes(), pid_ns_differs_from_host: false })
}

fn hinted(path: &str) -> Option<Identity> {
    let path = fill(path);
    identify(&Cgroup { path: path.as_bytes(), pid_ns_differs_from_host: true })
}

/// The path is this container, whether its namespaces differ or not.
#[track_caller]
fn is(path: &str, id: &str, runtime: Runtime) {
    for found in [plain(path), hinted(path)] {
        let found = found.unwrap_or_else(|| panic!("{path} is a container"));
        assert_eq!(
            (found.id.as_str(), found.runtime, found.nested),
            (fill(id).as_str(), runtime, false),
            "{path}"
        );
    }
}

#[track_caller]
fn in_pod(path: &str, runtime: Runtime) {
    is(path, "ID", runtime);
    assert_eq!(plain(path).unwrap().pod_uid.as_deref(), Some(UID), "{path}");
}

#[test]
fn docker() {
    is("/docker/ID", "ID", Runtime::Docker);
    is("/system.slice/docker-ID.scope", "ID", Runtime::Docker);
    is("/docker/ID/init.scope", "ID", Runtime::Docker);
    is("/docker/ID/system.slice/ssh.service", "ID", Runtime::Docker);
    is("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope", "ID", Runtime::Docker);
    is("/user.slice/user-1000.slice/user@1000.service/app.slice/docker-ID.scope/init", "ID", Runtime::Docker);
}

#[test]
fn custom_parents() {
    is("/builds.slice/docker-ID.scope", "ID", Runtime::Docker);
    is("/builds/team/ID", "ID", Runtime::Unknown);
    is("/ecs/0123456789abcdef0123456789abcdef/ID", "ID", Runtime::Unknown);
    is("/garden/ID", "ID", Runtime::Unknown);
    is("/other.slice/other-ID.scope", "ID", Runtime::Unknown);
}

#[test]
fn containerd_and_ctr() {
    for path in ["/default/web1", "/k8s.io/web1"] {
        let found = hinted(path).unwrap();
        assert_eq!((found.id.as_str(), found.runtime), ("web1", Runtime::Containerd));
        assert_eq!(plain(path), None);
    }
    is("/default/ID", "ID", Runtime::Containerd);
    is("/system.slice/nerdctl-ID.scope", "ID", Runtime::Containerd);
}

#[test]
fn kubernetes() {
    in_pod("/kubepods/burstable/podPOD/ID", Runtime::Containerd);
    in_pod("/kubepods/podPOD/ID", Runtime::Containerd);
    in_pod(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podPOD_.slice/cri-containerd-ID.scope",
        Runtime::Containerd,
    );
    in_pod("/kubepods.slice/kubepods-podPOD_.slice/cri-containerd-ID.scope", Runtime::Containerd);
    in_pod(
        "/system.slice/containerd.service/kubepods-burstable-podPOD_.slice:cri-containerd:ID",
        Runtime::Containerd,
    );
    in_pod(
        "/system.slice/containerd.service/kubepods-burstable-podPOD:cri-containerd:ID",
        Runtime::Containerd,
    );
    in_pod(
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podPOD_.slice/docker-ID.scope",
        Runtime::Docker,
    );
    in_pod(
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podPOD_.slice/crio-ID.scope",
        Runtime::CriO,
    );
    in_pod(
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podPOD_.slice/cri-containerd-ID.scope",
        Runtime::Containerd,
    );
}

#[test]
fn pods_alone_are_no_containers() {
    assert_eq!(plain("/kubepods/burstable/podPOD"), None);
    assert_eq!(hinted("/kubepods/burstable/podPOD"), None);
    assert_eq!(hinted("/kubepods.slice/kubepods-podPOD_.slice"), None);
}

#[test]
fn static_pods_have_a_hash() {
    let found = plain("/kubepods/burstable/pod0123456789abcdef0123456789abcdef/ID").unwrap();
    assert_eq!(found.pod_uid.as_deref(), Some("0123456789abcdef0123456789abcdef"));
    assert_eq!(plain("/kubepods/burstable/podevil/ID").unwrap().pod_uid, None);
    assert_eq!(plain("/docker/podPOD/ID").unwrap().pod_uid, None);
}

#[test]
fn crio_and_its_monitor() {
    in_pod("/kubepods/besteffort/podPOD/crio-ID", Runtime::CriO);
    for path in ["/system.slice/crio-conmon-ID.scope", "/kubepods/podPOD/crio-conmon-ID"] {
        assert_eq!((plain(path), hinted(path)), (None, None), "{path}");
    }
}

#[test]
fn podman_and_its_monitor() {
    is("/libpod_parent/libpod-ID", "ID", Runtime::Podman);
    is("/libpod_parent/ID", "ID", Runtime::Podman);
    is("/machine.slice/libpod-ID.scope", "ID", Runtime::Podman);
    is("/machine.slice/libpod-ID.scope/container", "ID", Runtime::Podman);
    is("/machine.slice/machine-libpod_pod_ID2.slice/libpod-ID.scope/container", "ID", Runtime::Podman);
    is(
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
        "ID",
        Runtime::Podman,
    );
    is("/system.slice/web.service/libpod-payload-ID", "ID", Runtime::Podman);
    for path in ["/machine.slice/libpod-conmon-ID.scope", "/libpod_parent/libpod-conmon-ID"] {
        assert_eq!((plain(path), hinted(path)), (None, None), "{path}");
    }
}

#[test]
fn bare_runc_by_namespace() {
    for (path, id) in [
        ("/web1", "web1"),
        ("/a/b/web1", "web1"),
        ("/web1/init.scope", "web1"),
        ("/web1/system.slice/cron.service", "web1"),
        ("/system.slice/runc-web1.scope", "web1"),
        ("/user.slice/user-0.slice/crun-web-2.scope", "web-2"),
        ("/agents/0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef"),
    ] {
        let found = hinted(path).unwrap();
        assert_eq!((found.id.as_str(), found.runtime, found.nested), (id, Runtime::Runc, false), "{path}");
        assert_eq!(plain(path), None, "{path}");
    }
}

#[test]
fn lxc() {
    is("/lxc/web", "web", Runtime::Lxc);
    is("/lxc.payload/web", "web", Runtime::Lxc);
    is("/lxc.payload.web", "web", Runtime::Lxc);
    is("/lxc.payload.web/system.slice/ssh.service", "web", Runtime::Lxc);
    is("/user.slice/user-1000.slice/lxc.payload.web/init.scope", "web", Runtime::Lxc);
    for path in ["/lxc.monitor.web", "/lxc.monitor/web", "/lxc"] {
        assert_eq!(plain(path), None, "{path}");
    }
    assert_eq!(hinted("/lxc.monitor.web"), None);
}

#[test]
fn nspawn() {
    is("/machine.slice/machine-deb.scope", "deb", Runtime::Nspawn);
    is("/machine.slice/machine-deb.scope/payload", "deb", Runtime::Nspawn);
    is(r"/machine.slice/machine-deb\x2d12.scope/payload/init.scope", "deb-12", Runtime::Nspawn);
    is(r"/machine.slice/systemd-nspawn@deb\x2d12.service/payload", "deb-12", Runtime::Nspawn);
    is("/machine.slice/systemd-nspawn@deb.service", "deb", Runtime::Nspawn);
    assert_eq!(plain("/machine.slice/systemd-nspawn@deb.service/supervisor"), None);
    assert_eq!(plain(r"/machine.slice/machine-qemu\x2d1\x2dvm.scope"), None);
    assert_eq!(plain("/machine.slice/machine-.scope"), None);
}

#[test]
fn nested() {
    for (path, id, runtime) in [
        ("/docker/ID/docker/ID2", B, Runtime::Docker),
        ("/system.slice/docker-ID.scope/docker/ID2/init.scope", B, Runtime::Docker),
        ("/docker/ID/kubepods/burstable/podPOD/ID2", B, Runtime::Containerd),
        ("/lxc.payload.web/docker/ID2", B, Runtime::Docker),
        ("/docker/ID/lxc/web", "web", Runtime::Lxc),
    ] {
        let found = plain(path).unwrap();
        assert_eq!((found.id.as_str(), found.runtime, found.nested), (id, runtime, true), "{path}");
    }
    assert_eq!(plain("/docker/ID/libpod_parent/libpod-conmon-ID2").unwrap().id, A);
    assert_eq!(plain("/docker/ID/machine.slice/systemd-nspawn@deb.service/supervisor").unwrap().id, A);
    assert!(!plain("/docker/ID/docker/ID").unwrap().nested);
}

#[test]
fn the_host_is_no_container() {
    for path in [
        "",
        "/",
        "/init.scope",
        "/system.slice/ssh.service",
        "/user.slice/user-1000.slice/session-3.scope",
        "/user.slice/user-1000.slice/user@1000.service/app.slice/app-chrome-12.scope",
    ] {
        assert_eq!((plain(path), hinted(path)), (None, None), "{path}");
    }
    for path in ["/agents/0123456789abcdef0123456789abcdef", "/docker", "/docker/buildkit/x", "/foo/bar"] {
        assert_eq!(plain(path), None, "{path}");
    }
    assert_eq!(plain(&format!("/docker/{}", A.to_uppercase())), None);
    assert_eq!(plain("/docker/xID"), None);
}

#[test]
fn hostile_paths() {
    for path in ["/lxc/..", "/lxc/.", "/lxc//", "//", "/../..", "/machine-..scope", "/lxc.payload."] {
        if let Some(found) = hinted(path) {
            assert!(!matches!(found.id.as_str(), "" | "." | ".."), "{path} gave {:?}", found.id);
        }
    }
    let id = |path: &[u8]| identify(&Cgroup { path, pid_ns_differs_from_host: true }).map(|f| f.id);
    assert_eq!(id(b"/lxc/a\nb").unwrap(), "a\nb");
    assert_eq!(id(b"/lxc/\xff").unwrap(), r"\xff");
    assert_eq!(id(&[b"/".as_slice(), &[b'x'; 100_000]].concat()), None);
    assert_eq!(id(fill(&"/docker/ID".repeat(10_000)).as_bytes()).unwrap(), A);
}

/// Bytes built of the layouts' own pieces reach deeper than noise; neither may panic or grow.
#[test]
fn any_bytes() {
    let pieces: [&[u8]; 18] = [
        b"/",
        b"docker",
        b"-",
        b":",
        b".scope",
        b".slice",
        b".service",
        b"lxc.payload.",
        b"machine-",
        b"pod",
        b"kubepods",
        b"\\x2f",
        b"\\x",
        b"..",
        b"\xff\xc3",
        b"\0",
        A.as_bytes(),
        UID.as_bytes(),
    ];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..50_000 {
        let mut path = Vec::new();
        for _ in 0..next() % 12 {
            match next() % 8 {
                0 => path.push(next().to_le_bytes()[0]),
                at => path.extend_from_slice(pieces[((next() + at) % 18) as usize]),
            }
        }
        let pid = next() % 2 == 0;
        let found = identify(&Cgroup { path: &path, pid_ns_differs_from_host: pid });
        if let Some(found) = found {
            assert!(!found.id.is_empty() && found.id.len() <= 4 * 255, "{path:?}");
            assert!(found.id != "." && found.id != ".." && !found.id.contains('/'), "{path:?}");
        }
        super::super::parse_proc_cgroup(&path);
        super::super::parse_mountinfo(&path);
    }
}

#[test]
fn words() {
    for runtime in Runtime::ALL {
        assert_eq!(runtime.as_str().parse(), Ok(runtime));
    }
    assert!("dockerd".parse::<Runtime>().is_err());
}

#[test]
fn a_debugging_session_works_in_its_container() {
    for (runtime, id) in [(Runtime::Docker, A), (Runtime::Nspawn, "web:1"), (Runtime::Lxc, "c1")] {
        let (above, name) = super::session_cgroup(runtime, id, "5e55ab1e").unwrap();
        is(&format!("/{above}/{name}"), id, runtime);
        is(&format!("/{above}/{name}/below"), id, runtime);
    }
    assert_eq!(super::session_cgroup(Runtime::Docker, "", "1"), None);
    assert_eq!(super::session_cgroup(Runtime::Docker, "a/b", "1"), None);
    assert_eq!(super::session_cgroup(Runtime::Docker, &"a".repeat(250), "1"), None);
    assert_eq!(plain("/purser-debug"), None);
    assert_eq!(plain("/purser-debug/docker:1:"), None);
    assert_eq!(plain("/purser-debug/nothing:1:x"), None);
}
