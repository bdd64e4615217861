//! `completions`: prints the completions for a shell. Its options.
//!
//! The scripts are generated from the options of all commands: no other list exists.

use argh::{ArgsInfo, CommandInfoWithArgs, FlagInfo, FlagInfoKind, FromArgs, Optionality};

use crate::cli::args::{NAMED_COMMANDS, PROGRAM, SHORT_NAMES, see_help, usage};
use crate::cli::sync::RawSyncArgs;
use crate::error::Result;

mod bash;
mod fish;
mod zsh;

/// The word that selects the command.
pub(crate) const NAME: &str = "completions";

/// The shells that there are completions for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// The options as argh parses them.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    help_triggers("--help"),
    description = "Prints the completions for a shell. The packages have them already.",
    example = "imap-to-gmail-sync completions --shell bash \\\n    \
               >~/.local/share/bash-completion/completions/imap-to-gmail-sync\n\
               imap-to-gmail-sync completions --shell zsh \\\n    \
               >/usr/local/share/zsh/site-functions/_imap-to-gmail-sync\n\
               imap-to-gmail-sync completions --shell fish \\\n    \
               >~/.config/fish/completions/imap-to-gmail-sync.fish",
    note = "The folder must exist. bash finds the file if the package bash-completion is\n\
            installed, zsh in any folder of $fpath.\n\n\
            Exit status: 0 printed; 64 usage."
)]
pub(crate) struct RawCompletionsArgs {
    /// bash, zsh or fish; required
    #[argh(option, arg_name = "shell")]
    shell: Option<String>,
}

impl RawCompletionsArgs {
    pub(crate) fn validate(self) -> Result<Shell> {
        match self.shell.as_deref() {
            Some("bash") => Ok(Shell::Bash),
            Some("zsh") => Ok(Shell::Zsh),
            Some("fish") => Ok(Shell::Fish),
            Some(_) => Err(usage("--shell requires bash, zsh or fish")),
            None => Err(usage("--shell SHELL is missing").remedy(see_help(&[PROGRAM, NAME]))),
        }
    }
}

/// The script that makes a shell complete the options of this version.
pub(crate) fn script(shell: Shell) -> String {
    let commands = commands();
    match shell {
        Shell::Bash => bash::script(&commands),
        Shell::Zsh => zsh::script(&commands),
        Shell::Fish => fish::script(&commands),
    }
}

/// A command with what a shell can complete in it.
struct CompletedCommand {
    /// The first word; none for the command without a name.
    name: Option<&'static str>,
    summary: String,
    options: Vec<CompletedOption>,
}

struct CompletedOption {
    /// With the leading `--`.
    long: &'static str,
    /// With the leading `-`.
    short: Option<&'static str>,
    description: String,
    may_repeat: bool,
    /// What its value is; none if it takes no value.
    value: Option<ValueKind>,
}

/// What a shell offers as the value of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueKind {
    JsonFile,
    AnyFile,
    Folder,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words, or a file.
    WordOrFile(&'static [&'static str]),
    /// A number, a date, a size: nothing to offer.
    Free,
}

/// All commands, the one without a name first.
fn commands() -> Vec<CompletedCommand> {
    let sync = CompletedCommand::new(None, &RawSyncArgs::get_args_info());
    let named = NAMED_COMMANDS
        .iter()
        .map(|command| CompletedCommand::new(Some(command.name), &(command.info)()));
    std::iter::once(sync).chain(named).collect()
}

impl CompletedCommand {
    fn new(name: Option<&'static str>, info: &CommandInfoWithArgs) -> CompletedCommand {
        CompletedCommand {
            name,
            summary: summary(info.description),
            options: info.flags.iter().map(CompletedOption::new).collect(),
        }
    }

    /// The names of all options, the short ones, too.
    fn option_names(&self) -> impl Iterator<Item = &'static str> {
        let names = |option: &CompletedOption| option.short.into_iter().chain([option.long]);
        self.options.iter().flat_map(names)
    }
}

impl CompletedOption {
    fn new(flag: &FlagInfo<'static>) -> CompletedOption {
        let short = SHORT_NAMES.iter().find(|(_, long)| *long == flag.long);
        CompletedOption {
            long: flag.long,
            short: short.map(|(short, _)| *short),
            description: one_line(flag.description),
            may_repeat: matches!(flag.optionality, Optionality::Repeating),
            value: match flag.kind {
                FlagInfoKind::Switch => None,
                FlagInfoKind::Option { arg_name } => Some(ValueKind::of(flag.long, arg_name)),
            },
        }
    }
}

impl ValueKind {
    fn of(option: &str, value_name: &str) -> ValueKind {
        match (option, value_name) {
            ("--config" | "--credentials" | "--state-file" | "--token", _) => ValueKind::JsonFile,
            (_, "file") => ValueKind::AnyFile,
            (_, "folder") => ValueKind::Folder,
            (_, "target") => ValueKind::WordOrFile(&["stdout", "stderr", "syslog"]),
            (_, "format") => ValueKind::Word(&["text", "json"]),
            (_, "shell") => ValueKind::Word(&["bash", "zsh", "fish"]),
            _ => ValueKind::Free,
        }
    }
}

/// The beginning of a command's description.
fn summary(description: &str) -> String {
    let text = one_line(description);
    let end = text.find([',', ':', '.']).unwrap_or(text.len());
    text.get(..end).unwrap_or_default().to_owned()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The names of those commands that have one.
fn command_names(commands: &[CompletedCommand]) -> Vec<&'static str> {
    commands.iter().filter_map(|command| command.name).collect()
}

/// A word of the scripts in single quotes, which all three shells read alike if it has no backslash.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::args::CliCommand;

    #[test]
    fn each_word_that_is_offered_as_a_value_is_accepted() {
        for command in commands() {
            for option in &command.options {
                let Some(ValueKind::Word(words) | ValueKind::WordOrFile(words)) = option.value
                else {
                    continue;
                };
                for word in words {
                    let name = command.name.into_iter();
                    let required = command.name.is_none().then_some("--config=c.json");
                    let typed = format!("{}={word}", option.long);
                    let line = name.chain(required).chain([typed.as_str()]);
                    let line: Vec<OsString> = line.map(OsString::from).collect();
                    assert!(
                        CliCommand::parse(line.clone().into_iter()).is_ok(),
                        "{line:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_kind_of_every_value_was_thought_of() {
        let free = ["seconds", "date", "size", "number", "duration"];
        let sync = RawSyncArgs::get_args_info();
        let named = NAMED_COMMANDS.iter().map(|command| (command.info)());
        for info in [sync].into_iter().chain(named) {
            for flag in info.flags {
                let FlagInfoKind::Option { arg_name } = flag.kind else {
                    continue;
                };
                let is_free = ValueKind::of(flag.long, arg_name) == ValueKind::Free;
                assert_eq!(is_free, free.contains(&arg_name), "{}", flag.long);
            }
        }
    }
}
