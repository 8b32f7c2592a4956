//! What monitors read is what Prometheus can read, tells where every machine is, and has all that the shipped alerts and the
//! shipped dashboard ask for.

#![allow(clippy::float_cmp, reason = "counts and numbers of revisions are whole")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use promises::{Answer, Platform, TemplateSet, eventually, get, repository};
use serde_json::{Value, json};

/// The metrics of a scrape: each one's type, and its samples by name and labels.
#[derive(Debug, Default)]
struct Scrape {
    types: BTreeMap<String, String>,
    samples: BTreeMap<(String, BTreeMap<String, String>), f64>,
}

impl Scrape {
    fn of(answer: &Answer) -> Result<Self> {
        ensure!(answer.status == 200, "{}", answer.text());
        let kind = answer.header("content-type").context("a type")?;
        ensure!(kind == "text/plain; version=0.0.4; charset=utf-8", "{kind}");
        let text = answer.text();
        Self::read(&text).with_context(|| text.clone())
    }

    /// Reads the text format 0.0.4 as strictly as it is written down: what is not allowed is an error.
    fn read(text: &str) -> Result<Self> {
        ensure!(text.ends_with('\n'), "the last line does not end");
        let mut scrape = Self::default();
        let mut current = String::new();
        let mut helped = BTreeSet::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, _) = help.split_once(' ').context("help without text")?;
                ensure!(helped.insert(name.to_owned()), "`{name}` has two helps");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').context("type without a word")?;
                ensure!(["gauge", "counter", "histogram"].contains(&kind), "`{kind}` is no type");
                ensure!(helped.contains(name) && is_name(name), "`{name}`");
                ensure!((kind == "counter") == name.ends_with("_total"), "`{name}` is a {kind}");
                ensure!(scrape.types.insert(name.to_owned(), kind.to_owned()).is_none(), "`{name}` comes twice");
                name.clone_into(&mut current);
            } else {
                let (name, labels, value) = sample(line).with_context(|| format!("`{line}`"))?;
                let kind = scrape.types.get(&current).context("a sample before its type")?;
                let suffix = name.strip_prefix(&current).with_context(|| format!("`{name}` below `{current}`"))?;
                let allowed: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                ensure!(allowed.contains(&suffix), "`{name}` is no part of a {kind}");
                ensure!(labels.contains_key("le") == (suffix == "_bucket"), "`{line}`");
                ensure!(kind == "gauge" || value >= 0.0, "`{line}`");
                ensure!(scrape.samples.insert((name, labels), value).is_none(), "`{line}` comes twice");
            }
        }
        for (name, _) in scrape.types.iter().filter(|(_, kind)| *kind == "histogram") {
            let mut buckets: Vec<(f64, f64)> = scrape
                .samples
                .iter()
                .filter(|((sample, _), _)| *sample == format!("{name}_bucket"))
                .map(|((_, labels), count)| Ok((labels["le"].replace("+Inf", "inf").parse()?, *count)))
                .collect::<Result<_>>()?;
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            ensure!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{name}: {buckets:?}");
            let last = buckets.last().context("a histogram without buckets")?;
            ensure!(last.0.is_infinite() && last.1 == scrape.value(&format!("{name}_count"), &[])?, "{name}");
            scrape.value(&format!("{name}_sum"), &[])?;
        }
        Ok(scrape)
    }

    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let key = (name.to_owned(), labels);
        self.samples.get(&key).copied().with_context(|| format!("there is no {key:?} in {self:#?}"))
    }

    /// Whether somebody who asks for this name gets an answer.
    fn knows(&self, name: &str) -> bool {
        self.types.get(name).is_some_and(|kind| kind != "histogram")
            || self.samples.keys().any(|(known, _)| known == name)
    }
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// One sample: name, labels, value.
fn sample(line: &str) -> Result<(String, BTreeMap<String, String>, f64)> {
    let end = line.find(['{', ' ']).context("no value")?;
    let (name, mut rest) = line.split_at(end);
    ensure!(is_name(name));
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").context("no label")?;
            ensure!(is_name(label));
            let (mut value, mut characters) = (String::new(), after.char_indices());
            let end = loop {
                match characters.next().context("a label without an end")? {
                    (at, '"') => break at,
                    (_, '\\') => match characters.next().context("an escape without an end")?.1 {
                        'n' => value.push('\n'),
                        escaped @ ('\\' | '"') => value.push(escaped),
                        other => bail!("`\\{other}`"),
                    },
                    (_, other) => value.push(other),
                }
            };
            ensure!(labels.insert(label.to_owned(), value).is_none());
            rest = &after[end + 1..];
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').context("no end of labels")?;
    }
    let value = rest.strip_prefix(' ').context("no value")?;
    ensure!(!value.contains(' '), "a time");
    Ok((name.to_owned(), labels, value.parse()?))
}

/// A platform whose leader and follower can be scraped, and where.
fn monitored() -> Result<(Platform, SocketAddr, SocketAddr)> {
    let mut platform = Platform::little(&TemplateSet::little(), &["a"])?;
    let (leader, follower) =
        (SocketAddr::new(platform.address().ip(), 7002), SocketAddr::new(platform.address().ip(), 6002));
    platform.configure_leader("metrics", json!({ "listen": leader }))?;
    platform.machine("a")?.configure("metrics", json!({ "listen": follower }))?;
    platform.start()?;
    Ok((platform, leader, follower))
}

fn scrape(of: SocketAddr) -> Result<Scrape> {
    Scrape::of(&get(of, "/metrics")?)
}

#[test]
fn metrics_tell_where_every_machine_is() -> Result<()> {
    let (mut platform, leader, follower) = monitored()?;
    let (of_a, first) = ([("machine", "a")], scrape(leader)?);
    platform.roll_out(|platform| platform.set("/greeting", json!("again")))?;
    let now = scrape(leader)?;
    assert_eq!(
        now.value("config_leader_revision_number", &[])?,
        first.value("config_leader_revision_number", &[])? + 1.0
    );
    for metric in ["desired", "on_disk", "running"] {
        let of_machine = now.value(&format!("config_leader_machine_{metric}_number"), &of_a)?;
        assert_eq!(of_machine, now.value("config_leader_revision_number", &[])?, "{metric}");
        let own = eventually("the follower tells the same", || {
            let own = scrape(follower)?.value(&format!("config_follower_{metric}_number"), &[])?;
            Ok((own == of_machine).then_some(own))
        });
        own.with_context(|| metric.to_owned())?;
    }
    let state = [("machine", "a"), ("role", "app"), ("state", "running")];
    assert_eq!(now.value("config_leader_machine_state", &state)?, 1.0);
    for metric in ["behind_seconds", "owed_actions", "failed_services", "drift", "push_failed"] {
        assert_eq!(now.value(&format!("config_leader_machine_{metric}"), &of_a)?, 0.0, "{metric}");
    }
    assert!(now.value("config_leader_machine_silent_seconds", &of_a)? < 60.0);
    assert!(now.value("config_leader_publish_duration_seconds_count", &[])? >= 1.0);
    assert!(now.value("config_leader_requests_total", &[("outcome", "answered")])? >= 3.0);
    let own = scrape(follower)?;
    assert!(own.value("config_follower_apply_duration_seconds_count", &[])? >= 2.0);
    assert!(own.value("config_follower_clock_skew_seconds", &[])?.abs() <= 1.0);
    assert!(own.value("config_follower_silent_seconds", &[])? < 60.0);

    platform.write_text("{ broken")?;
    platform.wait_for_problems(true)?;
    let broken = scrape(leader)?;
    assert!(broken.value("config_leader_problems", &[])? >= 1.0);
    assert_eq!(broken.value("config_leader_failures_total", &[("reason", "inputs")])?, 1.0);
    // Nothing but that is there, and followers' own listeners do not have it.
    assert_eq!(get(leader, "/conf/app")?.status, 404);
    assert_ne!(get(platform.address(), "/metrics")?.status, 200);
    Ok(())
}

#[test]
fn every_metric_that_the_shipped_alerts_and_dashboard_name_is_there() -> Result<()> {
    let (_platform, leader, follower) = monitored()?;
    let (leader, follower) = (scrape(leader)?, scrape(follower)?);
    let folder = repository().join("deploy/monitoring");
    for file in ["alerts.yml", "alerts.test.yml", "dashboard.json"] {
        let text = fs::read_to_string(folder.join(file))?;
        let words: BTreeSet<&str> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        let named: Vec<&str> = words
            .into_iter()
            .filter(|word| word.starts_with("config_leader_") || word.starts_with("config_follower_"))
            .collect();
        ensure!(named.len() > 10, "{file} names {named:?}");
        for name in named {
            ensure!(leader.knows(name) || follower.knows(name), "{file} asks for `{name}`, which nobody tells");
        }
    }
    let _: Value = serde_json::from_slice(&fs::read(folder.join("dashboard.json"))?)?;
    Ok(())
}

#[test]
fn every_shipped_alert_is_tried() -> Result<()> {
    let folder = repository().join("deploy/monitoring");
    let names = |file: &str, key: &str| -> Result<BTreeSet<String>> {
        let text = fs::read_to_string(folder.join(file))?;
        Ok(text.lines().filter_map(|line| line.trim().strip_prefix(key)).map(str::to_owned).collect())
    };
    let alerts = names("alerts.yml", "- alert: ")?;
    assert!(alerts.len() > 10, "{alerts:?}");
    assert_eq!(names("alerts.test.yml", "- alertname: ")?, alerts);
    Ok(())
}
