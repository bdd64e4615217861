//! Failures of single folders, of which each is logged when it begins.

use std::collections::BTreeSet;

use crate::error::Error;

/// The failures of the last passes.
#[derive(Debug, Default)]
pub(super) struct FolderFailures(BTreeSet<String>);

impl FolderFailures {
    /// Logs the failures that were not there before; returns whether there are any.
    pub fn record(&mut self, failures: &[Error]) -> bool {
        let failing: BTreeSet<String> = failures.iter().map(ToString::to_string).collect();
        for failure in failing.difference(&self.0) {
            log::error!("{failure}");
        }
        if failing.is_empty() && !self.0.is_empty() {
            log::info!("all folders can be copied again");
        }
        self.0 = failing;
        !self.0.is_empty()
    }
}
