// SPDX-License-Identifier: Apache-2.0
//! What a receiver said, and how it is told to people.

use super::mask::Mask;
use crate::sink::SendError;
use std::time::Duration;

/// What a receiver said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Where a redirect leads.
    pub(crate) location: Option<String>,
    /// How long to wait, when it says so in seconds.
    pub(crate) retry_after: Option<Duration>,
    /// As far as it was read.
    pub(crate) body: Vec<u8>,
    /// Whether the body goes on where nobody reads it any more.
    pub(crate) cut: bool,
    /// Whether the connection cannot be used again.
    pub(crate) closes: bool,
    /// What must not be told of it: words of the receiver get into messages by way of this.
    pub(crate) mask: Mask,
}

impl Answer {
    /// Whether the receiver took the request.
    pub(crate) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body, for who needs all of it.
    pub(crate) fn whole(&self) -> Result<&[u8], String> {
        match self.cut {
            true => Err(format!("its answer is longer than {} bytes", self.body.len())),
            false => Ok(&self.body),
        }
    }

    /// That it may go better later: at once, or when the receiver wants it.
    pub(crate) fn later(&self, told: String) -> SendError {
        match self.retry_after {
            Some(wait) => SendError::Later(told, wait),
            None => SendError::Transient(told),
        }
    }

    /// The beginning of the body, for messages.
    pub(crate) fn excerpt(&self) -> String {
        self.mask.tell(&self.body)
    }

    /// Status, and what else helps, for messages.
    pub(crate) fn told(&self) -> String {
        match (&self.location, self.excerpt()) {
            (Some(place), _) => {
                // Behind the path stands what nobody needs to mend the URL, such as a token.
                let place = place.split(['?', '#']).next().unwrap_or_default();
                let place = self.mask.tell(place.as_bytes());
                format!("{} (to {place}; redirects are not followed)", self.status)
            }
            (None, text) if text.is_empty() => self.status.to_string(),
            (None, text) => format!("{}: {text}", self.status),
        }
    }
}
