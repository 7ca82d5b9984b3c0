// SPDX-License-Identifier: Apache-2.0
//! What a client and its outpost on another host say to each other, and the processes of a session on this one.
#![no_main]

use debug::frame::{Frames, PAYLOAD_LIMIT, put};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    debug::said(data);
    let Some((step, data)) = data.split_first() else { return };
    let mut frames = Frames::default();
    let (mut used, mut again) = (0, Vec::new());
    for part in data.chunks(usize::from(*step).max(1)) {
        frames.push(part);
        loop {
            match frames.take() {
                Ok(Some(frame)) => {
                    assert!(frame.payload.len() <= PAYLOAD_LIMIT, "a payload beyond the limit");
                    used += 5 + frame.payload.len();
                    put(&mut again, frame.kind, &frame.payload);
                }
                Ok(None) => break,
                Err(_) => {
                    assert_eq!(data.get(..used), Some(&*again), "frames that are others when written");
                    return;
                }
            }
        }
    }
    assert_eq!(data.get(..used), Some(&*again), "frames that are others when written");
});
