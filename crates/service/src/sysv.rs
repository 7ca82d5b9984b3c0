// SPDX-License-Identifier: Apache-2.0
//! Init scripts in the manner of System V, for any POSIX shell. SysV init does not look after what it
//! has started, so the script has a loop of its own that starts the program again.

use crate::definition::{Definition, Kind};
use crate::installed::header;
use crate::shell::{line, quote};

/// The text of the script.
pub(crate) fn script(definition: &Definition) -> String {
    let directory = definition.working_directory.as_ref().map_or("/".into(), |path| path.to_string_lossy());
    let arguments: Vec<&str> = definition.arguments.iter().map(String::as_str).collect();
    let (reload, stopping, stopped) = hooks(definition);
    let values = [
        ("HEADER", header(definition)),
        ("NAME", definition.name.to_string()),
        ("SHORT", definition.description.clone()),
        ("USER", quote(definition.user.as_deref().unwrap_or_default())),
        ("DIRECTORY", quote(&directory)),
        ("STOPPING", stopping),
        ("STOPPED", stopped),
        ("RELOAD", reload),
        ("PROGRAM", quote(definition.program_text())),
        ("ARGUMENTS", line(&arguments)),
    ];
    fill(TEMPLATE, &values)
}

/// Puts values in place of `@WORD@`, in one pass: nothing in a value is taken for a word.
fn fill(template: &str, values: &[(&str, String)]) -> String {
    let mut parts = template.split('@');
    let mut text = parts.next().unwrap_or_default().to_string();
    let mut after_word = false;
    for part in parts {
        match values.iter().find(|(word, _)| *word == part) {
            Some((_, value)) if !after_word => {
                text.push_str(value);
                after_word = true;
            }
            _ => {
                if !after_word {
                    text.push('@');
                }
                text.push_str(part);
                after_word = false;
            }
        }
    }
    text
}

fn hooks(definition: &Definition) -> (String, String, String) {
    let Kind::Agent(agent) = &definition.kind else {
        return ("kill -HUP \"$(main_pid)\"".to_string(), ":".to_string(), ":".to_string());
    };
    let call = |arguments: &[String]| line(&definition.words_for(arguments));
    let for_good = |arguments: &[String]| format!("{} {}", call(arguments), agent.for_good);
    (call(&agent.reload), for_good(&agent.stopping), for_good(&agent.stopped))
}

/// Words between at signs are put in.
const TEMPLATE: &str = r#"#!/bin/sh
@HEADER@### BEGIN INIT INFO
# Provides:          @NAME@
# Required-Start:    $local_fs $remote_fs
# Required-Stop:     $local_fs $remote_fs
# Should-Start:      $network
# Should-Stop:       $network
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: @SHORT@
### END INIT INFO

name=@NAME@
user=@USER@
directory=@DIRECTORY@
program=@PROGRAM@
pidfile=/run/$name.pid
log=/var/log/$name.log

# When a process was started, in ticks since the boot: with it a number is not taken for another's.
born() {
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20
}

# The loop that starts the program again.
loop_pid() {
    read -r pid since 2>/dev/null <"$pidfile" || return 1
    [ -n "$pid" ] && [ -n "$since" ] && [ "$(born "$pid")" = "$since" ] && echo "$pid"
}

main_pid() {
    cat "/run/$name.main.pid" 2>/dev/null
}

supervise() {
    stopping=
    child=
    trap 'stopping=1; [ -n "$child" ] && kill "$child" 2>/dev/null' TERM
    trap '' HUP
    while [ -z "$stopping" ]; do
        once &
        child=$!
        echo "$child" >"/run/$name.main.pid"
        wait "$child"
        while kill -0 "$child" 2>/dev/null; do wait "$child"; done
        [ -n "$stopping" ] || sleep 1
    done
    rm -f "/run/$name.main.pid" "$pidfile"
}

once() {
    trap - TERM HUP
    cd "$directory" || exit 1
    set -- "$program" @ARGUMENTS@
    if [ -z "$user" ]; then
        exec "$@"
    elif command -v setpriv >/dev/null; then
        exec setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups "$@"
    else
        exec su -s /bin/sh "$user" -c 'exec "$0" "$@"' -- "$@"
    fi
}

start() {
    loop_pid >/dev/null && return 0
    [ -x "$program" ] || { echo "$program is not there or cannot be executed" >&2; return 5; }
    setsid "$0" supervise </dev/null >>"$log" 2>&1 &
    echo "$! $(born $!)" >"$pidfile"
}

stop() {
    pid=$(loop_pid) || return 0
    kill "$pid" 2>/dev/null
    waited=0
    while loop_pid >/dev/null; do
        if [ "$waited" -ge 600 ]; then
            echo "$name does not end: killing it" >&2
            kill -9 "$pid" "$(main_pid)" 2>/dev/null
            break
        fi
        waited=$((waited + 1))
        sleep 0.1
    done
    rm -f "/run/$name.main.pid" "$pidfile"
}

case "$1" in
supervise)
    supervise
    ;;
start)
    start
    ;;
# After a stop nothing is recorded; over a restart the kernel side goes on without the agent.
stop)
    loop_pid >/dev/null && @STOPPING@
    stop && @STOPPED@
    ;;
restart | force-reload)
    stop && start
    ;;
reload)
    @RELOAD@
    ;;
status)
    if loop_pid >/dev/null; then
        echo "running, pid $(main_pid)"
        exit 0
    elif [ -e "$pidfile" ]; then
        echo "dead, although $pidfile is there"
        exit 1
    fi
    echo stopped
    exit 3
    ;;
*)
    echo "usage: $0 {start|stop|restart|force-reload|reload|status}" >&2
    exit 2
    ;;
esac
"#;

#[cfg(test)]
mod tests;
