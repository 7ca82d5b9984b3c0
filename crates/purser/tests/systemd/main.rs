// SPDX-License-Identifier: Apache-2.0
//! The finished program as a service of a real systemd, booted from a Debian root in a container.
//! Needs root, gcc, systemd-nspawn and debootstrap. Traces only what the tests themselves start.

#[cfg(test)]
mod life; // the agent: installed, killed, reloaded, restarted, exchanged, stopped, removed
#[cfg(test)]
mod machine; // a systemd that boots, and commands inside
#[cfg(test)]
mod numbered; // numbered executions inside, and which of them are in the record
#[cfg(test)]
mod programs; // other programs as services, of systemd and of SysV scripts
#[cfg(test)]
mod scrapes; // somebody who asks for the agent's health all the time
#[cfg(test)]
mod trouble; // the agent with what people do wrong: its configuration, directories that are missing
