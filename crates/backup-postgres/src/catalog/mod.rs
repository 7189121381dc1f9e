//! What is in a database: its catalogs, read in a few dozen queries whatever the number of objects, and the parts it is backed up as.

mod changes;
mod columns;
mod constraints;
mod contents;
mod database;
mod depend;
mod exclusions;
mod extensions;
mod foreign;
mod functions;
mod globals;
mod indexes;
mod inherits;
mod languages;
mod largeobjects;
mod lock;
mod node;
mod operators;
mod order;
mod plan;
mod policies;
mod privileges;
mod publications;
mod readable;
mod reader;
mod relations;
mod schemas;
mod search;
mod sequences;
mod subscriptions;
mod tables;
mod triggers;
mod types;
mod unknown;
mod unsayable;
mod words;

use std::collections::{HashMap, HashSet};

use backup_core::{BackupRequest, Ctx, ErrorKind, Result};
use futures::future::try_join;

pub(crate) use changes::{Change, changes, named};
pub(crate) use database::{created, place, sayings};
pub(crate) use lock::{DEADLOCK, Locked, changed, listed, lock, lock_some, locking, others, shapes};
pub(crate) use plan::Plan;
pub(crate) use publications::{DEFAULTS, default_of, default_prefix};
pub(crate) use reader::{Reader, shared, utf8};
pub(crate) use relations::unreadable;
pub(crate) use unknown::anything_sql;
pub(crate) use words::quote_new;

use crate::connect::Session;
use crate::error::sql_state;
use contents::Size;
use database::Database;
use node::Catalog;
use reader::Fields;
use relations::Relations;

/// What there is, before anything is locked.
pub(crate) async fn relations(reader: Reader<'_>) -> Result<Relations> {
    match relations::relations(reader).await {
        Err(error) => Err(unsayable::named(reader, error).await),
        relations => relations,
    }
}

/// Reads everything that `request` may want, within the snapshot of `session`, whose tables are locked. Meanwhile `beside`, of the same
/// snapshot, if there is one, asks what the server takes longest for.
pub(crate) async fn read(
    ctx: &Ctx,
    session: &Session,
    beside: Option<&Session>,
    relations: &Relations,
    request: &BackupRequest,
) -> Result<Plan> {
    let reader = Reader::new(ctx, session);
    match read_all(reader, beside, relations, request).await {
        Err(error) => Err(unsayable::named(reader, error).await),
        plan => plan,
    }
}

async fn read_all(
    reader: Reader<'_>,
    beside: Option<&Session>,
    relations: &Relations,
    request: &BackupRequest,
) -> Result<Plan> {
    let ctx = reader.ctx;
    let beside = beside.map(|session| Reader::new(ctx, session));
    let ((mut catalog, database, parts), asked) =
        try_join(Box::pin(up_to_rows(reader, relations, request)), Box::pin(ask_beside(beside))).await?;
    let Asked { sizes, keys, indexes, edges, privileges, everything } = match asked {
        Some(asked) => asked,
        None => ask(reader).await?,
    };

    contents::rows(reader, &mut catalog, &parts, &sizes, &database.encoding).await?;
    constraints::keys(&mut catalog, relations, &keys)?;
    indexes::indexes(reader, &mut catalog, relations, &indexes)?;
    constraints::foreign_keys_last(&mut catalog, relations);
    triggers::rules(reader, &mut catalog, relations).await?;
    reader.release().await?;
    triggers::triggers(reader, &mut catalog, relations).await?;
    policies::policies(reader, &mut catalog, relations).await?;
    policies::of_extensions(reader, &mut catalog, relations).await?;
    triggers::statistics(reader, &mut catalog, relations).await?;
    triggers::event_triggers(reader, &mut catalog).await?;
    largeobjects::large_objects(reader, &mut catalog, request.skip_unreadable).await?;
    publications::publications(reader, &mut catalog, relations).await?;
    subscriptions::subscriptions(reader, &mut catalog).await?;
    publications::default_privileges(reader, &mut catalog).await?;

    privileges::privileges(&mut catalog, &privileges)?;

    depend::depend(&mut catalog, &edges)?;
    depend::unsaid(&mut catalog)?;
    depend::domain_checks(&mut catalog)?;
    depend::contents(&mut catalog, relations)?;
    depend::on_extensions(reader, &mut catalog).await?;
    depend::comments(reader, &mut catalog).await?;
    depend::labels(reader, &mut catalog).await?;
    unknown::of_extensions(reader, &mut catalog).await?;
    unknown::in_system_schemas(reader, &catalog).await?;
    unknown::refuse(reader, &catalog, &everything).await?;
    let order = order::order(&mut catalog)?;
    plan::plan(ctx, catalog, &order, request, &database.name)
}

/// What the server takes longest for, and that can be asked before anything else is known: for every line of the first three it opens a table
/// or an index, and the others have a line for every object.
struct Asked {
    sizes: HashMap<u32, Size>,
    keys: Vec<Fields>,
    indexes: Vec<Fields>,
    edges: Vec<Fields>,
    privileges: Vec<Fields>,
    everything: Vec<Fields>,
}

async fn ask(reader: Reader<'_>) -> Result<Asked> {
    Ok(Asked {
        sizes: contents::sizes(reader).await?,
        keys: constraints::read_keys(reader).await?,
        indexes: indexes::read(reader).await?,
        edges: depend::read(reader).await?,
        privileges: privileges::read(reader).await?,
        everything: unknown::read(reader).await?,
    })
}

/// The same by another session, and none if the server did not say it that one: its functions lock the tables, and whoever waits to alter
/// one, behind the session that has locked all, would be waited for.
async fn ask_beside(beside: Option<Reader<'_>>) -> Result<Option<Asked>> {
    let Some(beside) = beside else { return Ok(None) };
    beside.session.execute(beside.ctx, "SET LOCAL lock_timeout = 1000").await?;
    match ask(beside).await {
        Err(error) if sql_state(&error).is_some() && error.kind() != ErrorKind::Cancelled => {
            beside.release().await?;
            Ok(None)
        }
        asked => {
            let asked = asked?;
            beside.release().await?;
            Ok(Some(asked))
        }
    }
}

/// What is there before rows are, and what tables consist of.
async fn up_to_rows<'a>(
    reader: Reader<'_>,
    relations: &'a Relations,
    request: &BackupRequest,
) -> Result<(Catalog, Database, tables::Parts<'a>)> {
    let mut catalog = Catalog::default();
    extensions::members(reader, &mut catalog).await?;
    if request.globals {
        globals::roles(reader, &mut catalog).await?;
        globals::parameters(reader, &mut catalog).await?;
        globals::tablespaces(reader, &mut catalog).await?;
    }
    let database = database::database(reader, &mut catalog).await?;
    schemas::schemas(reader, &mut catalog).await?;
    let unreadable =
        if request.skip_unreadable { sequences::unreadable(reader).await? } else { HashSet::new() };
    extensions::extensions(reader, &mut catalog, &database, &unreadable).await?;
    types::types(reader, &mut catalog).await?;
    functions::functions(reader, &mut catalog).await?;
    reader.release().await?;
    languages::languages(reader, &mut catalog).await?;
    languages::casts(reader, &mut catalog).await?;
    languages::transforms(reader, &mut catalog).await?;
    languages::collations(reader, &mut catalog).await?;
    languages::conversions(reader, &mut catalog).await?;
    operators::access_methods(reader, &mut catalog).await?;
    operators::operators(reader, &mut catalog).await?;
    operators::families_and_classes(reader, &mut catalog).await?;
    search::parsers_and_templates(reader, &mut catalog).await?;
    search::dictionaries(reader, &mut catalog).await?;
    search::configurations(reader, &mut catalog).await?;
    foreign::wrappers(reader, &mut catalog).await?;
    foreign::servers(reader, &mut catalog).await?;

    let columns = columns::columns(reader).await?;
    let constraints = constraints::read(reader).await?;
    let (identities, sequences) = sequences::read(reader, relations).await?;
    let parts = tables::Parts::new(relations, columns, constraints, identities);
    tables::tables(reader, &mut catalog, &parts).await?;
    relations::views(reader, &mut catalog, relations, &parts.columns).await?;
    sequences::sequences(&mut catalog, relations, &parts.identities, sequences, &unreadable)?;
    relations.alias_types(&mut catalog);
    tables::defaults(&mut catalog, &parts);
    tables::privileges_of_columns(reader, &mut catalog, &parts).await?;
    Ok((catalog, database, parts))
}
