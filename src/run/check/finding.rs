//! The findings of a check. Pure.

use std::fmt::Display;

use serde::Serialize;

use crate::error::{Error, ErrorKind};
use crate::untrusted::escape_harmful;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Ok,
    /// It works, and a person should know of it.
    Warn,
    /// Nothing is copied before this is corrected, or passes.
    Fail,
}

/// The part of the setup that a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Group {
    Configuration,
    Files,
    State,
    Source,
    Gmail,
    Folders,
}

/// One line of a check; its JSON form has the same names. All text in it is escaped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub group: Group,
    /// What was looked at, such as `certificate`.
    pub check: &'static str,
    pub result: Verdict,
    pub found: String,
    pub remedy: Option<String>,
}

/// What a check found out about an account; its JSON form has the same names.
#[derive(Debug, Default, Serialize)]
pub(crate) struct CheckReport {
    pub account: String,
    pub config: String,
    pub state_file: String,
    pub source: Option<String>,
    pub target: Option<String>,
    /// Whether everything was looked at: no signal ended the check before.
    pub is_complete: bool,
    /// The exit status of the first failure, or 0 if the check is complete.
    pub exit_status: u8,
    pub findings: Vec<Finding>,
}

impl Group {
    pub fn name(self) -> &'static str {
        match self {
            Group::Configuration => "configuration",
            Group::Files => "files",
            Group::State => "state",
            Group::Source => "source",
            Group::Gmail => "gmail",
            Group::Folders => "folders",
        }
    }
}

impl CheckReport {
    /// The finding to correct first: the first failure, else the first warning.
    pub fn worst(&self) -> Option<&Finding> {
        let first = |verdict| self.findings.iter().find(move |it| it.result == verdict);
        first(Verdict::Fail).or_else(|| first(Verdict::Warn))
    }

    pub fn count(&self, verdict: Verdict) -> usize {
        let of = |finding: &&Finding| finding.result == verdict;
        self.findings.iter().filter(of).count()
    }
}

/// Collects findings, and reports each at once.
pub(super) struct Findings<'a> {
    collected: CheckReport,
    report: &'a mut dyn FnMut(&Finding),
}

impl<'a> Findings<'a> {
    pub fn new(report: &'a mut dyn FnMut(&Finding)) -> Findings<'a> {
        let collected = CheckReport::default();
        Findings { collected, report }
    }

    pub fn into_report(self) -> CheckReport {
        self.collected
    }

    pub fn ok(&mut self, group: Group, check: &'static str, found: impl Display) {
        self.add(group, check, Verdict::Ok, &found, None);
    }

    pub fn warn(
        &mut self,
        group: Group,
        check: &'static str,
        found: impl Display,
        remedy: impl Display,
    ) {
        self.add(group, check, Verdict::Warn, &found, Some(&remedy));
    }

    /// An error; if the account only rests, a warning.
    pub fn fail(&mut self, group: Group, check: &'static str, error: &Error) {
        self.fail_with(group, check, error, &error.without_remedy());
    }

    /// [`fail`](Findings::fail), with more about what was found.
    pub fn fail_with(
        &mut self,
        group: Group,
        check: &'static str,
        error: &Error,
        found: &dyn Display,
    ) {
        let remedy = error.remedy_text().unwrap_or(default_remedy(error.kind()));
        if error.kind() == ErrorKind::Resting {
            self.add(group, check, Verdict::Warn, found, Some(&remedy));
            return;
        }
        let has_failed = self.collected.count(Verdict::Fail) > 0;
        if !has_failed {
            self.collected.exit_status = error.kind().exit_status();
        }
        self.add(group, check, Verdict::Fail, found, Some(&remedy));
    }

    fn add(
        &mut self,
        group: Group,
        check: &'static str,
        result: Verdict,
        found: &dyn Display,
        remedy: Option<&dyn Display>,
    ) {
        let finding = Finding {
            group,
            check,
            result,
            found: escape_harmful(&found.to_string()),
            remedy: remedy.map(|remedy| escape_harmful(&remedy.to_string())),
        };
        (self.report)(&finding);
        self.collected.findings.push(finding);
    }
}

/// The remedy for an error that names none.
fn default_remedy(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Resting => "check again in a few minutes",
        ErrorKind::Unavailable => "check again later; runs try again by themselves",
        ErrorKind::Disk => "correct the permissions, or free space",
        ErrorKind::Config | ErrorKind::Usage => "correct the configuration",
        ErrorKind::Rejected => "correct the credentials",
        ErrorKind::Internal => "check again; if this persists, report it as a bug",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Side;

    fn error(kind: ErrorKind) -> Error {
        Error::new(Side::Source, kind, "place", "what")
    }

    #[test]
    fn the_first_failure_decides_the_exit_status_and_comes_before_warnings() {
        let mut printed = 0;
        let mut report = |_: &Finding| printed += 1;
        let mut findings = Findings::new(&mut report);
        findings.ok(Group::Files, "a", "fine");
        findings.warn(Group::Files, "b", "odd", "remedy");
        findings.fail(Group::Source, "c", &error(ErrorKind::Resting));
        findings.fail(
            Group::Source,
            "d",
            &error(ErrorKind::Unavailable).remedy("wait"),
        );
        findings.fail(Group::Gmail, "e", &error(ErrorKind::Rejected));
        let report = findings.into_report();
        assert_eq!(report.exit_status, 69);
        let worst = report.worst().unwrap();
        assert_eq!((worst.check, worst.found.as_str()), ("d", "place: what"));
        assert_eq!(worst.remedy.as_deref(), Some("wait"));
        assert_eq!(report.count(Verdict::Warn), 2);
        assert_eq!(report.count(Verdict::Fail), 2);
        assert_eq!(printed, 5);
        // Whatever is not well has a remedy.
        let mut rest = report.findings.iter().filter(|it| it.result != Verdict::Ok);
        assert!(rest.all(|finding| finding.remedy.is_some()));
    }

    #[test]
    fn a_finding_is_one_harmless_line() {
        let mut report = |_: &Finding| ();
        let mut findings = Findings::new(&mut report);
        findings.warn(Group::Source, "a", "x\n\u{1b}[2J", "y\r\u{202e}");
        let report = findings.into_report();
        let finding = &report.findings[0];
        assert_eq!(finding.found, "x\\n\\u{1b}[2J");
        assert_eq!(finding.remedy.as_deref(), Some("y\\r\\u{202e}"));
    }
}
