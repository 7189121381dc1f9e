//! Trials: what networks, hostile peers, other people at work on the server, and servers in a bad state do to a backup or a restore. Never a hang,
//! never a short backup, no panic; and whatever the target is afterwards is said.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

mod alone;
mod altered;
mod anew;
mod at_once;
mod beside;
mod content;
mod letters;
mod logins;
mod network;
mod otherwise;
mod peers;
mod prepared;
mod private;
mod server;
mod several;
mod targets;
mod unreadable;
mod waits;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use backup_core::storage::{MemoryStorage, Storage};
use backup_core::{BackupConfig, BackupManager, BackupRef, DatabaseUrl, Format, Registry, RestoreOptions};
use backup_testkit::proxy::{From, Proxy, Then};

use server::Server;

/// No operation of these tests takes so long unless it hangs.
const HANGS: Duration = Duration::from_secs(240);

fn storage() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::new())
}

fn manager(storage: &Arc<dyn Storage>) -> BackupManager {
    manager_of(storage, Format::Binary)
}

fn manager_of(storage: &Arc<dyn Storage>, format: Format) -> BackupManager {
    let mut config = BackupConfig::default();
    (config.format, config.jobs) = (format, 2);
    BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_mysql::ENGINE))
        .with_storage(Arc::clone(storage))
}

/// Waits, but not for ever.
async fn ends<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(HANGS, Box::pin(work)).await {
        Ok(value) => value,
        Err(_) => panic!("{what} hangs"),
    }
}

fn address(server: &Server) -> SocketAddr {
    let url: DatabaseUrl = server.url_text("mysql").parse().unwrap();
    let (host, port) = &url.hosts[0];
    format!("{host}:{}", port.unwrap()).parse().unwrap()
}

/// The URL of a database by way of a proxy, where nothing is encrypted that the proxy has to understand.
fn by_way_of(proxy: &Proxy, server: &Server, database: &str, options: &str) -> DatabaseUrl {
    let url = server.url_text(database);
    let (account, _) = url.rsplit_once('@').unwrap();
    format!("{account}@{}/{database}?sslmode=disable{options}", proxy.address()).parse().unwrap()
}

/// With rows that are worth being cut off, and a table whose amounts have a sum.
fn shop(server: &Server) -> DatabaseUrl {
    let url = server.empty();
    let numbers = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 20000)";
    let depth = if server.is_mariadb() { "max_recursive_iterations" } else { "cte_max_recursion_depth" };
    server.run(
        Some(&url.path),
        &[
            format!("SET SESSION {depth} = 100000"),
            "CREATE TABLE orders (id INT PRIMARY KEY, note VARCHAR(100), KEY (note))".to_owned(),
            format!("INSERT INTO orders {numbers} SELECT i, SHA2(i, 256) FROM n"),
            "CREATE TABLE account (id INT PRIMARY KEY, amount INT NOT NULL)".to_owned(),
            "INSERT INTO account SELECT id, 100 FROM orders WHERE id <= 100".to_owned(),
            "CREATE VIEW rich AS SELECT id FROM account WHERE amount > 100".to_owned(),
        ],
    );
    url
}

/// A backup of it.
async fn backup(source: &DatabaseUrl) -> (Arc<dyn Storage>, BackupRef) {
    let storage = storage();
    let backup = manager(&storage).backup(source).await.unwrap();
    (storage, BackupRef::from(&backup.id))
}

fn replacing() -> RestoreOptions {
    let mut options = RestoreOptions::default();
    options.drop_existing = true;
    options
}

/// A proxy that lets `change` have every packet of the server, of all connections: its payload, behind its head of four bytes.
fn changing(server: SocketAddr, change: impl FnMut(&mut Vec<u8>) + Send + 'static) -> Proxy {
    let change = Arc::new(std::sync::Mutex::new(change));
    Proxy::start(server, move |_| {
        let change = Arc::clone(&change);
        let mut rest: Vec<u8> = Vec::new();
        Box::new(move |from, said| {
            if from == From::Client {
                return Then::Pass;
            }
            rest.append(said);
            while let Some(&[a, b, c]) = rest.first_chunk() {
                let length = 4 + u32::from_le_bytes([a, b, c, 0]) as usize;
                if rest.len() < length {
                    break;
                }
                let mut packet: Vec<u8> = rest.drain(..length).collect();
                (change.lock().unwrap())(&mut packet);
                said.append(&mut packet);
            }
            Then::Pass
        })
    })
}

/// Says anew how long a packet is.
fn head(packet: &mut [u8]) {
    let length = (packet.len() - 4) as u32;
    packet[..3].copy_from_slice(&length.to_le_bytes()[..3]);
}

/// One test for each server.
macro_rules! on {
    ($($test:ident: $($server:ident)+;)*) => {$(
        mod $test {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $server() {
                    if let Some(server) = crate::server::Server::find(stringify!($server)) {
                        super::$test(server).await;
                    }
                }
            )+
        }
    )*};
}
pub(crate) use on;
