//! What an account may not read or see, and what the server itself cannot read any more: named, never left out silently.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};

use backup_core::{BackupOptions, BackupRef, Content, ErrorKind, RestoreOptions};

use crate::private::Private;
use crate::server::{Account, Server};
use crate::{manager, on, storage};

on! {
    what_may_not_be_read_is_named_and_left_out_only_where_that_is_asked_for: mariadb mariadb11 mysql;
    what_a_role_may_see_is_what_counts: mariadb mariadb11 mysql;
    of_several_grants_the_closest_counts: mariadb mariadb11 mysql;
    a_view_without_what_it_reads_is_kept: mariadb mysql;
    a_view_that_the_server_does_not_print_is_named: mariadb mariadb11;
}

/// MariaDB makes a view of a time that it does not read again.
async fn a_view_that_the_server_does_not_print_is_named(server: Server) {
    let source = server.empty();
    let statements = [
        "CREATE TABLE t (a INT) WITH SYSTEM VERSIONING",
        "CREATE VIEW v AS SELECT a FROM t FOR SYSTEM_TIME AS OF '2030-01-01'",
        "CREATE VIEW w AS SELECT a FROM t",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let manager = manager(&storage());
    let error = manager.backup(&source).await.unwrap_err();
    assert!(error.to_string().contains("view v cannot be read"), "{error}");
    let backup = manager.backup_with(&source, skipping()).await.unwrap();
    assert_eq!(backup.left_out, [format!("view {}.v", source.path)]);
    let target = server.empty();
    manager.restore(&BackupRef::from(&backup.id), &target, RestoreOptions::default()).await.unwrap();
    assert_eq!(server.ask(Some(&target.path), "SHOW TABLES"), "t\nw\n");
}

fn including(patterns: &[&str]) -> BackupOptions {
    let mut options = BackupOptions::default();
    options.include = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
    options
}

fn skipping() -> BackupOptions {
    let mut options = BackupOptions::default();
    options.skip_unreadable = true;
    options
}

async fn what_may_not_be_read_is_named_and_left_out_only_where_that_is_asked_for(server: Server) {
    let source = server.empty();
    server.run(
        Some(&source.path),
        &[
            "CREATE TABLE open (a INT PRIMARY KEY)",
            "INSERT INTO open VALUES (1)",
            "CREATE TABLE closed (a INT PRIMARY KEY) ENGINE=MyISAM",
            "CREATE TABLE half (a INT PRIMARY KEY, b INT)",
            "CREATE TABLE unseen (a INT PRIMARY KEY)",
            "CREATE TABLE refers (a INT PRIMARY KEY, b INT, CONSTRAINT to_open FOREIGN KEY (a) REFERENCES open (a), CONSTRAINT to_half FOREIGN KEY (b) REFERENCES half (a))",
            "CREATE VIEW of_open AS SELECT a FROM open",
            "CREATE VIEW of_closed AS SELECT a FROM closed",
            "CREATE VIEW of_view AS SELECT a FROM of_closed",
            "CREATE PROCEDURE p() SELECT 1",
            "CREATE TRIGGER on_open BEFORE INSERT ON open FOR EACH ROW SET NEW.a = NEW.a + 1",
        ]
        .map(str::to_owned),
    );
    let database = &source.path;
    let whole = ["open", "refers", "of_open", "of_closed", "of_view"];
    let mut grants: Vec<_> =
        whole.iter().map(|name| format!("SELECT, SHOW VIEW, TRIGGER ON `{database}`.`{name}`")).collect();
    grants.extend([
        format!("INSERT ON `{database}`.closed"),
        format!("SELECT (a) ON `{database}`.half"),
        format!("EXECUTE ON `{database}`.*"),
    ]);
    let account = Account::new(&server, "curious", &grants);
    let url = account.url(&source);
    let storage = storage();
    let manager = manager(&storage);

    let told = |error: backup_core::Error| {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        error.to_string()
    };
    let error = told(manager.backup(&url).await.unwrap_err());
    let named =
        [&format!("table {database}.closed"), &format!("table {database}.half"), "SELECT, TRIGGER, EVENT"];
    assert!(named.iter().all(|name| error.contains(*name)) && !error.contains(".open"), "{error}");
    let mut rows_alone = including(&["half"]);
    rows_alone.content = Content::DataOnly;
    for options in [including(&["closed", "open"]), including(&["open", "half"]), rows_alone] {
        let name = if options.include[0].to_string() == "closed" { "closed" } else { "half" };
        let error = told(manager.backup_with(&url, options).await.unwrap_err());
        assert!(error.contains(name), "{error}");
    }
    assert!(manager.list_backups().await.unwrap().is_empty());

    let backup = manager.backup_with(&url, skipping()).await.unwrap();
    let named =
        ["table closed", "table half", "procedure p"].map(|name| name.replace(' ', &format!(" {database}.")));
    let hidden = format!("hidden part of database {database}");
    assert_eq!(backup.left_out, [&named[..], &[hidden]].concat());
    assert!(backup.partial);
    let details = manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap();
    for name in &backup.left_out {
        assert!(details.warnings.iter().any(|warning| warning.contains(name)), "{name}: {details:?}");
    }
    assert!(details.warnings.iter().any(|warning| warning.contains("to_half")), "{details:?}");
    let copy = server.empty();
    manager.restore(&BackupRef::Latest, &copy, RestoreOptions::default()).await.unwrap();
    let ask = |query: &str| server.ask(Some(&copy.path), query);
    assert_eq!(ask("SHOW TABLES"), "of_closed\nof_open\nof_view\nopen\nrefers\n");
    assert_eq!(ask("SELECT a FROM of_open"), "1\n");
    assert!(ask("SHOW CREATE TABLE open").contains("PRIMARY"));
    assert!(ask("SHOW CREATE TRIGGER on_open").contains("+ 1"));
    let keys = "SELECT CONSTRAINT_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE()";
    assert_eq!(ask(keys), "to_open\n");
}

/// Also where it is a role that lacks something: then an account sees less than there is, and is not told so.
async fn what_a_role_may_see_is_what_counts(server: Server) {
    let source = server.empty();
    server.run(
        Some(&source.path),
        &["CREATE TABLE open (a INT PRIMARY KEY)", "CREATE TABLE unseen (a INT PRIMARY KEY)"]
            .map(str::to_owned),
    );
    let database = &source.path;
    let everything = if server.is_mariadb() {
        vec![format!("SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES, EXECUTE ON `{database}`.*")]
    } else {
        vec![
            format!("SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON `{database}`.*"),
            "SHOW_ROUTINE ON *.*".to_owned(),
        ]
    };
    let one = vec![
        format!("SELECT, SHOW VIEW, TRIGGER ON `{database}`.`open`"),
        format!("EVENT, EXECUTE ON `{database}`.*"),
    ];
    for (what, grants, sees_all) in
        [("everything", everything.clone(), true), ("one", one, false), ("nothing", everything, false)]
    {
        let account = Account::new(&server, &format!("has_role_of_{what}"), &[]);
        let role = format!("lb_role_of_{what}_{}", std::process::id());
        let mut statements = vec![format!("CREATE ROLE {role}")];
        statements.extend(grants.iter().map(|grant| format!("GRANT {grant} TO {role}")));
        statements.push(format!("GRANT {role} TO {}", account.name));
        // A role that is not active gives nothing.
        if what == "nothing" {
            statements.push(format!("GRANT INSERT ON `{database}`.* TO {}", account.name));
        } else {
            statements.push(if server.is_mariadb() {
                format!("SET DEFAULT ROLE {role} FOR {}", account.name)
            } else {
                format!("SET DEFAULT ROLE {role} TO {}", account.name)
            });
        }
        server.run(None, &statements);
        let storage = storage();
        let made = manager(&storage).backup(&account.url(&source)).await;
        server.run(None, &[format!("DROP ROLE {role}")]);
        match made {
            Ok(backup) => assert!(sees_all && backup.left_out.is_empty()),
            Err(error) => {
                let told = error.to_string();
                assert!(!sees_all && error.kind() == ErrorKind::PermissionDenied, "{told}");
                assert!(told.contains("SELECT, TRIGGER"), "{told}");
                assert!(told.contains("EVENT") == (what == "nothing"), "{told}");
            }
        }
    }
}

/// It is as invalid as it would be in the source, and warned of; beside what it reads it is whole again.
async fn a_view_without_what_it_reads_is_kept(server: Server) {
    let source = server.empty();
    server.run(
        Some(&source.path),
        &[
            "CREATE TABLE stays (a INT PRIMARY KEY)",
            "CREATE TABLE goes (a INT PRIMARY KEY, b TEXT)",
            "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1",
            "CREATE VIEW of_goes AS SELECT a, b FROM goes",
            "CREATE VIEW of_view AS SELECT COUNT(*) AS n FROM of_goes JOIN stays",
            "CREATE VIEW of_function AS SELECT f() AS one",
            "CREATE VIEW of_stays AS SELECT a FROM stays",
        ]
        .map(str::to_owned),
    );
    let storage = storage();
    let manager = manager(&storage);
    let mut options = BackupOptions::default();
    options.exclude = ["goes", "f"].map(|pattern| pattern.parse().unwrap()).to_vec();
    let made = manager.backup_with(&source, options).await.unwrap();
    let warnings = manager.get_backup(&BackupRef::from(&made.id)).await.unwrap().warnings.join("\n");
    let views = ["of_goes", "of_view", "of_function"];
    assert!(views.iter().all(|view| warnings.contains(&format!("view {view}"))), "{warnings}");
    assert!(!warnings.contains("of_stays"), "{warnings}");
    let copy = server.empty();
    manager.restore(&BackupRef::from(&made.id), &copy, RestoreOptions::default()).await.unwrap();
    let (ask, tables) = (|query: &str| server.ask(Some(&copy.path), query), "SHOW TABLES");
    assert_eq!(ask(tables), "of_function\nof_goes\nof_stays\nof_view\nstays\n");
    server.run(
        Some(&copy.path),
        &[
            "CREATE TABLE goes (a INT PRIMARY KEY, b TEXT)",
            "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1",
            "INSERT INTO goes VALUES (1, 'x')",
            "INSERT INTO stays VALUES (1)",
        ]
        .map(str::to_owned),
    );
    assert_eq!(ask("SELECT n, one, b FROM of_view, of_function, of_goes"), "1\t1\tx\n");
}

/// A server of one's own whose files were damaged while it was away.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_the_server_cannot_read_is_named_and_the_backup_is_not_made() {
    let Some(program) = Private::program() else { return };
    let accounts = "CREATE USER IF NOT EXISTS me@'%' IDENTIFIED BY 'secret';\nGRANT ALL ON *.* TO me@'%';\n";
    let mut private = Private::new(accounts, &[]);
    // Else it repairs what it finds, and keeps what it can.
    let settings = ["--myisam-recover-options=OFF", "--aria-recover-options=OFF"];
    private.start(&program, &settings);
    let url = private.url("me:secret@127.0.0.1:PORT/damaged");
    let server = Server::at(&private.text("mariadb://me:secret@127.0.0.1:PORT/mysql"));
    let rows = "SELECT seq, REPEAT(CHAR(64 + seq % 50), seq % 200) FROM seq_1_to_5000";
    let mut statements = vec!["CREATE DATABASE damaged".to_owned(), "USE damaged".to_owned()];
    for (table, engine) in [
        ("fine", "InnoDB"),
        ("gone", "InnoDB"),
        ("overwritten", "InnoDB"),
        ("short", "MyISAM"),
        ("headless", "MyISAM"),
        ("torn", "Aria"),
    ] {
        statements.push(format!("CREATE TABLE {table} (a INT PRIMARY KEY, b TEXT) ENGINE={engine}"));
        statements.push(format!("INSERT INTO {table} {rows}"));
    }
    statements.push("FLUSH TABLES".to_owned());
    server.run(None, &statements);
    let expected = server.ask(Some("damaged"), "SELECT * FROM fine");
    // Not in haste: it would find what is missing in its log.
    server.run(None, &["SHUTDOWN".to_owned()]);
    private.ends();
    let file = |name: &str| private.path("data/damaged").join(name);
    let cut = |name: &str, length: u64| {
        OpenOptions::new().write(true).open(file(name)).unwrap().set_len(length).unwrap();
    };
    std::fs::remove_file(file("gone.ibd")).unwrap();
    let mut overwritten = OpenOptions::new().write(true).open(file("overwritten.ibd")).unwrap();
    overwritten.seek(SeekFrom::Start(3 * 16384)).unwrap();
    overwritten.write_all(&[0x5a; 16384]).unwrap();
    cut("short.MYD", 100_000);
    cut("headless.MYI", 10);
    cut("torn.MAD", 3 * 8192);
    private.start(&program, &settings);

    let storage = storage();
    let manager = manager(&storage);
    for table in ["gone", "overwritten", "short", "headless", "torn"] {
        let error = manager.backup_with(&url, including(&["fine", table])).await.unwrap_err();
        println!("{table}: {error}");
        assert!(error.kind() == ErrorKind::Database && error.to_string().contains(table), "{table}: {error}");
    }
    manager.backup(&url).await.unwrap_err();
    assert!(manager.list_backups().await.unwrap().is_empty());
    // Those that it cannot even open are found before; what goes wrong amid the rows has to be left out by name.
    let error = manager.backup_with(&url, skipping()).await.unwrap_err().to_string();
    assert!(error.contains("short") || error.contains("torn"), "{error}");
    let mut options = skipping();
    options.exclude = ["short", "torn"].map(|pattern| pattern.parse().unwrap()).to_vec();
    let backup = manager.backup_with(&url, options).await.unwrap();
    assert_eq!(
        backup.left_out,
        ["table damaged.gone", "table damaged.headless", "table damaged.overwritten"]
    );
    let mut options = RestoreOptions::default();
    options.create_database = true;
    options.target_database = Some("copy".to_owned());
    manager.restore(&BackupRef::from(&backup.id), &url, options).await.unwrap();
    assert_eq!(server.ask(Some("copy"), "SHOW TABLES"), "fine\n");
    assert_eq!(server.ask(Some("copy"), "SELECT * FROM fine"), expected);
}

/// What a wider pattern grants the server forgets where a closer one is.
async fn of_several_grants_the_closest_counts(server: Server) {
    let source = server.empty();
    server.run(
        Some(&source.path),
        &[
            "CREATE TABLE t (a INT)".to_owned(),
            "CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1".to_owned(),
        ],
    );
    let privileges = "SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES, EXECUTE";
    let wide = format!("{privileges} ON `{}%`.*", source.path);
    let close = |privileges: &str| format!("{privileges} ON `{}`.*", source.path.replace('_', "\\_"));
    for (name, grants, is_backed_up) in [
        ("wide", vec![wide.clone()], true),
        ("closer", vec![wide.clone(), close("SELECT, SHOW VIEW")], false),
        ("both", vec![wide, close(privileges)], true),
    ] {
        let account = Account::new(&server, name, &grants);
        let made = manager(&storage()).backup(&account.url(&source)).await;
        let kind = made.as_ref().err().map(backup_core::Error::kind);
        assert_eq!(kind, (!is_backed_up).then_some(ErrorKind::PermissionDenied), "{name}: {made:?}");
    }
}
