// SPDX-License-Identifier: Apache-2.0
//! Compiles the BPF programs with clang. libbpf's headers come from the libbpf-sys that is
//! linked, so that no libbpf package is needed.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("capture.bpf.o");
    let headers = env::var("DEP_BPF_INCLUDE").expect("libbpf-sys tells where its headers are");
    let arch = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("x86_64") => "x86",
        Ok("aarch64") => "arm64",
        other => panic!("purser has no BPF programs for the architecture {other:?}"),
    };
    // Debug information is needed for BTF; only its BTF form stays in the object.
    run(Command::new("clang")
        .args(["-g", "-O2", "-target", "bpf", "-mcpu=v3", "-Wall", "-Werror"])
        .arg(format!("-D__TARGET_ARCH_{arch}"))
        .args(["-I", &headers, "-c", "bpf/capture.bpf.c", "-o"])
        .arg(&out));
    run(Command::new("llvm-strip").arg("-g").arg(&out));
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| {
        panic!("running {command:?}: {error} (cargo xtask setup installs clang and llvm)")
    });
    assert!(status.success(), "{command:?} failed: {status}");
}
