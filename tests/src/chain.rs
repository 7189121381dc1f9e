//! A database with a log: the testkit's fake one, and the real command line that knows it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use backup_testkit::fake::{Change, FakeDatabase};
use serde_json::Value;

use crate::Place;

/// A directory with a fake database called `shop`, which has a table `account`.
#[derive(Debug)]
pub struct Chain {
    /// Where all of it is.
    pub directory: Place,
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Chain {
    /// The table is empty.
    pub fn new() -> Self {
        let it = Self { directory: Place::new() };
        it.database("shop").create_at("2026-11-24T01:00:00Z".parse().unwrap()).unwrap();
        it.commit("2026-11-24T01:00:00Z", Change::Table("account".into(), vec!["id".into()]));
        it
    }

    /// The file of a database.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path(&format!("{name}.fake"))
    }

    /// A database.
    pub fn database(&self, name: &str) -> FakeDatabase {
        FakeDatabase::at(self.path(name))
    }

    /// Commits a change of `shop` at a time.
    pub fn commit(&self, time: &str, change: Change) {
        self.database("shop").commit_at(vec![change], time.parse().unwrap()).unwrap();
    }

    /// Commits a row at a time.
    pub fn insert(&self, time: &str, id: i64) {
        self.commit(time, Change::Insert("account".into(), (id, 0, None)));
    }

    /// The ids of the rows, in order.
    pub fn rows(&self, name: &str) -> Vec<i64> {
        self.database(name).tables().unwrap()["account"].rows.iter().map(|row| row.0).collect()
    }

    /// The program, in this directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let ours = self.directory.command(arguments);
        let mut command = Command::new(PathBuf::from(ours.get_program()).with_file_name("lifeboat-fake"));
        command.args(arguments).current_dir(self.directory.path("")).stdin(Stdio::null());
        for (name, value) in ours.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Runs the program; returns its exit code, its result and what it said.
    pub fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// Runs the program, which must succeed, and returns its result.
    pub fn good(&self, arguments: &[&str]) -> String {
        let (code, result, said) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        result
    }

    /// Runs the program, which must fail with this exit code and give advice; returns what it said.
    pub fn fails(&self, expected: i32, arguments: &[&str]) -> String {
        let (code, result, said) = self.run(arguments);
        assert_eq!(code, Some(expected), "{arguments:?}: {said}");
        assert!(result.is_empty() && said.contains("\nhint: "), "{arguments:?}: {said}");
        said
    }

    /// Backs up `shop` and returns the backup's id.
    pub fn backup(&self, arguments: &[&str]) -> String {
        self.good(&[&["backup", "fake:shop.fake", "--quiet"], arguments].concat()).trim().to_owned()
    }

    /// What is known of a backup.
    pub fn show(&self, id: &str) -> Value {
        serde_json::from_str(&self.good(&["show", id, "--json"])).unwrap()
    }
}
