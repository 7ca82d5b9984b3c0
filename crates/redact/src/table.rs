// SPDX-License-Identifier: Apache-2.0
//! The table of commands that carry secrets in short options or positions. Data only.

use crate::command::{Command, Flag, Part, Position, Take};
use crate::rule::Builtin;

const fn flag(flag: &'static str, take: Take, part: Part) -> Flag {
    Flag { flag, take, part, after: "" }
}

const fn login(flag: &'static str, after: &'static str) -> Flag {
    Flag { flag, take: Take::Both, part: Part::Whole, after }
}

const fn place(after: &'static str, nth: usize) -> Position {
    Position { after, nth, part: Part::Whole, letters: "" }
}

const fn command(rule: Builtin, names: &'static [&'static str], options: &'static [Flag]) -> Command {
    Command { rule, names, options, positions: &[], plain: &[], valued: &[], switches: "", leading: false }
}

/// Switches that the clients of OpenLDAP share.
const LDAP_SWITCHES: &str = "xvnZQICMLAutcrNWS";

const COLON: Part = Part::Behind(b':');

/// Programs that run another command given in their arguments.
pub(crate) const WRAPPERS: &[&str] = &[
    "sudo",
    "doas",
    "env",
    "nohup",
    "nice",
    "ionice",
    "timeout",
    "time",
    "xargs",
    "ssh",
    "sshpass",
    "docker",
    "podman",
    "nerdctl",
    "kubectl",
    "oc",
    "crictl",
    "ctr",
    "runc",
    "lxc-attach",
    "lxc",
    "strace",
    "ltrace",
    "chroot",
    "nsenter",
    "unshare",
    "setsid",
    "stdbuf",
    "su",
    "runuser",
    "gosu",
    "su-exec",
    "setpriv",
    "tini",
    "dumb-init",
    "docker-init",
    "catatonit",
    "docker-entrypoint.sh",
    "entrypoint.sh",
    "flock",
    "watch",
    "parallel",
    "sh",
    "bash",
    "dash",
    "ash",
    "zsh",
    "ksh",
    "busybox",
    "python",
    "python3",
    "perl",
    "ruby",
    "node",
    "winpty",
    "unbuffer",
    "script",
    "systemd-run",
    "with-contenv",
    "docker-compose",
    "chpst",
    "s6-setuidgid",
    "aws-vault",
    "catchsegv",
    "find",
    "screen",
    "start-stop-daemon",
];

/// Wrappers that name their command only behind one of these options.
pub(crate) const BEHIND: &[(&[u8], &[&[u8]])] = &[
    (b"find", &[b"-exec", b"-execdir", b"-ok", b"-okdir"]),
    (b"start-stop-daemon", &[b"--exec", b"-x", b"--startas", b"-a"]),
];

/// Options of wrappers whose next word is a name, not a command.
pub(crate) const VALUE_FLAGS: &[&[u8]] = &[
    b"-u",
    b"-g",
    b"-U",
    b"-h",
    b"-l",
    b"-F",
    b"-c",
    b"--user",
    b"--group",
    b"--name",
    b"--hostname",
    b"--network",
    b"--net",
    b"--network-alias",
    b"--link",
    b"--namespace",
    b"--container",
    b"--label",
    b"--volumes-from",
    b"--entrypoint",
    b"--unit",
    b"--context",
    b"--service",
];

/// Every command with a rule.
pub(crate) const COMMANDS: &[Command] = &[
    Command {
        plain: &["--password", "--pass"],
        switches: "BNs",
        ..command(
            Builtin::Mysql,
            &[
                "mysql",
                "mysqldump",
                "mysqladmin",
                "mysqlimport",
                "mysqlshow",
                "mysqlcheck",
                "mysqlsh",
                "mysqlslap",
                "mysqlbinlog",
                "mysqlpump",
                "mysql_upgrade",
                "mariadb",
                "mariadb-dump",
                "mariadb-admin",
                "mariadb-import",
                "mariadb-show",
                "mariadb-check",
                "mariadb-binlog",
                "mariabackup",
                "xtrabackup",
                "mydumper",
                "myloader",
                "mycli",
            ],
            &[flag("-p", Take::Attached, Part::Whole), flag("password", Take::Next, Part::Whole)],
        )
    },
    Command {
        plain: &["--password"],
        ..command(
            Builtin::Database,
            &[
                "psql",
                "pg_dump",
                "pg_dumpall",
                "pg_restore",
                "pg_basebackup",
                "createdb",
                "dropdb",
                "createuser",
                "vacuumdb",
                "pg_isready",
            ],
            &[],
        )
    },
    command(
        Builtin::Mongo,
        &[
            "mongo",
            "mongosh",
            "mongodump",
            "mongorestore",
            "mongoexport",
            "mongoimport",
            "mongostat",
            "mongotop",
        ],
        &[flag("-p", Take::Both, Part::Whole)],
    ),
    Command {
        positions: &[place("auth", 1), place("auth", 2)],
        ..command(
            Builtin::Redis,
            &["redis-cli", "valkey-cli", "keydb-cli", "redis-benchmark"],
            &[flag("-a", Take::Next, Part::Whole), flag("requirepass", Take::Next, Part::Whole)],
        )
    },
    command(
        Builtin::Database,
        &["sqlcmd", "bcp", "isql", "tsql", "osql"],
        &[flag("-P", Take::Both, Part::Whole)],
    ),
    command(Builtin::Database, &["cqlsh", "hdbsql"], &[flag("-p", Take::Both, Part::Whole)]),
    Command {
        positions: &[Position { after: "", nth: 1, part: Part::Slashed, letters: "" }],
        ..command(Builtin::Database, &["sqlplus", "rman", "expdp", "impdp", "sqlldr"], &[])
    },
    Command {
        leading: true,
        ..command(Builtin::Sshpass, &["sshpass"], &[flag("-p", Take::Both, Part::Whole)])
    },
    Command {
        plain: &["--secret"],
        ..command(
            Builtin::Login,
            &["docker", "podman", "nerdctl", "buildah", "docker-compose"],
            &[login("-p", "login"), flag("--creds", Take::Next, COLON)],
        )
    },
    command(
        Builtin::Login,
        &["skopeo", "helm", "oras", "crane", "cosign", "az", "cf", "ibmcloud", "argocd", "rancher"],
        &[
            login("-p", "login"),
            flag("--creds", Take::Next, COLON),
            flag("--src-creds", Take::Next, COLON),
            flag("--dest-creds", Take::Next, COLON),
        ],
    ),
    Command {
        switches: "#0123461aBfgGiIjJklLMnNOpqRsSvVZ:",
        ..command(
            Builtin::Curl,
            &["curl"],
            &[
                flag("-x", Take::Both, Part::Proxy),
                flag("--proxy", Take::Next, Part::Proxy),
                flag("--preproxy", Take::Next, Part::Proxy),
                flag("-E", Take::Both, Part::Certificate),
                flag("--cert", Take::Next, Part::Certificate),
                flag("--proxy-cert", Take::Next, Part::Certificate),
                flag("-u", Take::Both, COLON),
                flag("--user", Take::Next, COLON),
                flag("-U", Take::Both, COLON),
                flag("--proxy-user", Take::Next, COLON),
                flag("--oauth2-bearer", Take::Next, Part::Whole),
                flag("-b", Take::Both, Part::Cookies),
                flag("--cookie", Take::Next, Part::Cookies),
            ],
        )
    },
    command(
        Builtin::Curl,
        &["http", "https", "xh", "xhs"],
        &[flag("-a", Take::Both, COLON), flag("--auth", Take::Next, COLON)],
    ),
    command(Builtin::Curl, &["ab"], &[flag("-A", Take::Both, COLON), flag("-P", Take::Both, COLON)]),
    Command {
        positions: &[place("passwd", 1)],
        valued: &["-salt", "-in", "-out", "-engine", "-provider", "-rand"],
        plain: &["-pass", "-password", "--password", "--pass"],
        ..command(
            Builtin::Openssl,
            &["openssl"],
            &[
                flag("-passin", Take::Next, Part::PassSource),
                flag("-passout", Take::Next, Part::PassSource),
                flag("-pass", Take::Next, Part::PassSource),
                flag("-password", Take::Next, Part::PassSource),
                flag("-passwd", Take::Next, Part::PassSource),
                flag("-k", Take::Next, Part::Whole),
                flag("-K", Take::Next, Part::Whole),
            ],
        )
    },
    command(
        Builtin::Smb,
        &["smbclient", "rpcclient", "smbget", "net", "smbcacls", "smbcquotas", "winexe", "smbmap", "wmic"],
        &[flag("-U", Take::Both, Part::Behind(b'%')), flag("--user", Take::Next, Part::Behind(b'%'))],
    ),
    Command {
        switches: LDAP_SWITCHES,
        ..command(
            Builtin::Ldap,
            &[
                "ldapsearch",
                "ldapadd",
                "ldapmodify",
                "ldapdelete",
                "ldapwhoami",
                "ldapcompare",
                "ldapmodrdn",
                "ldapexop",
            ],
            &[flag("-w", Take::Both, Part::Whole)],
        )
    },
    Command {
        switches: LDAP_SWITCHES,
        ..command(
            Builtin::Ldap,
            &["ldappasswd"],
            &[
                flag("-w", Take::Both, Part::Whole),
                flag("-s", Take::Both, Part::Whole),
                flag("-a", Take::Both, Part::Whole),
            ],
        )
    },
    command(Builtin::Ldap, &["slappasswd"], &[flag("-s", Take::Both, Part::Whole)]),
    Command {
        positions: &[
            Position { after: "", nth: 3, part: Part::Whole, letters: "b" },
            Position { after: "", nth: 2, part: Part::Whole, letters: "nb" },
        ],
        valued: &["-C", "-r"],
        switches: "bcnBmsdpDvi25",
        ..command(Builtin::Htpasswd, &["htpasswd"], &[])
    },
    Command {
        positions: &[place("add_user", 2), place("change_password", 2), place("authenticate_user", 2)],
        ..command(Builtin::Rabbitmq, &["rabbitmqctl"], &[])
    },
    command(Builtin::Rabbitmq, &["rabbitmqadmin"], &[flag("-p", Take::Both, Part::Whole)]),
    Command {
        positions: &[place("login", 1), place("unwrap", 1), place("unseal", 1)],
        valued: &["-method", "-path", "-address", "-namespace", "-format", "-field"],
        ..command(Builtin::Vault, &["vault", "bao"], &[])
    },
    Command {
        switches: "0123456789ACDFJLMTVXZabcefgjklmnopqruvy",
        ..command(Builtin::Archive, &["zip", "unzip", "zipcloak"], &[flag("-P", Take::Both, Part::Whole)])
    },
    command(
        Builtin::Archive,
        &["7z", "7za", "7zr", "7zz", "rar", "unrar"],
        &[flag("-p", Take::Attached, Part::Whole), flag("-hp", Take::Attached, Part::Whole)],
    ),
    command(
        Builtin::Keytool,
        &["keytool", "jarsigner", "apksigner"],
        &[
            flag("-storepass", Take::Next, Part::Whole),
            flag("-keypass", Take::Next, Part::Whole),
            flag("-srcstorepass", Take::Next, Part::Whole),
            flag("-deststorepass", Take::Next, Part::Whole),
            flag("-srckeypass", Take::Next, Part::Whole),
            flag("-destkeypass", Take::Next, Part::Whole),
            flag("-new", Take::Next, Part::Whole),
        ],
    ),
    command(
        Builtin::Keytool,
        &["ssh-keygen"],
        &[flag("-N", Take::Both, Part::Whole), flag("-P", Take::Both, Part::Whole)],
    ),
    command(
        Builtin::Network,
        &["nmcli"],
        &[
            flag("password", Take::Next, Part::Whole),
            flag("wifi-sec.psk", Take::Next, Part::Whole),
            flag("802-11-wireless-security.psk", Take::Next, Part::Whole),
        ],
    ),
    Command { positions: &[place("", 2)], ..command(Builtin::Network, &["wpa_passphrase"], &[]) },
    command(Builtin::Network, &["lftp"], &[flag("-u", Take::Both, Part::Behind(b','))]),
    command(Builtin::Network, &["ncftp", "ncftpget", "ncftpput"], &[flag("-p", Take::Both, Part::Whole)]),
    command(
        Builtin::Network,
        &["snmpget", "snmpwalk", "snmpset", "snmpbulkwalk", "snmpgetnext", "snmptable", "snmptrap"],
        &[
            flag("-c", Take::Both, Part::Whole),
            flag("-A", Take::Next, Part::Whole),
            flag("-X", Take::Next, Part::Whole),
        ],
    ),
    command(
        Builtin::Network,
        &["ipmitool", "mosquitto_pub", "mosquitto_sub", "mosquitto_rr"],
        &[flag("-P", Take::Next, Part::Whole)],
    ),
    command(
        Builtin::Network,
        &["xfreerdp", "xfreerdp3", "wlfreerdp", "sdl-freerdp"],
        &[flag("/p:", Take::Attached, Part::Whole)],
    ),
    command(
        Builtin::Network,
        &["rdesktop", "hydra", "crackmapexec", "netexec", "nxc", "evil-winrm", "twine"],
        &[flag("-p", Take::Both, Part::Whole)],
    ),
    command(Builtin::Database, &["etcdctl"], &[flag("--user", Take::Next, COLON)]),
    Command {
        switches: "mMrNolU",
        ..command(
            Builtin::Account,
            &["useradd", "usermod", "groupadd"],
            &[flag("-p", Take::Both, Part::Whole)],
        )
    },
    command(Builtin::Network, &["plink", "pscp", "psftp"], &[flag("-pw", Take::Next, Part::Whole)]),
    Command {
        positions: &[place("", 1)],
        valued: &["-m", "-S", "-R", "-P", "--method", "--salt", "--rounds", "--password-fd"],
        ..command(Builtin::Account, &["mkpasswd"], &[])
    },
    command(
        Builtin::Cloud,
        &["aws"],
        &[
            flag("aws_secret_access_key", Take::Next, Part::Whole),
            flag("aws_session_token", Take::Next, Part::Whole),
        ],
    ),
    Command { positions: &[place("set", 4), place("add", 4)], ..command(Builtin::Cloud, &["mc"], &[]) },
    command(
        Builtin::Cloud,
        &["kubectl", "oc"],
        &[
            Flag { flag: "--from-literal", take: Take::Next, part: Part::Behind(b'='), after: "secret" },
            login("-p", "login"),
        ],
    ),
    command(
        Builtin::Cloud,
        &["gh"],
        &[
            Flag { flag: "--body", take: Take::Next, part: Part::Whole, after: "secret" },
            Flag { flag: "-b", take: Take::Both, part: Part::Whole, after: "secret" },
        ],
    ),
];
