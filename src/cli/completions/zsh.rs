//! The completions for zsh.

use super::{CompletedCommand, CompletedOption, ValueKind, quote};
use crate::cli::args::PROGRAM;

pub(super) fn script(commands: &[CompletedCommand]) -> String {
    let summaries: String = commands
        .iter()
        .filter_map(|command| {
            let entry = format!("{}:{}", command.name?, command.summary);
            Some(format!("            {}\n", quote(&entry)))
        })
        .collect();
    // The command without a name is the last case, because it is the default.
    let cases: String = commands.iter().rev().map(case).collect();
    format!(
        r#"#compdef {PROGRAM}
# Completions of {PROGRAM} for zsh.

_{PROGRAM}-words-or-files() {{
    _alternative "words:word:($*)" 'files:file:_files'
}}

_{PROGRAM}() {{
    local command='' ret=1
    local -a commands
    if ((CURRENT == 2)); then
        commands=(
{summaries}        )
        _describe -t commands command commands && ret=0
    else
        command=$words[2]
    fi
    case $command in
{cases}    esac
    return ret
}}

if [[ $funcstack[1] == _{PROGRAM} ]]; then
    _{PROGRAM} "$@"
else
    compdef _{PROGRAM} {PROGRAM}
fi
"#
    )
}

fn case(command: &CompletedCommand) -> String {
    let pattern = command.name.unwrap_or("*");
    let skip_name = if command.name.is_some() {
        "            shift words; ((CURRENT--))\n"
    } else {
        ""
    };
    let specs: Vec<String> = command.options.iter().flat_map(specs).collect();
    let specs = specs.join(" \\\n                ");
    format!(
        "        ({pattern})\n{skip_name}            _arguments \\\n                {specs} && ret=0\n            ;;\n"
    )
}

/// The specifications of `_arguments`, one for each name of the option.
fn specs(option: &CompletedOption) -> Vec<String> {
    // Of the special characters, only brackets end a description.
    let description = option.description.replace('[', "\\[").replace(']', "\\]");
    let names = option.short.into_iter().chain([option.long]);
    // An option with two names is offered once; help and version exclude everything else.
    let excluded = option.short.map_or("", |_| "(- *)");
    let repeat = if option.may_repeat { "*" } else { "" };
    let value = option.value.map(value).unwrap_or_default();
    let equals = option.value.map_or("", |_| "=");
    names
        .map(|name| {
            quote(&format!(
                "{excluded}{repeat}{name}{equals}[{description}]{value}"
            ))
        })
        .collect()
}

fn value(kind: ValueKind) -> String {
    match kind {
        ValueKind::JsonFile => ":file:_files -g \"*.json\"".to_owned(),
        ValueKind::AnyFile => ":file:_files".to_owned(),
        ValueKind::Folder => ":folder:_files -/".to_owned(),
        ValueKind::Word(words) => format!(":word:({})", words.join(" ")),
        // The space keeps `_arguments` from adding options of its own.
        ValueKind::WordOrFile(words) => {
            format!(":target: _{PROGRAM}-words-or-files {}", words.join(" "))
        }
        ValueKind::Free => ":value: ".to_owned(),
    }
}
