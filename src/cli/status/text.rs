//! The status in plain text: a screen for one account, a line each for several.

use std::fmt::{Display, Write};

use chrono::{DateTime, TimeDelta, Utc};

use crate::run::status::{
    FolderEntry, LoginDelay, ParkedEntry, RefusedEntry, StatusReport, TokenStatus, describe_age,
};
use crate::size::format_size;
use crate::timestamp::format_time;

/// More messages do not fit on a screen.
const MAX_LISTED: usize = 4;

/// One account.
pub(super) fn screen(report: &StatusReport, now: DateTime<Utc>) -> String {
    let mut text = Screen(String::new());
    text.line("account", &report.account);
    if let Some((source, target)) = report.source.as_ref().zip(report.target.as_ref()) {
        text.line("copies", format_args!("{source} to {target}"));
    }
    text.line("state", &report.state_file);
    if report.is_well {
        text.line("well", "yes");
    }
    for problem in &report.problems {
        text.line("NOT WELL", problem);
    }
    for warning in &report.warnings {
        text.line("warning", warning);
    }
    if let Some((last, age)) = report.last_success.zip(report.last_success_age_seconds) {
        let age = describe_age(TimeDelta::try_seconds(age).unwrap_or_default());
        text.line(
            "last success",
            format_args!("{} ({age})", format_time(last)),
        );
    }
    if let Some(cursor) = &report.cursor {
        let validity = cursor.uid_validity;
        text.line(
            "cursor",
            format_args!("uid {} (UIDVALIDITY {validity})", cursor.uid),
        );
    }
    if !report.folders.is_empty() {
        text.line("folders", report.folders.len());
        for folder in report.folders.iter().take(MAX_LISTED) {
            text.line("", folder_line(folder));
        }
        let rest = report.folders.len().saturating_sub(MAX_LISTED);
        if rest > 0 {
            text.line("", format_args!("and {rest} more; --json lists all"));
        }
    }
    if let Some(pass) = &report.date_pass {
        let since = format_time(pass.since);
        text.line(
            "date pass",
            format_args!("pending: mail received since {since}"),
        );
    }
    if let Some(count) = report.remembered_messages {
        text.line("remembered", messages(count));
    }
    let limit = report.daily_upload_limit;
    let limit = limit.map_or_else(String::new, |limit| format!(" of {}", format_size(limit)));
    let sent = [
        ("uploaded", report.uploaded_in_24_hours),
        ("imported", report.imported_in_24_hours),
    ];
    for (how, octets) in sent {
        if let Some(octets) = octets.map(format_size) {
            text.line(how, format_args!("{octets}{limit} in 24 hours"));
        }
    }
    if let Some(owed) = &report.owed_labels {
        let (count, since) = (messages(owed.messages), format_time(owed.since));
        text.line("labels", format_args!("{count} lack theirs since {since}"));
    }
    if let Some(rest) = &report.resting {
        let until = format_time(rest.until);
        text.line(
            "resting",
            format_args!("until {until}, because {}", rest.reason),
        );
    }
    if let Some(delay) = &report.source_login_delay {
        text.line("source log-in", login_delay(delay));
    }
    if let Some(token) = &report.token {
        text.line("token", describe_token(token, now));
    }
    text.list("parked", &report.parked, parked);
    text.list("refused", &report.refused, refused);
    text.0
}

/// Several accounts.
pub(super) fn lines(reports: &[StatusReport]) -> String {
    let width = reports
        .iter()
        .map(|report| report.account.chars().count())
        .max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for report in reports {
        let state = if report.is_well {
            "well    "
        } else {
            "NOT WELL"
        };
        let _ = writeln!(
            text,
            "{:width$}  {state}  {}",
            report.account,
            summary(report)
        );
    }
    text
}

/// The problems; without one, the last success. What is not well yet follows.
fn summary(report: &StatusReport) -> String {
    let mut parts = report.problems.clone();
    if let Some(age) = report.last_success_age_seconds.filter(|_| report.is_well) {
        let age = describe_age(TimeDelta::try_seconds(age).unwrap_or_default());
        parts.push(format!("last success {age}"));
    }
    if !report.parked.is_empty() {
        parts.push(format!("{} parked", messages(report.parked.len())));
    }
    if let Some(rest) = &report.resting {
        parts.push(format!("resting until {}", format_time(rest.until)));
    }
    parts.extend(report.warnings.iter().cloned());
    parts.join("; ")
}

struct Screen(String);

impl Screen {
    fn line(&mut self, name: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name:<14} {value}");
    }

    fn list<T>(&mut self, name: &str, entries: &[T], describe: impl Fn(&T) -> String) {
        if entries.is_empty() {
            return;
        }
        self.line(name, messages(entries.len()));
        for entry in entries.iter().take(MAX_LISTED) {
            self.line("", describe(entry));
        }
        let rest = entries.len().saturating_sub(MAX_LISTED);
        if rest > 0 {
            self.line("", format_args!("and {rest} more; --json lists all"));
        }
    }
}

fn folder_line(entry: &FolderEntry) -> String {
    let reached = match (&entry.cursor, &entry.date_pass) {
        (_, Some(pass)) => format!("pending: mail received since {}", format_time(pass.since)),
        (Some(cursor), None) => format!("uid {} (UIDVALIDITY {})", cursor.uid, cursor.uid_validity),
        (None, None) => "nothing yet".to_owned(),
    };
    format!("{} | {reached}", entry.folder)
}

/// The folder of an entry, if there are several.
fn in_folder(folder: Option<&String>) -> String {
    folder.map_or_else(String::new, |folder| format!("{folder} | "))
}

fn parked(entry: &ParkedEntry) -> String {
    let uid = entry
        .uid
        .map_or("no uid".to_owned(), |uid| format!("uid {uid}"));
    let (id, next) = (
        shown_id(entry.message_id.as_deref()),
        format_time(entry.next_attempt),
    );
    format!(
        "{}{uid} | {id} | attempts {} | next {next} | {}",
        in_folder(entry.folder.as_ref()),
        entry.attempts,
        entry.reason
    )
}

fn refused(entry: &RefusedEntry) -> String {
    let (id, at) = (shown_id(entry.message_id.as_deref()), format_time(entry.at));
    let folder = in_folder(entry.folder.as_ref());
    format!("{folder}uid {} | {id} | {at} | {}", entry.uid, entry.reason)
}

fn shown_id(id: Option<&str>) -> &str {
    id.unwrap_or("no Message-ID")
}

fn login_delay(delay: &LoginDelay) -> String {
    let (count, verb) = match delay.limited_logins {
        0 => (delay.rejected_logins, "rejected"),
        limited => (limited, "limited"),
    };
    let next = delay
        .next_attempt
        .map_or("the next run tries again".to_owned(), |next| {
            format!("next attempt at {}", format_time(next))
        });
    format!("{verb} ({count} in a row); {next}")
}

fn describe_token(token: &TokenStatus, now: DateTime<Utc>) -> String {
    let mut text = match (token.issued, token.first_used) {
        (Some(issued), _) => {
            format!(
                "issued {} ({})",
                format_time(issued),
                describe_age(now - issued)
            )
        }
        (None, Some(first)) => {
            format!(
                "in use since {} ({})",
                format_time(first),
                describe_age(now - first)
            )
        }
        (None, None) => "of unknown age".to_owned(),
    };
    if let Some(expires) = token.expires {
        let _ = write!(text, ", expires {}", format_time(expires));
    }
    if let Some(since) = token.rejected_since {
        let _ = write!(text, ", rejected since {}", format_time(since));
    }
    text
}

fn messages(count: usize) -> String {
    format!(
        "{count} {}",
        if count == 1 { "message" } else { "messages" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_shows_a_few_messages_and_counts_the_rest() {
        let refused = |uid: u32| RefusedEntry {
            folder: None,
            uid: uid.to_string(),
            message_id: None,
            at: DateTime::UNIX_EPOCH,
            reason: "why".to_owned(),
        };
        let report = StatusReport {
            refused: (1..=1000).map(refused).collect(),
            ..StatusReport::default()
        };
        let text = screen(&report, DateTime::UNIX_EPOCH);
        assert!(text.lines().count() < 24, "{text}");
        assert!(text.contains("refused        1000 messages\n"), "{text}");
        assert!(text.ends_with("and 996 more; --json lists all\n"), "{text}");
    }
}
