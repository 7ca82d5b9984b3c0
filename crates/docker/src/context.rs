// SPDX-License-Identifier: Apache-2.0
//! Docker's contexts: files below `contexts` in its configuration directory, in directories that are called by the
//! digest of a context's name.

use crate::{DockerError, Host, Way};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The longest file of a context.
const FILE_LIMIT: u64 = 1 << 20;
/// The context that has no files.
const USUAL: &str = "default";
const USUAL_HOST: &str = "unix:///var/run/docker.sock";

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "Endpoints")]
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: Endpoint,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(rename = "Host", default)]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_verify: bool,
}

/// The host of the context with this name; `directory` is Docker's configuration, usually `~/.docker`.
///
/// # Errors
/// When there is none, or it wants what we do not do.
pub fn context(directory: &Path, name: &str) -> Result<Host, DockerError> {
    if name == USUAL {
        return USUAL_HOST.parse();
    }
    let odd = |why: String| DockerError::Context { name: name.to_owned(), why };
    let key: String = Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let path = directory.join("contexts/meta").join(&key).join("meta.json");
    let file = File::open(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => odd("there is none of this name; see docker context ls".into()),
        _ => odd(format!("{}: {error}", path.display())),
    })?;
    let mut text = Vec::new();
    file.take(FILE_LIMIT)
        .read_to_end(&mut text)
        .map_err(|error| odd(format!("{}: {error}", path.display())))?;
    let meta: Meta =
        serde_json::from_slice(&text).map_err(|error| odd(format!("{}: {error}", path.display())))?;
    let endpoint = meta.endpoints.docker;
    if endpoint.skip_verify {
        return Err(odd("it leaves certificates unchecked (SkipTLSVerify), and purser does not".into()));
    }
    let host: Host = endpoint.host.parse()?;
    let tls = directory.join("contexts/tls").join(&key).join("docker");
    // One that has a part of them means TLS, too: it is refused, and never becomes a connection in clear.
    let has_any = ["ca.pem", "cert.pem", "key.pem"].iter().any(|name| tls.join(name).exists());
    match matches!(host.way(), Way::Tcp { .. }) && has_any {
        true => host.with_certificates(&tls),
        false => Ok(host),
    }
}

#[cfg(test)]
mod tests {
    use super::{Way, context};
    use std::fs;

    #[test]
    fn found_by_the_digest_of_the_name() {
        let dir = tempfile::tempdir().unwrap();
        assert!(context(dir.path(), "default").unwrap().is_local());
        assert!(context(dir.path(), "db1").unwrap_err().to_string().contains("none of this name"));
        // SHA-256 of "db1".
        let key = "82e64648d9abefef3ab5143537554e7681ea1ba7b387881792033e9dce77f650";
        let meta = dir.path().join("contexts/meta").join(key);
        fs::create_dir_all(&meta).unwrap();
        let write = |skip: bool| {
            let text = format!(
                r#"{{"Name":"db1","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"tcp://db1:1","SkipTLSVerify":{skip}}}}}}}"#
            );
            fs::write(meta.join("meta.json"), text).unwrap();
        };
        write(false);
        let host = context(dir.path(), "db1").unwrap();
        assert_eq!(*host.way(), Way::Tcp { host: "db1".into(), port: Some(1) });
        assert_eq!(host.certificates, None);
        let tls = dir.path().join("contexts/tls").join(key).join("docker");
        fs::create_dir_all(&tls).unwrap();
        fs::write(tls.join("cert.pem"), "").unwrap();
        assert!(context(dir.path(), "db1").unwrap_err().to_string().contains("ca.pem"));
        fs::write(tls.join("ca.pem"), "").unwrap();
        assert!(context(dir.path(), "db1").unwrap_err().to_string().contains("key.pem"));
        fs::remove_file(tls.join("cert.pem")).unwrap();
        assert!(context(dir.path(), "db1").unwrap().certificates.is_some());
        write(true);
        assert!(context(dir.path(), "db1").unwrap_err().to_string().contains("SkipTLSVerify"));
        fs::write(meta.join("meta.json"), "{").unwrap();
        assert!(context(dir.path(), "db1").is_err());
    }
}
