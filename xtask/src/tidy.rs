//! `cargo xtask tidy`: what a reviewer should not have to look for.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

use crate::Result;
use crate::program::{self, cargo, root};

/// Crates that only engines, storages or the command line may reach.
const DRIVERS: [&str; 6] = ["rusqlite", "tokio-postgres", "mysql_async", "tiberius", "oracle", "sqlx"];
const NETWORK: [&str; 5] = ["hyper", "reqwest", "h2", "object_store", "rustls"];
const COMMAND_LINE: [&str; 3] = ["clap", "indicatif", "clap_complete"];

pub(crate) fn run(write: bool) -> Result {
    let root = root()?;
    let metadata = MetadataCommand::new().current_dir(&root).exec()?;
    let mut complaints = directions(&metadata)?;
    complaints.extend(generated(&root, write)?);
    if !complaints.is_empty() {
        return Err(complaints.join("\n").into());
    }
    if write {
        program::run(&mut cargo(&["fmt", "--all"])?)?;
    }
    program::run(&mut cargo(&["fmt", "--all", "--check"])?)?;
    program::run(&mut cargo(&[
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ])?)?;
    // What a feature leaves out must not be missed by the rest.
    for package in ["backup-core", "lifeboat"] {
        program::run(&mut cargo(&["check", "--quiet", "--package", package, "--no-default-features"])?)?;
    }
    let mut doc = cargo(&["doc", "--quiet", "--workspace", "--no-deps"])?;
    program::run(doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    println!(
        "tidy: dependencies, generated docs, formatting, clippy, features and rustdoc are as they should be"
    );
    Ok(())
}

/// Who reaches what they must not reach, not even through others.
fn directions(metadata: &Metadata) -> Result<Vec<String>> {
    let resolve = metadata.resolve.as_ref().ok_or("cargo metadata resolved nothing")?;
    let name: HashMap<&PackageId, &str> =
        metadata.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
    let normal: HashMap<&PackageId, Vec<&PackageId>> = (resolve.nodes.iter())
        .map(|node| {
            let is_normal = |dep: &&cargo_metadata::NodeDep| {
                dep.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
            };
            (&node.id, node.deps.iter().filter(is_normal).map(|dep| &dep.pkg).collect())
        })
        .collect();
    let reached = |from: &PackageId| -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut ahead: Vec<&PackageId> = normal.get(from).into_iter().flatten().copied().collect();
        while let Some(next) = ahead.pop() {
            if seen.insert(next) {
                ahead.extend(normal.get(next).into_iter().flatten().copied());
            }
        }
        seen.into_iter().filter_map(|id| name.get(id).copied()).collect()
    };
    let members: BTreeSet<&str> =
        metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    let mut complaints = Vec::new();
    for package in metadata.workspace_packages() {
        let reached = reached(&package.id);
        let ours = reached.iter().copied().filter(|name| members.contains(name));
        let (forbidden, allowed_members): (Vec<&str>, Option<&[&str]>) = match package.name.as_str() {
            "backup-core" => ([&DRIVERS[..], &NETWORK, &COMMAND_LINE].concat(), Some(&[])),
            "backup-cli" | "xtask" => continue,
            "lifeboat" => (COMMAND_LINE.to_vec(), None),
            "backup-testkit" => (COMMAND_LINE.to_vec(), Some(&["backup-core"])),
            // What engines share.
            "backup-tls" => ([&DRIVERS[..], &COMMAND_LINE].concat(), Some(&["backup-core"])),
            engine if engine.starts_with("backup-") => {
                (COMMAND_LINE.to_vec(), Some(&["backup-core", "backup-tls"]))
            }
            "example-engine" => (COMMAND_LINE.to_vec(), Some(&["backup-core"])),
            _ => continue,
        };
        complaints.extend(
            (reached.iter().filter(|name| forbidden.contains(name)))
                .map(|name| format!("{} reaches {name}", package.name)),
        );
        if let Some(allowed) = allowed_members {
            complaints.extend(
                ours.filter(|name| !allowed.contains(name))
                    .map(|name| format!("{} reaches {name}", package.name)),
            );
        }
    }
    Ok(complaints)
}

/// Whether the parts of the docs that are generated are those that would be generated now.
fn generated(root: &Path, write: bool) -> Result<Vec<String>> {
    let (path, text) = ("docs/cli.md", backup_cli::reference());
    let file = root.join(path);
    if write {
        fs::write(&file, &text)?;
    }
    let current = fs::read_to_string(&file)? == text;
    Ok(if current {
        Vec::new()
    } else {
        vec![format!("{path} is not current: run `cargo xtask tidy --write`")]
    })
}
