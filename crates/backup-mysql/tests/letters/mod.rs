//! A server to which names in capital and in small letters are the same.

use backup_core::{BackupRef, Content, ErrorKind, Format, RestoreOptions};

use crate::private::Private;
use crate::server::Server;
use crate::{backup, manager, manager_of, replacing, storage};

const SHOP: [&str; 9] = [
    "CREATE TABLE `Customers` (id INT PRIMARY KEY, name VARCHAR(20) CHARACTER SET utf8mb4, KEY (name))",
    "CREATE TABLE `Orders` (id INT PRIMARY KEY, `Customer` INT, FOREIGN KEY (`Customer`) REFERENCES `Customers` (id))",
    "CREATE TABLE `Größe` (id INT PRIMARY KEY)",
    "INSERT INTO `Customers` VALUES (1, 'Ä'), (2, NULL)",
    "INSERT INTO `Orders` VALUES (1, 1), (2, 1)",
    "INSERT INTO `Größe` VALUES (7)",
    "CREATE VIEW `Busy` AS SELECT c.id, COUNT(*) AS n FROM `Customers` c JOIN `Orders` o ON o.`Customer` = c.id GROUP BY c.id",
    "CREATE TRIGGER `Before` BEFORE INSERT ON `Orders` FOR EACH ROW SET NEW.id = NEW.id",
    "CREATE FUNCTION `Twice` (x INT) RETURNS INT DETERMINISTIC RETURN x * 2",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_names_in_small_letters_gives_and_takes_backups() {
    let Some(program) = Private::program() else { return };
    let Some(large) = Server::find("mariadb") else { return };
    let accounts = "CREATE USER IF NOT EXISTS me@'%' IDENTIFIED BY 'secret';\nGRANT ALL ON *.* TO me@'%';\n";
    let mut private = Private::new(accounts, &[]);
    private.start(&program, &["--lower-case-table-names=1", "--local-infile=1"]);
    let small = Server::at(&private.text("mariadb://me:secret@127.0.0.1:PORT/mysql"));
    let rows = |server: &Server, name: &str| {
        let all = "SELECT 1, id, name FROM `Customers` UNION ALL SELECT 2, id, `Customer` FROM `Orders` UNION ALL SELECT 3, id, n FROM `Busy` \
                   UNION ALL SELECT 4, id, `Twice`(id) FROM `Größe` ORDER BY 1, 2";
        server.ask(Some(name), all)
    };
    // From there into itself, from there to where letters count, and from where they count.
    let (of_small, of_large) = (small.empty(), large.empty());
    for (server, source) in [(&small, &of_small), (&large, &of_large)] {
        server.run(Some(&source.path), &SHOP.map(str::to_owned));
    }
    let expected = rows(&large, &of_large.path);
    for format in [Format::Binary, Format::Sql] {
        let manager = manager_of(&storage(), format);
        let made = BackupRef::from(&manager.backup(&of_small).await.unwrap().id);
        let copy = small.empty();
        for options in [RestoreOptions::default(), replacing()] {
            manager.restore(&made, &copy, options).await.unwrap();
            assert_eq!(small.dump(&copy.path), small.dump(&of_small.path));
        }
        // Where letters count, what was written with others than a table has finds none: so without programs.
        let copy = large.empty();
        let mut tables = RestoreOptions::default();
        tables.tables = vec!["customers".parse().unwrap(), "größe".parse().unwrap()];
        manager.restore(&made, &copy, tables).await.unwrap();
        assert_eq!(large.ask(Some(&copy.path), "SELECT COUNT(*) FROM customers, größe"), "2\n");
        let made = BackupRef::from(&manager.backup(&of_large).await.unwrap().id);
        let copy = small.database("Copy_of_Large");
        for options in [RestoreOptions::default(), replacing()] {
            let mut options = options;
            (options.create_database, options.no_owner) = (true, true);
            manager.restore(&made, &copy, options).await.unwrap();
            assert_eq!(rows(&small, &copy.path), expected);
        }
        // One table, and rows alone.
        let mut rows_alone = replacing();
        (rows_alone.content, rows_alone.tables) = (Content::DataOnly, vec!["Customers".parse().unwrap()]);
        small.run(Some(&copy.path), &["UPDATE customers SET name = 'changed'".to_owned()]);
        manager.restore(&made, &copy, rows_alone).await.unwrap();
        assert_eq!(rows(&small, &copy.path), expected);
        let mut one = replacing();
        (one.tables, one.no_owner) = (vec!["Orders".parse().unwrap()], true);
        small.run(Some(&copy.path), &["DROP TRIGGER `Before`", "DELETE FROM orders"].map(str::to_owned));
        manager.restore(&made, &copy, one).await.unwrap();
        assert_eq!(rows(&small, &copy.path), expected);
        small.run(None, &["DROP DATABASE copy_of_large".to_owned()]);
    }
    // What would be one there is named before anything is touched.
    large.run(
        Some(&of_large.path),
        &["CREATE TABLE customers (id INT)", "CREATE VIEW `ORDERS` AS SELECT 1 AS a"].map(str::to_owned),
    );
    let (storage, made) = backup(&of_large).await;
    let target = small.empty();
    small.run(Some(&target.path), &["CREATE TABLE precious (a INT)".to_owned()]);
    let error = manager(&storage).restore(&made, &target, replacing()).await.unwrap_err();
    let told = error.to_string();
    assert!(
        error.kind() == ErrorKind::Unsupported && told.contains("Customers, customers; ORDERS, Orders"),
        "{told}"
    );
    assert_eq!(small.ask(Some(&target.path), "SHOW TABLES"), "precious\n");
    drop(small);
    private.stop();
}
