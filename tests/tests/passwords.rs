//! A password of a real server, given in each of the ways there are: it is told to the server, in the way that hides it, and to nobody else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use end_to_end::{Place, missing, output};
use lifeboat::DatabaseUrl;

const CANARY: &str = "canary-9Zp4wQ7s";
/// How long it is looked at.
const SLOWLY: [&str; 2] = ["--limit", "150KiB/s"];

fn has_canary(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
}

/// A server with an account whose password is the canary, and a database of its.
struct Server {
    admin: DatabaseUrl,
    name: String,
    is_postgres: bool,
}

/// How the password is given: words of the command line, variables, and files to be made first.
struct Way {
    name: &'static str,
    /// The database: a URL without a password, or the name of a source in the configuration.
    database: String,
    variables: Vec<(&'static str, String)>,
    files: Vec<(&'static str, String)>,
}

impl Server {
    fn find(kind: &str) -> Option<Self> {
        let variable = format!("LIFEBOAT_TEST_{}_URL", kind.to_ascii_uppercase());
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
        let started = fs::read_to_string(root.join("target/servers/postgres.urls")).ok();
        let named = std::env::var(&variable).ok().or(started.filter(|_| kind == "postgres"));
        let Some(url) = named.as_deref().and_then(|urls| urls.split_whitespace().next()) else {
            missing(
                kind,
                &format!("is not there: {variable} names none; `cargo xtask servers up` starts one"),
            );
            return None;
        };
        let is_postgres = kind == "postgres";
        let server =
            Self { admin: url.parse().unwrap(), name: format!("canary_{}", std::process::id()), is_postgres };
        server.ask(&server.drop_all());
        let name = &server.name;
        if is_postgres {
            server.ask(&[format!("CREATE ROLE {name} LOGIN PASSWORD '{CANARY}'")]);
            server.ask(&[format!("ALTER ROLE {name} SET log_statement = 'all'")]);
            server.ask(&[format!("CREATE DATABASE {name} OWNER {name}")]);
            server.ask(&[format!("ALTER ROLE {name} CREATEDB")]);
        } else {
            server.ask(&[
                format!("CREATE USER '{name}'@'%' IDENTIFIED BY '{CANARY}'"),
                format!("GRANT ALL ON *.* TO '{name}'@'%'"),
                format!("CREATE DATABASE {name}"),
            ]);
        }
        Some(server)
    }

    fn drop_all(&self) -> Vec<String> {
        let name = &self.name;
        let databases = [name.clone(), format!("{name}_copy")];
        let mut all: Vec<_> =
            databases.iter().map(|database| format!("DROP DATABASE IF EXISTS {database}")).collect();
        all.push(if self.is_postgres {
            format!("DROP ROLE IF EXISTS {name}")
        } else {
            format!("DROP USER IF EXISTS '{name}'@'%'")
        });
        all
    }

    fn address(&self) -> (String, u16) {
        let (host, port) = self.admin.hosts.first().unwrap();
        (host.clone(), port.unwrap_or(if self.is_postgres { 5432 } else { 3306 }))
    }

    /// Asks the server, as its administrator.
    fn ask(&self, statements: &[String]) -> String {
        self.ask_in(if self.is_postgres { "postgres" } else { "mysql" }, statements)
    }

    fn ask_in(&self, database: &str, statements: &[String]) -> String {
        let (host, port) = self.address();
        let (user, password) =
            (self.admin.user.clone().unwrap(), self.admin.password.as_ref().unwrap().expose().to_owned());
        let mut answers = String::new();
        for statement in statements {
            let mut client = if self.is_postgres {
                let mut psql = Command::new("psql");
                psql.env("PGPASSWORD", &password).args(["-h", &host, "-p", &port.to_string(), "-U", &user]);
                psql.args(["-d", database, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement]);
                psql
            } else {
                let mut mariadb = Command::new("mariadb");
                mariadb.arg("--no-defaults").env("MYSQL_PWD", &password);
                mariadb.args(["-h", &host, "-P", &port.to_string(), "-u", &user, "--protocol=tcp"]);
                mariadb.args(["-N", "-B", "-e", statement, database]);
                mariadb
            };
            answers += &String::from_utf8(output(&mut client)).unwrap();
        }
        answers
    }

    /// Rows that take a while at the rate of this test, and a view.
    fn fill(&self) {
        let (bytes, series) = if self.is_postgres {
            ("decode(md5(n::text) || md5((n + 1)::text), 'hex')", "generate_series(1, 6000) AS s(n)")
        } else {
            ("UNHEX(SHA2(CONCAT(n), 256))", "(SELECT seq AS n FROM seq_1_to_6000) AS s")
        };
        let (blob, name) = (if self.is_postgres { "bytea" } else { "blob" }, &self.name);
        let mut statements = vec![
            format!("CREATE TABLE noise (id int PRIMARY KEY, bytes {blob})"),
            format!("INSERT INTO noise SELECT n, {bytes} FROM {series}"),
            "CREATE VIEW few AS SELECT id FROM noise WHERE id < 10".to_owned(),
        ];
        if self.is_postgres {
            statements.push(format!("ALTER TABLE noise OWNER TO {name}; ALTER VIEW few OWNER TO {name}"));
        }
        self.ask_in(name, &statements);
    }

    fn ways(&self, place: &Place) -> Vec<Way> {
        let (host, port) = self.address();
        let scheme = if self.is_postgres { "postgres" } else { "mariadb" };
        let (name, path) = (&self.name, |file: &str| place.path(file).display().to_string());
        let url = |database: &str| format!("{scheme}://{name}@{host}:{port}/{database}");
        let full = |database: &str| format!("{scheme}://{name}:{CANARY}@{host}:{port}/{database}");
        let source = Way {
            name: "a URL in the configuration",
            database: "it".to_owned(),
            variables: Vec::new(),
            files: vec![(
                "lifeboat.toml",
                format!(
                    "[source.it]\nurl = \"{}\"\n[source.copy]\nurl = \"{}\"\n",
                    full(name),
                    full(&format!("{name}_copy"))
                ),
            )],
        };
        let kept_apart = Way {
            name: "password-file, and the variable of a source",
            database: "it".to_owned(),
            variables: vec![("LIFEBOAT_SOURCE_COPY_PASSWORD", CANARY.to_owned())],
            files: vec![
                ("secret", format!("{CANARY}\n")),
                (
                    "lifeboat.toml",
                    format!(
                        "[source.it]\nurl = \"{}\"\npassword-file = \"secret\"\n[source.copy]\nurl = \"{}\"\n",
                        url(name),
                        url(&format!("{name}_copy"))
                    ),
                ),
            ],
        };
        let way = |name, variables, files| Way { name, database: url(&self.name), variables, files };
        let in_a_file = way(
            "LIFEBOAT_PASSWORD_FILE",
            vec![("LIFEBOAT_PASSWORD_FILE", path("secret"))],
            vec![("secret", format!("{CANARY}\n"))],
        );
        if self.is_postgres {
            let line = format!("{host}:{port}:*:{name}:{CANARY}\n");
            vec![
                source,
                kept_apart,
                in_a_file,
                way("PGPASSWORD", vec![("PGPASSWORD", CANARY.to_owned())], Vec::new()),
                way("PGPASSFILE", vec![("PGPASSFILE", path("passwords"))], vec![("passwords", line.clone())]),
                way("~/.pgpass", vec![("HOME", path("."))], vec![(".pgpass", line)]),
            ]
        } else {
            let file = format!("[client]\nuser = {name}\npassword = \"{CANARY}\"\n");
            vec![
                source,
                kept_apart,
                in_a_file,
                way("MYSQL_PWD", vec![("MYSQL_PWD", CANARY.to_owned())], Vec::new()),
                way("~/.my.cnf", vec![("HOME", path("."))], vec![(".my.cnf", file)]),
            ]
        }
    }

    /// Starts the log of all that anybody asks; what it has so far does not count.
    fn start_log(&self) -> Log {
        if !self.is_postgres {
            self.ask(&["SET GLOBAL log_output = 'TABLE'", "SET GLOBAL general_log = 1"].map(str::to_owned));
            return Log::Table;
        }
        let data = PathBuf::from(self.ask(&["SHOW data_directory".to_owned()]).trim());
        let file = data.parent().unwrap().join("log");
        match fs::metadata(&file) {
            Ok(metadata) => Log::File(file, metadata.len()),
            Err(_) => Log::Nowhere,
        }
    }

    /// What was asked since.
    fn logged(&self, log: &Log) -> Option<String> {
        match log {
            Log::Table => {
                let ask = format!(
                    "SELECT argument FROM general_log WHERE user_host LIKE CONCAT('%', '{}', '%')",
                    self.name
                );
                Some(self.ask(&[ask]))
            }
            Log::File(file, start) => {
                let mut file = fs::File::open(file).unwrap();
                file.seek(SeekFrom::Start(*start)).unwrap();
                let mut text = Vec::new();
                file.read_to_end(&mut text).unwrap();
                Some(String::from_utf8_lossy(&text).into_owned())
            }
            Log::Nowhere => None,
        }
    }
}

enum Log {
    Table,
    File(PathBuf, u64),
    Nowhere,
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.is_postgres {
            let off =
                ["SET GLOBAL general_log = 0", "SET GLOBAL log_output = 'FILE'", "TRUNCATE general_log"];
            self.ask(&off.map(str::to_owned));
        }
        self.ask(&self.drop_all());
    }
}

/// What everybody on the machine could see of a process, while it runs: every file under its directory in /proc that is text, and where its links
/// lead. Returns how much that was, and which programs it started.
fn watch(child: &mut Child, its_environment: bool) -> (usize, BTreeSet<String>) {
    let directory = PathBuf::from(format!("/proc/{}", child.id()));
    let (mut seen, mut others) = (0, BTreeSet::new());
    while child.try_wait().unwrap().is_none() {
        for name in ["cmdline", "comm", "maps", "status", "stat", "limits", "mountinfo", "io", "environ"] {
            let Ok(bytes) = fs::read(directory.join(name)) else { continue };
            // What a caller puts into the environment is there, for that account alone.
            if name == "environ" && its_environment {
                let mode = fs::metadata(directory.join(name)).map(|metadata| metadata.permissions().mode());
                assert!(mode.is_ok_and(|mode| mode & 0o077 == 0), "others may read its environment");
                continue;
            }
            assert!(!has_canary(&bytes), "/proc/PID/{name}: {}", String::from_utf8_lossy(&bytes));
            if name == "limits" {
                let limits = String::from_utf8_lossy(&bytes).into_owned();
                let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
                let words: Vec<_> = core.split_whitespace().collect();
                // Until it has begun, it has what it was started with.
                if seen > 100 {
                    assert_eq!(&words[4..6], ["0", "0"], "a core dump would hold it: {core}");
                }
            }
            seen += 1;
        }
        for folder in ["fd", "task"] {
            for entry in fs::read_dir(directory.join(folder)).into_iter().flatten().flatten() {
                let leads = fs::read_link(entry.path()).unwrap_or_default();
                let comm = fs::read(entry.path().join("comm")).unwrap_or_default();
                assert!(!has_canary(leads.as_os_str().as_encoded_bytes()) && !has_canary(&comm));
                let children = fs::read_to_string(entry.path().join("children")).unwrap_or_default();
                others.extend(children.split_whitespace().map(str::to_owned));
                seen += 1;
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    (seen, others)
}

fn hides_its_password(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    server.fill();
    let log = server.start_log();
    let (mut ways, mut seen, mut outputs) = (0, 0, 0);
    let place = Place::new();
    for way in server.ways(&place) {
        let copy = match way.database.as_str() {
            "it" => "copy".to_owned(),
            url => format!("{url}_copy"),
        };
        for (name, text) in &way.files {
            fs::write(place.path(name), text).unwrap();
            fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let lifeboat = |words: &[&str]| {
            let mut command = place.command(words);
            for name in ["PGPASSWORD", "PGPASSFILE", "MYSQL_PWD"] {
                command.env_remove(name);
            }
            // Nobody's own files.
            command.env("HOME", place.path("nobody")).envs(way.variables.iter().cloned());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command
        };
        let variable = way.variables.iter().any(|(_, value)| value == CANARY);
        // Nothing is hidden by compression.
        let backup = ["backup", &way.database, "--format", "binary", "--codec", "none", "-v"];
        let script = ["backup", &way.database, "--format", "sql", "--codec", "none", "-v", "--json"];
        let restore = ["restore", "latest", "--target", &copy, "--create-database", "-v"];
        for (words, slowly) in [(&backup[..], true), (&script, true), (&restore, false)] {
            let words = if slowly { [words, &SLOWLY].concat() } else { words.to_vec() };
            let mut child = lifeboat(&words).spawn().unwrap();
            let (mut said, mut told) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
            let said = std::thread::spawn(move || {
                let mut text = Vec::new();
                told.read_to_end(&mut text).unwrap();
                said.read_to_end(&mut text).unwrap();
                text
            });
            let (looks, others) = watch(&mut child, variable);
            let said = said.join().unwrap();
            let text = String::from_utf8_lossy(&said);
            assert!(child.wait().unwrap().success(), "{kind}, {}: {words:?}: {text}", way.name);
            assert!(!has_canary(&said), "{kind}, {}: {text}", way.name);
            assert!(others.is_empty(), "{kind}, {}: it started {others:?}", way.name);
            (seen, outputs) = (seen + looks, outputs + 1);
        }
        // Whatever can be read of it, and whatever goes wrong.
        let dead = way.database.replace(&format!(":{}/", server.address().1), ":1/");
        let absent = way.database.replace(&format!("/{}", server.name), "/there_is_none");
        for words in [
            &["show", "latest", "--json", "-v"][..],
            &["list", "--json", "-v"],
            &["check", "--read-data", "-v"],
            &["verify", "--all", "-v"],
            &["backup", &dead, "-v"],
            &["backup", &absent, "-v", "--json"],
            &["backup", &way.database, "--include", "no.such.table", "-v"],
            &["restore", "latest", "--target", &copy, "-v"],
        ] {
            let output = lifeboat(words).output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            assert!(!said.is_empty() || output.status.success(), "{words:?}");
            assert!(!has_canary(&said), "{kind}, {}: {}", way.name, String::from_utf8_lossy(&said));
            outputs += 1;
        }
        for (name, _) in &way.files {
            fs::remove_file(place.path(name)).unwrap();
        }
        // Another password, which is wrong: neither of them is said.
        let wrong = way.variables.iter().filter(|(_, value)| value == CANARY);
        let wrong = wrong.map(|(name, _)| (*name, format!("wrong-{CANARY}")));
        let output = lifeboat(&["backup", &way.database, "-v"]).envs(wrong).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(!output.status.success() && !has_canary(&said), "{}", String::from_utf8_lossy(&said));
        let name = &server.name;
        server.ask(&[format!("DROP DATABASE IF EXISTS {name}_copy")]);
        ways += 1;
    }
    let files = place.files("");
    for (path, contents) in &files {
        assert!(!has_canary(contents), "{kind}: {}", path.display());
    }
    match server.logged(&log) {
        Some(text) => {
            assert!(text.contains("noise"), "{kind}: nothing of this was logged: {text}");
            assert!(!has_canary(text.as_bytes()), "{kind}: the server's log has it: {text}");
        }
        None => missing(kind, "has no log that can be read here: it was not looked into"),
    }
    println!(
        "{kind}: {ways} ways; {seen} looks into /proc, {outputs} outputs, {} files and the server's log of all statements without the canary",
        files.len()
    );
    assert!(ways >= 3 && seen > 500);
}

#[test]
fn postgresql_alone_is_told_its_password() {
    hides_its_password("postgres");
}

#[test]
fn mariadb_alone_is_told_its_password() {
    hides_its_password("mariadb");
}
