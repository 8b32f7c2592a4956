//! The table: what was measured, the figure, the yardstick, their ratio, and what was promised.

use std::fmt;

/// Rows in the order in which they were measured.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<[String; 5]>,
}

impl Table {
    /// Adds a row; a figure without a yardstick has no ratio.
    pub(crate) fn row(&mut self, what: &str, figure: String, yardstick: Option<(String, f64)>, promised: &str) {
        let (yardstick, ratio) = match yardstick {
            Some((yardstick, ratio)) => (yardstick, format!("{ratio:.2}")),
            None => (String::new(), String::new()),
        };
        self.rows.push([what.to_owned(), figure, yardstick, ratio, promised.to_owned()]);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["", "measured", "yardstick", "ratio", "promised"].map(str::to_owned);
        let width = |column: usize| {
            self.rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or_default()
        };
        let (first, second, third, fourth) = (width(0), width(1), width(2), width(3));
        for [what, figure, yardstick, ratio, promised] in [&head].into_iter().chain(&self.rows) {
            let line = format!("{what:first$}  {figure:>second$}  {yardstick:>third$}  {ratio:>fourth$}  {promised}");
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
