//! The locks of a snapshot: the lightest that an account may take, said; and a copy that its source's own dump program cannot tell from it,
//! whatever the account.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use backup_core::storage::MemoryStorage;
use backup_core::{
    BackupConfig, BackupManager, BackupRef, Ctx, DatabaseUrl, ErrorKind, Event, PartKind, Progress, Registry,
    RestoreOptions,
};

mod server;
mod wicked;

use server::{Account, Server};

/// Remembers what a person would be told.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Progress for Told {
    fn event(&self, event: Event<'_>) {
        if let Event::Warning(text) | Event::Note(text) = event {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }
}

/// Backs up as that account, restores as the usual one, and compares. Returns what was said of the backup, what its manifest warns of, and
/// whether it knows its place in the binary log.
async fn round_trip(server: &Server, source: &DatabaseUrl, account: &Account<'_>) -> (String, String, bool) {
    let told = Arc::new(Told::default());
    let mut config = BackupConfig::default();
    config.jobs = 3;
    let manager = BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_mysql::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()))
        .with_context(Ctx::new().with_progress(Arc::clone(&told) as Arc<dyn Progress>));
    let made = manager.backup(&account.url(source)).await;
    let made = made.unwrap_or_else(|error| panic!("{}: {error:?}", account.name));
    let said = told.0.lock().unwrap().join("\n");
    let target = server.empty();
    let backup = BackupRef::from(&made.id);
    manager.restore(&backup, &target, RestoreOptions::default()).await.unwrap();
    assert_eq!(server.dump(&target.path), server.dump(&source.path), "as {}", account.name);
    (said, manager.get_backup(&backup).await.unwrap().warnings.join("\n"), made.position.is_some())
}

/// What docs/mysql.md says that an account needs, up to its last line.
fn documented(server: &Server, newer: bool, database: &str) -> Vec<String> {
    let mut grants = vec![
        format!("SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON `{database}`.*"),
        "RELOAD ON *.*".to_owned(),
    ];
    grants.push(match (server.is_mariadb(), newer) {
        (true, true) => format!("SHOW CREATE ROUTINE ON `{database}`.*"),
        (true, false) => "SELECT ON mysql.proc".to_owned(),
        (false, _) => "BACKUP_ADMIN, SHOW_ROUTINE, REPLICATION CLIENT, XA_RECOVER_ADMIN ON *.*".to_owned(),
    });
    grants
}

async fn every_account(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let newer = kind == "mariadb11";
    let source = server.empty();
    server.run(Some(&source.path), &wicked::statements(server.is_mariadb(), server.version()));
    let held = "writers of ";
    let grants = documented(&server, newer, &source.path);

    let account = Account::new(&server, "documented", &grants);
    let (said, _, is_placed) = round_trip(&server, &source, &account).await;
    let lock = if server.is_mariadb() {
        "under BACKUP STAGE BLOCK_COMMIT"
    } else {
        "LOCK INSTANCE FOR BACKUP keeps DDL"
    };
    assert!(said.contains(lock) && said.contains(held) && !said.contains("allowed"), "{said}");
    assert!(is_placed, "{said}");

    // Without what tells of transactions that are prepared, which would make the place wrong.
    if !server.is_mariadb() {
        let without: Vec<_> = grants.iter().map(|grant| grant.replace(", XA_RECOVER_ADMIN", "")).collect();
        let account = Account::new(&server, "without_xa", &without);
        let (said, _, is_placed) = round_trip(&server, &source, &account).await;
        assert!(!is_placed && said.contains("XA_RECOVER_ADMIN"), "{said}");
    }

    // Without RELOAD.
    let without: Vec<_> = grants.iter().filter(|grant| !grant.starts_with("RELOAD")).cloned().collect();
    let account = Account::new(&server, "without_reload", &without);
    let (said, _, is_placed) = round_trip(&server, &source, &account).await;
    assert!(server.is_mariadb() || !is_placed, "other databases go on");
    assert!(said.contains("the tables were locked for a moment") && said.contains(held), "{said}");

    // Without any lock: what has no snapshots may be of another moment, and the manifest says so.
    let without: Vec<_> = without.iter().map(|grant| grant.replace(", LOCK TABLES", "")).collect();
    let account = Account::new(&server, "without_locks", &without);
    let (said, warned, is_placed) = round_trip(&server, &source, &account).await;
    assert!(!is_placed, "rows of another moment have no place");
    assert!(
        said.contains("one connection reads everything")
            || said.contains("the places in the binary log prove"),
        "{said}"
    );
    assert!(warned.contains("are not of one moment") && warned.contains("commas"), "{warned}");

    // Of what an account has no privilege for the server says nothing at all: it makes no backup.
    for lacks in ["ROUTINE", "mysql.proc", "EVENT, ", "TRIGGER, "] {
        let grants: Vec<_> = match lacks {
            "EVENT, " | "TRIGGER, " => without.iter().map(|grant| grant.replace(lacks, "")).collect(),
            _ => without.iter().filter(|grant| !grant.contains(lacks)).cloned().collect(),
        };
        if grants == without {
            continue;
        }
        let account = Account::new(&server, "half_blind", &grants);
        let manager = BackupManager::new(BackupConfig::default())
            .with_registry(Registry::new().with(&backup_mysql::ENGINE))
            .with_storage(Arc::new(MemoryStorage::new()));
        let made = manager.backup(&account.url(&source)).await;
        let error = made.err().unwrap_or_else(|| panic!("a backup without {lacks}"));
        assert!(
            error.kind() == ErrorKind::PermissionDenied && error.to_string().contains("may not see"),
            "{error}"
        );
    }
}

/// Somebody who flushes tables waits for those that the backup keeps locked; and the backup does not wait for him.
async fn beside_flushes(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    server.run(Some(&source.path), &wicked::statements(server.is_mariadb(), server.version()));
    let account =
        Account::new(&server, "beside_flushes", &documented(&server, kind == "mariadb11", &source.path));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let flushing = scope.spawn(|| {
            let mut flushed = 0;
            while !over.load(Ordering::SeqCst) {
                server.run(None, &["FLUSH TABLES".to_owned()]);
                flushed += 1;
            }
            flushed
        });
        let backups = async {
            for _ in 0..5 {
                round_trip(&server, &source, &account).await;
            }
        };
        let done = tokio::task::block_in_place(|| {
            let backups =
                std::panic::AssertUnwindSafe(|| tokio::runtime::Handle::current().block_on(backups));
            std::panic::catch_unwind(backups)
        });
        over.store(true, Ordering::SeqCst);
        assert!(flushing.join().unwrap() > 0 && done.is_ok());
    });
}

/// Looks at what is locked whenever a part is begun.
struct Watching {
    server: Arc<Server>,
    database: String,
    begun: AtomicU32,
    seen: Mutex<Vec<String>>,
}

impl Progress for Watching {
    fn event(&self, event: Event<'_>) {
        let Event::PartStarted(part) = event else { return };
        let begun = self.begun.fetch_add(1, Ordering::SeqCst);
        let query = if !self.server.is_mariadb() {
            if !begun.is_multiple_of(20) {
                return;
            }
            format!(
                "SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE OBJECT_TYPE = 'TABLE' AND OBJECT_SCHEMA = '{}' \
                 GROUP BY OWNER_THREAD_ID ORDER BY 1 DESC",
                self.database
            )
        } else if part.object.name == "t99" && matches!(part.kind, PartKind::Rows { .. }) {
            // All others have been read, or are being read.
            "BEGIN NOT ATOMIC DECLARE EXIT HANDLER FOR 1205 SELECT 'kept'; \
             SET SESSION lock_wait_timeout = 1; RENAME TABLE t01 TO other; SELECT 'renamed'; END"
                .to_owned()
        } else {
            return;
        };
        self.seen.lock().unwrap().push(self.server.ask(Some(&self.database), &query));
    }
}

/// Backs up a hundred tables, and returns what was seen meanwhile.
async fn watch(kind: &str) -> Option<Vec<String>> {
    let server = Arc::new(Server::find(kind)?);
    let source = server.empty();
    let make = |i| format!("CREATE TABLE t{i:02} (a INT PRIMARY KEY) SELECT 1 AS a");
    server.run(Some(&source.path), &(0..100).map(make).collect::<Vec<_>>());
    let watching = Arc::new(Watching {
        server: Arc::clone(&server),
        database: source.path.clone(),
        begun: AtomicU32::new(0),
        seen: Mutex::default(),
    });
    let manager = BackupManager::new(BackupConfig::default())
        .with_registry(Registry::new().with(&backup_mysql::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()))
        .with_context(Ctx::new().with_progress(Arc::clone(&watching) as Arc<dyn Progress>));
    manager.backup(&source).await.unwrap();
    let seen = std::mem::take(&mut *watching.seen.lock().unwrap());
    assert!(!seen.is_empty(), "nothing was looked at");
    Some(seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_read_is_not_renamed_before_the_backup_ends_on_mariadb() {
    let Some(seen) = watch("mariadb").await else { return };
    assert_eq!(seen, ["kept\n"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_lets_go_of_tables_that_others_keep_on_mysql() {
    let Some(seen) = watch("mysql").await else { return };
    for counts in &seen {
        let counts: Vec<u32> = counts.lines().map(|count| count.parse().unwrap()).collect();
        assert_eq!(counts.first(), Some(&100), "one keeps all: {counts:?}");
        assert!(counts.iter().skip(1).all(|count| *count <= 40), "{counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_does_not_wait_for_who_flushes_tables_on_mysql() {
    beside_flushes("mysql").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_account_backs_up_what_there_is_by_the_lightest_lock_on_mariadb() {
    every_account("mariadb").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_account_backs_up_what_there_is_by_the_lightest_lock_on_mariadb_11() {
    every_account("mariadb11").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_account_backs_up_what_there_is_by_the_lightest_lock_on_mysql() {
    every_account("mysql").await;
}

/// Accounts that two clients move money between all the while: of an engine with snapshots, and of one without.
struct Bank<'s> {
    server: &'s Server,
    database: &'s str,
    moved: AtomicU32,
    over: AtomicBool,
}

const TABLES: u32 = 6;
const TOTAL: u32 = TABLES * 50 * 100;

impl<'s> Bank<'s> {
    fn open(server: &'s Server, database: &'s str) -> Self {
        let mut statements = Vec::new();
        for (kind, engine) in [("account", "InnoDB"), ("ledger", "MyISAM")] {
            for i in 0..TABLES {
                let table = format!("{kind}{i}");
                statements.push(format!(
                    "CREATE TABLE {table} (id INT PRIMARY KEY, amount INT NOT NULL) ENGINE={engine}"
                ));
                let rows: Vec<_> = (1..=50).map(|id| format!("({id}, 100)")).collect();
                statements.push(format!("INSERT INTO {table} VALUES {}", rows.join(", ")));
            }
        }
        server.run(Some(database), &statements);
        Self { server, database, moved: AtomicU32::new(0), over: AtomicBool::new(false) }
    }

    fn moves(&self, seed: u32) {
        let mut number = seed;
        let mut chance = |below: u32| {
            number = number.wrapping_mul(1_103_515_245).wrapping_add(12345);
            (number >> 16) % below
        };
        while !self.over.load(Ordering::SeqCst) {
            let mut statements = Vec::new();
            for _ in 0..20 {
                let (low, id, amount) = (chance(TABLES - 1), 1 + chance(50), chance(9));
                let high = low + 1 + chance(TABLES - low - 1);
                // Always in one order: then none waits for the other in a circle.
                statements.extend([
                    "START TRANSACTION".to_owned(),
                    format!("UPDATE account{low} SET amount = amount - {amount} WHERE id = {id}"),
                    format!("UPDATE account{high} SET amount = amount + {amount} WHERE id = {id}"),
                    "COMMIT".to_owned(),
                    format!(
                        "UPDATE ledger{low} a, ledger{high} b SET a.amount = a.amount + {amount}, b.amount = b.amount - {amount} \
                         WHERE a.id = {id} AND b.id = {id}"
                    ),
                ]);
            }
            match self.server.try_run(Some(self.database), &statements) {
                Ok(()) => _ = self.moved.fetch_add(20, Ordering::SeqCst),
                // Who has one table and wants another that somebody is about to lock may be the one to give way: nothing of it was done.
                Err(said) => assert!(said.contains("ERROR 1213"), "{said}"),
            }
        }
    }

    fn total(&self, database: &str, kind: &str) -> u32 {
        let sums: Vec<_> = (0..TABLES).map(|i| format!("(SELECT SUM(amount) FROM {kind}{i})")).collect();
        let total = self.server.ask(Some(database), &format!("SELECT {}", sums.join(" + ")));
        total.trim().parse().unwrap()
    }
}

/// Under each lock that there is, every backup is of one moment.
async fn transfers(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let bank = Bank::open(&server, &source.path);
    let grants = documented(&server, kind == "mariadb11", &source.path);
    let without = |grants: &[String], what: &str| -> Vec<String> {
        grants
            .iter()
            .filter(|grant| !grant.starts_with("RELOAD") || what != "RELOAD")
            .map(|grant| grant.replace(what, "").trim_start_matches(", ").to_owned())
            .collect()
    };
    let mut accounts = vec![(
        "all",
        grants.clone(),
        if server.is_mariadb() { "BACKUP STAGE" } else { "LOCK INSTANCE FOR BACKUP" },
    )];
    if !server.is_mariadb() {
        accounts.push((
            "no_instance",
            without(&grants, "BACKUP_ADMIN, "),
            "under FLUSH TABLES WITH READ LOCK",
        ));
    }
    let no_reload = without(&grants, "RELOAD");
    accounts.push(("no_reload", no_reload.clone(), "the tables were locked for a moment"));
    accounts.push(("no_locks", without(&no_reload, ", LOCK TABLES"), "no lock is allowed"));
    let backups = async {
        for (name, grants, lock) in accounts {
            let account = Account::new(&server, &format!("bank_{name}"), &grants);
            for _ in 0..2 {
                let told = Arc::new(Told::default());
                let mut config = BackupConfig::default();
                config.jobs = 4;
                let manager = BackupManager::new(config)
                    .with_registry(Registry::new().with(&backup_mysql::ENGINE))
                    .with_storage(Arc::new(MemoryStorage::new()))
                    .with_context(Ctx::new().with_progress(Arc::clone(&told) as Arc<dyn Progress>));
                let before = bank.moved.load(Ordering::SeqCst);
                let made = manager
                    .backup(&account.url(&source))
                    .await
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
                let said = told.0.lock().unwrap().join("\n");
                assert!(said.contains(lock), "{name}: {said}");
                let copy = server.empty();
                manager.restore(&BackupRef::from(&made.id), &copy, RestoreOptions::default()).await.unwrap();
                assert_eq!(bank.total(&copy.path, "account"), TOTAL, "{name}: {said}");
                if name == "no_locks" {
                    assert!(said.contains("ledger0") && said.contains("are not of one moment"), "{said}");
                } else {
                    assert_eq!(bank.total(&copy.path, "ledger"), TOTAL, "{name}: {said}");
                }
                while bank.moved.load(Ordering::SeqCst) == before {
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let clients = [1, 2].map(|seed| {
            let bank = &bank;
            scope.spawn(move || bank.moves(seed))
        });
        let done = tokio::task::block_in_place(|| {
            let backups =
                std::panic::AssertUnwindSafe(|| tokio::runtime::Handle::current().block_on(backups));
            std::panic::catch_unwind(backups)
        });
        bank.over.store(true, Ordering::SeqCst);
        for client in clients {
            client.join().unwrap();
        }
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    });
    println!("{} transfers on {kind}", bank.moved.load(Ordering::SeqCst));
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_under_every_lock_sum_to_the_same_on_mariadb() {
    transfers("mariadb").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_under_every_lock_sum_to_the_same_on_mariadb_11() {
    transfers("mariadb11").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_under_every_lock_sum_to_the_same_on_mysql() {
    transfers("mysql").await;
}
