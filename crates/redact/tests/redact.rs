// SPDX-License-Identifier: Apache-2.0
//! The list of real-shaped cases, and what must hold for any bytes.

use redact::{Error, Redactor, Rule, Rules};

struct Case {
    name: String,
    args: Vec<Vec<u8>>,
    expected: Option<Vec<Vec<u8>>>,
}

fn array(json: &str) -> Vec<Vec<u8>> {
    let words: Vec<String> = serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"));
    words.into_iter().map(String::into_bytes).collect()
}

fn cases() -> Vec<Case> {
    let lines: Vec<&str> = include_str!("cases.txt")
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    assert_eq!(lines.len() % 3, 0, "three lines a case");
    let case = |lines: &[&str]| Case {
        name: lines[0].to_owned(),
        args: array(lines[1]),
        expected: (lines[2] != "same").then(|| array(lines[2])),
    };
    lines.chunks(3).map(case).collect()
}

fn redactor() -> Redactor {
    Redactor::new(&Rules::default()).expect("the built-in rules compile")
}

fn shown(args: &[Vec<u8>]) -> Vec<String> {
    args.iter().map(|arg| arg.escape_ascii().to_string()).collect()
}

#[test]
fn every_case_of_the_list_holds() {
    let redactor = redactor();
    let cases = cases();
    let same = cases.iter().filter(|case| case.expected.is_none()).count();
    assert!(cases.len() >= 150, "only {} cases", cases.len());
    assert!(same * 2 >= cases.len(), "only {same} of {} must not match", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let mut args = case.args.clone();
        let count = redactor.args(b"", &mut args);
        let expected = case.expected.as_ref().unwrap_or(&case.args);
        if &args != expected || (count == 0) != case.expected.is_none() {
            wrong.push(format!("{}:\n  is   {:?}\n  want {:?}", case.name, shown(&args), shown(expected)));
        }
        let once = args.clone();
        assert_eq!(redactor.args(b"", &mut args), 0, "{}: a second run changes something", case.name);
        assert_eq!(args, once);
    }
    assert!(wrong.is_empty(), "{} of {} cases are wrong\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn every_case_of_the_lines_holds() {
    let redactor = redactor();
    let text =
        |json: &str| serde_json::from_str::<String>(json).unwrap_or_else(|error| panic!("{json}: {error}"));
    let rows = include_str!("lines.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let rows: Vec<&str> = rows.collect();
    assert!(rows.len().is_multiple_of(3) && rows.len() / 3 >= 40, "three lines a case");
    let mut wrong = Vec::new();
    for row in rows.chunks(3) {
        let before = text(row[1]);
        let expected = if row[2] == "same" { before.clone() } else { text(row[2]) };
        let mut line = before.into_bytes();
        let count = redactor.line(&mut line);
        let is = String::from_utf8(line.clone()).unwrap();
        if is != expected || (count == 0) != (row[2] == "same") {
            wrong.push(format!("{}:\n  is   {is:?}\n  want {expected:?}", row[0]));
        }
        assert_eq!(redactor.line(&mut line), 0, "{}: a second run changes something", row[0]);
    }
    assert!(wrong.is_empty(), "{} cases are wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn fields_of_lines_go_by_name_or_by_what_they_hold() {
    let redactor = redactor();
    let run = |name: &str, value: &str| {
        let mut value = value.as_bytes().to_vec();
        redactor.field(name.as_bytes(), &mut value);
        String::from_utf8(value).unwrap()
    };
    assert_eq!(run("db_password", "p w"), "[redacted:3]");
    assert_eq!(run("msg", "token=abc ok"), "token=[redacted:3] ok");
    assert_eq!(run("url", "https://a:bc@h/"), "https://a:[redacted:2]@h/");
    for (name, value) in
        [("msg", "served"), ("password", ""), ("password", "[redacted:3]"), ("token_ttl", "5m")]
    {
        assert_eq!(run(name, value), value, "{name}");
    }
    let none = Redactor::new(&Rules { builtin: false, ..Rules::default() }).unwrap();
    let mut line = b"password=hunter2".to_vec();
    assert_eq!(none.line(&mut line), 0);
}

#[test]
fn every_rule_is_needed_by_some_case() {
    let cases = cases();
    for (name, _) in Redactor::names() {
        let rules = Rules { disable: vec![name.to_owned()], ..Rules::default() };
        let redactor = Redactor::new(&rules).unwrap();
        let differs = cases.iter().any(|case| {
            let mut args = case.args.clone();
            redactor.args(b"", &mut args);
            Some(&args) != case.expected.as_ref().or(Some(&case.args))
        });
        assert!(differs, "no case fails without the rule {name}");
    }
}

#[test]
fn names_are_unique_and_told_in_the_docs() {
    let docs = include_str!("../src/lib.rs");
    let names: Vec<&str> = Redactor::names().map(|row| row.0).collect();
    for name in &names {
        assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{name}");
        assert!(docs.contains(&format!("`{name}`")), "{name} is missing in the docs of the crate");
    }
}

#[test]
fn environment_values_go_by_name_or_by_what_they_hold() {
    let redactor = redactor();
    let run = |name: &str, value: &str| {
        let mut value = value.as_bytes().to_vec();
        redactor.env(name.as_bytes(), &mut value);
        String::from_utf8(value).unwrap()
    };
    assert_eq!(run("DB_PASSWORD", "p w;x"), "[redacted:5]");
    assert_eq!(run("GITHUB_TOKEN", "abc"), "[redacted:3]");
    assert_eq!(run("AWS_SECRET_ACCESS_KEY", "abc/def"), "[redacted:7]");
    assert_eq!(run("MYSQL_PWD", "abc"), "[redacted:3]");
    assert_eq!(run("DATABASE_URL", "postgres://a:bc@h/d"), "postgres://a:[redacted:2]@h/d");
    assert_eq!(run("JAVA_OPTS", "-Xmx1g -Ddb.password=abc -Dx=1"), "-Xmx1g -Ddb.password=[redacted:3] -Dx=1");
    assert_eq!(run("http_proxy", r"http://DOM\u:hun/te @r2@p:1/"), r"http://DOM\u:[redacted:10]@p:1/");
    assert_eq!(run("ALL_PROXY", "u:hunter2@proxy:3128"), "u:[redacted:7]@proxy:3128");
    for password in ["a/b", "a?b", "a#b", "a\"b", "a'b", "a<b", "a>b", "a b", "a@b", "a:b"] {
        let value = format!("http://u:{password}@p:1");
        assert_eq!(run("HTTPS_PROXY", &value), "http://u:[redacted:3]@p:1", "{value}");
    }
    assert_eq!(run("DB_PW", "abc"), "[redacted:3]");
    assert_eq!(run("NEO4J_AUTH", "neo4j/abc"), "neo4j/[redacted:3]");
    assert_eq!(run("REGISTRY_CREDS", "bob:abc"), "bob:[redacted:3]");
    assert_eq!(run("FERNET_KEY", "abc"), "[redacted:3]");
    for (name, value) in [
        ("HTTP_PROXY", "http://proxy:3128"),
        ("NO_PROXY", "localhost,.example.com"),
        ("SMTP_AUTH", "login"),
        ("X_AUTH", "https://auth.example.com"),
        ("ALL_PROXY", "u:[redacted:7]@proxy:3128"),
        ("PWD", "/srv"),
        ("OLDPWD", "/srv"),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/etc/key.json"),
        ("MYSQL_PASSWORD_FILE", "/run/secrets/pw"),
        ("MYSQL_ALLOW_EMPTY_PASSWORD", "yes"),
        ("TOKEN_TTL", "5m"),
        ("GPG_KEY", "E3FF2839C048B25C084DEBE9B26995E310250568"),
        ("PATH", "/usr/bin:/bin"),
        ("DB_PASSWORD", ""),
        ("DB_PASSWORD", "[redacted:5]"),
    ] {
        assert_eq!(run(name, value), value, "{name}");
    }
}

#[test]
fn extra_rules_serve_their_commands_only() {
    let extra = vec![
        Rule { name: "badge".into(), pattern: r"badge-(?<secret>\d+)".into(), commands: Vec::new() },
        Rule { name: "pin".into(), pattern: r"^pin(\d+)$".into(), commands: vec!["gate".into()] },
    ];
    let redactor = Redactor::new(&Rules { builtin: false, extra, ..Rules::default() }).unwrap();
    let mut args = array(r#"["/bin/gate", "pin1234", "badge-77", "--password=x"]"#);
    assert_eq!(redactor.args(b"", &mut args), 2);
    assert_eq!(shown(&args), ["/bin/gate", "pin[redacted:4]", "badge-[redacted:2]", "--password=x"]);
    let mut other = array(r#"["door", "pin1234"]"#);
    assert_eq!(redactor.args(b"", &mut other), 0);
    let mut value = b"badge-123".to_vec();
    assert_eq!(redactor.env(b"X", &mut value), 1);
    assert_eq!(value, b"badge-[redacted:3]");
}

#[test]
fn bad_rules_are_refused_with_their_name() {
    let with = |pattern: &str| {
        let extra = vec![Rule { name: "mine".into(), pattern: pattern.into(), commands: Vec::new() }];
        Redactor::new(&Rules { extra, ..Rules::default() }).unwrap_err()
    };
    assert!(matches!(with("("), Error::Pattern { name, .. } if name == "mine"));
    assert!(matches!(with("x*"), Error::MatchesNothing { name } if name == "mine"));
    assert!(matches!(with("(?:a{1000}){1000}"), Error::Pattern { .. }));
    let rules = Rules { disable: vec!["gitlap".into()], ..Rules::default() };
    let error = Redactor::new(&rules).unwrap_err().to_string();
    assert!(error.contains("\"gitlab\""), "{error}");
    let extra = vec![Rule { name: "many".into(), pattern: "x".into(), ..Rule::default() }; 65];
    assert!(matches!(Redactor::new(&Rules { extra, ..Rules::default() }), Err(Error::TooMany { .. })));
}

#[test]
fn the_executable_names_the_command_when_argv0_does_not() {
    let redactor = redactor();
    let mut args = array(r#"["renamed", "-psecret"]"#);
    assert_eq!(redactor.args(b"/usr/bin/mysql", &mut args), 1);
    assert_eq!(shown(&args), ["renamed", "-p[redacted:6]"]);
    assert_eq!(redactor.args(b"/usr/bin/mysql", &mut Vec::new()), 0);
}

#[test]
fn bytes_that_are_no_text_are_kept_and_searched() {
    let redactor = redactor();
    let mut args = vec![b"app".to_vec(), b"\xff\xfe--x".to_vec(), b"--password=\xff\x00\xfe".to_vec()];
    assert_eq!(redactor.args(b"", &mut args), 1);
    assert_eq!(args[1], b"\xff\xfe--x");
    assert_eq!(args[2], b"--password=[redacted:3]");
}

/// A small generator with a fixed course, so that a failure can be repeated.
struct Course(u64);

impl Course {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits fit") % below
    }
}

const PIECES: &[&str] = &[
    "password",
    "--password",
    "=",
    ":",
    " ",
    "'",
    "\"",
    "\\\"",
    "\\",
    "$",
    "${",
    "}",
    "$(",
    ")",
    "`",
    "&",
    ";",
    "|",
    ",",
    "mysql -p",
    "curl -u ",
    "a:b",
    "://",
    "@",
    "/",
    "token",
    "Authorization: Bearer ",
    "authorization:",
    "Cookie:",
    "[redacted:5]",
    "[redacted:",
    "]",
    "-----BEGIN PRIVATE KEY-----",
    "-----END",
    "eyJhbGciOiJI.abcdefgh.abcdefgh",
    "sh",
    "-c",
    "\n",
    "x",
    "secret",
    "docker",
    "exec",
    "login",
    "-p",
    "echo ",
    "| chpasswd",
    "identified by '",
    "\u{e9}",
    "{",
    "api_key",
    "pass",
    "ghp_0123456789012345678901234567890123",
    "X-Api-Key: ",
    "redis-cli",
    "auth",
    "sshpass",
    "openssl",
    "-passin",
    "pass:",
    "\"token\": ",
    "_pwd",
    "sudo",
    "hunter2",
    "***",
    "<",
    ">",
    "%",
    "--",
    "_proxy=",
    "_auth",
    "=>",
    "</",
    "<<<",
    "expect \"",
    "send \"",
    "find",
    "-exec",
    "$'",
    "password e'",
    "''",
];

#[test]
fn any_bytes_keep_the_invariants() {
    let redactor = redactor();
    let mut course = Course(20_260_101);
    for round in 0..60_000 {
        let mut args: Vec<Vec<u8>> = Vec::new();
        for _ in 0..course.next(6) {
            let mut arg = Vec::new();
            for _ in 0..course.next(9) {
                match course.next(12) {
                    0 => arg.push(u8::try_from(course.next(256)).unwrap()),
                    _ => arg.extend_from_slice(PIECES[course.next(PIECES.len())].as_bytes()),
                }
            }
            args.push(arg);
        }
        let before = args.clone();
        let count = redactor.args(b"", &mut args);
        assert_eq!(args.len(), before.len());
        assert_eq!(count == 0, args == before, "round {round}: {:?}", shown(&before));
        let once = args.clone();
        assert_eq!(
            redactor.args(b"", &mut args),
            0,
            "round {round}: {:?} then {:?}",
            shown(&before),
            shown(&once)
        );
        assert_eq!(args, once);
        let mut line = before.join(&b' ');
        redactor.line(&mut line);
        assert_eq!(redactor.line(&mut line), 0, "round {round}: {}", before.join(&b' ').escape_ascii());
        let mut value = before.concat();
        redactor.env(b"X", &mut value);
        assert_eq!(redactor.env(b"X", &mut value), 0, "round {round}: {}", before.concat().escape_ascii());
    }
}

#[test]
fn hostile_command_lines_end_and_hide_what_they_hold() {
    let redactor = redactor();
    let repeat = |text: &str| text.repeat((2 << 20) / text.len()).into_bytes();
    for text in [
        "a",
        " ",
        "password",
        "password=",
        "password=$(",
        "--password ",
        "secret=id=",
        "authorization: $(",
        "://",
        "://a:b@",
        "://a:",
        "\"",
        "'\\'\"",
        "\"\\",
        "token=\"",
        "token='$x' ",
        "cookie: ",
        "eyJ.",
        "-----BEGIN PRIVATE KEY-----",
        "mysql -p",
        "sudo docker ",
        "echo x | ",
        "sh -c '",
        "[redacted:1]",
        "password [redacted:1]=",
        "AKIA",
        "identified ",
        "identified by '",
        "set password for ",
        "password $",
        "password:\" send \"",
        "<password>",
        "password => ",
        "chpasswd <<<",
        "_proxy=u:",
        "find -exec ",
        "\"password\":",
        "X-Api-Key: $a ",
    ] {
        let mut args = vec![b"sh".to_vec(), b"-c".to_vec(), repeat(text)];
        redactor.args(b"", &mut args);
        redactor.line(&mut repeat(text));
        let mut word = vec![b"app".to_vec(), repeat(text)];
        redactor.args(b"", &mut word);
        assert_eq!((args.len(), word.len()), (3, 2));
    }
    let mut late = repeat("abc ");
    late.extend_from_slice(b" --password=hunter2");
    let mut args = vec![b"app".to_vec(), late];
    assert_eq!(redactor.args(b"", &mut args), 1);
    assert!(args[1].ends_with(b"--password=[redacted:7]"));
    for word in ["docker", "--password", "-p", "mysql", "sudo"] {
        let mut args = vec![word.as_bytes().to_vec(); 100_000];
        redactor.args(b"", &mut args);
        assert_eq!(args.len(), 100_000);
    }
}
