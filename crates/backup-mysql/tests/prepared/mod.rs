//! Transactions of XA that are prepared when the snapshot is taken: the log has their rows before the place of the snapshot, which does not have them.

use backup_testkit::proxy::{From, Proxy, Then};

use super::private::Private;
use super::server::Server;
use super::{address, by_way_of, manager, on, shop, storage};

on! {
    a_backup_beside_a_prepared_transaction_has_no_place: mysql;
}

/// A place in the log, or the warnings that a backup has in its stead.
async fn placed(url: &backup_core::DatabaseUrl) -> Result<(), String> {
    let storage = storage();
    let manager = manager(&storage);
    let made = manager.backup(url).await.unwrap();
    let warnings = manager.get_backup(&(&made.id).into()).await.unwrap().warnings.join("\n");
    made.position.map(drop).ok_or(warnings)
}

/// The server tells of one that is not there: a real one would be in the way of all other tests.
async fn a_backup_beside_a_prepared_transaction_has_no_place(server: Server) {
    let source = shop(&server);
    placed(&source).await.unwrap();
    let proxy = Proxy::start(address(&server), |_| {
        Box::new(|from, said| {
            let place = said.windows(10).position(|bytes| bytes == b"XA RECOVER");
            if let Some(at) = place.filter(|_| from == From::Client) {
                said[at..at + 10].copy_from_slice(b"SELECT 111");
            }
            Then::Pass
        })
    });
    let warned = placed(&by_way_of(&proxy, &server, &source.path, "")).await.unwrap_err();
    assert!(warned.contains("transaction of XA was prepared"), "{warned}");
}

/// By each lock that there is, and none.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_beside_a_prepared_transaction_of_mariadb_has_no_place() {
    let Some(program) = Private::program() else { return };
    let accounts = "CREATE USER IF NOT EXISTS me@'%' IDENTIFIED BY 'secret';\nGRANT ALL ON *.* TO me@'%' WITH GRANT OPTION;\n";
    let mut private = Private::new(accounts, &[]);
    private.start(&program, &["--log-bin=log", "--server-id=1"]);
    let server = Server::at(&private.text("mariadb://me:secret@127.0.0.1:PORT/mysql"));
    let source = shop(&server);
    let reads = "SELECT, SHOW VIEW, TRIGGER, EVENT";
    let accounts = [
        ("stage", vec![format!("{reads}, LOCK TABLES ON `{}`.*", source.path), "RELOAD ON *.*".to_owned()]),
        ("tables", vec![format!("{reads}, LOCK TABLES ON `{}`.*", source.path)]),
        ("none", vec![format!("{reads} ON `{}`.*", source.path)]),
    ];
    let prepare = ["XA START 'x'", "INSERT INTO account VALUES (1000, 7)", "XA END 'x'", "XA PREPARE 'x'"];
    for (what, mut grants) in accounts {
        grants.push("SELECT ON mysql.proc".to_owned());
        let account = crate::server::Account::new(&server, what, &grants);
        let url = account.url(&source);
        placed(&url).await.unwrap();
        server.run(Some(&source.path), &prepare.map(str::to_owned));
        let warned = placed(&url).await.unwrap_err();
        assert!(warned.contains("transaction of XA was prepared"), "{what}: {warned}");
        server.run(None, &["XA ROLLBACK 'x'".to_owned()]);
        placed(&url).await.unwrap();
    }
}
