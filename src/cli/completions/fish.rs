//! The completions for fish.

use super::{CompletedCommand, CompletedOption, ValueKind, command_names, quote};
use crate::cli::args::PROGRAM;

pub(super) fn script(commands: &[CompletedCommand]) -> String {
    let names = command_names(commands).join(" ");
    let lines: String = commands.iter().flat_map(lines).collect();
    format!(
        r#"# Completions of {PROGRAM} for fish.

# Whether the first word selects this command; without an argument, whether it selects none.
function __imap_to_gmail_sync_command
    set -l words (commandline -opc)
    if contains -- "$words[2]" {names}
        test "$words[2]" = "$argv[1]"
    else
        test -z "$argv[1]"
    end
end

# The files that begin like the word at the cursor, or like the value in --option=value, and match.
function __imap_to_gmail_sync_files
    set -l name (string replace -r -- '^--[^=]*=' '' (commandline -ct))
    complete -C "__fish_command_without_completions $name" | string match -r -- $argv[1]
end

complete -c {PROGRAM} -f
{lines}"#
    )
}

fn lines(command: &CompletedCommand) -> Vec<String> {
    let as_first_word = command.name.map(|name| {
        let summary = quote(&command.summary);
        format!("complete -c {PROGRAM} -n __fish_is_first_arg -a {name} -d {summary}\n")
    });
    let condition = match command.name {
        Some(name) => format!("'__imap_to_gmail_sync_command {name}'"),
        None => "__imap_to_gmail_sync_command".to_owned(),
    };
    let options = command
        .options
        .iter()
        .map(|option| line(&condition, option));
    as_first_word.into_iter().chain(options).collect()
}

fn line(condition: &str, option: &CompletedOption) -> String {
    let short = option.short.map(|short| short.replace('-', " -s "));
    let short = short.unwrap_or_default();
    let long = option.long.trim_start_matches('-');
    let value = option.value.map(value).unwrap_or_default();
    let description = quote(&option.description);
    format!("complete -c {PROGRAM} -n {condition}{short} -l {long}{value} -d {description}\n")
}

fn value(kind: ValueKind) -> String {
    match kind {
        ValueKind::JsonFile => {
            r#" -x -a '(__imap_to_gmail_sync_files ".+(/|\\.json)\$")'"#.to_owned()
        }
        ValueKind::AnyFile => " -rF".to_owned(),
        ValueKind::Folder => r#" -x -a '(__imap_to_gmail_sync_files ".+/\$")'"#.to_owned(),
        ValueKind::Word(words) => format!(" -x -a '{}'", words.join(" ")),
        ValueKind::WordOrFile(words) => format!(" -rF -a '{}'", words.join(" ")),
        ValueKind::Free => " -x".to_owned(),
    }
}
