// SPDX-License-Identifier: Apache-2.0
//! A session with a toolbox inside a running container, and nothing left behind.
//!
//! Five processes take part. The *client* is the command somebody typed. It starts the *keeper*, which stays
//! on the host, holds the terminal and the session's cgroup, and ends the session when the client is gone.
//! The keeper's child, the *maker*, joins the target's namespaces and builds a root of the session's own in a
//! private copy of the target's mounts. Its child, the *warden*, is in the target's pid namespace and takes in
//! every process that loses its parent there. The warden's child becomes the *program*.
//!
//! Whoever of them is killed, the others see a closed socket and clean up; what is left when several are, the
//! next client collects ([`collect`]). Knows no runtime and no kit file: the caller says which process is the
//! target and which directories to mount. Never prints, never writes into the target.

mod binds;
mod client;
mod devices;
mod error;
mod exe;
mod forward;
pub mod frame;
mod group;
mod handover;
mod keeper;
mod keys;
mod link;
mod modes;
mod outpost;
mod program;
mod relay;
mod rights;
mod root;
mod screen;
mod sealed;
mod sessions;
mod signals;
mod spec;
mod stand;
mod target;
mod terminal;
mod traced;
mod users;
mod warden;
mod witness;

pub use client::{Outcome, PASSED_ON, start};
pub use error::DebugError;
pub use forward::{Forward, NoForward, forward, stay};
pub use keeper::keep;
pub use keys::{DetachKeys, NoKeys};
pub use modes::Modes;
pub use outpost::{ALIVE, Beginning, SILENCE, outpost};
pub use rights::{Capabilities, UnknownCapability};
pub use root::HOME;
pub use sessions::{DIRECTORY, Session, attach, collect, end, is_kept, list};
pub use signals::{Ask, Signals};
pub use spec::{Bind, Failure, Held, Kit, Limits, Source, Spec, Way, Window};
pub use stand::{Layers, Stand, stand, stand_in};
pub use target::{Facts, Target};
pub use terminal::{Raw, is_utf8, wait_for_front};
pub use witness::{Ended, Shown, Witness};

#[cfg(feature = "said")]
pub use said::said;

#[cfg(feature = "said")]
mod said {
    //! Messages between the processes of a session, for bytes that nobody meant.

    use crate::link::{Kind, Link, PAYLOAD_LIMIT, Received};
    use crate::{Beginning, Failure, Session, Spec, Stand, Window};
    use rustix::net::{SendFlags, send};

    /// Hears the bytes as one message, and reads what it carries as all that it may be.
    pub fn said(bytes: &[u8]) {
        let Ok((one, other)) = Link::pair() else { return };
        if bytes.is_empty() || send(&one, bytes, SendFlags::NOSIGNAL).is_err() {
            return;
        }
        let Received::Message(message) = other.take() else { return };
        let payload = message.payload.as_slice();
        assert!(payload.len() <= PAYLOAD_LIMIT && message.descriptors.is_empty());
        match message.kind {
            Kind::Attach | Kind::Resize => {
                let window = Window::from_bytes(payload);
                assert!(window.is_none_or(|window| window.bytes() == payload), "another window");
            }
            Kind::Failed => drop(serde_json::from_slice::<Failure>(payload)),
            Kind::Described => drop(serde_json::from_slice::<Session>(payload)),
            Kind::Start => {
                drop(serde_json::from_slice::<Spec>(payload));
                drop(serde_json::from_slice::<Stand>(payload));
                drop(serde_json::from_slice::<Beginning>(payload));
            }
            _ => {}
        }
    }
}

/// The size of the terminal on standard output; `None` when it is none.
pub fn window() -> Option<Window> {
    terminal::window(rustix::stdio::stdout())
}
