// SPDX-License-Identifier: Apache-2.0
//! Whole tables from events made by hand.

use super::sample::{exec, exit, failed, gap, key, row};
use super::{Ending, Forest, Live, Look, Painter};
use event::{Agent, Body, flags};
use jiff::civil::date;
use jiff::tz::TimeZone;
use std::time::{Duration, Instant};

fn look() -> Look {
    Look { zone: TimeZone::UTC, today: date(2026, 1, 31), colour: false }
}

fn painter() -> Painter {
    Painter::new(look())
}

const OK: Ending = Ending::Ended { code: 0, signal: 0, core: false, duration_ns: 3_100_000 };

#[test]
fn a_parent_with_its_children() {
    let mut painter = painter();
    let mut text = painter.line(&exec(532, 10, 1, &[b"sh", b"-c", b"ls /etc | wc -l"]), &OK);
    let quick = Ending::Ended { code: 0, signal: 0, core: false, duration_ns: 800_000 };
    text += &painter.line(&exec(534, 11, 10, &[b"ls", b"/etc"]), &quick);
    text += &painter.line(&exec(535, 12, 10, &[b"wc", b"-l"]), &Ending::Running);
    text += &painter.line(&exec(536, 13, 12, &[b"deeper"]), &Ending::Replaced(1_000_000));
    assert_eq!(
        text,
        "\
07:02:11.532  demo-1   sh -c 'ls /etc | wc -l'           uid 0   ok 3.1ms
07:02:11.534  demo-1   └ ls /etc                         uid 0   ok 0.8ms
07:02:11.535  demo-1   └ wc -l                           uid 0   running
07:02:11.536  demo-1     └ deeper                        uid 0   replaced 1.0ms
"
    );
}

#[test]
fn every_kind_has_its_line() {
    let mut painter = painter();
    let mut text = painter.line(&failed(1, 5, b"/usr/bin/tool", 2), &Ending::Open);
    text += &painter.line(&exit(2, 6, 3, 0, 2_000_000_000), &Ending::Open);
    text += &painter.line(&exit(3, 6, 0, 9, 65_000_000_000), &Ending::Open);
    text += &painter.line(&gap(4, 12), &Ending::Open);
    let agent =
        Agent { action: "agent_start".into(), message: "recording\u{1b}[2J".into(), version: "0.1.0".into() };
    text += &painter.line(&row(5, "", Body::Agent(agent)), &Ending::Open);
    assert_eq!(
        text,
        "\
07:02:11.001  demo-1   /usr/bin/tool -x                  uid 0   ENOENT
07:02:11.002  demo-1   end of pid 6                      uid 0   exit 3 2.0s
07:02:11.003  demo-1   end of pid 6                      uid 0   SIGKILL 1m05s
07:02:11.004  demo-1   GAP 12 events lost: ring full on cpu 1
07:02:11.005  c0ffee012345   purser agent_start: recording\\x1b[2J
"
    );
}

#[test]
fn hostile_arguments_and_names_stay_on_their_line() {
    let mut hostile =
        exec(1, 5, 1, &[b"sh", b"\x1b]0;owned\x07\n07:02:11 demo-1 ls", b"\xff", "\u{202e}".as_bytes()]);
    if let Body::Exec(exec) = &mut hostile.event.body {
        exec.flags = flags::MEMFD | flags::DELETED;
        exec.process.euid = 7;
    }
    let mut named = exec(2, 6, 1, &[b"[memfd]"]);
    named.container = Some(std::sync::Arc::new(event::Container {
        name: "web\u{1b}c\n\u{200b}".into(),
        ..Default::default()
    }));
    let mut painter = painter();
    let text = painter.line(&hostile, &OK) + &painter.line(&named, &OK);
    assert_eq!(
        text,
        "\
07:02:11.001  demo-1   sh $'\\x1b]0;owned\\x07\\n07:02:11 demo-1 ls' $'\\xff' $'\\u202e' [memfd deleted]  uid 0 as 7  ok 3.1ms
07:02:11.002  web\\x1bc\\n\\u200b   '[memfd]'                         uid 0   ok 3.1ms
"
    );
}

#[test]
fn other_days_carry_their_date_and_colours_are_only_wrapped_around() {
    let mut look = look();
    look.today = date(2026, 2, 1);
    look.colour = true;
    let mut painter = Painter::new(look);
    let text = painter.line(&exec(532, 10, 1, &[b"ls"]), &OK);
    assert!(
        text.starts_with("\u{1b}[2m2026-01-31 07:02:11.532\u{1b}[0m  \u{1b}[36mdemo-1\u{1b}[0m   ls "),
        "{text:?}"
    );
    assert!(text.ends_with("\u{1b}[32mok 3.1ms\u{1b}[0m\n"), "{text:?}");
}

#[test]
fn live_lines_wait_a_moment_for_their_end() {
    let start = Instant::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let mut live = Live::new(painter(), false);
    let mut out = Vec::new();
    live.push(exec(0, 10, 1, &[b"true"]), at(0), &mut out).unwrap();
    live.push(exec(1, 11, 1, &[b"sleep", b"2"]), at(1), &mut out).unwrap();
    assert!(out.is_empty());
    live.push(exit(2, 10, 0, 0, 2_000_000), at(2), &mut out).unwrap();
    assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
    assert_eq!(live.wait(at(3)), Some(Duration::from_millis(6)));
    live.poll(at(9), &mut out).unwrap();
    live.push(exit(2_001, 11, 0, 0, 2_000_000_000), at(2_001), &mut out).unwrap();
    // A fork that executed nothing ends: nobody was told of it, so nobody is now.
    live.push(exit(2_002, 99, 0, 0, 1), at(2_002), &mut out).unwrap();
    assert_eq!(live.wait(at(2_002)), None);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "\
07:02:11.000  demo-1   true                              uid 0   ok 2.0ms
07:02:11.001  demo-1   sleep 2                           uid 0
07:02:13.001  demo-1   … sleep 2                                 ended ok after 2.0s
"
    );
}

#[test]
fn one_process_that_executes_again_is_replaced() {
    let start = Instant::now();
    let mut live = Live::new(painter(), false);
    let mut out = Vec::new();
    live.push(exec(0, 10, 1, &[b"sh", b"-c", b"exec ls"]), start, &mut out).unwrap();
    live.push(exec(2, 10, 1, &[b"ls"]), start, &mut out).unwrap();
    live.push(exit(3, 10, 0, 0, 1_000_000), start, &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "\
07:02:11.000  demo-1   sh -c 'exec ls'                   uid 0   replaced 2.0ms
07:02:11.002  demo-1   ls                                uid 0   ok 1.0ms
"
    );
}

#[test]
fn a_tree_with_codes_and_durations() {
    let mut forest = Forest::new(100);
    forest.add(&exec(0, 10, 1, &[b"sh"]));
    forest.add(&exec(1, 11, 10, &[b"make"]));
    // 12 is a fork of 11 that executed nothing; its child belongs to the ancestor 11.
    let mut grandchild = exec(2, 13, 12, &[b"cc"]);
    if let Body::Exec(exec) = &mut grandchild.event.body {
        exec.process.ancestor = key(11);
    }
    forest.add(&grandchild);
    forest.add(&exec(3, 14, 10, &[b"ls"]));
    forest.add(&exec(4, 14, 10, &[b"wc"]));
    forest.add(&exit(5, 13, 1, 0, 3_000_000));
    forest.add(&exit(6, 14, 0, 15, 1_000_000));
    forest.close(&[1; 16]);
    let mut text = String::new();
    forest
        .walk(|drawing, node, _| {
            text += &format!("{drawing}{}  {}\n", node.command(), node.result());
            Ok::<(), ()>(())
        })
        .unwrap();
    assert_eq!(
        text,
        "\
sh  pid 10 uid 0  running
├─ make  pid 11 uid 0  running
│  └─ cc  pid 13 uid 0  exit 1 3.0ms
└─ ls → wc  pid 14 uid 0  SIGTERM 1.0ms
"
    );
}

#[test]
fn a_chain_of_any_depth_is_drawn_and_a_forest_is_bounded() {
    let mut forest = Forest::new(50_000);
    for pid in 2..60_002 {
        forest.add(&exec(0, pid, pid - 1, &[b"x"]));
    }
    assert_eq!(forest.left_out, 10_000);
    let mut count = 0;
    forest
        .walk(|drawing, _, _| {
            count += 1;
            assert!(drawing.chars().count() <= 200);
            Ok::<(), ()>(())
        })
        .unwrap();
    assert_eq!(count, 50_000);
}
