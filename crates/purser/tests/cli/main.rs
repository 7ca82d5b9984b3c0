// SPDX-License-Identifier: Apache-2.0
//! The commands as their users meet them: the real program on small stores made here. Nothing
//! in this file needs root, an agent or a kernel feature.

#[cfg(test)]
mod commands;
#[cfg(test)]
mod docker_debug;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod log;
#[cfg(test)]
mod program;
#[cfg(test)]
mod record;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod service;
#[cfg(test)]
mod sink;
