//! An account that is no superuser.

use backup_core::DatabaseUrl;

use crate::server::Server;

/// A role of its own for a test, until it is dropped.
pub(crate) struct Owner<'s> {
    server: &'s Server,
    pub(crate) name: String,
}

impl<'s> Owner<'s> {
    pub(crate) fn new(server: &'s Server, name: &str) -> Self {
        let owner = Self { server, name: format!("lb_{name}_{}", server.major()) };
        let make = format!(
            "DROP ROLE IF EXISTS {0}; CREATE ROLE {0} LOGIN CREATEDB PASSWORD 'only for tests'",
            owner.name
        );
        server.psql("postgres", &make);
        owner
    }

    /// A database of its own, in which it makes this.
    pub(crate) fn database(&self, sql: &str) -> String {
        let database = self.server.create();
        self.server.psql("postgres", &format!("ALTER DATABASE {database} OWNER TO {}", self.name));
        self.server.psql(&database, &format!("SET ROLE {}; {sql}", self.name));
        database
    }

    pub(crate) fn url(&self, database: &str) -> DatabaseUrl {
        let text = self.server.url_text(database);
        let (_, place) = text.rsplit_once('@').unwrap();
        format!("postgres://{}:only%20for%20tests@{place}", self.name).parse().unwrap()
    }

    /// Nothing in these databases belongs to it any more.
    pub(crate) fn gives_away(&self, databases: &[&str]) {
        for database in databases {
            let give = format!("REASSIGN OWNED BY {0} TO CURRENT_USER; DROP OWNED BY {0}", self.name);
            self.server.psql(database, &give);
        }
        self.server.psql("postgres", &format!("DROP ROLE {}", self.name));
    }
}
