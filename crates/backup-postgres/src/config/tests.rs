//! What a URL, a service file and the environment come to.

use super::*;

fn config(url: &str, environment: &[(&str, &str)]) -> Result<Config> {
    let find = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
    Config::new(&url.parse().unwrap(), &find)
}

#[test]
fn a_url_wins_over_the_environment() {
    let environment =
        [("PGHOST", "elsewhere"), ("PGUSER", "someone"), ("PGPASSWORD", "p"), ("PGSSLMODE", "require")];
    let all =
        config("postgres://me:secret@db:5433/shop?sslmode=verify-full&lock_timeout=5", &environment).unwrap();
    assert_eq!(all.host, Host::Tcp("db".to_owned()));
    assert_eq!((all.port, all.user.as_str(), all.database.as_str()), (5433, "me", "shop"));
    assert_eq!((all.tls.mode, all.lock_timeout), (SslMode::VerifyFull, 5));
    assert!(!format!("{all:?}").contains("secret"));
    let least = config("postgresql:///shop", &environment).unwrap();
    assert_eq!(least.host, Host::Tcp("elsewhere".to_owned()));
    assert_eq!((least.user.as_str(), least.database.as_str()), ("someone", "shop"));
    assert_eq!((least.tls.mode, least.port), (SslMode::Require, 5432));
}

#[test]
fn a_socket_is_a_directory() {
    for url in ["postgres://me@%2Ftmp%2Fx/db", "postgres://me@/db?host=/tmp/x"] {
        assert_eq!(config(url, &[]).unwrap().host, Host::Socket("/tmp/x".into()), "{url}");
    }
}

#[test]
fn a_password_goes_in_clear_only_to_whom_it_was_allowed_and_who_was_verified() {
    let allows = |url: &str| config(url, &[]).unwrap().allows_clear_password();
    assert!(!allows("postgres://me@far/db?sslmode=verify-full"));
    assert!(!allows("postgres://me@far/db?clear_password=allow&sslmode=require"));
    assert!(!allows("postgres://me@127.0.0.1/db"));
    assert!(allows("postgres://me@far/db?clear_password=allow&sslmode=verify-full"));
    assert!(allows("postgres://me@127.0.0.1/db?clear_password=allow"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for url in [
        "postgres://me@h/db?sslmode=maybe",
        "postgres://me@h/db?connect_timeout=-1",
        "postgres://me@h/db?sslcert=x",
        "postgres://me@h/db?clear_password=yes",
        "postgres://me@h/db?sslmode=require&sslrootcert=system",
        "postgres://me@h/db?target_session_attrs=best",
        "postgres://me@/db?host=a,b,c&service=none",
        "postgres://h/db",
    ] {
        assert!(config(url, &[]).is_err(), "{url}");
    }
}

#[test]
fn several_hosts_have_ports_and_passwords_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("passwords");
    std::fs::write(&file, "b:2:shop:me:second\n*:*:*:me:any\n").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let environment = [("PGPASSFILE", file.to_str().unwrap()), ("PGHOST", "x"), ("PGPORT", "7")];
    let all = config("postgres://me@a:1,b:2,c/shop?target_session_attrs=primary", &environment).unwrap();
    let hosts: Vec<_> =
        all.hosts().map(|one| (one.host, one.port, one.password.unwrap().expose().to_owned())).collect();
    let tcp = |name: &str| Host::Tcp(name.to_owned());
    assert_eq!(
        hosts,
        [
            (tcp("a"), 1, "any".to_owned()),
            (tcp("b"), 2, "second".to_owned()),
            (tcp("c"), 7, "any".to_owned())
        ]
    );
    assert_eq!(all.session_attrs, SessionAttrs::Primary);
    let listed = config("postgres://me@/shop", &[("PGHOST", "a,/tmp"), ("PGPORT", "1,2")]).unwrap();
    assert_eq!((listed.host, listed.port), (tcp("a"), 1));
    assert_eq!(listed.others[0].0, Host::Socket("/tmp".into()));
    assert!(config("postgres://me@/shop", &[("PGHOST", "a,b,c"), ("PGPORT", "1,2")]).is_err());
}

#[test]
fn a_service_stands_between_the_url_and_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("services");
    std::fs::write(&file, "# ours\n[other]\nhost=no\n[shop]\nhost=db.example\nport=6432\nuser=me\ndbname=goods\nsslmode=require\n").unwrap();
    let environment =
        [("PGSERVICEFILE", file.to_str().unwrap()), ("PGUSER", "you"), ("PGSSLMODE", "disable")];
    let all = config("postgres:///?service=shop", &environment).unwrap();
    assert_eq!((all.host, all.port), (Host::Tcp("db.example".to_owned()), 6432));
    assert_eq!((all.user.as_str(), all.database.as_str(), all.tls.mode), ("me", "goods", SslMode::Require));
    let own = config("postgres://i@h:1/d?service=shop&sslmode=verify-ca", &environment).unwrap();
    assert_eq!((own.host, own.port, own.user.as_str()), (Host::Tcp("h".to_owned()), 1, "i"));
    assert_eq!((own.database.as_str(), own.tls.mode), ("d", SslMode::VerifyCa));
    assert!(config("postgres:///?service=none", &environment).is_err());
}
