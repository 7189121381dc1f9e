//! PostgreSQL by the real binary, and pg_dump as the judge.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use end_to_end::Place;

#[path = "../../crates/backup-postgres/tests/corpora/mod.rs"]
mod corpora;
#[path = "../../crates/backup-postgres/tests/server/mod.rs"]
mod server;

use server::Server;

/// Backs up and returns the id.
fn backup(place: &Place, server: &Server, database: &str, arguments: &[&str]) -> String {
    let url = server.url_text(database);
    place.run(&[&["backup", &url, "--quiet", "-j", "2"], arguments].concat()).trim().to_owned()
}

/// Restores into the database of that name.
fn restore(place: &Place, server: &Server, backup: &str, database: &str, arguments: &[&str]) -> String {
    let url = server.url_text(database);
    place.run(&[&["restore", backup, "--target", &url, "-j", "2"], arguments].concat())
}

/// The name of a database that is not there, and is removed at the end if it is then.
fn new_name(server: &Server, source: &str, what: &str) -> String {
    let name = format!("{source}_{what}");
    server.expect(&name);
    name
}

/// What docs/postgres.md says that the least account needs, for an account and a database of these names.
fn grants(account: &str, database: &str) -> String {
    let page = include_str!("../../docs/postgres.md");
    let (_, behind) = page.split_once("The least that an account needs:\n\n```sql\n").unwrap();
    let (script, _) = behind.split_once("```").unwrap();
    let named =
        script.replace("lifeboat", account).replace("shop", database).replace("'...'", "'only for tests'");
    assert!(named.contains(&format!("CREATE ROLE {account}")) && named.contains(database));
    named
}

fn shop(server: &Server) -> String {
    let name = server.create();
    server.psql(
        &name,
        "CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL);
         CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customer, note text);
         CREATE INDEX ON orders (customer);
         CREATE VIEW per_customer AS SELECT customer, count(*) FROM orders GROUP BY 1;
         INSERT INTO customer SELECT i, 'customer ' || i FROM generate_series(1, 2000) i;
         INSERT INTO orders SELECT i, 1 + i % 2000, md5(i::text) || E'\\n\\t' || i FROM generate_series(1, 50000) i;",
    );
    name
}

#[test]
fn sample_databases_come_back_from_every_format_under_another_name() {
    for server in server::servers() {
        for (what, source) in [("chinook", corpora::chinook(&server)), ("pagila", corpora::pagila(&server))] {
            let Some(source) = source else { continue };
            let expected = server.dump(&source);
            let place = Place::new();
            for format in ["binary", "sql", "compressed"] {
                let id = backup(&place, &server, &source, &["--format", format]);
                place.run(&["verify", &id]);
                let shown = place.run(&["show", &id]);
                assert!(shown.contains(&source) && shown.contains("PostgreSQL"), "{shown}");
                let copy = new_name(&server, &source, format);
                // The URL names the source, and would be refused: the other name is what counts.
                let url = server.url_text(&source);
                let arguments = ["--target-database", &copy, "--create-database"];
                place.run(&[&["restore", &id, "--target", &url], &arguments[..]].concat());
                assert!(server.dump(&copy) == expected, "{what} by way of {format} on {}", server.major());
            }
            assert_eq!(
                place.run(&["list", "--quiet"]).lines().filter(|line| line.contains(&source)).count(),
                3
            );
        }
    }
}

#[test]
fn a_script_is_loaded_by_psql_whatever_the_names_are() {
    for server in server::servers() {
        let source = format!("lb_{}_'; $$ */ \\! touch hacked\n\\! touch hacked", std::process::id());
        let role = format!("{source} x");
        server.psql("postgres", &format!("CREATE DATABASE \"{source}\"; CREATE ROLE \"{role}\""));
        server.expect(&source);
        server.psql(
            &source,
            "CREATE SCHEMA \"a; \\! touch hacked\";
             CREATE TABLE \"a; \\! touch hacked\".\"x\n\\! touch hacked\n--\" (\"*/ DROP\" text, \"$$\" text);
             INSERT INTO \"a; \\! touch hacked\".\"x\n\\! touch hacked\n--\" VALUES ('\\.', E'\\\\.\\n\\\\! touch hacked'), (NULL, '');
             COMMENT ON SCHEMA \"a; \\! touch hacked\" IS E'two\\n\\\\! touch hacked\\nlines';",
        );
        server.psql(&source, &format!("ALTER SCHEMA \"a; \\! touch hacked\" OWNER TO \"{role}\""));
        let place = Place::new();
        let id = backup(&place, &server, &source, &["--format", "sql", "--codec", "none"]);
        let script = place.path("exported.sql");
        place.run(&["export", &id, "--output", script.to_str().unwrap()]);
        let copy = server.create();
        server.load(&copy, &script);
        assert_eq!(server.dump(&copy), server.dump(&source));
        assert!(!place.path("hacked").exists() && !std::path::Path::new("hacked").exists());
        // What people read has no line that a name made.
        for arguments in [&["list"][..], &["show", &id]] {
            let said = place.run(arguments);
            assert!(!said.lines().any(|line| line.trim_start().starts_with("\\!")), "{said}");
        }
        server.psql(
            "postgres",
            &format!("DROP DATABASE \"{source}\"; DROP DATABASE {copy}; DROP ROLE \"{role}\""),
        );
    }
}

/// Behind each tenth line of a script and in the middle of it, so also within the rows of a table, where psql takes the end of the file for the
/// end of the rows.
#[test]
fn a_script_that_is_cut_off_is_refused_before_the_target_is_touched() {
    let Some(server) = server::servers().into_iter().next() else { return };
    let source = server.create();
    server.psql(&source, "CREATE TABLE t (id int PRIMARY KEY, note text); INSERT INTO t SELECT i, 'note ' || i FROM generate_series(1, 60) i");
    let place = Place::new();
    let id = backup(&place, &server, &source, &["--format", "sql", "--codec", "none"]);
    let whole = place.path("whole.sql");
    place.run(&["export", &id, "--output", whole.to_str().unwrap()]);
    let script = std::fs::read_to_string(&whole).unwrap();
    let rows = script.find("1\tnote 1\n").unwrap()..script.find("\n\\.\n").unwrap();
    let copy = server.create();
    let target = server.url_text(&copy);
    let (mut cut, mut within) = (0, 0);
    let ends: Vec<usize> =
        script.match_indices('\n').map(|(at, _)| at + 1).filter(|at| *at < script.len()).collect();
    for end in ends.iter().step_by(10).flat_map(|end| [*end, end - 2]).chain(ends.last().copied()) {
        std::fs::write(place.path("cut.sql"), &script[..end]).unwrap();
        let said = place.fails(4, &["restore", "./cut.sql", "--target", &target]);
        assert!(said.contains("cut.sql"), "{said}");
        (cut, within) = (cut + 1, within + usize::from(rows.contains(&end)));
    }
    let tables = server.psql(&copy, "SELECT count(*) FROM pg_class WHERE relname = 't'");
    assert_eq!(tables.trim(), "0");
    place.run(&["restore", whole.to_str().unwrap(), "--target", &target]);
    assert_eq!(server.dump(&copy), server.dump(&source));
    println!("{cut} scripts cut off, {within} of them within rows: all refused");
    assert!(within > 5, "{within}");
}

#[test]
fn a_second_backup_stores_what_has_changed_and_each_restores_to_its_own_time() {
    for server in server::servers() {
        let source = shop(&server);
        let place = Place::new();
        let first = backup(&place, &server, &source, &["--format", "binary"]);
        let then = server.dump(&source);
        let size =
            |place: &Place| place.files("backups/chunks").iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        let before = size(&place);
        let unchanged = backup(&place, &server, &source, &["--format", "binary"]);
        assert!(size(&place) < before + before / 50, "{} after {before}", size(&place));
        server.psql(&source, "UPDATE customer SET name = 'renamed' WHERE id = 7");
        let second = backup(&place, &server, &source, &["--format", "binary"]);
        let now = server.dump(&source);
        for (id, expected) in [(first, &then), (unchanged, &then), (second, &now)] {
            let copy = server.create();
            restore(&place, &server, &id, &copy, &[]);
            assert_eq!(&server.dump(&copy), expected);
        }
    }
}

#[test]
fn incrementals_are_refused_and_not_made_full_in_silence() {
    let Some(server) = server::server() else { return };
    let source = shop(&server);
    let place = Place::new();
    backup(&place, &server, &source, &["--format", "binary"]);
    let before = place.files("backups");
    for kind in ["incremental", "differential"] {
        let said = place.fails(1, &["backup", &server.url_text(&source), "--type", kind]);
        assert!(said.contains(kind) || said.contains("log"), "{said}");
    }
    assert_eq!(place.files("backups"), before);
}

#[test]
fn a_database_is_replaced_only_when_that_is_asked_for_and_whole() {
    for server in server::servers() {
        let source = shop(&server);
        let place = Place::new();
        let id = backup(&place, &server, &source, &["--format", "binary"]);
        let target = server.create();
        server.psql(&target, "CREATE TABLE precious (x int); INSERT INTO precious VALUES (1)");
        server.psql("postgres", &format!("ALTER DATABASE {target} CONNECTION LIMIT 17"));
        let before = server.dump(&target);
        let url = server.url_text(&target);
        let said = place.fails(1, &["restore", &id, "--target", &url]);
        assert!(said.contains(&target) && said.contains("--drop-existing"), "{said}");
        // Off a terminal it has to be meant twice.
        place.fails(2, &["restore", &id, "--target", &url, "--drop-existing"]);
        assert_eq!(server.dump(&target), before);
        restore(&place, &server, &id, &target, &["--drop-existing", "--yes"]);
        assert_eq!(server.dump(&target), server.dump(&source));
        // What belongs to the place stays.
        let limit = format!("SELECT datconnlimit FROM pg_database WHERE datname = '{target}'");
        assert_eq!(server.ask("postgres", &limit).trim(), "17");
        assert_eq!(server.databases(&target), [target.as_str()], "nothing is left beside it");
        // A restore that fails half-way leaves it as it is.
        server.psql(&source, "CREATE FUNCTION f(int) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1 > 0'; CREATE TABLE checked (x int CHECK (f(x))); INSERT INTO checked VALUES (1); CREATE OR REPLACE FUNCTION f(int) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1 > 1'");
        let broken = backup(&place, &server, &source, &["--format", "binary"]);
        let before = server.dump(&target);
        let said = place.fails(1, &["restore", &broken, "--target", &url, "--drop-existing", "--yes"]);
        assert!(said.contains("checked"), "{said}");
        assert_eq!(server.dump(&target), before);
        assert_eq!(server.databases(&target), [target.as_str()]);
    }
}

#[test]
fn parts_of_a_backup_are_restored_alone() {
    for server in server::servers() {
        let source = shop(&server);
        let place = Place::new();
        let id = backup(&place, &server, &source, &["--format", "binary"]);
        let (rows, tables) =
            ("SELECT count(*) FROM customer", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'");

        let one = server.create();
        restore(&place, &server, &id, &one, &["--table", "public.customer"]);
        assert_eq!((server.ask(&one, rows).trim(), server.ask(&one, tables).trim()), ("2000", "1"));
        // Beside what is there already.
        let beside = server.create();
        server.psql(&beside, "CREATE TABLE kept (x int); INSERT INTO kept VALUES (1)");
        restore(&place, &server, &id, &beside, &["--table", "customer"]);
        assert_eq!((server.ask(&beside, rows).trim(), server.ask(&beside, tables).trim()), ("2000", "2"));

        let schema = server.create();
        restore(&place, &server, &id, &schema, &["--schema-only"]);
        assert_eq!(server.schema(&schema), server.schema(&source));
        assert_eq!(server.ask(&schema, rows).trim(), "0");
        restore(&place, &server, &id, &schema, &["--data-only"]);
        assert_eq!(server.dump(&schema), server.dump(&source));

        // A backup of a half knows the half.
        let half = backup(&place, &server, &source, &["--format", "sql", "--schema-only"]);
        let copy = server.create();
        restore(&place, &server, &half, &copy, &[]);
        assert_eq!(server.schema(&copy), server.schema(&source));
        let half =
            backup(&place, &server, &source, &["--format", "binary", "--data-only", "--include", "customer"]);
        server.psql(&copy, "ALTER TABLE orders ADD CHECK (id < 0) NOT VALID");
        restore(&place, &server, &half, &copy, &["--data-only"]);
        assert_eq!(server.ask(&copy, rows).trim(), "2000");
    }
}

#[test]
fn owners_are_kept_or_left_out_and_roles_and_extensions_that_lack_are_listed_before_anything_is_touched() {
    for server in server::servers() {
        let source = shop(&server);
        let roles = [format!("{source}_a"), format!("{source} B")];
        for role in &roles {
            server.psql("postgres", &format!("CREATE ROLE \"{role}\""));
        }
        server.psql(
            &source,
            &format!(
                "ALTER TABLE customer OWNER TO \"{}\"; GRANT SELECT ON orders TO \"{}\"",
                roles[0], roles[1]
            ),
        );
        let place = Place::new();
        let id = backup(&place, &server, &source, &["--format", "binary"]);
        let owned = server.create();
        restore(&place, &server, &id, &owned, &[]);
        assert_eq!(server.dump(&owned), server.dump(&source));
        for database in [&source, &owned] {
            server.psql("postgres", &format!("DROP DATABASE {database}"));
        }
        for role in &roles {
            server.psql("postgres", &format!("DROP ROLE \"{role}\""));
        }
        let target = server.create();
        server.psql(&target, "CREATE TABLE precious (x int)");
        let url = server.url_text(&target);
        let said = place.fails(1, &["restore", &id, "--target", &url, "--drop-existing", "--yes"]);
        assert!(
            roles.iter().all(|role| said.contains(role.as_str())) && said.contains("--no-owner"),
            "{said}"
        );
        assert_eq!(server.databases(&target), [target.as_str()]);
        assert!(server.schema(&target).contains("precious"));
        restore(&place, &server, &id, &target, &["--drop-existing", "--yes", "--no-owner"]);
        let owners = "SELECT count(*) FROM pg_class WHERE relowner <> (SELECT oid FROM pg_roles WHERE rolname = current_user)";
        assert_eq!(server.ask(&target, owners).trim(), "0");
        assert_eq!(server.ask(&target, "SELECT count(*) FROM orders").trim(), "50000");
    }
}

#[test]
fn what_is_wrong_has_an_error_of_its_own_and_nothing_is_stored_or_touched() {
    let Some(server) = server::server() else { return };
    let place = Place::new();
    let source = shop(&server);
    let id = backup(&place, &server, &source, &["--format", "binary"]);
    let before = place.files("backups");
    let url = server.url_text(&source);
    let absent = server.url_text("lb_no_such_database");
    let said = place.fails(1, &["backup", &absent]);
    assert!(said.contains("lb_no_such_database") && said.contains("3D000"), "{said}");
    let said = place.fails(1, &["restore", &id, "--target", &absent]);
    assert!(said.contains("--create-database"), "{said}");
    // Whatever the password is, it is not repeated.
    let (scheme, rest) = url.split_once("://").unwrap();
    let (account, host) = rest.rsplit_once('@').unwrap();
    let user = account.split(':').next().unwrap();
    let wrong = format!("{scheme}://{user}:canary-password@{host}");
    for arguments in [&["backup", &wrong][..], &["restore", &id, "--target", &wrong]] {
        let said = place.fails(20, arguments);
        assert!(said.contains("28P01") && !said.contains("canary-password"), "{said}");
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("postgres://{user}:canary-password@{closed}/{source}");
    for arguments in [&["backup", &nobody][..], &["restore", &id, "--target", &nobody]] {
        let said = place.fails(20, arguments);
        assert!(said.contains(&closed.port().to_string()) && !said.contains("canary-password"), "{said}");
    }
    place.fails(2, &["backup", &format!("{url}?sslmod=require")]);
    place.fails(2, &["backup", &url, "--include", "no_such_table"]);
    assert_eq!(place.files("backups"), before);
    assert_eq!(server.databases("lb_no_such"), [""; 0]);
}

#[test]
fn a_table_that_may_not_be_read_is_named_and_the_backup_is_not_made() {
    let Some(server) = server::server() else { return };
    let source = shop(&server);
    let role = format!("{source}_reader");
    server.psql(
        &source,
        &format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT SELECT ON customer TO {role}"),
    );
    let url = server.url_text(&source);
    let limited = format!("postgres://{role}:secret@{}", url.rsplit_once('@').unwrap().1);
    let place = Place::new();
    let said = place.fails(1, &["backup", &limited, "--format", "binary"]);
    assert!(said.contains("orders") && said.contains("42501"), "{said}");
    assert_eq!(place.run(&["list", "--quiet"]).matches(&source).count(), 0);
    // What it may read can be had, by name or by leaving out the rest.
    let left_out = ["backup", &limited, "--format", "binary", "--skip-unreadable"];
    let output = place.command(&left_out).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("public.orders") && !output.stdout.is_empty(), "{said}");
    place.run(&["verify", "latest"]);
    place.run(&["backup", &limited, "--format", "binary", "--include", "customer"]);
    server.psql(&source, &format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn the_account_of_the_documentation_backs_up_everything() {
    for server in server::servers() {
        let Some(source) = corpora::pagila(&server) else { return };
        server.psql(
            &source,
            "CREATE SCHEMA hidden; CREATE TABLE hidden.secured (owner text, x int); ALTER TABLE hidden.secured ENABLE ROW LEVEL SECURITY;
             ALTER TABLE hidden.secured FORCE ROW LEVEL SECURITY; CREATE POLICY own ON hidden.secured USING (owner = current_user);
             INSERT INTO hidden.secured VALUES ('a', 1), ('b', 2); REVOKE ALL ON SCHEMA hidden FROM PUBLIC;
             CREATE SEQUENCE hidden.numbers; SELECT nextval('hidden.numbers');
             CREATE MATERIALIZED VIEW hidden.sums AS SELECT sum(x) FROM hidden.secured;
             SELECT lo_from_bytea(700001, 'large')",
        );
        let account = format!("lb_least_{}", std::process::id());
        server.psql("postgres", &grants(&account, &source));
        let place = Place::new();
        let (_, at) =
            server.url_text(&source).rsplit_once('@').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let url = format!("postgres://{account}:only%20for%20tests@{at}");
        let backup = ["backup", &url, "--quiet", "--format", "binary", "-j", "2"];
        // No role reads all large objects.
        let said = place.fails(1, &backup);
        assert!(said.contains("700001"), "{said}");
        server.psql(&source, &format!("GRANT SELECT ON LARGE OBJECT 700001 TO {account}"));
        let id = place.run(&backup);
        // What was granted goes with the backup only as far as it lies within the database: nothing does.
        let copy = server.create();
        restore(&place, &server, id.trim(), &copy, &[]);
        for database in [&source, &copy] {
            server.psql(database, &format!("REVOKE SELECT ON LARGE OBJECT 700001 FROM {account}"));
        }
        let same = server.dump(&copy) == server.dump(&source);
        server.psql(&source, &format!("DROP OWNED BY {account}; DROP ROLE {account}"));
        assert!(same, "on {}", server.major());
    }
}

#[test]
fn a_backup_comes_back_on_a_newer_server_and_an_older_one_is_told_what_it_does_not_know() {
    let mut servers = server::servers();
    servers.sort_by_key(Server::major);
    let [older, .., newer] = &servers[..] else {
        return server::missing("two servers are needed for a restore into another version");
    };
    assert!(older.major() < newer.major());
    let place = Place::new();
    for (from, to) in [(older, newer), (newer, older)] {
        let source = shop(from);
        let id = backup(&place, from, &source, &["--format", "binary"]);
        let copy = to.create();
        restore(&place, to, &id, &copy, &[]);
        assert_eq!(to.contents(&copy), from.contents(&source), "from {} to {}", from.major(), to.major());
    }
    if newer.major() >= 18 {
        let source = newer.create();
        newer.psql(&source, "CREATE TABLE t (a int, twice int GENERATED ALWAYS AS (a * 2) VIRTUAL); CREATE TABLE plain (a int)");
        let id = backup(&place, newer, &source, &["--format", "binary"]);
        let copy = new_name(older, &source, "older");
        let said = place.fails(1, &["restore", &id, "--target", &older.url_text(&copy), "--create-database"]);
        assert!(said.contains("public.t") && said.contains("virtual") && !said.contains("plain"), "{said}");
        assert_eq!(older.databases(&copy), [""; 0]);
        restore(&place, older, &id, &copy, &["--create-database", "--table", "plain"]);
    }
}
