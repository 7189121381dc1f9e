//! A bar on a terminal.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use lifeboat::{Event, Progress};

use super::{Watcher, stage_name};
use crate::output::Output;

/// Where the size is known, where only the number of parts is, and where nothing is. They fit into 80 columns.
const BYTES: &str =
    "{prefix:10} [{bar:16}] {percent:>3}% {bytes}/{total_bytes} {bytes_per_sec} {eta} left {wide_msg}";
const PARTS: &str = "{prefix:10} [{bar:16}] {pos} of {len} parts {wide_msg}";
const UNKNOWN: &str = "{prefix:10} {spinner} {wide_msg}";

/// One bar for the stage that is going on, with the part that was begun last.
pub(super) struct Bars {
    output: Output,
    bar: ProgressBar,
    counts_bytes: AtomicBool,
}

impl Bars {
    pub(super) fn new(output: Output) -> Self {
        Self { output, bar: ProgressBar::no_length(), counts_bytes: AtomicBool::new(false) }
    }

    fn counts_bytes(&self) -> bool {
        self.counts_bytes.load(Ordering::Relaxed)
    }

    fn advance(&self, amount: u64) {
        // Planned sizes are guesses: a bar that is full too early grows.
        let position = self.bar.position().saturating_add(amount);
        if self.bar.length().is_some_and(|length| length < position) {
            self.bar.set_length(position);
        }
        self.bar.inc(amount);
    }
}

impl Progress for Bars {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Stage(stage) => {
                self.counts_bytes.store(false, Ordering::Relaxed);
                self.bar.set_style(style(UNKNOWN));
                self.bar.reset();
                self.bar.set_prefix(stage_name(stage));
                self.bar.set_message("");
                self.bar.enable_steady_tick(Duration::from_millis(100));
            }
            Event::Planned { parts, bytes } => {
                self.counts_bytes.store(bytes > 0, Ordering::Relaxed);
                self.bar.set_length(if bytes > 0 { bytes } else { parts });
                self.bar.set_style(style(if bytes > 0 { BYTES } else { PARTS }));
            }
            Event::PartStarted(part) => self.bar.set_message(part.object.to_string()),
            Event::Advanced { bytes, .. } if self.counts_bytes() => self.advance(bytes),
            Event::PartFinished(_) if !self.counts_bytes() => self.advance(1),
            Event::Warning(text) => self.bar.suspend(|| self.output.warning(text)),
            Event::Note(text) => self.note(text),
            _ => {}
        }
    }
}

impl Watcher for Bars {
    fn note(&self, text: &str) {
        self.bar.suspend(|| self.output.note(text));
    }

    fn close(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_sound() {
        for template in [BYTES, PARTS, UNKNOWN] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn a_bar_that_was_planned_too_short_grows() {
        let bars = Bars::new(Output::default());
        bars.bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        bars.event(Event::Planned { parts: 1, bytes: 10 });
        bars.event(Event::Advanced { rows: 1, bytes: 25 });
        assert_eq!((bars.bar.position(), bars.bar.length()), (25, Some(25)));
    }
}
