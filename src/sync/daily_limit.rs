//! What may still be sent today: each method has a limit of its own, because Gmail counts them apart.

use crate::error::{Consequence, Error, ErrorKind, RestReason, Side};
use crate::message::DeliveryMethod;
use crate::state::upload_quota;
use crate::sync::ledger::Ledger;

/// The octets that are about to be sent, beside those of the last 24 hours.
pub(super) struct DailyLimit {
    limit: Option<u64>,
    append: u64,
    import: u64,
}

impl DailyLimit {
    /// Nothing is about to be sent.
    pub fn new(limit: Option<u64>) -> DailyLimit {
        DailyLimit {
            limit,
            append: 0,
            import: 0,
        }
    }

    /// Counts a message that is about to be sent; an error if it must not be sent today.
    pub fn take(
        &mut self,
        method: DeliveryMethod,
        octets: u64,
        ledger: &Ledger,
    ) -> Result<(), Box<Error>> {
        let about_to_be_sent = match method {
            DeliveryMethod::Append => &mut self.append,
            DeliveryMethod::Import => &mut self.import,
        };
        let gmail = &ledger.state().gmail;
        let sent = gmail
            .sent_in_last_day(method, ledger.now())
            .saturating_add(*about_to_be_sent);
        if !upload_quota::allows(self.limit, sent, octets) {
            return Err(Box::new(is_reached(method, sent)));
        }
        *about_to_be_sent = about_to_be_sent.saturating_add(octets);
        Ok(())
    }
}

fn is_reached(method: DeliveryMethod, sent: u64) -> Error {
    let (sent, during) = match method {
        DeliveryMethod::Append => (format!("{sent} octets were sent"), "appending"),
        DeliveryMethod::Import => (format!("{sent} octets were imported"), "importing"),
    };
    let what = format!("{sent} in the last 24 hours");
    Error::new(Side::Gmail, ErrorKind::Resting, "gmail", what)
        .during(during)
        .remedy("the account rests; daily_upload_limit sets the limit")
        .with_consequence(Consequence::Rest(RestReason::DailyLimit))
}
