//! A real server for tests, and its own programs, which judge.

#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(clippy::panic, reason = "a client that complains is a failure")]

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use backup_core::{DatabaseUrl, Secret};

/// What ends a statement: nothing that a test would write.
const DELIMITER: &str = "@@;lifeboat;@@";

/// A server, and the databases that a test makes there.
pub(crate) struct Server {
    url: DatabaseUrl,
    /// The URL as it was given, up to the database's name.
    base: String,
    is_mariadb: bool,
    client: String,
    dump: String,
    prefix: String,
    made: AtomicU32,
    others: Mutex<Vec<String>>,
}

static STARTED: AtomicU32 = AtomicU32::new(0);

impl Server {
    /// The server that a variable names. Without one, says loudly that nothing is tested, and fails if `LIFEBOAT_TEST_REQUIRE` names it.
    pub(crate) fn find(kind: &str) -> Option<Self> {
        let variable = format!("LIFEBOAT_TEST_{}_URL", kind.to_ascii_uppercase());
        let Ok(url) = std::env::var(&variable) else {
            let required = std::env::var("LIFEBOAT_TEST_REQUIRE").unwrap_or_default();
            assert!(
                !required.split(',').any(|name| name == kind),
                "{kind} is required, and {variable} names no server"
            );
            eprintln!("NOT TESTED: {kind}: {variable} names no server; `cargo xtask servers up` starts one");
            return None;
        };
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        // The programs of a server that is not of this machine's packages.
        let programs = std::env::var(format!("LIFEBOAT_TEST_{}_PROGRAMS", kind.to_ascii_uppercase()));
        let program = |name: &str| match &programs {
            Ok(programs) => format!("{programs}/{name}"),
            Err(_) => name.to_owned(),
        };
        let is_mariadb = kind != "mysql";
        let (client, dump) = if is_mariadb { ("mariadb", "mariadb-dump") } else { ("mysql", "mysqldump") };
        let (client, dump) = (program(client), program(dump));
        Some(Self {
            base: url.rsplit_once('/').unwrap().0.to_owned(),
            url: url.parse().unwrap(),
            is_mariadb,
            client,
            dump,
            prefix: format!("lb{}_{number}_", std::process::id()),
            made: AtomicU32::new(0),
            others: Mutex::default(),
        })
    }

    /// One that a test has started, by its scheme a MariaDB or a MySQL.
    pub(crate) fn at(url: &str) -> Self {
        let is_mariadb = url.starts_with("mariadb:");
        let programs = std::env::var("LIFEBOAT_TEST_MYSQL_PROGRAMS").unwrap_or_default();
        let (client, dump) = match is_mariadb {
            true => ("mariadb".to_owned(), "mariadb-dump".to_owned()),
            false => (format!("{programs}/mysql"), format!("{programs}/mysqldump")),
        };
        Self {
            base: url.rsplit_once('/').unwrap().0.to_owned(),
            url: url.parse().unwrap(),
            is_mariadb,
            client,
            dump,
            prefix: "lb_".to_owned(),
            made: AtomicU32::new(0),
            others: Mutex::default(),
        }
    }

    pub(crate) fn is_mariadb(&self) -> bool {
        self.is_mariadb
    }

    pub(crate) fn version(&self) -> (u32, u32) {
        let version = self.ask(None, "SELECT VERSION()");
        let mut numbers = version.split('.').map(|number| number.parse().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap())
    }

    /// The URL of a database, whether there is one or not.
    pub(crate) fn database(&self, name: &str) -> DatabaseUrl {
        self.others.lock().unwrap().push(name.to_owned());
        let mut url = self.url.clone();
        name.clone_into(&mut url.path);
        url
    }

    /// The URL of a database, as somebody would write it.
    pub(crate) fn url_text(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }

    /// A new database.
    pub(crate) fn empty(&self) -> DatabaseUrl {
        let name = format!("{}{}", self.prefix, self.made.fetch_add(1, Ordering::Relaxed));
        self.run(None, &[format!("CREATE DATABASE `{name}`")]);
        self.database(&name)
    }

    /// The databases of this test.
    pub(crate) fn databases(&self) -> Vec<String> {
        let all = self.ask(None, "SHOW DATABASES");
        all.lines().filter(|name| name.starts_with(&self.prefix)).map(str::to_owned).collect()
    }

    fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("--no-defaults").arg("--default-character-set=utf8mb4");
        let (host, port) = self.url.hosts.first().unwrap();
        command
            .arg(format!("--host={host}"))
            .arg(format!("--port={}", port.unwrap_or(3306)))
            .arg("--protocol=tcp");
        command.arg(format!("--user={}", self.url.user.as_deref().unwrap()));
        // Its own clients read it from here.
        command.env("MYSQL_PWD", self.url.password.as_ref().map_or("", Secret::expose));
        command.arg("--max-allowed-packet=1G");
        command
    }

    /// Gives a script to the client, and returns what it printed.
    pub(crate) fn feed(&self, database: Option<&str>, script: &[u8], arguments: &[&str]) -> Vec<u8> {
        self.try_feed(database, script, arguments).unwrap_or_else(|said| panic!("{}: {said}", self.client))
    }

    /// The same, or what it complained of.
    pub(crate) fn try_feed(
        &self,
        database: Option<&str>,
        script: &[u8],
        arguments: &[&str],
    ) -> Result<Vec<u8>, String> {
        let mut command = self.program(&self.client);
        command.args(arguments).args(database);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let script = script.to_vec();
        let writer = std::thread::spawn(move || {
            // The client may give up before it has read everything.
            let _ = stdin.write_all(&script);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(output.stdout) } else { Err(stderr) }
    }

    /// Runs statements one after the other in one session.
    pub(crate) fn run(&self, database: Option<&str>, statements: &[String]) {
        self.try_run(database, statements).unwrap_or_else(|said| panic!("{}: {said}", self.client));
    }

    /// The same until one fails: then what the server said.
    pub(crate) fn try_run(&self, database: Option<&str>, statements: &[String]) -> Result<(), String> {
        let mut script = format!("DELIMITER {DELIMITER}\n");
        for statement in statements {
            script += &format!("{statement}\n{DELIMITER}\n");
        }
        self.try_feed(database, script.as_bytes(), &["--binary-mode", "--comments"]).map(|_| ())
    }

    /// What a query prints, without names of columns.
    pub(crate) fn ask(&self, database: Option<&str>, query: &str) -> String {
        let script = format!("DELIMITER {DELIMITER}\n{query}\n{DELIMITER}\n");
        let arguments = ["--binary-mode", "--batch", "--skip-column-names"];
        String::from_utf8(self.feed(database, script.as_bytes(), &arguments)).unwrap()
    }

    /// Waits until nobody is in a database: what a client that is gone was told last, the server still does.
    pub(crate) fn wait_until_left(&self, database: &str) {
        let sessions = format!("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = '{database}'");
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.ask(None, &sessions) != "0\n" {
            assert!(Instant::now() < deadline, "the server has not noticed that its client is gone");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Everything in a database, by the server's own dump program, whatever the database is called; rows of a table in the order of their
    /// texts. What the program does not see is added: every bit of every float, the defaults of the database, and views that are invalid.
    pub(crate) fn dump(&self, name: &str) -> String {
        let dumped = self.dumped(name);
        let mut lines: Vec<&str> = dumped.lines().collect();
        let is_row = |line: &str| line.starts_with("INSERT INTO ");
        for rows in lines.chunk_by_mut(|a, b| is_row(a) && is_row(b)) {
            rows.sort_unstable();
        }
        let settings = self.ask(None, &format!("SHOW CREATE DATABASE `{name}`"));
        let dump = [settings, lines.join("\n"), self.views(name), self.floats(name)].join("\n");
        dump.replace(name, "DATABASE")
    }

    /// What the dump program prints. It complains of invalid views, and of histories by transactions, and goes on; of anything else it must not.
    fn dumped(&self, name: &str) -> String {
        let mut command = self.program(&self.dump);
        command.args([
            "--routines",
            "--events",
            "--triggers",
            "--skip-comments",
            "--skip-dump-date",
            "--hex-blob",
        ]);
        command.args([
            "--skip-extended-insert",
            "--force",
            "--single-transaction",
            "--skip-opt",
            "--create-options",
            "--quick",
        ]);
        if self.is_mariadb() {
            command.arg("--dump-history");
        } else {
            command.args(["--set-gtid-purged=OFF", "--column-statistics=0"]);
        }
        let output = command.arg(name).output().unwrap();
        let said = exact(&output.stderr);
        let (_, program) = self.dump.rsplit_once('/').unwrap_or(("", &self.dump));
        // A name may be of several lines.
        let complaints: Vec<_> = said.split_inclusive('\n').collect();
        let complaints = complaints.chunk_by(|_, line| !line.starts_with(program)).map(<[_]>::concat);
        for complaint in complaints {
            let is_of_a_view = complaint.contains("'SHOW FIELDS FROM `") && complaint.ends_with("(1356)\n");
            let has_no_history = complaint.contains("Cannot use --dump-history for table `")
                && complaint.ends_with(" with transaction-precise history\n");
            let is_of_itself = complaint.starts_with("WARNING: option --ssl-verify-server-cert is disabled");
            assert!(is_of_a_view || has_no_history || is_of_itself, "{said}");
        }
        assert!(output.status.success() || said.contains("(1356)"), "{:?}: {said}", output.status);
        exact(&output.stdout)
    }

    /// As the server prints them, and as it remembers those that it does not print.
    fn views(&self, name: &str) -> String {
        let arguments = ["--batch", "--raw", "--skip-column-names", "--binary-mode", "--force"];
        let ask = |statements: &[u8]| {
            let script = [format!("DELIMITER {DELIMITER}\n").as_bytes(), statements].concat();
            self.feed(Some(name), &script, &arguments)
        };
        let of = "FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME";
        let names = format!(
            "SELECT CONCAT('SHOW CREATE VIEW `', REPLACE(TABLE_NAME, '`', '``'), '`\n{DELIMITER}') {of}\n{DELIMITER}\n"
        );
        let remembered = format!(
            "SELECT TABLE_NAME, VIEW_DEFINITION, CHECK_OPTION, DEFINER, SECURITY_TYPE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION {of}\n{DELIMITER}\n"
        );
        exact(&[ask(&ask(names.as_bytes())), ask(remembered.as_bytes())].concat())
    }

    fn floats(&self, name: &str) -> String {
        let schema = name.replace('\\', "\\\\").replace('\'', "''");
        let columns = format!(
            "SELECT CONCAT('SELECT ', GROUP_CONCAT('`', REPLACE(COLUMN_NAME, '`', '``'), '`*1e0' ORDER BY ORDINAL_POSITION), \
             ' FROM `', REPLACE(TABLE_NAME, '`', '``'), '` ORDER BY 1') FROM information_schema.COLUMNS JOIN \
             information_schema.TABLES USING (TABLE_SCHEMA, TABLE_NAME) WHERE TABLE_SCHEMA = '{schema}' AND TABLE_TYPE <> 'VIEW' \
             AND DATA_TYPE IN ('float', 'double') GROUP BY TABLE_NAME ORDER BY TABLE_NAME"
        );
        let queries = self.ask(None, &columns);
        let queries = queries.lines().map(|query| format!("{query}:\n{}", self.ask(Some(name), query)));
        queries.collect()
    }
}

/// Bytes as a text that no other bytes have.
fn exact(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text += chunk.valid();
        text.extend(chunk.invalid().iter().map(|byte| format!("\u{fffd}{byte:02x}")));
    }
    text
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let others = std::mem::take(&mut *self.others.lock().unwrap());
        let drops: Vec<_> = others.iter().map(|name| format!("DROP DATABASE IF EXISTS `{name}`")).collect();
        self.run(None, &drops);
    }
}

/// An account of a test alone.
pub(crate) struct Account<'s> {
    server: &'s Server,
    pub(crate) name: String,
}

impl<'s> Account<'s> {
    pub(crate) fn new(server: &'s Server, what: &str, grants: &[String]) -> Self {
        let name = format!("lb_{what}_{}", std::process::id());
        let made = [format!("CREATE USER '{name}'@'%' IDENTIFIED BY 'secret'")];
        let grants = grants.iter().map(|grant| format!("GRANT {grant} TO '{name}'@'%'"));
        server.run(None, &made.into_iter().chain(grants).collect::<Vec<_>>());
        Self { server, name }
    }

    pub(crate) fn url(&self, database: &DatabaseUrl) -> DatabaseUrl {
        let mut url = database.clone();
        (url.user, url.password) = (Some(self.name.clone()), Some(Secret::new("secret")));
        url
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.server.run(None, &[format!("DROP USER '{}'@'%'", self.name)]);
        }
    }
}
