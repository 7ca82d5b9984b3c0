// SPDX-License-Identifier: Apache-2.0
//! The exit codes of every command, and nothing else.

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, and nothing to complain about. A reader that closed its pipe counts as done.
    Success,
    /// 1: the command failed, or it looked for problems and found some.
    Problem,
    /// 2: the command line or the configuration is wrong; from `doctor`: this host cannot run purser.
    Refused,
    /// 3: the command needs a running agent and there is none.
    NoAgent,
    /// 4: there is no such service.
    Unknown,
    /// The exit code of the command that was run; 128 and the signal's number when it was killed.
    Command(u8),
}

impl Exit {
    /// The number the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Problem => 1,
            Exit::Refused => 2,
            Exit::NoAgent => 3,
            Exit::Unknown => 4,
            Exit::Command(code) => code,
        }
    }
}
