//! MySQL and MariaDB: the MariaDB of this machine's Debian packages, of which only the programs are installed, not the service; and newer
//! ones out of the packages of other Debians. Without packages all of them come in containers.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::container::{self, Image};
use super::debian::{self, Packages};
use crate::Result;
use crate::program;

/// Private to this machine and to a server whose data are thrown away.
const USER: &str = "lifeboat";
const PASSWORD: &str = "only:for/tests@here";
const PASSWORD_IN_URL: &str = "only%3Afor%2Ftests%40here";

/// Durability is of no use to a test. Names are case-sensitive, and there is a log to have a place in.
const SETTINGS: [&str; 11] = [
    "--bind-address=127.0.0.1",
    "--socket=socket",
    "--log-bin",
    "--server-id=1",
    "--local-infile=1",
    "--max-allowed-packet=64M",
    "--max-connections=400",
    "--innodb-flush-log-at-trx-commit=0",
    "--sync-binlog=0",
    "--innodb-buffer-pool-size=256M",
    "--skip-name-resolve",
];

const OF_MARIADB: [&str; 1] = ["--expire-logs-days=1"];

const OF_MYSQL: [&str; 5] = [
    "--binlog-expire-logs-seconds=86400",
    "--gtid-mode=ON",
    "--enforce-gtid-consistency=ON",
    "--mysqlx=OFF",
    "--secure-file-priv=NULL",
];

/// A server that can be had.
struct Server {
    /// Its directory.
    name: &'static str,
    /// The environment variables by which tests find it, and its programs if they are not this machine's.
    url: &'static str,
    programs_in: &'static str,
    is_mariadb: bool,
    /// Where it comes from, if not from this machine's packages.
    packages: Option<Packages>,
    /// Where it comes from if there are no packages.
    image: Image,
}

const MARIADB_PROGRAMS: &[&str] =
    &["mariadbd", "mariadb-install-db", "mariadb", "mariadb-admin", "mariadb-dump", "mariadb-binlog"];

const SERVERS: [Server; 3] = [
    Server {
        name: "mariadb",
        url: "LIFEBOAT_TEST_MARIADB_URL",
        programs_in: "LIFEBOAT_TEST_MARIADB_PROGRAMS",
        is_mariadb: true,
        packages: None,
        image: Image { name: "mariadb:10.11", programs: MARIADB_PROGRAMS },
    },
    Server {
        name: "mariadb-11.8",
        url: "LIFEBOAT_TEST_MARIADB11_URL",
        programs_in: "LIFEBOAT_TEST_MARIADB11_PROGRAMS",
        is_mariadb: true,
        packages: Some(Packages {
            suite: "trixie",
            names: &["mariadb-server-core", "mariadb-client"],
            programs: &["sbin/mariadbd", "bin/mariadb", "bin/mariadb-admin", "bin/mariadb-dump"],
        }),
        image: Image { name: "mariadb:11.8", programs: MARIADB_PROGRAMS },
    },
    Server {
        name: "mysql",
        url: "LIFEBOAT_TEST_MYSQL_URL",
        programs_in: "LIFEBOAT_TEST_MYSQL_PROGRAMS",
        is_mariadb: false,
        packages: Some(Packages {
            suite: "sid",
            names: &["mysql-server-core", "mysql-client-core"],
            programs: &["sbin/mysqld", "bin/mysql", "bin/mysqladmin", "bin/mysqldump"],
        }),
        image: Image { name: "mysql:9.7", programs: &["mysqld", "mysql", "mysqladmin", "mysqldump"] },
    },
];

/// A server that runs, for who wants just that.
pub(crate) struct Running {
    pub(crate) is_mariadb: bool,
    port: String,
    programs: Option<PathBuf>,
}

impl Running {
    pub(super) fn start(directory: &Path, name: &str) -> Result<Self> {
        let server = SERVERS.iter().find(|server| server.name == name);
        let server = server.ok_or_else(|| format!("there is no server {name}"))?;
        let place = directory.join(name);
        server.start(&place)?;
        let port = fs::read_to_string(place.join("port"))?;
        let programs = server.programs(&place);
        Ok(Self { is_mariadb: server.is_mariadb, port, programs })
    }

    pub(crate) fn url(&self, database: &str) -> String {
        let scheme = if self.is_mariadb { "mariadb" } else { "mysql" };
        format!("{scheme}://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{}/{database}", self.port)
    }

    /// One of its own programs, by the word that says what it does: `dump`, or nothing for the client.
    pub(crate) fn program(&self, what: &str) -> Command {
        let name = match (self.is_mariadb, what) {
            (true, "") => "mariadb".to_owned(),
            (true, what) => format!("mariadb-{what}"),
            (false, what) => format!("mysql{what}"),
        };
        let program =
            self.programs.as_ref().map_or_else(|| PathBuf::from(&name), |programs| programs.join(&name));
        let mut command = Command::new(program);
        command.arg("--no-defaults");
        self.connect(&mut command);
        command
    }

    /// Tells a program where to connect and as whom, in the words that all of them know.
    pub(crate) fn connect(&self, command: &mut Command) {
        command.args(["--host=127.0.0.1", "--user", USER]).arg(format!("--port={}", self.port));
        command.env("MYSQL_PWD", PASSWORD);
    }
}

/// Starts every server that can be had and that nobody else has started, and returns the variables by which tests find them.
pub(super) fn start_all(directory: &Path) -> BTreeMap<&'static str, String> {
    let mut variables = BTreeMap::new();
    for server in SERVERS.iter().filter(|server| std::env::var_os(server.url).is_none()) {
        match server.start(&directory.join(server.name)) {
            Ok(url) => {
                variables.insert(server.url, url);
                if let Some(programs) = server.programs(&directory.join(server.name)) {
                    variables.insert(server.programs_in, programs.display().to_string());
                }
            }
            Err(error) => eprintln!("{} cannot be had: {error}", server.name),
        }
    }
    variables
}

/// Stops those that run.
pub(super) fn stop_all(directory: &Path) -> Result {
    for server in &SERVERS {
        let place = directory.join(server.name);
        if let Ok(port) = fs::read_to_string(place.join("port"))
            && server.answers(&place, &port)
        {
            program::run(&mut server.admin(&place, &port, "shutdown"))?;
        }
        container::remove(&place)?;
    }
    Ok(())
}

impl Server {
    /// Where its programs are, if they are not this machine's.
    fn programs(&self, place: &Path) -> Option<PathBuf> {
        let scripts = place.join(container::SCRIPTS);
        if scripts.exists() { Some(scripts) } else { self.packages.is_some().then(|| place.join("bin")) }
    }

    /// Its program of that name.
    fn program(&self, place: &Path, name: &str) -> PathBuf {
        self.programs(place).map_or_else(|| PathBuf::from(name), |programs| programs.join(name))
    }

    /// Where its other files are, if they are not where it looks for them.
    fn unpacked(&self, place: &Path) -> Option<PathBuf> {
        let is_unpacked = self.packages.is_some() && !place.join(container::SCRIPTS).exists();
        is_unpacked.then(|| place.join("root/usr"))
    }

    /// Gets its programs.
    fn get(&self, place: &Path) -> Result {
        let packages = || match &self.packages {
            Some(packages) => debian::unpack(place, packages),
            None if program::is_there("mariadbd") || Path::new("/usr/sbin/mariadbd").exists() => Ok(()),
            None => program::install_packages(&["mariadb-server-core", "mariadb-client"]),
        };
        container::or_else(place, &self.image, account(), packages).map(|_| ())
    }

    /// Starts it, unless it runs, and returns its URL.
    fn start(&self, place: &Path) -> Result<String> {
        self.get(place)?;
        let data = place.join("data");
        if !place.join("port").exists() {
            // What was not finished is begun anew.
            let _ = fs::remove_dir_all(&data);
            fs::create_dir_all(&data)?;
            fs::write(place.join("init.sql"), self.accounts())?;
            if let Some(account) = account() {
                program::run(Command::new("chown").arg(account).arg(&data))?;
            }
            self.install(place, &data)?;
            // A port of its own, which it keeps.
            let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            fs::write(place.join("port"), port.to_string())?;
        }
        let port = fs::read_to_string(place.join("port"))?;
        if !self.answers(place, &port) {
            self.run(place, &data, &port)?;
        }
        let scheme = if self.is_mariadb { "mariadb" } else { "mysql" };
        Ok(format!("{scheme}://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{port}/mysql"))
    }

    fn run(&self, place: &Path, data: &Path, port: &str) -> Result {
        // Values that are optional are taken only behind an equals sign.
        let errors = data.join("errors.log");
        let mut server = self.server(place, data);
        server.args(SETTINGS).args(if self.is_mariadb { &OF_MARIADB[..] } else { &OF_MYSQL[..] });
        server.args([format!("--port={port}"), format!("--init-file={}", place.join("init.sql").display())]);
        server.args([
            format!("--pid-file={}", data.join("pid").display()),
            format!("--log-error={}", errors.display()),
        ]);
        // It outlives this program.
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut running = server.spawn()?;
        let mut tries = 0;
        while !self.answers(place, port) {
            tries += 1;
            if tries > 600 || running.try_wait()?.is_some() {
                return Err(format!("it does not run; see {}", errors.display()).into());
            }
            sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Makes the system's own tables.
    fn install(&self, place: &Path, data: &Path) -> Result {
        let unpacked = self.unpacked(place);
        if self.is_mariadb && unpacked.is_none() {
            let mut install = Command::new(self.program(place, "mariadb-install-db"));
            install.args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"]);
            install.arg(format!("--datadir={}", data.display()));
            install.args(account().map(|account| format!("--user={account}")));
            return program::run(install.stdin(Stdio::null()).stdout(Stdio::null()));
        }
        let mut server = self.server(place, data);
        if let Some(usr) = unpacked.filter(|_| self.is_mariadb) {
            // What mariadb-install-db does, which would look for everything in its usual place.
            let mut script = b"CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n".to_vec();
            let texts = usr.join("share/mariadb");
            for part in ["system_tables", "performance_tables", "system_tables_data", "sys_schema"] {
                script.extend(fs::read(texts.join(format!("mariadb_{part}.sql")))?);
            }
            script.extend(fs::read(texts.join("maria_add_gis_sp_bootstrap.sql"))?);
            fs::write(place.join("bootstrap.sql"), script)?;
            server.arg("--bootstrap").stdin(fs::File::open(place.join("bootstrap.sql"))?);
        } else {
            server.arg("--initialize-insecure").stdin(Stdio::null());
        }
        program::run(server.arg(format!("--log-error={}", data.join("errors.log").display())))
    }

    /// The server's program, with what it needs to find its own files.
    fn server(&self, place: &Path, data: &Path) -> Command {
        let name = if self.is_mariadb { "mariadbd" } else { "mysqld" };
        let mut server = Command::new(match self.programs(place) {
            Some(programs) => programs.join(name),
            None => PathBuf::from("/usr/sbin").join(name),
        });
        server.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
        server.args(account().map(|account| format!("--user={account}")));
        if let Some(usr) = self.unpacked(place) {
            let name = if self.is_mariadb { "mariadb" } else { "mysql" };
            server.arg(format!("--basedir={}", usr.display()));
            for (option, path) in [
                ("lc-messages-dir", format!("share/{name}")),
                ("character-sets-dir", format!("share/{name}/charsets")),
                ("plugin-dir", format!("lib/{}/plugin", if self.is_mariadb { "mysql" } else { name })),
            ] {
                server.arg(format!("--{option}={}", usr.join(path).display()));
            }
        }
        server
    }

    fn answers(&self, place: &Path, port: &str) -> bool {
        let mut ping = self.admin(place, port, "ping");
        ping.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    fn admin(&self, place: &Path, port: &str, what: &str) -> Command {
        let name = if self.is_mariadb { "mariadb-admin" } else { "mysqladmin" };
        let mut admin = Command::new(self.program(place, name));
        admin.args(["--no-defaults", "--host=127.0.0.1", "--protocol=tcp", "--connect-timeout=5"]);
        admin.args(["--user", USER]).env("MYSQL_PWD", PASSWORD);
        admin.arg(format!("--port={port}")).arg(what);
        admin
    }

    /// Whom the server knows: the tests, and nobody else.
    fn accounts(&self) -> String {
        format!(
            "CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\n\
             GRANT ALL ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n\
             ALTER USER 'root'@'localhost' IDENTIFIED BY '{PASSWORD}';\n"
        )
    }
}

/// A server refuses to run as root: then it runs as the account of Debian's package, or the one that every system has.
fn account() -> Option<&'static str> {
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let account = if accounts.lines().any(|line| line.starts_with("mysql:")) { "mysql" } else { "nobody" };
    rustix::process::getuid().is_root().then_some(account)
}
