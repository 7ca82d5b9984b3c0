// SPDX-License-Identifier: Apache-2.0
//! Cores that this kernel has written, whole, cut off, damaged and compressed.

#[cfg(test)]
mod real;
