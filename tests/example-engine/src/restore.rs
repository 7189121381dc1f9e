//! The restore session: a new file beside the target, which takes its place when it is complete.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind as Io, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use backup_core::{
    BlockingPartReader, Content, Ctx, During, Error, ErrorKind, Existing, Part, PartKind, PartReader,
    PartSource, RestoreRequest, RestoreSession, Result, async_trait,
};

use crate::database::Database;
use crate::statement::{Statement, unpack};

/// How many bytes of statements are gathered before they are written.
const BATCH: usize = 256 << 10;

/// A running restore.
#[derive(Debug)]
pub(crate) struct KvRestore {
    target: PathBuf,
    staging: Arc<Staging>,
}

/// The file beside the target. Dropping it removes it, unless it was published.
#[derive(Debug)]
struct Staging {
    path: PathBuf,
    file: Mutex<File>,
}

impl KvRestore {
    /// Checks that the parts can be restored as asked. If not, nothing has been touched.
    pub(crate) fn begin(database: &Database, request: &RestoreRequest, parts: &[Part]) -> Result<Self> {
        let database = match &request.target_database {
            Some(name) => database.renamed(name)?,
            None => database.clone(),
        };
        if request.content == Content::DataOnly {
            return Err(Error::unsupported("rows without their tables cannot be restored into kv")
                .hint("leave out --data-only"));
        }
        if let Some(part) = parts.iter().find(|part| matches!(part.kind, PartKind::Bytes | PartKind::Log)) {
            return Err(Error::unsupported(format!("kv cannot hold {}", part.object)));
        }
        if request.existing == Existing::Refuse && !is_empty(&database)? {
            let message = format!("{} holds something already", database.path.display());
            return Err(Error::new(ErrorKind::TargetNotEmpty, message)
                .hint("add --drop-existing to replace it when the restore is complete"));
        }
        let staging = Arc::new(Staging::create(database.path.with_extension("kv-restoring"))?);
        Ok(Self { target: database.path, staging })
    }
}

/// Whether there is no database, or one without statements.
fn is_empty(database: &Database) -> Result<bool> {
    match std::fs::metadata(&database.path) {
        Ok(metadata) => Ok(metadata.len() == 0),
        Err(error) if error.kind() == Io::NotFound => Ok(true),
        Err(error) => Err(Error::io(format!("look at {}", database.path.display()), error)),
    }
}

impl Staging {
    fn create(path: PathBuf) -> Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match file {
            Ok(file) => Ok(Self { file: Mutex::new(file), path }),
            Err(error) if error.kind() == Io::AlreadyExists => {
                let message = format!("another restore is writing {}", path.display());
                Err(Error::new(ErrorKind::Locked, message).hint("wait for it, or remove that file"))
            }
            Err(error) => Err(Error::io(format!("create {}", path.display()), error)),
        }
    }

    /// Appends whole statements.
    fn append(&self, statements: &mut String) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(statements.as_bytes()).during(|| format!("write {}", self.path.display()))?;
        statements.clear();
        Ok(())
    }

    fn publish(&self, target: &PathBuf) -> Result<()> {
        let doing = || format!("put {} in its place", target.display());
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.sync_all().during(doing)?;
        std::fs::rename(&self.path, target).during(doing)?;
        let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(".".as_ref())).and_then(|directory| directory.sync_all()).during(doing)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Once published it is not there any more.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[async_trait]
impl RestoreSession for KvRestore {
    async fn load(&self, _ctx: &Ctx, part: &Part, input: &mut PartReader) -> Result<()> {
        let staging = Arc::clone(&self.staging);
        match &part.kind {
            // Objects; and rows too, if they come out of a script.
            PartKind::Sql => input.blocking(move |input| load_statements(&staging, input)).await,
            PartKind::Rows { .. } => {
                let table = part.object.name.clone();
                input.blocking(move |input| load_rows(&staging, &table, input)).await
            }
            _ => Err(Error::internal("begin_restore refused such parts")),
        }
    }

    async fn finish(self: Box<Self>, ctx: &Ctx) -> Result<()> {
        ctx.blocking(move || self.staging.publish(&self.target)).await
    }

    async fn abort(self: Box<Self>, _ctx: &Ctx) -> Result<()> {
        // The target was never touched, and dropping the staging file removes that.
        Ok(())
    }
}

fn load_statements(staging: &Staging, input: &mut BlockingPartReader) -> Result<()> {
    let mut batch = String::new();
    while let Some(statement) = input.statement()? {
        // What is not a statement of kv must not become part of a database.
        if statement.contains('\n') || Statement::parse(&statement)? == Statement::Comment {
            return Err(Error::new(ErrorKind::Database, "not one statement"));
        }
        batch += &statement;
        batch.push('\n');
        if batch.len() > BATCH {
            staging.append(&mut batch)?;
        }
    }
    staging.append(&mut batch)
}

fn load_rows(staging: &Staging, table: &str, input: &mut BlockingPartReader) -> Result<()> {
    let prefix = Statement::row_prefix(table);
    let mut batch = String::new();
    while let Some(row) = input.next_whole()? {
        batch += &prefix;
        batch += &unpack(&row)?;
        batch.push('\n');
        if batch.len() > BATCH {
            staging.append(&mut batch)?;
        }
    }
    staging.append(&mut batch)
}
