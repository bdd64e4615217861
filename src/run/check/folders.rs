//! Which folder goes where.

use std::fmt::Write as _;

use crate::delivery::gmail_imap::GmailInspection;
use crate::error::{Error, ErrorKind, Side};
use crate::folders::{FolderPair, FolderPlan, TargetFolders, plan};
use crate::run::check::CheckedAccount;
use crate::run::check::finding::{Findings, Group};
use crate::source::InspectedFolders;
use crate::untrusted::Untrusted;

const GROUP: Group = Group::Folders;

/// Folders that are shown; more would hide what needs a person.
const MAX_PAIRS_SHOWN: usize = 250;

/// Mistakes or warnings that are shown; the others often have the same cause.
const MAX_REMEDIES_SHOWN: usize = 20;

impl CheckedAccount<'_> {
    pub(super) fn check_folders(
        &self,
        source: &InspectedFolders,
        gmail: &GmailInspection,
        findings: &mut Findings<'_>,
    ) {
        let target = TargetFolders {
            listing: &gmail.folders,
            is_gmail: gmail.capabilities.has("X-GM-EXT-1"),
        };
        match plan(&self.config.folders, &source.listing, target) {
            Ok(plan) => self.show_plan(&plan, source, findings),
            Err(mistakes) => {
                for mistake in mistakes.iter().take(MAX_REMEDIES_SHOWN) {
                    let (place, what) = (&mistake.field, &mistake.what);
                    let error = Error::new(Side::Config, ErrorKind::Config, place, what);
                    let error = error.remedy(&mistake.remedy);
                    findings.fail(GROUP, "entry", &error);
                }
                if let Some(more @ 1..) = mistakes.len().checked_sub(MAX_REMEDIES_SHOWN) {
                    let what = format_args!("{more} more mistakes");
                    findings.warn(GROUP, "entry", what, "correct those above first");
                }
            }
        }
    }

    fn show_plan(&self, plan: &FolderPlan, source: &InspectedFolders, findings: &mut Findings<'_>) {
        let shown = plan.pairs.iter().take(MAX_PAIRS_SHOWN);
        let quoted: Vec<String> = shown
            .map(|pair| format!("{:?}", Untrusted::new(&pair.source)))
            .collect();
        let lengths = quoted.iter().map(|name| name.chars().count());
        let width = lengths.max().unwrap_or_default();
        for (pair, quoted) in plan.pairs.iter().zip(quoted) {
            if let Some(error) = source.failures.get(&pair.source) {
                let what = format!("the source folder {quoted} cannot be opened: {error}");
                let error = self.source_error(ErrorKind::Unavailable, &what);
                let remedy = "correct its permissions at the source, or skip it";
                findings.fail(GROUP, "folder", &error.remedy(remedy));
                continue;
            }
            let status = source.statuses.get(&pair.source);
            let destination = destination(pair, status.map(|mailbox| mailbox.exists));
            findings.ok(
                GROUP,
                "folder",
                format_args!("{quoted:width$} {destination}"),
            );
        }
        if let Some(more @ 1..) = plan.pairs.len().checked_sub(MAX_PAIRS_SHOWN) {
            findings.ok(GROUP, "folder", format_args!("{more} more folders"));
        }
        for missing in &plan.missing {
            let (place, name) = (&missing.field, Untrusted::new(&missing.name));
            let what = format_args!("the source folder {name:?} {}", missing.what);
            let error = Error::new(Side::Config, ErrorKind::Config, place, what);
            findings.fail(GROUP, "folder", &error.remedy(&missing.remedy));
        }
        for warning in plan.warnings.iter().take(MAX_REMEDIES_SHOWN) {
            findings.warn(GROUP, "entry", warning.what(), warning.remedy());
        }
        if let Some(more @ 1..) = plan.warnings.len().checked_sub(MAX_REMEDIES_SHOWN) {
            let what = format_args!("{more} more warnings");
            findings.warn(GROUP, "entry", what, "see to those above first");
        }
        if plan.pairs.is_empty() && plan.missing.is_empty() {
            let error = self.source_error(ErrorKind::Config, "no entry matches a folder");
            findings.fail(GROUP, "folder", &error);
        }
    }

    fn source_error(&self, kind: ErrorKind, what: &str) -> Error {
        Error::new(
            Side::Source,
            kind,
            self.config.source.server.address(),
            what,
        )
    }
}

/// Where the messages of a folder go.
fn destination(pair: &FolderPair, messages: Option<u32>) -> String {
    let mut text = format!("goes to {:?}", Untrusted::new(&pair.target));
    // Writing to a string does not fail.
    if !pair.labels.is_empty() {
        let quoted = pair
            .labels
            .iter()
            .map(|label| format!("{:?}", Untrusted::new(label)));
        let quoted: Vec<String> = quoted.collect();
        let _ = write!(text, ", labels {}", quoted.join(" "));
    }
    if pair.archive {
        text.push_str(", not in the inbox");
    }
    if !pair.copy_flags {
        text.push_str(", without flags");
    }
    match messages {
        None => {}
        Some(1) => text.push_str(" (1 message)"),
        Some(messages) => {
            let _ = write!(text, " ({messages} messages)");
        }
    }
    text
}
