//! The status in Prometheus' text format, for the textfile collector of its node exporter.

use std::fmt::Write;

use chrono::{DateTime, Utc};

use crate::run::status::StatusReport;

/// A gauge: its name after the prefix, its help, and its value, if it is known.
type Gauge = (&'static str, &'static str, fn(&StatusReport) -> Option<f64>);

const GAUGES: [Gauge; 18] = [
    ("well", "Whether nothing is wrong: 1, else 0.", |report| {
        Some(flag(report.is_well))
    }),
    (
        "action_required",
        "Whether copying goes on only after a person has acted.",
        |report| Some(flag(report.action_required)),
    ),
    (
        "last_success_timestamp_seconds",
        "When a pass was last complete.",
        |report| time(report.last_success),
    ),
    (
        "cursor_uid",
        "Every message up to this UID is copied or parked.",
        |report| report.cursor.as_ref().map(|cursor| f64::from(cursor.uid)),
    ),
    (
        "remembered_messages",
        "The Message-IDs that are remembered.",
        |report| report.remembered_messages.map(count),
    ),
    (
        "parked_messages",
        "Messages that will be retried.",
        |report| {
            report
                .remembered_messages
                .map(|_| count(report.parked.len()))
        },
    ),
    (
        "refused_messages",
        "Messages that were given up.",
        |report| {
            report
                .remembered_messages
                .map(|_| count(report.refused.len()))
        },
    ),
    (
        "unlabelled_messages",
        "Messages at Gmail that still get their labels.",
        |report| {
            report.remembered_messages.map(|_| {
                let owed = report.owed_labels.as_ref();
                count(owed.map_or(0, |owed| owed.messages))
            })
        },
    ),
    (
        "resting",
        "Whether nothing is sent to Gmail for a while.",
        |report| {
            report
                .remembered_messages
                .map(|_| flag(report.resting.is_some()))
        },
    ),
    (
        "source_login_failures",
        "Log-ins at the source that were rejected or limited in a row.",
        |report| {
            let delay = report.source_login_delay.as_ref();
            let failures = delay.map_or(0, |delay| delay.rejected_logins.max(delay.limited_logins));
            report.remembered_messages.map(|_| f64::from(failures))
        },
    ),
    (
        "uploaded_last_day_bytes",
        "Octets that were sent to Gmail in 24 hours.",
        |report| report.uploaded_in_24_hours.map(octets),
    ),
    (
        "imported_last_day_bytes",
        "Octets that the Gmail API imported in 24 hours.",
        |report| report.imported_in_24_hours.map(octets),
    ),
    (
        "daily_upload_limit_bytes",
        "The limit of each of these octets.",
        |report| report.daily_upload_limit.map(octets),
    ),
    (
        "date_pass_pending",
        "Whether mail is being selected by its date of arrival.",
        |report| {
            report
                .remembered_messages
                .map(|_| flag(report.date_pass.is_some()))
        },
    ),
    (
        "token_rejected",
        "Whether Google or Gmail rejects the token.",
        |report| report.token.as_ref().map(|token| flag(token.rejected)),
    ),
    (
        "token_issued_timestamp_seconds",
        "When the refresh token was issued, or first used.",
        |report| {
            report
                .token
                .as_ref()
                .and_then(|token| time(token.issued.or(token.first_used)))
        },
    ),
    (
        "token_expires_timestamp_seconds",
        "When the refresh token expires, if Google has announced it.",
        |report| report.token.as_ref().and_then(|token| time(token.expires)),
    ),
    (
        "exit_status",
        "The exit status of this account.",
        |report| Some(f64::from(report.exit_status)),
    ),
];

/// The whole file.
pub(super) fn of(reports: &[StatusReport]) -> String {
    let mut text = String::new();
    for (name, help, value) in GAUGES {
        let name = format!("imap_to_gmail_sync_{name}");
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for report in reports {
            if let Some(value) = value(report) {
                let account = escape_label(&report.account);
                let _ = writeln!(text, "{name}{{account=\"{account}\"}} {value}");
            }
        }
    }
    text
}

fn escape_label(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n")
}

fn flag(is_set: bool) -> f64 {
    f64::from(u8::from(is_set))
}

#[expect(clippy::cast_precision_loss, reason = "the format has only floats")]
fn octets(number: u64) -> f64 {
    number as f64
}

fn count(number: usize) -> f64 {
    octets(number as u64)
}

#[expect(clippy::cast_precision_loss, reason = "the format has only floats")]
fn time(at: Option<DateTime<Utc>>) -> Option<f64> {
    at.map(|at| at.timestamp() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_unknown_values_are_left_out() {
        let report = StatusReport {
            account: "a\\b\"c\nd".to_owned(),
            ..StatusReport::default()
        };
        let text = of(&[report]);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let label = r#"{account="a\\b\"c\nd"}"#;
        assert_eq!(
            lines,
            [
                format!("imap_to_gmail_sync_well{label} 0"),
                format!("imap_to_gmail_sync_action_required{label} 0"),
                format!("imap_to_gmail_sync_exit_status{label} 0"),
            ]
        );
    }

    #[test]
    fn every_metric_is_documented_in_the_manual() {
        let manual = include_str!("../../../contrib/man/imap-to-gmail-sync.1").replace("\\-", "-");
        for (name, _, _) in GAUGES {
            assert!(manual.contains(&format!(".B {name}\n")), "{name}");
        }
    }
}
