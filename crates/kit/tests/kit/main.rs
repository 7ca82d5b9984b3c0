// SPDX-License-Identifier: Apache-2.0
//! Kits from real packages of this host's mirror.

#[cfg(test)]
mod real;
