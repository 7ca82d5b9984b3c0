// SPDX-License-Identifier: Apache-2.0
//! The functions of C that would load modules of the host, put in place of glibc's in a static program.
//!
//! The linker takes a function from glibc's archive only when nobody else has it, so these win in every
//! program that names this crate. They are exported only where glibc is linked in: a dynamic program
//! (the fuzz targets) has a glibc that fits its host, and a loader that others need.
//!
//! Addresses come from [`Resolver`](crate::Resolver); about users, and about libraries to load, the
//! answer is always that there are none. This module and `sys` are the only places with unsafe code.

mod addrinfo;
mod nameinfo;
mod refused;

pub use addrinfo::{freeaddrinfo, getaddrinfo};
pub use nameinfo::getnameinfo;
pub use refused::{dladdr, dlclose, dlerror, dlopen, dlsym, gethostbyname, getpwnam_r, getpwuid_r};
