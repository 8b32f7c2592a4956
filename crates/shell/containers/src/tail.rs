//! The end of what a program writes, in bounded memory.

/// How much of it is kept, in bytes.
const KEPT: usize = 8 * 1024;

/// Keeps the last 8 KiB.
#[derive(Debug, Default)]
pub(crate) struct Tail(Vec<u8>);

impl Tail {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(KEPT)..];
        let excess = (self.0.len() + bytes.len()).saturating_sub(KEPT);
        self.0.drain(..excess);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn text(&self) -> String {
        printable(&String::from_utf8_lossy(&self.0))
    }
}

/// Without what a terminal would obey: other people's programs wrote it.
fn printable(text: &str) -> String {
    let kept = |char: &char| !char.is_control() || matches!(char, '\n' | '\t');
    text.chars().filter(kept).collect()
}

/// The last lines of a text, the oldest first.
pub(crate) fn last_lines(text: &str, lines: usize) -> Vec<String> {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].iter().map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_what_a_terminal_would_obey_is_not() {
        let mut tail = Tail::default();
        tail.push(&vec![b'a'; 3 * KEPT]);
        tail.push(b"line\x1b[31m 1\r\n");
        assert_eq!(tail.0.len(), KEPT);
        assert!(tail.text().ends_with("aaline[31m 1\n"), "{}", tail.text());
        assert_eq!(last_lines("1\n2\n3\n", 2), ["2", "3"]);
        assert_eq!(last_lines("", 2), Vec::<String>::new());
    }
}
