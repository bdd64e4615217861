//! What bash, zsh and fish offer after `completions`, in the shells themselves.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/program.rs"]
mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use program::program;

const COMMANDS: [&str; 4] = ["auth", "check", "status", "completions"];

/// Prints `COMPREPLY` after the registered function ran. `$1` is the script, the others are the words
/// of the command line; bash makes words of their own of `=`.
const IN_BASH: &str = r#"
source "$1"; shift
function=$(complete -p "$1") || exit
function=${function#*-F } function=${function%% *}
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
"$function" "$1" "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}" 2>errors
((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}"
"#;

/// bash-completion finds the script by the command's name.
const IN_BASH_WITH_THE_PACKAGE: &str = r"
source /usr/share/bash-completion/bash_completion
declare -F _filedir >/dev/null || { echo 'the package bash-completion is missing' >&2; exit 1; }
if declare -F _comp_load >/dev/null; then _comp_load -- $2; else _completion_loader $2; fi
";

const IN_FISH: &str = r"
source $argv[1]
complete -C $argv[2]
";

/// Types the line and a tab in an interactive zsh; `$1` is the line.
const IN_ZSH: &str = r#"
zmodload zsh/zpty
print -rn >offered
zpty shell zsh -f -i
zpty -w shell 'source ./setup.zsh; print ready'
zpty -r -m shell printed $'*ready\r\n*'
zpty -w -n shell "$1"$'\t'
repeat 400; do
    zpty -r -t shell printed
    [[ $(<offered) == *done ]] && break
    sleep 0.05
done
[[ $(<offered) == *done ]] || { print -ru2 'zsh completes nothing'; exit 1 }
"#;

/// Appends what is offered, and its description, to the file `offered`, and at last a line `done`.
const ZSH_SETUP: &str = r#"
fpath=($PWD $fpath)
autoload -Uz compinit; compinit -D -u
setopt no_beep
PS1=
compadd() {
    # A call with one of these options fills arrays, and offers nothing.
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return; fi
    local -a found described
    local i=${@[(i)-d]}
    ((i < $#)) && described=(${(P)${@[i+1]}})
    builtin compadd -A found -D described "$@"
    for ((i = 1; i <= $#found; i++)); do print -r -- "$found[i]"$'\t'"$described[i]" >>offered; done
    builtin compadd "$@"
}
finish() { print -r -- done >>offered }
comppostfuncs=(finish)
"#;

/// What a shell offers: words, each with its description.
type Offers = BTreeMap<String, String>;

/// A folder with the scripts and with some files.
struct Shells(TempDir);

impl Shells {
    fn new() -> Shells {
        let shells = Shells(tempfile::tempdir().unwrap());
        for (shell, script) in [
            ("bash", "completions/imap-to-gmail-sync"),
            ("zsh", "_imap-to-gmail-sync"),
            ("fish", "imap-to-gmail-sync.fish"),
        ] {
            let mut command = program(shells.path());
            let run = command.args(["completions", "--shell", shell]);
            let run = run.output().unwrap();
            assert!(run.status.success(), "{run:?}");
            shells.write(script, &run.stdout);
        }
        shells.write("setup.zsh", ZSH_SETUP.as_bytes());
        shells.write("work/config.json", b"");
        shells.write("work/notes.txt", b"");
        shells.write("work/folder/other.json", b"");
        shells
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &[u8]) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn run(&self, shell: &str, words: &[&str]) -> Output {
        let mut command = Command::new(shell);
        command
            .args(words)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path())
            .env("BASH_COMPLETION_USER_DIR", self.path())
            .env("TERM", "dumb");
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("{shell}: {error}"));
        assert!(output.status.success(), "{shell} {words:?}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{shell}");
        output
    }

    fn bash(&self, before: &str, line: &str) -> Offers {
        let script = format!("{before}{IN_BASH}");
        let mut words = vec!["--norc", "-c", &script, "bash"];
        words.push("completions/imap-to-gmail-sync");
        let with_equals = line.replace('=', " = ");
        words.extend(with_equals.split(' '));
        // Behind an equals sign the word at the cursor is the sign itself.
        if line.ends_with('=') {
            words.pop();
        }
        offers(&self.run("bash", &words).stdout)
    }

    fn fish(&self, line: &str) -> Offers {
        let words = [
            "--no-config",
            "-c",
            IN_FISH,
            "imap-to-gmail-sync.fish",
            line,
        ];
        // With an equals sign fish puts the option before the value.
        let option = line.rsplit(' ').next().unwrap_or_default();
        let option = option.split_inclusive('=').next().unwrap_or_default();
        let all = offers(&self.run("fish", &words).stdout);
        let bare = |word: String| match word.strip_prefix(option) {
            Some(value) if option.ends_with('=') => value.to_owned(),
            _ => word,
        };
        all.into_iter()
            .map(|(word, described)| (bare(word), described))
            .collect()
    }

    fn zsh(&self, line: &str) -> Offers {
        self.run("zsh", &["-f", "-c", IN_ZSH, "zsh", line]);
        let mut all = offers(&fs::read(self.path().join("offered")).unwrap());
        all.remove("done");
        // It shows `word -- description`, cut to the width of the terminal.
        for described in all.values_mut() {
            let text = described.split_once("-- ").map(|(_, text)| text.to_owned());
            *described = text.unwrap_or_default();
        }
        all
    }

    /// The words that each shell offers. File names count as bare names; folders end in a slash in
    /// some shells only.
    fn all(&self, line: &str) -> [(&'static str, BTreeSet<String>); 4] {
        let line = format!("imap-to-gmail-sync {line}");
        let words = |offers: Offers| {
            let bare = |word: String| word.trim_end_matches('/').to_owned();
            offers.into_keys().map(bare).collect()
        };
        [
            ("bash", words(self.bash("", &line))),
            (
                "bash with its package",
                words(self.bash(IN_BASH_WITH_THE_PACKAGE, &line)),
            ),
            ("zsh", words(self.zsh(&line))),
            ("fish", words(self.fish(&line))),
        ]
    }

    /// The options in the help of a command, each with its description.
    fn options_in_help(&self, command: Option<&str>) -> Offers {
        let mut run = program(self.path());
        let run = run.args(command).arg("--help").output().unwrap();
        let help = String::from_utf8(run.stdout).unwrap();
        let options = help.split("Options:\n").nth(1).unwrap();
        let mut found = Offers::new();
        let mut last = String::new();
        for line in options.lines().take_while(|line| !line.is_empty()) {
            let text = match line.strip_prefix("  --") {
                Some(option) => {
                    let (name, text) = option.split_once(' ').unwrap();
                    last = format!("--{name}");
                    text
                }
                None => line,
            };
            found.entry(last.clone()).or_default().push_str(text.trim());
        }
        assert!(found.len() > 1, "{help}");
        found
    }
}

/// The lines of a shell's output: a word, or a word, a tab and its description.
fn offers(octets: &[u8]) -> Offers {
    let text = String::from_utf8_lossy(octets);
    let entry = |line: &str| {
        let (word, described) = line.split_once('\t').unwrap_or((line, ""));
        (word.to_owned(), described.to_owned())
    };
    text.lines().map(entry).collect()
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn each_shell_offers_exactly_the_options_that_the_help_lists() {
    let shells = Shells::new();
    for command in [None].into_iter().chain(COMMANDS.map(Some)) {
        let options: BTreeSet<String> = shells.options_in_help(command).into_keys().collect();
        let line = format!("{} --", command.unwrap_or_default());
        for (shell, offered) in shells.all(line.trim_start()) {
            assert_eq!(offered, options, "{shell}, {command:?}");
        }
    }
}

#[test]
fn zsh_and_fish_describe_the_options_as_the_help_does() {
    let shells = Shells::new();
    for command in [None].into_iter().chain(COMMANDS.map(Some)) {
        let line = format!("imap-to-gmail-sync {} --", command.unwrap_or_default());
        let line = line.replace("  ", " ");
        for (shell, offered) in [("zsh", shells.zsh(&line)), ("fish", shells.fish(&line))] {
            for (option, text) in shells.options_in_help(command) {
                let described = offered[&option].replace(' ', "");
                let text = text.replace(' ', "");
                let (begins, len) = (text.starts_with(&described), described.len());
                assert!(begins && len > 10, "{shell}, {option}: {described}");
            }
        }
    }
}

#[test]
fn commands_are_offered_as_the_first_word_only() {
    let shells = Shells::new();
    for (shell, offered) in shells.all("") {
        let commands: BTreeSet<String> = offered
            .into_iter()
            .filter(|word| !word.starts_with('-'))
            .collect();
        assert_eq!(commands, set(&COMMANDS), "{shell}");
    }
    for (shell, offered) in shells.all("au") {
        assert_eq!(offered, set(&["auth"]), "{shell}");
    }
    for (shell, offered) in shells.all("--debug au") {
        assert_eq!(offered, set(&[]), "{shell}");
    }
    // A configuration of that name is no command.
    for (shell, offered) in shells.all("--config auth --w") {
        assert_eq!(offered, set(&["--watch"]), "{shell}");
    }
    let described = [
        shells.zsh("imap-to-gmail-sync au"),
        shells.fish("imap-to-gmail-sync au"),
    ];
    for offered in described {
        assert_eq!(offered["auth"], "Makes the token file");
    }
}

#[test]
fn values_are_files_folders_and_words_as_the_option_requires() {
    let shells = Shells::new();
    let cases: [(&str, &[&str]); 13] = [
        ("--config work/c", &["work/config.json"]),
        ("--config work/", &["work/config.json", "work/folder"]),
        ("--config=work/c", &["work/config.json"]),
        ("auth --credentials work/c", &["work/config.json"]),
        ("status --metrics work/n", &["work/notes.txt"]),
        ("status --state-folder work/", &["work/folder"]),
        ("status --state-folder=work/f", &["work/folder"]),
        ("--log s", &["setup.zsh", "stderr", "stdout", "syslog"]),
        ("--log work/n", &["work/notes.txt"]),
        ("--log-format ", &["json", "text"]),
        ("--log-format=", &["json", "text"]),
        ("completions --shell ", &["bash", "fish", "zsh"]),
        ("--since ", &[]),
    ];
    for (line, expected) in cases {
        for (shell, offered) in shells.all(line) {
            // zsh offers the last part of a path.
            let last_part = |word: &&str| word.rsplit('/').next().unwrap_or_default().to_owned();
            let expected = match shell {
                "zsh" => expected.iter().map(last_part).collect(),
                _ => set(expected),
            };
            assert_eq!(offered, expected, "{shell}: {line}");
        }
    }
}
