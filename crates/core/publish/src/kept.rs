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
    /// Every line of every file once, its line break included.
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
    /// Of `lines`, in order.
    Lines(Vec<usize>),
    /// What is no text.
    Bytes(Content),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptBundle {
    /// Of `patterns`.
    pattern: usize,
    /// Of `contents`, in the order of the files.
    files: Vec<usize>,
    #[serde(default, skip_serializing_if = "Masks::is_empty")]
    masks: Masks,
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
            bundles.insert(name.clone(), KeptBundle { pattern, files, masks: bundle.masks.clone() });
        }
        let Publication { revision, digest, made_of, .. } = publication;
        Self {
            revision: *revision,
            digest: *digest,
            machines: BTreeMap::new(),
            lines: texts.lines,
            contents: contents.contents,
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
    fn place(&mut self, line: &'p str) -> usize {
        *self.places.entry(line).or_insert_with(|| {
            self.lines.push(line.into());
            self.lines.len() - 1
        })
    }
}

#[derive(Default)]
struct Contents {
    contents: Vec<KeptContent>,
    /// By where the bytes are: machines share them.
    places: HashMap<(*const u8, usize), usize>,
}

impl Contents {
    fn place<'p>(&mut self, content: &'p Content, lines: &mut Lines<'p>) -> usize {
        let bytes = content.as_bytes();
        *self.places.entry((bytes.as_ptr(), bytes.len())).or_insert_with(|| {
            self.contents.push(match std::str::from_utf8(bytes) {
                Ok(text) => KeptContent::Lines(text.split_inclusive('\n').map(|line| lines.place(line)).collect()),
                Err(_) => KeptContent::Bytes(content.clone()),
            });
            self.contents.len() - 1
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
            Self::Lines(places) => {
                let text: Option<String> =
                    places.into_iter().map(|place| lines.get(place).map(|line| &**line)).collect();
                Some(text?.into_bytes().into())
            }
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
        assert_eq!(kept["lines"], serde_json::json!(["one\n", "two\n", "hunter2\n", "no end"]));
        assert_eq!(kept["patterns"].as_array().map(Vec::len), Some(1));
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
