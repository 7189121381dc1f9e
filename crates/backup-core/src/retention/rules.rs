//! The rules, applied to the backups of one source.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{Chains, Decision, Reason, RetentionPolicy, Rule};
use crate::info::BackupInfo;
use crate::repository::{BackupId, BackupType};

/// A stretch of the calendar of which the newest backup is kept.
#[derive(Debug, Clone, Copy)]
pub(super) enum Period {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Period {
    pub(super) const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// Of how many of them a backup is kept.
    pub(super) fn count(self, policy: &RetentionPolicy) -> u32 {
        let count = match self {
            Self::Hour => policy.keep_hourly,
            Self::Day => policy.keep_daily,
            Self::Week => policy.keep_weekly,
            Self::Month => policy.keep_monthly,
            Self::Year => policy.keep_yearly,
        };
        count.unwrap_or(0)
    }

    fn rule(self) -> Rule {
        match self {
            Self::Hour => Rule::KeepHourly,
            Self::Day => Rule::KeepDaily,
            Self::Week => Rule::KeepWeekly,
            Self::Month => Rule::KeepMonthly,
            Self::Year => Rule::KeepYearly,
        }
    }

    /// The one that `time` lies in. The hour that comes twice when clocks are set back is two hours.
    fn at(self, time: DateTime<Utc>, zone: Tz) -> String {
        let time = time.with_timezone(&zone);
        let format = match self {
            Self::Hour => "%Y-%m-%d %H:00 %:z",
            Self::Day => "%Y-%m-%d",
            Self::Week => "%G-W%V",
            Self::Month => "%Y-%m",
            Self::Year => "%Y",
        };
        time.format(format).to_string()
    }
}

/// Decides about the backups of one source, which come oldest first. Chains are not looked after yet.
pub(super) fn judge(
    backups: &[&BackupInfo],
    policy: &RetentionPolicy,
    now: DateTime<Utc>,
    by_id: &HashMap<&BackupId, &BackupInfo>,
    chains: &Chains<'_>,
) -> Vec<Decision> {
    let mut verdicts: Vec<Verdict> = backups.iter().map(|_| Verdict::default()).collect();
    window(backups, policy, now, &mut verdicts);
    for period in Period::ALL {
        calendar(backups, policy, period, &mut verdicts);
    }
    for (backup, verdict) in backups.iter().zip(&mut verdicts) {
        for tag in policy.keep_tags.iter().filter(|tag| tag.matches(&backup.metadata)) {
            verdict.keep(Rule::KeepTags, format!("it has the tag {tag}"));
        }
    }
    min_good(backups, policy, by_id, chains, &mut verdicts);
    backups.iter().zip(verdicts).map(|(backup, verdict)| verdict.decide(backup)).collect()
}

/// What the rules say of one backup.
#[derive(Debug, Default)]
struct Verdict {
    kept: Vec<Reason>,
    dropped: Vec<Reason>,
}

impl Verdict {
    fn keep(&mut self, rule: Rule, detail: impl Into<String>) {
        self.kept.push(Reason::new(rule, detail));
    }

    fn drop(&mut self, rule: Rule, detail: impl Into<String>) {
        self.dropped.push(Reason::new(rule, detail));
    }

    fn decide(self, backup: &BackupInfo) -> Decision {
        let keep = !self.kept.is_empty();
        let mut reasons = if keep { self.kept } else { self.dropped };
        if reasons.is_empty() {
            reasons.push(Reason::new(Rule::Empty, "the policy keeps nothing"));
        }
        Decision { backup: backup.clone(), keep, reasons }
    }
}

/// The newest `max_backups`, from the first on that is not older than `days`. One that follows it in the order was made later, even
/// if a clock said otherwise. The newest is never too old: when backups have stopped coming, the last one is what there is.
fn window(backups: &[&BackupInfo], policy: &RetentionPolicy, now: DateTime<Utc>, verdicts: &mut [Verdict]) {
    let (max, days) = (policy.max_backups, policy.days);
    if (max.is_none() && days.is_none()) || max == Some(0) || days == Some(0) {
        return;
    }
    let age = |backup: &BackupInfo| now.signed_duration_since(backup.created_at);
    let young = |backup: &BackupInfo| days.is_none_or(|days| age(backup) <= TimeDelta::days(days.into()));
    let first = backups.len().saturating_sub(max.map_or(usize::MAX, |max| max as usize));
    let aged = backups.iter().skip(first).take_while(|backup| !young(backup)).count();
    let start = (first + aged).min(backups.len().saturating_sub(1));
    for (place, (backup, verdict)) in backups.iter().zip(verdicts).enumerate() {
        let newer = backups.len() - 1 - place;
        let old = age(backup).num_days();
        if place >= start {
            if max.is_some() {
                let which = if newer == 0 { "the newest".to_owned() } else { format!("{newer} newer") };
                verdict.keep(Rule::MaxBackups, which);
            }
            if days.is_some() && young(backup) {
                verdict.keep(Rule::Days, format!("{} old", plural(old.max(0), "day")));
            } else if days.is_some() {
                let why = if newer == 0 { "the newest" } else { "made after one that is not too old" };
                verdict.keep(Rule::Days, why);
            }
        } else if let (true, Some(max)) = (place < first, max) {
            verdict.drop(Rule::MaxBackups, format!("{newer} newer, and no more than {max} are kept"));
        } else if let Some(days) = days {
            verdict.drop(Rule::Days, format!("{} old, and {days} are kept", plural(old, "day")));
        }
    }
}

/// The newest of each of the newest periods that have backups; and if that one is not verified, the newest of the period that is.
fn calendar(backups: &[&BackupInfo], policy: &RetentionPolicy, period: Period, verdicts: &mut [Verdict]) {
    let (count, rule) = (period.count(policy) as usize, period.rule());
    if count == 0 {
        return;
    }
    let mut seen = HashSet::new();
    let mut verified = HashSet::new();
    for (backup, verdict) in backups.iter().zip(verdicts).rev() {
        let at = period.at(backup.created_at, policy.timezone);
        if !seen.contains(&at) {
            if seen.len() == count {
                verdict.drop(rule, format!("{at}, and no more than {count} are kept"));
                continue;
            }
            seen.insert(at.clone());
            verdict.keep(rule, format!("the newest of {at}"));
        } else if backup.verified.is_some() && !verified.contains(&at) {
            verdict.keep(rule, format!("the newest of {at} that is verified"));
        } else {
            verdict.drop(rule, format!("{at} has a newer one"));
            continue;
        }
        if backup.verified.is_some() {
            verified.insert(at);
        }
    }
}

/// The newest verified backups, a chain counting as one. Backups of selected tables, or of half a database, neither take the
/// place of whole ones nor give theirs to them.
fn min_good(
    backups: &[&BackupInfo],
    policy: &RetentionPolicy,
    by_id: &HashMap<&BackupId, &BackupInfo>,
    chains: &Chains<'_>,
    verdicts: &mut [Verdict],
) {
    let count = policy.min_good.unwrap_or(1) as usize;
    let mut found: HashMap<_, HashSet<_>> = HashMap::new();
    for (backup, verdict) in backups.iter().zip(verdicts).rev().filter(|(backup, _)| is_good(backup, by_id)) {
        let Some(chain) = chains.get(&backup.id) else { continue };
        let found = found.entry((backup.content, backup.partial)).or_default();
        if found.len() < count && found.insert(*chain) {
            let which = if found.len() == 1 {
                "the newest".to_owned()
            } else {
                format!("the {} newest", ordinal(found.len()))
            };
            verdict.keep(Rule::MinGood, format!("{which} that is verified"));
        }
    }
}

/// Whether a backup and everything that it continues are there and verified.
pub(super) fn is_good(backup: &BackupInfo, by_id: &HashMap<&BackupId, &BackupInfo>) -> bool {
    let mut backup = backup;
    // As many steps as there are backups: what goes round in circles is not good.
    for _ in 0..=by_id.len() {
        if backup.verified.is_none() {
            return false;
        }
        match &backup.parent {
            None => return backup.backup_type == BackupType::Full,
            Some(parent) => match by_id.get(parent) {
                Some(parent) => backup = parent,
                None => return false,
            },
        }
    }
    false
}

fn plural(count: i64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn ordinal(number: usize) -> String {
    let suffix = match (number % 10, number % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}
