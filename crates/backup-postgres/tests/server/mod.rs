//! A real server, and how it judges: by its own pg_dump and psql, which nothing but tests may start.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use backup_core::DatabaseUrl;

/// Databases of one test, on one server. They go away with it.
pub(crate) struct Server {
    /// The URL up to the database's name.
    base: String,
    bin: PathBuf,
    made: Mutex<Vec<String>>,
    /// Quoted.
    roles: Mutex<Vec<String>>,
}

static MADE: AtomicU32 = AtomicU32::new(0);

/// Says loudly that nothing was tested, and fails if `LIFEBOAT_TEST_REQUIRE` names PostgreSQL.
pub(crate) fn missing(what: &str) {
    not_tested("postgres", what);
}

fn not_tested(name: &str, what: &str) {
    let required = std::env::var("LIFEBOAT_TEST_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|required| required == name), "{name} is required, and {what}");
    eprintln!("NOT TESTED: {name}: {what}");
}

fn root() -> PathBuf {
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    above.find(|directory| directory.join("Cargo.lock").exists()).unwrap().to_owned()
}

/// The URLs of servers that are there: of the environment, or of `cargo xtask servers up`.
fn urls(variable: &str, file: &str) -> Vec<String> {
    let named = std::env::var(variable).ok();
    let started = || std::fs::read_to_string(root().join("target/servers").join(file)).ok();
    let urls = named.or_else(started).unwrap_or_default();
    urls.split_whitespace().map(str::to_owned).collect()
}

/// The URLs of those that all tests look at.
fn usual() -> Vec<String> {
    let urls = urls("LIFEBOAT_TEST_POSTGRES_URL", "postgres.urls");
    if urls.is_empty() {
        missing("no server is there; `cargo xtask servers up` starts some");
    }
    urls
}

/// All servers.
pub(crate) fn servers() -> Vec<Server> {
    usual().iter().map(|url| Server::new(url)).collect()
}

/// Servers of versions that only a few tests look at.
pub(crate) fn others() -> Vec<Server> {
    let urls = urls("LIFEBOAT_TEST_POSTGRES_OTHERS_URL", "postgres-others.urls");
    if urls.is_empty() {
        not_tested(
            "postgres-others",
            "no other version is there; `cargo xtask servers up` gets some of npm's registry",
        );
    }
    urls.iter().map(|url| Server::new(url)).collect()
}

/// The first server.
pub(crate) fn server() -> Option<Server> {
    usual().first().map(|url| Server::new(url))
}

impl Server {
    pub(crate) fn new(url: &str) -> Self {
        let base = url.rsplit_once('/').unwrap().0.to_owned();
        let mut server = Self { base, bin: PathBuf::new(), made: Mutex::default(), roles: Mutex::default() };
        let version = server.ask("postgres", "SHOW server_version_num");
        let major = version.trim().parse::<u32>().unwrap() / 10_000;
        let own = ["", "others/"].map(|of| root().join(format!("target/servers/{of}postgresql-{major}/bin")));
        if let Some(own) = own.into_iter().find(|own| own.join("pg_dump").exists()) {
            server.bin = own;
        }
        server
    }

    pub(crate) fn major(&self) -> u32 {
        self.ask("postgres", "SHOW server_version_num").trim().parse::<u32>().unwrap() / 10_000
    }

    fn program(&self, name: &str, database: &str) -> Command {
        // The oldest psql knows what all servers say.
        let mut command = Command::new(self.bin.join(name));
        command.arg("--dbname").arg(format!("{}/{}", self.base, encoded(database))).arg("--no-password");
        command.env("PGTZ", "UTC");
        command
    }

    /// Where the headers are that modules of this server are built with.
    pub(crate) fn headers(&self) -> Option<PathBuf> {
        let headers = self.bin.canonicalize().ok()?.parent()?.join("include/server");
        headers.join("postgres.h").exists().then_some(headers)
    }

    /// Gives a script to psql.
    pub(crate) fn psql(&self, database: &str, script: &str) -> String {
        let mut command = self.program("psql", database);
        command.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--tuples-only", "--no-align"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let script = script.to_owned();
        let writer = std::thread::spawn(move || {
            // A psql that stops at an error reads no further.
            let _ = input.write_all(script.as_bytes());
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.status.success(), "psql {database}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Loads a script file by psql.
    pub(crate) fn load(&self, database: &str, file: &Path) {
        let mut command = self.program("psql", database);
        let output = command
            .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file"])
            .arg(file)
            .output()
            .unwrap();
        assert!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn ask(&self, database: &str, sql: &str) -> String {
        self.psql(database, sql)
    }

    /// A new empty database.
    pub(crate) fn create(&self) -> String {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("lb_{}_{number}_x", std::process::id());
        self.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
        self.made.lock().unwrap().push(name.clone());
        name
    }

    /// A database of that name may be made.
    pub(crate) fn expect(&self, name: &str) {
        self.made.lock().unwrap().push(name.to_owned());
    }

    /// A role of that name, which is quoted, is made.
    pub(crate) fn expect_role(&self, quoted: &str) {
        self.roles.lock().unwrap().push(quoted.to_owned());
    }

    pub(crate) fn url(&self, database: &str) -> DatabaseUrl {
        format!("{}/{}", self.base, encoded(database)).parse().unwrap()
    }

    pub(crate) fn url_text(&self, database: &str) -> String {
        format!("{}/{}", self.base, encoded(database))
    }

    /// The databases whose names begin like that.
    pub(crate) fn databases(&self, prefix: &str) -> Vec<String> {
        let sql =
            format!("SELECT datname FROM pg_database WHERE starts_with(datname, '{prefix}') ORDER BY 1");
        self.ask("postgres", &sql).lines().map(str::to_owned).collect()
    }

    /// What pg_dump says of the objects, without what is different every time.
    pub(crate) fn schema(&self, database: &str) -> String {
        let output = self.program("pg_dump", database).arg("--schema-only").output().unwrap();
        assert!(output.status.success(), "pg_dump: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let says = |line: &&str| {
            !line.is_empty()
                && !line.starts_with("--")
                && !line.starts_with("\\restrict")
                && !line.starts_with("\\unrestrict")
        };
        text.lines().filter(says).fold(String::new(), |text, line| text + line + "\n")
    }

    /// Whether pg_dump gets anywhere.
    pub(crate) fn can_dump(&self, database: &str) -> bool {
        self.program("pg_dump", database).arg("--schema-only").output().unwrap().status.success()
    }

    /// What pg_dumpall says of all roles.
    pub(crate) fn dump_roles(&self) -> String {
        let mut command = self.program("pg_dumpall", "postgres");
        let output = command.arg("--roles-only").output().unwrap();
        assert!(output.status.success(), "pg_dumpall: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The rows of each table, by column name, the states of sequences, and large objects: as digests.
    pub(crate) fn contents(&self, database: &str) -> String {
        const TABLES: &str = r#"
SELECT format('SELECT %L, count(*), sum((''x'' || substr(m, 1, 16))::bit(64)::bigint::numeric), sum((''x'' || substr(m, 17))::bit(64)::bigint::numeric) FROM (SELECT md5(ROW(%s)::text) AS m FROM %s %I.%I) s;',
  n.nspname || '.' || c.relname,
  (SELECT string_agg(format('%I', attname), ',' ORDER BY attname) FROM pg_attribute a WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
  CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY' END, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'p') AND c.relispopulated AND NOT c.relispartition AND c.relname <> 'far_root' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
UNION ALL SELECT format('SELECT %L, last_value, is_called FROM %I.%I;', n.nspname || '.' || c.relname, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND n.nspname !~ '^pg_'
UNION ALL SELECT format('SELECT %L, md5(lo_get(%s));', concat_ws(' ', 'large object', oid, pg_get_userbyid(lomowner), obj_description(oid, 'pg_largeobject'),
  (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(coalesce(lomacl, acldefault('L', lomowner))) AS a)), oid) FROM pg_largeobject_metadata
UNION ALL SELECT format('SELECT %L;', 'database ' || coalesce(r.rolname, '') || ' ' || setconfig::text)
FROM pg_db_role_setting LEFT JOIN pg_roles r ON r.oid = setrole JOIN pg_database d ON d.oid = setdatabase AND datname = current_database()
UNION ALL SELECT format('SELECT %L;', 'database ' || shobj_description(oid, 'pg_database')) FROM pg_database WHERE datname = current_database()
ORDER BY 1
"#;
        let settings = "SET timezone = 'UTC'; SET row_security = off; SET extra_float_digits = 3;\n";
        let mut script = self.ask(database, &format!("{settings}{TABLES}"));
        script.insert_str(0, settings);
        self.psql(database, &script)
    }

    /// Everything.
    pub(crate) fn dump(&self, database: &str) -> String {
        let mut dump = self.schema(database);
        write!(dump, "{}", self.contents(database)).unwrap();
        dump
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let made = std::mem::take(&mut *self.made.lock().unwrap());
        let roles = std::mem::take(&mut *self.roles.lock().unwrap());
        // Version 12 has no force.
        let drops = made.iter().map(|name| {
            format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE);\nDROP DATABASE IF EXISTS \"{name}\";\n")
        });
        let drops = drops.chain(roles.iter().map(|role| format!("DROP ROLE IF EXISTS {role};\n")));
        let mut psql = self.program("psql", "postgres");
        // One after the other, since each is a transaction of its own.
        psql.args(["--no-psqlrc", "--quiet"]).stdin(Stdio::piped()).stderr(Stdio::null());
        if let Ok(mut child) = psql.spawn() {
            let _ = child.stdin.take().map(|mut input| input.write_all(drops.collect::<String>().as_bytes()));
            let _ = child.wait();
        }
    }
}

fn encoded(name: &str) -> String {
    name.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"_-.".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// The sample databases that lie beside the workspace.
pub(crate) fn corpus(path: &str) -> Option<PathBuf> {
    let beside = root()
        .ancestors()
        .skip(1)
        .map(|above| above.join("shared/corpora").join(path))
        .find(|file| file.exists());
    if beside.is_none() {
        missing(&format!("../shared/corpora/{path} is not there"));
    }
    beside
}
