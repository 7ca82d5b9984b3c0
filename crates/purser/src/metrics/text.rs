// SPDX-License-Identifier: Apache-2.0
//! What the agent counts, as Prometheus reads it. Names, kinds and meanings stand in docs/metrics.md.

use crate::control::{SinkState, Stats, Status};
use std::fmt::Write;

/// Clock ticks a second in /proc: fixed for programs, whatever the kernel uses.
const TICKS: f64 = 100.0;
const PAGE_BYTES: f64 = 4096.0;

/// The whole page.
pub(super) fn render(status: &Status, stats: &Stats, sinks: &[SinkState]) -> String {
    let mut page = Page(String::new());
    page.metric("purser_info", "gauge", "The running agent.");
    page.sample("purser_info", &[("version", &status.version)], 1.0);
    page.one("purser_uptime_seconds", "gauge", "Time since the agent started.", status.uptime_secs as f64);
    page.one("purser_notices", "gauge", "What purser doctor has to say.", status.notices.len() as f64);
    page.one(
        "purser_store_full",
        "gauge",
        "1 while the disk is full.",
        f64::from(u8::from(status.disk_full)),
    );
    record(&mut page, stats);
    process(&mut page);
    if !sinks.is_empty() {
        ship(&mut page, sinks);
    }
    page.0
}

fn record(page: &mut Page, stats: &Stats) {
    let about = "Events the kernel side has numbered, lost ones too.";
    page.one("purser_captured_events_total", "counter", about, stats.captured as f64);
    page.one("purser_store_events", "gauge", "Events in the store.", stats.events as f64);
    page.one("purser_store_bytes", "gauge", "Size of the store.", stats.store_bytes as f64);
    page.metric("purser_gaps_total", "counter", "Losses told in the record, by cause.");
    for gap in &stats.gap_causes {
        page.sample("purser_gaps_total", &[("cause", &gap.cause)], gap.gaps as f64);
    }
    page.metric("purser_lost_events_total", "counter", "Events these losses stand for.");
    for gap in &stats.gap_causes {
        page.sample("purser_lost_events_total", &[("cause", &gap.cause)], gap.lost as f64);
    }
    page.metric("purser_ring_used_bytes", "gauge", "What waits between kernel and agent.");
    for ring in &stats.rings {
        page.sample("purser_ring_used_bytes", &[("ring", &ring.name)], ring.used_bytes as f64);
    }
    page.metric("purser_ring_size_bytes", "gauge", "Room between kernel and agent.");
    for ring in &stats.rings {
        page.sample("purser_ring_size_bytes", &[("ring", &ring.name)], ring.size_bytes as f64);
    }
    page.one("purser_containers", "gauge", "Containers seen lately.", stats.containers.len() as f64);
}

/// This process, read where the kernel tells it. What cannot be read is left out.
fn process(page: &mut Page) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold anything: utime and stime are fields 14 and 15, rss is 24.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<f64>().ok());
    if let (Some(user), Some(system)) = (field(14), field(15)) {
        let about = "CPU time of the agent.";
        page.one("process_cpu_seconds_total", "counter", about, (user + system) / TICKS);
    }
    if let Some(pages) = field(24) {
        page.one("process_resident_memory_bytes", "gauge", "Resident memory.", pages * PAGE_BYTES);
    }
}

/// A counter or gauge of each sink.
type OfSink = (&'static str, &'static str, &'static str, fn(&SinkState) -> Option<f64>);

const OF_SINKS: [OfSink; 11] = [
    ("purser_sink_sent_total", "counter", "Documents handed to the sink.", |s| Some(s.status.sent as f64)),
    ("purser_sink_acked_total", "counter", "Documents acknowledged.", |s| Some(s.status.acked as f64)),
    ("purser_sink_retries_total", "counter", "Tries that failed.", |s| Some(s.status.retried as f64)),
    ("purser_sink_dead_total", "counter", "Documents set aside.", |s| Some(s.status.dead as f64)),
    (
        "purser_sink_rejected_total",
        "counter",
        "Documents refused by a receiver that did not say which.",
        |s| Some(s.status.rejected as f64),
    ),
    ("purser_sink_missing_total", "counter", "Events gone before they were sent.", |s| {
        Some(s.status.missing as f64)
    }),
    ("purser_sink_lag_events", "gauge", "Events not sent yet.", |s| Some(s.lag_events as f64)),
    ("purser_sink_lag_seconds", "gauge", "Age of the oldest event not sent.", |s| {
        Some(s.lag_ms as f64 / 1e3)
    }),
    ("purser_sink_latency_p99_seconds", "gauge", "From event to acknowledgement.", |s| {
        s.status.latency_p99_us.map(|us| us as f64 / 1e6)
    }),
    ("purser_sink_canary_seconds", "gauge", "The same of the last canary.", |s| {
        s.status.canary_us.map(|us| us as f64 / 1e6)
    }),
    ("purser_sink_canary_time_seconds", "gauge", "When the last canary was acknowledged.", |s| {
        s.status.canary_time_ns.map(|ns| ns as f64 / 1e9)
    }),
];

fn ship(page: &mut Page, sinks: &[SinkState]) {
    page.metric("purser_sink_state", "gauge", "1 for the state the sink is in.");
    for sink in sinks {
        let labels =
            [("sink", sink.name.as_str()), ("type", &sink.kind), ("state", sink.status.state.word())];
        page.sample("purser_sink_state", &labels, 1.0);
    }
    for (name, kind, about, value) in OF_SINKS {
        page.metric(name, kind, about);
        for sink in sinks {
            if let Some(value) = value(sink) {
                page.sample(name, &[("sink", &sink.name), ("type", &sink.kind)], value);
            }
        }
    }
}

/// Text that only grows.
struct Page(String);

impl Page {
    fn metric(&mut self, name: &str, kind: &str, about: &str) {
        writeln!(self.0, "# HELP {name} {about}\n# TYPE {name} {kind}").unwrap_or_default();
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> =
            labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escaped(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        writeln!(self.0, "{name}{labels} {value}").unwrap_or_default();
    }

    fn one(&mut self, name: &str, kind: &str, about: &str, value: f64) {
        self.metric(name, kind, about);
        self.sample(name, &[], value);
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::{escaped, render};
    use crate::control::{GapStats, RingStats, SinkState, Stats, Status};

    #[test]
    fn every_number_stands_behind_its_name() {
        let status = Status { version: "1.2.3".to_string(), uptime_secs: 7, ..Status::default() };
        let gap = GapStats { cause: "ring_full".to_string(), gaps: 2, lost: 30 };
        let ring = RingStats { name: "records".to_string(), size_bytes: 8192, used_bytes: 16 };
        let stats =
            Stats { captured: 99, events: 50, gap_causes: vec![gap], rings: vec![ring], ..Stats::default() };
        let mut sink = SinkState { name: "k".to_string(), kind: "kafka".to_string(), ..SinkState::default() };
        (sink.lag_ms, sink.status.acked) = (1500, 12);
        let page = render(&status, &stats, &[sink]);
        for line in [
            "purser_info{version=\"1.2.3\"} 1",
            "purser_uptime_seconds 7",
            "purser_captured_events_total 99",
            "purser_gaps_total{cause=\"ring_full\"} 2",
            "purser_lost_events_total{cause=\"ring_full\"} 30",
            "purser_ring_used_bytes{ring=\"records\"} 16",
            "purser_sink_state{sink=\"k\",type=\"kafka\",state=\"starting\"} 1",
            "purser_sink_acked_total{sink=\"k\",type=\"kafka\"} 12",
            "purser_sink_lag_seconds{sink=\"k\",type=\"kafka\"} 1.5",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert!(!page.contains("latency_p99_seconds{"), "no latency is known yet:\n{page}");
        assert!(page.contains("process_resident_memory_bytes "), "{page}");
    }

    #[test]
    fn labels_cannot_break_out() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
