// SPDX-License-Identifier: Apache-2.0
//! For whom a session is, when its client was started by an outpost and not by a person. What stands here the other
//! host says; who may talk to a Docker daemon is root there already, so nothing is gained by a lie.

use super::who::Who;
use container::Sources;
use debug::{Capabilities, DebugError, Target};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::str::FromStr;

/// Longest name and place that are taken.
const TEXT_LIMIT: usize = 256;

/// The client on the other host.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Behalf {
    /// The session's id, which is the same in both records.
    pub(super) id: String,
    /// The number of the user there.
    pub(super) uid: u32,
    /// `USER@HOST`, so that no name of this host is taken for it.
    pub(super) user: String,
    /// From where, and by which way here.
    pub(super) from: String,
    /// How long the other host's policy lets the session last.
    pub(super) limit_secs: Option<u64>,
    /// Where the daemon that was asked keeps its containers.
    pub(super) containers: Option<PathBuf>,
}

impl FromStr for Behalf {
    type Err = String;

    fn from_str(text: &str) -> Result<Behalf, String> {
        let behalf: Behalf = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let is_id = behalf.id.len() == 8 && behalf.id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id
            || behalf.user.len() > TEXT_LIMIT
            || behalf.from.len() > TEXT_LIMIT
            || behalf.user.is_empty()
        {
            return Err("no id, or texts that are too long".into());
        }
        Ok(behalf)
    }
}

impl Behalf {
    /// As the record and the policy know them; a group of that host means nothing here.
    pub(super) fn who(&self) -> Who {
        Who { uid: self.uid, name: self.user.clone(), groups: Vec::new(), from: self.from.clone() }
    }
}

/// Where containers are looked for: where the configuration says, and where the daemon that was asked keeps its own.
pub(super) fn sources(behalf: Option<&Behalf>, configured: &Sources) -> Sources {
    let mut sources = configured.clone();
    if let Some(containers) = behalf.and_then(|behalf| behalf.containers.as_ref()) {
        sources.docker_containers.clone_from(containers);
    }
    sources
}

/// What of these capabilities this process can give: an outpost's container has not all that the host's root has.
pub(super) fn givable(wanted: Capabilities) -> Result<Capabilities, DebugError> {
    let own = Target::open(i32::try_from(std::process::id()).unwrap_or(0))?.capabilities();
    Ok(wanted.without(Capabilities::all().without(own)))
}

#[cfg(test)]
mod tests {
    use super::Behalf;

    #[test]
    fn only_what_is_whole() {
        let text = |id: &str, user: &str| {
            format!(
                r#"{{"id":"{id}","uid":1000,"user":"{user}","from":"x","limit_secs":null,"containers":null}}"#
            )
        };
        let behalf: Behalf = text("5e55ab1e", "ann@laptop").parse().unwrap();
        assert_eq!(behalf.who().name, "ann@laptop");
        for wrong in
            [text("../../xx", "ann"), text("5e55ab1e", ""), text("5e55ab1e", &"x".repeat(300)), "{".into()]
        {
            assert!(wrong.parse::<Behalf>().is_err(), "{wrong}");
        }
    }
}
