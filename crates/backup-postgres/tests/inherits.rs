//! What tables have of their own and from their parents: pg_dump tells only some of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use backup_core::RestoreOptions;

mod backups;
mod server;
mod wicked;

use backups::backed_up;

/// Each column and CHECK in its order, whether it is the table's own, and from how many parents it is.
const HELD: &str = "
SELECT c.oid::regclass::text, 1, row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), a.attname::text, a.attislocal, a.attinhcount::int4
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relkind IN ('r', 'p', 'f') AND c.oid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL SELECT conrelid::regclass::text, 2, row_number() OVER (PARTITION BY conrelid ORDER BY conname), conname::text, conislocal, coninhcount::int4
FROM pg_constraint WHERE conrelid >= 16384 AND contype IN ('c', 'n') ORDER BY 1, 2, 3";

/// Each comment, and how each trigger fires.
const SAID: &str = "
SELECT pg_describe_object(classoid, objoid, objsubid), description FROM pg_description WHERE objoid >= 16384
UNION ALL SELECT pg_describe_object('pg_trigger'::regclass, oid, 0), tgenabled::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_a_table_s_own_and_what_its_parents_comes_back_so() {
    for server in server::servers() {
        let source = server.create();
        wicked::awkward(&server, &source);
        let (manager, backup) = backed_up(&server, &source).await;
        let told = manager.get_backup(&backup).await.unwrap().warnings;
        assert!(!told.iter().any(|warning| warning.contains("another order")), "{told:?}");
        let copy = server.create();
        manager.restore(&backup, &server.url(&copy), RestoreOptions::default()).await.unwrap();
        let (expected, found) = (server.ask(&source, HELD), server.ask(&copy, HELD));
        assert!(expected.contains("w.merges_both|1|4|n|t|1\n"), "{expected}");
        let other = expected.lines().zip(found.lines()).find(|(expected, found)| expected != found);
        assert_eq!((other, expected.len()), (None, found.len()), "on {}", server.major());
        let (expected, found) = (server.ask(&source, SAID), server.ask(&copy, SAID));
        assert!(expected.contains("type w.spans[]|of arrays\n"), "{expected}");
        let other = expected.lines().zip(found.lines()).find(|(expected, found)| expected != found);
        assert_eq!((other, expected.len()), (None, found.len()), "on {}", server.major());
    }
}
