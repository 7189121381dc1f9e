//! What somebody has added to operator families that are the system's or an extension's: pg_dump leaves it out.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{BackupConfig, BackupManager, BackupRef, Format, Registry, RestoreOptions};

mod server;

/// All members of families, by name.
const MEMBERS: &str = "
SELECT f.opfname, m.amopstrategy, m.amopopr::regoperator::text, m.amoplefttype::regtype, m.amoprighttype::regtype, m.amoppurpose, s.opfname
FROM pg_amop m JOIN pg_opfamily f ON f.oid = m.amopfamily LEFT JOIN pg_opfamily s ON s.oid = m.amopsortfamily WHERE m.oid >= 16384
UNION ALL SELECT f.opfname, m.amprocnum, m.amproc::regprocedure::text, m.amproclefttype::regtype, m.amprocrighttype::regtype, 'p', NULL
FROM pg_amproc m JOIN pg_opfamily f ON f.oid = m.amprocfamily WHERE m.oid >= 16384 ORDER BY 1, 2, 3, 4, 5";

const ADDED: &str = "
CREATE SCHEMA s;
CREATE FUNCTION s.same(int4, text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1::text = $2';
CREATE FUNCTION s.compare(int4, text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT CASE WHEN $1::text < $2 THEN -1 WHEN $1::text > $2 THEN 1 ELSE 0 END';
CREATE OPERATOR s.=== (FUNCTION = s.same, LEFTARG = int4, RIGHTARG = text);
ALTER OPERATOR FAMILY integer_ops USING btree ADD OPERATOR 3 s.=== (int4, text), FUNCTION 1 (int4, text) s.compare(int4, text);
ALTER OPERATOR FAMILY text_ops USING hash ADD FUNCTION 1 (text, int4) hashtext(text);
CREATE FUNCTION s.apart(circle, text) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT 1.5::float8';
CREATE OPERATOR s.<==> (FUNCTION = s.apart, LEFTARG = circle, RIGHTARG = text);
ALTER OPERATOR FAMILY circle_ops USING gist ADD OPERATOR 40 s.<==> (circle, text) FOR ORDER BY float_ops;
CREATE FUNCTION s.same(point, point) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 ~= $2';
CREATE FUNCTION s.hash(point) RETURNS int4 LANGUAGE sql IMMUTABLE AS 'SELECT hashfloat8($1[0])';
CREATE FUNCTION s.hash(point, int8) RETURNS int8 LANGUAGE sql IMMUTABLE AS 'SELECT hashfloat8extended($1[0], $2)';
CREATE OPERATOR s.==== (FUNCTION = s.same, LEFTARG = point, RIGHTARG = point, COMMUTATOR = OPERATOR(s.====), HASHES);
CREATE OPERATOR CLASS s.point_hash DEFAULT FOR TYPE point USING hash FAMILY integer_ops AS OPERATOR 1 s.====, FUNCTION 1 s.hash(point), FUNCTION 2 s.hash(point, int8);
CREATE TABLE by_point (p point) PARTITION BY HASH (p); CREATE TABLE by_point_0 PARTITION OF by_point FOR VALUES WITH (MODULUS 1, REMAINDER 0);
INSERT INTO by_point VALUES ('(1,2)');
";

/// To a family of an extension: what is surely somebody's, and what might as well be the extension's.
const ADDED_TO_EXTENSION: &str = "
CREATE FUNCTION s.like_it(int4, int4) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 = $2';
CREATE OPERATOR s.~~~ (FUNCTION = s.like_it, LEFTARG = int4, RIGHTARG = int4);
ALTER OPERATOR FAMILY s.gist_int4_ops USING gist ADD OPERATOR 70 s.~~~ (int4, int4);
ALTER OPERATOR FAMILY s.gist_int4_ops USING gist ADD OPERATOR 71 = (int4, int8);
";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_added_to_families_of_the_system_and_of_extensions_comes_back() {
    for server in server::servers() {
        let source = server.create();
        server.psql(&source, ADDED);
        let there = "SELECT count(*) FROM pg_available_extensions WHERE name = 'btree_gist'";
        let has_extension = server.ask("postgres", there).trim() == "1";
        if has_extension {
            server.psql(&source, "CREATE EXTENSION btree_gist WITH SCHEMA s");
            server.psql(&source, ADDED_TO_EXTENSION);
        } else {
            server::missing("the server has not the extension btree_gist");
        }
        let expected = server.ask(&source, MEMBERS);
        assert!(expected.lines().count() >= if has_extension { 200 } else { 8 }, "{expected}");
        // As if it had been updated since: then nothing tells its own members from others.
        let updates: &[&str] =
            if has_extension { &["", "UPDATE pg_extension SET extversion = extversion"] } else { &[""] };
        for update in updates {
            server.psql(&source, update);
            for format in [Format::Binary, Format::Sql] {
                let mut config = BackupConfig::default();
                (config.format, config.jobs) = (format, 2);
                let manager = BackupManager::new(config)
                    .with_registry(Registry::new().with(&backup_postgres::ENGINE))
                    .with_storage(Arc::new(MemoryStorage::new()));
                manager.backup(&server.url(&source)).await.unwrap();
                let copy = server.create();
                manager
                    .restore(&BackupRef::Latest, &server.url(&copy), RestoreOptions::default())
                    .await
                    .unwrap();
                assert_eq!(server.ask(&copy, MEMBERS), expected, "{format:?} {update} on {}", server.major());
                assert_eq!(server.dump(&copy), server.dump(&source));
            }
        }
    }
}
