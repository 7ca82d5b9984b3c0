// SPDX-License-Identifier: Apache-2.0
//! One batch on its way: which documents are under way, which are safe, which nobody will take.

use super::Producer;
use super::flush::send_now;
use super::reports::{CURSOR, is_refusal, tag, told};
use super::settings::{KafkaSettings, LINGER, RecordKey};
use crate::batch::{Batch, Document};
use crate::sink::{Poison, SendError, Trouble};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _};
use std::collections::{BTreeMap, HashSet};
use std::thread;
use std::time::{Duration, Instant};

/// Distinct topics a template may lead to in one run; fields may be chosen by those who are watched,
/// and each topic costs broker and library memory.
const TOPICS_LIMIT: usize = 1_024;
/// What replaces the topic of the ones beyond.
const OTHER: &str = "purser-other";
/// Longest name of a topic in Kafka.
const TOPIC_BYTES: usize = 249;
/// Shortest and longest time between looks for reports.
const POLL: (Duration, Duration) = (Duration::from_micros(250), Duration::from_millis(32));
/// What is handed over before its reports are awaited. While a partition's request is under way, an idempotent
/// producer sends no other there, and its thread spins as long as documents for one wait. So what is handed
/// over together fits into one request for each partition: its bytes, and the time librdkafka gathers.
const TOGETHER_BYTES: usize = 900_000;
const TOGETHER: Duration = Duration::from_millis(LINGER.as_millis() as u64 / 2);
/// A record's key, headers and lengths, as a rule.
const RECORD_BYTES: usize = 256;
/// Documents between looks at the clock.
const CLOCK: usize = 32;
/// Without progress for this long, complaints are worth telling.
const QUIET: Duration = Duration::from_secs(1);
/// Without progress or complaint for this long, that is worth telling.
const SILENT: Duration = Duration::from_secs(5);

/// How far a flight has come.
#[derive(Debug)]
pub(super) enum Progress {
    /// Each document is safe or poison.
    Done,
    /// Reports are missing.
    Waiting(Option<Trouble>),
    /// Everything is reported, and some documents failed.
    Failed(SendError),
    /// The client is of no use any more.
    Fatal(SendError),
}

/// The documents of one batch and what became of them.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// Changes whenever reports of before must not count any more.
    number: u32,
    is_new: bool,
    batch: Option<u64>,
    /// Still to be handed over, in order.
    waiting: Vec<u32>,
    /// Handed over under this number.
    handed: usize,
    /// Of these, reported.
    reported: usize,
    /// Refused together with others as too large: sent one by one.
    suspects: Vec<u32>,
    alone: Option<u32>,
    /// Something failed since the documents were loaded.
    spoilt: bool,
    /// One failure is everyone's.
    together: bool,
    poison: BTreeMap<u32, String>,
    quiet_since: Option<Instant>,
    topics: HashSet<String>,
    topic: String,
    /// Whether containers have a say in the topic: one that asks for a wrong one must not hold up the others.
    chosen: bool,
}

impl Flight {
    /// Takes `batch` on board, if it is not there already.
    pub(super) fn board(&mut self, batch: &Batch) {
        if self.batch != Some(batch.number()) {
            self.batch = Some(batch.number());
            self.poison.clear();
            self.suspects.clear();
            self.alone = None;
            self.reload(batch);
        }
    }

    /// Everything that is not poison goes again: a transaction was given up.
    pub(super) fn reload(&mut self, batch: &Batch) {
        // Given up before its report came.
        self.suspects.extend(self.alone.take().filter(|index| !self.poison.contains_key(index)));
        let all = (0..u32::try_from(batch.len()).unwrap_or(u32::MAX))
            .filter(|index| !self.poison.contains_key(index) && !self.suspects.contains(index));
        self.waiting = all.collect();
        self.spoilt = false;
        self.begin();
    }

    /// Reports of what was handed over before do not count any more.
    fn begin(&mut self) {
        self.number = self.number.wrapping_add(1);
        self.is_new = true;
        (self.handed, self.reported) = (0, 0);
        self.quiet_since = None;
    }

    /// What nobody will take; the flight is over.
    pub(super) fn land(&mut self) -> Vec<Poison> {
        self.batch = None;
        let poison = std::mem::take(&mut self.poison).into_iter();
        poison.map(|(index, reason)| Poison { index: index as usize, reason }).collect()
    }

    /// Whether a document failed since they were loaded: a transaction with it cannot be committed.
    pub(super) fn has_spoilt(&self) -> bool {
        self.spoilt
    }

    /// As [`Flight::fly`] within a transaction: the first document that fails spoils it for all
    /// others, so nothing more is sent then.
    pub(super) fn fly_together(
        &mut self,
        producer: &Producer,
        settings: &KafkaSettings,
        batch: &Batch,
        patience: Duration,
    ) -> Progress {
        self.together = true;
        self.fly(producer, settings, batch, patience)
    }

    /// Hands over what waits and gathers reports, for at most `patience`.
    pub(super) fn fly(
        &mut self,
        producer: &Producer,
        settings: &KafkaSettings,
        batch: &Batch,
        patience: Duration,
    ) -> Progress {
        let started = Instant::now();
        loop {
            if std::mem::take(&mut self.is_new) {
                producer.context().expect(self.number);
            }
            // What was handed over before may be under way still.
            if self.reported == self.handed
                && let Err(progress) = self.hand_over(producer, settings, batch)
            {
                return progress;
            }
            if let Some(progress) = self.gather(producer, started, patience) {
                return progress;
            }
            if !self.waiting.is_empty() {
                continue;
            }
            if let Some(error) = self.judge(producer) {
                return Progress::Failed(error);
            }
            if self.together && self.spoilt {
                return Progress::Done;
            }
            if self.waiting.is_empty() && self.suspects.is_empty() {
                return Progress::Done;
            }
            self.next_suspect();
        }
    }

    fn next_suspect(&mut self) {
        if self.waiting.is_empty()
            && let Some(index) = self.suspects.pop()
        {
            self.alone = Some(index);
            self.waiting.push(index);
            self.begin();
        }
    }

    /// Gives documents to librdkafka until it has all, or takes no more, or has enough for now.
    fn hand_over(
        &mut self,
        producer: &Producer,
        settings: &KafkaSettings,
        batch: &Batch,
    ) -> Result<(), Progress> {
        self.chosen = settings.topic.is_chosen();
        let waiting = std::mem::take(&mut self.waiting);
        let mut rest = waiting.iter().copied();
        let (start, mut count, mut bytes) = (Instant::now(), 0, 0);
        for index in rest.by_ref() {
            let Some(document) = batch.document(index as usize) else { continue };
            bytes += document.json.len() + RECORD_BYTES;
            let is_late = count % CLOCK == CLOCK - 1 && start.elapsed() >= TOGETHER;
            if count > 0 && (bytes > TOGETHER_BYTES || is_late) {
                self.waiting.push(index);
                break;
            }
            count += 1;
            match self.produce(producer, settings, batch, &document, index) {
                Ok(()) => self.handed += 1,
                Err(RDKafkaErrorCode::QueueFull) => {
                    self.waiting.push(index);
                    break;
                }
                Err(RDKafkaErrorCode::MessageSizeTooLarge) => {
                    let reason = format!("{} bytes are more than max_message_bytes", document.json.len());
                    self.poison.insert(index, reason);
                }
                Err(code) if self.chosen && is_of_topic(code) => {
                    self.poison.insert(index, format!("topic {}: {code}", self.topic));
                }
                Err(code) => {
                    self.waiting.push(index);
                    self.waiting.extend(rest);
                    return Err(self.refused(producer, code));
                }
            }
        }
        self.waiting.extend(rest);
        Ok(())
    }

    /// librdkafka took a document not even into its queue.
    fn refused(&self, producer: &Producer, code: RDKafkaErrorCode) -> Progress {
        if let Some(error) = fatal(producer) {
            return Progress::Fatal(error);
        }
        Progress::Failed(error_of(code, &format!("{}: {code}", self.topic)))
    }

    fn produce(
        &mut self,
        producer: &Producer,
        settings: &KafkaSettings,
        batch: &Batch,
        document: &Document<'_>,
        index: u32,
    ) -> Result<(), RDKafkaErrorCode> {
        self.name_topic(settings, document);
        let host = &document.context.host_name;
        let key = match settings.key {
            RecordKey::Container if !document.container_id.is_empty() => Some(document.container_id),
            RecordKey::Container | RecordKey::Host => Some(host.as_str()),
            RecordKey::None => None,
        };
        let mut number = [0; 20];
        let headers = OwnedHeaders::new_with_capacity(3)
            .insert(Header { key: "schema", value: Some(batch.schema().word()) })
            .insert(Header { key: "host", value: Some(host.as_str()) })
            .insert(Header { key: "sequence", value: Some(decimal(document.sequence, &mut number)) });
        let record = BaseRecord {
            topic: &self.topic,
            partition: None,
            payload: Some(document.json),
            key: key.map(str::as_bytes),
            timestamp: i64::try_from(document.time_ns / 1_000_000).ok(),
            headers: Some(headers),
            delivery_opaque: tag(self.number, index),
        };
        producer.send(record).map_err(|(error, _)| code_of(&error))
    }

    fn name_topic(&mut self, settings: &KafkaSettings, document: &Document<'_>) {
        if settings.topic.is_constant_on_host() && !self.topic.is_empty() {
            return;
        }
        self.topic.clear();
        settings.topic.render(document, is_topic_character, &mut self.topic);
        self.topic.truncate(self.topic.floor_char_boundary(TOPIC_BYTES));
        if matches!(self.topic.as_str(), "" | "." | "..") {
            // Kafka takes no topic of that name, and a label may ask for it.
            self.topic.clear();
            self.topic.push_str(OTHER);
        }
        if self.topics.contains(&self.topic) {
            return;
        }
        if self.topics.len() >= TOPICS_LIMIT {
            self.topic.clear();
            self.topic.push_str(OTHER);
        } else {
            self.topics.insert(self.topic.clone());
        }
    }

    /// Also the record of the cursor, into partition `partition`.
    pub(super) fn produce_cursor(
        &mut self,
        producer: &Producer,
        topic: &str,
        partition: i32,
        key: &str,
        value: &str,
    ) -> Result<(), RDKafkaErrorCode> {
        let record = BaseRecord::with_opaque_to(topic, tag(self.number, CURSOR)).key(key).payload(value);
        producer.send(record.partition(partition)).map_err(|(error, _)| code_of(&error))?;
        self.handed += 1;
        Ok(())
    }

    /// Waits until everything handed over is reported; `Some` when the patience or the client ends
    /// before.
    pub(super) fn gather(
        &mut self,
        producer: &Producer,
        started: Instant,
        patience: Duration,
    ) -> Option<Progress> {
        let mut wait = POLL.0;
        if self.reported < self.handed {
            send_now(producer);
        }
        while self.reported < self.handed {
            // Asked to wait, the library's poll spins through the last millisecond of its time.
            producer.poll(Duration::ZERO);
            if self.count(producer) {
                wait = POLL.0;
            } else {
                thread::sleep(wait);
                wait = (wait * 2).min(POLL.1);
                self.quiet_since.get_or_insert_with(Instant::now);
            }
            if let Some(error) = fatal(producer) {
                return Some(Progress::Fatal(error));
            }
            if self.reported < self.handed && started.elapsed() >= patience {
                let quiet = self.quiet_since.map_or(Duration::ZERO, |since| since.elapsed());
                let told = producer.context().trouble().filter(|_| quiet >= QUIET);
                return Some(Progress::Waiting(told.or_else(|| silent(quiet))));
            }
        }
        None
    }

    /// Whether reports have come.
    fn count(&mut self, producer: &Producer) -> bool {
        let (acked, reported) = {
            let reported = producer.context().lock();
            (reported.acked, reported.acked + reported.failed.len())
        };
        let more = reported > self.reported;
        self.reported = reported;
        if more {
            self.quiet_since = None;
            if acked > 0 {
                producer.context().clear();
            }
        }
        more
    }

    /// Everything is reported: what failed goes again, alone, or never.
    pub(super) fn judge(&mut self, producer: &Producer) -> Option<SendError> {
        let failed = std::mem::take(&mut producer.context().lock().failed);
        let alone = self.alone.take();
        if failed.is_empty() {
            return None;
        }
        self.spoilt = true;
        let (mut other, mut found) = (None, false);
        for (index, code, topic) in failed {
            match code {
                _ if index == CURSOR => other = Some((code, topic)),
                _ if self.chosen && is_of_topic(code) => {
                    self.poison.insert(index, format!("topic {topic}: {code}"));
                    found = true;
                }
                RDKafkaErrorCode::MessageSizeTooLarge if alone == Some(index) => {
                    self.poison.insert(index, "the broker takes no message of this size".to_string());
                    found = true;
                }
                RDKafkaErrorCode::MessageSizeTooLarge => {
                    self.suspects.push(index);
                    found = true;
                }
                RDKafkaErrorCode::InvalidRecord => {
                    self.poison.insert(index, "the broker refuses this record".to_string());
                    found = true;
                }
                code => {
                    other = Some((code, topic));
                    self.waiting.push(index);
                }
            }
        }
        self.waiting.sort_unstable();
        self.begin();
        // The others only failed because of these.
        if self.together && found {
            return None;
        }
        let (code, topic) = other?;
        Some(error_of(code, &format!("{topic}: {code}")))
    }
}

/// A connection that is open at one end only brings no complaint before librdkafka gives it up.
fn silent(quiet: Duration) -> Option<Trouble> {
    let reason = || format!("no answer for {} s; the connection is given up after 60 s", quiet.as_secs());
    (quiet >= SILENT).then(|| Trouble { reason: reason(), refused: false })
}

/// What a failure with `code` means for the next try.
pub(super) fn error_of(code: RDKafkaErrorCode, reason: &str) -> SendError {
    let text = told(code, reason);
    if is_refusal(code) { SendError::Refused(text) } else { SendError::Transient(text) }
}

fn code_of(error: &KafkaError) -> RDKafkaErrorCode {
    error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)
}

pub(super) fn fatal(producer: &Producer) -> Option<SendError> {
    let (code, reason) = producer.client().fatal_error()?;
    Some(error_of(code, &producer.context().fatal().unwrap_or(reason)))
}

/// Whether another topic might have done.
fn is_of_topic(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::InvalidTopic
            | Code::TopicAuthorizationFailed
            | Code::UnknownTopic
            | Code::UnknownTopicOrPartition
    )
}

/// What names of topics are made of in Kafka.
pub fn is_topic_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

fn decimal(mut number: u64, space: &mut [u8; 20]) -> &str {
    let mut at = space.len();
    for digit in space.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        at -= 1;
        if number == 0 {
            break;
        }
    }
    std::str::from_utf8(space.get(at..).unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn numbers_are_written_as_people_do() {
        for number in [0, 7, 10, 1_234_567_890, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string());
        }
    }
}
