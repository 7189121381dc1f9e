//! MariaDB: the one of Debian's packages. Of these only the programs are installed, not the service.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::Result;
use crate::program;

/// The URL of a server that is there.
pub(crate) const VARIABLE: &str = "LIFEBOAT_TEST_MARIADB_URL";

/// Private to this machine and to a server whose data are thrown away.
const USER: &str = "lifeboat";
const PASSWORD: &str = "only:for/tests@here";
const PASSWORD_IN_URL: &str = "only%3Afor%2Ftests%40here";

/// Durability is of no use to a test. Names are case-sensitive, and there is a log to have a place in.
const SETTINGS: [&str; 12] = [
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
    "--expire-logs-days=1",
    "--skip-name-resolve",
];

/// Starts the server, unless it runs, and returns its URL.
pub(super) fn start(directory: &Path) -> Result<String> {
    if !program::is_there("mariadbd") && !Path::new("/usr/sbin/mariadbd").exists() {
        program::install_packages(&["mariadb-server-core", "mariadb-client"])?;
    }
    let place = directory.join("mariadb");
    let data = place.join("data");
    if !place.join("port").exists() {
        // What was not finished is begun anew.
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&data)?;
        fs::write(place.join("init.sql"), accounts())?;
        if rustix::process::getuid().is_root() {
            program::run(Command::new("chown").arg("--recursive").arg(account()).arg(&place))?;
        }
        let mut install = Command::new("mariadb-install-db");
        install.args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"]);
        install.arg(format!("--datadir={}", data.display())).args(user());
        program::run(install.stdin(Stdio::null()).stdout(Stdio::null()))?;
        // A port of its own, which it keeps.
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        fs::write(place.join("port"), port.to_string())?;
    }
    let port = fs::read_to_string(place.join("port"))?;
    if !answers(&port) {
        // Values that are optional are taken only behind an equals sign.
        let errors = data.join("errors.log");
        let mut server = Command::new("/usr/sbin/mariadbd");
        server
            .args(["--no-defaults".to_owned(), format!("--datadir={}", data.display())])
            .args(SETTINGS)
            .args(user());
        server.args([format!("--port={port}"), format!("--init-file={}", place.join("init.sql").display())]);
        server.args([
            format!("--pid-file={}", data.join("pid").display()),
            format!("--log-error={}", errors.display()),
        ]);
        // It outlives this program.
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut running = server.spawn()?;
        let mut tries = 0;
        while !answers(&port) {
            tries += 1;
            if tries > 600 || running.try_wait()?.is_some() {
                return Err(format!("it does not run; see {}", errors.display()).into());
            }
            sleep(Duration::from_millis(100));
        }
    }
    Ok(format!("mariadb://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{port}/mysql"))
}

/// Stops it, if it runs.
pub(super) fn stop(directory: &Path) -> Result {
    let Ok(port) = fs::read_to_string(directory.join("mariadb/port")) else { return Ok(()) };
    if answers(&port) { program::run(&mut admin(&port, "shutdown")) } else { Ok(()) }
}

fn answers(port: &str) -> bool {
    let mut ping = admin(port, "ping");
    ping.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn admin(port: &str, what: &str) -> Command {
    let mut admin = Command::new("mariadb-admin");
    admin.args([
        "--no-defaults",
        "--host=127.0.0.1",
        "--protocol=tcp",
        "--connect-timeout=5",
        "--user",
        USER,
    ]);
    admin.env("MYSQL_PWD", PASSWORD).arg(format!("--port={port}")).arg(what);
    admin
}

/// Whom the server knows: the tests, and nobody else.
fn accounts() -> String {
    format!(
        "CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\n\
         GRANT ALL ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n\
         ALTER USER 'root'@'localhost' IDENTIFIED BY '{PASSWORD}';\n"
    )
}

/// A server refuses to run as root.
fn user() -> Option<String> {
    rustix::process::getuid().is_root().then(|| format!("--user={}", account()))
}

/// The account of Debian's package, or the one that every system has.
fn account() -> &'static str {
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    if accounts.lines().any(|line| line.starts_with("mysql:")) { "mysql" } else { "nobody" }
}
