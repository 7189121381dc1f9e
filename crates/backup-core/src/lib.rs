//! The core of lifeboat: the traits, the repository and the manager. No driver, no network, no command line.

pub mod block;
pub mod codec;
mod context;
mod cut;
mod engine;
mod error;
mod filter;
mod part;
mod position;
mod progress;
mod reader;
mod registry;
mod request;
pub mod rows;
mod script;
mod secret;
pub mod storage;
mod url;
mod writer;

pub use async_trait::async_trait;
pub use inventory;

pub use context::Ctx;
pub use engine::{BackupSession, Capabilities, Engine, LogSession, RestoreSession, ServerInfo};
pub use error::{During, Error, ErrorKind, Result};
pub use filter::{Filter, Pattern};
pub use part::{Column, Object, Part, PartId, PartKind, Phase};
pub use position::{LogSegment, Position, Replay, Until};
pub use progress::{Event, Progress, Quiet, Stage};
pub use reader::{BlockingPartReader, Item, PartReader};
pub use registry::{EngineFactory, Registration, Registry};
pub use request::{BackupRequest, Content, Existing, RestoreRequest};
pub use rows::{RowDigest, RowLayout, TaggedRow};
pub use script::{PartSource, Place, PlaceKind, Script, ScriptInfo, ScriptWriter};
pub use secret::Secret;
pub use url::DatabaseUrl;
pub use writer::{BlockingPartWriter, PartWriter};
