//! Getting in: TLS with real certificates, accounts that are let in only one way, sockets, several hosts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{BackupConfig, BackupManager, Error, ErrorKind, Registry};
use backup_testkit::proxy::{From, Proxy, Then};

mod private;
mod server;

use private::Private;
use private::certificates::Authority;

fn manager() -> BackupManager {
    BackupManager::new(BackupConfig::default())
        .with_registry(Registry::new().with(&backup_postgres::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()))
}

/// Accounts that are let in only encrypted, only in clear, only by a certificate, and both ways.
const HBA: &str = "
hostnossl all encrypted all reject
hostssl all clear all reject
hostssl all certified all cert
hostnossl all certified all reject
host all old all md5";

const ACCOUNTS: &str = "
CREATE ROLE encrypted LOGIN SUPERUSER PASSWORD 'secret';
CREATE ROLE clear LOGIN SUPERUSER PASSWORD 'secret';
CREATE ROLE anyhow LOGIN SUPERUSER PASSWORD 'secret';
CREATE ROLE certified LOGIN SUPERUSER;
SET password_encryption = md5;
CREATE ROLE old LOGIN SUPERUSER PASSWORD 'secret';";

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
                assert!(
                    error.kind() == *kind && told(&error).contains(text),
                    "{url}: {:?} {}",
                    error.kind(),
                    told(&error)
                );
                assert!(!told(&error).contains("secret"), "{url}: {error}");
            }
        }
    }
    cases.len()
}

fn told(error: &Error) -> String {
    let mut told = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        told += &format!(": {error}");
        cause = error.source();
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sslmode_lets_in_and_keeps_out_whom_it_should() {
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let (certificate, key) = ours.issue("localhost", false);
    let (client, client_key) = ours.issue("certified", false);
    let (impostor, impostor_key) = others.issue("certified", false);
    let files = [
        ("server.pem", certificate.as_str()),
        ("server.key", key.as_str()),
        ("ca.pem", ours.certificate.as_str()),
        ("other-ca.pem", others.certificate.as_str()),
        ("client.pem", client.as_str()),
        ("client.key", client_key.as_str()),
        ("impostor.pem", impostor.as_str()),
        ("impostor.key", impostor_key.as_str()),
        ("garbage.pem", "this is no certificate"),
    ];
    for bin in Private::programs().into_iter().filter(|bin| Private::knows_tls(bin)) {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().to_str().unwrap();
        let server = Private::start(
            &bin,
            HBA,
            "ssl = on\nssl_cert_file = '../server.pem'\nssl_key_file = '../server.key'\nssl_ca_file = '../ca.pem'",
            &files,
        );
        // Files of the client are the client's.
        for (name, text) in files {
            std::fs::write(root.path().join(name), text).unwrap();
            std::fs::set_permissions(
                root.path().join(name),
                std::os::unix::fs::PermissionsExt::from_mode(0o600),
            )
            .unwrap();
        }
        std::fs::copy(root.path().join("client.key"), root.path().join("open.key")).unwrap();
        std::fs::set_permissions(
            root.path().join("open.key"),
            std::os::unix::fs::PermissionsExt::from_mode(0o644),
        )
        .unwrap();
        server.ask("postgres", ACCOUNTS);
        let cases = [
            ("anyhow:secret@localhost:PORT/postgres?sslmode=disable", In),
            ("encrypted:secret@localhost:PORT/postgres?sslmode=disable", Refused(Connect, "28000")),
            ("clear:secret@localhost:PORT/postgres?sslmode=disable", In),
            ("encrypted:secret@localhost:PORT/postgres?sslmode=allow", In),
            ("clear:secret@localhost:PORT/postgres?sslmode=allow", In),
            ("encrypted:secret@localhost:PORT/postgres?sslmode=prefer", In),
            ("clear:secret@localhost:PORT/postgres?sslmode=prefer", In),
            ("encrypted:secret@localhost:PORT/postgres", In),
            ("encrypted:secret@localhost:PORT/postgres?sslmode=require", In),
            ("clear:secret@localhost:PORT/postgres?sslmode=require", Refused(Connect, "28000")),
            ("anyhow:wrong-one@localhost:PORT/postgres?sslmode=prefer", Refused(Connect, "28P01")),
            // Nobody who is not verified is asked for a name.
            ("encrypted:secret@127.0.0.1:PORT/postgres?sslmode=require", In),
            ("anyhow:secret@localhost:PORT/postgres?sslmode=verify-ca&sslrootcert=CLIENT/ca.pem", In),
            ("anyhow:secret@localhost:PORT/postgres?sslmode=verify-full&sslrootcert=CLIENT/ca.pem", In),
            // As libpq has it: an authority makes require verify.
            ("anyhow:secret@localhost:PORT/postgres?sslmode=require&sslrootcert=CLIENT/ca.pem", In),
            (
                "anyhow:secret@localhost:PORT/postgres?sslmode=require&sslrootcert=CLIENT/other-ca.pem",
                Refused(Connect, "certificate"),
            ),
            (
                "anyhow:secret@localhost:PORT/postgres?sslmode=verify-ca&sslrootcert=CLIENT/other-ca.pem",
                Refused(Connect, "certificate"),
            ),
            (
                "anyhow:secret@localhost:PORT/postgres?sslmode=verify-full&sslrootcert=CLIENT/other-ca.pem",
                Refused(Connect, "certificate"),
            ),
            ("anyhow:secret@127.0.0.1:PORT/postgres?sslmode=verify-ca&sslrootcert=CLIENT/ca.pem", In),
            (
                "anyhow:secret@127.0.0.1:PORT/postgres?sslmode=verify-full&sslrootcert=CLIENT/ca.pem",
                Refused(Connect, "certificate"),
            ),
            ("anyhow:secret@localhost:PORT/postgres?sslrootcert=system", Refused(Connect, "certificate")),
            (
                "anyhow:secret@localhost:PORT/postgres?sslmode=verify-ca&sslrootcert=CLIENT/garbage.pem",
                Refused(Usage, "garbage.pem"),
            ),
            (
                "anyhow:secret@localhost:PORT/postgres?sslmode=verify-ca&sslrootcert=CLIENT/none.pem",
                Refused(Usage, "none.pem"),
            ),
            // A certificate of ours.
            (
                "certified@localhost:PORT/postgres?sslmode=require&sslcert=CLIENT/client.pem&sslkey=CLIENT/client.key",
                In,
            ),
            ("certified@localhost:PORT/postgres?sslmode=require", Refused(Connect, "")),
            (
                "certified@localhost:PORT/postgres?sslmode=require&sslcert=CLIENT/impostor.pem&sslkey=CLIENT/impostor.key",
                Refused(Connect, ""),
            ),
            (
                "certified@localhost:PORT/postgres?sslmode=require&sslcert=CLIENT/client.pem&sslkey=CLIENT/open.key",
                Refused(PermissionDenied, "open.key"),
            ),
            (
                "certified@localhost:PORT/postgres?sslmode=require&sslcert=CLIENT/client.pem&sslkey=CLIENT/impostor.key",
                Refused(Usage, "client.pem"),
            ),
            // The password is proven to the holder of that very certificate, or else not at all.
            ("anyhow:secret@localhost:PORT/postgres?sslmode=require&channel_binding=require", In),
            (
                "anyhow:secret@localhost:PORT/postgres?sslmode=disable&channel_binding=require",
                Refused(Connect, "channel binding"),
            ),
            ("old:secret@localhost:PORT/postgres?sslmode=require", In),
            (
                "old:secret@localhost:PORT/postgres?sslmode=require&channel_binding=require",
                Refused(Connect, "channel binding"),
            ),
            ("anyhow:secret@localhost:PORT/postgres?sslmode=require&channel_binding=disable", In),
            // Sockets are nobody's to listen to, whatever sslmode says.
            ("owner@SOCKETS:PORT/postgres", In),
            ("owner@SOCKETS:PORT/postgres?sslmode=verify-full", In),
            // Several hosts.
            ("anyhow:secret@localhost:1,localhost:PORT/postgres", In),
            ("anyhow:secret@localhost:1,localhost:PORT/postgres?target_session_attrs=read-write", In),
            ("anyhow:secret@localhost:PORT/postgres?target_session_attrs=prefer-standby", In),
            (
                "anyhow:secret@localhost:PORT,localhost:1/postgres?target_session_attrs=standby",
                Refused(Connect, "target_session_attrs"),
            ),
            ("anyhow:secret@localhost:1,localhost:2/postgres", Refused(Connect, "no host")),
        ];
        let sockets = server.path("").to_str().unwrap().trim_end_matches('/').replace('/', "%2F");
        let cases: Vec<(String, Gets)> = cases
            .iter()
            .map(|(url, gets)| (url.replace("CLIENT", directory).replace("SOCKETS", &sockets), *gets))
            .collect();
        let cases: Vec<(&str, Gets)> = cases.iter().map(|(url, gets)| (url.as_str(), *gets)).collect();
        let mut count = check(&server, &cases).await;

        // Expired.
        let (certificate, key) = ours.issue("localhost", true);
        server.write("server.pem", &certificate);
        server.write("server.key", &key);
        server.control(&["restart", "--mode=fast"]);
        let cases = ["require", "verify-ca", "verify-full"].map(|mode| {
            let ca =
                if mode == "require" { String::new() } else { format!("&sslrootcert={directory}/ca.pem") };
            format!("anyhow:secret@localhost:PORT/postgres?sslmode={mode}{ca}")
        });
        count += check(
            &server,
            &[
                (&cases[0], In),
                (&cases[1], Refused(Connect, "certificate")),
                (&cases[2], Refused(Connect, "certificate")),
            ],
        )
        .await;

        // Somebody in between who says that the server cannot encrypt: whoever requires it does not say another word.
        let proxy = Proxy::start(server.address(), |_| {
            let mut first = true;
            Box::new(move |from, said| {
                if from == From::Server && std::mem::take(&mut first) {
                    *said = b"N".to_vec();
                }
                Then::Pass
            })
        });
        let url = |mode: &str| {
            format!("postgres://anyhow:secret@localhost:{}/postgres?sslmode={mode}", proxy.address().port())
                .parse()
                .unwrap()
        };
        let error = manager().probe(&url("require")).await.unwrap_err();
        assert!(error.kind() == Connect && error.to_string().contains("does not offer"), "{error}");
        // The request for TLS, and the answer to it.
        assert_eq!(proxy.bytes(), 9);

        // What was said before TLS is not taken for what was said within: the server's answer, and an injected login.
        let proxy = Proxy::start(server.address(), |_| {
            let mut first = true;
            Box::new(move |from, said| {
                if from == From::Server && std::mem::take(&mut first) {
                    said.extend_from_slice(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I");
                }
                Then::Pass
            })
        });
        let url =
            format!("postgres://anyhow:secret@localhost:{}/postgres?sslmode=require", proxy.address().port());
        let error = manager().probe(&url.parse().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), Connect, "{error}");
        println!("{}: {} ways of getting in", bin.display(), count + 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_file_names_a_socket_by_its_directory() {
    for bin in Private::programs() {
        let server = Private::start(&bin, "", "", &[]);
        server.ask("postgres", "CREATE ROLE sockets LOGIN SUPERUSER PASSWORD 'secret'");
        server.write("data/pg_hba.conf", "local all owner trust\nlocal all all scram-sha-256\n");
        server.control(&["reload"]);
        let sockets = server.path("");
        let sockets = sockets.to_str().unwrap().trim_end_matches('/');
        let files = tempfile::tempdir().unwrap();
        let file = files.path().join("passwords");
        let url = format!(
            "sockets@{}:PORT/postgres?passfile={}",
            sockets.replace('/', "%2F"),
            file.to_str().unwrap()
        );
        for (line, expected) in [
            // It is no usual one, so this is another server.
            ("localhost:*:*:sockets:wrong\nDIR:*:*:sockets:secret", In),
            ("localhost:*:*:sockets:secret", Refused(Connect, "password")),
            ("DIR:1:*:sockets:wrong\n*:*:*:sockets:secret", In),
        ] {
            std::fs::write(&file, line.replace("DIR", sockets)).unwrap();
            std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            check(&server, &[(url.as_str(), expected)]).await;
        }
    }
}
