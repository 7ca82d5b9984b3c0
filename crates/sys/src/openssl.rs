// SPDX-License-Identifier: Apache-2.0
//! OpenSSL without the host's `openssl.cnf`: that file can name libraries to load, and one that was
//! built for another glibc would end a static program.

/// `OPENSSL_INIT_NO_LOAD_CONFIG` of openssl/crypto.h.
const NO_LOAD_CONFIG: u64 = 0x80;

/// Sets OpenSSL up once and for all without its configuration file. To be called before anything
/// else uses OpenSSL: the first one to set it up decides.
pub fn openssl_without_configuration() -> bool {
    // SAFETY: OpenSSL 1.1 and later allow this call at any time and from any thread; the second
    // argument may be null, which means no settings.
    #[expect(unsafe_code, reason = "the safe crate has no way to give this option")]
    unsafe {
        openssl_sys::OPENSSL_init_ssl(NO_LOAD_CONFIG, std::ptr::null()) == 1
    }
}
