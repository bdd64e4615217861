//! What a pass does with the messages that it selects.

use crate::error::Result;
use crate::message::Listed;
use crate::sync::Target;
use crate::sync::fetch::Fetch;
use crate::sync::identity::SelectedBy;
use crate::sync::ledger::Ledger;
use crate::sync::plan::Plan;

/// What a pass does with the messages that it selects: it copies them, or reports them (dry run).
/// The selection is the same for both.
pub(super) trait Action {
    /// Starts a round, before anything is selected.
    fn start_round(&mut self, plan: &Plan, parts: &mut Parts) -> Result<()>;

    /// Handles one page of the listing.
    fn handle_page(
        &mut self,
        page: Vec<Listed>,
        selected_by: SelectedBy,
        parts: &mut Parts,
    ) -> Result<()>;

    /// Handles the parked messages that are due, and waits until nothing is in flight.
    fn finish_round(&mut self, parts: &mut Parts) -> Result<()>;

    /// Handles the orphans that a date pass did not find; returns whether it can end.
    fn finish_date_pass(&mut self, parts: &mut Parts) -> Result<bool>;
}

/// What the steps of a pass work on.
pub(super) struct Parts<'a> {
    pub fetch: Fetch<'a>,
    pub target: &'a mut dyn Target,
    pub ledger: Ledger<'a>,
}
