// SPDX-License-Identifier: Apache-2.0
//! For fuzzing only (feature `answers`): reads what receivers say, without a receiver.

use crate::elastic::fates;
use crate::http::{Answer, parse};
use crate::otlp::rejected;

/// An answer of HTTP at the start of `input`: status and body. `None` when it is not whole yet.
///
/// # Errors
/// Why it can be none.
pub fn http(input: &[u8], closed: bool) -> Result<Option<(u16, Vec<u8>)>, String> {
    Ok(parse(input, closed)?.map(|answer| (answer.status, answer.body)))
}

/// The answer to `_bulk` with `count` documents: the reason the receiver gives for each.
///
/// # Errors
/// Why it can be none.
pub fn bulk(body: &[u8], count: usize) -> Result<Vec<String>, String> {
    Ok(fates(&said(body), count)?.into_iter().map(|item| item.reason).collect())
}

/// The answer to log records: how many were refused, and the reason.
///
/// # Errors
/// Why it can be none.
pub fn logs(body: &[u8]) -> Result<Option<(u64, String)>, String> {
    Ok(rejected(&said(body))?.map(|rejected| (rejected.count, rejected.reason)))
}

fn said(body: &[u8]) -> Answer {
    Answer { body: body.to_vec(), ..Answer::default() }
}
