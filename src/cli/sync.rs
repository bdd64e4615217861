//! The command without a name: copies mail. Its options, and what it prints.

use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

use argh::{ArgsInfo, FromArgs};
use chrono::{DateTime, Datelike, Local, NaiveDate, Utc};
use log::Level;

use crate::cli::args::{PROGRAM, path, see_help, usage};
use crate::cli::{print_error, print_line};
use crate::config::size::{parse_number, parse_size};
use crate::config::{Config, Environment};
use crate::error::{Error, ErrorKind, Result, Side};
use crate::folders::FolderPair;
use crate::message::Listed;
use crate::process::logging::log_file::RotationLimits;
use crate::process::logging::{
    self, LogFormat, LogHandle, LogLevel, LogOptions, LogTarget, StreamEnvironment,
};
use crate::run::account_files::role_of;
use crate::run::account_sync::DryRunLine;
use crate::run::{OneTimeOptions, RunMode, WatchOptions};
use crate::state::storage;
use crate::sync::{DryRunResult, DryRunTotal};
use crate::timestamp::format_time;
use crate::untrusted::Untrusted;

/// Between polls where IDLE is not used.
const DEFAULT_POLL_INTERVAL: Duration = Duration::from_mins(1);

/// As the Python original has it.
const DEFAULT_ROTATION: RotationLimits = RotationLimits {
    max_size: 10 << 20,
    max_files: 5,
};

/// The options of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyncArgs {
    pub config: PathBuf,
    pub state_file: Option<PathBuf>,
    pub mode: RunMode,
    pub log: LogOptions,
    pub one_time: OneTimeOptions,
    /// The given options that have no effect without `--watch`.
    pub ignored_options: Vec<&'static str>,
}

impl SyncArgs {
    pub fn log_ignored_options(&self) {
        for option in &self.ignored_options {
            log::info!("{option} has no effect without --watch");
        }
    }

    /// Rejects a log file that the program needs for something else, before a line harms it.
    pub fn check_log_file(&self, environment: &Environment, config: Option<&Config>) -> Result<()> {
        let LogTarget::File(log) = &self.log.target else {
            return Ok(());
        };
        let state = self.state_file(environment);
        let Some(what) = role_of(log, &self.config, &state, config) else {
            return Ok(());
        };
        let error = Error::new(Side::Config, ErrorKind::Usage, Untrusted::path(log), what);
        Err(error.during(logging::OPENING).remedy(logging::OTHER_TARGET))
    }

    /// The path of the state: as given, else the default.
    pub fn state_file(&self, environment: &Environment) -> PathBuf {
        let default = || storage::default_path(environment.state_directory.as_deref());
        self.state_file.clone().unwrap_or_else(default)
    }
}

/// Reports how a run ended; returns the exit status. An error is logged, and printed on standard
/// error unless the log line is seen there; so is a loss of log lines.
pub(crate) fn report(
    result: Result<()>,
    log: &LogHandle,
    target: &LogTarget,
    streams: StreamEnvironment<'_>,
) -> u8 {
    let status = match result {
        Ok(()) => 0,
        Err(error) => {
            let error = error.with_default_remedy();
            if error.kind() == ErrorKind::Resting {
                // Gmail has begun to limit the account; or another run works, or a signal came.
                let level = match error.consequence() {
                    Some(_) => Level::Warn,
                    None => Level::Info,
                };
                log::log!(level, "{error}");
            } else {
                log::error!("{error}");
                if !logging::is_seen_on_stderr(target) {
                    print_error(&error, streams);
                }
            }
            error.kind().exit_status()
        }
    };
    if let Some(lost) = log.finish() {
        print_line(io::stderr(), streams.stderr_line(Level::Warn, &lost));
    }
    status
}

pub(crate) fn print_dry_run(line: DryRunLine) {
    match line {
        DryRunLine::Folder(pair) => print_line(io::stdout(), folder_line(pair)),
        DryRunLine::Message(listed, result) => print_message(listed, result),
    }
}

/// Which folder goes where: `Lists/Rust to INBOX; labels Lists, Rust`.
fn folder_line(pair: &FolderPair) -> String {
    let quoted = |name: &String| format!("{:?}", Untrusted::new(name));
    let mut line = vec![format!("folder {}", quoted(&pair.source))];
    if !pair.target.is_empty() {
        line.push(format!(" to {}", quoted(&pair.target)));
    }
    if !pair.labels.is_empty() {
        let labels: Vec<String> = pair.labels.iter().map(quoted).collect();
        line.push(format!("; labels {}", labels.join(", ")));
    }
    line.concat()
}

fn print_message(listed: &Listed, result: DryRunResult) {
    let date = listed.internal_date;
    let date = date.map(format_time);
    let date = date.as_deref().unwrap_or("no date");
    let id = listed.identity.id.as_ref().map(ToString::to_string);
    let id = id.as_deref().unwrap_or("no Message-ID");
    let result = match result {
        DryRunResult::New => "new",
        DryRunResult::NewUnlessAtGmail => "new, unless Gmail has it already",
        DryRunResult::Known => "already there",
        DryRunResult::NeedsBody => "known Message-ID, would be compared by body",
        DryRunResult::Parked => "parked, will be retried",
    };
    let (uid, size) = (listed.uid, listed.size);
    let line = format_args!("uid {uid} | {date} | {size} octets | {id} | {result}");
    print_line(io::stdout(), line);
}

/// Prints how many messages a run would copy, and since when they came.
pub(crate) fn print_dry_run_total(total: &DryRunTotal) {
    print_line(io::stdout(), total);
}

impl fmt::Display for DryRunTotal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages = |count| if count == 1 { "message" } else { "messages" };
        let new = self.new + self.new_unless_at_gmail;
        write!(f, "{new} {} would be copied", messages(new))?;
        if self.new_unless_at_gmail > 0 {
            f.write_str(" unless Gmail has them already")?;
        }
        if let Some(since) = self.since {
            write!(f, ", received since {}", format_time(since))?;
        }
        let body = self.needs_body;
        if body > 0 {
            let messages = messages(body);
            write!(f, "; {body} {messages} more would be compared by body")?;
        }
        let parked = self.parked;
        if parked > 0 {
            write!(f, "; {parked} parked {} would be retried", messages(parked))?;
        }
        Ok(())
    }
}

/// The options as argh parses them.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    help_triggers("--help"),
    description = "Copies every new message of an IMAP mailbox into Gmail, exactly once, and exits;\n\
                   with --watch it keeps running, and copies new mail as soon as it arrives.",
    example = "imap-to-gmail-sync auth --credentials client_secret.json --config config.json\n\
               imap-to-gmail-sync --config config.json --dry-run\n\
               imap-to-gmail-sync --config config.json --watch\n\
               imap-to-gmail-sync status --config config.json",
    note = "Other commands, each with its own --help: auth makes the token file, check\n\
            logs in to both servers, status reads the state, completions for a shell.\n\
            -h is short for --help, -V for --version; --option=VALUE works, too.\n\
            Exit status: 0 done, nothing new, ended by SIGTERM, or another run holds the\n\
            lock; 64 usage; 69 a server is unavailable; 70 internal error; 74 state, token\n\
            or log cannot be written; 77 credentials rejected; 78 configuration."
)]
#[expect(clippy::struct_excessive_bools, reason = "a switch is a bool")]
pub(crate) struct RawSyncArgs {
    /// the configuration, config.json; required
    #[argh(option, arg_name = "file")]
    config: Option<String>,

    #[argh(
        option,
        arg_name = "file",
        description = "the state; default: sync_state.json in $STATE_DIRECTORY or ."
    )]
    state_file: Option<String>,

    /// keep running, and copy new mail as soon as it arrives
    #[argh(switch)]
    watch: bool,

    /// with --watch: seconds between polls; default: 60
    #[argh(option, arg_name = "seconds")]
    poll_interval: Option<String>,

    /// with --watch: poll, even if the server offers IDLE
    #[argh(switch)]
    no_idle: bool,

    /// print what would be copied, a line a message; copy nothing
    #[argh(switch)]
    dry_run: bool,

    /// also copy what was received since this day (YYYY-MM-DD)
    #[argh(option, arg_name = "date")]
    since: Option<String>,

    /// the account of the state has new names: verify that, go on
    #[argh(switch)]
    same_account: bool,

    /// log every step, the IMAP dialogue, and who sent what
    #[argh(switch)]
    debug: bool,

    /// log warnings and errors only
    #[argh(switch)]
    quiet: bool,

    /// log to stdout (the default), stderr, syslog, or a file
    #[argh(option, arg_name = "target")]
    log: Option<String>,

    /// text (the default) or json
    #[argh(option, arg_name = "format")]
    log_format: Option<String>,

    /// rotate the log file at this size, such as 100K; default: 10M
    #[argh(option, arg_name = "size")]
    log_max_size: Option<String>,

    /// how many old log files are kept; default: 5
    #[argh(option, arg_name = "number")]
    log_max_files: Option<String>,

    /// print the version
    #[argh(switch)]
    #[allow(dead_code, reason = "handled before argh parses; listed in the help")]
    version: bool,
}

impl RawSyncArgs {
    /// Checks the options, alone and together.
    pub fn validate(self) -> Result<SyncArgs> {
        let poll_interval = self.poll_interval()?;
        if self.watch && self.dry_run {
            return Err(usage("--dry-run and --watch cannot be used together"));
        }
        if self.same_account && self.dry_run {
            return Err(usage(
                "--dry-run and --same-account cannot be used together",
            ));
        }
        let since = self.since.as_deref().map(day).transpose()?;
        let level = match (self.debug, self.quiet) {
            (true, true) => return Err(usage("--debug and --quiet cannot be used together")),
            (true, false) => LogLevel::Debug,
            (false, true) => LogLevel::Quiet,
            (false, false) => LogLevel::Normal,
        };
        let log = LogOptions {
            target: log_target(self.log.as_deref())?,
            level,
            format: log_format(self.log_format.as_deref())?,
            rotation: RotationLimits {
                max_size: max_size(self.log_max_size.as_deref())?,
                max_files: max_files(self.log_max_files.as_deref())?,
            },
        };
        let mode = if self.watch {
            RunMode::Watch(WatchOptions {
                use_idle: !self.no_idle,
                poll_interval: poll_interval.unwrap_or(DEFAULT_POLL_INTERVAL),
            })
        } else if self.dry_run {
            RunMode::DryRun
        } else {
            RunMode::Once
        };
        Ok(SyncArgs {
            mode,
            ignored_options: self.ignored_options(),
            config: path("--config", self.config)?
                .ok_or_else(|| usage("--config FILE is missing").remedy(see_help(&[PROGRAM])))?,
            state_file: path("--state-file", self.state_file)?,
            log,
            one_time: OneTimeOptions {
                is_same_account: self.same_account,
                since,
            },
        })
    }

    fn poll_interval(&self) -> Result<Option<Duration>> {
        let seconds = self.poll_interval.as_deref().map(str::parse::<u32>);
        match seconds.transpose() {
            Ok(Some(0)) | Err(_) => Err(usage("--poll-interval requires a number of seconds")),
            Ok(seconds) => Ok(seconds.map(|seconds| Duration::from_secs(seconds.into()))),
        }
    }

    /// The polling options without `--watch`; command lines of the Python original may have them.
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

/// The beginning of a day, in the time zone of this machine.
fn day(value: &str) -> Result<DateTime<Utc>> {
    // Where clocks are put forward at midnight, the day begins at one o'clock.
    let begin_of = |day: NaiveDate| {
        let mut hours = (0..2).filter_map(|hour| day.and_hms_opt(hour, 0, 0));
        hours.find_map(|time| time.and_local_timezone(Local).earliest())
    };
    // A year of two digits would go back to the oldest message.
    let day = NaiveDate::parse_from_str(value, "%Y-%m-%d").ok();
    let day = day.filter(|day| day.year() > 1970);
    let begin = day.and_then(begin_of).map(|begin| begin.to_utc());
    match begin {
        Some(begin) if begin > Utc::now() => Err(usage("--since is in the future")),
        Some(begin) => Ok(begin),
        None => Err(usage("--since requires a date such as 2026-01-31")),
    }
}

fn log_target(value: Option<&str>) -> Result<LogTarget> {
    match value {
        // The files cannot be rotated, and may be opened by their owner only.
        None | Some("stdout" | "/dev/stdout") => Ok(LogTarget::Stdout),
        Some("stderr" | "/dev/stderr") => Ok(LogTarget::Stderr),
        Some("syslog") => Ok(LogTarget::Syslog),
        Some("") => Err(usage("--log requires stdout, stderr, syslog or a file")),
        Some(path) => Ok(LogTarget::File(path.into())),
    }
}

fn log_format(value: Option<&str>) -> Result<LogFormat> {
    match value {
        None | Some("text") => Ok(LogFormat::Text),
        Some("json") => Ok(LogFormat::Json),
        Some(_) => Err(usage("--log-format requires text or json")),
    }
}

fn max_size(value: Option<&str>) -> Result<u64> {
    let Some(value) = value else {
        return Ok(DEFAULT_ROTATION.max_size);
    };
    let size = parse_size(value).filter(|size| *size > 0);
    size.ok_or_else(|| usage("--log-max-size requires a size such as 100K, 10M or 1G"))
}

fn max_files(value: Option<&str>) -> Result<u32> {
    let Some(value) = value else {
        return Ok(DEFAULT_ROTATION.max_files);
    };
    parse_number(value)
        .ok_or_else(|| usage("--log-max-files requires a number such as 5; 0 keeps none"))
}
