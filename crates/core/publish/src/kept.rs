//! A publication as it is kept. A thousand machines of one role differ in a few lines: each line is kept once, and so is
//! what their bundles have in common, so that a leader of many machines starts as soon as one of few.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use pconf_bundle::{Bundle, Content, Masks};
use pconf_names::{Digest, MachineName, RevisionId, RoleName};
use serde::{Deserialize, Serialize};

use crate::made_of::MadeOf;
use crate::publication::Publication;

/// The form of a [`Publication`] on the disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept<'p> {
    revision: RevisionId,
    digest: Digest,
    /// Whole bundles, as they were kept before there was the rest; read, and not written any more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    machines: BTreeMap<MachineName, Bundle>,
    /// Every line of every file once, its line break included, and every line of a mask.
    #[serde(default)]
    lines: Vec<Cow<'p, str>>,
    /// Every content once.
    #[serde(default)]
    contents: Vec<KeptContent>,
    /// What bundles have in common: all but the machine, its masks and the bytes of its files.
    #[serde(default)]
    patterns: Vec<Bundle>,
    #[serde(default)]
    bundles: BTreeMap<MachineName, KeptBundle>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made_of: Option<MadeOf>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KeptContent {
    Lines(Runs),
    /// What is no text.
    Bytes(Content),
}

/// Stretches of `lines`, in order, each by its beginning and its length: what machines share is one after the other there.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
struct Runs(Vec<usize>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptBundle {
    /// Of `patterns`.
    pattern: usize,
    /// Of `contents`, in the order of the files.
    files: Vec<usize>,
    masks: Runs,
}

/// A part is missing.
#[derive(Debug, thiserror::Error)]
#[error("something is missing of what `{0}` gets")]
pub(crate) struct Incomplete(MachineName);

impl<'p> Kept<'p> {
    pub(crate) fn of(publication: &'p Publication) -> Self {
        let (mut texts, mut contents) = (Lines::default(), Contents::default());
        let mut patterns = Vec::new();
        let mut newest: BTreeMap<&RoleName, usize> = BTreeMap::new();
        let mut bundles = BTreeMap::new();
        for (name, bundle) in &publication.machines {
            let pattern = pattern_of(bundle);
            // Compared with the one before of its role only: where each machine is another, that is no search among all of them.
            let known = newest.get(&bundle.role).copied().filter(|known| patterns.get(*known) == Some(&pattern));
            let pattern = known.unwrap_or_else(|| {
                patterns.push(pattern);
                patterns.len() - 1
            });
            newest.insert(&bundle.role, pattern);
            let files = bundle.files.iter().map(|file| contents.place(&file.content, &mut texts)).collect();
            let masks = texts.runs(bundle.masks.lines());
            bundles.insert(name.clone(), KeptBundle { pattern, files, masks });
        }
        let Publication { revision, digest, made_of, .. } = publication;
        Self {
            revision: *revision,
            digest: *digest,
            machines: BTreeMap::new(),
            lines: texts.lines,
            contents: contents.all,
            patterns,
            bundles,
            made_of: made_of.clone(),
        }
    }
}

/// What other machines may have in common with one.
fn pattern_of(bundle: &Bundle) -> Bundle {
    // No machine's name: it is filled in again.
    let Ok(machine) = "any".parse() else { unreachable!("`any` may be a machine's name") };
    let mut pattern = Bundle { machine, masks: Masks::default(), ..bundle.clone() };
    let nothing = Content::from(Vec::new());
    pattern.files.iter_mut().for_each(|file| file.content = nothing.clone());
    pattern
}

#[derive(Default)]
struct Lines<'p> {
    lines: Vec<Cow<'p, str>>,
    places: HashMap<&'p str, usize>,
}

impl<'p> Lines<'p> {
    fn runs(&mut self, lines: impl Iterator<Item = &'p str>) -> Runs {
        let mut runs = Vec::new();
        for line in lines {
            let place = *self.places.entry(line).or_insert_with(|| {
                self.lines.push(line.into());
                self.lines.len() - 1
            });
            match runs.as_mut_slice() {
                [.., from, length] if *from + *length == place => *length += 1,
                _ => runs.extend([place, 1]),
            }
        }
        Runs(runs)
    }
}

impl Runs {
    /// The lines themselves, if they are all there.
    fn lines<'l>(&self, lines: &'l [Cow<'_, str>]) -> Option<Vec<&'l str>> {
        let mut found = Vec::new();
        for run in self.0.chunks(2) {
            let [from, length] = *run else { return None };
            found.extend(lines.get(from..from.checked_add(length)?)?.iter().map(|line| &**line));
        }
        Some(found)
    }
}

#[derive(Default)]
struct Contents {
    all: Vec<KeptContent>,
    /// By where the bytes are: machines share them.
    places: HashMap<(*const u8, usize), usize>,
    /// By what the bytes are.
    same: HashMap<Runs, usize>,
}

impl Contents {
    fn place<'p>(&mut self, content: &'p Content, lines: &mut Lines<'p>) -> usize {
        let Self { all, places, same } = self;
        let bytes = content.as_bytes();
        let mut add = |content| {
            all.push(content);
            all.len() - 1
        };
        *places.entry((bytes.as_ptr(), bytes.len())).or_insert_with(|| match std::str::from_utf8(bytes) {
            Ok(text) => {
                let runs = lines.runs(text.split_inclusive('\n'));
                *same.entry(runs.clone()).or_insert_with(|| add(KeptContent::Lines(runs)))
            }
            Err(_) => add(KeptContent::Bytes(content.clone())),
        })
    }
}

impl TryFrom<Kept<'_>> for Publication {
    type Error = Incomplete;

    fn try_from(kept: Kept<'_>) -> Result<Self, Incomplete> {
        let Kept { revision, digest, mut machines, lines, contents, patterns, bundles, made_of } = kept;
        let contents: Vec<Option<Content>> = contents.into_iter().map(|content| content.whole(&lines)).collect();
        for (name, KeptBundle { pattern, files, masks }) in bundles {
            let incomplete = || Incomplete(name.clone());
            let pattern = patterns.get(pattern).filter(|pattern| pattern.files.len() == files.len());
            let masks = masks.lines(&lines).ok_or_else(incomplete)?;
            let masks = Masks::new(masks.into_iter().map(str::to_owned));
            let mut bundle = Bundle { machine: name.clone(), masks, ..pattern.cloned().ok_or_else(incomplete)? };
            for (file, content) in bundle.files.iter_mut().zip(files) {
                file.content = contents.get(content).cloned().flatten().ok_or_else(incomplete)?;
            }
            machines.insert(name, bundle);
        }
        Ok(Self { revision, digest, machines, made_of })
    }
}

impl KeptContent {
    fn whole(self, lines: &[Cow<'_, str>]) -> Option<Content> {
        match self {
            Self::Bytes(content) => Some(content),
            Self::Lines(runs) => Some(runs.lines(lines)?.concat().into_bytes().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Tested = Result<(), Box<dyn std::error::Error>>;

    /// What was kept whole, by an earlier version of this program.
    const WHOLE: &str = r#"{
      "revision": "1.7", "digest": "dab60be5406dcca23398f2e344d5d1cd27333f0cf2052c42b1a466a4eea7512d",
      "machines": {
        "a": { "revision": "1.7", "machine": "a", "role": "app", "masks": ["hunter2"], "directories": [], "files": [
          { "path": "conf/a", "class": "config", "owner": "0:0", "mode": "0640", "text": "one\ntwo\nhunter2\n" },
          { "path": "conf/z", "class": "config", "owner": "0:0", "mode": "0640", "base64": "/wD/" } ] },
        "b": { "revision": "1.7", "machine": "b", "role": "app", "directories": [], "files": [
          { "path": "conf/a", "class": "config", "owner": "0:0", "mode": "0640", "text": "one\ntwo\nno end" },
          { "path": "conf/z", "class": "config", "owner": "0:0", "mode": "0640", "text": "" } ] }
      }
    }"#;

    #[test]
    fn what_is_kept_comes_back_byte_for_byte_and_each_line_is_kept_once() -> Tested {
        let whole: Publication = serde_json::from_str(WHOLE)?;
        let kept = serde_json::to_value(&whole)?;
        assert_eq!(serde_json::from_value::<Publication>(kept.clone())?, whole);
        assert_eq!(kept["lines"], serde_json::json!(["one\n", "two\n", "hunter2\n", "hunter2", "no end"]));
        assert_eq!(kept["patterns"].as_array().map(Vec::len), Some(1));
        assert_eq!(kept["contents"][0], serde_json::json!({ "lines": [0, 3] }));
        assert_eq!(kept["contents"][2], serde_json::json!({ "lines": [0, 2, 4, 1] }));
        let texts: Vec<_> = whole.machines.values().map(|bundle| bundle.files[0].content.as_bytes()).collect();
        assert_eq!(texts, [b"one\ntwo\nhunter2\n".as_slice(), b"one\ntwo\nno end"]);
        Ok(())
    }

    #[test]
    fn what_is_incomplete_is_refused() -> Tested {
        let kept = serde_json::to_value(serde_json::from_str::<Publication>(WHOLE)?)?;
        for missing in ["lines", "contents", "patterns"] {
            let mut damaged = kept.clone();
            damaged[missing] = serde_json::json!([]);
            let refused = serde_json::from_value::<Publication>(damaged).err().ok_or(missing)?;
            assert_eq!(refused.to_string(), "something is missing of what `a` gets", "without {missing}");
        }
        Ok(())
    }
}
