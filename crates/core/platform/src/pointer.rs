//! JSON pointers (RFC 6901), and the dotted form that people read and write in references.

/// The pointer of a child.
pub(crate) fn child(pointer: &str, segment: &str) -> String {
    format!("{pointer}/{}", segment.replace('~', "~0").replace('/', "~1"))
}

/// The pointer around a pointer, and its last segment; `None` for the root.
pub(crate) fn split_last(pointer: &str) -> Option<(&str, String)> {
    pointer.rsplit_once('/').map(|(parent, last)| (parent, unescape(last)))
}

/// The segments from the root down.
pub(crate) fn segments(pointer: &str) -> impl Iterator<Item = String> + '_ {
    pointer.split('/').skip(1).map(unescape)
}

/// As people write it: `/machines/co1/ip` is `machines.co1.ip`.
pub(crate) fn dotted(pointer: &str) -> String {
    segments(pointer).collect::<Vec<_>>().join(".")
}

/// Whether `pointer` is `ancestor` or below it.
pub(crate) fn is_within(pointer: &str, ancestor: &str) -> bool {
    pointer.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn unescape(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_reads_as_its_dotted_form() {
        let pointer = child(&child("/settings", "a/b"), "c~d");
        assert_eq!(pointer, "/settings/a~1b/c~0d");
        assert_eq!(dotted(&pointer), "settings.a/b.c~d");
        assert_eq!(split_last(&pointer), Some(("/settings/a~1b", "c~d".to_owned())));
        assert_eq!(split_last(""), None);
        assert!(is_within(&pointer, "/settings") && is_within("/a", "") && !is_within("/ab", "/a"));
    }
}
