//! One running restore, in place: a MySQL database cannot be renamed. Nothing is touched before the first part is loaded.

mod accounts;
mod allowed;
mod alone;
mod carry;
mod contents;
mod definers;
mod elsewhere;
mod history;
mod letters;
mod libraries;
mod otherwise;
mod proof;
mod sequences;
mod server;
mod session;
mod some;
mod tables;
mod target;
mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex as Cell, PoisonError};

use backup_core::{
    Content, Ctx, During, Error, ErrorKind, Part, PartKind, PartReader, RestoreRequest, RestoreSession,
    Result, RowLayout, async_trait,
};
use tokio::sync::{Mutex, OnceCell};

use crate::catalog::histograms;
use crate::catalog::spec::{RowsSpec, SqlSpec, spec};
use crate::config::Config;
use crate::connect::{Connection, Version};
use crate::ddl::create::without_definer;
use crate::ddl::quote::identifier;
use crate::ddl::raw;
use crate::ddl::translate::Translation;
use crate::error::code;
use crate::rows::{load, said};
use accounts::Accounts;
use definers::Orphans;
use session::Session;
use target::Target;

pub(crate) use contents::is_incomplete;

/// Whether something of its name was there before what was to be made: ER_DB_CREATE_EXISTS, ER_TABLE_EXISTS_ERROR, ER_SP_ALREADY_EXISTS,
/// ER_EVENT_ALREADY_EXISTS.
fn was_there(error: &Error) -> bool {
    code(error).is_some_and(|code| [1007, 1050, 1304, 1537].contains(&code))
}

/// The target, and the connections to it.
#[derive(Debug)]
pub(crate) struct Restore {
    config: Config,
    no_owner: bool,
    schema_only: bool,
    /// Rows want a session of the mode NO_UNSIGNED_SUBTRACTION.
    subtracts: bool,
    /// The server that was backed up.
    source: Option<Version>,
    /// How statements are said here, if the backup is of another server.
    translation: Option<Translation>,
    /// Rows that differed in unique keys there do so here.
    is_unique: bool,
    target: Arc<Target>,
    accounts: Arc<Accounts>,
    /// Set when the target was made ready: from then on it is not what it was.
    ready: OnceCell<()>,
    idle: Cell<Vec<Session>>,
    /// How many tables still want each sequence that stands in for one that is not there, by its database, if that is another, and its name.
    lost: Mutex<BTreeMap<(Option<String>, String), usize>>,
    /// The target keeps names of tables in small letters.
    lowers: bool,
    /// How long a statement may be.
    limit: OnceCell<usize>,
    /// A session may give utf8mb4 another collation.
    gives_collations: bool,
    /// Tablespaces of which it was said that the server lacks them.
    lost_tablespaces: BTreeSet<String>,
    orphans: Orphans,
    /// Tables are put aside while some views are made, and the server would write their names anew in their triggers: so these are made when
    /// all views are.
    puts_aside: bool,
    triggers: Mutex<Vec<(Part, Vec<u8>)>>,
    /// What makes the database READ ONLY.
    read_only: Mutex<Option<Vec<u8>>>,
    /// Events, which begin to run when they are made.
    events: Mutex<Vec<(Part, Vec<u8>)>>,
    /// It is finished, or was taken back.
    over: bool,
}

impl Restore {
    /// Checks everything that can be checked; touches nothing.
    pub(crate) async fn begin(
        ctx: &Ctx,
        config: Config,
        request: &RestoreRequest,
        parts: &[Part],
    ) -> Result<Self> {
        for part in parts {
            let fits = match &part.kind {
                PartKind::Sql => true,
                PartKind::Rows { layout, .. } => {
                    *layout == RowLayout::LengthEncoded && spec::<RowsSpec>(part).is_ok()
                }
                _ => false,
            };
            if !fits {
                return Err(Error::unsupported(format!("{} is not of a MySQL backup", part.object)));
            }
        }
        let mut connection = Connection::open(ctx, &config, false).await?;
        let source = request.source.as_ref().map(|source| Version::parse(&source.version));
        let translation = carry::check(ctx, &mut connection, source.as_ref(), parts).await?;
        let lowers = letters::check(ctx, &mut connection, parts).await?;
        let lowered: Vec<_> = parts.iter().filter(|_| lowers).map(letters::lowered).collect();
        let parts = if lowers { &lowered } else { parts };
        allowed::check(ctx, &mut connection, parts, request.no_owner).await?;
        let here = &connection.version;
        let is_unique = source.as_ref().is_some_and(|source| source.compares_like(here))
            && !translation.as_ref().is_some_and(Translation::compares_otherwise);
        let accounts = Accounts::look(ctx, &mut connection, request, parts).await?;
        let missing = match request.no_owner {
            true => BTreeSet::new(),
            false => definers::check(ctx, &mut connection, parts).await?,
        };
        let gives_collations = server::gives_collations(ctx, &mut connection, parts).await?;
        let lost_tablespaces = tables::lost_tablespaces(ctx, &mut connection, parts).await?;
        elsewhere::tell(ctx, &config.database, parts)?;
        let here = connection.version.clone();
        let target = Target::look(ctx, connection, &config, request, parts).await?;
        history::check(ctx, &here, target.has_infile(), parts)?;
        let stands_in =
            |part: &Part| matches!(spec(part), Ok(SqlSpec::View { stand_ins, .. }) if !stand_ins.is_empty());
        let subtracts = |part: &Part| {
            spec::<RowsSpec>(part).is_ok_and(|spec| spec.subtracts)
                || spec::<SqlSpec>(part).is_ok_and(|spec| spec.subtracts())
        };
        Ok(Self {
            puts_aside: target.is_whole() && parts.iter().any(stands_in),
            triggers: Mutex::default(),
            config,
            no_owner: request.no_owner,
            subtracts: parts.iter().any(subtracts),
            schema_only: request.content == Content::SchemaOnly,
            source,
            translation,
            is_unique,
            target: Arc::new(target),
            accounts: Arc::new(accounts),
            ready: OnceCell::new(),
            idle: Cell::default(),
            lost: Mutex::default(),
            lowers,
            limit: OnceCell::new(),
            gives_collations,
            lost_tablespaces,
            orphans: Orphans::of(missing),
            read_only: Mutex::default(),
            events: Mutex::default(),
            over: false,
        })
    }

    /// A session in the target, which is made ready by who asks first.
    async fn session(&self, ctx: &Ctx) -> Result<Session> {
        self.ready.get_or_try_init(|| self.target.make_ready(ctx, &self.config)).await?;
        if let Some(session) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(session);
        }
        let is_unique = self.is_unique && self.target.is_whole();
        let checks = self.target.is_of_rows();
        let mut session = Session::open(ctx, &self.config, self.subtracts, is_unique, checks).await?;
        if let Some(source) = &self.source {
            session.with_collations_of(ctx, source).await?;
        }
        self.target.admit(ctx, &mut session.connection).await?;
        Ok(session)
    }

    fn put_back(&self, session: Session) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }

    async fn statements(
        &self,
        ctx: &Ctx,
        part: &Part,
        session: &mut Session,
        input: &mut PartReader,
    ) -> Result<()> {
        // Rows that come out of a script have a spec of their own.
        let made_from: Option<SqlSpec> = spec(part).ok();
        let rows: Option<RowsSpec> = spec(part).ok();
        if let Some(rows) = &rows {
            self.target.note_filled(part);
            session.for_rows(ctx, rows).await?;
        }
        if let Some(made_from @ SqlSpec::View { invalid, stand_ins, .. }) = &made_from {
            return self.view(ctx, part, session, made_from, (*invalid, stand_ins), input).await;
        }
        if let Some(SqlSpec::LostSequence { is_over, database }) = &made_from {
            return self.lost_sequence(ctx, part, session, *is_over, database.as_deref(), input).await;
        }
        if let Some(made_from @ SqlSpec::Routine { lost, .. }) = &made_from
            && !lost.is_empty()
        {
            return self.routine_of_lost(ctx, part, session, made_from, lost, input).await;
        }
        let mut inserted = 0;
        while let Some(sql) = input.next_whole().await? {
            self.fits(ctx, session, part, sql.len()).await?;
            match &made_from {
                None => {
                    let done = session.connection.execute_bytes(ctx, &sql).await?;
                    inserted += done.affected;
                    if let Some(rows) = &rows {
                        said::check(ctx, &mut session.connection, &rows.columns, &sql, done, None).await?;
                    }
                }
                Some(SqlSpec::Account { account }) => {
                    self.accounts.make(ctx, session, part, account, &sql).await?;
                }
                Some(SqlSpec::Sequence) if self.target.keeps(&part.object.name) => {}
                Some(SqlSpec::SequenceValue) if self.target.keeps(&part.object.name) => {
                    sequences::advance(ctx, part, session, sql).await?;
                }
                // Another server makes its own; that it does was said.
                Some(SqlSpec::Histograms) if !histograms::takes(&session.connection.version) => {}
                Some(SqlSpec::Histograms) => {
                    let sql = raw::to_text(sql)?;
                    session.plain(ctx).await?;
                    histograms::make(ctx, &mut session.connection, &part.object, &sql).await?;
                }
                Some(SqlSpec::Statistics) => self.statistics(ctx, part, session, &sql).await?,
                Some(SqlSpec::ReferenceSystem) => self.reference_system(ctx, part, session, &sql).await?,
                Some(SqlSpec::ReadOnly) => *self.read_only.lock().await = Some(sql),
                Some(SqlSpec::Grants { account }) => self.accounts.grant_later(account, sql),
                Some(SqlSpec::Trigger { .. }) if self.puts_aside => {
                    self.triggers.lock().await.push((part.clone(), sql));
                }
                Some(SqlSpec::Event { .. }) => self.events.lock().await.push((part.clone(), sql)),
                // They are rows, though they come as statements.
                Some(
                    SqlSpec::Momentary(_)
                    | SqlSpec::Uncounted(_)
                    | SqlSpec::Empty(_)
                    | SqlSpec::Aside { .. }
                    | SqlSpec::Exchange { .. },
                ) if self.schema_only => {}
                Some(made_from) => {
                    if made_from == &SqlSpec::Discard {
                        // Nobody looks into such a table, and it comes behind all else.
                        self.make_late(ctx, session, &self.triggers).await?;
                    }
                    let sql = self.orphans.adopt(part, made_from, sql);
                    self.make_noted(ctx, session, part, made_from, sql).await?;
                }
            }
        }
        match input.said_rows() {
            Some(said) if made_from.is_none() && said != inserted => {
                let why = format!("the server took {inserted} of {said} rows");
                Err(Error::new(ErrorKind::Database, why))
            }
            _ => Ok(()),
        }
    }

    /// An error if the server does not read so long a statement.
    async fn fits(&self, ctx: &Ctx, session: &mut Session, part: &Part, length: usize) -> Result<()> {
        let limit = self.limit.get_or_try_init(|| load::limit(ctx, &mut session.connection)).await?;
        if length <= *limit {
            return Ok(());
        }
        let why =
            format!("{}: a statement has {length} bytes, and the server reads {limit} of one", part.object);
        Err(Error::unsupported(why).hint("raise max_allowed_packet"))
    }

    /// Makes an object that is dropped again where the restore fails: unless something of its name was there.
    async fn make_noted(
        &self,
        ctx: &Ctx,
        session: &mut Session,
        part: &Part,
        made_from: &SqlSpec,
        sql: Vec<u8>,
    ) -> Result<()> {
        self.target.note_made(part, made_from);
        let made = self.make(ctx, session, made_from, sql).await;
        if made.as_ref().is_err_and(was_there) {
            self.target.forget_made(part, made_from);
        }
        made
    }

    async fn make(&self, ctx: &Ctx, session: &mut Session, made_from: &SqlSpec, sql: Vec<u8>) -> Result<()> {
        match made_from.context() {
            None => {
                let sql = match &self.translation {
                    Some(translation) => {
                        let (sql, left_out) = translation.table(sql)?;
                        otherwise::left_out(ctx, &sql, left_out);
                        sql
                    }
                    None => sql,
                };
                if *made_from == SqlSpec::Database {
                    return self.target.set_defaults(ctx, session, &sql).await;
                }
                session.check_defaults(&sql)?;
                session.plain(ctx).await?;
                let done = match made_from {
                    SqlSpec::Table { .. } => self.table(ctx, session, &sql).await?,
                    _ => session.connection.define(ctx, &sql).await?,
                };
                if let Some(kinds) = made_from.kinds().filter(|_| sql.starts_with(b"INSERT")) {
                    let rows = Some(said::rows(&sql));
                    said::check(ctx, &mut session.connection, kinds, &sql, done, rows).await?;
                } else {
                    otherwise::tell(ctx, &mut session.connection, &sql, done).await?;
                }
                let is_lost = matches!(made_from, SqlSpec::Uncounted(_))
                    && sql.starts_with(b"UPDATE")
                    && done.affected != 1;
                if is_lost {
                    let why =
                        "a row without a number in its AUTO_INCREMENT column cannot be restored as such";
                    return Err(Error::new(ErrorKind::Database, why));
                }
                Ok(())
            }
            Some(context) => {
                let sql = if self.no_owner { without_definer(&sql) } else { sql };
                let mut context = context.clone();
                if !self.gives_collations {
                    context.utf8mb4 = None;
                }
                let Some(translation) = &self.translation else {
                    return self.target.in_collation(ctx, session, &context, &sql).await;
                };
                let (context, sql) = (translation.context(&context), translation.program(sql));
                self.target.in_collation(ctx, session, &context, &sql).await
            }
        }
    }

    /// Makes what was to come behind all else, in its order.
    async fn make_late(
        &self,
        ctx: &Ctx,
        session: &mut Session,
        late: &Mutex<Vec<(Part, Vec<u8>)>>,
    ) -> Result<()> {
        let late = std::mem::take(&mut *late.lock().await);
        for (part, sql) in late {
            let made = match spec::<SqlSpec>(&part) {
                Ok(made_from) => self.make_noted(ctx, session, &part, &made_from, sql).await,
                Err(error) => Err(error),
            };
            made.during(|| format!("restore {}", part.object))?;
        }
        Ok(())
    }

    /// Makes what acts as somebody who is not there act so.
    async fn give_orphans_back(&self, ctx: &Ctx, session: &mut Session) -> Result<()> {
        for (part, made_from, sql) in self.orphans.take() {
            let again = match made_from {
                SqlSpec::View { .. } => {
                    [b"CREATE OR REPLACE", sql.strip_prefix(b"CREATE").unwrap_or(&sql)].concat()
                }
                _ => {
                    let drop = format!("DROP FUNCTION {}", identifier(&part.object.name));
                    session.connection.define(ctx, drop.as_bytes()).await?;
                    sql
                }
            };
            let made = self.make(ctx, session, &made_from, again).await;
            made.during(|| format!("restore {}", part.object))?;
        }
        Ok(())
    }

    async fn abort_target(mut self: Box<Self>) -> Result<()> {
        self.over = true;
        if self.ready.initialized() || self.target.is_touched() {
            take_back(&self.target, &self.accounts, &self.config).await
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl RestoreSession for Restore {
    async fn load(&self, ctx: &Ctx, part: &Part, input: &mut PartReader) -> Result<()> {
        let lowered = self.lowers.then(|| letters::lowered(part));
        let part = lowered.as_ref().unwrap_or(part);
        let mut session = self.session(ctx).await?;
        match &part.kind {
            PartKind::Rows { .. } => {
                let spec: RowsSpec = spec(part)?;
                session.for_rows(ctx, &spec).await?;
                self.target.note_filled(part);
                let has_infile = self.target.has_infile();
                load::rows(ctx, &mut session.connection, part, &spec, has_infile, input).await?;
            }
            _ => self.statements(ctx, part, &mut session, input).await?,
        }
        self.put_back(session);
        Ok(())
    }

    async fn finish(mut self: Box<Self>, ctx: &Ctx) -> Result<()> {
        let mut session = match self.session(ctx).await {
            Ok(session) => session,
            Err(error) => return self.failed(error).await,
        };
        if let Err(error) = self.give_orphans_back(ctx, &mut session).await {
            return self.failed(error).await;
        }
        if let Err(error) = self.make_late(ctx, &mut session, &self.triggers).await {
            return self.failed(error).await;
        }
        if let Err(error) = self.make_late(ctx, &mut session, &self.events).await {
            return self.failed(error).await;
        }
        if let Err(error) = self.accounts.grant(ctx, &mut session).await {
            return self.failed(error).await;
        }
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for session in idle {
            session.connection.close().await;
        }
        if let Err(error) = self.target.complete(ctx, &mut session, &self.config).await {
            return self.failed(error).await;
        }
        self.over = true;
        if let Some(sql) = self.read_only.lock().await.take() {
            self.set_read_only(ctx, &mut session, &sql).await;
        }
        session.connection.close().await;
        Ok(())
    }

    async fn abort(self: Box<Self>, _ctx: &Ctx) -> Result<()> {
        // Not through the context, which may be cancelled: taking back is all that is left to do.
        self.abort_target().await
    }
}

impl Restore {
    /// Publishing failed: what was restored is taken back.
    async fn failed(self: Box<Self>, error: Error) -> Result<()> {
        match self.abort_target().await {
            Ok(()) => Err(error),
            Err(state) => {
                let message = format!("{error}; and afterwards: {state}");
                Err(Error::new(ErrorKind::Database, message).because(error))
            }
        }
    }
}

/// Makes everything what it was, or says what it is now.
async fn take_back(target: &Target, accounts: &Accounts, config: &Config) -> Result<()> {
    let (target, accounts) = (target.take_back(config).await, accounts.take_back(config).await);
    target.and(accounts)
}

impl Drop for Restore {
    fn drop(&mut self) {
        let is_touched = self.ready.initialized() || self.target.is_touched();
        if self.over || !is_touched {
            return;
        }
        // What cannot be done without waiting is done by the runtime, if there still is one.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (target, accounts) = (Arc::clone(&self.target), Arc::clone(&self.accounts));
            let config = self.config.clone();
            runtime.spawn(async move {
                let _ = take_back(&target, &accounts, &config).await;
            });
        }
    }
}
