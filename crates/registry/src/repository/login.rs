// SPDX-License-Identifier: Apache-2.0
//! Logging in: a user and a password, or a token from the server that the registry names.
//!
//! The password goes to the registry it is for, or to the token server that this registry names, and never in clear
//! where the registry itself is spoken to by TLS.

use super::Repository;
use crate::challenge::{Challenge, parse};
use crate::error::{RegistryError, Why};
use crate::http::{Answer, Request, Url, escaped};
use crate::login::{Kind, Login, secret};
use serde::Deserialize;
use std::io::Read;
use tls::Secret;

/// Longest answer of a token server.
const ANSWER_LIMIT: u64 = 1 << 20;
/// Most challenges that are looked at.
const CHALLENGES_LIMIT: usize = 16;

/// What a token server answers.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Tokens {
    #[serde(deserialize_with = "secret")]
    token: Option<Secret>,
    #[serde(deserialize_with = "secret")]
    access_token: Option<Secret>,
}

impl Repository<'_> {
    /// Makes the secret that the answer asks for.
    pub(super) fn log_in(&mut self, answer: &Answer) -> Result<(), RegistryError> {
        if self.login.is_none() {
            self.login = Some((self.settings.login)(&self.reference)?);
        }
        let login = self.login.clone().flatten();
        let headers = answer.head.all("www-authenticate");
        let ways: Vec<Challenge> = headers.flat_map(parse).take(CHALLENGES_LIMIT).collect();
        let bearer = ways.iter().find(|way| matches!(way, Challenge::Bearer { .. }));
        self.secret = match (bearer.or(ways.first()), &login) {
            (Some(Challenge::Bearer { .. }), Some(Login(Kind::Token(token)))) => {
                Some(after("Bearer ", token))
            }
            (Some(Challenge::Bearer { realm, service, scope }), login) => {
                let query = [("service", service.as_deref()), ("scope", scope.as_deref())];
                Some(after("Bearer ", &self.token(realm, &query, login.as_ref())?))
            }
            (Some(Challenge::Basic), Some(Login(Kind::Password { user, password }))) => {
                Some(basic(user, password))
            }
            // The answer to the next try tells what is missing.
            (_, _) => None,
        };
        Ok(())
    }

    fn token(
        &mut self,
        realm: &str,
        query: &[(&str, Option<&str>)],
        login: Option<&Login>,
    ) -> Result<Secret, RegistryError> {
        let url = match Url::parse(realm) {
            Ok(url) => url,
            Err(why) => return self.lie(format!("it names a token server, and {why}")),
        };
        if !url.secure && (self.base.secure || !self.may_be_plain(&url.host)) {
            return self.lie(format!("it wants our login sent to {} without encryption", url.host));
        }
        let query = query.iter().filter_map(|(name, value)| Some((*name, escaped((*value)?))));
        let mut body = Secret::new(Vec::new());
        let mut request = match login {
            Some(Login(Kind::Refresh(refresh))) => {
                let mut form = "grant_type=refresh_token&client_id=purser&refresh_token=".to_string();
                form.push_str(&escaped(&String::from_utf8_lossy(refresh.expose())));
                query.for_each(|(name, value)| form.push_str(&format!("&{name}={value}")));
                body = Secret::new(form);
                let mut request = Request::new("POST", url.clone());
                request.headers.push(("content-type", "application/x-www-form-urlencoded".to_string()));
                request
            }
            login => {
                let url = query.fold(url.clone(), |url, (name, value)| url.with(name, &value));
                let mut request = Request::new("GET", url);
                if let Some(Login(Kind::Password { user, password })) = login {
                    request.secret = Some(basic(user, password));
                }
                request
            }
        };
        request.body = body.expose();
        let answer = self.answer(&request)?;
        let denied = |why: String| RegistryError::Registry { place: self.place(), why: Why::Denied(why) };
        if answer.head.status != 200 {
            let who = if login.is_some() { "our login" } else { "us without a login" };
            return Err(denied(format!(
                "its token server {} refuses {who} ({}); log in with docker login {}",
                url.host, answer.head.status, self.reference.registry
            )));
        }
        let mut bytes = Vec::new();
        let read = answer.body.take(ANSWER_LIMIT).read_to_end(&mut bytes);
        let bytes = Secret::new(bytes);
        read.map_err(|error| denied(format!("its token server {}: {error}", url.host)))?;
        let tokens: Tokens = serde_json::from_slice(bytes.expose())
            .map_err(|_| denied(format!("its token server {} answers with no token", url.host)))?;
        let none = || denied(format!("its token server {} answers with an empty token", url.host));
        tokens.token.or(tokens.access_token).ok_or_else(none)
    }
}

fn basic(user: &str, password: &Secret) -> Secret {
    let clear = Secret::new([user.as_bytes(), b":", password.expose()].concat());
    after("Basic ", &Secret::new(openssl::base64::encode_block(clear.expose())))
}

fn after(word: &str, secret: &Secret) -> Secret {
    Secret::new([word.as_bytes(), secret.expose()].concat())
}
