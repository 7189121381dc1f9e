//! Questions before something is destroyed.

use std::io::{BufRead, IsTerminal, Write};

use lifeboat::{Ctx, Error, ErrorKind, Result};
use tokio::sync::oneshot;

/// Whether there is somebody to ask.
pub(crate) fn is_possible() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// The error of a destructive command that nobody can be asked about.
pub(crate) fn impossible(what: &str) -> Error {
    Error::usage(format!("{what}, and there is nobody to ask whether that is meant"))
        .hint("add --yes if it is; nothing was touched")
}

/// Asks on the terminal; an error unless the answer is yes.
pub(crate) async fn ask(ctx: &Ctx, question: &str) -> Result<()> {
    let mut stderr = std::io::stderr();
    write!(stderr, "{} [y/N] ", crate::output::plain(question))
        .and_then(|()| stderr.flush())
        .map_err(|error| Error::io("ask", error))?;
    // On a thread of its own, which nobody waits for: reading a terminal cannot be cancelled.
    let (send, receive) = oneshot::channel();
    std::thread::spawn(move || {
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        let _ = send.send(read.is_ok() && is_yes(&answer));
    });
    let yes = ctx.run(async { Ok(receive.await.unwrap_or(false)) }).await?;
    if yes { Ok(()) } else { Err(Error::new(ErrorKind::Cancelled, "not confirmed: nothing was touched")) }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!(is_yes("y\n") && is_yes(" YES \n"));
        assert!(!is_yes("\n") && !is_yes("") && !is_yes("yikes\n"));
    }
}
