//! The formats that are one file: scripts and archives.

mod archive;
mod frames;
mod script_read;
mod script_write;
mod source;
mod unsealed;

pub(crate) use archive::{ArchiveStorage, ArchiveWriter};
pub(crate) use frames::{Finished, FrameWriter};
pub(crate) use script_read::{ScriptFile, ScriptParts};
pub(crate) use script_write::{Origin, Render, Rendered, ScriptBuilder};
pub(crate) use source::{FileSource, SourceReader, into_error};
