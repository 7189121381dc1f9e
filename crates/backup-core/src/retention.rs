//! Retention: which backups are kept, and by which rule. It looks at no clock and no storage, and deletes nothing.
//!
//! Each source (an engine and a database) is looked at by itself, its backups in their order, which no clock decides. What one rule keeps
//! is kept, whatever the others say, and with it the whole chain that it belongs to.

mod rules;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::info::BackupInfo;
use crate::repository::BackupId;

/// Which backups of a source are kept. The default keeps none, and is refused.
///
/// `max_backups` and `days` are one rule, the window: at most so many, and of these only from the first on that is not older than so
/// many days, but always the newest. Every other rule keeps more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RetentionPolicy {
    /// The window: at most this many, the newest.
    pub max_backups: Option<u32>,
    /// The window: none that are older than this many times 24 hours.
    pub days: Option<u32>,
    /// The newest of each of this many hours, days, weeks (from Monday), months and years that have backups.
    pub keep_hourly: Option<u32>,
    /// See [`Self::keep_hourly`].
    pub keep_daily: Option<u32>,
    /// See [`Self::keep_hourly`].
    pub keep_weekly: Option<u32>,
    /// See [`Self::keep_hourly`].
    pub keep_monthly: Option<u32>,
    /// See [`Self::keep_hourly`].
    pub keep_yearly: Option<u32>,
    /// The newest verified backups that are never dropped, a chain counting as one. Not said, it is the newest one.
    pub min_good: Option<u32>,
    /// Tags that pin a backup.
    pub keep_tags: Vec<TagPattern>,
    /// Where hours, days, weeks, months and years begin. UTC if it is not said.
    pub timezone: Tz,
}

impl RetentionPolicy {
    /// At most `max_backups` backups, none of them older than `days`.
    pub fn window(max_backups: u32, days: u32) -> Self {
        Self { max_backups: Some(max_backups), days: Some(days), ..Self::default() }
    }

    /// Whether no rule would keep a single backup. What only protects (`min_good`, `keep_tags`) does not count: who writes no more than
    /// that does not mean that everything else shall go.
    pub fn is_empty(&self) -> bool {
        let window = [self.max_backups, self.days];
        let window = window.iter().flatten().count() > 0 && !window.contains(&Some(0));
        !window && rules::Period::ALL.iter().all(|period| period.count(self) == 0)
    }
}

/// A tag by its key, or by its key and its value: `pin`, `pin=yes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagPattern {
    key: String,
    value: Option<String>,
}

impl TagPattern {
    fn matches(&self, tags: &BTreeMap<String, String>) -> bool {
        let found = tags.get(&self.key);
        found.is_some_and(|found| self.value.as_ref().is_none_or(|value| value == found))
    }
}

impl FromStr for TagPattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text, None),
        };
        if key.is_empty() {
            return Err(Error::usage(format!("{text:?} is no tag")).hint("write it like pin or pin=yes"));
        }
        Ok(Self { key: key.to_owned(), value })
    }
}

impl fmt::Display for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.key),
            None => f.write_str(&self.key),
        }
    }
}

/// The policies of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Retention {
    /// The policy of every source that has none of its own. Without it, their backups are kept.
    pub others: Option<RetentionPolicy>,
    /// Policies by engine and database.
    pub sources: BTreeMap<(String, String), RetentionPolicy>,
}

impl Retention {
    /// One policy for every source.
    pub fn all(policy: RetentionPolicy) -> Self {
        Self { others: Some(policy), sources: BTreeMap::new() }
    }

    /// The policy of a source, or `None`: then its backups are kept.
    pub fn of(&self, engine: &str, database: &str) -> Option<&RetentionPolicy> {
        self.sources.get(&(engine.to_owned(), database.to_owned())).or(self.others.as_ref())
    }
}

/// The name of a rule, as the configuration has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Rule {
    /// The window, by number.
    MaxBackups,
    /// The window, by age.
    Days,
    /// The newest of an hour.
    KeepHourly,
    /// The newest of a day.
    KeepDaily,
    /// The newest of a week.
    KeepWeekly,
    /// The newest of a month.
    KeepMonthly,
    /// The newest of a year.
    KeepYearly,
    /// Among the newest verified ones.
    MinGood,
    /// Pinned by a tag.
    KeepTags,
    /// Belongs to a chain of which another backup is kept.
    Chain,
    /// No policy says anything of this source.
    NoPolicy,
    /// The policy has no rule that keeps backups.
    Empty,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MaxBackups => "max-backups",
            Self::Days => "days",
            Self::KeepHourly => "keep-hourly",
            Self::KeepDaily => "keep-daily",
            Self::KeepWeekly => "keep-weekly",
            Self::KeepMonthly => "keep-monthly",
            Self::KeepYearly => "keep-yearly",
            Self::MinGood => "min-good",
            Self::KeepTags => "keep-tags",
            Self::Chain => "chain",
            Self::NoPolicy => "no-policy",
            Self::Empty => "empty",
        })
    }
}

/// What a rule says of one backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Reason {
    /// The rule.
    pub rule: Rule,
    /// Why it keeps the backup, or does not.
    pub detail: String,
}

impl Reason {
    fn new(rule: Rule, detail: impl Into<String>) -> Self {
        Self { rule, detail: detail.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.detail)
    }
}

/// Whether a backup is kept, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Decision {
    /// The backup.
    #[serde(flatten)]
    pub backup: BackupInfo,
    /// Whether it is kept.
    pub keep: bool,
    /// Each rule that keeps it; of one that is dropped, why each rule of the policy does not.
    pub reasons: Vec<Reason>,
}

/// What is to become of every backup.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct RetentionPlan {
    /// Every backup, by source, oldest first.
    pub decisions: Vec<Decision>,
}

impl RetentionPlan {
    /// Decides about `backups`, all those that the repository has, at the time `now`.
    ///
    /// Errors: `Usage` for an empty policy, unless `allow_empty` says that this is meant. Even then the newest verified backups are kept
    /// (`min_good`, which can be 0).
    pub fn new(
        backups: &[BackupInfo],
        retention: &Retention,
        now: DateTime<Utc>,
        allow_empty: bool,
    ) -> Result<Self> {
        let by_id: HashMap<&BackupId, &BackupInfo> =
            backups.iter().map(|backup| (&backup.id, backup)).collect();
        let chains = chains(backups);
        let mut sources: BTreeMap<(&str, &str), Vec<&BackupInfo>> = BTreeMap::new();
        for backup in backups {
            sources.entry((&backup.engine, &backup.database)).or_default().push(backup);
        }
        let named = retention.sources.iter().map(|((_, database), policy)| (database.as_str(), policy));
        let others = retention.others.iter().map(|policy| ("every other source", policy));
        for (source, policy) in named.chain(others) {
            if policy.is_empty() && !allow_empty {
                let message = format!("the retention of {source} would keep nothing");
                return Err(Error::usage(message).hint(
                    "give it max-backups, days or one of keep-*; or, if that is meant, say --allow-empty",
                ));
            }
        }
        let mut decisions = Vec::with_capacity(backups.len());
        for ((engine, database), mut of_source) in sources {
            of_source.sort_by_key(|backup| (backup.ordinal, backup.created_at, &backup.id));
            match retention.of(engine, database) {
                Some(policy) => decisions.extend(rules::judge(&of_source, policy, now, &by_id, &chains)),
                None => decisions.extend(of_source.into_iter().map(|backup| Decision {
                    backup: backup.clone(),
                    keep: true,
                    reasons: vec![Reason::new(Rule::NoPolicy, "no retention is configured for this source")],
                })),
            }
        }
        keep_chains(&mut decisions, &chains);
        Ok(Self { decisions })
    }

    /// Those that are dropped, newest first: no backup before one that continues it.
    pub fn dropped(&self) -> Vec<&BackupInfo> {
        let mut dropped: Vec<_> = self
            .decisions
            .iter()
            .filter(|decision| !decision.keep)
            .map(|decision| &decision.backup)
            .collect();
        dropped.sort_by_key(|backup| std::cmp::Reverse((backup.ordinal, backup.created_at, &backup.id)));
        dropped
    }
}

/// The chain that each backup belongs to, named by one of its members (or by one that is gone).
type Chains<'a> = HashMap<&'a BackupId, &'a BackupId>;

/// Joins backups that continue each other, also over one that cannot be read or is gone.
fn chains(backups: &[BackupInfo]) -> Chains<'_> {
    fn root<'a>(joined: &mut Chains<'a>, id: &'a BackupId) -> &'a BackupId {
        let (mut root, mut next) = (id, id);
        while let Some(above) = joined.get(root).copied().filter(|above| *above != root) {
            root = above;
        }
        // What was on the way is joined to the root, so that long chains are not walked again.
        while let Some(above) = joined.insert(next, root).filter(|above| *above != next) {
            next = above;
        }
        root
    }
    let mut joined = Chains::new();
    for backup in backups {
        for other in [&backup.parent, &backup.base].into_iter().flatten() {
            let (a, b) = (root(&mut joined, &backup.id), root(&mut joined, other));
            joined.insert(a, b);
        }
    }
    backups.iter().map(|backup| (&backup.id, root(&mut joined, &backup.id))).collect()
}

/// Keeps every backup of a chain of which one is kept.
fn keep_chains(decisions: &mut [Decision], chains: &Chains<'_>) {
    let kept: HashMap<&BackupId, BackupId> = (decisions.iter().filter(|decision| decision.keep))
        .filter_map(|decision| {
            let id = &decision.backup.id;
            chains.get(id).map(|chain| (*chain, id.clone()))
        })
        .collect();
    for decision in decisions.iter_mut().filter(|decision| !decision.keep) {
        if let Some(other) = chains.get(&decision.backup.id).and_then(|chain| kept.get(chain)) {
            decision.keep = true;
            decision.reasons = vec![Reason::new(Rule::Chain, format!("belongs together with {other}"))];
        }
    }
}
