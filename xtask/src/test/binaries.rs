//! The test binaries of the workspace, several at once: one alone leaves processors idle while its last test waits for a server.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{self, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use cargo_metadata::{Artifact, Message};

use crate::Result;
use crate::program::cargo;

pub(super) struct Binary {
    /// The source that it was built from, as a reader of the output knows it.
    name: String,
    program: PathBuf,
    /// Where cargo would run it.
    package: PathBuf,
    size: u64,
}

/// Builds them all; those come first that are largest, and usually take longest.
pub(super) fn build() -> Result<Vec<Binary>> {
    let mut build =
        cargo(&["test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"])?;
    let mut child = build.stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or("cargo has no output")?;
    let mut binaries = Vec::new();
    for message in Message::parse_stream(BufReader::new(output)) {
        if let Message::CompilerArtifact(artifact) = message?
            && artifact.profile.test
        {
            binaries.extend(binary(artifact)?);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        return Err(format!("the tests were not built: {status}").into());
    }
    binaries.sort_by_key(|binary| std::cmp::Reverse(binary.size));
    Ok(binaries)
}

fn binary(artifact: Artifact) -> Result<Option<Binary>> {
    let Some(program) = artifact.executable else { return Ok(None) };
    let package = artifact.manifest_path.parent().ok_or("a manifest is in no directory")?;
    Ok(Some(Binary {
        name: artifact.target.src_path.to_string(),
        size: fs::metadata(&program)?.len(),
        program: program.into(),
        package: package.into(),
    }))
}

/// Runs them all, whatever fails, with these variables set. What one prints comes in one piece when it has ended.
pub(super) fn run(binaries: Vec<Binary>, variables: &BTreeMap<&'static str, String>) -> Result {
    let processors = thread::available_parallelism().map_or(2, usize::from);
    let ahead = Mutex::new(VecDeque::from(binaries));
    let failed = Mutex::new(Vec::new());
    let next = || ahead.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let lane = || {
        while let Some(binary) = next() {
            let passed = binary.run(variables, processors).unwrap_or_else(|error| {
                eprintln!("{}: {error}", binary.name);
                false
            });
            if !passed {
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(binary.name);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(lane);
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if failed.is_empty() { Ok(()) } else { Err(format!("tests failed in {}", failed.join(", ")).into()) }
}

impl Binary {
    fn run(&self, variables: &BTreeMap<&'static str, String>, threads: usize) -> Result<bool> {
        println!("{} …", self.name);
        let begun = Instant::now();
        let output = Command::new(&self.program)
            .current_dir(&self.package)
            .env("CARGO_MANIFEST_DIR", &self.package)
            .env("RUST_TEST_THREADS", threads.to_string())
            .envs(variables)
            .stdin(Stdio::null())
            .output()?;
        let took = begun.elapsed().as_secs();
        let mut out = io::stdout().lock();
        writeln!(out, "\n{} ({took} s, {})", self.name, output.status)?;
        out.write_all(&output.stderr)?;
        out.write_all(&output.stdout)?;
        out.flush()?;
        Ok(output.status.success())
    }
}
