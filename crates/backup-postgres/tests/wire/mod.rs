//! What goes over the wire between us and a server, listened to and changed on its way.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use backup_core::DatabaseUrl;
use backup_testkit::proxy::{From, Proxy, Then};

use crate::server::Server;

pub(crate) fn address(server: &Server) -> SocketAddr {
    let url = server.url("postgres");
    let (host, port) = &url.hosts[0];
    format!("{host}:{}", port.unwrap()).parse().unwrap()
}

/// The URL of a database by way of a proxy.
pub(crate) fn by_way_of(proxy: &Proxy, server: &Server, database: &str, options: &str) -> DatabaseUrl {
    let mut url = server.url(database);
    url.hosts = vec![("127.0.0.1".to_owned(), Some(proxy.address().port()))];
    format!("{}{options}", text(&url)).parse().unwrap()
}

fn text(url: &DatabaseUrl) -> String {
    let password = url.password.as_ref().map_or("", |password| password.expose());
    let (host, port) = &url.hosts[0];
    let password = password.replace(':', "%3A").replace('/', "%2F").replace('@', "%40");
    format!("postgres://{}:{password}@{host}:{}/{}", url.user.as_deref().unwrap(), port.unwrap(), url.path)
}

/// A proxy that lets `change` have every message of the server, of all connections.
pub(crate) fn changing(server: SocketAddr, change: impl FnMut(&mut Vec<u8>) + Send + 'static) -> Proxy {
    let change = Arc::new(Mutex::new(change));
    Proxy::start(server, move |_| {
        let change = Arc::clone(&change);
        let mut rest: Vec<u8> = Vec::new();
        Box::new(move |from, said| {
            if from == From::Client {
                return Then::Pass;
            }
            rest.append(said);
            while rest.len() >= 5 {
                let length = 1 + u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
                if rest.len() < length {
                    break;
                }
                let mut message: Vec<u8> = rest.drain(..length).collect();
                (change.lock().unwrap())(&mut message);
                said.append(&mut message);
            }
            Then::Pass
        })
    })
}
