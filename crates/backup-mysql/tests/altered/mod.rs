//! Somebody alters, empties or drops what is being backed up.

use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use backup_core::{BackupRef, Ctx, Event, Format, Progress, RestoreOptions, Stage};

use super::at_once::before_run;
use super::server::Server;
use super::{by_way_of, ends, manager, manager_of, on, shop, storage};

/// Begins to change the schema as soon as it has been looked at, and remembers what it is told.
struct Altering {
    server: Arc<Server>,
    database: String,
    statements: Vec<String>,
    begun: Mutex<Vec<JoinHandle<()>>>,
    told: Mutex<Vec<String>>,
}

impl Progress for Altering {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Stage(Stage::Dump) => {
                for statement in &self.statements {
                    self.begin(statement);
                }
            }
            Event::Warning(text) => self.told.lock().unwrap().push(text.to_owned()),
            _ => {}
        }
    }
}

impl Altering {
    fn new(server: &Arc<Server>, database: &str, statements: &[&str]) -> Arc<Self> {
        Arc::new(Self {
            server: Arc::clone(server),
            database: database.to_owned(),
            statements: statements.iter().map(|statement| (*statement).to_owned()).collect(),
            begun: Mutex::default(),
            told: Mutex::default(),
        })
    }

    /// Returns when the statement is done, or waits for this backup: others that run beside it hold MariaDB's backup lock for a moment.
    fn begin(&self, statement: &str) {
        let (server, database, sql) = (Arc::clone(&self.server), self.database.clone(), statement.to_owned());
        let running = std::thread::spawn(move || server.run(Some(&database), &[sql]));
        let of_others = if self.server.is_mariadb() { "Waiting for backup lock" } else { "" };
        let waiting = format!(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = '{}' AND INFO = '{statement}' AND STATE LIKE 'Waiting for %' AND STATE <> '{of_others}'",
            self.database
        );
        let until = Instant::now() + Duration::from_secs(20);
        while !running.is_finished() && self.server.ask(None, &waiting).trim() == "0" {
            assert!(Instant::now() < until, "{statement} neither ends nor waits");
            sleep(Duration::from_millis(20));
        }
        self.begun.lock().unwrap().push(running);
    }

    /// Waits until all is changed.
    fn done(&self) {
        for running in self.begun.lock().unwrap().drain(..) {
            running.join().unwrap();
        }
    }
}

/// They wait for the backup, which does not wait for them: it has what there was.
async fn who_alters_tables_waits_for_the_backup(server: Server) {
    let server = Arc::new(server);
    for format in [Format::Binary, Format::Sql] {
        alter_beside_a_backup(&server, format).await;
    }
}

async fn alter_beside_a_backup(server: &Arc<Server>, format: Format) {
    let source = shop(server);
    let fill =
        "CREATE TABLE big (id INT PRIMARY KEY, filler TEXT) SELECT id, REPEAT(note, 8) AS filler FROM orders";
    server.run(Some(&source.path), &[fill.to_owned(), "ANALYZE TABLE big".to_owned()]);
    let before = server.dump(&source.path);
    let altering = Altering::new(
        server,
        &source.path,
        &[
            "ALTER TABLE orders ADD more INT DEFAULT 7",
            "ALTER TABLE big ADD more INT",
            "TRUNCATE TABLE account",
        ],
    );
    let storage = storage();
    let manager = manager_of(&storage, format)
        .with_context(Ctx::new().with_progress(Arc::clone(&altering) as Arc<dyn Progress>));
    // In several parts, each more than is held on the way into a script.
    let in_parts = format!("{}?part-size=3000000", server.url_text(&source.path)).parse().unwrap();
    let begun = Instant::now();
    let made = ends("a backup beside ALTER TABLE", manager.backup(&in_parts)).await.unwrap();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(30), "it waited for who waits for it: {took:?}");
    tokio::task::block_in_place(|| altering.done());
    let told = altering.told.lock().unwrap().join("\n");
    if server.is_mariadb() {
        assert!(told.contains("waits to alter table orders") && told.contains("table account"), "{told}");
    }
    assert!(server.dump(&source.path).contains("`more`"), "the table was altered afterwards");
    assert_eq!(server.ask(Some(&source.path), "SELECT COUNT(*) FROM account").trim(), "0");
    let copy = server.empty();
    manager.restore(&BackupRef::from(&made.id), &copy, RestoreOptions::default()).await.unwrap();
    assert_eq!(server.dump(&copy.path), before);
}

/// Nobody keeps a view: which one changed is said, and there is no backup.
async fn a_view_that_was_changed_meanwhile_is_named(server: Server) {
    let server = Arc::new(server);
    let source = shop(&server);
    let altering = Altering::new(&server, &source.path, &["DROP VIEW rich"]);
    let storage = storage();
    let manager =
        manager(&storage).with_context(Ctx::new().with_progress(Arc::clone(&altering) as Arc<dyn Progress>));
    let made = ends("a backup beside DROP VIEW", manager.backup(&source)).await;
    tokio::task::block_in_place(|| altering.done());
    if server.is_mariadb() {
        let error = made.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("rich"), "{error}");
        assert!(manager.list_backups().await.unwrap().is_empty());
    } else {
        // There it waits too.
        made.unwrap();
    }
}

/// Puts another table in the place of one when the snapshot is there and nobody has looked into any.
struct Swapping {
    server: Arc<Server>,
    database: String,
}

impl Progress for Swapping {
    fn event(&self, event: Event<'_>) {
        if let Event::Stage(Stage::Plan) = event {
            let statements = [
                "INSERT INTO next_account SELECT * FROM account",
                "RENAME TABLE account TO last_account, next_account TO account",
                "DROP TABLE last_account",
            ];
            self.server.run(Some(&self.database), &statements.map(str::to_owned));
        }
    }
}

/// The snapshot has no rows of the new one.
async fn a_table_that_was_swapped_before_anybody_kept_it_is_named(server: Server) {
    let server = Arc::new(server);
    let source = shop(&server);
    // The server says of which second a table is.
    sleep(Duration::from_millis(1100));
    server.run(Some(&source.path), &["CREATE TABLE next_account LIKE account".to_owned()]);
    let swapping = Arc::new(Swapping { server: Arc::clone(&server), database: source.path.clone() });
    let storage = storage();
    let manager = manager(&storage).with_context(Ctx::new().with_progress(swapping as Arc<dyn Progress>));
    let made = ends("a backup beside RENAME TABLE", manager.backup(&source)).await;
    let error = made.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("table account was made, altered or dropped"), "{error}");
    assert!(manager.list_backups().await.unwrap().is_empty());
}

/// A table without snapshots that comes when those were listed, and before DDL is kept away.
async fn a_table_without_snapshots_that_came_unlocked_is_named(server: Server) {
    let server = Arc::new(server);
    let source = shop(&server);
    let lock = if server.is_mariadb() { "BACKUP STAGE START" } else { "FLUSH TABLES WITH READ LOCK" };
    let makes = ["CREATE TABLE late (a INT) ENGINE=MyISAM", "INSERT INTO late VALUES (1)"];
    let proxy = before_run(&server, lock.to_owned(), Some(&source.path), &makes);
    let url = by_way_of(&proxy, &server, &source.path, "");
    let made = ends("a backup beside CREATE TABLE", manager(&storage()).backup(&url)).await;
    let error = made.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("table late was made, altered or dropped"), "{error}");
    manager(&storage()).backup(&source).await.unwrap();
}

on! {
    a_table_without_snapshots_that_came_unlocked_is_named: mariadb mysql;
    a_table_that_was_swapped_before_anybody_kept_it_is_named: mariadb mariadb11;
    who_alters_tables_waits_for_the_backup: mariadb mariadb11 mysql;
    a_view_that_was_changed_meanwhile_is_named: mariadb mysql;
}
