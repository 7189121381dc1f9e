//! Getting in, and being kept out: each with an error of its own, before anything is touched.

use std::path::Path;

use backup_core::{BackupManager, BackupRef, DatabaseUrl, ErrorKind, RestoreOptions};

use crate::server::Server;
use crate::{manager, on, shop, storage};

on! {
    a_socket_leads_to_the_same_database: mariadb mariadb11 mysql;
    whoever_is_kept_out_is_told_why_and_nothing_is_touched: mariadb mariadb11 mysql;
    a_password_that_no_cache_has_is_encrypted_to_the_servers_key: mysql;
    the_certificates_that_mysql_makes_of_itself_are_verified_and_shown: mysql;
}

/// An account that goes away with this.
struct Account<'s>(&'s Server, String);

impl<'s> Account<'s> {
    fn new(server: &'s Server, what: &str, more: &[String]) -> Self {
        let name = format!("lb_{what}_{}", std::process::id());
        server.run(None, &[format!("CREATE USER '{name}'@'%' IDENTIFIED BY 'secret'")]);
        let named = more.iter().map(|sql| sql.replace("ACCOUNT", &format!("'{name}'@'%'")));
        server.run(None, &named.collect::<Vec<_>>());
        Self(server, name)
    }

    /// The URL of a database, as the account.
    fn url(&self, database: &str, options: &str) -> DatabaseUrl {
        self.with_password("secret", database, options)
    }

    fn with_password(&self, password: &str, database: &str, options: &str) -> DatabaseUrl {
        let url = self.0.url_text(database);
        let (scheme, rest) = url.split_once("://").unwrap();
        let (_, place) = rest.rsplit_once('@').unwrap();
        format!("{scheme}://{}:{password}@{place}{options}", self.1).parse().unwrap()
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.run(None, &[format!("DROP USER '{}'@'%'", self.1)]);
        }
    }
}

async fn a_socket_leads_to_the_same_database(server: Server) {
    let variables = server.ask(None, "SELECT @@datadir, @@socket");
    let (directory, socket) = variables.trim_end().split_once('\t').unwrap();
    let socket = Path::new(directory).join(socket);
    if !socket.exists() {
        eprintln!("NOT TESTED: sockets: the server is on another machine");
        return;
    }
    let source = shop(&server);
    let (storage, text) = (storage(), server.url_text(&source.path));
    let (account, _) = text.rsplit_once('@').unwrap();
    let by_socket = |database: &str, options: &str| -> DatabaseUrl {
        format!("{account}@/{database}?socket={}{options}", socket.display()).parse().unwrap()
    };
    // Where there is no way to listen, nothing needs to be encrypted.
    let manager = manager(&storage);
    for options in ["", "&sslmode=require"] {
        manager.backup(&by_socket(&source.path, options)).await.unwrap();
        let target = server.empty();
        manager
            .restore(&BackupRef::Latest, &by_socket(&target.path, options), RestoreOptions::default())
            .await
            .unwrap();
        assert!(server.dump(&target.path) == server.dump(&source.path));
    }
    let nowhere = format!("{account}@/{}?socket=/nowhere/socket", source.path);
    let error = manager.backup(&nowhere.parse().unwrap()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Connect && error.to_string().contains("/nowhere/socket"), "{error}");
}

async fn refused(manager: &BackupManager, url: &DatabaseUrl, kind: ErrorKind, expected: &str) {
    let error = manager.backup(url).await.unwrap_err();
    let told = error.to_string();
    assert!(error.kind() == kind && told.contains(expected), "{:?}: {told}", error.kind());
    assert!(!told.contains("secret") && !told.contains("canary"), "{told}");
    // Who does not get in restores nothing either.
    let error = manager.restore(&BackupRef::Latest, url, RestoreOptions::default()).await.unwrap_err();
    assert!(error.kind() == kind || error.kind() == ErrorKind::NotFound, "{:?}: {error}", error.kind());
}

async fn whoever_is_kept_out_is_told_why_and_nothing_is_touched(server: Server) {
    let source = shop(&server);
    let storage = storage();
    let manager = manager(&storage);
    manager.backup(&source).await.unwrap();
    let account =
        Account::new(&server, "kept_out", &[format!("GRANT SELECT ON `{}`.orders TO ACCOUNT", source.path)]);
    let before = server.databases();
    let wrong = account.with_password("canary", &source.path, "");
    refused(&manager, &wrong, ErrorKind::Connect, "error 1045 of the server").await;
    // Where it may see nothing the server does not say whether there is anything.
    let absent = account.url("lb_no_such_database", "");
    refused(&manager, &absent, ErrorKind::PermissionDenied, "error 1044 of the server").await;
    let mut absent = source.clone();
    absent.path = "lb_no_such_database".to_owned();
    refused(&manager, &absent, ErrorKind::NotFound, "lb_no_such_database").await;
    let nobody: DatabaseUrl = "mysql://me:canary@127.0.0.1:1/db".parse().unwrap();
    refused(&manager, &nobody, ErrorKind::Connect, "127.0.0.1:1").await;
    // Of this database it sees one table.
    let error = manager.backup(&account.url(&source.path, "")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::PermissionDenied && error.to_string().contains("SELECT"), "{error}");
    // It may not write.
    let target = server.empty();
    server.run(None, &[format!("GRANT SELECT ON `{}`.* TO '{}'@'%'", target.path, account.1)]);
    let error = manager
        .restore(&BackupRef::Latest, &account.url(&target.path, ""), RestoreOptions::default())
        .await
        .unwrap_err();
    assert!(error.kind() == ErrorKind::PermissionDenied, "{:?}: {error}", error.kind());
    assert_eq!(server.ask(Some(&target.path), "SHOW TABLES"), "");
    // Nor touch what is there.
    server.run(Some(&target.path), &["CREATE TABLE precious (x INT)".to_owned()]);
    let error = manager.restore(&BackupRef::Latest, &target, RestoreOptions::default()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::TargetNotEmpty && error.to_string().contains("precious"), "{error}");
    assert_eq!(server.ask(Some(&target.path), "SHOW TABLES").trim(), "precious");
    assert_eq!(server.databases().len(), before.len() + 1);
}

async fn a_password_that_no_cache_has_is_encrypted_to_the_servers_key(server: Server) {
    let source = shop(&server);
    let key = server.ask(None, "SELECT VARIABLE_VALUE FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Caching_sha2_password_rsa_public_key'");
    let key = key.replace("\\n", "\n");
    assert!(key.contains("BEGIN PUBLIC KEY"), "{key}");
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let given = file("public_key.pem", &key);
    let no_key = file("no_key.pem", "this is no key");
    for (what, options, expected) in [
        ("asked", "", Ok(())),
        ("asked_anyhow", "&get-server-public-key=true", Ok(())),
        ("given", &format!("&server-public-key-path={given}"), Ok(())),
        ("no_key", &format!("&server-public-key-path={no_key}"), Err((ErrorKind::Connect, "PEM"))),
        ("no_file", "&server-public-key-path=/nowhere/key.pem", Err((ErrorKind::Usage, "/nowhere/key.pem"))),
    ] {
        // Nobody has logged in as this one before.
        let grant = format!("GRANT ALL ON `{}`.* TO ACCOUNT", source.path);
        let account = Account::new(&server, what, &[grant]);
        let url = account.url(&source.path, &format!("?sslmode=disable{options}"));
        match (manager(&storage()).probe(&url).await, expected) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err((kind, text))) => {
                assert!(error.kind() == kind && error.to_string().contains(text), "{what}: {error}");
            }
            (Ok(_), Err(_)) => panic!("{what} got in"),
            (Err(error), Ok(())) => panic!("{what}: {error}"),
        }
        let wrong = account.with_password("wrong", &source.path, &format!("?sslmode=disable{options}"));
        let error = manager(&storage()).probe(&wrong).await.unwrap_err();
        assert!(expected.is_err() || error.to_string().contains("1045"), "{error}");
    }
}

/// They name no host, so that nobody can be sure of one by them.
async fn the_certificates_that_mysql_makes_of_itself_are_verified_and_shown(server: Server) {
    let directory = server.ask(None, "SELECT @@datadir");
    let file = |name: &str| format!("{}{name}", directory.trim_end());
    if !Path::new(&file("client-key.pem")).exists() {
        eprintln!(
            "NOT TESTED: certificates: the server is on another machine, or its files are not ours to read"
        );
        return;
    }
    let source = shop(&server);
    let grant = format!("GRANT ALL ON `{}`.* TO ACCOUNT", source.path);
    let anyhow = Account::new(&server, "anyhow", std::slice::from_ref(&grant));
    let certified =
        Account::new(&server, "certified", &[grant, "ALTER USER ACCOUNT REQUIRE X509".to_owned()]);
    let authority = format!("sslrootcert={}", file("ca.pem"));
    let another = format!("sslrootcert={}", file("server-cert.pem"));
    let shown = format!("sslcert={}&sslkey={}", file("client-cert.pem"), file("client-key.pem"));
    for (account, options, expected) in [
        (&anyhow, format!("sslmode=verify-ca&{authority}"), Ok(())),
        (&anyhow, format!("sslmode=require&{authority}"), Ok(())),
        (&anyhow, format!("sslmode=verify-full&{authority}"), Err("certificate not valid for name")),
        (&anyhow, format!("sslmode=verify-ca&{another}"), Err("certificate")),
        (&anyhow, "sslmode=verify-ca".to_owned(), Err("certificate")),
        (&certified, "sslmode=disable".to_owned(), Err("1045")),
        (&certified, "sslmode=require".to_owned(), Err("1045")),
        (&certified, format!("sslmode=require&{shown}"), Ok(())),
        (&certified, format!("sslmode=verify-ca&{authority}&{shown}"), Ok(())),
    ] {
        let url = account.url(&source.path, &format!("?{options}"));
        match (manager(&storage()).probe(&url).await, expected) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(text)) => {
                let told = error.to_string();
                assert!(error.kind() == ErrorKind::Connect && told.contains(text), "{options}: {told}");
                assert!(!told.contains("secret"), "{told}");
            }
            (Ok(_), Err(_)) => panic!("{options} got in"),
            (Err(error), Ok(())) => panic!("{options}: {error}"),
        }
    }
}
