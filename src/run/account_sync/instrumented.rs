//! Both sides of a pass as the loop sees them: which one failed, whether Gmail was asked at all,
//! that there is life; and no further step once the end was asked for.

use std::cell::Cell;
use std::time::Duration;

use chrono::{DateTime, FixedOffset};

use crate::error::{ErrorKind, Result};
use crate::message::{Listed, Message, Uid, UidSet};
use crate::process::signals::SignalRequests;
use crate::process::systemd;
use crate::process::watchdog::Watchdog;
use crate::sync::{
    Fetched, LookupQuery, LookupResult, Outcome, Source, SourceSearch, Target, TargetStatus,
};

/// The longest that one step of a pass may take: 35 MB over a line of 40 kbit/s.
pub const STEP: Duration = Duration::from_hours(2);

/// Who is to blame for a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The mailbox mail comes from.
    Source,
    /// The mailbox mail goes to.
    Gmail,
    /// This host: the state cannot be kept.
    Host,
}

/// What is known of a pass besides its report.
pub(super) struct PassMonitor<'a> {
    orders: &'a SignalRequests,
    vigil: &'a Watchdog,
    /// The kind of the worst failure, which is the one that a pass ends with, and its side.
    failed: Cell<Option<(ErrorKind, Side)>>,
    asked_gmail: Cell<bool>,
    is_at_work: Cell<bool>,
}

impl PassMonitor<'_> {
    pub fn new<'a>(orders: &'a SignalRequests, vigil: &'a Watchdog) -> PassMonitor<'a> {
        PassMonitor {
            orders,
            vigil,
            failed: Cell::new(None),
            asked_gmail: Cell::new(false),
            is_at_work: Cell::new(false),
        }
    }

    /// On which side the failure was that a pass ends with: the worst, and of several the first
    /// ([`Error::worse`](crate::error::Error::worse)).
    pub fn failed(&self) -> Side {
        self.failed.get().map_or(Side::Host, |(_, side)| side)
    }

    /// Whether Gmail was asked anything, and so was reached if nothing failed.
    pub fn gmail_was_asked(&self) -> bool {
        self.asked_gmail.get()
    }

    /// There is something to do: a pass may take hours, and a person wants to know what it does.
    fn begins_work(&self) {
        if !self.is_at_work.replace(true) {
            systemd::status("copying new mail");
        }
    }

    /// Takes a step that is not taken any more once the end was asked for.
    fn step<T>(&self, side: Side, step: impl FnOnce() -> Result<T>) -> Result<T> {
        let done = if self.orders.exit_requested() {
            Err(SignalRequests::exit_error())
        } else {
            self.finish(side, step)
        };
        self.note(side, done)
    }

    /// Takes a step that belongs to the end.
    fn finish<T>(&self, side: Side, step: impl FnOnce() -> Result<T>) -> Result<T> {
        self.vigil.extend_deadline(STEP);
        self.note(side, step())
    }

    fn note<T>(&self, side: Side, done: Result<T>) -> Result<T> {
        if let Err(error) = &done
            && self
                .failed
                .get()
                .is_none_or(|(kind, _)| error.kind() > kind)
        {
            self.failed.set(Some((error.kind(), side)));
        }
        done
    }
}

/// A source under oversight.
pub(super) struct MonitoredSource<'a> {
    source: &'a mut dyn Source,
    oversight: &'a PassMonitor<'a>,
}

impl<'a> MonitoredSource<'a> {
    pub fn new(source: &'a mut dyn Source, oversight: &'a PassMonitor<'a>) -> MonitoredSource<'a> {
        MonitoredSource { source, oversight }
    }
}

impl Source for MonitoredSource<'_> {
    fn search(&mut self, search: &SourceSearch) -> Result<Vec<Uid>> {
        self.oversight
            .step(Side::Source, || self.source.search(search))
    }

    fn list(&mut self, uids: &UidSet) -> Result<Vec<Listed>> {
        self.oversight.begins_work();
        self.oversight.step(Side::Source, || self.source.list(uids))
    }

    fn fetch(&mut self, uids: &[Uid]) -> Result<Vec<Fetched>> {
        self.oversight
            .step(Side::Source, || self.source.fetch(uids))
    }
}

/// A target under oversight.
pub(super) struct MonitoredTarget<'a> {
    target: &'a mut dyn Target,
    oversight: &'a PassMonitor<'a>,
}

impl<'a> MonitoredTarget<'a> {
    pub fn new(target: &'a mut dyn Target, oversight: &'a PassMonitor<'a>) -> MonitoredTarget<'a> {
        MonitoredTarget { target, oversight }
    }
}

impl Target for MonitoredTarget<'_> {
    fn status(&mut self) -> Result<TargetStatus> {
        self.oversight.asked_gmail.set(true);
        self.oversight.step(Side::Gmail, || self.target.status())
    }

    fn announce_backlog(&mut self, backlog: usize, oldest: Option<DateTime<FixedOffset>>) {
        self.target.announce_backlog(backlog, oldest);
    }

    fn holds(&mut self, questions: &[LookupQuery]) -> Result<Vec<LookupResult>> {
        self.oversight.asked_gmail.set(true);
        self.oversight
            .step(Side::Gmail, || self.target.holds(questions))
    }

    fn submit(&mut self, message: Message) -> Result<()> {
        self.oversight
            .step(Side::Gmail, || self.target.submit(message))
    }

    fn settled(&mut self) -> Option<(Uid, Outcome)> {
        self.target.settled()
    }

    fn finish(&mut self) -> Result<()> {
        self.oversight.finish(Side::Gmail, || self.target.finish())
    }
}

#[cfg(test)]
mod tests {
    use crate::error::ErrorKind::{Rejected, Unavailable};
    use crate::error::{Error, ErrorKind};
    use crate::process::signals::SignalRequests;
    use crate::process::watchdog::Watchdog;
    use crate::run::account_sync::instrumented::Side::{Gmail, Host, Source};
    use crate::run::account_sync::instrumented::{PassMonitor, Side};

    #[test]
    fn the_failure_that_a_pass_ends_with_says_whose_it_is() {
        let ended_by = |failures: &[(Side, ErrorKind)]| {
            let (orders, vigil) = (SignalRequests::default(), Watchdog::default());
            let oversight = PassMonitor::new(&orders, &vigil);
            for (side, kind) in failures {
                let failure = || Err::<(), _>(Error::new(*kind, "place", "what"));
                assert!(oversight.finish(*side, failure).is_err());
            }
            oversight.failed()
        };
        assert_eq!(ended_by(&[]), Host);
        assert_eq!(ended_by(&[(Source, Unavailable)]), Source);
        assert_eq!(ended_by(&[(Source, Unavailable), (Gmail, Rejected)]), Gmail);
        assert_eq!(ended_by(&[(Gmail, Rejected), (Source, Unavailable)]), Gmail);
        let both = [(Source, Unavailable), (Gmail, Unavailable)];
        assert_eq!(ended_by(&both), Source);
    }
}
