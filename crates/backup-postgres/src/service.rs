//! The connection service file: names for servers, as libpq has them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use backup_core::{During, Error, ErrorKind, Result};

/// What may stand in a section. Whatever else does is said, since it would be missed.
const KNOWN: [&str; 14] = [
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "passfile",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "channel_binding",
    "connect_timeout",
    "application_name",
    "target_session_attrs",
];

/// What the service of that name says: in `PGSERVICEFILE` or `~/.pg_service.conf`, or else in `pg_service.conf` of `PGSYSCONFDIR`.
pub(crate) fn find(
    name: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<HashMap<String, String>> {
    let of_user = environment("PGSERVICEFILE").map(PathBuf::from);
    let of_user =
        of_user.or_else(|| environment("HOME").map(|home| Path::new(&home).join(".pg_service.conf")));
    let of_system = environment("PGSYSCONFDIR").unwrap_or_else(|| "/etc/postgresql-common".to_owned());
    for file in of_user.into_iter().chain([Path::new(&of_system).join("pg_service.conf")]) {
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).during(|| format!("read {}", file.display())),
        };
        if let Some(section) = section(&text, name) {
            let settings = section.map_err(|error| error.during(format!("read {}", file.display())))?;
            return Ok(settings);
        }
    }
    Err(Error::new(ErrorKind::Config, format!("there is no service {name:?}"))
        .hint("it is a section of ~/.pg_service.conf"))
}

fn section(text: &str, name: &str) -> Option<Result<HashMap<String, String>>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let head = |line: &str| line.strip_prefix('[').and_then(|line| line.strip_suffix(']')).map(str::to_owned);
    let mut lines = lines.skip_while(|line| head(line).as_deref() != Some(name));
    lines.next()?;
    let malformed = |line: &str| {
        Err(Error::new(ErrorKind::Config, format!("{line:?} is no setting"))
            .hint("write it like host=db.example"))
    };
    let setting = |line: &str| match line.split_once('=') {
        Some((key, value)) if KNOWN.contains(&key.trim()) => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        // It may hold a password.
        Some((key, _)) => malformed(key),
        None => malformed(line),
    };
    Some(lines.take_while(|line| head(line).is_none()).map(setting).collect())
}
