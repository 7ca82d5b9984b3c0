// SPDX-License-Identifier: Apache-2.0
//! Fixed paths at which libraries look for modules and settings that name modules. In a kit they lead nowhere: what a
//! container has there would be loaded into our programs.

use crate::libc::replace_text;

/// Nothing is there. The second is for texts that are too short for the first; it is a directory without such files.
const NOWHERE: &str = "/dev/.purser/.none";
const NOWHERE_SHORT: &str = "/dev/.purser";

/// Of OpenSSL, GnuTLS, p11-kit, Kerberos, GSS, SASL and OpenLDAP, as Debian builds them.
const PATHS: [&str; 20] = [
    "/usr/lib/ssl",
    "/usr/lib/ssl/openssl.cnf",
    "/usr/lib/ssl/ct_log_list.cnf",
    "/usr/lib/x86_64-linux-gnu/engines-3",
    "/usr/lib/x86_64-linux-gnu/ossl-modules",
    "/etc/gnutls/config",
    "/etc/gnutls/pkcs11.conf",
    "/etc/pkcs11/modules",
    "/etc/pkcs11/pkcs11.conf",
    "/usr/share/p11-kit/modules",
    "/usr/lib/x86_64-linux-gnu/pkcs11",
    "/usr/lib/x86_64-linux-gnu/krb5/plugins",
    "/usr/lib/x86_64-linux-gnu/krb5/plugins/authdata",
    "/usr/lib/x86_64-linux-gnu/krb5/plugins/libkrb5",
    "/usr/lib/x86_64-linux-gnu/gss/",
    "/etc/gss/mech",
    "/etc/gss/mech.d/*.conf",
    "/etc/sasl2:/etc/sasl:/usr/lib/x86_64-linux-gnu/sasl2:/usr/lib/sasl2",
    "/usr/lib/x86_64-linux-gnu/sasl2",
    "/etc/ldap/ldap.conf",
];

/// Makes a program or library look for none of them.
pub(crate) fn patch(bytes: &mut [u8]) {
    for path in PATHS {
        let nowhere = if path.len() < NOWHERE.len() { NOWHERE_SHORT } else { NOWHERE };
        replace_text(bytes, path, nowhere);
    }
}

#[cfg(test)]
mod tests {
    use super::{NOWHERE_SHORT, PATHS, patch};

    #[test]
    fn every_path_has_room() {
        for path in PATHS {
            assert!(path.len() >= NOWHERE_SHORT.len(), "{path}");
            let mut bytes = format!("\0{path}\0").into_bytes();
            patch(&mut bytes);
            assert!(bytes.starts_with(b"\0/dev/.purser"), "{path}");
        }
    }
}
