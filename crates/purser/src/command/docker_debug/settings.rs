// SPDX-License-Identifier: Apache-2.0
//! What stands in `~/.docker-debug/config.toml`: read as docker-debug reads it, of any of its versions.

use super::daemon;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Where the target's files are for scripts, beside `/`.
const MOUNT_DIR: &str = "/mnt/container";
/// The image that docker-debug names in a new file.
pub(super) const IMAGE: &str = "nicolaka/netshoot:latest";
/// The section that is used when nobody names one.
pub(super) const DEFAULT: &str = "default";
/// The version of docker-debug whose form of the file this is.
const VERSION: &str = "0.7.10";
/// The version of Docker's API in a new file. It is read by docker-debug only.
const API_VERSION: &str = "1.47";

/// The file. Keys that it does not have here are nobody's business and stay in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    /// The version of docker-debug that wrote it.
    pub(super) version: String,
    /// Where the target's files are, too; nowhere when empty.
    pub(super) mount_dir: String,
    pub(super) image: String,
    /// For a request to a daemon.
    #[serde(deserialize_with = "time")]
    pub(super) timeout: Duration,
    /// The name of the daemon that is used when nobody names one.
    pub(super) config_default: String,
    /// For an answer of a daemon.
    #[serde(deserialize_with = "time")]
    pub(super) read_timeout: Duration,
    #[serde(rename = "config")]
    pub(super) daemons: BTreeMap<String, Daemon>,
}

/// `[config.NAME]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Daemon {
    /// Of the API; purser asks the daemon instead.
    pub(super) version: String,
    pub(super) host: String,
    pub(super) tls: bool,
    pub(super) cert_dir: String,
    /// Nobody uses it, docker-debug included.
    pub(super) cert_password: String,
}

impl Default for Settings {
    /// What a file means that lacks a key.
    fn default() -> Settings {
        Settings {
            version: String::new(),
            mount_dir: MOUNT_DIR.to_owned(),
            image: String::new(),
            timeout: Duration::from_secs(10),
            config_default: DEFAULT.to_owned(),
            read_timeout: Duration::from_secs(3),
            daemons: BTreeMap::new(),
        }
    }
}

/// Of the environment, what decides on a new file.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    /// `DOCKER_HOST`
    pub(super) host: String,
    /// `DOCKER_TLS_VERIFY`
    pub(super) tls_verify: String,
    /// `DOCKER_CERT_PATH`
    pub(super) cert_path: String,
}

impl Settings {
    /// Those of a first run.
    pub(super) fn first(environment: &Environment) -> Result<Settings, String> {
        let verify = environment.tls_verify == "1";
        let tls = verify && !environment.cert_path.is_empty();
        let one = Daemon {
            version: API_VERSION.to_owned(),
            host: daemon::normal(&environment.host, verify)?,
            tls,
            cert_dir: if tls { environment.cert_path.clone() } else { String::new() },
            cert_password: String::new(),
        };
        Ok(Settings {
            version: VERSION.to_owned(),
            image: IMAGE.to_owned(),
            daemons: BTreeMap::from([(DEFAULT.to_owned(), one)]),
            ..Settings::default()
        })
    }

    /// From the text of a file.
    pub(super) fn read(text: &str) -> Result<Settings, String> {
        // Not the error's own display: that shows a line of the file, which may be no file of ours.
        let settings: Settings = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        Ok(Settings { mount_dir: settings.mount_dir.trim_end_matches('/').to_owned(), ..settings })
    }

    /// The daemon of this name, or the default one.
    pub(super) fn daemon(&self, name: Option<&str>) -> Result<&Daemon, String> {
        let name = name.filter(|name| !name.is_empty()).unwrap_or(&self.config_default);
        self.daemons.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.daemons.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            format!("there is no [config.{name}]; there are: {known}")
        })
    }

    /// As docker-debug writes a new file.
    pub(super) fn text(&self) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let mut text = format!(
            "version = {}\nmount_dir = {}\nimage = {}\ntimeout = \"{}s\"\nconfig_default = {}\nread_timeout = \"{}s\"\n\n[config]\n",
            quoted(&self.version),
            quoted(&self.mount_dir),
            quoted(&self.image),
            self.timeout.as_secs(),
            quoted(&self.config_default),
            self.read_timeout.as_secs(),
        );
        for (name, daemon) in &self.daemons {
            text.push_str(&format!("  [config.{}]\n", super::file::key(name)));
            for (key, value) in daemon.keys() {
                text.push_str(&format!("    {key} = {value}\n"));
            }
        }
        text
    }
}

impl Daemon {
    /// Its keys, in the order of docker-debug.
    pub(super) fn keys(&self) -> Vec<(&'static str, toml::Value)> {
        let text = |text: &str| toml::Value::from(text);
        vec![
            ("version", text(&self.version)),
            ("host", text(&self.host)),
            ("tls", toml::Value::from(self.tls)),
            ("cert_dir", text(&self.cert_dir)),
            ("cert_password", text(&self.cert_password)),
        ]
    }

    /// As `docker-debug config` prints it, but for the password.
    pub(super) fn shown(&self) -> String {
        let password = if self.cert_password.is_empty() { "" } else { "(not shown)" };
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        format!(
            "{{\n  \"Version\": {},\n  \"Host\": {},\n  \"TLS\": {},\n  \"CertDir\": {},\n  \"CertPassword\": {}\n}}",
            quoted(&self.version),
            quoted(&self.host),
            self.tls,
            quoted(&self.cert_dir),
            quoted(password),
        )
    }
}

/// Nanoseconds, or a text such as `1m30s`: old and new versions write it differently.
fn time<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Nanoseconds(i64),
        Text(String),
    }
    let found = match Written::deserialize(from)? {
        Written::Nanoseconds(number) => u64::try_from(number).ok().map(Duration::from_nanos),
        Written::Text(text) => duration(&text),
    };
    found.ok_or_else(|| serde::de::Error::custom("this is no time; write nanoseconds, or a text such as 10s"))
}

/// A time as Go writes it: numbers with units, from the largest to the smallest.
fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("\u{b5}s", 1e-6),
        ("\u{3bc}s", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut secs = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(end);
        let end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        secs += number.parse::<f64>().ok()? * factor;
        rest = behind;
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(secs).ok())?
}

#[cfg(test)]
mod tests {
    use super::{Environment, Settings, duration};
    use std::time::Duration;

    /// Written by docker-debug, built from its sources.
    const NEW: &str = "\
version = \"0.7.10\"
mount_dir = \"/mnt/container\"
image = \"nicolaka/netshoot:latest\"
timeout = \"10s\"
config_default = \"default\"
read_timeout = \"3s\"

[config]
  [config.default]
    version = \"1.47\"
    host = \"unix:///var/run/docker.sock\"
    tls = false
    cert_dir = \"\"
    cert_password = \"\"
";
    /// From its page.
    const OLD: &str = "\
version = \"0.7.5\"
image = \"nicolaka/netshoot:latest\"
mount_dir = \"/mnt/container/\"
timeout = 10000000000
config_default = \"default\"

[config]
  [config.default]
    version = \"1.40\"
    host = \"unix:///var/run/docker.sock\"
    tls = false
    cert_dir = \"\"
    cert_password = \"\"
";

    #[test]
    fn a_first_run_writes_what_docker_debug_writes() {
        let first = Settings::first(&Environment::default()).unwrap();
        assert_eq!(first.text(), NEW);
        assert_eq!(Settings::read(NEW).unwrap(), first);
    }

    #[test]
    fn a_first_run_obeys_the_environment() {
        let of = |host: &str, tls_verify: &str, cert_path: &str| {
            let own = |text: &str| text.to_owned();
            let environment =
                Environment { host: own(host), tls_verify: own(tls_verify), cert_path: own(cert_path) };
            Settings::first(&environment).map(|first| {
                let daemon = first.daemons["default"].clone();
                format!("{} {} {}", daemon.host, daemon.tls, daemon.cert_dir)
            })
        };
        // What docker-debug itself makes of them.
        assert_eq!(of("", "1", "").unwrap(), "tcp://localhost:2376 false ");
        assert_eq!(of("", "1", "/c").unwrap(), "tcp://localhost:2376 true /c");
        assert_eq!(of("", "yes", "/c").unwrap(), "unix:///var/run/docker.sock false ");
        assert_eq!(of("", "", "/c").unwrap(), "unix:///var/run/docker.sock false ");
        assert_eq!(of("tcp://h", "1", "/c").unwrap(), "tcp://h:2375 true /c");
        assert_eq!(of("ssh://u@h", "", "").unwrap(), "ssh://u@h false ");
        assert!(of("foo://x", "", "").unwrap_err().contains("foo://x"));
    }

    #[test]
    fn files_of_old_versions() {
        let old = Settings::read(OLD).unwrap();
        assert_eq!(old.mount_dir, "/mnt/container");
        assert_eq!((old.timeout, old.read_timeout), (Duration::from_secs(10), Duration::from_secs(3)));
        assert_eq!(old.daemon(None).unwrap().version, "1.40");
        let oldest = Settings::read("[config.default]\nhost = \"tcp://a:1\"\nunknown = 1\n").unwrap();
        assert_eq!((oldest.mount_dir.as_str(), oldest.image.as_str()), ("/mnt/container", ""));
        assert_eq!(oldest.daemon(Some("x")).unwrap_err(), "there is no [config.x]; there are: default");
    }

    #[test]
    fn wrong_files() {
        for (text, wanted) in [
            ("timeout = \"soon\"", "this is no time"),
            ("timeout = -1", "this is no time"),
            ("secret = ", ""),
            ("config = 3", "invalid type"),
            ("mount_dir = 3", "invalid type"),
        ] {
            let error = Settings::read(text).unwrap_err();
            assert!(error.contains(wanted) && !error.contains("secret"), "{text}: {error}");
        }
    }

    #[test]
    fn times() {
        for (text, millis) in
            [("10s", 10_000), ("1m30s", 90_000), ("1.5h", 5_400_000), ("250ms", 250), ("0", 0)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "5", "-1s", "1y", "1.2.3s", "99999999999999999999h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
