//! Getting in: TLS with real certificates, accounts that are let in only one way, and peers in between.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{BackupConfig, BackupManager, ErrorKind, Registry};
use backup_testkit::proxy::{From, Proxy, Then};

#[path = "../../backup-postgres/tests/private/certificates.rs"]
mod certificates;
mod private;

use certificates::Authority;
use private::Private;

fn manager() -> BackupManager {
    BackupManager::new(BackupConfig::default())
        .with_registry(Registry::new().with(&backup_mysql::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()))
}

const ACCOUNTS: &str = "
CREATE USER IF NOT EXISTS 'anyhow'@'%' IDENTIFIED BY 'secret';
CREATE USER IF NOT EXISTS 'encrypted'@'%' IDENTIFIED BY 'secret' REQUIRE SSL;
CREATE USER IF NOT EXISTS 'certified'@'%' IDENTIFIED BY 'secret' REQUIRE X509;
CREATE USER IF NOT EXISTS 'numbered'@'%' IDENTIFIED BY 'a#1';
";

const SETTINGS: [&str; 3] =
    ["--ssl-cert=FILES/server.pem", "--ssl-key=FILES/server.key", "--ssl-ca=FILES/ca.pem"];

/// What is expected of a URL.
#[derive(Clone, Copy)]
enum Gets {
    In,
    /// An error of this kind whose text has this in it.
    Refused(ErrorKind, &'static str),
}

use ErrorKind::{Connect, PermissionDenied, Usage};
use Gets::{In, Refused};

async fn check(server: &Private, cases: &[(&str, Gets)]) -> usize {
    for (url, expected) in cases {
        let probed = manager().probe(&server.url(url)).await;
        match (expected, probed) {
            (In, Ok(_)) => {}
            (In, Err(error)) => panic!("{url}: {error}"),
            (Refused(..), Ok(_)) => panic!("{url} got in"),
            (Refused(kind, text), Err(error)) => {
                let told = error.to_string();
                assert!(error.kind() == *kind && told.contains(text), "{url}: {:?} {told}", error.kind());
                assert!(!told.contains("secret"), "{url}: {told}");
            }
        }
    }
    cases.len()
}

/// A server that has a certificate of `authority` for localhost, and believes clients that have one of it.
fn certified_by(authority: &Authority, program: &Path) -> Private {
    let (certificate, key) = authority.issue("localhost", false);
    let files = [
        ("server.pem", certificate.as_str()),
        ("server.key", key.as_str()),
        ("ca.pem", authority.certificate.as_str()),
    ];
    let mut server = Private::new(ACCOUNTS, &files);
    server.start(program, &SETTINGS);
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sslmode_lets_in_and_keeps_out_whom_it_should() {
    let Some(program) = Private::program() else { return };
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let (client, client_key) = ours.issue("certified", false);
    let (impostor, impostor_key) = others.issue("certified", false);
    let mut server = certified_by(&ours, &program);
    // Files of the client are the client's.
    let root = tempfile::tempdir().unwrap();
    for (name, text, mode) in [
        ("ca.pem", ours.certificate.as_str(), 0o600),
        ("other-ca.pem", others.certificate.as_str(), 0o600),
        ("client.pem", client.as_str(), 0o600),
        ("client.key", client_key.as_str(), 0o600),
        ("open.key", client_key.as_str(), 0o644),
        ("impostor.pem", impostor.as_str(), 0o600),
        ("impostor.key", impostor_key.as_str(), 0o600),
        ("garbage.pem", "this is no certificate", 0o600),
    ] {
        let file = root.path().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
    }
    let own = |options: &str| options.replace("CLIENT", root.path().to_str().unwrap());
    let cases = [
        ("anyhow:secret@localhost:PORT/mysql?sslmode=disable", In),
        ("encrypted:secret@localhost:PORT/mysql?sslmode=disable", Refused(Connect, "1045")),
        ("encrypted:secret@localhost:PORT/mysql?sslmode=prefer", In),
        ("encrypted:secret@localhost:PORT/mysql", In),
        ("encrypted:secret@localhost:PORT/mysql?sslmode=require", In),
        ("anyhow:wrong-one@localhost:PORT/mysql?sslmode=require", Refused(Connect, "1045")),
        ("anyhow:secret@localhost:PORT/mysql?sslmode=allow", Refused(Usage, "allow")),
        // Nobody who is not verified is asked for a name.
        ("encrypted:secret@127.0.0.1:PORT/mysql?sslmode=require", In),
        ("encrypted:secret@localhost:PORT/mysql?sslmode=verify-ca&sslrootcert=CLIENT/ca.pem", In),
        ("encrypted:secret@localhost:PORT/mysql?sslmode=verify-full&sslrootcert=CLIENT/ca.pem", In),
        ("encrypted:secret@localhost:PORT/mysql?sslmode=require&sslrootcert=CLIENT/ca.pem", In),
        // The wrong authority.
        (
            "anyhow:secret@localhost:PORT/mysql?sslmode=require&sslrootcert=CLIENT/other-ca.pem",
            Refused(Connect, "certificate"),
        ),
        (
            "anyhow:secret@localhost:PORT/mysql?sslmode=verify-ca&sslrootcert=CLIENT/other-ca.pem",
            Refused(Connect, "certificate"),
        ),
        (
            "anyhow:secret@localhost:PORT/mysql?sslmode=verify-full&sslrootcert=CLIENT/other-ca.pem",
            Refused(Connect, "certificate"),
        ),
        ("anyhow:secret@localhost:PORT/mysql?sslmode=verify-full", Refused(Connect, "certificate")),
        // The wrong name.
        ("anyhow:secret@127.0.0.1:PORT/mysql?sslmode=verify-ca&sslrootcert=CLIENT/ca.pem", In),
        (
            "anyhow:secret@127.0.0.1:PORT/mysql?sslmode=verify-full&sslrootcert=CLIENT/ca.pem",
            Refused(Connect, "certificate"),
        ),
        // No authority at all.
        (
            "anyhow:secret@localhost:PORT/mysql?sslmode=verify-ca&sslrootcert=CLIENT/garbage.pem",
            Refused(Usage, "garbage.pem"),
        ),
        (
            "anyhow:secret@localhost:PORT/mysql?sslmode=verify-ca&sslrootcert=CLIENT/none.pem",
            Refused(Usage, "none.pem"),
        ),
        // A certificate of ours.
        (
            "certified:secret@localhost:PORT/mysql?sslmode=require&sslcert=CLIENT/client.pem&sslkey=CLIENT/client.key",
            In,
        ),
        ("certified:secret@localhost:PORT/mysql?sslmode=require", Refused(Connect, "1045")),
        (
            "certified:secret@localhost:PORT/mysql?sslmode=require&sslcert=CLIENT/impostor.pem&sslkey=CLIENT/impostor.key",
            Refused(Connect, ""),
        ),
        (
            "certified:secret@localhost:PORT/mysql?sslmode=require&sslcert=CLIENT/client.pem&sslkey=CLIENT/open.key",
            Refused(PermissionDenied, "open.key"),
        ),
        (
            "certified:secret@localhost:PORT/mysql?sslmode=require&sslcert=CLIENT/client.pem&sslkey=CLIENT/impostor.key",
            Refused(Usage, "client.pem"),
        ),
        (
            "certified:secret@localhost:PORT/mysql?sslmode=require&sslcert=CLIENT/client.pem",
            Refused(Usage, "sslkey"),
        ),
    ];
    let cases: Vec<(String, Gets)> = cases.iter().map(|(url, gets)| (own(url), *gets)).collect();
    let cases: Vec<(&str, Gets)> = cases.iter().map(|(url, gets)| (url.as_str(), *gets)).collect();
    let mut count = check(&server, &cases).await;

    // Somebody in between who says that the server cannot encrypt: whoever requires it says not another word.
    let proxy = Proxy::start(server.address(), |_| {
        let mut first = true;
        Box::new(move |from, said| {
            if from == From::Server && std::mem::take(&mut first) {
                // Behind the version, the connection's number, a part of the nonce and a zero: the capabilities, of which TLS is 1 << 11.
                let version = said.iter().skip(5).position(|byte| *byte == 0).unwrap();
                said[5 + version + 1 + 4 + 8 + 1 + 1] &= !(1 << 3);
            }
            Then::Pass
        })
    });
    let by_proxy = |mode: &str| {
        let port = proxy.address().port();
        format!("mariadb://anyhow:secret@localhost:{port}/mysql?sslmode={mode}").parse().unwrap()
    };
    let greeting = {
        use std::io::Read;
        let mut greeting = [0; 512];
        std::net::TcpStream::connect(server.address()).unwrap().read(&mut greeting).unwrap()
    };
    let error = manager().probe(&by_proxy("require")).await.unwrap_err();
    assert!(error.kind() == Connect && error.to_string().contains("does not offer"), "{error}");
    assert_eq!(proxy.bytes(), greeting as u64);
    let error = manager().probe(&own_url(&by_proxy("verify-full"), &own("CLIENT/ca.pem"))).await.unwrap_err();
    assert!(error.to_string().contains("does not offer"), "{error}");

    // Expired.
    let (certificate, key) = ours.issue("localhost", true);
    server.write("server.pem", &certificate);
    server.write("server.key", &key);
    server.start(&program, &SETTINGS);
    let ca = own("sslrootcert=CLIENT/ca.pem");
    let [ca_only, full] = ["verify-ca", "verify-full"]
        .map(|mode| format!("anyhow:secret@localhost:PORT/mysql?sslmode={mode}&{ca}"));
    count += check(
        &server,
        &[
            ("anyhow:secret@localhost:PORT/mysql?sslmode=require", In),
            (&ca_only, Refused(Connect, "certificate")),
            (&full, Refused(Connect, "certificate")),
        ],
    )
    .await;

    // A server that has no TLS.
    server.start(&program, &["--skip-ssl"]);
    count += check(
        &server,
        &[
            ("anyhow:secret@localhost:PORT/mysql", In),
            ("anyhow:secret@localhost:PORT/mysql?sslmode=require", Refused(Connect, "does not offer")),
            (&full, Refused(Connect, "does not offer")),
        ],
    )
    .await;
    println!("{} ways of getting in", count + 2);
}

/// Tells this program to be who logs in.
const BY_FILE: &str = "LIFEBOAT_TEST_BY_FILE";

/// Everything is said in `~/.my.cnf`, which is read anew by a program of its own for each case.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_options_lets_in_whom_the_clients_would() {
    if let Ok(url) = std::env::var(BY_FILE) {
        return match manager().probe(&url.parse().unwrap()).await {
            Ok(_) => println!("let in"),
            Err(error) => println!("kept out: {error}"),
        };
    }
    let Some(program) = Private::program() else { return };
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let (client, client_key) = ours.issue("certified", false);
    let server = certified_by(&ours, &program);
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = home.path().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    };
    write("ca.pem", &ours.certificate);
    write("other-ca.pem", &others.certificate);
    write("client.pem", &client);
    write("client.key", &client_key);
    write("more.cnf", "[client]\npassword = secret\n");
    let logs_in = |url: &str, lines: &str| {
        let usual = "[client]\nuser = encrypted\npassword = secret # mine\nhost = localhost\nprotocol = tcp\nport = PORT\n";
        let file = server.text(&format!("{usual}{lines}\n"));
        write(".my.cnf", &file.replace("HOME", home.path().to_str().unwrap()));
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["a_file_of_options_lets_in_whom_the_clients_would", "--exact", "--nocapture"])
            .env("HOME", home.path())
            .env(BY_FILE, url)
            .env_remove("MYSQL_PWD")
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for (lines, expected) in [
        ("", "let in"),
        ("ssl-mode = DISABLED", "kept out: *1045"),
        ("skip-ssl", "kept out: *1045"),
        ("skip_ssl\nssl", "let in"),
        ("ssl-ca = HOME/ca.pem", "let in"),
        ("ssl-ca = \"HOME/other-ca.pem\"", "kept out: *certificate"),
        ("ssl-ca = HOME/other-ca.pem\nssl-mode = REQUIRED", "let in"),
        ("ssl-ca = HOME/ca.pem\nssl-mode = VERIFY_IDENTITY", "let in"),
        ("ssl-ca = HOME/ca.pem\nhost = 127.0.0.1", "let in"),
        ("ssl-ca = HOME/ca.pem\nhost = 127.0.0.1\nssl-verify-server-cert", "kept out: *certificate"),
        ("user = certified", "kept out: *1045"),
        ("user = certified\nssl-cert = HOME/client.pem\nssl-key = HOME/client.key", "let in"),
        ("user = certified\nssl-cert = HOME/client.pem", "kept out: *ssl-key"),
        ("user = numbered\npassword = 'a#1'", "let in"),
        ("user = numbered\npassword = a#1", "kept out: *1045"),
        ("password = wrong\n!include HOME/more.cnf", "let in"),
        ("password = wrong\n!include HOME/none.cnf", "kept out: *1045"),
        ("[client-mariadb]\npassword = wrong", "kept out: *1045"),
        ("[mysqld]\nuser = nobody\npassword = wrong", "let in"),
        ("ssl-crl = HOME/crl.pem", "kept out: *ssl-crl"),
    ] {
        let said = logs_in("mariadb:///mysql", lines);
        let fits = expected.split('*').all(|part| said.contains(part));
        assert!(fits && !said.contains("secret"), "{lines}: {said}");
    }
    // What is MariaDB's own is nothing to the clients of MySQL; and what the URL says counts.
    assert!(logs_in("mysql:///mysql", "[client-mariadb]\npassword = wrong").contains("let in"));
    assert!(logs_in("mariadb:///mysql?sslmode=require", "skip-ssl\nssl-crl = /crl").contains("let in"));
}

/// The same with an authority.
fn own_url(url: &backup_core::DatabaseUrl, authority: &str) -> backup_core::DatabaseUrl {
    let mut url = url.clone();
    url.options.push(("sslrootcert".to_owned(), authority.to_owned()));
    url
}
