//! What monitors read (Prometheus text format 0.0.4): written when somebody asks, out of what is known anyway. Only what
//! nobody else counts is counted here. Labels take values out of lists that are written down, and names of machines.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use serde::{Deserialize, Serialize};

use crate::{Shutdown, serve};

/// The media type of an [`Exposition`].
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where monitors ask. It tells names and numbers, no secret; whoever reaches it may read them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// Where to listen, e.g. `127.0.0.1:7002`.
    pub listen: SocketAddr,
}

/// Serves `GET /metrics` there until `shutdown`; `scrape` is called for each request. Without `config` nothing listens.
///
/// # Errors
///
/// When nothing can listen there.
pub async fn serve_metrics(
    config: Option<&MetricsConfig>,
    scrape: impl Fn() -> String + Clone + Send + Sync + 'static,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    let Some(MetricsConfig { listen }) = config else { return Ok(()) };
    let listener = tokio::net::TcpListener::bind(listen).await?;
    tracing::info!(address = %listen, "metrics are served");
    let answer = get(move || std::future::ready(([(CONTENT_TYPE, TEXT)], scrape())));
    serve(listener, Router::new().route("/metrics", answer), None, shutdown).await
}

/// The text of one scrape.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    name: &'static str,
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only grows, until the program starts again. Its name ends in `_total`.
    Counter,
    /// How long something took.
    Histogram,
}

impl Exposition {
    /// Begins a metric; its samples follow.
    pub fn metric(&mut self, name: &'static str, kind: Kind, help: &str) -> &mut Self {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        self.name = name;
        self.text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        self
    }

    /// A gauge of one value.
    pub fn gauge(&mut self, name: &'static str, help: &str, value: f64) {
        self.metric(name, Kind::Gauge, help).sample(&[], value);
    }

    /// One value of the metric that was begun.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.line("", labels, value);
        self
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        self.text += self.name;
        self.text += suffix;
        let mut before = '{';
        for (label, value) in labels {
            self.text.push(before);
            self.text += label;
            self.text += "=\"";
            for character in value.chars() {
                match character {
                    '\\' => self.text += "\\\\",
                    '"' => self.text += "\\\"",
                    '\n' => self.text += "\\n",
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, " {value}");
    }

    /// The whole.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}

/// Counts what happens, by one of a few words.
#[derive(Debug)]
pub struct Tally {
    label: &'static str,
    counts: Vec<(&'static str, AtomicU64)>,
}

impl Tally {
    /// A count for each of `words`, which are all that a label of that name can say.
    #[must_use]
    pub fn new(label: &'static str, words: &[&'static str]) -> Self {
        Self { label, counts: words.iter().map(|word| (*word, AtomicU64::new(0))).collect() }
    }

    /// It happened once more. A word that was not announced is not counted.
    pub fn count(&self, word: &str) {
        if let Some((_, count)) = self.counts.iter().find(|(known, _)| *known == word) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes all counts, those of nothing too: what never happened is known to be nothing.
    pub fn write(&self, exposition: &mut Exposition, name: &'static str, help: &str) {
        exposition.metric(name, Kind::Counter, help);
        for (word, count) in &self.counts {
            exposition.sample(&[(self.label, word)], number(count.load(Ordering::Relaxed)));
        }
    }
}

/// How long something took, each time: so many times up to each of a few limits.
#[derive(Debug)]
pub struct Durations {
    /// In seconds, ascending.
    limits: &'static [f64],
    /// By the first limit that was not passed; the last one is for longer ones.
    counts: Vec<AtomicU64>,
    microseconds: AtomicU64,
}

impl Durations {
    /// None yet. `limits` are in seconds, ascending.
    #[must_use]
    pub fn new(limits: &'static [f64]) -> Self {
        Self {
            limits,
            counts: (0..=limits.len()).map(|_| AtomicU64::new(0)).collect(),
            microseconds: AtomicU64::new(0),
        }
    }

    /// It took so long this time.
    pub fn took(&self, duration: Duration) {
        let place = self.limits.iter().take_while(|limit| duration.as_secs_f64() > **limit).count();
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    /// Does it, and counts how long that took.
    pub fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        self.took(start.elapsed());
        done
    }

    /// Writes it as a histogram.
    pub fn write(&self, exposition: &mut Exposition, name: &'static str, help: &str) {
        exposition.metric(name, Kind::Histogram, help);
        let mut so_far = 0;
        let limits = self.limits.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        for (limit, count) in limits.zip(&self.counts) {
            so_far += count.load(Ordering::Relaxed);
            exposition.line("_bucket", &[("le", &limit)], number(so_far));
        }
        exposition.line("_sum", &[], number(self.microseconds.load(Ordering::Relaxed)) / 1e6);
        exposition.line("_count", &[], number(so_far));
    }
}

/// A count as a sample has it.
#[allow(clippy::cast_precision_loss, reason = "counts up to 2^53 are exact")]
fn number(count: u64) -> f64 {
    count as f64
}

/// Requests by how they were answered.
#[derive(Debug, Clone)]
pub struct Requests(Arc<Tally>);

impl Default for Requests {
    fn default() -> Self {
        let words = ["answered", "unchanged", "refused", "unauthenticated", "limited", "overloaded", "failed"];
        Self(Arc::new(Tally::new("outcome", &words)))
    }
}

impl Requests {
    /// One was answered with this status.
    pub fn answered(&self, status: axum::http::StatusCode) {
        self.0.count(match status.as_u16() {
            304 => "unchanged",
            401 => "unauthenticated",
            429 => "limited",
            503 => "overloaded",
            ..400 => "answered",
            400..500 => "refused",
            500.. => "failed",
        });
    }

    /// Writes the counts.
    pub fn write(&self, exposition: &mut Exposition, name: &'static str) {
        self.0.write(exposition, name, "Requests of the other side, by how they were answered.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_is_text_as_prometheus_reads_it() {
        let mut exposition = Exposition::default();
        exposition.gauge("silent_seconds", "Since when.", 2.5);
        exposition.metric("state", Kind::Gauge, "Of each.").sample(&[("machine", "co1"), ("is", "a \"b\"\\\n")], 1.0);
        let tally = Tally::new("reason", &["refused", "failed"]);
        tally.count("failed");
        tally.count("unheard of");
        tally.write(&mut exposition, "failures_total", "What went wrong.");
        let durations = Durations::new(&[0.1, 1.0]);
        for milliseconds in [50, 100, 101, 3000] {
            durations.took(Duration::from_millis(milliseconds));
        }
        durations.write(&mut exposition, "apply_duration_seconds", "How long.");
        assert_eq!(
            exposition.into_text(),
            "# HELP silent_seconds Since when.\n# TYPE silent_seconds gauge\nsilent_seconds 2.5\n\
             # HELP state Of each.\n# TYPE state gauge\nstate{machine=\"co1\",is=\"a \\\"b\\\"\\\\\\n\"} 1\n\
             # HELP failures_total What went wrong.\n# TYPE failures_total counter\n\
             failures_total{reason=\"refused\"} 0\nfailures_total{reason=\"failed\"} 1\n\
             # HELP apply_duration_seconds How long.\n# TYPE apply_duration_seconds histogram\n\
             apply_duration_seconds_bucket{le=\"0.1\"} 2\napply_duration_seconds_bucket{le=\"1\"} 3\n\
             apply_duration_seconds_bucket{le=\"+Inf\"} 4\napply_duration_seconds_sum 3.251\n\
             apply_duration_seconds_count 4\n"
        );
    }
}
