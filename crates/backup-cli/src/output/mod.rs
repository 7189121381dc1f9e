//! What is printed: results on stdout, everything else on stderr.

mod human;
mod table;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::Write as _;
use std::io::{ErrorKind as IoKind, Write as _};

use lifeboat::{Error, Result};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::Global;

pub(crate) use human::{count, duration, rate, size, time, word};
pub(crate) use table::{Align, Table, fields};

/// The version of the JSON documents. Keys are only ever added to a version.
const JSON_VERSION: u32 = 1;

/// How to print. Copies are the same.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Output {
    json: bool,
    verbose: bool,
    quiet: bool,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        Self { json: global.json, verbose: global.verbose, quiet: global.quiet }
    }

    /// Everything as JSON.
    pub(crate) fn json() -> Self {
        Self { json: true, ..Self::default() }
    }

    /// Whether progress is told.
    pub(crate) fn narrates(self) -> bool {
        !self.json && !self.quiet
    }

    /// Prints the result of the command: `json` with a version, or `text`.
    pub(crate) fn result(self, json: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        let text = if self.json { versioned(json)? } else { text() };
        let mut stdout = std::io::stdout().lock();
        let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        match write!(stdout, "{text}{newline}").and_then(|()| stdout.flush()) {
            // Whoever read it has seen enough.
            Err(error) if error.kind() == IoKind::BrokenPipe => Ok(()),
            Err(error) => Err(Error::io("print the result", error)),
            Ok(()) => Ok(()),
        }
    }

    /// Tells something that is neither result nor warning.
    pub(crate) fn note(self, text: &str) {
        if self.narrates() {
            narrate(&plain(text));
        }
    }

    /// Warns, even if asked to be quiet.
    pub(crate) fn warning(self, text: &str) {
        if self.json {
            narrate(&json!({ "version": JSON_VERSION, "warning": text }).to_string());
        } else {
            narrate(&format!("warning: {}", plain(text)));
        }
    }

    /// Says what went wrong and what to do.
    pub(crate) fn error(self, error: &Error, code: u8) {
        if self.json {
            narrate(&json!({ "version": JSON_VERSION, "error": error_json(error, code) }).to_string());
        } else {
            narrate(&error_text(error, self.verbose));
        }
    }
}

fn versioned(json: &impl Serialize) -> Result<String> {
    #[derive(Serialize)]
    struct Document<'a, T> {
        version: u32,
        #[serde(flatten)]
        result: &'a T,
    }
    serde_json::to_string_pretty(&Document { version: JSON_VERSION, result: json })
        .map_err(|error| Error::internal("the result cannot be said in JSON").because(error))
}

/// An error as it stands in JSON.
pub(crate) fn error_json(error: &Error, code: u8) -> Value {
    json!({
        "kind": error.kind().name(),
        "message": error.message(),
        "hint": error.advice(),
        "causes": causes(error),
        "exit-code": code,
    })
}

fn error_text(error: &Error, verbose: bool) -> String {
    let mut text = format!("error: {}", plain(&error.message()));
    if verbose {
        for cause in causes(error) {
            let _ = write!(text, "\ncause: {}", plain(&cause));
        }
    }
    if let Some(hint) = error.advice() {
        let _ = write!(text, "\nhint: {}", plain(hint));
    }
    text
}

/// The chain of causes, but for those that repeat what was said.
fn causes(error: &Error) -> Vec<String> {
    let mut said = error.message();
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !said.ends_with(&text) {
            causes.push(text.clone());
        }
        said = text;
        next = cause.source();
    }
    causes
}

/// `text` without anything that would steer a terminal: control characters, and those that turn the direction of
/// writing, are escaped.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if steers(c) { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    Cow::Owned(escaped)
}

/// `word` as a shell takes it for one word.
pub(crate) fn shell_word(word: &str) -> Cow<'_, str> {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(safe) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

/// Writes a line to stderr. If that cannot be done, there is nobody left to tell.
fn narrate(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use lifeboat::ErrorKind;

    use super::*;

    fn error() -> Error {
        Error::new(ErrorKind::NoRepository, "there is none")
            .during("open \u{1b}[2Jbackups")
            .hint("make one")
            .because(std::io::Error::other("the \u{7}cause"))
    }

    #[test]
    fn an_error_is_a_line_and_its_hint_another() {
        assert_eq!(
            error_text(&error(), false),
            "error: open \\u{1b}[2Jbackups: there is none\nhint: make one"
        );
        assert_eq!(
            error_text(&error(), true),
            "error: open \\u{1b}[2Jbackups: there is none\ncause: the \\u{7}cause\nhint: make one"
        );
    }

    #[test]
    fn an_error_in_json_has_its_kind_and_its_exit_code() {
        let json = error_json(&error(), 10);
        assert_eq!(json["kind"], "no-repository");
        assert_eq!(json["message"], "open \u{1b}[2Jbackups: there is none");
        assert_eq!(json["hint"], "make one");
        assert_eq!(json["exit-code"], 10);
    }

    #[test]
    fn a_cause_that_repeats_the_message_is_left_out() {
        let error = Error::io("read it", std::io::Error::other("broken"));
        assert_eq!(causes(&error), Vec::<String>::new());
    }

    #[test]
    fn a_document_begins_with_its_version() {
        let text = versioned(&json!({ "backups": [] })).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document, json!({ "version": 1, "backups": [] }));
        assert!(text.starts_with("{\n  \"version\": 1,"), "{text}");
    }

    #[test]
    fn what_would_steer_a_terminal_is_escaped() {
        assert_eq!(plain("naïve 表"), "naïve 表");
        assert_eq!(plain("a\u{1b}]0;x\u{7}\r\n"), "a\\u{1b}]0;x\\u{7}\\r\\n");
        assert_eq!(plain("a\u{202e}b"), "a\\u{202e}b");
    }

    #[test]
    fn a_word_for_the_shell_is_quoted_if_it_must_be() {
        assert_eq!(shell_word("/var/backups"), "/var/backups");
        assert_eq!(shell_word("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(shell_word(""), "''");
    }
}
