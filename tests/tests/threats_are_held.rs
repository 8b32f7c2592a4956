//! Every test that docs/threats.md names is there, so that no defence loses its proof unseen.

use std::fs;

use anyhow::{Context as _, Result, ensure};

#[test]
fn every_threat_has_its_row_and_every_row_its_tests() -> Result<()> {
    let root = promises::repository();
    let table = fs::read_to_string(root.join("docs/threats.md"))?;
    let (mut rows, mut missing) = (Vec::new(), Vec::new());
    for row in table.lines().filter(|line| line.starts_with("| T")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        rows.push(cells[0].to_owned());
        let mut source = None;
        let named = cells.last().context("a row has cells")?.split('`').skip(1).step_by(2);
        for name in named {
            if root.join(name).is_file() {
                source = Some((name, fs::read_to_string(root.join(name))?));
            } else {
                match &source {
                    Some((_, text)) if text.contains(&format!("fn {name}(")) => {}
                    found => missing.push(format!("{} {name} ({:?})", cells[0], found.as_ref().map(|(file, _)| file))),
                }
            }
        }
    }
    assert_eq!(rows, (1..=25).map(|number| format!("T{number}")).collect::<Vec<_>>());
    ensure!(missing.is_empty(), "{missing:#?}");
    Ok(())
}
