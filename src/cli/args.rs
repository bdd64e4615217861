//! The command line, as typed.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use argh::{ArgsInfo, FlagInfo, FlagInfoKind, FromArgs};

use crate::cli::auth;
use crate::error::{Error, ErrorKind, Result, Side};
use crate::oauth::consent::ConsentOptions;
use crate::process::logging::LogTarget;
use crate::suggest::suggest;
use crate::untrusted::Untrusted;

/// Between polls where IDLE is not used.
const DEFAULT_POLL_INTERVAL: Duration = Duration::from_mins(1);

const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// The options that a later version will have.
const OPTIONS_TO_COME: [&str; 3] = ["--log-max-size", "--log-max-files", "--log-format"];

/// The subcommands that a later version will have.
const SUBCOMMANDS_TO_COME: [&str; 2] = ["check", "status"];

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A run.
    Run(SyncArgs),
    /// The first token.
    Authorize(ConsentOptions),
}

/// The options of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncArgs {
    /// Where `config.json` is.
    pub config: PathBuf,
    /// Where the state is, if the command line says so.
    pub state_file: Option<PathBuf>,
    /// Whether to say what would be copied, and copy nothing.
    pub dry_run: bool,
    /// Whether to log every step.
    pub debug: bool,
    /// Where log lines go.
    pub log: LogTarget,
    /// Whether to stay and wait for more mail, and how.
    pub watch: Option<WatchOptions>,
    /// The options typed that have no effect without `--watch`.
    pub ignored_options: Vec<&'static str>,
}

/// How to wait for more mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchOptions {
    /// Whether the server may tell (IDLE), where it offers to.
    pub use_idle: bool,
    /// Between looks, where it may not.
    pub poll_interval: Duration,
}

/// Why there is nothing to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EarlyExit {
    /// Help or version was asked for: this text on standard output, exit status 0.
    Print(String),
    /// The command line is wrong ([`ErrorKind::Usage`]).
    UsageError(Error),
}

impl From<Error> for EarlyExit {
    fn from(error: Error) -> EarlyExit {
        EarlyExit::UsageError(error)
    }
}

/// Reads the words after the program's name.
///
/// # Errors
/// Help or version was asked for, or a word is not understood or not UTF-8.
pub fn parse(words: impl Iterator<Item = OsString>) -> Result<Command, EarlyExit> {
    let mut words = words.map(text).collect::<Result<Vec<_>>>()?;
    if words.first().is_some_and(|word| word == auth::NAME) {
        words.remove(0);
        let options: auth::RawAuthArgs = options(&[PROGRAM, auth::NAME], words)?;
        return Ok(Command::Authorize(options.validate()?));
    }
    let options: RawSyncArgs = options(&[PROGRAM], words)?;
    Ok(Command::Run(options.validate()?))
}

/// Reads the options of a command, which is named as it is typed.
fn options<T: FromArgs + ArgsInfo>(command: &[&str], words: Vec<String>) -> Result<T, EarlyExit> {
    let words = expand(words, T::get_args_info().flags)?;
    let is_typed = |name: &str| words.iter().any(|typed: &TypedOption| typed.name == name);
    // Whoever asks for help gets it, whatever else is typed.
    if is_typed("--help") {
        return Err(EarlyExit::Print(help::<T>(command)));
    }
    if is_typed("--version") {
        return Err(EarlyExit::Print(version()));
    }
    let words: Vec<&str> = words.iter().flat_map(TypedOption::words).collect();
    let options = T::from_args(command, &words)
        .map_err(|refusal| usage(Untrusted::new(refusal.output.trim())))?;
    Ok(options)
}

/// The options as argh reads them.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    help_triggers("--help"),
    description = "Copies every new message of an IMAP mailbox into Gmail, exactly once, and exits; with\n\
                   --watch it stays, and copies what comes as soon as it comes.",
    note = "To make the token file: imap-to-gmail-sync auth (see auth --help).\n\n\
            -h is short for --help, -V for --version; --option=VALUE is understood, too.\n\n\
            Exit status: 0 done, nothing new, ended by SIGTERM, or another run is at work; 64 usage;\n\
            69 a server is unavailable; 70 internal error; 74 state, token or log cannot be\n\
            written; 77 credentials refused; 78 configuration."
)]
#[expect(clippy::struct_excessive_bools, reason = "a switch is a bool")]
struct RawSyncArgs {
    /// the configuration, config.json; required
    #[argh(option, arg_name = "file")]
    config: Option<String>,

    #[argh(
        option,
        arg_name = "file",
        description = "the state; default: sync_state.json in $STATE_DIRECTORY, else in the current folder"
    )]
    state_file: Option<String>,

    /// stay, and copy what comes as soon as it comes
    #[argh(switch)]
    watch: bool,

    /// with --watch: seconds between looks where the server does not tell; default: 60
    #[argh(option, arg_name = "seconds")]
    poll_interval: Option<String>,

    /// with --watch: poll, even where the server offers IDLE
    #[argh(switch)]
    no_idle: bool,

    /// say what would be copied, a line a message, and copy nothing
    #[argh(switch)]
    dry_run: bool,

    /// log every step
    #[argh(switch)]
    debug: bool,

    /// where log lines go: stdout (the default) or stderr
    #[argh(option, arg_name = "where")]
    log: Option<String>,

    /// print the version
    #[argh(switch)]
    #[allow(
        dead_code,
        reason = "looked for before argh reads; stands here for the help"
    )]
    version: bool,
}

impl RawSyncArgs {
    /// What the options mean together.
    fn validate(self) -> Result<SyncArgs> {
        let poll_interval = self.poll_interval()?;
        if self.watch && self.dry_run {
            return Err(usage("--dry-run and --watch exclude each other"));
        }
        Ok(SyncArgs {
            watch: self.watch.then(|| WatchOptions {
                use_idle: !self.no_idle,
                poll_interval: poll_interval.unwrap_or(DEFAULT_POLL_INTERVAL),
            }),
            ignored_options: self.ignored_options(),
            config: self
                .config
                .map(|file| path("--config", file))
                .transpose()?
                .ok_or_else(|| usage("--config FILE is missing").remedy("see --help"))?,
            state_file: self
                .state_file
                .map(|file| path("--state-file", file))
                .transpose()?,
            dry_run: self.dry_run,
            debug: self.debug,
            log: self.log.as_deref().map_or(Ok(LogTarget::Stdout), log)?,
        })
    }

    fn poll_interval(&self) -> Result<Option<Duration>> {
        let Some(typed) = &self.poll_interval else {
            return Ok(None);
        };
        match typed.parse::<u32>() {
            Ok(seconds) if seconds > 0 => Ok(Some(Duration::from_secs(seconds.into()))),
            _ => Err(usage("--poll-interval wants a number of seconds")),
        }
    }

    /// The polling options without `--watch`: command lines of the Python original have them.
    fn ignored_options(&self) -> Vec<&'static str> {
        [
            ("--no-idle", self.no_idle),
            ("--poll-interval", self.poll_interval.is_some()),
        ]
        .into_iter()
        .filter(|(_, is_typed)| *is_typed && !self.watch)
        .map(|(option, _)| option)
        .collect()
    }
}

pub(crate) fn path(option: &str, file: String) -> Result<PathBuf> {
    if file.is_empty() {
        return Err(usage(format_args!("{option} wants a file")));
    }
    Ok(file.into())
}

fn log(target: &str) -> Result<LogTarget> {
    match target {
        "stdout" => Ok(LogTarget::Stdout),
        "stderr" => Ok(LogTarget::Stderr),
        "" => Err(usage("--log wants stdout or stderr")),
        "syslog" => Err(not_yet("--log syslog")),
        _ => Err(not_yet("--log to a file").remedy("use --log stdout or --log stderr")),
    }
}

/// An option as argh wants it: in full, its value apart.
struct TypedOption {
    name: &'static str,
    value: Option<String>,
}

impl TypedOption {
    fn words(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name).chain(self.value.as_deref())
    }
}

/// Separates `--option=value`, writes `-h` and `-V` out, and refuses what is no option.
///
/// A value is never looked into: a file may be called `a=b`.
fn expand(words: Vec<String>, known: &[FlagInfo<'static>]) -> Result<Vec<TypedOption>> {
    let mut words = words.into_iter().peekable();
    let mut expanded = Vec::new();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let name = match name {
            "-h" => "--help",
            "-V" => "--version",
            name => name,
        };
        let Some(flag) = known.iter().find(|flag| flag.long == name) else {
            return Err(unknown(name, known.iter().map(|flag| flag.long)));
        };
        let takes_value = matches!(flag.kind, FlagInfoKind::Option { .. });
        let value = match value {
            Some(_) if !takes_value => {
                return Err(usage(format_args!("{name} takes no value")));
            }
            None if takes_value => {
                // `--config --debug` forgot the file; who has a file of that name writes `=`.
                let next = words.next_if(|next| !known.iter().any(|flag| flag.long == *next));
                Some(next.ok_or_else(|| usage(format_args!("{name} wants a value")))?)
            }
            value => value,
        };
        let name = flag.long;
        if expanded
            .iter()
            .any(|typed: &TypedOption| typed.name == name)
            && takes_value
        {
            return Err(usage(format_args!("{name} is given twice")));
        }
        expanded.push(TypedOption { name, value });
    }
    Ok(expanded)
}

fn unknown<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Error {
    if OPTIONS_TO_COME.contains(&word) || SUBCOMMANDS_TO_COME.contains(&word) {
        return not_yet(word);
    }
    let shown = Untrusted::new(word);
    if word == auth::NAME {
        return usage("auth must be the first word");
    }
    if !word.starts_with('-') {
        return usage(format_args!("unexpected argument {shown:?}"));
    }
    match suggest(word, known) {
        Some(name) => usage(format_args!(
            "unknown option {shown} (did you mean {name}?)"
        )),
        None => usage(format_args!("unknown option {shown}")).remedy("see --help"),
    }
}

fn text(word: OsString) -> Result<String> {
    word.into_string().map_err(|word| {
        usage(format_args!(
            "argument {:?} is not UTF-8",
            Untrusted::new(word.as_encoded_bytes())
        ))
    })
}

fn not_yet(what: &str) -> Error {
    usage(format_args!("{what} is not in this version yet"))
}

pub(crate) fn usage(what: impl fmt::Display) -> Error {
    Error::new(Side::Config, ErrorKind::Usage, PROGRAM, what)
}

fn help<T: FromArgs>(command: &[&str]) -> String {
    match T::from_args(command, &["--help"]) {
        Err(answer) => answer.output,
        Ok(_) => String::new(),
    }
}

fn version() -> String {
    format!("{PROGRAM} {}\n", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn command(words: &[&str]) -> Result<Command, EarlyExit> {
        parse(words.iter().map(OsString::from))
    }

    fn read(words: &[&str]) -> Result<SyncArgs, EarlyExit> {
        command(words).map(|command| match command {
            Command::Run(args) => args,
            Command::Authorize(args) => panic!("{words:?}: {args:?}"),
        })
    }

    fn told(words: &[&str]) -> String {
        match read(words) {
            Err(EarlyExit::UsageError(error)) => {
                assert_eq!(error.kind(), ErrorKind::Usage);
                error.to_string()
            }
            other => panic!("{words:?}: {other:?}"),
        }
    }

    fn plain() -> SyncArgs {
        SyncArgs {
            config: "c.json".into(),
            state_file: None,
            dry_run: false,
            debug: false,
            log: LogTarget::Stdout,
            watch: None,
            ignored_options: Vec::new(),
        }
    }

    #[test]
    fn options_are_read_with_a_blank_and_with_an_equals_sign() {
        let all = SyncArgs {
            state_file: Some("s=1.json".into()),
            dry_run: true,
            debug: true,
            log: LogTarget::Stderr,
            ..plain()
        };
        assert_eq!(read(&["--config", "c.json"]), Ok(plain()));
        assert_eq!(read(&["--config=c.json"]), Ok(plain()));
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
    fn polling_options_of_the_original_are_accepted_and_named() {
        assert_eq!(
            read(&["--no-idle", "--config", "c.json", "--poll-interval", "30"]),
            Ok(SyncArgs {
                ignored_options: vec!["--no-idle", "--poll-interval"],
                ..plain()
            })
        );
    }

    #[test]
    fn watching_is_by_idle_and_else_each_minute_unless_told_otherwise() {
        let watch = |words: &[&str]| {
            let args = read(&[&["--config", "c.json", "--watch"], words].concat()).unwrap();
            assert!(args.ignored_options.is_empty());
            args.watch.unwrap()
        };
        assert_eq!(
            watch(&[]),
            WatchOptions {
                use_idle: true,
                poll_interval: Duration::from_mins(1)
            }
        );
        assert_eq!(
            watch(&["--no-idle", "--poll-interval=7"]),
            WatchOptions {
                use_idle: false,
                poll_interval: Duration::from_secs(7)
            }
        );
    }

    #[test]
    fn a_mistake_is_one_line_that_names_it() {
        let cases: [(&[&str], &str); 23] = [
            (&[], "--config FILE is missing; see --help"),
            (&["--config"], "--config wants a value"),
            (&["--config", "--debug"], "--config wants a value"),
            (&["--config="], "--config wants a file"),
            (
                &["--config", "a", "--config", "b"],
                "--config is given twice",
            ),
            (
                &["--confg", "a"],
                "unknown option --confg (did you mean --config?)",
            ),
            (&["-x"], "unknown option -x; see --help"),
            (
                &["--nothing\nlike"],
                "unknown option --nothing\\nlike; see --help",
            ),
            (&["--debug=yes"], "--debug takes no value"),
            (&["c.json"], "unexpected argument \"c.json\""),
            (
                &["--config", "a", "--poll-interval", "often"],
                "--poll-interval wants a number of seconds",
            ),
            (&["auth"], "--credentials FILE is missing; see auth --help"),
            (&["--debug", "auth"], "auth must be the first word"),
            (
                &["auth", "--credentials", "c", "--watch"],
                "unknown option --watch; see --help",
            ),
            (
                &["auth", "--credentials", "c", "--prot", "1"],
                "unknown option --prot (did you mean --port?)",
            ),
            (
                &["auth", "--credentials", "c", "--port", "0"],
                "--port wants a number from 1 to 65535",
            ),
            (
                &["auth", "--credentials=c", "--token="],
                "--token wants a file",
            ),
            (
                &["check", "--config", "a"],
                "check is not in this version yet",
            ),
            (
                &["--config", "a", "--watch", "--dry-run"],
                "--dry-run and --watch exclude each other",
            ),
            (
                &["--log-max-size=10M"],
                "--log-max-size is not in this version yet",
            ),
            (
                &["--log-format", "json"],
                "--log-format is not in this version yet",
            ),
            (
                &["--config", "a", "--log", "syslog"],
                "--log syslog is not in this version yet",
            ),
            (
                &["--config", "a", "--log", "/var/log/x"],
                "--log to a file is not in this version yet; use --log stdout or --log stderr",
            ),
        ];
        for (words, line) in cases {
            assert_eq!(told(words), format!("imap-to-gmail-sync: {line}"));
        }
    }

    #[test]
    fn an_argument_that_is_not_utf_8_is_a_mistake_and_no_panic() {
        let words = [OsString::from_vec(b"--config=\xff".to_vec())];
        let Err(EarlyExit::UsageError(error)) = parse(words.into_iter()) else {
            panic!("it was taken");
        };
        assert_eq!(
            error.to_string(),
            "imap-to-gmail-sync: argument \"--config=\u{fffd}\" is not UTF-8"
        );
    }

    #[test]
    fn help_offers_what_there_is_and_nothing_else() {
        for words in [&["-h"][..], &["--help"], &["--config", "a", "--help"]] {
            let Err(EarlyExit::Print(help)) = read(words) else {
                panic!("{words:?}");
            };
            for offered in [
                "--config",
                "--state-file",
                "--dry-run",
                "--debug",
                "--log",
                "--watch",
                "--no-idle",
                "--poll-interval",
                "--version",
                "--help",
                "auth --help",
            ] {
                assert!(help.contains(offered), "{offered} in {help}");
            }
            for hidden in ["--log-", "--port"] {
                assert!(!help.contains(hidden), "{hidden} in {help}");
            }
        }
    }

    #[test]
    fn auth_has_options_of_its_own() {
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
        assert_eq!(command(&words), Ok(Command::Authorize(all)));
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
