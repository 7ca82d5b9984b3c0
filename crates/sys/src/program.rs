// SPDX-License-Identifier: Apache-2.0
//! Running a BPF program of type syscall by its descriptor. libbpf-rs does it only for programs of an
//! object that was opened, which takes longer than everything else in a start.

use libbpf_sys::{bpf_prog_test_run_opts, bpf_test_run_opts};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Runs `program` once with `context`, into which it may write.
///
/// # Errors
/// What the kernel says.
pub fn run_program(program: BorrowedFd<'_>, context: &mut [u8]) -> io::Result<()> {
    let mut options = bpf_test_run_opts {
        sz: size_of::<bpf_test_run_opts>() as libbpf_sys::size_t,
        ctx_in: context.as_mut_ptr().cast(),
        ctx_size_in: u32::try_from(context.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        ..bpf_test_run_opts::default()
    };
    // SAFETY: the options are a whole structure of the size they name. The kernel reads and writes
    // `ctx_size_in` bytes at `ctx_in`, which are those of `context`, borrowed for as long as the call lasts.
    #[expect(unsafe_code, reason = "the safe crate wants an opened object")]
    let result = unsafe { bpf_prog_test_run_opts(program.as_raw_fd(), &raw mut options) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
