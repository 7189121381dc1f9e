//! An address that several servers share, as that of a load balancer does.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};

use super::server::Server;
use super::{address, ends, manager, shop, storage};

/// Connects each client to the next of these servers.
async fn divide(servers: [std::net::SocketAddr; 2]) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let next = AtomicUsize::new(0);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let server = servers[next.fetch_add(1, Ordering::Relaxed) % servers.len()];
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_with_several_servers_are_no_backup() {
    let (Some(one), Some(other)) = (Server::find("mariadb"), Server::find("mariadb11")) else { return };
    let source = shop(&one);
    other.run(None, &[format!("CREATE DATABASE `{}`", source.path)]);
    let address = divide([self::address(&one), self::address(&other)]).await;
    let url = one.url_text(&source.path);
    let (account, _) = url.rsplit_once('@').unwrap();
    let divided = format!("{account}@{address}/{}?sslmode=disable", source.path).parse().unwrap();
    let made = ends("a backup of several servers", manager(&storage()).backup(&divided)).await;
    other.run(None, &[format!("DROP DATABASE `{}`", source.path)]);
    let error = made.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("is the address of several servers"), "{error}");
}
