//! Chains: which backup continues which, and which of them reach a point. Everything here follows from headers alone.
//!
//! A chain is a full backup and all backups whose `base` it is. Each of these covers a stretch of the log that starts where its
//! `parent` ends. What a backup takes to be restored is its path: the parents, back to the full backup. A differential backup's
//! parent is the full one, so its path has two members, however many incrementals were made before it.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use crate::error::{Error, ErrorKind, Result};
use crate::info::{ChainInfo, Reach};
use crate::position::{Position, Until};
use crate::repository::{BackupId, BackupType, Header};
use crate::request::Content;

/// What a restore takes: a full backup, what is replayed behind it in order, and how far.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) path: Vec<Header>,
    pub(crate) until: Until,
}

/// How an engine orders positions.
pub(crate) type Order<'a> = dyn Fn(&Position, &Position) -> Result<Option<Ordering>> + Send + Sync + 'a;

/// The backups of a repository, in their order, as chains.
#[derive(Debug)]
pub(crate) struct Chains<'a> {
    headers: &'a [Header],
    by_id: HashMap<&'a BackupId, &'a Header>,
}

impl<'a> Chains<'a> {
    /// `headers` are those of all backups, in their order.
    pub(crate) fn new(headers: &'a [Header]) -> Self {
        Self { headers, by_id: headers.iter().map(|header| (&header.id, header)).collect() }
    }

    /// What restoring `header` takes, the full backup first and itself last. Errors: `Damaged` if something of it is not there, or does not
    /// fit.
    pub(crate) fn path(&self, header: &'a Header) -> Result<Vec<&'a Header>> {
        let mut path = vec![header];
        let mut child = header;
        while child.backup_type != BackupType::Full {
            let parent = child.parent.as_ref().and_then(|id| self.by_id.get(id).copied());
            let Some(parent) = parent else {
                let parent = child.parent.as_ref().map_or("no backup", BackupId::as_str);
                let message = format!("{} continues {parent}, which is not there", child.id);
                return Err(Error::damaged(message).hint("the full backups that are listed can be restored"));
            };
            if !continues(child, parent) {
                let message = format!("{} does not start where {} ends", child.id, parent.id);
                return Err(Error::damaged(message).hint("the full backups that are listed can be restored"));
            }
            path.push(parent);
            child = parent;
        }
        path.reverse();
        Ok(path)
    }

    /// The newest full backup of a database that its log can be continued from.
    pub(crate) fn newest_base(&self, engine: &str, database: &str, log: &str) -> Option<&'a Header> {
        self.headers.iter().rev().find(|header| {
            is_base(header)
                && (header.engine.as_str(), header.database.as_str()) == (engine, database)
                && header.log.as_ref().is_some_and(|record| record.info.id == log)
        })
    }

    /// The paths of the chain of `base` that nothing continues, of the newest backup first. More than one of them are incrementals if two
    /// were made at once.
    pub(crate) fn tips(&self, base: &'a Header) -> Vec<Vec<&'a Header>> {
        let members = || self.members(base);
        let continued: HashSet<_> = members().filter_map(|header| header.parent.as_ref()).collect();
        let ends = members().filter(|header| !continued.contains(&header.id));
        let mut paths: Vec<_> = ends.filter_map(|header| self.path(header).ok()).collect();
        paths.reverse();
        if paths.is_empty() {
            paths.push(vec![base]);
        }
        paths
    }

    /// The backups of a chain in their order, the full one first.
    pub(crate) fn members(&self, base: &'a Header) -> impl Iterator<Item = &'a Header> + use<'a, '_> {
        self.headers.iter().filter(|header| header.id == base.id || header.base.as_ref() == Some(&base.id))
    }

    /// The full backup at the start of the chain of `header`.
    pub(crate) fn base(&self, header: &'a Header) -> Option<&'a Header> {
        header.base.as_ref().map_or(Some(header), |base| self.by_id.get(base).copied())
    }

    /// Plans a restore of `header`, or of a point of its chain; or, for `latest`, of a point of any chain of the same database. Errors:
    /// `Unreachable`; `Damaged`.
    pub(crate) fn plan(
        &self,
        header: &'a Header,
        any_chain: bool,
        until: &Until,
        order: &Order<'_>,
    ) -> Result<Plan> {
        let owned = |path: &[&Header]| path.iter().map(|header| (*header).clone()).collect();
        if *until == Until::End {
            return Ok(Plan { path: owned(&self.path(header)?), until: Until::End });
        }
        let bases: Vec<_> = if any_chain {
            let same =
                |other: &&Header| (&other.engine, &other.database) == (&header.engine, &header.database);
            self.headers.iter().rev().filter(same).filter(|header| is_base(header)).collect()
        } else {
            let base = self.base(header).ok_or_else(|| {
                Error::damaged(format!("the full backup that {} continues is not there", header.id))
            })?;
            [base].into_iter().filter(|base| is_base(base)).collect()
        };
        for base in &bases {
            let mut paths = self.tips(base);
            // What was asked for by name comes first, and then the oldest, which has the shortest log.
            paths.reverse();
            paths.sort_by_key(|path| !path.iter().any(|member| member.id == header.id));
            let reached = match until {
                Until::End => None,
                Until::Time(time) => reaches_time(&paths, *time),
                Until::Position(position) => reaches_position(&paths, position, order)?,
            };
            if let Some(path) = reached {
                return Ok(Plan { path: owned(path), until: until.clone() });
            }
        }
        Err(self.unreachable(header, &bases, until))
    }

    fn unreachable(&self, header: &Header, bases: &[&'a Header], until: &Until) -> Error {
        let what = match until {
            Until::Time(time) => time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
            Until::Position(position) => format!("the position {}", position.0),
            Until::End => "the end".to_owned(),
        };
        if bases.is_empty() {
            let message =
                format!("{} holds no change log, so it can only be restored as it was then", header.id);
            return Error::new(ErrorKind::Unreachable, message)
                .hint(format!("restore it without a point in time, as it was at {}", header.started));
        }
        const SHOWN: usize = 5;
        let mut ranges: Vec<_> = bases
            .iter()
            .take(SHOWN)
            .filter_map(|base| Some((base, self.reach(base)?)))
            .map(|(base, reach)| match until {
                Until::Position(_) => {
                    let ends: Vec<_> = reach.ends.iter().map(|end| end.0.to_string()).collect();
                    format!(
                        "{} and what continues it, from {} to {}",
                        base.id,
                        reach.start.0,
                        ends.join(" or ")
                    )
                }
                _ => format!(
                    "{} and what continues it, from {} until before {}",
                    base.id,
                    reach.from.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
                    reach.before.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
                ),
            })
            .collect();
        if bases.len() > SHOWN {
            ranges.push(format!("{} older chains", bases.len() - SHOWN));
        }
        let message = format!("{what} is not reached by {}", ranges.join(", nor by "));
        Error::new(ErrorKind::Unreachable, message)
            .hint("`lifeboat list` shows all backups, `lifeboat show ID` what the chain of one reaches")
    }

    /// The chain of `header`, if it has a place in a log. Errors: `Damaged`.
    pub(crate) fn info(&self, header: &'a Header) -> Result<Option<ChainInfo>> {
        if header.log.is_none() {
            return Ok(None);
        }
        let ids =
            |headers: &mut dyn Iterator<Item = &Header>| headers.map(|header| header.id.clone()).collect();
        let path = self.path(header)?;
        let base = *path.first().unwrap_or(&header);
        Ok(Some(ChainInfo {
            path: ids(&mut path.iter().copied()),
            members: ids(&mut self.members(base)),
            reach: self.reach(base),
        }))
    }

    /// What the chain of `base` reaches, if it can be continued at all.
    pub(crate) fn reach(&self, base: &'a Header) -> Option<Reach> {
        let (log, start) = base.log.as_ref().zip(base.end.as_ref()).filter(|_| is_base(base))?;
        let mut reach = Reach {
            start: start.clone(),
            ends: Vec::new(),
            from: log.end_time,
            before: log.end_time,
            precision_us: log.info.precision_us,
        };
        for path in self.tips(base) {
            for record in path.iter().filter_map(|member| member.log.as_ref()) {
                reach.before =
                    reach.before.max(record.end_time).max(record.latest_commit.unwrap_or(record.end_time));
            }
            if let Some(end) = path.last().and_then(|member| member.end.clone())
                && !reach.ends.contains(&end)
            {
                reach.ends.push(end);
            }
        }
        Some(reach)
    }
}

/// Whether its log can be continued: it is the whole database, at an exact place in a log.
pub(crate) fn is_base(header: &Header) -> bool {
    header.backup_type == BackupType::Full
        && header.content == Content::All
        && !header.partial
        && header.log.is_some()
        && header.end.is_some()
}

/// Whether `child` covers a stretch of the log that starts where `parent` ends.
fn continues(child: &Header, parent: &Header) -> bool {
    let base = parent.base.as_ref().unwrap_or(&parent.id);
    let log = |header: &Header| header.log.as_ref().map(|record| record.info.id.clone());
    let is_older = parent.ordinal < child.ordinal;
    let fits = match parent.backup_type {
        BackupType::Full => is_base(parent),
        BackupType::Incremental | BackupType::Differential => child.backup_type == BackupType::Incremental,
    };
    let same =
        (&child.engine, &child.database, log(child)) == (&parent.engine, &parent.database, log(parent));
    let meets = child.start.is_some() && child.start == parent.end && child.end.is_some();
    is_older && fits && same && meets && child.base.as_ref() == Some(base)
}

/// The backups that are needed to reach `time`, of the first path that does.
fn reaches_time<'p, 'a>(paths: &'p [Vec<&'a Header>], time: DateTime<Utc>) -> Option<&'p [&'a Header]> {
    let end_time = |header: &Header| header.log.as_ref().map(|record| record.end_time);
    let starts = paths.first()?.first().and_then(|base| end_time(base))?;
    if time < starts {
        return None;
    }
    // A transaction that committed later shows for certain where to stop.
    for path in paths {
        let later = |header: &&Header| {
            header.log.as_ref().and_then(|record| record.latest_commit).is_some_and(|latest| latest > time)
        };
        if let Some(stop) = path.iter().position(later) {
            return path.get(..=stop);
        }
    }
    // Without one it is reached if the log was read when it was later already.
    let read = paths.iter().filter_map(|path| Some((path, end_time(path.last()?)?)));
    let (path, end) = read.max_by_key(|(_, end)| *end)?;
    (time < end).then_some(path)
}

/// The backups that are needed to reach `position`, of the first path that does.
fn reaches_position<'p, 'a>(
    paths: &'p [Vec<&'a Header>],
    position: &Position,
    order: &Order<'_>,
) -> Result<Option<&'p [&'a Header]>> {
    for path in paths {
        for (place, member) in path.iter().enumerate() {
            if member.end.as_ref() == Some(position) {
                return Ok(path.get(..=place));
            }
            if let Some((start, end)) = member.start.as_ref().zip(member.end.as_ref())
                && is_between(start, position, end, order)?
            {
                return Ok(path.get(..=place));
            }
        }
        // The same place may be written in two ways.
        if let Some(end) = path.first().and_then(|base| base.end.as_ref())
            && order(end, position)? == Some(Ordering::Equal)
        {
            return Ok(path.get(..1));
        }
    }
    Ok(None)
}

/// Whether `position` lies behind `start` and not behind `end`.
pub(crate) fn is_between(
    start: &Position,
    position: &Position,
    end: &Position,
    order: &Order<'_>,
) -> Result<bool> {
    Ok(order(start, position)? == Some(Ordering::Less)
        && matches!(order(position, end)?, Some(Ordering::Less | Ordering::Equal)))
}

#[cfg(test)]
mod tests;
