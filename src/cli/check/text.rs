//! A check in plain text: a screen for one account, a line each for several.

use crate::run::check::{CheckReport, Finding, Verdict};

/// The width of a finding's name.
const NAME_WIDTH: usize = 12;

/// The lines of one finding; the first one of its group has a heading.
pub(super) fn finding(finding: &Finding, is_first_of_group: bool) -> String {
    let heading = if is_first_of_group {
        format!("{}\n", finding.group.name())
    } else {
        String::new()
    };
    let (word, check, found) = (word(finding.result), finding.check, &finding.found);
    let remedy = finding.remedy.as_ref().map_or(String::new(), |remedy| {
        format!("\n  {:4}  {:NAME_WIDTH$}  remedy: {remedy}", "", "")
    });
    format!("{heading}  {word:4}  {check:NAME_WIDTH$}  {found}{remedy}")
}

/// The last line of a screen.
pub(super) fn summary(report: &CheckReport) -> String {
    let count = |verdict, word: &str| match report.count(verdict) {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    };
    let (failures, warnings) = (
        count(Verdict::Fail, "failure"),
        count(Verdict::Warn, "warning"),
    );
    match report.worst().map(|finding| finding.result) {
        None | Some(Verdict::Ok) => "everything works".to_owned(),
        Some(Verdict::Warn) => format!("it works, with {warnings}"),
        Some(Verdict::Fail) => format!("it does not work: {failures}, {warnings}"),
    }
}

/// The line of one of several accounts.
pub(super) fn line(report: &CheckReport, width: usize) -> String {
    let account = &report.account;
    let Some(worst) = report.worst() else {
        return format!(
            "{account:width$}  {:4}  everything works",
            word(Verdict::Ok)
        );
    };
    let (word, group, check) = (word(worst.result), worst.group.name(), worst.check);
    let remedy = worst.remedy.as_ref();
    let remedy = remedy.map_or(String::new(), |remedy| format!("; {remedy}"));
    format!(
        "{account:width$}  {word:4}  {group}, {check}: {}{remedy}",
        worst.found
    )
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Warn => "warn",
        Verdict::Fail => "FAIL",
    }
}
