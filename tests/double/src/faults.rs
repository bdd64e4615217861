//! What goes wrong, and when.

use std::fmt;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use crate::events::{Event, EventKind};
use crate::mailboxes::Mailboxes;

/// What goes wrong at an event.
#[derive(Clone)]
pub enum Fault {
    /// The connection is closed in silence; a line that was about to be sent is not sent.
    Eof,
    /// As `Eof`, by a TCP reset.
    Reset,
    /// Half of the line that was about to be sent is sent, then the connection is closed.
    HalfThenEof,
    /// Nothing more happens on this connection until `Faults::release`; it stays open.
    Stall,
    /// It happens only so much later.
    Pause(Duration),
    /// This line instead: of the line that was about to be sent, or of what the command or literal
    /// would have caused, which then does not happen. `<T>` in it stands for the tag. The
    /// connection is closed after a line that begins with `* BYE`.
    Instead(String),
    /// This line before what was about to happen.
    Before(String),
    /// Something else happens at the server first: mail arrives, the test is told.
    Run(std::sync::Arc<dyn Fn(&Mailboxes) + Send + Sync>),
}

impl Fault {
    /// A fault that runs this.
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
    happens_again: bool,
}

/// The faults planned for a server, over all its connections, and the record of its events.
#[derive(Default)]
pub struct Faults {
    planned: Mutex<Vec<Planned>>,
    record: Mutex<Vec<Event>>,
    releases: Mutex<usize>,
    released: Condvar,
}

impl Faults {
    /// Cuts the connection at the event of this number: in silence, before its effect.
    pub fn cut_at(&self, number: usize) {
        self.at(number, Fault::Eof);
    }

    /// Plans a fault for the event of this number.
    pub fn at(&self, number: usize, fault: Fault) {
        self.once(move |event| event.number == number, fault);
    }

    /// Plans a fault for the next event that this is true of.
    pub fn once(&self, condition: impl FnMut(&Event) -> bool + Send + 'static, fault: Fault) {
        self.plan(Box::new(condition), fault, false);
    }

    /// Plans a fault for every event that this is true of.
    pub fn always(&self, condition: impl FnMut(&Event) -> bool + Send + 'static, fault: Fault) {
        self.plan(Box::new(condition), fault, true);
    }

    /// Forgets what was planned and has not happened.
    pub fn clear(&self) {
        self.planned.lock().unwrap().clear();
    }

    /// Lets connections that are stalled now go on.
    pub fn release(&self) {
        *self.releases.lock().unwrap() += 1;
        self.released.notify_all();
    }

    fn plan(&self, condition: Condition, fault: Fault, happens_again: bool) {
        self.planned.lock().unwrap().push(Planned {
            condition,
            fault,
            happens_again,
        });
    }

    /// Records an event, and tells the fault planned for it.
    pub(crate) fn meet(&self, connection: usize, kind: EventKind) -> Option<Fault> {
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
        if !planned[due].happens_again {
            planned.remove(due);
        }
        Some(fault)
    }

    /// The events so far.
    pub(crate) fn record(&self) -> Vec<Event> {
        self.record.lock().unwrap().clone()
    }

    /// How often stalled connections were released so far.
    pub(crate) fn releases(&self) -> usize {
        *self.releases.lock().unwrap()
    }

    /// Waits a moment for a release after the first `seen` ones; says whether there was one.
    pub(crate) fn is_released_since(&self, seen: usize, wait: Duration) -> bool {
        let releases = self.releases.lock().unwrap();
        let (releases, _) = self
            .released
            .wait_timeout_while(releases, wait, |count| *count == seen)
            .unwrap();
        *releases != seen
    }
}
