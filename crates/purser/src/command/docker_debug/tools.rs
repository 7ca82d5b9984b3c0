// SPDX-License-Identifier: Apache-2.0
//! Where the tools of a session come from when docker-debug would have taken an image.

use super::session::Options;
use super::settings::Settings;
use crate::command::debug::comes_by_sudo;
use crate::command::{Usage, output, say, told};
use crate::config::Config;

/// The kit that is good beside any other.
const USUAL: &str = "base";

/// The kits that stand for an image; none where those of purser debug are as good as any. An image that this host does
/// not have is fetched from nowhere.
pub(super) fn kits(options: &Options, settings: &Settings) -> anyhow::Result<Vec<String>> {
    let given = options.image.as_deref().filter(|image| !image.is_empty());
    let image = given.unwrap_or(&settings.image);
    if image.is_empty() || (given.is_none() && !options.kit.is_empty()) {
        return Ok(options.kit.clone());
    }
    let shelf = match &options.kits {
        Some(shelf) => shelf.clone(),
        None => Config::load(None)?.0.debug.kits,
    };
    let made = match comes_by_sudo() {
        // What is behind the name of a kit is not for who comes by sudo to choose.
        true => Err(Usage("an image as a kit is not for who comes by sudo".into()).into()),
        false => crate::command::kit::of_image(&shelf, image),
    };
    let mut kits = options.kit.clone();
    match made {
        Ok(kit) => {
            kits.insert(0, kit);
            let has_usual = shelf.join(USUAL).join("kit.toml").exists();
            kits.extend(has_usual.then(|| USUAL.to_owned()));
        }
        Err(error) if given.is_some() || output::is_watched() => {
            let why = told(&error);
            // What else there is, is a list behind a colon.
            let why = why.lines().next().unwrap_or_default();
            let why = why.strip_suffix(':').and_then(|why| Some(why.rsplit_once(';')?.0)).unwrap_or(why);
            say(&format!("docker-debug: image {image}: {why}; the tools come from purser's kits"));
        }
        Err(_) => {}
    }
    Ok(kits)
}
