// SPDX-License-Identifier: Apache-2.0
//! A session as somebody at a terminal has it: the terminal is the target's, keys and sizes arrive, leaving
//! and coming back works, and the own terminal is what it was afterwards, whatever happened.

mod codes; // every exit code and every signal
mod jobs; // what a shell in the session does with its jobs
mod keys; // the keys that leave, in every way to write and to type them
mod killed; // whoever is killed, the terminal is put back
mod odd; // terminals that vanish, odd names and sizes, much that is typed
mod person; // who sits at the terminal
mod sizes; // sizes, also while much is shown
mod stopped; // a client that is stopped, or in the background
mod streams; // a terminal on one side only

pub(super) use person::Person;

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Container, debug, marks, nothing_is_left};
use crate::agent::purser;
use crate::lab::{Lab, run};

/// A turn in the lab and a container that does nothing. Tests that wait for their turn share it: to start one takes longer
/// than most of them.
struct Turn {
    target: Option<Arc<Container>>,
    _lab: Lab,
}

/// How many want it, and the container.
static SHARED: Mutex<(usize, Option<Arc<Container>>)> = Mutex::new((0, None));

impl Turn {
    fn take() -> Result<Turn> {
        SHARED.lock().unwrap_or_else(PoisonError::into_inner).0 += 1;
        let mut turn = Turn { _lab: Lab::enter().inspect_err(|_| give_up())?, target: None };
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.1.is_none() {
            // The lock is not held when it fails: giving up needs it.
            let made = Container::idle("terminal", &[]);
            match made {
                Ok(made) => shared.1 = Some(Arc::new(made)),
                Err(error) => {
                    drop(shared);
                    return Err(error);
                }
            }
        }
        turn.target = shared.1.clone();
        drop(shared);
        Ok(turn)
    }

    fn target(&self) -> Result<&Container> {
        self.target.as_deref().context("no container")
    }

    fn name(&self) -> Result<&str> {
        Ok(&self.target()?.name)
    }
}

fn give_up() {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.0 -= 1;
    if shared.0 == 0 {
        shared.1 = None;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        give_up();
    }
}

fn sessions(target: &str) -> Result<Vec<Value>> {
    let text = run(purser().args(["debug", "sessions", "-o", "json"]))?;
    let all = text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
    Ok(all.into_iter().filter(|one| one["target"] == target).collect())
}

fn begin(target: &Container) -> Result<Person> {
    let mut person = Person::at(debug(&target.name, &[], &["sh"])?)?;
    person.sees("# ")?;
    ensure!(!person.is_cooked()?, "the terminal is not raw while the session has it");
    Ok(person)
}

/// A program that says when it is to draw its screen anew, repeats what is typed, and ends with 5 when that has ended.
const DRAWS: &str = "trap 'echo drawn-$(stty size)' WINCH; printf '\\033[?1049h\\033[?25l'; cat </dev/tty & \
                     echo set; while kill -0 $! 2>/dev/null; do sleep 0.01; done; exit 5";

/// The process in the target that has become a sleep of so many seconds.
fn sleep_of(target: &Container, seconds: &str) -> Result<Option<i32>> {
    let wanted = format!("sleep\0{seconds}\0");
    let line = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    Ok(target.processes()?.into_iter().find(|pid| line(pid) == wanted))
}

fn sleeps(target: &Container, seconds: &str) -> Result<bool> {
    Ok(sleep_of(target, seconds)?.is_some())
}

/// Ends a session that somebody has left, by what he was told.
fn end_left(person: &Person) -> Result<()> {
    let seen = person.seen();
    let told = seen.split("purser debug attach ").nth(1).and_then(|rest| rest.get(..8));
    run(purser().args(["debug", "end", told.context("no word on how to come back")?])).map(drop)
}

#[test]
fn leaving_and_coming_back() -> Result<()> {
    let turn = Turn::take()?;
    let (target, before) = (turn.target()?, marks());
    let mut first = begin(target)?;
    first.types("word=remembered; echo on-the-screen\r")?;
    first.sees("\non-the-screen")?;
    first.types("\x10\x11")?;
    first.sees("goes on")?;
    ensure!(first.ends()? == Some(0) && first.is_cooked()?, "leaving left the terminal raw");
    let list = sessions(&target.name)?;
    let [session] = list.as_slice() else { anyhow::bail!("not one session: {list:?}") };
    ensure!(session["is_attached"] == false && session["command"] == "sh", "{session}");
    let id = session["id"].as_str().context("a session without an id")?.to_owned();
    let attach = || {
        let mut attach = purser();
        attach.args(["debug", "attach", "--detach-keys", "ctrl-b,z", &id[..6]]);
        attach
    };
    let mut second = Person::at(attach())?;
    second.sees("on-the-screen")?;
    second.types("echo $word\r")?;
    second.sees("\nremembered")?;
    second.types("\x10\x11\x02z")?;
    second.sees("goes on")?;
    ensure!(second.ends()? == Some(0) && second.is_cooked()?, "leaving again left the terminal raw");
    let mut second = Person::at(attach())?;
    second.sees("remembered")?;
    // Whoever comes last has it.
    let mut third = Person::at(attach())?;
    third.sees("remembered")?;
    second.sees("somebody else")?;
    ensure!(second.ends()? == Some(0) && second.is_cooked()?, "being sent away left the terminal raw");
    run(purser().args(["debug", "end", &id]))?;
    third.sees("the session was ended")?;
    ensure!(third.ends()? == Some(137) && third.is_cooked()?, "the end left the terminal raw");
    ensure!(sessions(&target.name)?.is_empty(), "the session is still listed");
    nothing_is_left(&before)?;
    let gone = purser().args(["debug", "attach", &id]).stdin(Stdio::null()).output()?;
    ensure!(gone.status.code() == Some(125), "{}", gone.status);
    Ok(())
}

#[test]
fn all_rights_are_asked_for() -> Result<()> {
    let turn = Turn::take()?;
    let target = turn.target()?;
    for (answer, code) in [("n\r", 125), ("y\r", 7)] {
        let mut person = Person::at(debug(&target.name, &["--privileged"], &["sh", "-c", "exit 7"])?)?;
        person.sees("--yes does not ask")?;
        person.types(answer)?;
        let ended = person.ends()?;
        ensure!(ended == Some(code), "{ended:?} after {answer:?}: {}", person.seen());
    }
    let mut person = Person::at(debug(&target.name, &["--privileged", "--yes"], &["sh", "-c", "exit 7"])?)?;
    ensure!(person.ends()? == Some(7), "it was asked");
    Ok(())
}
