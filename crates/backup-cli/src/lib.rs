//! The command line of lifeboat: it parses flags, calls the library and prints what comes back. A map:
//!
//! * `args` and `commands`: what can be typed; one file a command, each one call of the library.
//! * `session`: what every command needs: the configuration, the repository, whoever watches.
//! * `output`: results on stdout; `progress`: narration on stderr; `confirm`: questions.
//! * `app`: from arguments to an exit code; `signals`: Ctrl-C and SIGTERM.

mod app;
mod args;
mod commands;
mod confirm;
mod output;
mod progress;
mod reference;
mod session;
mod signals;

pub use app::run;
pub use args::command;
pub use reference::reference;
