//! The completions for bash.

use super::{CompletedCommand, CompletedOption, ValueKind, command_names};
use crate::cli::args::PROGRAM;

/// A shell function completes the word at the cursor. File names that need quotes are left to the
/// function of the package bash-completion, which is there where that has loaded this script.
const HELPERS: &str = r#"
_imap_to_gmail_sync_files() {
    if declare -F _filedir >/dev/null; then
        _filedir "$@"
        return
    fi
    compopt -o filenames
    case ${1-} in
        '') mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
        -d) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
        *) mapfile -t COMPREPLY < <(compgen -d -- "$cur"; compgen -f -X "!*.$1" -- "$cur") ;;
    esac
}

_imap_to_gmail_sync_words() {
    local found
    mapfile -t found < <(compgen -W "$1" -- "$cur")
    COMPREPLY+=("${found[@]}")
}
"#;

pub(super) fn script(commands: &[CompletedCommand]) -> String {
    let names = command_names(commands).join(" ");
    // The command without a name is the last case, because it is the default.
    let cases: String = commands.iter().rev().map(case).collect();
    format!(
        r"# Completions of {PROGRAM} for bash.
{HELPERS}
_imap_to_gmail_sync() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} equals='' command=''
    COMPREPLY=()
    # bash makes three words of --option=value.
    if [[ $cur == = ]]; then
        equals=yes cur=''
    elif [[ $prev == = ]]; then
        equals=yes prev=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    if ((COMP_CWORD > 1)); then
        command=${{COMP_WORDS[1]}}
    else
        _imap_to_gmail_sync_words '{names}'
    fi
    case $command in
{cases}    esac
}}

complete -F _imap_to_gmail_sync {PROGRAM}
"
    )
}

fn case(command: &CompletedCommand) -> String {
    let pattern = command.name.unwrap_or("*");
    let values: String = command.options.iter().filter_map(value).collect();
    let names: Vec<&str> = command.option_names().collect();
    let names = names.join(" ");
    format!(
        r"        {pattern})
            case $prev in
{values}            esac
            [[ $equals ]] || _imap_to_gmail_sync_words '{names}'
            ;;
"
    )
}

fn value(option: &CompletedOption) -> Option<String> {
    let complete = match option.value? {
        ValueKind::JsonFile => "_imap_to_gmail_sync_files json; ".to_owned(),
        ValueKind::AnyFile => "_imap_to_gmail_sync_files; ".to_owned(),
        ValueKind::Folder => "_imap_to_gmail_sync_files -d; ".to_owned(),
        ValueKind::Word(words) => format!("_imap_to_gmail_sync_words '{}'; ", words.join(" ")),
        ValueKind::WordOrFile(words) => format!(
            "_imap_to_gmail_sync_files; _imap_to_gmail_sync_words '{}'; ",
            words.join(" ")
        ),
        ValueKind::Free => String::new(),
    };
    let long = option.long;
    Some(format!("                {long}) {complete}return ;;\n"))
}
