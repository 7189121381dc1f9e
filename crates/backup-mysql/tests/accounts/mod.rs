//! Accounts, roles and what they were granted, which a backup has and a restore makes only where that was asked for.

use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{
    BackupConfig, BackupManager, BackupOptions, BackupRef, Ctx, DatabaseUrl, ErrorKind, Format, Progress,
    Registry, RestoreOptions, Secret,
};

use backup_testkit::told::Told;

use crate::server::Server;

fn manager(told: &Arc<Told>, format: Format) -> BackupManager {
    let mut config = BackupConfig::default();
    (config.format, config.jobs) = (format, 2);
    BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_mysql::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()))
        .with_context(Ctx::new().with_progress(Arc::clone(told) as Arc<dyn Progress>))
}

fn with_globals() -> BackupOptions {
    let mut options = BackupOptions::default();
    options.globals = true;
    options
}

fn globals() -> RestoreOptions {
    let mut options = RestoreOptions::default();
    (options.globals, options.create_database) = (true, true);
    options
}

const PASSWORD: &str = "it's \\ \"old\"";

/// The accounts of a test, each as a statement names it, and what they are.
struct Accounts {
    server: Server,
    reader: String,
    accounts: Vec<String>,
    roles: Vec<String>,
}

impl Accounts {
    fn new(server: Server, word: &str) -> Self {
        let prefix = format!("lb{word}{}", std::process::id());
        let reader = format!("{prefix} o'r`\"\\;--");
        let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
        let host = |name: &str| format!("{}@`%`", quoted(name));
        let role = |name: &str| if server.is_mariadb() { quoted(name) } else { host(name) };
        let (role_name, group) = (format!("{prefix} r'o`le"), format!("{prefix}_group"));
        Self {
            accounts: vec![
                host(&reader),
                format!("{}@`10.%`", quoted(&format!("{prefix}_2"))),
                host(&format!("{prefix}_3")),
            ],
            roles: vec![role(&role_name), role(&group)],
            reader,
            server,
        }
    }

    /// A database, and accounts that may do something there.
    fn make(&self) -> DatabaseUrl {
        let url = self.server.empty();
        let database = &url.path;
        let [reader, other, expired] = self.accounts.as_slice() else { unreachable!() };
        let [role, group] = self.roles.as_slice() else { unreachable!() };
        let password = PASSWORD.replace('\\', "\\\\").replace('\'', "''");
        let mut statements = vec![
            "CREATE TABLE t (a INT, b INT)".to_owned(),
            "INSERT INTO t VALUES (1, 2)".to_owned(),
            "CREATE PROCEDURE p () SELECT 1".to_owned(),
            format!("CREATE ROLE {role}"),
            format!("CREATE ROLE {group}"),
            format!(
                "CREATE USER {reader} IDENTIFIED BY '{password}' WITH MAX_QUERIES_PER_HOUR 1000 PASSWORD EXPIRE NEVER"
            ),
            format!(
                "CREATE USER {other} IDENTIFIED BY 'other' REQUIRE SSL PASSWORD EXPIRE INTERVAL 30 DAY ACCOUNT LOCK"
            ),
            format!("CREATE USER {expired} IDENTIFIED BY 'expired' PASSWORD EXPIRE"),
            format!("GRANT {role} TO {reader} WITH ADMIN OPTION"),
            format!("GRANT {group} TO {role}"),
            format!("GRANT SELECT ON `{database}`.* TO {group}"),
            format!("GRANT SELECT, INSERT, UPDATE (b) ON `{database}`.t TO {reader} WITH GRANT OPTION"),
            format!("GRANT EXECUTE ON PROCEDURE `{database}`.p TO {role}"),
            format!("GRANT PROCESS, RELOAD ON *.* TO {other}"),
        ];
        if self.server.is_mariadb() {
            statements.push(format!("SET DEFAULT ROLE {role} FOR {reader}"));
            statements.push(format!("GRANT BINLOG MONITOR ON *.* TO {other}"));
        } else {
            statements.push(format!("ALTER USER {reader} DEFAULT ROLE {role}"));
            statements.push(format!("ALTER USER {reader} COMMENT 'it''s one'"));
            statements.push(format!(
                "ALTER USER {other} FAILED_LOGIN_ATTEMPTS 3 PASSWORD_LOCK_TIME 2 PASSWORD HISTORY 5"
            ));
            statements.push(format!("GRANT BACKUP_ADMIN ON *.* TO {other} WITH GRANT OPTION"));
        }
        self.server.run(Some(database), &statements);
        url
    }

    /// Everything that the server says of them.
    fn said(&self) -> String {
        let hexadecimal =
            if self.server.is_mariadb() { "" } else { "SET print_identified_with_as_hex = ON;" };
        let users = self.accounts.iter().map(|account| format!("SHOW CREATE USER {account};"));
        let all = self.accounts.iter().chain(&self.roles);
        let grants = all.map(|account| format!("SHOW GRANTS FOR {account};"));
        let script: String = std::iter::once(hexadecimal.to_owned()).chain(users).chain(grants).collect();
        let said =
            self.server.feed(None, script.as_bytes(), &["--binary-mode", "--batch", "--skip-column-names"]);
        String::from_utf8(said).unwrap()
    }

    /// Which of them are there.
    fn count(&self) -> usize {
        let prefix = self.reader.split(' ').next().unwrap();
        let all = self.server.ask(None, "SELECT User FROM mysql.user");
        all.lines().filter(|name| name.starts_with(prefix)).count()
    }

    fn drop(&self) {
        let roles = self.roles.iter().map(|role| format!("DROP ROLE IF EXISTS {role}"));
        let users = self.accounts.iter().map(|account| format!("DROP USER IF EXISTS {account}"));
        self.server.run(None, &roles.chain(users).collect::<Vec<_>>());
    }

    fn drop_database(&self, url: &DatabaseUrl) {
        self.server.run(None, &[format!("DROP DATABASE IF EXISTS `{}`", url.path)]);
    }
}

/// One after the other: a restore makes all accounts of the server that are gone, those of other tests too.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_roles_and_grants() {
    for kind in ["mariadb", "mariadb11", "mysql"] {
        let server = || Server::find(kind);
        let Some(first) = server() else { continue };
        accounts_come_back_where_that_is_asked_for_and_those_that_are_there_stay(first).await;
        a_restore_that_fails_takes_its_accounts_back_and_repeats_no_password(server().unwrap()).await;
        privileges_on_what_is_not_there_are_left_out_and_named(server().unwrap()).await;
        who_may_not_read_accounts_backs_none_up(server().unwrap()).await;
    }
}

async fn accounts_come_back_where_that_is_asked_for_and_those_that_are_there_stay(server: Server) {
    let accounts = Accounts::new(server, "come");
    for format in [Format::Binary, Format::Sql] {
        let source = accounts.make();
        let (expected, rows) = (accounts.said(), accounts.server.dump(&source.path));
        assert!(expected.contains("EXECUTE ON PROCEDURE") && expected.contains("UPDATE (`b`)"), "{expected}");
        let told = Arc::<Told>::default();
        let manager = manager(&told, format);
        manager.backup_with(&source, with_globals()).await.unwrap();
        accounts.drop_database(&source);
        accounts.drop();
        let mut without = globals();
        without.globals = false;
        manager.restore(&BackupRef::Latest, &source, without).await.unwrap();
        assert_eq!(accounts.count(), 0);
        accounts.drop_database(&source);
        manager.restore(&BackupRef::Latest, &source, globals()).await.unwrap();
        assert_eq!(accounts.said(), expected);
        assert_eq!(accounts.server.dump(&source.path), rows);
        // The old password opens the new account.
        let mut login = source.clone();
        (login.user, login.password) = (Some(accounts.reader.clone()), Some(Secret::new(PASSWORD)));
        (backup_mysql::ENGINE.from_url)(&login).unwrap().probe(&Ctx::new()).await.unwrap();
        login.password = Some(Secret::new("another"));
        (backup_mysql::ENGINE.from_url)(&login).unwrap().probe(&Ctx::new()).await.unwrap_err();
        // Once more, where one of them is another meanwhile.
        let reader = &accounts.accounts[0];
        accounts.server.run(None, &[format!("GRANT PROCESS ON *.* TO {reader}")]);
        let expected = accounts.said();
        accounts.drop_database(&source);
        manager.restore(&BackupRef::Latest, &source, globals()).await.unwrap();
        assert_eq!(accounts.said(), expected);
        assert!(told.has("is there already, and stays as it is"));
        accounts.drop();
        accounts.drop_database(&source);
    }
}

async fn a_restore_that_fails_takes_its_accounts_back_and_repeats_no_password(server: Server) {
    let accounts = Accounts::new(server, "fail");
    let source = accounts.make();
    // What the account that restores may not grant.
    let proxy = "INSERT INTO mysql.proxies_priv (Host, User, Proxied_host, Proxied_user, With_grant, Grantor) \
                 SELECT Host, User, '%', 'somebody', 0, '' FROM mysql.user WHERE User LIKE 'lbfail%' AND Host = '%' AND authentication_string <> '' LIMIT 1";
    accounts.server.run(None, &[proxy.to_owned(), "FLUSH PRIVILEGES".to_owned()]);
    let said = accounts.said();
    let secrets = said
        .split([' ', '\''])
        .filter(|word| word.len() > 39 && (word.starts_with("0x") || word.starts_with('*')));
    let secrets: Vec<_> = secrets.map(str::to_owned).collect();
    assert!(secrets.len() >= 2 && said.contains("GRANT PROXY"), "{said}");
    let told = Arc::<Told>::default();
    let manager = manager(&told, Format::Binary);
    manager.backup_with(&source, with_globals()).await.unwrap();
    accounts.drop_database(&source);
    accounts.drop();
    let failed = manager.restore(&BackupRef::Latest, &source, globals()).await.unwrap_err();
    let told = format!("{failed} {failed:?} {:?}", told.warnings());
    assert!(told.contains("what it had"), "{told}");
    assert!(!secrets.iter().any(|secret| told.contains(secret)), "{told}");
    assert_eq!(accounts.count(), 0);
    assert!(!accounts.server.databases().contains(&source.path));
}

async fn privileges_on_what_is_not_there_are_left_out_and_named(server: Server) {
    let accounts = Accounts::new(server, "gone");
    let (source, other) = (accounts.make(), accounts.server.empty());
    let reader = &accounts.accounts[0];
    accounts.server.run(
        Some(&other.path),
        &["CREATE TABLE elsewhere (a INT)".to_owned(), format!("GRANT SELECT ON elsewhere TO {reader}")],
    );
    let told = Arc::<Told>::default();
    let manager = manager(&told, Format::Binary);
    manager.backup_with(&source, with_globals()).await.unwrap();
    accounts.drop_database(&source);
    accounts.drop_database(&other);
    accounts.drop();
    manager.restore(&BackupRef::Latest, &source, globals()).await.unwrap();
    assert!(told.has("privileges on what this server lacks are left out") && told.has("elsewhere"));
    assert!(accounts.said().contains("EXECUTE ON PROCEDURE"));
    // Some tables come without accounts.
    let mut some = globals();
    some.tables = vec!["t".parse().unwrap()];
    let refused = manager.restore(&BackupRef::Latest, &accounts.server.empty(), some).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    accounts.drop();
}

async fn who_may_not_read_accounts_backs_none_up(server: Server) {
    let source = server.empty();
    server.run(Some(&source.path), &["CREATE TABLE t (a INT)".to_owned()]);
    let name = format!("lbread{}", std::process::id());
    let routines = match (server.is_mariadb(), server.version() >= (11, 3)) {
        (true, true) => format!("GRANT SHOW CREATE ROUTINE ON `{}`.* TO {name}@`%`", source.path),
        (true, false) => format!("GRANT SELECT ON mysql.proc TO {name}@`%`"),
        _ => format!("GRANT SHOW_ROUTINE ON *.* TO {name}@`%`"),
    };
    server.run(
        None,
        &[
            format!("CREATE USER {name}@`%` IDENTIFIED BY 'only'"),
            format!(
                "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON `{}`.* TO {name}@`%`",
                source.path
            ),
            format!("GRANT RELOAD ON *.* TO {name}@`%`"),
            routines,
        ],
    );
    let mut url = source.clone();
    (url.user, url.password) = (Some(name.clone()), Some(Secret::new("only")));
    let manager = manager(&Arc::default(), Format::Binary);
    let refused = manager.backup_with(&url, with_globals()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
    // As docs/mysql.md has it.
    server.run(None, &[format!("GRANT SELECT ON mysql.* TO {name}@`%`")]);
    let backup = manager.backup_with(&url, with_globals()).await.unwrap();
    let parts = manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap().parts;
    let is_this = |object: &backup_core::Object| object.kind == "user" && object.name == format!("{name}@%");
    assert!(parts.iter().any(|record| is_this(&record.part.object)));
    assert!(!parts.iter().any(|record| record.part.object.name.starts_with("mysql.sys")));
    server.run(None, &[format!("DROP USER {name}@`%`")]);
}
