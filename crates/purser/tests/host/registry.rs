// SPDX-License-Identifier: Apache-2.0
//! Kits to and from a real registry (distribution), as its users have it: with a password file behind TLS, and with
//! tokens of a server of their own.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::agent::purser;
use crate::debug::Container;

const REGISTRY: &str = "/var/cache/purser-tests/distribution-3.0.0/registry";
const READY_LIMIT: Duration = Duration::from_secs(20);
/// user:hunter2, as htpasswd writes it.
const PASSWORDS: &str = "user:$2b$04$5Ckue8N2CnrIKZqXUP.B.eXXdFJzMGCC59x9MjcouV28g6GyLGKgC\n";
/// A kit of one command.
const RECIPE: &str = include_str!("../../../../tests/tiny.toml");

/// A registry that runs until this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

struct Lab {
    dir: TempDir,
    port: u16,
    _registry: Running,
}

impl Lab {
    /// A registry with these settings, and the kit `tiny` on the shelf `src`.
    fn new(prepare: impl FnOnce(&Path, u16) -> Result<String>) -> Result<Lab> {
        let dir = tempfile::tempdir()?;
        // Free when it is asked for; nobody else on this host takes ports that often.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let more = prepare(dir.path(), port)?;
        let at = dir.path().display();
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {at}/data\n\
             http:\n  addr: 127.0.0.1:{port}\n{more}"
        );
        fs::write(dir.path().join("registry.yml"), text)?;
        fs::write(dir.path().join("tiny.toml"), RECIPE)?;
        let log = fs::File::create(dir.path().join("registry.log"))?;
        let mut command = Command::new(REGISTRY);
        command.arg("serve").arg(dir.path().join("registry.yml")).env("OTEL_TRACES_EXPORTER", "none");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let registry = Running(
            command.spawn().with_context(|| format!("start {REGISTRY}; run cargo xtask setup --tests"))?,
        );
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = fs::read_to_string(dir.path().join("registry.log"))?;
            ensure!(begun.elapsed() < READY_LIMIT, "the registry is not ready: {log}");
            thread::sleep(Duration::from_millis(20));
        }
        let lab = Lab { dir, port, _registry: registry };
        lab.config("")?;
        lab.good(&["kit", "build", "./tiny.toml", "--kits", "src"])?;
        Ok(lab)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn place(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn config(&self, more: &str) -> Result<()> {
        let text = format!("[debug]\nregistry = \"{}/kits\"\n{more}", self.place());
        Ok(fs::write(self.at("purser.toml"), text)?)
    }

    /// The file of logins, `auth` for the registry.
    fn login(&self, auth: &str) -> Result<()> {
        let text = format!(r#"{{"auths": {{"{}": {{"auth": "{auth}"}}}}}}"#, self.place());
        Ok(fs::write(self.at("config.json"), text)?)
    }

    fn purser(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = purser();
        let path = format!("{}:{}", self.dir.path().display(), std::env::var("PATH").unwrap_or_default());
        command.args(arguments).current_dir(self.dir.path()).env("PATH", path);
        command.env("HOME", self.dir.path()).env("DOCKER_CONFIG", self.dir.path());
        command.env_remove("REGISTRY_AUTH_FILE").env_remove("XDG_RUNTIME_DIR");
        Ok(command.output()?)
    }

    fn good(&self, arguments: &[&str]) -> Result<String> {
        let output = self.purser(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {said}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn bad(&self, arguments: &[&str]) -> Result<String> {
        let output = self.purser(arguments)?;
        ensure!(output.status.code() == Some(1), "{arguments:?}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!said.contains("hunter2"), "{said}");
        Ok(said)
    }

    fn push(&self) -> Result<String> {
        self.good(&["kit", "push", "tiny", "--kits", "src", "--config", "purser.toml"])
    }

    const PULL: [&str; 7] = ["kit", "pull", "tiny", "--kits", "shelf", "--config", "purser.toml"];
}

fn openssl(dir: &Path, arguments: &str) -> Result<()> {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output()?;
    ensure!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// An authority, and a certificate of it for this host's loopback address.
fn certificates(dir: &Path) -> Result<()> {
    fs::write(dir.join("names"), "subjectAltName=IP:127.0.0.1\n")?;
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(dir, &format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=test"))?;
    openssl(dir, &format!("req {key} -keyout tls.key -out tls.csr -subj /CN=registry"))?;
    openssl(
        dir,
        "x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out tls.pem",
    )
}

#[test]
fn with_a_password_behind_tls() -> Result<()> {
    let lab = Lab::new(|dir, _| {
        certificates(dir)?;
        fs::write(dir.join("htpasswd"), PASSWORDS)?;
        let at = dir.display();
        Ok(format!(
            "  tls:\n    certificate: {at}/tls.pem\n    key: {at}/tls.key\n\
             auth:\n  htpasswd:\n    realm: test\n    path: {at}/htpasswd\n"
        ))
    })?;
    let push = ["kit", "push", "tiny", "--kits", "src", "--config", "purser.toml"];
    let said = lab.bad(&push)?;
    ensure!(said.contains("certificate is not good") && said.contains("ca in [debug]"), "{said}");
    lab.config(&format!("ca = \"{}\"\n", lab.at("ca.pem").display()))?;
    let said = lab.bad(&push)?;
    ensure!(said.contains("it wants a login") && said.contains("docker login 127.0.0.1"), "{said}");
    // user:wrong
    lab.login("dXNlcjp3cm9uZw==")?;
    let said = lab.bad(&push)?;
    ensure!(said.contains("our login may not"), "{said}");
    // user:hunter2
    lab.login("dXNlcjpodW50ZXIy")?;
    let pushed = lab.push()?;
    ensure!(lab.push()? == pushed, "a second time changes nothing");
    lab.good(&Lab::PULL)?;
    lab.good(&["kit", "verify", "tiny", "--kits", "shelf"])?;
    ensure!(lab.good(&Lab::PULL)?.contains("as before"));

    // What was printed is a whole reference, with the digest that is compared.
    let reference = pushed.lines().last().context("no reference")?.to_string();
    fs::remove_dir_all(lab.at("shelf"))?;
    lab.good(&["kit", "pull", &reference, "--kits", "shelf", "--config", "purser.toml"])?;
    let zeros = format!("{}@sha256:{}", lab.place() + "/kits/tiny", "0".repeat(64));
    let said = lab.bad(&["kit", "pull", &zeros, "--kits", "shelf", "--config", "purser.toml"])?;
    ensure!(said.contains("there is no image sha256:000"), "{said}");

    // The same login in Podman's file.
    fs::rename(lab.at("config.json"), lab.at("auth.json"))?;
    fs::remove_dir_all(lab.at("shelf"))?;
    ensure!(lab.bad(&Lab::PULL)?.contains("it wants a login"));
    fs::create_dir_all(lab.at(".config/containers"))?;
    fs::rename(lab.at("auth.json"), lab.at(".config/containers/auth.json"))?;
    lab.good(&Lab::PULL)?;
    fs::remove_dir_all(lab.at(".config"))?;

    // A helper has the login, and what it is asked for is its own registry's.
    let helper = lab.at("docker-credential-purser-test");
    let script = "#!/bin/sh\nread server; echo \"$1 $server\" >>asked\n\
                  echo '{\"Username\":\"user\",\"Secret\":\"hunter2\"}'\n";
    fs::write(&helper, script)?;
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755))?;
    fs::write(lab.at("config.json"), r#"{"credsStore": "purser-test"}"#)?;
    fs::remove_dir_all(lab.at("shelf"))?;
    lab.good(&Lab::PULL)?;
    ensure!(fs::read_to_string(lab.at("asked"))? == format!("get {}\n", lab.place()));
    Ok(())
}

/// What a host does not have is fetched for a session that wants it, if the configuration says so.
#[test]
fn fetched_for_a_session() -> Result<()> {
    let _lab = crate::lab::Lab::enter()?;
    let lab = Lab::new(|_, _| Ok(String::new()))?;
    // Its shell is the container's: what is a kit's own needs another kit.
    let recipe = RECIPE.replace("#!/bin/sh", "#!/dev/.purser/../../bin/sh");
    fs::write(lab.at("tiny.toml"), &recipe)?;
    lab.good(&["kit", "build", "./tiny.toml", "--kits", "src"])?;
    lab.push()?;
    let target = Container::idle("registry", &[])?;
    let (shelf, store) = (lab.at("shelf").display().to_string(), lab.at("store").display().to_string());
    let common = ["debug", &target.name, "--kits", &shelf, "--store", &store, "--config", "purser.toml"];
    let session = [&common[..], &["--kit", "tiny", "--", "hello"]].concat();
    let never = lab.purser(&session)?;
    let said = String::from_utf8_lossy(&never.stderr).into_owned();
    ensure!(!never.status.success() && said.contains("no kit \"tiny\""), "{said}");
    lab.config("pull = \"missing\"\n")?;
    ensure!(lab.good(&session)? == "hello\n");

    fs::write(lab.at("tiny.toml"), recipe.replace("echo hello", "echo again"))?;
    lab.good(&["kit", "build", "./tiny.toml", "--kits", "src"])?;
    lab.push()?;
    ensure!(lab.good(&session)? == "hello\n", "it is there");
    lab.config("pull = \"always\"\n")?;
    ensure!(lab.good(&session)? == "again\n");
    // Nobody answers there, and what is here serves.
    lab.config("pull = \"always\"\ntimeout_secs = 1\nmirrors = []\n")?;
    let text = fs::read_to_string(lab.at("purser.toml"))?.replace(&lab.place(), "127.0.0.1:1");
    fs::write(lab.at("purser.toml"), text)?;
    let away = lab.purser(&session)?;
    let said = String::from_utf8_lossy(&away.stderr).into_owned();
    ensure!(away.stdout == b"again\n" && said.contains("taking kit tiny as it is here"), "{said}");
    Ok(())
}

/// A key and signature beside the kit, through a registry.
#[test]
fn signed_through_a_registry_without_tls() -> Result<()> {
    let lab = Lab::new(|_, _| Ok(String::new()))?;
    lab.good(&["kit", "key", "ours"])?;
    lab.config(&format!("trust = [\"{}\"]\n", lab.at("ours.pub").display()))?;
    lab.push()?;
    let said = lab.bad(&Lab::PULL)?;
    ensure!(said.contains("nobody has signed it"), "{said}");
    lab.good(&["kit", "sign", "tiny", "--key", "ours", "--kits", "src"])?;
    lab.push()?;
    lab.good(&Lab::PULL)?;
    Ok(())
}

/// Gives tokens to whoever has the password, and notes who was asked for what.
fn token_server(dir: PathBuf) -> Result<(u16, Arc<Mutex<Vec<String>>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&heads);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = vec![0; 16 << 10];
            let count = stream.read(&mut bytes).unwrap_or_default();
            let head = String::from_utf8_lossy(&bytes[..count]).into_owned();
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
            let answer = match head.contains("authorization: Basic dXNlcjpodW50ZXIy") {
                true => token(&dir, &head).map(|token| format!("{{\"token\":\"{token}\"}}")),
                false => Err(anyhow::anyhow!("no login")),
            };
            let (status, body) = match answer {
                Ok(body) => ("200 OK", body),
                Err(_) => ("401 Unauthorized", String::new()),
            };
            // Whoever asked may be gone.
            write!(
                stream,
                "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
            .unwrap_or_default();
        }
    });
    Ok((port, heads))
}

/// A token for what the query asks for, signed by openssl.
fn token(dir: &Path, head: &str) -> Result<String> {
    let query = head.split_once("scope=").context("no scope")?.1;
    let scope = query.split(['&', ' ']).next().unwrap_or_default();
    let scope = scope.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",");
    let [kind, name, actions] = scope.split(':').collect::<Vec<_>>()[..] else {
        bail!("a scope of three parts")
    };
    let actions = actions.split(',').map(|action| format!("\"{action}\"")).collect::<Vec<_>>().join(",");
    let script = format!(
        r#"set -eu
        b() {{ openssl base64 -A | tr '+/' '-_' | tr -d '='; }}
        now=$(date +%s)
        x=$(grep -v CERTIFICATE token.pem | tr -d '\n')
        h=$(printf '{{"typ":"JWT","alg":"RS256","x5c":["%s"]}}' "$x" | b)
        p=$(printf '{{"iss":"test","sub":"user","aud":"registry","exp":%d,"nbf":%d,"iat":%d,"jti":"1","access":[{{"type":"{kind}","name":"{name}","actions":[{actions}]}}]}}' $((now+60)) $((now-10)) "$now" | b)
        s=$(printf '%s.%s' "$h" "$p" | openssl dgst -sha256 -sign token.key | b)
        printf '%s.%s.%s' "$h" "$p" "$s""#
    );
    let output = Command::new("sh").arg("-c").arg(script).current_dir(dir).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn with_tokens() -> Result<()> {
    let mut heads = Arc::default();
    let lab = Lab::new(|dir, _| {
        openssl(
            dir,
            "req -x509 -newkey rsa:2048 -nodes -keyout token.key -out token.pem -days 2 -subj /CN=test",
        )?;
        let (port, asked) = token_server(dir.to_path_buf())?;
        heads = asked;
        let at = dir.display();
        Ok(format!(
            "auth:\n  token:\n    realm: http://127.0.0.1:{port}/token\n    service: registry\n    issuer: test\n    \
             rootcertbundle: {at}/token.pem\n"
        ))
    })?;
    let said = lab.bad(&["kit", "push", "tiny", "--kits", "src", "--config", "purser.toml"])?;
    ensure!(
        said.contains("its token server 127.0.0.1") && said.contains("refuses us without a login"),
        "{said}"
    );
    lab.login("dXNlcjpodW50ZXIy")?;
    lab.push()?;
    lab.good(&Lab::PULL)?;
    let heads: Vec<String> = heads.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // The registry names what it wants in whatever order.
    let asked = |actions: &str| {
        let query = format!("service=registry&scope=repository%3Akits%2Ftiny%3A{actions} ");
        heads.iter().any(|head| head.contains(&query))
    };
    ensure!(asked("pull%2Cpush") || asked("push%2Cpull"), "{heads:?}");
    Ok(())
}
