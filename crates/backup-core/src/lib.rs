//! The core of lifeboat: the traits, the repository and the manager. No driver, no network, no command line.

pub mod block;
mod chain;
mod chunks;
pub mod codec;
mod context;
mod cut;
mod engine;
mod error;
mod filter;
mod info;
mod manager;
mod options;
mod part;
mod plan;
mod pool;
mod position;
mod progress;
mod reader;
mod registry;
mod repository;
mod request;
mod retention;
pub mod rows;
mod script;
mod secret;
mod select;
mod single_file;
pub mod storage;
mod turn;
mod url;
mod writer;

pub use async_trait::async_trait;
pub use chrono_tz::Tz;
pub use inventory;

pub use context::Ctx;
pub use engine::{BackupSession, Capabilities, Engine, LogSession, RestoreSession, Scratch, ServerInfo};
pub use error::{During, Error, ErrorKind, Result};
pub use filter::{Filter, Pattern};
pub use info::{
    BackupDetails, BackupInfo, ChainInfo, ComparisonReport, CopiedBackup, CopyReport, Difference,
    ExportReport, LeaseInfo, Reach, RestoreReport, TableSummary, VerifyReport,
};
pub use manager::{
    Affected, BackupManager, CheckReport, Damage, KeyChange, KeyInfo, Orphans, PruneOptions, PruneReport,
};
pub use options::{BackupConfig, BackupOptions, BackupRef, RestoreOptions};
pub use part::{Column, Object, Part, PartId, PartKind, Phase};
pub use position::{LogInfo, LogPoint, LogSegment, LogSpan, Position, Replay, Until};
pub use progress::{Event, Progress, Quiet, Stage};
pub use reader::{BlockingPartReader, Item, PartReader};
pub use registry::{EngineFactory, Registration, Registry};
pub use repository::{
    BackupId, BackupType, Collected, Format, Hash32, HostKey, Identity, Keys, PartRecord, Recipient, Signer,
    Tally, vouching_line,
};
pub use request::{BackupRequest, Content, Existing, RestoreRequest};
pub use retention::{Decision, Reason, Retention, RetentionPlan, RetentionPolicy, Rule, TagPattern};
pub use rows::{RowDigest, RowLayout, TaggedRow};
pub use script::{PartSource, Place, PlaceKind, Script, ScriptInfo, ScriptWriter};
pub use secret::Secret;
pub use turn::{Turn, Turns};
pub use url::DatabaseUrl;
pub use writer::{BlockingPartWriter, PartWriter};
