//! Runs of the same thing, and their row in a table of figures.

use super::measure::{Run, largest, median};

/// Runs of one kind.
#[derive(Default)]
pub(crate) struct Runs(pub(crate) Vec<Run>);

impl Runs {
    pub(crate) fn wall(&self) -> f64 {
        median(self.0.iter().map(|run| run.seconds))
    }

    pub(crate) fn cpu(&self) -> f64 {
        median(self.0.iter().map(|run| run.cpu_seconds))
    }

    /// A row of a table whose first row is `peer`.
    pub(crate) fn row(&self, what: &str, peer: &Runs, bytes: Option<(u64, u64)>) {
        let (mb, of) = match bytes {
            Some((ours, theirs)) => {
                (format!("{:.0}", ours as f64 / 1e6), format!("{:.2}", ours as f64 / theirs as f64))
            }
            None => Default::default(),
        };
        let peak = largest(self.0.iter().map(|run| run.peak_mib));
        println!(
            "| {what} | {:.1} | {:.2} | {:.1} | {:.2} | {mb} | {of} | {peak:.0} |",
            self.wall(),
            self.wall() / peer.wall(),
            self.cpu(),
            self.cpu() / peer.cpu()
        );
    }
}

pub(crate) const HEAD: &str =
    "| | wall s | ratio | client CPU s | ratio | MB | ratio | peak MiB |\n|---|---|---|---|---|---|---|---|";
