//! How much is kept.

use std::collections::BTreeSet;

use pconf_names::RevisionId;
use rusqlite::{Transaction, TransactionBehavior};

use crate::error::HistoryError;
use crate::read::KeptTree;
use crate::store::History;

/// How much is kept. The newest revision and the one before it stay in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// At least so many revisions.
    pub revisions: usize,
    /// For so many seconds; `None`: without an end.
    pub seconds: Option<u64>,
}

impl History {
    /// Drops what is beyond `retention` at `now` (Unix seconds), but nothing of `used`; how many revisions went.
    ///
    /// To find out what nobody refers to any more everything is looked through, so it is done for a tenth at a time: until
    /// then there is a little more than asked for.
    pub fn retain(
        &mut self,
        retention: Retention,
        now: u64,
        used: &BTreeSet<RevisionId>,
    ) -> Result<usize, HistoryError> {
        let all = self.revisions(None)?;
        let too_many = retention.revisions + retention.revisions / 10;
        let oldest = retention.seconds.map(|seconds| now.saturating_sub(seconds));
        let oldest_with_a_tenth = retention.seconds.map(|seconds| now.saturating_sub(seconds + seconds / 10));
        let is_due = all.len() > too_many.max(2)
            || oldest_with_a_tenth.is_some_and(|oldest| all.last().is_some_and(|revision| revision.at < oldest));
        if !is_due {
            return Ok(0);
        }
        let dropped: Vec<RevisionId> = all
            .iter()
            .enumerate()
            .filter(|(place, revision)| {
                let is_beyond = *place >= retention.revisions || oldest.is_some_and(|oldest| revision.at < oldest);
                *place >= 2 && is_beyond && !used.contains(&revision.id)
            })
            .map(|(_, revision)| revision.id)
            .collect();
        if dropped.is_empty() {
            return Ok(0);
        }
        let referred = self.referred(&dropped)?;
        self.attempt(|db| {
            let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
            for id in &dropped {
                transaction
                    .prepare_cached("DELETE FROM revision WHERE epoch = ?1 AND number = ?2")?
                    .execute((id.epoch, id.number.cast_signed()))?;
            }
            let blobs: Vec<i64> = transaction
                .prepare("SELECT id FROM blob")?
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for id in blobs.iter().filter(|id| !referred.contains(id)) {
                transaction.prepare_cached("DELETE FROM blob WHERE id = ?1")?.execute([id])?;
            }
            transaction.commit()
        })?;
        Ok(dropped.len())
    }

    /// Every blob that some revision refers to, those of `without` left out.
    fn referred(&self, without: &[RevisionId]) -> Result<BTreeSet<i64>, HistoryError> {
        let without: BTreeSet<_> = without.iter().collect();
        let mut referred = BTreeSet::new();
        for revision in self.revisions(None)?.iter().filter(|revision| !without.contains(&revision.id)) {
            referred.extend([revision.platform, revision.templates, revision.secrets]);
            if !referred.insert(revision.machines) {
                continue;
            }
            for tree in self.machines(revision)?.into_values() {
                if !referred.insert(tree) {
                    continue;
                }
                let KeptTree { rules, files, .. } = self.json(tree)?;
                referred.insert(rules);
                for file in files {
                    if referred.insert(file) {
                        referred.insert(self.kept_file(file)?.text);
                    }
                }
            }
        }
        Ok(referred)
    }
}
