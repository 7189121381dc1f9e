//! Which engines there are: the linked ones find themselves, others can be added by hand.

use std::fmt;
use std::sync::Arc;

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::script::ScriptWriter;
use crate::url::DatabaseUrl;

/// How an engine is made. Each engine crate has one, `pub static ENGINE`, and says
/// `backup_core::inventory::submit!(backup_core::Registration(&ENGINE));`.
#[non_exhaustive]
pub struct EngineFactory {
    /// Its name, the one that manifests record: `sqlite`.
    pub name: &'static str,
    /// The URL schemes that it answers to.
    pub schemes: &'static [&'static str],
    /// A URL to show as an example.
    pub example: &'static str,
    /// Binds it to a source or target without connecting. Refuses options that it does not know.
    pub from_url: fn(&DatabaseUrl) -> Result<Arc<dyn Engine>>,
    /// How it says its parts in SQL, if it can.
    pub script: Option<fn() -> Box<dyn ScriptWriter>>,
    /// The database that a URL names, as backups of it will say; empty if it names none. Nothing is asked for it but the URL.
    pub database: fn(&DatabaseUrl) -> &str,
}

impl EngineFactory {
    /// An engine that writes no scripts.
    pub const fn new(
        name: &'static str,
        schemes: &'static [&'static str],
        example: &'static str,
        from_url: fn(&DatabaseUrl) -> Result<Arc<dyn Engine>>,
    ) -> Self {
        Self { name, schemes, example, from_url, script: None, database: DatabaseUrl::database }
    }

    /// Adds the way to write scripts.
    #[must_use]
    pub const fn with_script(mut self, script: fn() -> Box<dyn ScriptWriter>) -> Self {
        self.script = Some(script);
        self
    }

    /// Says how a URL names its database, where that is not [`DatabaseUrl::database`].
    #[must_use]
    pub const fn with_database(mut self, database: fn(&DatabaseUrl) -> &str) -> Self {
        self.database = database;
        self
    }
}

impl fmt::Debug for EngineFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineFactory").field("name", &self.name).field("schemes", &self.schemes).finish()
    }
}

/// What an engine crate submits to `inventory`.
#[derive(Debug)]
pub struct Registration(pub &'static EngineFactory);

inventory::collect!(Registration);

/// The engines that can be used.
#[derive(Debug, Clone, Default)]
pub struct Registry(Vec<&'static EngineFactory>);

impl Registry {
    /// None: add them with [`Registry::with`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Every engine crate that is linked into this program, sorted by name.
    ///
    /// A crate that is in Cargo.toml but never named in code is not linked, and so is not here.
    pub fn linked() -> Self {
        let mut engines: Vec<_> =
            inventory::iter::<Registration>().map(|registration| registration.0).collect();
        engines.sort_by_key(|engine| engine.name);
        Self(engines)
    }

    /// Adds an engine. One of the same name is replaced.
    #[must_use]
    pub fn with(mut self, engine: &'static EngineFactory) -> Self {
        self.0.retain(|other| other.name != engine.name);
        self.0.push(engine);
        self.0.sort_by_key(|engine| engine.name);
        self
    }

    /// The engines, sorted by name.
    pub fn engines(&self) -> &[&'static EngineFactory] {
        &self.0
    }

    /// The engine called `name`.
    pub fn by_name(&self, name: &str) -> Result<&'static EngineFactory> {
        self.find(name, |engine| engine.name == name)
    }

    /// The engine for the scheme of a URL.
    pub fn by_scheme(&self, scheme: &str) -> Result<&'static EngineFactory> {
        self.find(scheme, |engine| engine.schemes.contains(&scheme))
    }

    fn find(&self, wanted: &str, is_it: impl Fn(&EngineFactory) -> bool) -> Result<&'static EngineFactory> {
        self.0.iter().copied().find(|engine| is_it(engine)).ok_or_else(|| {
            let mut linked: Vec<_> = self.0.iter().map(|engine| engine.example).collect();
            linked.sort_unstable();
            let linked = if linked.is_empty() {
                "no engine is linked into this program".to_owned()
            } else {
                format!("the engines linked into this program are for {}", linked.join(", "))
            };
            Error::new(ErrorKind::UnknownEngine, format!("no engine for {wanted:?}")).hint(format!(
                "{linked}; a crate that is only in Cargo.toml is not linked: name it, as in `pub use backup_sqlite as sqlite;`"
            ))
        })
    }
}
