//! What another product, or an older version, takes of a backup: all that it does not know is one list, before anything is touched.

use std::collections::{BTreeMap, BTreeSet};

use backup_core::{Ctx, Error, ErrorKind, Part, Result};

use crate::catalog::Reading;
use crate::catalog::context::Context;
use crate::catalog::histograms;
use crate::catalog::objects::RoutineKind;
use crate::catalog::spec::{SqlSpec, spec, wants};
use crate::catalog::want::{Want, collations};
use crate::catalog::word::knows;
use crate::connect::{Connection, Version};
use crate::ddl::quote::text;
use crate::ddl::translate::{OF_OLD_MYSQL, Translation, in_old_mariadb, nearest};
use crate::error::code;

/// How many objects are named that want the same.
const NAMED: usize = 20;

/// What becomes of something.
enum Verdict {
    Known,
    /// It is said, or kept, otherwise. In these words, if that makes a difference.
    Otherwise(Option<String>),
    Unknown(String),
}

/// How what was made in `source` is said here, if it has to be said otherwise; an error that lists what cannot be.
pub(super) async fn check(
    ctx: &Ctx,
    connection: &mut Connection,
    source: Option<&Version>,
    parts: &[Part],
) -> Result<Option<Translation>> {
    let Some(source) = source else { return Ok(None) };
    let here = connection.version.clone();
    let is_other = source.is_mariadb != here.is_mariadb;
    let is_older = here.number < source.number;
    let is_same = !is_other && (here.number.0, here.number.1) == (source.number.0, source.number.1);
    let mut wanted: BTreeMap<Want, BTreeSet<String>> = BTreeMap::new();
    for part in parts {
        let Ok(made_from) = spec::<SqlSpec>(part) else { continue };
        let wants = wants(part)?.into_iter().chain(implied(&made_from));
        for want in wants.filter(|want| !matches!(want, Want::Tablespace(_) | Want::OwnDatabase)) {
            let is_asked = match want {
                Want::Mode(_) => true,
                // What newer versions may have no more.
                Want::Collation(_) | Want::Engine(_) | Want::Partitioned(_) | Want::Parser(_) => !is_same,
                _ => is_other,
            };
            if is_asked || is_older {
                wanted.entry(want).or_default().insert(part.object.to_string());
            }
        }
    }
    let mut target = Target {
        collations: collations(ctx, connection).await?,
        translation: Translation::new(is_other.then_some(here.is_mariadb)),
        is_other,
        is_of_mysql: !source.is_mariadb,
        connection,
    };
    let (mut unknown, mut otherwise) = (Vec::new(), Vec::new());
    for (want, objects) in &wanted {
        let of = named(objects);
        match target.verdict(ctx, want).await? {
            Verdict::Known | Verdict::Otherwise(None) => {}
            Verdict::Otherwise(Some(what)) => otherwise.push(format!("{what} ({of})")),
            Verdict::Unknown(what) => unknown.push(format!("{what} ({of})")),
        }
    }
    let translation = target.translation;
    let (of, here) = (called(source), called(&connection.version));
    if !unknown.is_empty() {
        let message = format!("{here} does not know what {of} has: {}", unknown.join("; "));
        return Err(Error::unsupported(message).hint(
            "restore into a server of the backup's product and version, or only what this one knows (--table)",
        ));
    }
    if is_other || is_older {
        ctx.warn(format!(
            "the backup is of {of}, and the target is {here}: should that not understand a statement, the restore fails"
        ));
    }
    for what in otherwise {
        ctx.warn(what);
    }
    Ok(Some(translation))
}

/// What objects want that are of such a kind, or were made in such a session.
fn implied(made_from: &SqlSpec) -> Vec<Want> {
    let mut wants = Vec::new();
    match made_from {
        SqlSpec::Sequence | SqlSpec::DiscardedSequence | SqlSpec::LostSequence { .. } => {
            wants.push(Want::Sequence)
        }
        SqlSpec::Histograms => wants.push(Want::Histogram),
        SqlSpec::Statistics => wants.push(Want::Statistics),
        SqlSpec::Routine { routine: RoutineKind::Package | RoutineKind::PackageBody, .. } => {
            wants.push(Want::Package);
        }
        SqlSpec::Routine { routine: RoutineKind::Library, .. } => wants.push(Want::Library),
        _ => {}
    }
    let Some(Context { sql_mode, collation, database_collation, .. }) = made_from.context() else {
        return wants;
    };
    let modes = sql_mode.iter().flat_map(|mode| mode.split(','));
    wants.extend(modes.filter(|mode| !mode.is_empty()).map(|mode| Want::Mode(mode.to_owned())));
    let of_sessions = [Some(collation), database_collation.as_ref()];
    wants.extend(of_sessions.into_iter().flatten().filter_map(|name| Want::collation(name)));
    wants
}

pub(super) fn named(objects: &BTreeSet<String>) -> String {
    let named: Vec<_> = objects.iter().take(NAMED).map(String::as_str).collect();
    let more = objects.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", named.join(", "))
}

fn called(version: &Version) -> String {
    let (major, minor, patch) = version.number;
    format!("{} {major}.{minor}.{patch}", version.product())
}

/// The server, and how its words for things are found.
struct Target<'a> {
    connection: &'a mut Connection,
    collations: BTreeSet<String>,
    translation: Translation,
    /// It is of another product.
    is_other: bool,
    /// The backup is.
    is_of_mysql: bool,
}

/// The first versions of MySQL and of MariaDB that have something.
type Since = (Option<(u32, u32, u32)>, Option<(u32, u32, u32)>);

impl Target<'_> {
    async fn verdict(&mut self, ctx: &Ctx, want: &Want) -> Result<Verdict> {
        let unknown = |what: String| Ok(Verdict::Unknown(what));
        let otherwise = |what: &str| Ok(Verdict::Otherwise(Some(what.to_owned())));
        match want {
            Want::Collation(name) => Ok(self.collation(name)),
            Want::Mode(name) => self.mode(ctx, name).await,
            Want::Function(name) if !knows(ctx, self.connection, name).await? => {
                unknown(format!("the function {name}()"))
            }
            Want::Engine(name) => {
                let sql = format!(
                    "SELECT COUNT(*) FROM information_schema.ENGINES WHERE SUPPORT IN ('YES', 'DEFAULT') AND ENGINE = {}",
                    text(name)
                );
                self.there(ctx, &sql, || format!("the engine {}", name.escape_debug())).await
            }
            Want::Parser(name) => {
                let sql = format!(
                    "SELECT COUNT(*) FROM information_schema.PLUGINS WHERE PLUGIN_TYPE = 'FTPARSER' AND PLUGIN_NAME = {}",
                    text(name)
                );
                self.there(ctx, &sql, || format!("the full-text parser {}", name.escape_debug())).await
            }
            Want::Option(name) if self.is_other => {
                Ok(Verdict::Otherwise(Some(format!("the option {} is left out", name.escape_debug()))))
            }
            // Since version 8 of MySQL engines see to them themselves, or have none.
            Want::Partitioned(name)
                if !self.connection.version.is_mariadb && self.connection.version.number >= (8, 0, 0) =>
            {
                unknown(format!("partitions of the engine {}", name.escape_debug()))
            }
            Want::Function(_) | Want::Option(_) | Want::Partitioned(_) => Ok(Verdict::Known),
            Want::Type(name) if name == "json" && self.is_other => {
                otherwise("JSON becomes LONGTEXT that is checked to be JSON, of the same text")
            }
            _ => {
                let (since, what) = feature(want);
                let since = if self.connection.version.is_mariadb { since.1 } else { since.0 };
                if since.is_some_and(|since| self.connection.version.number >= since) {
                    return Ok(Verdict::Known);
                }
                match want {
                    Want::CompressedColumn => otherwise("columns are no longer compressed"),
                    Want::SpatialReference => otherwise(
                        "MariaDB says geographic coordinates as x and y, and the attribute SRID of columns is left out",
                    ),
                    Want::NotEnforced => otherwise("constraints that are NOT ENFORCED are left out"),
                    Want::DescendingIndex => otherwise("descending indexes become ascending ones"),
                    Want::Statistics => otherwise("MariaDB's statistics of tables are left out"),
                    Want::Histogram => otherwise("the histograms of columns are left out"),
                    Want::DatabaseComment => otherwise("the comment of the database is left out"),
                    _ => unknown(what),
                }
            }
        }
    }

    /// Whether what a query counts is there.
    async fn there(&mut self, ctx: &Ctx, sql: &str, what: impl Fn() -> String) -> Result<Verdict> {
        let count = Reading::new(self.connection.row(ctx, sql).await?).number()?;
        Ok(if count > 0 { Verdict::Known } else { Verdict::Unknown(what()) })
    }

    fn collation(&mut self, name: &str) -> Verdict {
        // The same under the name that it had before.
        let older = |name: &str| name.strip_prefix("utf8mb3_").map(|rest| format!("utf8_{rest}"));
        let newer = |name: &str| name.strip_prefix("utf8_").map(|rest| format!("utf8mb3_{rest}"));
        if self.collations.contains(name) {
            return Verdict::Known;
        }
        for same in [older(name), newer(name)].into_iter().flatten() {
            if self.collations.contains(&same) {
                self.translation.collation(name, &same);
                return Verdict::Otherwise(None);
            }
        }
        let near = nearest(name);
        let near = near.as_deref().map(|near| [Some(near.to_owned()), older(near), newer(near)]);
        let mut near = near.into_iter().flatten().chain([in_old_mariadb(name)]).flatten();
        let Some(near) = near.find(|near| self.collations.contains(near)) else {
            return Verdict::Unknown(format!("the collation {name}"));
        };
        self.translation.collation(name, &near);
        Verdict::Otherwise(Some(format!(
            "the collation {name} becomes {near}, which compares some letters otherwise"
        )))
    }

    async fn mode(&mut self, ctx: &Ctx, name: &str) -> Result<Verdict> {
        if self.is_of_mysql && OF_OLD_MYSQL.contains(&name) {
            self.translation.leave_out_mode(name);
            return Ok(Verdict::Otherwise(None));
        }
        let set = format!("SET SESSION sql_mode = {}", text(name));
        let done = match self.connection.execute(ctx, &set).await {
            // Else nothing more can be said by that connection.
            Err(error) if error.kind() == ErrorKind::Connect || code(&error).is_none() => return Err(error),
            done => done,
        };
        self.connection.execute(ctx, "SET SESSION sql_mode = DEFAULT").await?;
        match done {
            Ok(_) => Ok(Verdict::Known),
            Err(_) => {
                if self.translation.without_mode(name) {
                    return Ok(Verdict::Otherwise(None));
                }
                Ok(Verdict::Unknown(format!("the sql_mode {}", name.escape_debug())))
            }
        }
    }
}

/// Since when something is known, and what it is called.
fn feature(want: &Want) -> (Since, String) {
    let (mysql, mariadb, what) = match want {
        Want::Sequence => (None, Some((10, 3, 0)), "sequences"),
        Want::TypedSequence => (None, Some((11, 5, 0)), "sequences of other types than BIGINT"),
        Want::AutoPartitions => (None, Some((10, 9, 1)), "partitions of history that the server adds"),
        Want::Package => (None, Some((10, 3, 5)), "packages"),
        Want::Library => (Some((9, 2, 0)), None, "libraries"),
        Want::SystemVersioning => (None, Some((10, 3, 4)), "system-versioned tables"),
        Want::DefaultPartition => (None, Some((10, 2, 2)), "partitions for what is in no other"),
        Want::Period => (None, Some((10, 4, 3)), "application-time periods"),
        Want::CompressedColumn => (None, Some((10, 3, 2)), "compressed columns"),
        Want::InvisibleColumn => (Some((8, 0, 23)), Some((10, 3, 3)), "invisible columns"),
        Want::UnusedIndex => (Some((8, 0, 0)), Some((10, 6, 0)), "invisible or ignored indexes"),
        Want::FunctionalIndex => (Some((8, 0, 13)), None, "functional indexes"),
        Want::DescendingIndex => (Some((8, 0, 1)), Some((10, 8, 1)), "descending indexes"),
        Want::VectorIndex => (None, Some((11, 7, 1)), "vector indexes"),
        Want::LongUnique => (None, Some((10, 4, 3)), "unique indexes of whole long texts"),
        Want::SpatialReference => (Some((8, 0, 3)), None, "the attribute SRID"),
        Want::Histogram => (Some(histograms::SINCE), None, "histograms"),
        Want::Statistics => (None, Some((10, 0, 1)), "statistics of tables"),
        Want::Check => (Some((8, 0, 16)), Some((10, 2, 1)), "CHECK constraints"),
        Want::NotEnforced => (Some((8, 0, 16)), None, "constraints that are NOT ENFORCED"),
        Want::DefaultExpression => (Some((8, 0, 13)), Some((10, 2, 1)), "defaults that are expressions"),
        Want::CastToJson => (Some((5, 7, 8)), None, "CAST(... AS JSON)"),
        Want::MemberOf => (Some((8, 0, 17)), None, "MEMBER OF"),
        Want::JsonTable => (Some((8, 0, 4)), Some((10, 6, 0)), "JSON_TABLE"),
        Want::DatabaseComment => (None, Some((10, 5, 0)), "comments of databases"),
        Want::OwnDatabase => (None, None, "the name of the database"),
        Want::Type(name) => {
            let since: Since = match name.as_str() {
                "json" => (Some((5, 7, 8)), None),
                "inet4" => (None, Some((10, 10, 0))),
                "inet6" => (None, Some((10, 5, 0))),
                "uuid" => (None, Some((10, 7, 0))),
                "vector" => (Some((9, 0, 0)), Some((11, 7, 1))),
                _ => (None, None),
            };
            return (since, format!("the type {}", name.to_uppercase()));
        }
        Want::Collation(name)
        | Want::Function(name)
        | Want::Engine(name)
        | Want::Mode(name)
        | Want::Partitioned(name)
        | Want::Parser(name)
        | Want::Tablespace(name)
        | Want::Option(name) => return ((None, None), name.clone()),
    };
    ((mysql, mariadb), what.to_owned())
}
