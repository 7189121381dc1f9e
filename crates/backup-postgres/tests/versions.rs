//! From one version into another: what the older one does not know is said beforehand, and a newer one takes everything.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::collections::BTreeMap;

use std::sync::Arc;

use backup_core::{Ctx, ErrorKind, RestoreOptions};
use backup_testkit::told::Told;

mod backups;
mod server;
mod wicked;

use backups::backed_up;
use server::Server;

/// What is new in a version, by the object that has it: the version, and what makes it.
const SINCE: [(u32, &str, &str); 23] = [
    (
        18,
        "table public.own_null",
        "CREATE TABLE nulls (a int NOT NULL); CREATE TABLE own_null (PRIMARY KEY (a)) INHERITS (nulls)",
    ),
    (
        18,
        "constraint public.not_yet",
        "CREATE TABLE from_parts (a int) PARTITION BY LIST (a); CREATE TABLE from_part PARTITION OF from_parts DEFAULT; ALTER TABLE from_parts ADD CONSTRAINT not_yet FOREIGN KEY (a) REFERENCES keyed NOT VALID",
    ),
    (
        17,
        "constraint public.apart",
        "CREATE TABLE ranged (r int4range) PARTITION BY LIST (r); ALTER TABLE ranged ADD CONSTRAINT apart EXCLUDE USING gist (r WITH =)",
    ),
    (
        17,
        "subscription s_failover",
        "CREATE SUBSCRIPTION s_failover CONNECTION 'host=x' PUBLICATION p WITH (connect = false, slot_name = 'x', streaming = off, failover)",
    ),
    (
        16,
        "subscription s_origin",
        "CREATE SUBSCRIPTION s_origin CONNECTION 'host=x' PUBLICATION p WITH (connect = false, slot_name = NONE, streaming = off, origin = none)",
    ),
    (
        16,
        "subscription s_owner",
        "CREATE SUBSCRIPTION s_owner CONNECTION 'host=x' PUBLICATION p WITH (connect = false, slot_name = NONE, streaming = off, run_as_owner)",
    ),
    (
        16,
        "subscription s_password",
        "CREATE SUBSCRIPTION s_password CONNECTION 'host=x' PUBLICATION p WITH (connect = false, slot_name = NONE, streaming = off, password_required = false)",
    ),
    (
        16,
        "subscription s_parallel",
        "CREATE SUBSCRIPTION s_parallel CONNECTION 'host=x' PUBLICATION p WITH (connect = false, slot_name = NONE, streaming = parallel)",
    ),
    (
        15,
        "subscription s_phases",
        "CREATE SUBSCRIPTION s_phases CONNECTION 'host=x' PUBLICATION p WITH (connect = false, slot_name = NONE, streaming = off, two_phase)",
    ),
    (
        15,
        "subscription s_disable",
        "CREATE SUBSCRIPTION s_disable CONNECTION 'host=x' PUBLICATION p WITH (connect = false, slot_name = NONE, streaming = off, disable_on_error)",
    ),
    (
        15,
        "constraint public.sets_one",
        "CREATE TABLE sets (a int CONSTRAINT sets_one REFERENCES keyed ON DELETE SET NULL (a))",
    ),
    (15, "sequence public.lost", "CREATE UNLOGGED SEQUENCE lost"),
    (
        15,
        "table public.counts",
        "CREATE TABLE counts (a int GENERATED ALWAYS AS IDENTITY); ALTER SEQUENCE counts_a_seq SET UNLOGGED",
    ),
    (
        14,
        "subscription s_binary",
        "CREATE SUBSCRIPTION s_binary CONNECTION 'host=x' PUBLICATION p WITH (connect = false, slot_name = NONE, streaming = off, binary)",
    ),
    (14, "table public.packed", "CREATE TABLE packed (a text COMPRESSION pglz)"),
    (
        14,
        "materialized view public.packs",
        "CREATE MATERIALIZED VIEW packs AS SELECT 'x'::text AS a; ALTER MATERIALIZED VIEW packs ALTER a SET COMPRESSION pglz",
    ),
    (14, "type public.spans", "CREATE TYPE spans AS RANGE (SUBTYPE = interval)"),
    (14, "table public.multi", "CREATE TABLE multi (a int4multirange[])"),
    (14, "statistics public.of_both", "CREATE STATISTICS of_both ON (a + 1), (a * 2) FROM keyed"),
    (14, "function public.parsed", "CREATE FUNCTION parsed() RETURNS int LANGUAGE sql RETURN 1"),
    (0, "table public.keyed", ""),
    (0, "table public.plain", "CREATE TABLE plain (a int NOT NULL, b text)"),
    (
        0,
        "constraint public.old",
        "CREATE TABLE refers (a int); ALTER TABLE refers ADD CONSTRAINT old FOREIGN KEY (a) REFERENCES keyed ON DELETE SET NULL NOT VALID",
    ),
];

/// Drops the subscriptions, without which the database cannot be dropped.
fn forget_subscriptions(server: &Server, database: &str) {
    let names = server.ask(database, "SELECT subname FROM pg_subscription JOIN pg_database d ON d.oid = subdbid AND datname = current_database()");
    for name in names.lines() {
        let sql = format!(
            "ALTER SUBSCRIPTION {name} DISABLE; ALTER SUBSCRIPTION {name} SET (slot_name = NONE); DROP SUBSCRIPTION {name}"
        );
        server.psql(database, &sql);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_is_new_in_a_version_it_is_said_which() {
    let servers = server::servers();
    for server in &servers {
        let source = server.create();
        server.psql(&source, "CREATE TABLE keyed (a int PRIMARY KEY)");
        let known = SINCE.iter().filter(|(since, ..)| *since <= server.major());
        for (_, _, made) in known.clone() {
            server.psql(&source, &format!("SET client_min_messages = error; {made}"));
        }
        let (manager, backup) = backed_up(server, &source).await;
        let parts = manager.get_backup(&backup).await.unwrap().parts;
        let said: BTreeMap<String, u64> = (parts.iter().map(|record| &record.part))
            .filter(|part| matches!(part.kind, backup_core::PartKind::Sql))
            .map(|part| (part.object.to_string(), part.spec["since"][0].as_u64().unwrap_or_default()))
            .collect();
        for (since, name, _) in known {
            assert_eq!(said.get(*name), Some(&u64::from(*since)), "{name} on {}", server.major());
        }
        // Into an older one, all that it does not know is named, and nothing is touched.
        for older in servers.iter().filter(|older| older.major() < server.major()) {
            let target = older.create();
            let refused =
                manager.restore(&backup, &older.url(&target), RestoreOptions::default()).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
            let told = refused.to_string();
            for (since, name, _) in SINCE {
                assert_eq!(told.contains(&format!("{name}: ")), since > older.major(), "{name}: {told}");
            }
            assert_eq!(older.databases(&target), [target.as_str()]);
        }
        forget_subscriptions(server, &source);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_streams_nothing_does_not_in_a_newer_version() {
    let servers = server::servers();
    for server in &servers {
        let source = server.create();
        server.psql(
            &source,
            "SET client_min_messages = error; CREATE SUBSCRIPTION plain CONNECTION 'host=x' PUBLICATION p WITH (connect = false, slot_name = NONE, streaming = off);
             CREATE SUBSCRIPTION streams CONNECTION 'host=x' PUBLICATION p WITH (connect = false, slot_name = NONE, streaming = on)",
        );
        let (manager, backup) = backed_up(server, &source).await;
        forget_subscriptions(server, &source);
        for newer in servers.iter().filter(|newer| newer.major() >= server.major()) {
            let copy = newer.create();
            let restored = manager.restore(&backup, &newer.url(&copy), RestoreOptions::default()).await;
            let found = newer.ask(&copy, "SELECT subname, substream::text FROM pg_subscription JOIN pg_database d ON d.oid = subdbid AND datname = current_database() ORDER BY 1");
            forget_subscriptions(newer, &copy);
            restored.unwrap();
            assert_eq!(
                found.replace("true", "t").replace("false", "f"),
                "plain|f\nstreams|t\n",
                "{} into {}",
                server.major(),
                newer.major()
            );
        }
    }
}

/// What drops the extensions, and the collations of ICU, that the newer server was built without.
fn without_what_lacks(older: &Server, newer: &Server, source: &str) -> String {
    let list = |server: &Server, database: &str, sql: &str| -> Vec<String> {
        server.ask(database, sql).lines().map(str::to_owned).collect()
    };
    let available = list(newer, "postgres", "SELECT name FROM pg_available_extensions");
    let mut extensions = list(older, source, "SELECT extname FROM pg_extension");
    extensions.retain(|extension| !available.contains(extension));
    let drop = |extension: &String| format!("DROP EXTENSION {extension} CASCADE;");
    let mut drops: String = extensions.iter().map(drop).collect();
    if list(newer, "postgres", "SELECT 1 FROM pg_collation WHERE collname ~ '-x-icu'").is_empty() {
        let collations = "SELECT format('DROP COLLATION %I.%I CASCADE;', nspname, collname) FROM pg_collation JOIN pg_namespace n ON n.oid = collnamespace
                          WHERE collprovider = 'i' AND nspname <> 'pg_catalog'";
        drops += &older.ask(source, collations);
    }
    drops
}

/// Names that are words since version 16 or 17.
const NEW_WORDS: &str = "
    CREATE FUNCTION public.of_json(json json) RETURNS json LANGUAGE sql AS 'SELECT $1';
    CREATE VIEW public.calls AS SELECT public.of_json(json => '1'::json) AS said FROM (VALUES (1)) system_user;
    CREATE TABLE public.logins (id int PRIMARY KEY, system_user text CHECK (system_user <> 'root'), g text GENERATED ALWAYS AS (system_user || 'x') STORED);
    CREATE INDEX ON public.logins (lower(system_user));
    CREATE POLICY own ON public.logins USING (system_user = 'joe');
    INSERT INTO public.logins VALUES (1, 'joe'), (2, 'ann');";

#[tokio::test(flavor = "multi_thread")]
async fn names_stay_names_that_a_newer_version_has_as_words() {
    const SAID: &str = "SELECT pg_get_expr(polqual, polrelid) FROM pg_policy UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c'";
    let servers = server::servers();
    for (older, newer) in servers.iter().flat_map(|older| servers.iter().map(move |newer| (older, newer))) {
        if older.major() > newer.major() || older.major() > 15 {
            continue;
        }
        let source = older.create();
        older.psql(&source, NEW_WORDS);
        let (manager, backup) = backed_up(older, &source).await;
        let copy = newer.create();
        manager.restore(&backup, &newer.url(&copy), RestoreOptions::default()).await.unwrap();
        let said = newer.ask(&copy, SAID);
        assert_eq!(said.matches("system_user").count(), 2, "they are the server's own words: {said}");
        assert_eq!(newer.contents(&copy), older.contents(&source));
    }
}

/// Every kind of object: what an older version has, a newer one takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_takes_everything() {
    let servers = server::servers();
    for (older, newer) in servers.iter().flat_map(|older| servers.iter().map(move |newer| (older, newer))) {
        if older.major() >= newer.major() {
            continue;
        }
        wicked::roles(newer);
        let source = older.create();
        wicked::everything(older, &source);
        older.psql(&source, &without_what_lacks(older, newer, &source));
        older.psql(&source, NEW_WORDS);
        older.psql(&source, "CREATE UNLOGGED TABLE public.unlogged_root (a int GENERATED ALWAYS AS IDENTITY, b int) PARTITION BY LIST (b); CREATE UNLOGGED TABLE public.unlogged_part PARTITION OF public.unlogged_root FOR VALUES IN (1)");
        let (manager, backup) = backed_up(older, &source).await;
        let same = older.create();
        manager.restore(&backup, &older.url(&same), RestoreOptions::default()).await.unwrap();
        assert_eq!(older.schema(&same), older.schema(&source));
        let copy = newer.create();
        let restored = manager.restore(&backup, &newer.url(&copy), RestoreOptions::default()).await;
        restored.unwrap_or_else(|error| panic!("{} into {}: {error}", older.major(), newer.major()));
        assert_eq!(newer.contents(&copy), older.contents(&source));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_version_does_not_take_or_was_not_built_with_is_said_beforehand() {
    const GENERATED: &str = "CREATE TABLE plain (a int, b int); CREATE TABLE own (b int GENERATED ALWAYS AS (a * 2) STORED) INHERITS (plain); INSERT INTO own VALUES (1)";
    let servers = server::servers();
    for (server, target) in
        servers.iter().flat_map(|server| servers.iter().map(move |target| (server, target)))
    {
        if server.major() > target.major() {
            continue;
        }
        let icu = |server: &Server| {
            server.ask("postgres", "SELECT count(*) FROM pg_collation WHERE collname ~ '-x-icu$'").trim()
                != "0"
        };
        let trials = [
            (server.major() < 16, GENERATED, "table public.own: a generated column", target.major() >= 16),
            (
                icu(server),
                "CREATE COLLATION sorts (provider = icu, locale = 'de')",
                "ICU, by which these sort: collation public.sorts",
                !icu(target),
            ),
            (
                icu(server),
                "CREATE TABLE sorted (a text COLLATE \"de-x-icu\")",
                "ICU, by which these sort: table public.sorted",
                !icu(target),
            ),
        ];
        for (is_possible, made, told, is_refused) in trials {
            if !is_possible {
                continue;
            }
            let source = server.create();
            server.psql(&source, made);
            let (manager, backup) = backed_up(server, &source).await;
            let copy = target.create();
            let restored = manager.restore(&backup, &target.url(&copy), RestoreOptions::default()).await;
            if is_refused {
                let refused = restored.unwrap_err().to_string();
                assert!(refused.contains(told) && !refused.contains("SQLSTATE"), "{refused}");
            } else {
                restored.unwrap();
                assert_eq!(target.contents(&copy), server.contents(&source));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_whose_compression_the_server_was_not_built_with_have_its_own() {
    let servers = server::servers();
    let lz4 = |server: &&Server| {
        let sql = "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'";
        server.ask("postgres", sql).trim() == "t"
    };
    for server in servers.iter().filter(lz4) {
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE t (a text COMPRESSION lz4, b text COMPRESSION pglz); INSERT INTO t SELECT repeat(i::text, 9000), i FROM generate_series(1, 9) i;
             CREATE MATERIALIZED VIEW m AS SELECT a FROM t; ALTER MATERIALIZED VIEW m ALTER a SET COMPRESSION lz4;
             CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE f (a text COMPRESSION lz4) SERVER s",
        );
        let (manager, backup) = backed_up(server, &source).await;
        for target in servers.iter().filter(|target| target.major() >= server.major()) {
            let told = Arc::new(Told::default());
            let manager = manager.clone().with_context(Ctx::new().with_progress(told.clone()));
            let copy = target.create();
            manager.restore(&backup, &target.url(&copy), RestoreOptions::default()).await.unwrap();
            assert_eq!(target.contents(&copy), server.contents(&source));
            let warnings = told.warnings();
            let expected = if lz4(&target) { 0 } else { 2 };
            assert_eq!(warnings.len(), expected, "{warnings:?}");
            assert!(expected == 0 || told.has("a column of table public.t is compressed"), "{warnings:?}");
        }
    }
}

/// The servers before a version, and the others.
fn apart(version: u32) -> (Vec<Server>, Vec<Server>) {
    server::servers().into_iter().partition(|server| server.major() < version)
}

/// Before version 16 there is no other way, and no word for it.
#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_run_as_they_did() {
    let (older, newer) = apart(16);
    for (from, to) in older.iter().flat_map(|from| newer.iter().map(move |to| (from, to))) {
        let source = from.create();
        let name = format!("s_{source}");
        from.psql(
            &source,
            &format!("SET client_min_messages = error; CREATE SUBSCRIPTION {name} CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE)"),
        );
        let (manager, backup) = backed_up(from, &source).await;
        from.psql(&source, &format!("DROP SUBSCRIPTION {name}"));
        let copy = to.create();
        manager.restore(&backup, &to.url(&copy), RestoreOptions::default()).await.unwrap();
        assert_eq!(
            to.ask(&copy, "SELECT subname, subrunasowner FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())"),
            format!("{name}|t\n")
        );
        to.psql(&copy, &format!("DROP SUBSCRIPTION {name}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_a_version_does_not_know_keeps_nothing_from_coming_back() {
    let (older, newer) = apart(17);
    for (from, to) in newer.iter().flat_map(|from| older.iter().map(move |to| (from, to))) {
        let source = from.create();
        let settings = format!(
            "ALTER DATABASE {source} SET transaction_timeout = '1h'; ALTER DATABASE {source} SET work_mem = '7MB'"
        );
        from.psql(&source, &format!("CREATE TABLE t (a int); {settings}"));
        let (manager, backup) = backed_up(from, &source).await;
        let told = Arc::new(Told::default());
        let manager = manager.with_context(Ctx::new().with_progress(told.clone()));
        let copy = to.create();
        manager.restore(&backup, &to.url(&copy), RestoreOptions::default()).await.unwrap();
        assert_eq!(to.ask(&copy, "SHOW work_mem; SELECT count(*) FROM t"), "7MB\n0\n");
        assert!(told.has("setting transaction_timeout of database"), "{:?}", told.warnings());
    }
}
