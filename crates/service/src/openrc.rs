// SPDX-License-Identifier: Apache-2.0
//! Scripts for openrc-run, supervised by supervise-daemon.

use crate::definition::{Definition, Kind};
use crate::error::ServiceError;
use crate::init::Init;
use crate::installed::header;
use crate::shell::{line, quote};

/// The text of the script.
pub(crate) fn script(definition: &Definition) -> Result<String, ServiceError> {
    let program = definition.program_text();
    let directory = definition.working_directory.as_ref().map(|path| path.to_string_lossy());
    // These openrc-run takes apart at spaces, and looks for special characters in them.
    for word in [Some(program), directory.as_deref(), definition.user.as_deref()].into_iter().flatten() {
        if quote(word) != word {
            let what =
                "a program, directory or account with a space or another special character in its name";
            return Err(ServiceError::Unsupported { init: Init::OpenRc.word(), what });
        }
    }
    let arguments: Vec<&str> = definition.arguments.iter().map(String::as_str).collect();
    let mut text = format!("#!/sbin/openrc-run\n{}\n", header(definition));
    let mut set = |name: &str, value: &str| text.push_str(&format!("{name}={}\n", quote(value)));
    set("name", definition.name.as_str());
    set("description", &definition.description);
    set("supervisor", "supervise-daemon");
    set("command", program);
    // openrc-run evaluates this once more, so it holds words that are quoted already.
    set("command_args", &line(&arguments));
    if let Some(user) = &definition.user {
        set("command_user", user);
    }
    if let Some(directory) = &directory {
        set("directory", directory);
    }
    let log = format!("/var/log/{}.log", definition.name);
    set("output_log", &log);
    set("error_log", &log);
    // 0 is "for ever".
    set("respawn_max", "0");
    set("respawn_delay", "1");
    if let Some(user) = &definition.user {
        // The log is opened as that account, which may not make files there.
        text.push_str(&format!("\nstart_pre() {{\n\tcheckpath -f -m 0640 -o {user} {log}\n}}\n"));
    }
    match &definition.kind {
        Kind::Program => text.push_str("\ndepend() {\n\tafter localmount bootmisc\n\tuse net\n}\n"),
        Kind::Agent(agent) => {
            let call = |arguments: &[String], more: &str| {
                format!("{} {more}", line(&definition.words_for(arguments))).trim_end().to_string()
            };
            let (stopping, stopped) =
                (call(&agent.stopping, &agent.for_good), call(&agent.stopped, &agent.for_good));
            text.push_str(&format!(
                "rc_ulimit='-n 65536'\nextra_started_commands=reload\n\n\
                 depend() {{\n\tafter localmount bootmisc\n\tuse net\n\tbefore docker containerd crio podman lxc kubelet\n}}\n\n\
                 # After a stop nothing is recorded; over a restart the kernel side goes on without the agent.\n\
                 stop_pre() {{\n\t[ \"$RC_CMD\" = restart ] || {stopping}\n\treturn 0\n}}\n\n\
                 stop_post() {{\n\t[ \"$RC_CMD\" = restart ] || {stopped}\n\treturn 0\n}}\n\n\
                 reload() {{\n\tebegin \"Reloading $name\"\n\t{}\n\teend $?\n}}\n",
                call(&agent.reload, "")
            ));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::script;
    use crate::definition::tests::{agent, program};
    use std::process::Command;

    #[test]
    fn the_agent() {
        let text = script(&agent()).unwrap();
        let golden = include_str!("../tests/golden/agent.openrc");
        assert_eq!(text, golden, "{text}");
    }

    #[test]
    fn paths_openrc_takes_apart_are_refused() {
        assert!(script(&program()).unwrap_err().to_string().contains("with a space"));
        let mut definition = program();
        definition.program = "/opt/backup".into();
        assert!(script(&definition).unwrap_err().to_string().contains("with a space"), "the directory");
    }

    /// The shell is the judge: it sets the variables, and evaluates the arguments once more.
    #[test]
    fn the_shell_reads_the_arguments_back() {
        let mut definition = program();
        definition.program = "/opt/backup".into();
        definition.working_directory = Some("/srv/backup".into());
        let text = script(&definition).unwrap().replace("#!/sbin/openrc-run", "");
        let code = format!("{text}\neval \"printf '%s\\\\0' $command_args\"");
        let output = Command::new("sh").args(["-c", &code]).output().unwrap();
        let mut wanted = definition.arguments.join("\0");
        wanted.push('\0');
        assert_eq!(String::from_utf8_lossy(&output.stdout), wanted, "{output:?}");
    }
}
