//! Subscriptions, as pg_dump writes them: they come back without connecting to anything, switched off.

use backup_core::Result;

use super::depend::security_label;
use super::node::{Catalog, Node, Rank, class};
use super::reader::{Fields, Reader};
use crate::ddl::quote::{block, ident, literal};

/// Only superusers may read how one connects: for others they are left out, by name.
pub(super) async fn subscriptions(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    // Before version 14 they may not even read its oid.
    let names = format!(
        "SELECT {} AS oid, s.subname::text AS name,
                pg_catalog.has_column_privilege('pg_catalog.pg_subscription', 'subconninfo', 'SELECT') AS readable
         FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
         WHERE d.datname = pg_catalog.current_database() ORDER BY s.subname",
        reader.since(14, "s.oid", "0::oid")
    );
    let mut readable = false;
    for row in reader.rows(&names).await? {
        if row.is("readable")? {
            readable = true;
            continue;
        }
        catalog.left_out.insert((class::SUBSCRIPTION, row.oid("oid")?));
        reader.ctx.warn(format!(
            "subscription {} is left out: only a superuser may read how it connects",
            row.text("name")?.escape_debug()
        ));
    }
    if !readable {
        return Ok(());
    }
    let sql = format!(
        "SELECT s.oid, s.subname::text AS name, pg_catalog.pg_get_userbyid(s.subowner)::text AS owner, s.subconninfo AS connection,
                s.subslotname::text AS slot, s.subsynccommit AS synchronous_commit, s.subpublications::text[] AS publications,
                {binary} AS binary, {streaming} AS streaming, {two_phase} AS two_phase, {disable} AS disable_on_error,
                {password} AS password_required, {as_owner} AS run_as_owner, {origin} AS origin, {failover} AS failover
         FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
         WHERE d.datname = pg_catalog.current_database() ORDER BY s.subname",
        binary = reader.since(14, "s.subbinary", "false"),
        streaming = reader.since(14, "s.substream::text", "'f'"),
        two_phase = reader.since(15, "s.subtwophasestate::text", "'d'"),
        disable = reader.since(15, "s.subdisableonerr", "false"),
        password = reader.since(16, "s.subpasswordrequired", "true"),
        as_owner = reader.since(16, "s.subrunasowner", "false"),
        origin = reader.since(16, "s.suborigin", "'any'"),
        failover = reader.since(17, "s.subfailover", "false"),
    );
    for row in reader.rows(&sql).await? {
        let (name, owner) = (row.text("name")?, row.text("owner")?);
        let what = format!("SUBSCRIPTION {}", ident(name));
        let publications: Vec<String> = row.list("publications")?.iter().map(|name| ident(name)).collect();
        let options = options(&row)?;
        let create = format!(
            "CREATE {what} CONNECTION {} PUBLICATION {} WITH ({})",
            literal(row.text("connection")?),
            publications.join(", "),
            options.iter().map(|(_, option)| option.as_str()).collect::<Vec<_>>().join(", ")
        );
        let mut node = Node::sql("subscription", name, Rank::Last, vec![create]);
        for (since, _) in options.iter().filter(|(since, _)| *since > ALWAYS) {
            node.since(*since, "an option of the subscription");
        }
        if !options.iter().any(|(_, option)| option.starts_with("streaming")) {
            node.push(set_since(&what, 14, "streaming = off"));
        }
        // Before version 16 every one runs so, and there is no word for it.
        if reader.version < 160_000 {
            node.push(set_since(&what, 16, "run_as_owner = true"));
        }
        catalog.add((class::SUBSCRIPTION, row.oid("oid")?), node.identity(&what).owned(&what, owner));
    }
    let labels = "SELECT l.objoid, l.provider, l.label FROM pg_catalog.pg_shseclabel l
                  WHERE l.classoid = 'pg_catalog.pg_subscription'::pg_catalog.regclass ORDER BY l.objoid, l.provider";
    for row in reader.rows(labels).await? {
        let Some(node) = catalog.of((class::SUBSCRIPTION, row.oid("objoid")?)) else { continue };
        let label = security_label(row.text("provider")?, &node.identity, row.text("label")?);
        node.comments.push(label);
    }
    Ok(())
}

/// The oldest version that there is.
const ALWAYS: u32 = 12;

/// What is not as it is by default, and since which version that can be said.
fn options(row: &Fields) -> Result<Vec<(u32, String)>> {
    let slot = row.maybe("slot")?.map_or_else(|| "NONE".to_owned(), literal);
    let mut options = vec![(ALWAYS, "connect = false".to_owned()), (ALWAYS, format!("slot_name = {slot}"))];
    if row.is("binary")? {
        options.push((14, "binary = true".to_owned()));
    }
    match row.text("streaming")? {
        // Before version 16 it is a boolean.
        "t" | "true" => options.push((14, "streaming = on".to_owned())),
        "p" => options.push((16, "streaming = parallel".to_owned())),
        _ => {}
    }
    if row.text("two_phase")? != "d" {
        options.push((15, "two_phase = on".to_owned()));
    }
    for (option, since) in [("disable_on_error", 15), ("run_as_owner", 16), ("failover", 17)] {
        if row.is(option)? {
            options.push((since, format!("{option} = true")));
        }
    }
    if !row.is("password_required")? {
        options.push((16, "password_required = false".to_owned()));
    }
    match row.text("origin")? {
        "any" => {}
        origin => options.push((16, format!("origin = {}", literal(origin)))),
    }
    match row.text("synchronous_commit")? {
        "off" => {}
        commit => options.push((ALWAYS, format!("synchronous_commit = {}", literal(commit)))),
    }
    Ok(options)
}

/// Sets an option by which later versions do as this one does, whatever their default is; versions before `since` have no word for it.
fn set_since(subscription: &str, since: u32, option: &str) -> String {
    let body = format!(
        "BEGIN IF pg_catalog.current_setting('server_version_num')::int >= {since}0000 THEN EXECUTE {}; END IF; END",
        literal(&format!("ALTER {subscription} SET ({option})"))
    );
    block(&body)
}
