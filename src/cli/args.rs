//! Parsing of the command line: which command it names, and what all commands share.

use std::ffi::OsString;
use std::fmt;
use std::iter;
use std::path::PathBuf;

use argh::{ArgsInfo, CommandInfoWithArgs, FlagInfo, FlagInfoKind, FromArgs, Optionality};

use crate::cli::auth::{self, RawAuthArgs};
use crate::cli::check::{self, CheckArgs, RawCheckArgs};
use crate::cli::completions::{self, RawCompletionsArgs, Shell};
use crate::cli::status::{self, RawStatusArgs, StatusArgs};
use crate::cli::sync::{RawSyncArgs, SyncArgs};
use crate::error::{Error, ErrorKind, Result, Side};
use crate::oauth::consent::ConsentOptions;
use crate::suggest::suggest;
use crate::untrusted::Untrusted;

pub(crate) const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// The columns of a terminal; argh wraps the descriptions of options there, and nothing else.
const MAX_HELP_WIDTH: usize = 80;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CliCommand {
    /// Copies mail; the command without a name.
    Sync(SyncArgs),
    /// Makes the first token.
    Auth(ConsentOptions),
    /// Says what works.
    Check(CheckArgs),
    /// Reports what the state says.
    Status(StatusArgs),
    /// Prints the completions for a shell.
    Completions(Shell),
}

/// A command that is selected by the first word.
pub(crate) struct NamedCommand {
    pub name: &'static str,
    /// Its description and its options.
    pub info: fn() -> CommandInfoWithArgs,
    parse: fn(Vec<String>) -> Result<CliCommand, EarlyExit>,
}

/// All commands but the one without a name, in the order of their use.
pub(crate) const NAMED_COMMANDS: [NamedCommand; 4] = [
    NamedCommand {
        name: auth::NAME,
        info: RawAuthArgs::get_args_info,
        parse: |words| {
            let options: RawAuthArgs = parse_options(&[PROGRAM, auth::NAME], words)?;
            Ok(CliCommand::Auth(options.validate()?))
        },
    },
    NamedCommand {
        name: check::NAME,
        info: RawCheckArgs::get_args_info,
        parse: |words| {
            let options: RawCheckArgs = parse_options(&[PROGRAM, check::NAME], words)?;
            Ok(CliCommand::Check(options.validate()?))
        },
    },
    NamedCommand {
        name: status::NAME,
        info: RawStatusArgs::get_args_info,
        parse: |words| {
            let options: RawStatusArgs = parse_options(&[PROGRAM, status::NAME], words)?;
            Ok(CliCommand::Status(options.validate()?))
        },
    },
    NamedCommand {
        name: completions::NAME,
        info: RawCompletionsArgs::get_args_info,
        parse: |words| {
            let options: RawCompletionsArgs = parse_options(&[PROGRAM, completions::NAME], words)?;
            Ok(CliCommand::Completions(options.validate()?))
        },
    },
];

/// Options that are also written with one letter.
pub(crate) const SHORT_NAMES: [(&str, &str); 2] = [("-h", "--help"), ("-V", "--version")];

/// Why no command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EarlyExit {
    /// Help or version was asked for: the text for standard output.
    Print(String),
    /// The command line is wrong ([`ErrorKind::Usage`]).
    UsageError(Error),
}

impl From<Error> for EarlyExit {
    fn from(error: Error) -> EarlyExit {
        EarlyExit::UsageError(error)
    }
}

impl CliCommand {
    /// Parses the command line, without the program's name.
    pub fn parse(words: impl Iterator<Item = OsString>) -> Result<CliCommand, EarlyExit> {
        let mut words = words.map(utf8).collect::<Result<Vec<_>>>()?;
        let first = words.first().and_then(|word| named_command(word));
        if let Some(command) = first {
            words.remove(0);
            return (command.parse)(words);
        }
        let options: RawSyncArgs = parse_options(&[PROGRAM], words)?;
        Ok(CliCommand::Sync(options.validate()?))
    }
}

fn named_command(word: &str) -> Option<NamedCommand> {
    NAMED_COMMANDS
        .into_iter()
        .find(|command| command.name == word)
}

fn parse_options<T: FromArgs + ArgsInfo>(
    command: &[&str],
    words: Vec<String>,
) -> Result<T, EarlyExit> {
    let options = expand(command, words, T::get_args_info().flags)?;
    let is_typed = |wanted: &str| options.iter().any(|(name, _)| *name == wanted);
    let parse = |words: &[&str]| T::from_args(command, words).map_err(|exit| exit.output);
    // `--help` works beside any other option.
    if is_typed("--help") {
        let help = parse(&["--help"]).err().unwrap_or_default();
        return Err(EarlyExit::Print(wrap_usage(&help)));
    }
    if is_typed("--version") {
        let version = format!("{PROGRAM} {}\n", env!("CARGO_PKG_VERSION"));
        return Err(EarlyExit::Print(version));
    }
    let words: Vec<&str> = options
        .iter()
        .flat_map(|(name, value)| iter::once(*name).chain(value.as_deref()))
        .collect();
    parse(&words).map_err(|output| usage(Untrusted::new(output.trim())).into())
}

/// Wraps the first line of a help text, in which argh lists all options.
fn wrap_usage(help: &str) -> String {
    let (usage, rest) = help.split_once('\n').unwrap_or((help, ""));
    let mut wrapped = String::new();
    let mut width = 0;
    for option in usage.split_inclusive("] ") {
        if width + option.trim_end().len() > MAX_HELP_WIDTH {
            wrapped.truncate(wrapped.trim_end().len());
            wrapped.push_str("\n    ");
            width = 4;
        }
        wrapped.push_str(option);
        width += option.len();
    }
    // argh also indents empty lines.
    let rest: Vec<&str> = rest.lines().map(str::trim_end).collect();
    format!("{wrapped}\n{}\n", rest.join("\n"))
}

/// The value of an option that names a file.
pub(crate) fn path(option: &str, value: Option<String>) -> Result<Option<PathBuf>> {
    if value.as_ref().is_some_and(String::is_empty) {
        return Err(usage(format_args!("{option} requires a file")));
    }
    Ok(value.map(PathBuf::from))
}

/// The long name of an option, and its value, which argh expects as a word of its own.
type TypedOption = (&'static str, Option<String>);

/// Splits `--option=value`, replaces `-h` and `-V` by their long names, and rejects unknown options.
/// A value is not split: a file may be called `a=b`.
fn expand(
    command: &[&str],
    words: Vec<String>,
    known: &[FlagInfo<'static>],
) -> Result<Vec<TypedOption>> {
    let mut words = words.into_iter().peekable();
    let mut expanded: Vec<TypedOption> = Vec::new();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let long_name = SHORT_NAMES.iter().find(|(short, _)| *short == name);
        let name = long_name.map_or(name, |(_, long)| *long);
        let Some(flag) = known.iter().find(|flag| flag.long == name) else {
            let known = known.iter().map(|flag| flag.long);
            return Err(unknown_word(command, name, known));
        };
        let takes_value = matches!(flag.kind, FlagInfoKind::Option { .. });
        let value = match value {
            Some(_) if !takes_value => {
                return Err(usage(format_args!("{name} takes no value")));
            }
            None if takes_value => {
                // In `--config --debug` the file is missing; `--config=--debug` names such a file.
                let next = words.next_if(|next| !known.iter().any(|flag| flag.long == *next));
                Some(next.ok_or_else(|| usage(format_args!("{name} requires a value")))?)
            }
            value => value,
        };
        let may_repeat = matches!(flag.optionality, Optionality::Repeating);
        let is_repeated = expanded.iter().any(|(name, _)| *name == flag.long);
        if takes_value && is_repeated && !may_repeat {
            return Err(usage(format_args!("{name} is given twice")));
        }
        expanded.push((flag.long, value));
    }
    Ok(expanded)
}

fn unknown_word<'a>(command: &[&str], word: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let escaped = Untrusted::new(word);
    if named_command(word).is_some() {
        return usage(format_args!("{word} must be the first word"));
    }
    if !word.starts_with('-') {
        return usage(format_args!("unexpected argument {escaped:?}"));
    }
    match suggest(word, known) {
        Some(name) => usage(format_args!(
            "unknown option {escaped} (did you mean {name}?)"
        )),
        None => usage(format_args!("unknown option {escaped}")).remedy(see_help(command)),
    }
}

/// Names the help of a command.
pub(crate) fn see_help(command: &[&str]) -> String {
    format!("see {} --help", command.join(" "))
}

fn utf8(word: OsString) -> Result<String> {
    word.into_string().map_err(|word| {
        let word = Untrusted::new(word.as_encoded_bytes());
        usage(format_args!("argument {word:?} is not UTF-8"))
    })
}

pub(crate) fn usage(what: impl fmt::Display) -> Error {
    Error::new(Side::Config, ErrorKind::Usage, PROGRAM, what)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::ffi::OsStringExt;
    use std::time::Duration;

    use super::*;
    use crate::process::logging::log_file::RotationLimits;
    use crate::process::logging::{LogFormat, LogLevel, LogOptions, LogTarget};
    use crate::run::{OneTimeOptions, RunMode, WatchOptions};

    fn command(words: &[&str]) -> Result<CliCommand, EarlyExit> {
        CliCommand::parse(words.iter().map(OsString::from))
    }

    fn read(words: &[&str]) -> Result<SyncArgs, EarlyExit> {
        command(words).map(|command| match command {
            CliCommand::Sync(args) => args,
            other => panic!("{words:?}: {other:?}"),
        })
    }

    fn usage_error(words: &[&str]) -> String {
        match read(words) {
            Err(EarlyExit::UsageError(error)) => {
                assert_eq!(error.kind(), ErrorKind::Usage);
                error.to_string()
            }
            other => panic!("{words:?}: {other:?}"),
        }
    }

    fn default_log() -> LogOptions {
        LogOptions {
            target: LogTarget::Stdout,
            level: LogLevel::Normal,
            format: LogFormat::Text,
            rotation: RotationLimits {
                max_size: 10 * 1024 * 1024,
                max_files: 5,
            },
        }
    }

    fn default_args() -> SyncArgs {
        SyncArgs {
            config: "c.json".into(),
            state_file: None,
            mode: RunMode::Once,
            log: default_log(),
            one_time: OneTimeOptions::default(),
            ignored_options: Vec::new(),
        }
    }

    #[test]
    fn options_are_read_with_a_blank_and_with_an_equals_sign() {
        let all = SyncArgs {
            state_file: Some("s=1.json".into()),
            mode: RunMode::DryRun,
            log: LogOptions {
                target: LogTarget::Stderr,
                level: LogLevel::Debug,
                ..default_log()
            },
            ..default_args()
        };
        assert_eq!(read(&["--config", "c.json"]), Ok(default_args()));
        assert_eq!(read(&["--config=c.json"]), Ok(default_args()));
        assert_eq!(
            read(&[
                "--log=stderr",
                "--debug",
                "--state-file",
                "s=1.json",
                "--dry-run",
                "--config",
                "c.json",
            ]),
            Ok(all)
        );
        assert_eq!(
            read(&["--config=--debug"]).map(|args| args.config),
            Ok("--debug".into())
        );
    }

    #[test]
    fn polling_options_without_watch_are_accepted_and_reported() {
        assert_eq!(
            read(&["--no-idle", "--config", "c.json", "--poll-interval", "30"]),
            Ok(SyncArgs {
                ignored_options: vec!["--no-idle", "--poll-interval"],
                ..default_args()
            })
        );
    }

    #[test]
    fn watch_uses_idle_and_else_polls_each_minute_by_default() {
        let watch = |words: &[&str]| {
            let args = read(&[&["--config", "c.json", "--watch"], words].concat()).unwrap();
            assert!(args.ignored_options.is_empty());
            args.mode
        };
        assert_eq!(
            watch(&[]),
            RunMode::Watch(WatchOptions {
                use_idle: true,
                poll_interval: Duration::from_mins(1)
            })
        );
        assert_eq!(
            watch(&["--no-idle", "--poll-interval=7"]),
            RunMode::Watch(WatchOptions {
                use_idle: false,
                poll_interval: Duration::from_secs(7)
            })
        );
    }

    #[test]
    fn a_log_has_a_target_a_format_and_limits_of_rotation() {
        let log = |typed: &str| {
            let words = typed.split_whitespace();
            let words: Vec<&str> = ["--config", "c.json"].into_iter().chain(words).collect();
            read(&words).unwrap().log
        };
        let targets = [
            ("stdout", LogTarget::Stdout),
            ("/dev/stdout", LogTarget::Stdout),
            ("/dev/stderr", LogTarget::Stderr),
            ("syslog", LogTarget::Syslog),
            (
                "/var/log/sync.log",
                LogTarget::File("/var/log/sync.log".into()),
            ),
            ("./syslog", LogTarget::File("./syslog".into())),
        ];
        for (word, target) in targets {
            assert_eq!(log(&format!("--log {word}")).target, target, "{word}");
        }
        let all = log("--log-format=json --log-max-size 100K --log-max-files=0 --quiet");
        let expected = LogOptions {
            target: LogTarget::Stdout,
            level: LogLevel::Quiet,
            format: LogFormat::Json,
            rotation: RotationLimits {
                max_size: 102_400,
                max_files: 0,
            },
        };
        assert_eq!(all, expected);
        assert_eq!(log("--log-format text"), default_log());
    }

    #[test]
    fn a_mistake_is_one_line_that_names_it() {
        let cases: [(&[&str], &str); 26] = [
            (
                &[],
                "--config FILE is missing; see imap-to-gmail-sync --help",
            ),
            (&["--config"], "--config requires a value"),
            (&["--config", "--debug"], "--config requires a value"),
            (&["--config="], "--config requires a file"),
            (
                &["--config", "a", "--config", "b"],
                "--config is given twice",
            ),
            (
                &["--confg", "a"],
                "unknown option --confg (did you mean --config?)",
            ),
            (&["-x"], "unknown option -x; see imap-to-gmail-sync --help"),
            (
                &["--nothing\nlike"],
                "unknown option --nothing\\nlike; see imap-to-gmail-sync --help",
            ),
            (&["--debug=yes"], "--debug takes no value"),
            (&["c.json"], "unexpected argument \"c.json\""),
            (
                &["--config", "a", "--poll-interval", "often"],
                "--poll-interval requires a number of seconds",
            ),
            (
                &["auth"],
                "--credentials FILE is missing; see imap-to-gmail-sync auth --help",
            ),
            (&["--debug", "auth"], "auth must be the first word"),
            (
                &["auth", "--credentials", "c", "--watch"],
                "unknown option --watch; see imap-to-gmail-sync auth --help",
            ),
            (
                &["auth", "--credentials", "c", "--prot", "1"],
                "unknown option --prot (did you mean --port?)",
            ),
            (
                &["auth", "--credentials", "c", "--port", "0"],
                "--port requires a number from 1 to 65535",
            ),
            (
                &["auth", "--credentials=c", "--token="],
                "--token requires a file",
            ),
            (
                &["check", "--config", "a", "--max-age", "1h"],
                "unknown option --max-age; see imap-to-gmail-sync check --help",
            ),
            (
                &["--json", "check"],
                "unknown option --json; see imap-to-gmail-sync --help",
            ),
            (
                &["--config", "a", "--watch", "--dry-run"],
                "--dry-run and --watch cannot be used together",
            ),
            (
                &["--config", "a", "--debug", "--quiet"],
                "--debug and --quiet cannot be used together",
            ),
            (
                &["--config", "a", "--log="],
                "--log requires stdout, stderr, syslog or a file",
            ),
            (
                &["--config", "a", "--log-format", "xml"],
                "--log-format requires text or json",
            ),
            (
                &["--config", "a", "--log-max-size", "10MB"],
                "--log-max-size requires a size such as 100K, 10M or 1G",
            ),
            (
                &["--config", "a", "--log-max-size", "0"],
                "--log-max-size requires a size such as 100K, 10M or 1G",
            ),
            (
                &["--config", "a", "--log-max-files", "-1"],
                "--log-max-files requires a number such as 5; 0 keeps none",
            ),
        ];
        for (words, line) in cases {
            assert_eq!(usage_error(words), format!("imap-to-gmail-sync: {line}"));
        }
    }

    #[test]
    fn a_mistake_in_the_options_of_status_is_one_line_that_names_it() {
        let cases: [(&[&str], &str); 6] = [
            (&["--debug", "status"], "status must be the first word"),
            (
                &["status"],
                "--config FILE is missing; see imap-to-gmail-sync status --help",
            ),
            (
                &["status", "--config", "a", "--config="],
                "--config requires a file",
            ),
            (
                &["status", "--config", "a", "--max-age", "1w"],
                "--max-age requires a duration such as 90s, 10m, 2h or 1d",
            ),
            (
                &["status", "--config", "a", "--config", "b", "--state-file=s"],
                "--state-file names the state of one configuration; use --state-folder",
            ),
            (
                &["status", "--config=a", "--state-folder=d", "--state-file=s"],
                "--state-file and --state-folder cannot be used together",
            ),
        ];
        for (words, line) in cases {
            assert_eq!(
                usage_error(words),
                format!("imap-to-gmail-sync: {line}"),
                "{words:?}"
            );
        }
    }

    #[test]
    fn an_argument_that_is_not_utf_8_is_a_mistake_and_no_panic() {
        let words = [OsString::from_vec(b"--config=\xff".to_vec())];
        let Err(EarlyExit::UsageError(error)) = CliCommand::parse(words.into_iter()) else {
            panic!("it was accepted");
        };
        assert_eq!(
            error.to_string(),
            "imap-to-gmail-sync: argument \"--config=\u{fffd}\" is not UTF-8"
        );
    }

    #[test]
    fn help_lists_the_options_of_this_version_only() {
        for words in [&["-h"][..], &["--help"], &["--config", "a", "--help"]] {
            let Err(EarlyExit::Print(help)) = read(words) else {
                panic!("{words:?}");
            };
            for offered in [
                "--config",
                "--state-file",
                "--dry-run",
                "--debug",
                "--quiet",
                "--log",
                "--log-format",
                "--log-max-size",
                "--log-max-files",
                "--watch",
                "--no-idle",
                "--poll-interval",
                "--version",
                "--help",
                "status",
                "completions",
            ] {
                assert!(help.contains(offered), "{offered} in {help}");
            }
            assert!(!help.contains("--port"), "{help}");
        }
    }

    /// Parses a command line as a shell splits it, up to a redirection.
    fn command_line(line: &str) -> Result<CliCommand, EarlyExit> {
        let words = line.split_whitespace().skip(1);
        CliCommand::parse(words.take_while(|word| *word != "\\").map(OsString::from))
    }

    #[test]
    fn the_help_of_each_command_fits_a_screen_and_has_examples_that_work() {
        let names = NAMED_COMMANDS.iter().map(|command| Some(command.name));
        for name in names.chain([None]) {
            let words: Vec<&str> = name.into_iter().chain(["--help"]).collect();
            let Err(EarlyExit::Print(help)) = command(&words) else {
                panic!("{name:?}");
            };
            assert!(help.lines().count() <= 40, "{help}");
            let widest = help.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(MAX_HELP_WIDTH), "{help}");
            let examples = help.split("Examples:\n").nth(1).unwrap();
            let examples = examples.split("\n\n").next().unwrap();
            let is_ours = |line: &&str| line.trim_start().starts_with(PROGRAM);
            let examples: Vec<&str> = examples.lines().filter(is_ours).collect();
            assert!(!examples.is_empty(), "{help}");
            for example in examples {
                assert!(command_line(example).is_ok(), "{example}");
            }
        }
    }

    /// The text below each heading of the manual.
    fn manual() -> Vec<(String, String)> {
        let manual = include_str!("../../contrib/man/imap-to-gmail-sync.1").replace("\\-", "-");
        let sections = manual.split("\n.SH ").skip(1);
        sections
            .filter_map(|section| section.split_once('\n'))
            .map(|(heading, text)| (heading.to_owned(), text.to_owned()))
            .collect()
    }

    #[test]
    fn the_manual_describes_the_options_of_each_command_and_no_others() {
        let sections = manual();
        let section = |wanted: &str| {
            let found = sections.iter().find(|(heading, _)| heading == wanted);
            found.map(|(_, text)| text.as_str()).expect(wanted)
        };
        let synopsis: Vec<&str> = section("SYNOPSIS").split(".br\n").collect();
        let named = NAMED_COMMANDS
            .iter()
            .map(|command| (command.name, (command.info)()));
        let sync = ("", RawSyncArgs::get_args_info());
        for (name, info) in [sync].into_iter().chain(named) {
            let title = format!(".B {PROGRAM} {name}");
            let title = title.trim_end();
            let begins = |text: &str| text.lines().any(|line| line == title);
            let (_, text) = match name {
                "" => sections.iter().find(|(heading, _)| heading == "OPTIONS"),
                _ => sections
                    .iter()
                    .find(|(heading, text)| heading != "SYNOPSIS" && begins(text)),
            }
            .expect(title);
            let usage = synopsis.iter().find(|usage| begins(usage)).expect(title);
            let described = tags(text);
            let known: BTreeSet<&str> = info.flags.iter().map(|flag| flag.long).collect();
            for option in &known {
                let is_shared = *option == "--help" && !name.is_empty();
                assert!(is_shared || described.contains(option), "{title}: {option}");
                let is_short_use = SHORT_NAMES.iter().any(|(_, long)| long == option);
                assert!(is_short_use || usage.contains(option), "{usage}: {option}");
            }
            let others: Vec<_> = described.difference(&known).collect();
            assert!(others.is_empty(), "{title}: {others:?}");
        }
    }

    /// The options in the tags of paragraphs, which begin with a macro for bold text.
    fn tags(section: &str) -> BTreeSet<&str> {
        let tags = section.split(".TP\n").skip(1);
        let tags = tags.filter_map(|entry| entry.lines().next());
        tags.filter(|tag| tag.starts_with(".B"))
            .flat_map(|tag| tag.split([' ', '~', '\\', '=', ',']))
            .filter(|word| word.starts_with("--"))
            .collect()
    }

    #[test]
    fn auth_has_its_own_options() {
        let all = ConsentOptions {
            credentials: "c.json".into(),
            token: Some("t.json".into()),
            config: Some("config.json".into()),
            port: Some(8080),
            no_browser: true,
            force: true,
        };
        let typed = "auth --credentials c.json --token=t.json --config config.json --port 8080 \
                     --no-browser --force";
        let words: Vec<&str> = typed.split_whitespace().collect();
        assert_eq!(command(&words), Ok(CliCommand::Auth(all)));
        for words in [&["auth", "--help"][..], &["auth", "-h"]] {
            let Err(EarlyExit::Print(help)) = command(words) else {
                panic!("{words:?}");
            };
            for offered in [
                "--credentials",
                "--port",
                "--no-browser",
                "client_secret.json",
            ] {
                assert!(help.contains(offered), "{offered} in {help}");
            }
            assert!(!help.contains("--state-file"), "{help}");
        }
    }

    #[test]
    fn the_version_is_the_packages() {
        for words in [&["-V"][..], &["--version"]] {
            assert_eq!(
                read(words),
                Err(EarlyExit::Print(format!(
                    "imap-to-gmail-sync {}\n",
                    env!("CARGO_PKG_VERSION")
                )))
            );
        }
    }
}
