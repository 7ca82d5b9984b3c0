// SPDX-License-Identifier: Apache-2.0
//! Tests of the finished program on the real kernel with real containers. They know only the command
//! line and the documents, never the crates inside, so that they hold whatever is rebuilt beneath.
//! Needs root, gcc, g++, musl-gcc, Go, rustc, debootstrap, Docker, runc, containerd, podman, LXC, systemd-nspawn,
//! busybox-static, execsnoop, curl and bpftool. One test at a time.

mod agent; // the agent under test: started, killed, started again, stopped
mod bad_input; // wrong users, configs, disks and arguments get a clear answer
mod commands; // exit codes and last lines of commands that need the kernel
mod container_logs; // what containers print: nothing lost, nothing twice, through rotation and kills
mod containers; // every first process of a thousand short containers is attributed
mod cri; // a containerd of our own, told what to do over CRI
mod debug; // a toolbox in running containers: what it gets, leaves and survives
mod disk; // small disks and how to fill them
mod exec_modes; // every way to start or fail to start a program is seen
mod faults; // each write, sync, rename and send fails or is the last thing an agent does
mod files; // lines of log files: nothing lost, nothing twice
mod gdb; // the debugger of the kit on targets of every sort
mod group; // cgroups of our own
mod hostile; // root in a container looks for a sink's password, and does not find it
mod image_kits; // images of Docker as kits, run in a container
mod kafka; // events to a real Kafka, through kills, and read back
mod kill9; // the agent is killed under load: nothing lost, nothing twice
mod lab; // programs, image and commands that all tests use
mod load; // numbered executions in a container, and the check of their numbers
mod machines; // containers of LXC and systemd-nspawn
mod metrics; // numbers and health for monitoring
mod pod; // a pod of containerd has its names
mod record; // reading documents
mod registry; // kits to and from a real registry: passwords, tokens, TLS, signatures
mod reloads; // the configuration changes under load, sinks and all
mod restart; // what happens while the agent is down, and a clean stop
mod rival; // the distribution's execsnoop on the same load
mod rules; // rules swapped under load: the counts add up
mod search; // events to a real OpenSearch, through kills, and read back
mod taken_away; // the store directory or the pins vanish under an agent, or the agent itself
mod trial; // what a sink goes through that promises each event once
mod upgrade; // agents of two builds take over from each other under load
mod vm; // the exec modes on other kernels, in virtual machines
mod webhook; // events to receivers over HTTP, in each schema
