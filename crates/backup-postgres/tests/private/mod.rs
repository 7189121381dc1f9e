//! A server of a test's own: with TLS, with rules of its own about who gets in, and there to be restarted.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backup_core::DatabaseUrl;

pub(crate) mod certificates;

/// It goes away with this.
pub(crate) struct Private {
    directory: tempfile::TempDir,
    bin: PathBuf,
    pub(crate) port: u16,
}

/// Who is root here runs a server as somebody else.
fn account() -> Option<&'static str> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let postgres = accounts.lines().any(|line| line.starts_with("postgres:"));
    is_root.then_some(if postgres { "postgres" } else { "nobody" })
}

impl Private {
    /// The programs of all versions that there are.
    pub(crate) fn programs() -> Vec<PathBuf> {
        let servers = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|above| above.join("target/servers"))
            .find(|directory| directory.exists());
        let mut found: Vec<PathBuf> = servers
            .and_then(|servers| fs::read_dir(servers).ok())
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
            .filter(|bin| bin.join("initdb").exists())
            .collect();
        found.sort();
        if found.is_empty() {
            crate::server::missing(
                "no programs of a server are there; `cargo xtask servers up` installs some",
            );
        }
        found
    }

    /// Whether a server was built with TLS: the wheel's is not.
    pub(crate) fn knows_tls(bin: &Path) -> bool {
        let library = b"libssl";
        let server = fs::read(bin.join("postgres")).unwrap();
        let knows = server.windows(library.len()).any(|bytes| bytes == library);
        if !knows {
            eprintln!("NOT TESTED: {} was built without TLS", bin.display());
        }
        knows
    }

    /// Starts one. `files` are put beside its data; what `hba` and `settings` say goes before what they are by default.
    pub(crate) fn start(bin: &Path, hba: &str, settings: &str, files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { directory, bin: bin.to_owned(), port };
        fs::set_permissions(server.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        let data = server.path("data");
        fs::create_dir(&data).unwrap();
        server.own(&data);
        server.run(
            "initdb",
            &[
                "--pgdata",
                data.to_str().unwrap(),
                "--auth=trust",
                "--username=owner",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ],
        );
        for (name, text) in files {
            server.write(name, text);
        }
        server.write(
            "data/pg_hba.conf",
            &format!("local all all trust\n{hba}\nhost all all all scram-sha-256\n"),
        );
        let sockets = server.path("");
        server.write(
            "data/postgresql.auto.conf",
            &format!(
                "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nfsync = off\n{settings}\n",
                sockets.display()
            ),
        );
        server.control(&["start"]);
        server
    }

    /// Starts a server that follows this one, which lets itself be copied by who comes through the socket.
    pub(crate) fn standby(&self) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let standby = Self { directory, bin: self.bin.clone(), port };
        fs::set_permissions(standby.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        let (data, sockets) = (standby.path("data"), self.path(""));
        fs::create_dir(&data).unwrap();
        standby.own(&data);
        let port = self.port.to_string();
        let from = ["--host", sockets.to_str().unwrap(), "--port", &port, "--username=owner"];
        let how = ["--write-recovery-conf", "--checkpoint=fast", "--no-sync"];
        let to = ["--pgdata", data.to_str().unwrap()];
        standby.run("pg_basebackup", &[&from[..], &how, &to].concat());
        // What is said last holds.
        let mut settings = fs::read_to_string(standby.path("data/postgresql.auto.conf")).unwrap();
        settings +=
            &format!("port = {}\nunix_socket_directories = '{}'\n", standby.port, standby.path("").display());
        standby.write("data/postgresql.auto.conf", &settings);
        standby.control(&["start"]);
        standby
    }

    /// A path beside its data.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Gives a path beside its data to its account.
    pub(crate) fn own(&self, path: &Path) {
        if let Some(account) = account() {
            assert!(Command::new("chown").arg(account).arg(path).status().unwrap().success());
        }
        let mode = if path.is_dir() { 0o755 } else { 0o600 };
        if path != self.path("data") {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        } else {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
        }
        let top = self.directory.path();
        if let Some(account) = account() {
            assert!(Command::new("chown").arg(account).arg(top).status().unwrap().success());
        }
    }

    /// Writes a file that the server may read, and nobody else.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        self.own(&self.path(name));
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = match account() {
            None => Command::new(self.bin.join(program)),
            Some(account) => {
                let mut command = Command::new("runuser");
                command.args(["--user", account, "--"]).arg(self.bin.join(program));
                command
            }
        };
        let output = command.args(arguments).current_dir("/").stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// `pg_ctl`.
    pub(crate) fn control(&self, what: &[&str]) {
        let (data, log) = (self.path("data"), self.path("log"));
        let mut arguments = vec!["--pgdata", data.to_str().unwrap(), "--silent"];
        if what.first() != Some(&"reload") {
            arguments.push("--wait");
        }
        if what.first() != Some(&"stop") && what.first() != Some(&"reload") {
            // Whoever has our output would wait for the server's end.
            arguments.extend(["--log", log.to_str().unwrap()]);
        }
        self.run("pg_ctl", &[what, &arguments].concat());
    }

    /// What psql prints.
    pub(crate) fn ask(&self, database: &str, sql: &str) -> String {
        let output = Command::new(self.bin.join("psql"))
            .args([
                "--no-psqlrc",
                "--tuples-only",
                "--no-align",
                "--quiet",
                "--set=ON_ERROR_STOP=1",
                "--username=owner",
            ])
            .arg("--host")
            .arg(self.path(""))
            .arg(format!("--port={}", self.port))
            .args(["--dbname", database, "--command", sql])
            .output()
            .unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        format!("127.0.0.1:{}", self.port).parse().unwrap()
    }

    /// `postgres://` and what is said, with its port in the place of `PORT`.
    pub(crate) fn url(&self, text: &str) -> DatabaseUrl {
        format!("postgres://{}", text.replace("PORT", &self.port.to_string())).parse().unwrap()
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if self.path("data/postmaster.pid").exists() {
            self.control(&["stop", "--mode=immediate"]);
        }
    }
}
