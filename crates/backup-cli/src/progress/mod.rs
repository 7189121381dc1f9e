//! Progress, told on stderr: bars on a terminal, elsewhere a line now and then.

mod bars;
mod lines;

use std::io::IsTerminal;
use std::sync::Arc;

use lifeboat::{Event, Progress, Stage};

use crate::output::Output;

use bars::Bars;
use lines::Lines;

/// Somebody who watches, and can be told to get out of the way.
pub(crate) trait Watcher: Progress {
    /// Tells something in the middle of it.
    fn note(&self, text: &str);

    /// Removes whatever is drawn, before something else is printed.
    fn close(&self);
}

/// Whoever fits where stderr goes.
pub(crate) fn watcher(output: Output) -> Arc<dyn Watcher> {
    if !output.narrates() {
        Arc::new(WarningsOnly(output))
    } else if std::io::stderr().is_terminal() {
        Arc::new(Bars::new(output))
    } else {
        Arc::new(Lines::new(output))
    }
}

/// Warnings and nothing else.
struct WarningsOnly(Output);

impl Progress for WarningsOnly {
    fn event(&self, event: Event<'_>) {
        if let Event::Warning(text) = event {
            self.0.warning(text);
        }
    }
}

impl Watcher for WarningsOnly {
    fn note(&self, _text: &str) {}

    fn close(&self) {}
}

/// What is being done, in a word or two.
fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Connect => "connecting",
        Stage::Plan => "planning",
        Stage::Dump => "backing up",
        Stage::Commit => "committing",
        Stage::Verify => "verifying",
        Stage::Check => "checking",
        Stage::Load => "loading",
        Stage::Publish => "publishing",
        Stage::Export => "exporting",
        Stage::Copy => "copying",
        _ => "working",
    }
}
