//! PostgreSQL keeps every promise that an engine makes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a fixture that fails is a panic")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use backup_core::{DatabaseUrl, EngineFactory};
use backup_testkit::engine::EngineFixture;
use tokio_postgres::{Client, NoTls};

mod server;
mod wicked;

use server::Server;

struct Postgres {
    server: Server,
    /// The last session, kept for the next statements of the same database.
    session: Mutex<Option<(String, Client)>>,
}

impl Postgres {
    fn on(server: Server) -> Self {
        Self { server, session: Mutex::default() }
    }

    async fn session(&self, url: &DatabaseUrl) -> Client {
        if let Some((path, client)) = self.session.lock().unwrap().take()
            && path == url.path
            && !client.is_closed()
        {
            return client;
        }
        let (client, connection) =
            tokio_postgres::connect(&self.server.url_text(&url.path), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

#[backup_core::async_trait]
impl EngineFixture for Postgres {
    fn factory(&self) -> &'static EngineFactory {
        &backup_postgres::ENGINE
    }

    async fn empty(&self) -> DatabaseUrl {
        self.server.url(&self.server.create())
    }

    fn renamed(&self, target: &DatabaseUrl, name: &str) -> DatabaseUrl {
        let mut url = target.clone();
        name.clone_into(&mut url.path);
        self.server.expect(name);
        url
    }

    async fn run(&self, url: &DatabaseUrl, statements: &[String]) {
        let client = self.session(url).await;
        for statement in statements {
            client
                .batch_execute(statement)
                .await
                .unwrap_or_else(|error| panic!("{statement:.200}: {error:?}"));
        }
        *self.session.lock().unwrap() = Some((url.path.clone(), client));
    }

    async fn dump(&self, url: &DatabaseUrl) -> String {
        self.server.dump(&url.path)
    }

    async fn traces(&self, target: &DatabaseUrl) -> BTreeSet<String> {
        self.server.databases(&target.path).into_iter().collect()
    }

    async fn everything(&self, url: &DatabaseUrl) {
        wicked::everything(&self.server, &url.path);
    }

    async fn cycle(&self, url: &DatabaseUrl) {
        let statements = [
            "CREATE TABLE hen (id int PRIMARY KEY, egg int NOT NULL)",
            "CREATE TABLE egg (id int PRIMARY KEY, hen int NOT NULL REFERENCES hen DEFERRABLE)",
            "CREATE TABLE chick (id int PRIMARY KEY, mother int REFERENCES chick)",
            "INSERT INTO hen VALUES (1, 2), (2, 1)",
            "INSERT INTO egg VALUES (1, 2), (2, 1)",
            "INSERT INTO chick VALUES (1, 3), (2, 1), (3, 2), (4, NULL)",
            "ALTER TABLE hen ADD FOREIGN KEY (egg) REFERENCES egg",
        ];
        self.run(url, &statements.map(str::to_owned)).await;
    }

    async fn total(&self, url: &DatabaseUrl, table: &str) -> i64 {
        let client = self.session(url).await;
        let sum = format!("SELECT coalesce(sum(amount), 0)::int8 FROM {}", self.quoted(table));
        client.query_one(&sum, &[]).await.unwrap().get(0)
    }

    fn places(&self) -> u64 {
        8
    }

    async fn load_script(&self, url: &DatabaseUrl, script: &Path) -> bool {
        self.server.load(&url.path, script);
        true
    }
}

// Where there is no server, nothing is tested, and said so.
mod oldest {
    backup_testkit::engine_conformance!(match super::server::servers().into_iter().next() {
        Some(server) => super::Postgres::on(server),
        None => return,
    });
}

mod newest {
    backup_testkit::engine_conformance!(match super::server::servers().into_iter().nth(1) {
        Some(server) => super::Postgres::on(server),
        None => return,
    });
}
