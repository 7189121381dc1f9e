//! The page `docs/cli.md`: every command's help, rendered from the parser itself.

use std::fmt::Write;

const INTRODUCTION: &str = "\
# The command line

This page is made by the program from its own help: `lifeboat --help` and `lifeboat COMMAND --help` say the
same. The options of `lifeboat` itself are those of every command, and stand anywhere on the line.

The repository (`--repo`) is a directory: a path, or a `file://` URL. A SOURCE or TARGET is a URL, such as
`sqlite:path/to.db`, or the name of a `[source.NAME]` in the [configuration file](configuration.md). Flags go before
environment variables (`LIFEBOAT_REPO`, `LIFEBOAT_CONFIG`, `LIFEBOAT_HOST_KEY`), and these before the file.

**Keys.** What opens sealed backups is given by `--identity FILE`, or in the environment: the text of an identity file in
`LIFEBOAT_IDENTITY`, its path in `LIFEBOAT_IDENTITY_FILE`, or a command that prints it in `LIFEBOAT_IDENTITY_COMMAND`; or the passphrase of
an identity that the repository stores, in `LIFEBOAT_PASSPHRASE`, `_FILE` or `_COMMAND`. A command is a JSON list of arguments, or words
between spaces; no shell reads it.

**Passwords.** That of a source NAME is looked for in `LIFEBOAT_SOURCE_<NAME>_PASSWORD` (in capitals, `-` as `_`), then in `_FILE` and
`_COMMAND` of it, then in the configuration file; that of a URL which has none in `LIFEBOAT_PASSWORD`, `_FILE` or `_COMMAND`. Else the places count
that the database's own tools look at, such as `~/.pgpass`.

**Output.** The result goes to stdout and everything else to stderr: progress bars with rate and time left on a terminal,
elsewhere a line when a stage begins and every ten seconds. With `--quiet` there is no progress, and `backup` prints only the
new ID; warnings and errors are still told. With `--json` the result is one document, `{\"version\": 1, ...}`, and stderr
has a line of JSON for each warning and for the error: `{\"version\":1,\"error\":{\"kind\",\"message\",\"hint\",\"causes\",\"exit-code\"}}`.
Within a version, keys are only ever added.

**Questions.** A command that destroys something asks on a terminal and needs `--yes` elsewhere.

**Ctrl-C and SIGTERM** stop in good order and leave nothing half-visible; a second one stops at once.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | the command line or the configuration file makes no sense, or the engine is unknown |
| 3 | finished, but incomplete |
| 4 | verification failed |
| 5 | the restore point is out of reach |
| 10 | no repository there |
| 11 | locked by somebody else |
| 12 | the key does not fit or is missing, or nobody known signed what is there |
| 20 | cannot connect or log in |
| 130 | cancelled |
";

/// The reference of the command line as Markdown.
pub fn reference() -> String {
    let mut command = crate::command().term_width(100);
    command.build();
    let mut page = INTRODUCTION.to_owned();
    section(&mut page, "lifeboat", &mut command);
    below(&mut page, "lifeboat", &command);
    page
}

/// The commands of a command, each with its own.
fn below(page: &mut String, title: &str, command: &clap::Command) {
    for subcommand in command.get_subcommands().filter(|command| command.get_name() != "help") {
        // The flags of every command are said once.
        let mut subcommand = subcommand.clone().mut_args(|arg| {
            let everywhere = arg.is_global_set() || arg.get_id() == "help";
            arg.hide(everywhere)
        });
        let title = format!("{title} {}", subcommand.get_name());
        section(page, &title, &mut subcommand);
        below(page, &title, &subcommand);
    }
}

fn section(page: &mut String, title: &str, command: &mut clap::Command) {
    let help = command.render_help().to_string();
    let lines: Vec<_> = help.lines().map(str::trim_end).collect();
    // Writing to a string does not fail.
    let _ = write!(page, "\n## `{title}`\n\n```text\n{}\n```\n", lines.join("\n").trim());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_section() {
        let page = reference();
        for subcommand in crate::command().get_subcommands() {
            assert!(page.contains(&format!("\n## `lifeboat {}`\n", subcommand.get_name())));
        }
    }
}
