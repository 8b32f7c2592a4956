//! What changes in a file, without any secret.

use similar::TextDiff;

use crate::masks::Masks;

/// Lines that are shown around a change.
const CONTEXT: usize = 2;

/// Longer differences say how much more there is.
const LONGEST: usize = 60;

/// The two forms of a file; `None` where there is none.
#[derive(Clone, Copy)]
pub struct Changed<'a> {
    /// What stands there.
    pub before: Option<&'a [u8]>,
    /// What will.
    pub after: Option<&'a [u8]>,
}

/// A unified diff of the masked texts, each line with two blanks before it; what is no text, or differs in secrets alone,
/// is said so. Empty where nothing differs.
#[must_use]
pub fn masked_diff(changed: &Changed<'_>, masks: &Masks) -> String {
    let text = |bytes: Option<&[u8]>| std::str::from_utf8(bytes.unwrap_or_default()).map(|text| masks.hide(text));
    let (Ok(before), Ok(after)) = (text(changed.before), text(changed.after)) else {
        return "  (no text)\n".to_owned();
    };
    if before == after {
        return if changed.before == changed.after { String::new() } else { "  (a secret changes)\n".to_owned() };
    }
    let diff = TextDiff::from_lines(&before, &after);
    let shown = diff.unified_diff().context_radius(CONTEXT).to_string();
    let lines = shown.lines().filter(|line| !line.starts_with('\\')).collect::<Vec<_>>();
    let mut text = String::new();
    for line in lines.iter().take(LONGEST) {
        text += &format!("  {line}\n");
    }
    if lines.len() > LONGEST {
        text += &format!("  … {} lines more\n", lines.len() - LONGEST);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_and_a_secret_is_not() {
        let masks = Masks::new(["hunter2".to_owned(), "hunter3".to_owned()]);
        let diff = |before: &str, after: &str| {
            masked_diff(&Changed { before: Some(before.as_bytes()), after: Some(after.as_bytes()) }, &masks)
        };
        assert_eq!(
            diff("a\nkey hunter2\nb\n", "a\nkey hunter2\nc\n"),
            "  @@ -1,3 +1,3 @@\n   a\n   key ••••\n  -b\n  +c\n"
        );
        assert_eq!(diff("key hunter2\n", "key hunter3\n"), "  (a secret changes)\n");
        assert_eq!(masked_diff(&Changed { before: None, after: Some(b"\xff") }, &masks), "  (no text)\n");
        assert_eq!(masked_diff(&Changed { before: None, after: Some(b"x\n") }, &masks), "  @@ -0,0 +1 @@\n  +x\n");
    }
}
