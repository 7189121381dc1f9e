//! What a database is made of, while it is read: each object with the statements that make it and what it needs.

use std::collections::{BTreeSet, HashMap, HashSet};

use backup_core::{Column, Error, Result};

use crate::ddl::acl;
use crate::ddl::quote::{ident, literal, qualified};
use crate::rows::RowsSpec;
use crate::spec::{DatabaseSpec, Global};

/// The oids of the system catalogs, which are the same everywhere: the class that an object is of.
pub(crate) mod class {
    pub(crate) const DEFAULT_ACL: u32 = 826;
    pub(crate) const TYPE: u32 = 1247;
    pub(crate) const PROC: u32 = 1255;
    pub(crate) const RELATION: u32 = 1259;
    pub(crate) const FOREIGN_SERVER: u32 = 1417;
    pub(crate) const USER_MAPPING: u32 = 1418;
    pub(crate) const FOREIGN_DATA_WRAPPER: u32 = 2328;
    pub(crate) const ACCESS_METHOD: u32 = 2601;
    pub(crate) const ATTRDEF: u32 = 2604;
    pub(crate) const CAST: u32 = 2605;
    pub(crate) const CONSTRAINT: u32 = 2606;
    pub(crate) const CONVERSION: u32 = 2607;
    pub(crate) const LANGUAGE: u32 = 2612;
    pub(crate) const LARGE_OBJECT: u32 = 2613;
    pub(crate) const LARGE_OBJECT_METADATA: u32 = 2995;
    pub(crate) const NAMESPACE: u32 = 2615;
    pub(crate) const OPCLASS: u32 = 2616;
    pub(crate) const OPERATOR: u32 = 2617;
    pub(crate) const REWRITE: u32 = 2618;
    pub(crate) const TRIGGER: u32 = 2620;
    pub(crate) const OPFAMILY: u32 = 2753;
    pub(crate) const EXTENSION: u32 = 3079;
    pub(crate) const POLICY: u32 = 3256;
    pub(crate) const STATISTICS: u32 = 3381;
    pub(crate) const COLLATION: u32 = 3456;
    pub(crate) const EVENT_TRIGGER: u32 = 3466;
    pub(crate) const TRANSFORM: u32 = 3576;
    pub(crate) const TS_DICTIONARY: u32 = 3600;
    pub(crate) const TS_PARSER: u32 = 3601;
    pub(crate) const TS_CONFIGURATION: u32 = 3602;
    pub(crate) const TS_TEMPLATE: u32 = 3764;
    pub(crate) const SUBSCRIPTION: u32 = 6100;
    pub(crate) const PUBLICATION: u32 = 6104;
}

/// An object of the server: the catalog that it is in, and its oid.
pub(crate) type Key = (u32, u32);

/// A place in [`Catalog::nodes`].
pub(crate) type NodeId = usize;

/// A node's place among the others, as far as nothing that it needs comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// Outside the database.
    Globals,
    Objects,
    Rows,
    Made,
    Contents,
    Last,
    EventTriggers,
}

/// What a node becomes.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// The statements that make it.
    Sql(Vec<String>),
    Rows {
        columns: Vec<Column>,
        spec: RowsSpec,
        size: u64,
    },
}

/// Something that becomes a part.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// What it is, in PostgreSQL's own word, in lower case.
    pub(crate) kind: &'static str,
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
    /// The table of the same schema that it is selected with.
    pub(crate) table: Option<String>,
    /// What stands behind `COMMENT ON`.
    pub(crate) identity: String,
    pub(crate) rank: Rank,
    pub(crate) body: Body,
    pub(crate) comments: Vec<String>,
    /// The tablespace that it lies in, if that is not its database's.
    pub(crate) tablespace: Option<String>,
    /// The oldest major version that knows what its statements say, if not all do, and what that is.
    pub(crate) since: Option<(u32, &'static str)>,
    /// The newest major version that takes what its statements say, if not all do, and what that is.
    pub(crate) until: Option<(u32, &'static str)>,
    /// Whether only a server that was built with ICU knows it.
    pub(crate) icu: bool,
    /// Statements about its owner and its privileges.
    pub(crate) owners: Vec<String>,
    pub(crate) roles: BTreeSet<String>,
    pub(crate) needs: BTreeSet<NodeId>,
    pub(crate) extension: Option<String>,
    pub(crate) global: Option<Global>,
    pub(crate) database: Option<DatabaseSpec>,
    /// The node that has announced it, if that was another.
    pub(crate) announced_by: Option<NodeId>,
}

impl Node {
    /// A node that is made by `statements`.
    pub(crate) fn sql(kind: &'static str, name: &str, rank: Rank, statements: Vec<String>) -> Self {
        Self {
            kind,
            schema: None,
            name: name.to_owned(),
            table: None,
            identity: String::new(),
            rank,
            body: Body::Sql(statements),
            tablespace: None,
            since: None,
            until: None,
            icu: false,
            comments: Vec::new(),
            owners: Vec::new(),
            roles: BTreeSet::new(),
            needs: BTreeSet::new(),
            extension: None,
            global: None,
            database: None,
            announced_by: None,
        }
    }

    pub(crate) fn in_schema(mut self, schema: &str) -> Self {
        self.schema = Some(schema.to_owned());
        self
    }

    /// Says which table it belongs to; only one of its own schema can be said.
    pub(crate) fn of_table(mut self, schema: &str, table: &str) -> Self {
        if self.schema.as_deref() == Some(schema) && self.name != table || self.kind != "table" {
            self.table = Some(table.to_owned());
        }
        self
    }

    pub(crate) fn identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = identity.into();
        self
    }

    /// Gives it to `owner`: `what` stands behind ALTER.
    pub(crate) fn owned(mut self, what: &str, owner: &str) -> Self {
        self.owners.push(format!("ALTER {what} OWNER TO {}", ident(owner)));
        self.roles.insert(owner.to_owned());
        self
    }

    /// Says that its statements need this major version, because of `what`.
    pub(crate) fn since(&mut self, version: u32, what: &'static str) {
        if self.since.is_none_or(|(since, _)| since < version) {
            self.since = Some((version, what));
        }
    }

    /// Adds privileges, if they are not those that it has anyhow.
    pub(crate) fn granted(
        &mut self,
        on: &str,
        column: Option<&str>,
        owner: &str,
        acl: Option<Vec<String>>,
        base: &[String],
    ) -> Result<()> {
        let Some(items) = acl else { return Ok(()) };
        if items.iter().any(|item| acl::grants_maintain(item) && !base.contains(item)) {
            self.since(17, "the privilege MAINTAIN");
        }
        let granted = acl::Granted { on, column, owner };
        self.owners.extend(acl::statements(granted, &items, base, &mut self.roles)?);
        Ok(())
    }

    /// Adds a statement that makes it.
    pub(crate) fn push(&mut self, statement: String) {
        match &mut self.body {
            Body::Sql(statements) => statements.push(statement),
            Body::Rows { .. } => {}
        }
    }

    /// Adds statements that make it.
    pub(crate) fn push_all(&mut self, statements: impl IntoIterator<Item = String>) {
        statements.into_iter().for_each(|statement| self.push(statement));
    }

    /// Whether the statements that make it have this text, if there is one.
    pub(crate) fn says(&self, text: Option<&str>) -> bool {
        match (&self.body, text) {
            (_, None) => true,
            (Body::Sql(statements), Some(text)) => {
                statements.iter().any(|statement| statement.contains(text))
            }
            (Body::Rows { .. }, Some(_)) => false,
        }
    }

    /// Adds a comment.
    pub(crate) fn comment(&mut self, identity: &str, text: &str) {
        self.comments.push(format!("COMMENT ON {identity} IS {}", literal(text)));
    }

    /// What is said of it in messages.
    pub(crate) fn told(&self) -> String {
        let schema =
            self.schema.as_ref().map_or(String::new(), |schema| format!("{}.", schema.escape_debug()));
        format!("{} {schema}{}", self.kind, self.name.escape_debug())
    }
}

/// What stands for an object until everything is there that it needs.
#[derive(Debug)]
pub(crate) struct Dummy {
    pub(crate) of_what: Announced,
    /// That of what it stands for.
    pub(crate) oid: u32,
    pub(crate) statement: String,
    pub(crate) needs: BTreeSet<NodeId>,
    /// What it needs too, as far as that is in the backup.
    pub(crate) of: Vec<Key>,
}

/// What can be announced.
#[derive(Debug)]
pub(crate) enum Announced {
    /// A view, by one that has the right columns and nothing in them.
    View,
    /// A function, by one that has neither the body nor the defaults that the server parses.
    Function,
    /// A table, by its columns up to the first that is generated. These statements add the others.
    Table(Vec<String>),
}

/// What expressions use without depending on it: a cast, or the operator class that a type has by default.
#[derive(Debug)]
pub(crate) struct Unsaid {
    pub(crate) id: NodeId,
    /// Whatever needs one of these uses it.
    pub(crate) with: Vec<Key>,
    /// What else may use it, of what has expressions.
    pub(crate) by: By,
    /// What is in the statements of those, if they say it.
    pub(crate) said: Option<String>,
}

/// By what an expression is known that may use what it does not depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By {
    /// It needs this type.
    Type(Key),
    /// It needs this type, or what does.
    WayOf(Key),
    /// It may be any.
    Nothing,
    /// There is none.
    Never,
}

/// Everything that was read so far.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) nodes: Vec<Node>,
    /// Which node stands for an object: itself, or that which makes it along.
    pub(crate) by_key: HashMap<Key, NodeId>,
    /// Objects that an extension brings along.
    pub(crate) members: HashMap<Key, u32>,
    /// Objects that are left out on purpose, having said so.
    pub(crate) left_out: HashSet<Key>,
    /// The nodes that add what a domain checks by functions.
    pub(crate) domain_checks: Vec<NodeId>,
    /// Nodes that stay out because the account may not read what they are of, where that was asked for.
    pub(crate) unreadable: HashSet<NodeId>,
    /// Of each type that is announced before it is made, the announcement.
    pub(crate) shells: HashMap<u32, NodeId>,
    /// What stands behind COMMENT ON for objects that another node makes along.
    pub(crate) identities: HashMap<Key, String>,
    /// Of each view, each function with expressions that the server parses, and each table with generated columns, how it is announced where
    /// it is part of a circle.
    pub(crate) dummies: HashMap<NodeId, Dummy>,
    /// Functions that have expressions which the server parses when they are made.
    pub(crate) parsed: HashSet<NodeId>,
    pub(crate) unsaid: Vec<Unsaid>,
    /// Of each operator family, the node that adds what is of no class.
    pub(crate) loose_members: HashMap<u32, NodeId>,
    /// Of each operator class, the same of its family.
    pub(crate) loose_of_class: HashMap<u32, NodeId>,
    /// Of each table with row security, the statements that switch it on.
    pub(crate) secured: Vec<(u32, Vec<String>)>,
    /// Of each table, the nodes that make its indexes, those of constraints first.
    pub(crate) indexes_of: HashMap<u32, Vec<NodeId>>,
    /// Each foreign key, and the tables from and to which it is.
    pub(crate) foreign_keys: Vec<(u32, NodeId, [u32; 2])>,
    /// Of each table, the nodes that hold its rows.
    pub(crate) rows_of: HashMap<u32, Vec<NodeId>>,
}

impl Catalog {
    /// Adds a node that stands for `key`.
    pub(crate) fn add(&mut self, key: Key, node: Node) -> NodeId {
        let id = self.push(node);
        self.by_key.insert(key, id);
        id
    }

    /// Adds a node that nothing refers to.
    pub(crate) fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Says that the node of `owner` makes `key` too.
    pub(crate) fn alias(&mut self, key: Key, owner: Key) {
        if let Some(id) = self.by_key.get(&owner) {
            self.by_key.insert(key, *id);
        }
    }

    /// Whether an extension brings it.
    pub(crate) fn is_member(&self, key: Key) -> bool {
        self.members.contains_key(&key)
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> Result<&mut Node> {
        self.nodes.get_mut(id).ok_or_else(|| Error::internal("a node is missing"))
    }

    /// The node that stands for `key`.
    pub(crate) fn of(&mut self, key: Key) -> Option<&mut Node> {
        self.by_key.get(&key).copied().and_then(|id| self.nodes.get_mut(id))
    }
}

/// `TABLE "s"."t"`.
pub(crate) fn named(word: &str, schema: &str, name: &str) -> String {
    format!("{word} {}", qualified(schema, name))
}
