//! A TCP proxy that does to a connection what networks and hostile peers do: cuts it, falls silent, changes what is said.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// Whoever connected.
    Client,
    /// Whom the proxy connects to.
    Server,
}

/// What becomes of what was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It goes on its way.
    Pass,
    /// It goes on its way, and then the connection is cut, both ways.
    Cut,
    /// It does not arrive, nor does anything behind it, either way; but the connection stays.
    Silence,
}

/// Looks at what is said on one connection, and may change it.
pub type Ear = Box<dyn FnMut(From, &mut Vec<u8>) -> Then + Send>;

/// A proxy, until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    done: AtomicBool,
    connections: AtomicU64,
    bytes: AtomicU64,
    sockets: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Listens on a port of its own, and connects everyone to `server`. Each connection gets an ear of its own, made by `listener`
    /// from its number, which counts from 0.
    pub fn start(server: SocketAddr, listener: impl Fn(u64) -> Ear + Send + 'static) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for client in socket.incoming() {
                    if shared.done.load(Ordering::SeqCst) {
                        return;
                    }
                    let number = shared.connections.fetch_add(1, Ordering::SeqCst);
                    if let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) {
                        connect(&shared, client, server, listener(number));
                    }
                }
            }
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    /// One that changes nothing.
    pub fn honest(server: SocketAddr) -> Self {
        Self::start(server, |_| Box::new(|_, _| Then::Pass))
    }

    /// One that does `then` to every connection once `bytes` have passed over all of them, either way. With [`Then::Cut`] exactly so many arrive.
    pub fn after(server: SocketAddr, bytes: u64, then: Then) -> Self {
        let passed = Arc::new(AtomicU64::new(0));
        Self::start(server, move |_| {
            let passed = Arc::clone(&passed);
            Box::new(move |_, said: &mut Vec<u8>| {
                let before = passed.fetch_add(said.len() as u64, Ordering::SeqCst);
                if before + said.len() as u64 <= bytes {
                    return Then::Pass;
                }
                said.truncate(bytes.saturating_sub(before) as usize);
                then
            })
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections there were.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many bytes were said on all of them, either way.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.done.store(true, Ordering::SeqCst);
        for socket in self.shared.sockets.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        // Whoever waits for the next connection gets one.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn connect(shared: &Arc<Shared>, client: TcpStream, server: TcpStream, ear: Ear) {
    let (Ok(to_server), Ok(to_client)) = (server.try_clone(), client.try_clone()) else { return };
    let mut sockets = shared.sockets.lock().unwrap_or_else(PoisonError::into_inner);
    sockets.extend([&client, &server].into_iter().filter_map(|socket| socket.try_clone().ok()));
    drop(sockets);
    let ear = Arc::new(Mutex::new(ear));
    let silent = Arc::new(AtomicBool::new(false));
    for (from, to, who) in [(client, to_server, From::Client), (server, to_client, From::Server)] {
        let (shared, ear, silent) = (Arc::clone(shared), Arc::clone(&ear), Arc::clone(&silent));
        std::thread::spawn(move || pass(&shared, from, to, who, &ear, &silent));
    }
}

fn pass(
    shared: &Shared,
    mut from: TcpStream,
    mut to: TcpStream,
    who: From,
    ear: &Mutex<Ear>,
    silent: &AtomicBool,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        if silent.load(Ordering::SeqCst) {
            // What was said is not heard, and neither is the end.
            return;
        }
        if count == 0 {
            break;
        }
        shared.bytes.fetch_add(count as u64, Ordering::SeqCst);
        let mut said = buffer[..count].to_vec();
        let then = (ear.lock().unwrap_or_else(PoisonError::into_inner))(who, &mut said);
        if then == Then::Silence {
            silent.store(true, Ordering::SeqCst);
            return;
        }
        if to.write_all(&said).is_err() || then == Then::Cut {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says back what it hears.
    fn echo() -> SocketAddr {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            for client in socket.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut from = client.try_clone().unwrap();
                    let _ = std::io::copy(&mut from, &mut &client);
                });
            }
        });
        address
    }

    fn talk(address: SocketAddr, bytes: usize) -> usize {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let _ = stream.write_all(&vec![7; bytes]);
        let mut heard = vec![0; bytes];
        let mut count = 0;
        while count < bytes {
            match stream.read(&mut heard[count..]) {
                Ok(0) | Err(_) => break,
                Ok(more) => count += more,
            }
        }
        count
    }

    #[test]
    fn it_passes_cuts_and_falls_silent() {
        let server = echo();
        let honest = Proxy::honest(server);
        assert_eq!(talk(honest.address(), 10_000), 10_000);
        assert_eq!((honest.connections(), honest.bytes()), (1, 20_000));
        let cut = Proxy::after(server, 1500, Then::Cut);
        assert_eq!(talk(cut.address(), 1000), 500);
        let silent = Proxy::after(server, 1500, Then::Silence);
        assert_eq!(talk(silent.address(), 1000), 0);
    }
}
