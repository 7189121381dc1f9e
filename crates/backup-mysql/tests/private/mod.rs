//! A server of a test's own: MariaDB, or MySQL.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use backup_core::DatabaseUrl;

/// It goes away with this.
pub(crate) struct Private {
    directory: tempfile::TempDir,
    port: u16,
    running: Option<Child>,
    is_mariadb: bool,
}

/// Who is root here runs a server as somebody else.
fn account() -> Option<&'static str> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mysql = accounts.lines().any(|line| line.starts_with("mysql:"));
    is_root.then_some(if mysql { "mysql" } else { "nobody" })
}

impl Private {
    /// The server's program, if there is one. Without it, says loudly that nothing is tested, and fails if `LIFEBOAT_TEST_REQUIRE` names it.
    pub(crate) fn program() -> Option<PathBuf> {
        let found = ["/usr/sbin/mariadbd", "/usr/bin/mariadbd"].map(PathBuf::from);
        let found = found.into_iter().find(|program| program.exists());
        if found.is_none() {
            let required = std::env::var("LIFEBOAT_TEST_REQUIRE").unwrap_or_default();
            assert!(
                !required.split(',').any(|name| name == "mariadb"),
                "mariadb is required, and there is no mariadbd"
            );
            eprintln!("NOT TESTED: mariadb: there is no mariadbd; `cargo xtask servers up` installs one");
        }
        found
    }

    /// The program of the MySQL that the tests know, if they do.
    pub(crate) fn mysql() -> Option<PathBuf> {
        let found = std::env::var("LIFEBOAT_TEST_MYSQL_PROGRAMS")
            .ok()
            .map(|programs| Path::new(&programs).join("mysqld"));
        let found = found.filter(|program| program.exists());
        if found.is_none() {
            eprintln!(
                "NOT TESTED: mysql: LIFEBOAT_TEST_MYSQL_PROGRAMS has no mysqld; `cargo xtask servers up` unpacks one"
            );
        }
        found
    }

    /// Makes a MySQL that has these accounts and does not run yet.
    pub(crate) fn of_mysql(program: &Path, accounts: &str) -> Self {
        let server = Self::place(false, accounts, &[]);
        let mut install = server.command(program);
        install
            .arg("--initialize-insecure")
            .arg(format!("--log-error={}", server.path("install.log").display()));
        let status = install.stdin(Stdio::null()).status().unwrap();
        let said = || fs::read_to_string(server.path("install.log")).unwrap_or_default();
        assert!(status.success(), "{}", said());
        server
    }

    /// Makes one that has these accounts and files, and does not run yet.
    pub(crate) fn new(accounts: &str, files: &[(&str, &str)]) -> Self {
        let server = Self::place(true, accounts, files);
        let mut install = Command::new("mariadb-install-db");
        install.env("TMPDIR", server.path("temporary"));
        install.args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"]);
        install.arg(format!("--datadir={}", server.path("data").display()));
        install.args(account().map(|account| format!("--user={account}")));
        let output = install.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        server
    }

    fn place(is_mariadb: bool, accounts: &str, files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { directory, port, running: None, is_mariadb };
        fs::create_dir(server.path("data")).unwrap();
        // A server that starts clears up where others have their temporary tables.
        fs::create_dir(server.path("temporary")).unwrap();
        server.write("init.sql", accounts);
        for (name, text) in files {
            server.write(name, text);
        }
        server.own();
        server
    }

    /// The server's program, with what it needs to find its own files.
    fn command(&self, program: &Path) -> Command {
        let mut server = Command::new(program);
        server.env("TMPDIR", self.path("temporary"));
        server.arg("--no-defaults").arg(format!("--datadir={}", self.path("data").display()));
        server.args(account().map(|account| format!("--user={account}")));
        // Where `xtask` unpacks it.
        let usr = program.ancestors().nth(2).map(|place| place.join("root/usr"));
        if let (false, Some(usr)) = (self.is_mariadb, usr.filter(|usr| usr.exists())) {
            server.arg(format!("--basedir={}", usr.display()));
            for (option, path) in [
                ("lc-messages-dir", "share/mysql"),
                ("character-sets-dir", "share/mysql/charsets"),
                ("plugin-dir", "lib/mysql/plugin"),
            ] {
                server.arg(format!("--{option}={}", usr.join(path).display()));
            }
        }
        server
    }

    /// Starts it, or stops it and starts it again.
    pub(crate) fn start(&mut self, program: &Path, settings: &[&str]) {
        self.stop();
        self.own();
        let mut server = self.command(program);
        if !self.is_mariadb {
            server.args(["--mysqlx=OFF", "--secure-file-priv=NULL", "--skip-log-bin"]);
        }
        server.args(["--bind-address=127.0.0.1", "--socket=socket", "--skip-name-resolve"]);
        server.args(["--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0"]);
        server.arg(format!("--port={}", self.port));
        server.arg(format!("--init-file={}", self.path("init.sql").display()));
        let log = self.path("data/errors.log");
        server.arg(format!("--log-error={}", log.display()));
        server.args(settings.iter().map(|setting| self.text(setting)));
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = server.spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(120);
        let said = || fs::read_to_string(&log).unwrap_or_default();
        while !said().contains("ready for connections") {
            let is_late = Instant::now() > deadline || running.try_wait().unwrap().is_some();
            assert!(!is_late, "it does not start: {}", said());
            std::thread::sleep(Duration::from_millis(50));
        }
        self.running = Some(running);
    }

    /// Waits until it has ended by itself.
    pub(crate) fn ends(&mut self) {
        if let Some(running) = &mut self.running {
            let _ = running.wait();
        }
        self.stop();
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.kill();
            let _ = running.wait();
            let _ = fs::remove_file(self.path("data/errors.log"));
        }
    }

    fn own(&self) {
        if let Some(account) = account() {
            let mut own = Command::new("chown");
            own.arg("--recursive").arg(account).arg(self.directory.path());
            assert!(own.status().unwrap().success());
        }
    }

    /// A path beside its data.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// With its port in the place of `PORT`, and the place of its files in that of `FILES`.
    pub(crate) fn text(&self, text: &str) -> String {
        let files = self.directory.path().to_str().unwrap();
        text.replace("PORT", &self.port.to_string()).replace("FILES", files)
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// `mariadb://` and what is said.
    pub(crate) fn url(&self, text: &str) -> DatabaseUrl {
        format!("mariadb://{}", self.text(text)).parse().unwrap()
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        self.stop();
    }
}
