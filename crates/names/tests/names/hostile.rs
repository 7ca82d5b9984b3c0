// SPDX-License-Identifier: Apache-2.0
//! Servers and strangers that send what nobody should.

use std::net::UdpSocket;

use names::{NameError, Outcome};

use crate::dns::{Root, start};
use crate::server::{A, ALIAS, Asked, add, free_address, wire};

const QUICK: &str = "options timeout:1 attempts:1\n";

/// The outcomes of all questions for `broker.example`.
fn outcomes(script: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync + 'static, options: &str) -> Vec<Outcome> {
    let server = start(script);
    match Root::new("", &[&server], options).find("broker.example").unwrap_err() {
        NameError::Unanswered { said, .. } => said.into_iter().map(|said| said.outcome).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn strays_are_passed_over_until_the_answer_comes() {
    let server = start(|asked| {
        let good = asked.addresses(&["10.0.0.1"]);
        let forged = asked.addresses(&["10.6.6.6"]);
        let mut messages = vec![vec![], vec![0; 3], vec![0xff; 600]];
        // Its id, not an answer, its number of questions, its name.
        for (at, bits) in [(0, 1), (1, 1), (2, 0x80), (5, 2), (13, 1)] {
            let mut other = forged.clone();
            other[at] ^= bits;
            messages.push(other);
        }
        messages.push(good);
        messages
    });
    let root = Root::new("", &[&server], QUICK);
    assert_eq!(root.find("broker.example").unwrap(), ["10.0.0.1:9092"]);
}

#[test]
fn nobody_else_is_listened_to() {
    let stranger = UdpSocket::bind((free_address(), 0)).unwrap();
    let server = start(move |asked| {
        if !asked.tcp {
            stranger.send_to(&asked.addresses(&["10.6.6.6"]), asked.from).unwrap();
        }
        vec![asked.addresses(&["10.0.0.1"])]
    });
    let root = Root::new("", &[&server], QUICK);
    assert_eq!(root.find("broker.example").unwrap(), ["10.0.0.1:9092"]);
}

#[test]
fn strays_alone_end_with_the_time() {
    let forged = |asked: &Asked| {
        let mut message = asked.addresses(&["10.6.6.6"]);
        message[1] ^= 1;
        vec![message; 50]
    };
    assert_eq!(outcomes(forged, QUICK), [Outcome::TimedOut, Outcome::TimedOut]);
}

#[test]
fn aliases_in_a_circle_are_malformed() {
    let circle = |asked: &Asked| {
        let mut bytes = asked.code(0);
        add(&mut bytes, "broker.example", ALIAS, &wire("b.example"));
        add(&mut bytes, "b.example", ALIAS, &wire("broker.example"));
        vec![bytes]
    };
    assert_eq!(outcomes(circle, QUICK), [const { Outcome::Malformed("its aliases have no end") }; 2]);
}

#[test]
fn more_than_fits_is_malformed() {
    let huge = |asked: &Asked| {
        let mut bytes = asked.code(0);
        for _ in 0..1500 {
            add(&mut bytes, "broker.example", A, &[10, 0, 0, 1]);
        }
        vec![bytes]
    };
    // By UDP all but the first 4 KiB is thrown away; by TCP there is room, and only so many are taken.
    assert_eq!(outcomes(huge, QUICK), [const { Outcome::Malformed("it ends within a record") }; 2]);
    let server = start(huge);
    assert_eq!(Root::new("", &[&server], "options use-vc\n").find("broker.example").unwrap().len(), 1);
}

#[test]
fn tcp_that_answers_something_else_is_malformed() {
    let script = |asked: &Asked| {
        let mut bytes = asked.addresses(&["10.6.6.6"]);
        bytes[0] ^= 1;
        vec![bytes]
    };
    let expected = [const { Outcome::Malformed("it answers another question") }; 2];
    assert_eq!(outcomes(script, &format!("{QUICK}options use-vc\n")), expected);
}

#[test]
fn tcp_that_ends_early_is_an_error() {
    let expected = [const { Outcome::Network(std::io::ErrorKind::UnexpectedEof) }; 2];
    assert_eq!(outcomes(|_| vec![], &format!("{QUICK}options use-vc\n")), expected);
}
