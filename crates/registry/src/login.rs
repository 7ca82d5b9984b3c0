// SPDX-License-Identifier: Apache-2.0
//! Who we are at which registry: the files of Docker's and Podman's tools, and the helpers that these files name.
//!
//! A login goes to the host it is for and to no other. Nothing in here can be printed.

use crate::error::RegistryError;
use crate::reference::Host;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use tls::Secret;

/// Longest file, and longest answer of a helper.
const FILE_LIMIT: u64 = 1 << 20;
/// What helpers give as the user when the secret is a refresh token.
const TOKEN_USER: &str = "<token>";
/// Docker Hub, as references and as logins have it.
const HUB: [&str; 2] = ["docker.io", "index.docker.io"];

/// Who we are at one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login(pub(crate) Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A user and a password.
    Password { user: String, password: Secret },
    /// What a token server gives tokens for.
    Refresh(Secret),
    /// A token for the registry itself.
    Token(Secret),
}

/// Runs `docker-credential-NAME get` with the host on its standard input: what it printed, `None` when it has
/// nothing for that host, or what went wrong.
pub type Helper<'a> = dyn Fn(&str, &str) -> Result<Option<Vec<u8>>, String> + 'a;

/// The logins of this user.
#[derive(Clone, Debug, Default)]
pub struct Logins(Vec<(PathBuf, Keys)>);

/// A file of logins.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Keys {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    #[serde(deserialize_with = "secret")]
    auth: Option<Secret>,
    username: String,
    #[serde(deserialize_with = "secret")]
    password: Option<Secret>,
    #[serde(deserialize_with = "secret")]
    identitytoken: Option<Secret>,
    #[serde(deserialize_with = "secret")]
    registrytoken: Option<Secret>,
}

/// What a helper prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    username: String,
    #[serde(deserialize_with = "secret")]
    secret: Option<Secret>,
}

/// A text that is wiped when it has been used; an empty one is none.
pub(crate) fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
    let text = String::deserialize(from)?;
    Ok((!text.is_empty()).then(|| Secret::new(text)))
}

pub(crate) fn read(bytes: &[u8]) -> Result<Keys, String> {
    // serde's own words would quote what it found, which may be a password.
    serde_json::from_slice(bytes).map_err(|error| {
        format!("it is no file of logins (line {}, column {})", error.line(), error.column())
    })
}

impl Logins {
    /// Reads the files that are there; what an earlier one has counts.
    ///
    /// # Errors
    /// When a file that is there cannot be read.
    pub fn read(files: &[PathBuf]) -> Result<Logins, RegistryError> {
        let mut all = Vec::new();
        for path in files {
            if let Some(keys) = open(path).map_err(|why| setup(path, why))? {
                all.push((path.clone(), keys));
            }
        }
        Ok(Logins(all))
    }

    /// Who we are at `host` for `repository`, if anybody.
    ///
    /// # Errors
    /// When a login is damaged or a helper fails.
    pub fn find(
        &self,
        host: &Host,
        repository: &str,
        helper: &Helper<'_>,
    ) -> Result<Option<Login>, RegistryError> {
        let place = format!("{host}/{repository}");
        for (path, keys) in &self.0 {
            let found = keys.find(&place, host, helper).map_err(|why| setup(path, why))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

fn setup(path: &Path, why: String) -> RegistryError {
    RegistryError::Setup { doing: format!("looking for a login in {}", path.display()), why }
}

fn open(path: &Path) -> Result<Option<Keys>, String> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| error.to_string())?,
    };
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err("it is no regular file".to_string());
    }
    let mut bytes = Vec::new();
    let count = file.take(FILE_LIMIT + 1).read_to_end(&mut bytes);
    let text = Secret::new(bytes);
    if count.map_err(|error| error.to_string())? as u64 > FILE_LIMIT {
        return Err(format!("it is longer than {FILE_LIMIT} bytes"));
    }
    // What is left of an interrupted login.
    if text.expose().trim_ascii().is_empty() {
        return Ok(None);
    }
    read(text.expose()).map(Some)
}

impl Keys {
    fn find(&self, place: &str, host: &Host, helper: &Helper<'_>) -> Result<Option<Login>, String> {
        let named = best(&self.cred_helpers, place).map(|(server, name)| (server.as_str(), name.as_str()));
        let store = Some(self.creds_store.as_str()).filter(|store| !store.is_empty());
        let server = if HUB.contains(&host.to_string().as_str()) {
            "https://index.docker.io/v1/".to_string()
        } else {
            host.to_string()
        };
        if let Some((server, name)) = named.or(store.map(|store| (server.as_str(), store))) {
            let login = ask(name, server, helper)?;
            if login.is_some() {
                return Ok(login);
            }
        }
        best(&self.auths, place).map_or(Ok(None), |(server, entry)| entry.login(server))
    }
}

/// The entry for the longest part of `place`: Podman has logins for parts of a registry.
fn best<'a, T>(entries: &'a BTreeMap<String, T>, place: &str) -> Option<(&'a String, &'a T)> {
    let covers = |key: &str| {
        let key = plain(key);
        place == key || place.strip_prefix(&key).is_some_and(|rest| rest.starts_with('/'))
    };
    entries.iter().filter(|(key, _)| covers(key)).max_by_key(|(key, _)| plain(key).len())
}

/// Older tools write URLs: `https://registry.example/v1/`.
fn plain(key: &str) -> String {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    match key.split_once('/') {
        Some((first, rest)) => format!("{}/{rest}", hub(first)),
        None => hub(key),
    }
}

fn hub(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    if HUB.contains(&host.as_str()) { HUB.first().copied().unwrap_or_default().to_string() } else { host }
}

impl Entry {
    fn login(&self, server: &str) -> Result<Option<Login>, String> {
        if let Some(token) = &self.registrytoken {
            return Ok(Some(Login(Kind::Token(token.clone()))));
        }
        if let Some(token) = &self.identitytoken {
            return Ok(Some(Login(Kind::Refresh(token.clone()))));
        }
        if !self.username.is_empty() {
            let secret = self.password.as_ref().map_or(b"".as_slice(), Secret::expose);
            return Ok(Some(password(&self.username, secret)));
        }
        let Some(auth) = &self.auth else { return Ok(None) };
        let wrong = || format!("what stands in \"auth\" for {server} is not USER:PASSWORD in base64");
        let auth = auth.expose_text().ok_or_else(wrong)?.trim();
        let clear = openssl::base64::decode_block(auth).map(Secret::new).map_err(|_| wrong())?;
        let text = std::str::from_utf8(clear.expose()).map_err(|_| wrong())?.trim_end_matches('\0');
        let (user, secret) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Some(password(user, secret.as_bytes())))
    }
}

fn password(user: &str, password: &[u8]) -> Login {
    Login(Kind::Password { user: user.to_string(), password: Secret::new(password) })
}

fn ask(name: &str, server: &str, helper: &Helper<'_>) -> Result<Option<Login>, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    // It becomes the name of a program.
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
        return Err(format!("{name:?} is no name of a helper"));
    }
    let Some(printed) = helper(name, server)? else { return Ok(None) };
    let printed = Secret::new(printed);
    if printed.expose().len() as u64 > FILE_LIMIT {
        return Err(format!("docker-credential-{name} prints more than {FILE_LIMIT} bytes"));
    }
    let printed: Printed = serde_json::from_slice(printed.expose())
        .map_err(|_| format!("docker-credential-{name} prints no login for {server}"))?;
    let secret = printed.secret.unwrap_or_else(|| Secret::new(""));
    if printed.username == TOKEN_USER {
        return Ok(Some(Login(Kind::Refresh(secret))));
    }
    Ok(Some(Login(Kind::Password { user: printed.username, password: secret })))
}

#[cfg(test)]
mod tests {
    use super::{Kind, Login, Logins, password, read};
    use crate::reference::Host;
    use proptest::prelude::{any, proptest};

    fn logins(text: &str) -> Logins {
        Logins(vec![("f".into(), read(text.as_bytes()).unwrap())])
    }

    fn find(logins: &Logins, host: &str, repository: &str) -> Result<Option<Login>, String> {
        let helper = |name: &str, server: &str| match name {
            "none" => Ok(None),
            "bad" => Ok(Some(b"hunter2".to_vec())),
            "gone" => Err("no such program".to_string()),
            "token" => Ok(Some(br#"{"Username":"<token>","Secret":"t"}"#.to_vec())),
            _ => {
                Ok(Some(format!(r#"{{"ServerURL":"","Username":"{name}","Secret":"for {server}"}}"#).into()))
            }
        };
        logins.find(&Host::parse(host).unwrap(), repository, &helper).map_err(|error| error.to_string())
    }

    #[test]
    fn each_host_has_its_own() {
        // user:secret, and a:b
        let logins = logins(
            r#"{"auths": {"https://r.example/v1/": {"auth": "dXNlcjpzZWNyZXQ="}, "r.example:5000": {},
                "r.example/kits": {"auth": "YTpi"}, "id.example": {"identitytoken": "i"},
                "index.docker.io": {"username": "hub", "password": "p"}}, "HttpHeaders": {"x": "y"}}"#,
        );
        assert_eq!(find(&logins, "r.example", "other"), Ok(Some(password("user", b"secret"))));
        assert_eq!(find(&logins, "r.example", "kits/gdb"), Ok(Some(password("a", b"b"))));
        assert_eq!(find(&logins, "r.example", "kits2"), Ok(Some(password("user", b"secret"))));
        assert_eq!(find(&logins, "docker.io", "library/x"), Ok(Some(password("hub", b"p"))));
        for none in ["r.example:5000", "evil.r.example", "example"] {
            assert_eq!(find(&logins, none, "kits/gdb"), Ok(None), "{none}");
        }
        let refresh = find(&logins, "id.example", "x").unwrap().unwrap();
        assert!(matches!(&refresh.0, Kind::Refresh(_)));
        assert!(!format!("{logins:?} {refresh:?}").contains("secret"), "{logins:?}");
    }

    #[test]
    fn helpers_are_asked_first() {
        let logins = |helper: &str| {
            logins(&format!(
                r#"{{"credHelpers": {{"h.example": "{helper}"}}, "credsStore": "store",
                    "auths": {{"h.example": {{"auth": "YTpi"}}}}}}"#
            ))
        };
        assert_eq!(find(&logins("own"), "h.example", "x"), Ok(Some(password("own", b"for h.example"))));
        assert_eq!(find(&logins("own"), "o.example", "x"), Ok(Some(password("store", b"for o.example"))));
        assert_eq!(find(&logins("none"), "h.example", "x"), Ok(Some(password("a", b"b"))));
        assert!(matches!(find(&logins("token"), "h.example", "x"), Ok(Some(Login(Kind::Refresh(_))))));
        for (helper, says) in
            [("gone", "no such program"), ("../x", "no name of a helper"), ("bad", "prints no login")]
        {
            let said = find(&logins(helper), "h.example", "x").unwrap_err();
            assert!(said.contains(says) && !said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn damaged_files_are_told_without_what_is_in_them() {
        let said = read(br#"{"auths": {"r": {"auth": 7, "x": "hunter2"}}}"#).unwrap_err();
        assert!(said.contains("line 1") && !said.contains("hunter2"), "{said}");
        let said = find(&logins(r#"{"auths": {"r.example": {"auth": "hunter2"}}}"#), "r.example", "x");
        let said = said.unwrap_err();
        assert!(said.contains("USER:PASSWORD") && !said.contains("hunter2"), "{said}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
            read(&bytes).map(drop).unwrap_or_default();
        }
    }
}
