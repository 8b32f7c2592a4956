//! Figures, each as a ratio to a yardstick of the same run: nginx for serving, plain axum
//! for what trust costs, Docker's own restart for restarting.
//!
//! Not part of the tests: a busy machine makes every figure worse, and only ratios carry over to another one.

#![allow(clippy::print_stdout, reason = "a table is what this program is for")]

mod asking;
mod fleet;
mod follower;
mod load;
mod nginx;
mod plain;
mod rendering;
mod restart;
mod rollout;
mod scale;
mod serving;
mod signed;
mod start;
mod statistics;
mod table;
mod trust;
mod waiting;

use std::env;

use anyhow::{Result, bail};

use crate::table::Table;

/// Adds its rows to the table.
type Measure = fn(&mut Table) -> Result<()>;

/// What can be measured, in the order of the table.
const PARTS: [(&str, Measure); 9] = [
    ("serving", serving::measure),
    ("trust", trust::measure),
    ("start", start::measure),
    ("rollout", rollout::measure),
    ("restart", restart::measure),
    ("follower", follower::measure),
    ("rendering", rendering::measure),
    ("scale", scale::measure),
    ("waiting", waiting::measure),
];

fn main() -> Result<()> {
    let wanted: Vec<String> = env::args().skip(1).collect();
    if let [plain::ARGUMENT, address, folder] = wanted.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return plain::serve(address, folder);
    }
    if let Some(unknown) = wanted.iter().find(|name| !PARTS.iter().any(|(part, _)| part == name)) {
        bail!("there is no part `{unknown}`: {}", PARTS.map(|(part, _)| part).join(", "));
    }
    let mut table = Table::default();
    for (part, measure) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|name| name == part) {
            measure(&mut table)?;
        }
    }
    print!("{table}");
    Ok(())
}
