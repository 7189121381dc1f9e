//! The repository itself: every manifest, every list, every chunk, whatever backups share.
//!
//! Memory does not grow with the number of chunks: they are gone through in passes of at most [`chunks::PASS`], by the beginning of their
//! ids. What grows is a kilobyte or so for each backup, and a bit for each chunk that a damaged backup names.

mod affected;
mod chunks;
mod report;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::{StreamExt, TryStreamExt, stream};

pub use report::{Affected, CheckReport, Damage, Orphans};

use self::chunks::Lists;
use super::BackupManager;
use crate::context::Ctx;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::{Event, Stage};
use crate::repository::{BackupId, Hash32, Header, Purpose, Repository};
use crate::single_file::FileSource;
use crate::storage::Key;

/// How many small objects are read at once.
const AT_ONCE: usize = 16;

impl BackupManager {
    /// Checks the whole repository: whether every manifest and every list can be read and fits its hash, and whether every chunk and file
    /// is there and has its size; with `read_data` also every stored byte, once, however many backups share it.
    ///
    /// Damage is no error: the report names it, which backups it affects, and what of them can still be restored.
    /// Memory: about 110 MiB, `jobs` chunks, and some kilobytes a backup, whatever the number of chunks.
    pub async fn check(&self, read_data: bool) -> Result<CheckReport> {
        let repository = self.repository().await?;
        // So that nothing is deleted meanwhile and then missed.
        let lease = self.lease(&repository, Purpose::Check).await?;
        self.ctx.emit(Event::Stage(Stage::Check));
        let jobs = self.config.jobs.max(1);
        let check = Check { ctx: lease.ctx(), repository: &repository, read_data, jobs, pass: chunks::PASS };
        let checked = check.run().await;
        lease.end(checked).await
    }
}

struct Check<'a> {
    ctx: &'a Ctx,
    repository: &'a Repository,
    read_data: bool,
    jobs: usize,
    /// How many chunks are known at once.
    pass: usize,
}

/// What was found out so far.
struct Findings {
    report: CheckReport,
    headers: Vec<Header>,
    /// The backups, by their place among the headers, that damage was found in.
    bad: BTreeSet<usize>,
    /// The key of chunk ids, as a backup that can be read here says it.
    chunk_key: Option<Hash32>,
}

impl Findings {
    /// Notes that an object is damaged which these backups need.
    fn damage(&mut self, object: &Key, what: impl Into<String>, backups: impl IntoIterator<Item = usize>) {
        let backups: BTreeSet<usize> = backups.into_iter().collect();
        let names = backups.iter().filter_map(|place| self.headers.get(*place));
        let damage = Damage {
            object: object.to_string(),
            what: what.into(),
            backups: names.map(|header| header.id.to_string()).collect(),
        };
        self.report.note(damage);
        self.bad.extend(backups);
    }
}

/// What is wrong with an object, if this error says so; others end the check. A manifest that says another codec or sealing than this
/// program or its repository knows is one backup's fault, and no reason to leave out all others.
fn damage(error: Error) -> Result<String> {
    match error.kind() {
        ErrorKind::Damaged
        | ErrorKind::NotFound
        | ErrorKind::Io
        | ErrorKind::NewerFormat
        | ErrorKind::Unsupported
        | ErrorKind::MissingKey
        | ErrorKind::UnknownSigner => Ok(error.message()),
        _ => Err(error),
    }
}

impl Check<'_> {
    async fn run(&self) -> Result<CheckReport> {
        let listing = self.repository.listing(self.ctx).await?;
        let unreadable = listing.unreadable.len();
        let backups = (listing.headers.len() + unreadable) as u64;
        let report = CheckReport { backups, ..CheckReport::default() };
        let mut findings =
            Findings { report, headers: listing.headers, bad: BTreeSet::new(), chunk_key: None };
        for (key, error) in listing.unreadable {
            let named = Damage {
                object: key.to_string(),
                what: damage(error)?,
                backups: vec![key.name().to_owned()],
            };
            findings.report.note(named);
            findings.report.affected.push(Affected {
                backup: key.name().to_owned(),
                database: None,
                restorable: Vec::new(),
                lost: Vec::new(),
                note: Some("its manifest cannot be read: nothing of it can be restored".to_owned()),
            });
        }
        self.manifests(&mut findings).await?;
        self.files(&mut findings).await?;
        let mut lists = Lists::of(&findings.headers);
        self.lists(&mut findings, &mut lists).await?;
        self.chunks(&mut findings, &mut lists).await?;
        self.orphans(&mut findings, &lists).await?;
        chains(&mut findings)?;
        self.affected(&mut findings, &lists).await?;
        for header in findings.bad.iter().filter_map(|place| findings.headers.get(*place)) {
            self.repository.unmark(self.ctx, header).await;
        }
        Ok(findings.report)
    }

    /// Reads every manifest to its end.
    async fn manifests(&self, findings: &mut Findings) -> Result<()> {
        let reads = stream::iter(0..findings.headers.len()).map(|place| {
            let id = findings.headers[place].id.clone();
            async move { (place, self.manifest(&id).await) }
        });
        let results: Vec<_> = reads.buffer_unordered(AT_ONCE).boxed().collect().await;
        let mut gone = Vec::new();
        for (place, read) in results {
            let error = match read {
                Ok(key) => {
                    findings.chunk_key = findings.chunk_key.or(key);
                    continue;
                }
                Err(error) => error,
            };
            match error.kind() {
                // Deleted by somebody meanwhile.
                ErrorKind::NotFound => gone.push(place),
                // Whoever has another key sees no more of it than its header.
                ErrorKind::WrongKey => {}
                _ => {
                    let key = Key::new(["manifests", findings.headers[place].id.as_str()])?;
                    findings.damage(&key, damage(error)?, [place]);
                }
            }
        }
        // From the last on, so that the places of the others stay what they are.
        gone.sort_unstable();
        for place in gone.into_iter().rev() {
            findings.headers.remove(place);
            findings.bad = findings.bad.iter().map(|bad| if *bad > place { bad - 1 } else { *bad }).collect();
            findings.report.backups -= 1;
        }
        Ok(())
    }

    /// Reads a manifest to its end; what is sealed in it, as far as it can be read here. Returns the key of chunk ids if it says that.
    async fn manifest(&self, id: &BackupId) -> Result<Option<Hash32>> {
        match self.repository.can_read() {
            true => self.repository.manifest(self.ctx, id).await.map(|manifest| manifest.body.chunk_key),
            false => self.repository.manifest_file(self.ctx, id).await.map(|_| None),
        }
    }

    /// The single files of backups.
    async fn files(&self, findings: &mut Findings) -> Result<()> {
        for place in 0..findings.headers.len() {
            let Some(file) = findings.headers[place].file.clone() else { continue };
            self.ctx.check()?;
            findings.report.files += 1;
            let checked = async {
                let source = FileSource::object(self.repository.storage(), file.key.parse()?).await?;
                findings.report.bytes += source.size();
                if self.read_data {
                    return source.check(self.ctx, file.size, file.hash).await;
                }
                if source.size() != file.size {
                    return Err(Error::damaged(format!("it has {} bytes, not {}", source.size(), file.size)));
                }
                Ok(())
            };
            if let Err(error) = checked.await {
                let what = damage(error)?;
                match file.key.parse::<Key>() {
                    Ok(key) => findings.damage(&key, what, [place]),
                    Err(_) => findings.damage(
                        &Key::new(["manifests", findings.headers[place].id.as_str()])?,
                        what,
                        [place],
                    ),
                }
            }
        }
        Ok(())
    }

    /// Reads every chunk list.
    async fn lists(&self, findings: &mut Findings, lists: &mut Lists) -> Result<()> {
        findings.report.lists = lists.0.len() as u64;
        for list in &mut lists.0 {
            if let Err(error) = self.repository.list(self.ctx, &list.record).await {
                list.unreadable = true;
                let what = damage(error)?;
                findings.damage(&list.record.id.key("lists")?, what, list.backups.iter().copied());
            }
        }
        Ok(())
    }

    /// Counts what no backup names, but for chunks.
    async fn orphans(&self, findings: &mut Findings, lists: &Lists) -> Result<()> {
        let named: BTreeSet<Key> = (lists.0.iter().map(|list| list.record.id.key("lists")))
            .chain(
                findings
                    .headers
                    .iter()
                    .filter_map(|header| header.file.as_ref().map(|file| file.key.parse())),
            )
            .chain(findings.headers.iter().map(|header| Key::new(["marks", header.id.as_str()])))
            .filter_map(Result::ok)
            .collect();
        // A backup whose manifest cannot be read may name anything.
        let unknown = !findings.report.affected.is_empty();
        for folder in ["lists", "files", "marks", "pending", "deleted"] {
            let folder_key: Key = folder.parse()?;
            let mut listed = self.repository.storage().list(&folder_key);
            while let Some(meta) = self.ctx.run(async { listed.try_next().await }).await? {
                let orphans = &mut findings.report.orphans;
                let count = match folder {
                    // No backup needs these, whatever it names.
                    "pending" => &mut orphans.pending,
                    "deleted" => &mut orphans.deleted,
                    _ if named.contains(&meta.key) || unknown => continue,
                    "lists" => &mut orphans.lists,
                    "files" => &mut orphans.files,
                    _ => &mut orphans.marks,
                };
                *count += 1;
                orphans.bytes += meta.size;
            }
        }
        Ok(())
    }
}

/// What continues a bad backup, or one that is gone, is bad too.
fn chains(findings: &mut Findings) -> Result<()> {
    let places: HashMap<_, _> =
        findings.headers.iter().enumerate().map(|(place, header)| (header.id.clone(), place)).collect();
    let mut missing: BTreeMap<Key, BTreeSet<usize>> = BTreeMap::new();
    let mut continued: Vec<Vec<usize>> = vec![Vec::new(); findings.headers.len()];
    for (place, header) in findings.headers.iter().enumerate() {
        for other in [&header.parent, &header.base].into_iter().flatten() {
            match places.get(other) {
                Some(other) => continued[*other].push(place),
                None => {
                    missing.entry(Key::new(["manifests", other.as_str()])?).or_default().insert(place);
                }
            }
        }
    }
    for (key, backups) in missing {
        // One that is there and cannot be read was named already.
        if findings.report.affected.iter().any(|affected| affected.backup == key.name()) {
            findings.bad.extend(backups);
        } else {
            findings.damage(&key, "is missing, and others continue it", backups);
        }
    }
    let mut ahead: Vec<usize> = findings.bad.iter().copied().collect();
    while let Some(place) = ahead.pop() {
        for next in &continued[place] {
            if findings.bad.insert(*next) {
                ahead.push(*next);
            }
        }
    }
    Ok(())
}
