//! "Did you mean": the known word that a mistyped one is closest to.

/// The most similar of the known words, if any is similar enough to be worth saying.
pub(crate) fn closest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let word = word.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for candidate in known {
        let likeness = strsim::jaro_winkler(&word, &candidate.to_lowercase());
        // 0.8 tells `domian` from `domain` and leaves `ip` alone when `id` is no word here.
        if likeness >= 0.8 && best.is_none_or(|(most, _)| likeness > most) {
            best = Some((likeness, candidate));
        }
    }
    best.map(|(_, word)| word)
}

/// The way out of an unknown word: the closest one, or all that there are.
pub(crate) fn help(word: &str, known: &[&str], nothing: &str) -> String {
    const SHOWN: usize = 12;
    if let Some(closest) = closest(word, known.iter().copied()) {
        return format!("did you mean `{closest}`?");
    }
    let mut words: Vec<_> = known.iter().take(SHOWN).map(|word| format!("`{word}`")).collect();
    match known.len().checked_sub(SHOWN) {
        _ if known.is_empty() => return nothing.to_owned(),
        Some(more @ 1..) => words.push(format!("{more} more")),
        _ => {}
    }
    format!("known here: {}", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word_and_nonsense_finds_the_list() {
        assert_eq!(help("domian", &["domain", "mail"], ""), "did you mean `domain`?");
        assert_eq!(help("zzz", &["domain", "mail"], ""), "known here: `domain`, `mail`");
        assert_eq!(help("zzz", &[], "remove it"), "remove it");
    }
}
