//! Passwords out of `~/.pgpass`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use backup_core::{During, Error, ErrorKind, Result, Secret};

use crate::config::Config;

/// The password that the file has for the server, database and user of `config`; none if there is no file.
pub(crate) fn find(file: &Path, config: &Config) -> Result<Option<Secret>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).during(|| format!("read {}", file.display())),
    };
    let port = config.port.to_string();
    let (hosts, wanted) = (config.host_names(), [port.as_str(), &config.database, &config.user]);
    let found =
        text.lines().filter(|line| !line.starts_with('#')).find_map(|line| password(line, &hosts, wanted));
    let Some(password) = found else { return Ok(None) };
    let mode = std::fs::metadata(file).during(|| format!("look at {}", file.display()))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Error::new(ErrorKind::PermissionDenied, format!("others may read {}", file.display()))
            .hint(format!("chmod 600 {}", file.display())));
    }
    Ok(Some(Secret::new(password)))
}

/// The password of a line, if its first field is one of `hosts` or `*`, and so are the next three what is `wanted`.
fn password(line: &str, hosts: &[&str], wanted: [&str; 3]) -> Option<String> {
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            ':' if fields.len() < 5 => {
                fields.push(String::new());
                continue;
            }
            '\\' => chars.next().unwrap_or('\\'),
            c => c,
        };
        fields.last_mut()?.push(c);
    }
    let password = fields.pop().filter(|_| fields.len() == 4)?;
    let (host, others) = fields.split_first()?;
    let fits = |(field, wanted): (&String, &str)| field == "*" || field == wanted;
    let is_host = host == "*" || hosts.contains(&host.as_str());
    (is_host && others.iter().zip(wanted).all(fits)).then_some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_match_or_are_stars_and_escapes_are_taken_off() {
        let password = |line| password(line, &["/tmp", "db"], ["5432", "sh:op", "me"]);
        assert_eq!(password("db:5432:sh\\:op:me:p\\\\a:ss").as_deref(), Some("p\\a:ss"));
        assert_eq!(password("/tmp:5432:sh\\:op:me:x").as_deref(), Some("x"));
        assert_eq!(password("*:*:*:*:x").as_deref(), Some("x"));
        assert_eq!(password("other:5432:*:me:x"), None);
        assert_eq!(password("db:5432:*:you:x"), None);
        assert_eq!(password("db:5432:me:x"), None);
    }
}
