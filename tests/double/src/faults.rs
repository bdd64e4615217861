//! Faults, and the events at which they happen.

use std::fmt;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use crate::events::{Event, EventKind};
use crate::mailboxes::Mailboxes;

/// A fault at an event.
#[derive(Clone)]
pub enum Fault {
    /// Closes the connection without a response; a line that was about to be sent is not sent.
    Eof,
    /// As `Eof`, by a TCP reset.
    Reset,
    /// Sends half of the line that was about to be sent, then closes the connection.
    HalfThenEof,
    /// Stops this connection, without closing it, until `Faults::release`.
    Stall,
    /// Delays the event.
    Pause(Duration),
    /// Sends this line instead of the line that was about to be sent, or instead of executing the
    /// command. `<T>` stands for the tag. After a line that begins with `* BYE` the connection is
    /// closed.
    Instead(String),
    /// Sends this line first.
    Before(String),
    /// Calls this function first: mail arrives, the test is notified.
    Run(std::sync::Arc<dyn Fn(&Mailboxes) + Send + Sync>),
}

impl Fault {
    /// A fault that calls `what`.
    pub fn run(what: impl Fn(&Mailboxes) + Send + Sync + 'static) -> Fault {
        Fault::Run(std::sync::Arc::new(what))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Eof => f.write_str("Eof"),
            Fault::Reset => f.write_str("Reset"),
            Fault::HalfThenEof => f.write_str("HalfThenEof"),
            Fault::Pause(time) => write!(f, "Pause({time:?})"),
            Fault::Stall => f.write_str("Stall"),
            Fault::Instead(line) => write!(f, "Instead({line:?})"),
            Fault::Before(line) => write!(f, "Before({line:?})"),
            Fault::Run(_) => f.write_str("Run"),
        }
    }
}

type Condition = Box<dyn FnMut(&Event) -> bool + Send>;

struct Planned {
    condition: Condition,
    fault: Fault,
    repeats: bool,
}

/// The planned faults of a server, for all its connections, and the record of its events.
#[derive(Default)]
pub struct Faults {
    planned: Mutex<Vec<Planned>>,
    record: Mutex<Vec<Event>>,
    releases: Mutex<usize>,
    released: Condvar,
}

impl Faults {
    /// Closes the connection at the event of this number, before its effect.
    pub fn cut_at(&self, number: usize) {
        self.at(number, Fault::Eof);
    }

    /// Plans a fault for the event of this number.
    pub fn at(&self, number: usize, fault: Fault) {
        self.once(move |event| event.number == number, fault);
    }

    /// Plans a fault for the next event for which `condition` holds.
    pub fn once(&self, condition: impl FnMut(&Event) -> bool + Send + 'static, fault: Fault) {
        self.plan(Box::new(condition), fault, false);
    }

    /// Plans a fault for every event for which `condition` holds.
    pub fn always(&self, condition: impl FnMut(&Event) -> bool + Send + 'static, fault: Fault) {
        self.plan(Box::new(condition), fault, true);
    }

    /// Removes the faults that have not happened.
    pub fn clear(&self) {
        self.planned.lock().unwrap().clear();
    }

    /// Resumes the connections that are stalled now.
    pub fn release(&self) {
        *self.releases.lock().unwrap() += 1;
        self.released.notify_all();
    }

    fn plan(&self, condition: Condition, fault: Fault, repeats: bool) {
        self.planned.lock().unwrap().push(Planned {
            condition,
            fault,
            repeats,
        });
    }

    /// Records an event and returns the fault planned for it.
    pub(crate) fn record_event(&self, connection: usize, kind: EventKind) -> Option<Fault> {
        let mut record = self.record.lock().unwrap();
        let event = Event {
            number: record.len() + 1,
            connection,
            kind,
        };
        record.push(event.clone());
        let mut planned = self.planned.lock().unwrap();
        drop(record);
        let due = planned
            .iter_mut()
            .position(|plan| (plan.condition)(&event))?;
        let fault = planned[due].fault.clone();
        if !planned[due].repeats {
            planned.remove(due);
        }
        Some(fault)
    }

    /// The events so far.
    pub(crate) fn record(&self) -> Vec<Event> {
        self.record.lock().unwrap().clone()
    }

    /// The number of releases so far.
    pub(crate) fn releases(&self) -> usize {
        *self.releases.lock().unwrap()
    }

    /// Waits at most `wait` for a release after the first `seen` ones; returns whether there was one.
    pub(crate) fn is_released_since(&self, seen: usize, wait: Duration) -> bool {
        let releases = self.releases.lock().unwrap();
        let (releases, _) = self
            .released
            .wait_timeout_while(releases, wait, |count| *count == seen)
            .unwrap();
        *releases != seen
    }
}
