//! What a pass did, in numbers.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use crate::error::Result;
use crate::size::format_size;
use crate::timestamp::{format_elapsed, logged_seconds};
use crate::untrusted::Untrusted;

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PassReport {
    /// Messages that Gmail stored.
    pub appended: u64,
    /// Their octets.
    pub octets: u64,
    /// Messages found at Gmail.
    pub already_there: u64,
    /// Messages that were delivered before.
    pub known: u64,
    /// How often a message was parked.
    pub parked: u64,
    /// Messages that were refused for good.
    pub refused: u64,
}

/// A pass that did not fail.
#[derive(Debug)]
pub struct CompletedPass {
    /// What it did.
    pub report: PassReport,
    /// Why labels are still owed, although a connection to Gmail was there to set them.
    pub labels: Result<()>,
}

impl PassReport {
    /// Says whether nothing worth a log line happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.appended + self.already_there + self.parked + self.refused == 0
    }

    /// Logs what a pass did that took this long, unless it did nothing.
    pub(super) fn log(&self, folder: Option<&str>, took: Duration, is_complete: bool) {
        let of_folder = folder.map_or_else(String::new, |folder| {
            format!("{}: ", Untrusted::new(folder))
        });
        if self.is_empty() {
            if is_complete {
                log::debug!("nothing new");
            }
            return;
        }
        let end = if is_complete {
            ""
        } else {
            "; the pass ended early"
        };
        log::info!(
            copied = self.appended,
            already_there = self.already_there,
            known = self.known,
            parked = self.parked,
            refused = self.refused,
            octets = self.octets,
            seconds = logged_seconds(took);
            "{of_folder}{self}: {}, {}{end}",
            format_size(self.octets),
            format_elapsed(took)
        );
    }
}

impl AddAssign for PassReport {
    fn add_assign(&mut self, other: PassReport) {
        self.appended += other.appended;
        self.octets += other.octets;
        self.already_there += other.already_there;
        self.known += other.known;
        self.parked += other.parked;
        self.refused += other.refused;
    }
}

impl fmt::Display for PassReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} copied, {} already there",
            self.appended, self.already_there
        )?;
        for (count, what) in [
            (self.known, "known"),
            (self.parked, "parked"),
            (self.refused, "refused"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}
