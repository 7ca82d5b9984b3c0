// SPDX-License-Identifier: Apache-2.0
//! The built-in rules by name, and which of them are on. Knows nothing of how they search.

use crate::Error;

/// One built-in rule. The order is the order of [`TABLE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builtin {
    Option,
    Assignment,
    Json,
    Header,
    Url,
    PrivateKey,
    Jwt,
    Aws,
    Github,
    Gitlab,
    Slack,
    Stripe,
    Google,
    Npm,
    Vendor,
    Sql,
    Piped,
    Mysql,
    Mongo,
    Redis,
    Database,
    Sshpass,
    Login,
    Curl,
    Openssl,
    Smb,
    Ldap,
    Htpasswd,
    Rabbitmq,
    Vault,
    Archive,
    Keytool,
    Network,
    Account,
    Cloud,
}

/// Every built-in rule: its variant, its name in the configuration, what it finds.
pub(crate) const TABLE: &[(Builtin, &str, &str)] = &[
    (
        Builtin::Option,
        "option",
        "the value of options such as --password X, --token=X, --api-key X, /password:X",
    ),
    (
        Builtin::Assignment,
        "assignment",
        "NAME=VALUE whose name ends in password, secret, token, api_key …; user:X in *_AUTH, *_CREDS",
    ),
    (
        Builtin::Json,
        "json",
        "\"password\": \"X\", password => \"X\", <password>X</password> in JSON or similar text",
    ),
    (Builtin::Header, "header", "Authorization, Cookie, X-Api-Key and similar HTTP headers"),
    (Builtin::Url, "url", "the password of scheme://user:password@host; of *_PROXY also without a scheme"),
    (Builtin::PrivateKey, "private-key", "the body of PEM private key blocks"),
    (Builtin::Jwt, "jwt", "JSON web tokens: three base64url parts, the first starting with eyJ"),
    (Builtin::Aws, "aws", "the 40 characters of an AWS secret key next to its key id"),
    (Builtin::Github, "github", "GitHub tokens: ghp_, gho_, ghu_, ghs_, ghr_, github_pat_"),
    (Builtin::Gitlab, "gitlab", "GitLab tokens: glpat- and its relatives"),
    (Builtin::Slack, "slack", "Slack tokens: xoxb- and its relatives, xapp-, webhook paths"),
    (Builtin::Stripe, "stripe", "Stripe keys: sk_live_, rk_live_, sk_test_, whsec_"),
    (Builtin::Google, "google", "Google keys: AIza, ya29., GOCSPX-"),
    (Builtin::Npm, "npm", "npm and PyPI tokens: npm_, pypi-"),
    (Builtin::Vendor, "vendor", "tokens of other services that carry a telling prefix"),
    (Builtin::Sql, "sql", "IDENTIFIED BY 'X', PASSWORD 'X' and SET PASSWORD FOR … = 'X' in SQL text"),
    (
        Builtin::Piped,
        "piped",
        "echo USER:X | chpasswd, echo X | sudo -S, passwd --stdin, login --password-stdin; also by <<<; expect … send \"X\"",
    ),
    (Builtin::Mysql, "mysql", "mysql, mysqldump, mariadb …: -pX"),
    (Builtin::Mongo, "mongo", "mongo, mongosh, mongodump …: -p X"),
    (Builtin::Redis, "redis", "redis-cli -a X, auth X"),
    (Builtin::Database, "database", "sqlcmd -P X, cqlsh -p X, sqlplus user/X@db"),
    (Builtin::Sshpass, "sshpass", "sshpass -p X"),
    (Builtin::Login, "login", "docker, podman, helm, oc, az … login -p X; skopeo --creds user:X"),
    (
        Builtin::Curl,
        "curl",
        "curl -u user:X, --proxy, --proxy-user, --cert file:X, --cookie, --oauth2-bearer; http -a user:X",
    ),
    (Builtin::Openssl, "openssl", "openssl -passin pass:X, -k X, passwd X"),
    (Builtin::Smb, "smb", "smbclient -U user%X and its relatives"),
    (Builtin::Ldap, "ldap", "ldapsearch -w X and its relatives"),
    (Builtin::Htpasswd, "htpasswd", "htpasswd -b file user X"),
    (Builtin::Rabbitmq, "rabbitmq", "rabbitmqctl add_user name X, change_password name X"),
    (Builtin::Vault, "vault", "vault login X, unwrap X, operator unseal X"),
    (Builtin::Archive, "archive", "zip -P X, unzip -P X, 7z -pX, rar -hpX"),
    (Builtin::Keytool, "keytool", "keytool -storepass X, ssh-keygen -N X"),
    (
        Builtin::Network,
        "network",
        "nmcli password X, wpa_passphrase, lftp, snmp, ipmitool, mosquitto, rdp, plink -pw X",
    ),
    (Builtin::Account, "account", "useradd -p HASH, usermod -p HASH, mkpasswd X"),
    (
        Builtin::Cloud,
        "cloud",
        "aws configure set, mc alias set, kubectl create secret --from-literal, gh secret",
    ),
];

/// The set of built-in rules that are on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Enabled(u64);

impl Enabled {
    /// All rules, or none, less the disabled ones. An unknown name is an error even when all are off.
    pub(crate) fn new(builtin: bool, disable: &[String]) -> Result<Self, Error> {
        let mut bits = if builtin { u64::MAX } else { 0 };
        for name in disable {
            match TABLE.iter().find(|row| row.1 == name) {
                Some(row) => bits &= !(1 << row.0 as u64),
                None => return Err(Error::UnknownRule { name: name.clone(), nearest: nearest(name) }),
            }
        }
        Ok(Self(bits))
    }

    /// Whether `rule` is on.
    pub(crate) fn has(self, rule: Builtin) -> bool {
        self.0 & (1 << rule as u64) != 0
    }

    /// Whether no built-in rule is on.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

fn nearest(name: &str) -> &'static str {
    TABLE
        .iter()
        .map(|row| row.1)
        .min_by_key(|known| strsim::damerau_levenshtein(known, name))
        .unwrap_or("option")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_in_the_order_of_the_variants_and_fits_the_bits() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.0 as usize, index, "{}", row.1);
        }
        assert!(TABLE.len() <= 64);
    }

    #[test]
    fn nearest_name_is_told() {
        let Err(Error::UnknownRule { nearest, .. }) = Enabled::new(true, &["githb".into()]) else {
            panic!("an unknown name must be refused");
        };
        assert_eq!(nearest, "github");
    }
}
