//! A line now and then, for logs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lifeboat::{Event, Progress, Stage};

use super::{Watcher, stage_name};
use crate::output::{Output, count, rate, size};

/// How long nothing is said.
const PAUSE: Duration = Duration::from_secs(10);

/// A line when a stage begins, and every ten seconds in which something happens.
pub(super) struct Lines {
    output: Output,
    started: Instant,
    /// When the next line is due, in milliseconds after the start: asked at every event, so without a lock.
    due: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
    parts: AtomicU64,
    stage: Mutex<Running>,
}

/// The stage that is going on.
#[derive(Debug, Clone, Copy)]
struct Running {
    name: &'static str,
    since: Instant,
    parts: u64,
    bytes: u64,
}

impl Lines {
    pub(super) fn new(output: Output) -> Self {
        let now = Instant::now();
        Self {
            output,
            started: now,
            due: AtomicU64::new(millis(PAUSE)),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            parts: AtomicU64::new(0),
            stage: Mutex::new(Running { name: "working", since: now, parts: 0, bytes: 0 }),
        }
    }

    fn begin(&self, stage: Stage) {
        let mut running = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        *running = Running { name: stage_name(stage), since: Instant::now(), parts: 0, bytes: 0 };
        for counter in [&self.rows, &self.bytes, &self.parts] {
            counter.store(0, Ordering::Relaxed);
        }
        self.output.note(running.name);
        self.put_off();
    }

    fn plan(&self, parts: u64, bytes: u64) {
        let mut running = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        (running.parts, running.bytes) = (parts, bytes);
    }

    fn put_off(&self) {
        self.due.store(millis(self.started.elapsed() + PAUSE), Ordering::Relaxed);
    }

    /// Says how far it is, if that is due and nobody else is saying it.
    fn tell(&self) {
        let (now, due) = (millis(self.started.elapsed()), self.due.load(Ordering::Relaxed));
        let next = now.saturating_add(millis(PAUSE));
        if now < due || self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let running = *self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        let [rows, bytes, parts] =
            [&self.rows, &self.bytes, &self.parts].map(|counter| counter.load(Ordering::Relaxed));
        self.output.note(&line(running, parts, rows, bytes, running.since.elapsed()));
    }
}

/// How far a stage is.
fn line(running: Running, parts: u64, rows: u64, bytes: u64, time: Duration) -> String {
    let mut line = format!("{}: {}", running.name, size(bytes));
    if running.bytes > 0 {
        line += &format!(" of about {}", size(running.bytes));
    }
    line += &format!(", rows {}, parts {}", count(rows), count(parts));
    if running.parts > 0 {
        line += &format!(" of {}", count(running.parts));
    }
    line + &format!(", {}", rate(bytes, time))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Progress for Lines {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Stage(stage) => self.begin(stage),
            Event::Planned { parts, bytes } => self.plan(parts, bytes),
            Event::Advanced { rows, bytes } => {
                self.rows.fetch_add(rows, Ordering::Relaxed);
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
                self.tell();
            }
            Event::PartFinished(_) => {
                self.parts.fetch_add(1, Ordering::Relaxed);
                self.tell();
            }
            Event::Warning(text) => self.output.warning(text),
            Event::Note(text) => self.output.note(text),
            _ => {}
        }
    }
}

impl Watcher for Lines {
    fn note(&self, text: &str) {
        self.output.note(text);
    }

    fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is_of_how_much_and_how_fast() {
        let running = Running { name: "backing up", since: Instant::now(), parts: 40, bytes: 2 << 30 };
        assert_eq!(
            line(running, 12, 1_000_000, 1 << 30, Duration::from_secs(10)),
            "backing up: 1.00 GiB of about 2.00 GiB, rows 1,000,000, parts 12 of 40, 102.40 MiB/s"
        );
        let unplanned = Running { parts: 0, bytes: 0, ..running };
        let text = line(unplanned, 1, 0, 2048, Duration::from_secs(2));
        assert_eq!(text, "backing up: 2.00 KiB, rows 0, parts 1, 1.00 KiB/s");
    }

    #[test]
    fn nothing_is_said_before_it_is_due() {
        let lines = Lines::new(Output::default());
        lines.event(Event::Advanced { rows: 1, bytes: 1 });
        assert_eq!(lines.due.load(Ordering::Relaxed), millis(PAUSE));
        lines.due.store(0, Ordering::Relaxed);
        lines.event(Event::Advanced { rows: 1, bytes: 1 });
        assert!(lines.due.load(Ordering::Relaxed) >= millis(PAUSE));
        assert_eq!(lines.rows.load(Ordering::Relaxed), 2);
    }
}
