//! Scripts in the hands of the clients, and of servers that do not take everything.

use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{
    BackupConfig, BackupManager, BackupRef, Ctx, ErrorKind, Format, Progress, Registry, RestoreOptions,
};
use backup_testkit::told::Told;

use crate::private::Private;
use crate::server::{Account, Server};

fn manager(format: Format, told: &Arc<Told>) -> BackupManager {
    let mut config = BackupConfig::default();
    (config.format, config.codec) = (format, "none".to_owned());
    BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_mysql::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()))
        .with_context(Ctx::new().with_progress(Arc::clone(told) as Arc<dyn Progress>))
}

/// If the account may say that it need not have any, by whatever right.
#[tokio::test(flavor = "multi_thread")]
async fn tables_without_keys_are_made_by_a_script_where_the_server_wants_keys() {
    let Some(server) = Server::find("mysql") else { return };
    let source = server.empty();
    let statements = ["CREATE TABLE keyless (a INT) ENGINE=InnoDB", "INSERT INTO keyless VALUES (1)"];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let manager = manager(Format::Binary, &Arc::default());
    let backup = manager.backup(&source).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("script.sql");
    manager.export(&BackupRef::from(&backup.id), &file, Format::Sql).await.unwrap();
    let script = [b"SET ROLE DEFAULT;\n".to_vec(), std::fs::read(file).unwrap()].concat();
    let role = format!("lb_role_{}", std::process::id());
    let made = [format!("CREATE ROLE {role}"), format!("GRANT SESSION_VARIABLES_ADMIN ON *.* TO {role}")];
    server.run(None, &made);
    let wants_keys = "CREATE PROCEDURE wants_keys() SET SESSION sql_require_primary_key = 1";
    server.run(Some(&source.path), &[wants_keys.to_owned()]);
    for (what, right, is_made) in [
        ("by_itself", "SESSION_VARIABLES_ADMIN ON *.*", true),
        ("by_role", role.as_str(), true),
        ("by_none", "USAGE ON *.*", false),
    ] {
        let target = server.empty();
        let grants = [
            format!("ALL ON `{}`.*", target.path),
            right.to_owned(),
            format!("EXECUTE ON `{}`.*", source.path),
        ];
        let account = Account::new(&server, what, &grants);
        server.run(None, &[format!("ALTER USER '{}'@'%' DEFAULT ROLE ALL", account.name)]);
        let user = format!("--user={}", account.name);
        // As the server would have it for everybody, were it not that of other tests.
        let wants = format!("--init-command=CALL `{}`.wants_keys()", source.path);
        let arguments = ["--comments", &user, "--password=secret", &wants];
        let loaded = server.try_feed(Some(&target.path), &script, &arguments);
        match loaded {
            Ok(_) => {
                assert!(is_made && server.ask(Some(&target.path), "SELECT a FROM keyless") == "1\n", "{what}")
            }
            Err(said) => assert!(!is_made && said.contains("ERROR 3750"), "{what}: {said}"),
        }
    }
    server.run(None, &[format!("DROP ROLE {role}")]);
}

/// Bytes take twice as many in a script as they are.
#[tokio::test(flavor = "multi_thread")]
async fn statements_that_the_server_would_not_read_are_warned_of() {
    let Some(program) = Private::program() else { return };
    let accounts = "CREATE USER IF NOT EXISTS me@'%' IDENTIFIED BY 'secret';\nGRANT ALL ON *.* TO me@'%';\n";
    let mut private = Private::new(accounts, &[]);
    private.start(&program, &["--max-allowed-packet=2M", "--local-infile=1"]);
    let server = Server::at(&private.text("mariadb://me:secret@127.0.0.1:PORT/mysql"));
    let source = server.empty();
    let statements = [
        "CREATE TABLE large (id INT PRIMARY KEY, b LONGBLOB)",
        "CREATE TABLE not_so_large (id INT PRIMARY KEY, b LONGTEXT CHARACTER SET ascii)",
        "INSERT INTO large VALUES (1, 'small'), (2, REPEAT(UNHEX('00FF'), 512 << 10)), (3, REPEAT('x', 900 << 10))",
        "INSERT INTO not_so_large VALUES (1, REPEAT('x', 900 << 10))",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    for format in [Format::Binary, Format::Sql] {
        let told = Arc::<Told>::default();
        let manager = manager(format, &told);
        let backup = BackupRef::from(&manager.backup(&source).await.unwrap().id);
        let of_large: Vec<_> = told.warnings().into_iter().filter(|said| said.contains("large")).collect();
        let target = server.empty();
        let restored = manager.restore(&backup, &target, RestoreOptions::default()).await;
        if format == Format::Binary {
            assert_eq!((restored.is_ok(), of_large.len()), (true, 0), "{of_large:?}");
            continue;
        }
        let length: usize = "INSERT INTO `large` (`id`,`b`) VALUES\n(2,X'')".len() + (512 << 10) + (2 << 20);
        let expected = format!("table large: a row makes a statement of up to {length} bytes");
        assert!(of_large.len() == 1 && of_large[0].starts_with(&expected), "{of_large:?}");
        let error = restored.unwrap_err();
        let said = error.to_string();
        assert!(error.kind() == ErrorKind::Unsupported && said.contains("large"), "{said}");
        assert!(said.contains("and the server reads 2097151 of one"), "{said}");
        assert_eq!(server.ask(Some(&target.path), "SHOW TABLES"), "");
    }
    drop(server);
    private.stop();
}
