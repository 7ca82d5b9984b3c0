// SPDX-License-Identifier: Apache-2.0
//! The trial of a sink that promises each event once: numbered programs run without a pause while
//! the agent dies by SIGKILL at random again and again, its receiver is killed and later stays away,
//! and the disk fills up. Afterwards the store must have each number, and the receiver each event of
//! the store, once.
//! PURSER_SHIP_KILLS (6) and PURSER_SHIP_EVENTS (0, more than that many) make it longer, PURSER_SHIP_RATE
//! (300) quicker: executions a second, of which each makes two events.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::agent::Agent;
use crate::disk::{Disk, fill};
use crate::kafka::sinks::{each_stored, sequence_of};
use crate::kill9::setting;
use crate::lab::{Lab, temporary, unique};
use crate::load::{Load, Tally};
use crate::record::{is, strings};

const SEEN_LIMIT: Duration = Duration::from_secs(60);
const RATE: u32 = 300;

/// What a sink sends to.
pub(crate) trait Receiver {
    /// A clean stop.
    fn stop(&mut self) -> Result<()>;
    /// As when its host loses power, but for what is in the page cache.
    fn kill9(&mut self) -> Result<()>;
    /// Starts it with what it had.
    fn start_again(&mut self) -> Result<()>;
}

/// A trial under way.
pub(crate) struct Trial {
    pub(crate) agent: Agent,
    load: Option<Load>,
    tag: String,
    kills: u32,
    events: u32,
    rate: u32,
    /// Where the store lies; after the agent, which has to end first.
    disk: Disk,
    dir: TempDir,
}

impl Trial {
    /// Starts agent and load. A container's name begins with `purser-test-NAME`.
    pub(crate) fn start(lab: &Lab, name: &str, config: &str) -> Result<Trial> {
        let (kills, events) = (setting("PURSER_SHIP_KILLS", 6)?, setting("PURSER_SHIP_EVENTS", 0)?);
        let dir = TempDir::with_prefix_in("trial-", temporary())?;
        let store = dir.path().join("store");
        let size = if events == 0 { "size=48m,mode=700" } else { "size=512m,mode=700" };
        let disk = Disk::mount(&store, size)?;
        // On a busy machine an agent of no optimisation takes seconds to come back.
        let agent = Agent::start_on(&store, &format!("[capture]\nring_mib = 32\n{config}"))?;
        let tag = unique(name);
        let rate = setting("PURSER_SHIP_RATE", RATE)?;
        let load = Load::start(lab, &format!("purser-test-{tag}"), rate, &tag, None)?;
        Ok(Trial { agent, load: Some(load), tag, kills, events, rate, disk, dir })
    }

    /// Longest time until a sink has caught up.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(if self.events == 0 { 300 } else { 1_800 })
    }

    /// Every fault, one after the other; then the load ends.
    pub(crate) fn run(&mut self, receiver: &mut dyn Receiver) -> Result<Tally> {
        let (started, mut random) = (Instant::now(), RandomState::new().hash_one(self.kills));
        for kill in 0..self.kills {
            sleep(Duration::from_millis(draw(&mut random, 1_200)));
            self.agent.kill9()?;
            if kill % 5 == 4 {
                self.agent.kill9_while_it_starts(Duration::from_millis(draw(&mut random, 250)))?;
            }
            sleep(Duration::from_millis(draw(&mut random, 300)));
            self.agent.start_again()?;
            if kill == self.kills / 3 {
                receiver.kill9()?;
                receiver.start_again()?;
            }
            if kill == self.kills / 2 {
                receiver.stop()?;
                sleep(Duration::from_secs(if self.events == 0 { 3 } else { 40 }));
                receiver.start_again()?;
            }
            if kill == self.kills * 2 / 3 {
                self.fill_the_disk()?;
            }
            // The long run has its number of events to reach, spread over its kills; a busy machine does less.
            let secs = self.executions() * u64::from(kill + 1) / u64::from(self.kills);
            let secs = secs * 6 / 5 / u64::from(self.rate);
            sleep((started + Duration::from_secs(secs)).saturating_duration_since(Instant::now()));
        }
        let tally = self.load.take().context("the load runs")?.end()?;
        ensure!(tally.done >= self.executions(), "{} of {} executions", tally.done, self.executions());
        Ok(tally)
    }

    /// Each execution makes two events.
    fn executions(&self) -> u64 {
        u64::from(self.events) / 2
    }

    fn fill_the_disk(&mut self) -> Result<()> {
        let filler = self.dir.path().join("store/filler");
        fill(&filler)?;
        let start = Instant::now();
        while !self.agent.said()?.contains("no space left") {
            ensure!(start.elapsed() < SEEN_LIMIT, "nothing about the full disk in: {}", self.agent.said()?);
            sleep(Duration::from_millis(50));
        }
        sleep(Duration::from_secs(2));
        Ok(fs::remove_file(&filler)?)
    }

    /// Stops the agent, and gives the sequence of every event once the store has each number once.
    #[expect(clippy::print_stdout, reason = "the figure of a long run")]
    pub(crate) fn end(mut self, tally: &Tally) -> Result<Vec<u64>> {
        self.agent.stop()?;
        self.agent.verify()?;
        let (mut sequences, mut numbers, mut gaps) = (Vec::new(), BTreeMap::new(), Vec::new());
        each_stored(&self.agent, |document| {
            sequences.push(sequence_of(document)?);
            let args = strings(document, "/process/args");
            if is(document, "exec") && args.first() == Some(&self.tag.as_str()) {
                let number: u64 = args.get(1).context("a program without its number")?.parse()?;
                *numbers.entry(number).or_insert(0u32) += 1;
            }
            if is(document, "gap") {
                gaps.push(document["purser"]["gap"].to_string());
            }
            Ok(())
        })?;
        let lost = tally.numbers().filter(|number| !numbers.contains_key(number)).count();
        let twice = numbers.values().filter(|times| **times > 1).count();
        println!(
            "{}: {} kills, {} numbered executions, {} events: in the store {lost} lost, {twice} twice",
            self.tag,
            self.kills + self.kills / 5,
            tally.done,
            sequences.len()
        );
        let good = lost == 0 && twice == 0 && numbers.len() as u64 == tally.done;
        ensure!(good, "{lost} lost, {twice} twice; told: {gaps:?}");
        drop(self.disk);
        Ok(sequences)
    }
}

/// A number below `limit`.
fn draw(random: &mut u64, limit: u64) -> u64 {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*random >> 33) % limit
}

/// Where the trial's other files may lie.
pub(crate) fn scratch() -> Result<(TempDir, PathBuf)> {
    let dir = TempDir::with_prefix_in("sink-", temporary())?;
    let path = dir.path().join("out.jsonl");
    Ok((dir, path))
}
