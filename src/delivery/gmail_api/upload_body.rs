//! The body of a request, read piece by piece: a message is not copied.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::delivery::gmail_api::client::SentBody;
use crate::message::Message;
use crate::process::cancel::cancelled_error;
use crate::process::octet_counter::OctetCounter;

/// A body: octets before the message, a part of the message, octets after it.
#[derive(Clone, Default)]
pub(super) struct UploadBody {
    before: Arc<[u8]>,
    message: Option<(Arc<Message>, Range<usize>)>,
    after: Arc<[u8]>,
    progress: BodyProgress,
}

/// How far a body was sent.
#[derive(Clone, Default)]
pub(super) struct BodyProgress {
    /// The octets that were handed to the connection, and [`STOPPED`].
    taken: Arc<AtomicU64>,
    length: u64,
}

/// Set in the number of octets once no more may be handed to the connection.
const STOPPED: u64 = 1 << 63;

/// Reads a body once.
pub(super) struct BodyReader {
    body: UploadBody,
    counter: OctetCounter,
    position: usize,
}

impl UploadBody {
    /// Octets without a message.
    pub fn of(octets: impl Into<Arc<[u8]>>) -> UploadBody {
        UploadBody {
            before: octets.into(),
            ..UploadBody::default()
        }
        .counted()
    }

    /// A message between other octets.
    pub fn around(before: Vec<u8>, message: Arc<Message>, after: Vec<u8>) -> UploadBody {
        let all = 0..message.octets.len();
        UploadBody {
            before: before.into(),
            message: Some((message, all)),
            after: after.into(),
            progress: BodyProgress::default(),
        }
        .counted()
    }

    /// A message from this octet on.
    pub fn rest_of(message: Arc<Message>, from: usize) -> UploadBody {
        let rest = from.min(message.octets.len())..message.octets.len();
        UploadBody {
            message: Some((message, rest)),
            ..UploadBody::default()
        }
        .counted()
    }

    fn counted(mut self) -> UploadBody {
        let length = self.parts().iter().map(|part| part.len() as u64).sum();
        self.progress.length = length;
        self
    }

    /// The same body, of which nothing was sent yet.
    pub fn unsent(&self) -> UploadBody {
        let progress = BodyProgress {
            taken: Arc::default(),
            length: self.progress.length,
        };
        UploadBody {
            progress,
            ..self.clone()
        }
    }

    pub fn len(&self) -> u64 {
        self.progress.length
    }

    pub fn progress(&self) -> BodyProgress {
        self.progress.clone()
    }

    pub fn reader(self, counter: OctetCounter) -> BodyReader {
        BodyReader {
            body: self,
            counter,
            position: 0,
        }
    }

    fn parts(&self) -> [&[u8]; 3] {
        let message = self.message.as_ref();
        let part = message.and_then(|(message, range)| message.octets.get(range.clone()));
        [&self.before, part.unwrap_or_default(), &self.after]
    }
}

impl BodyProgress {
    /// Hands nothing more to the connection: a request that nobody waits for any more would go on, and what
    /// [`sent`](BodyProgress::sent) says of it would not stay true.
    pub fn stop(&self) {
        self.taken.fetch_or(STOPPED, Ordering::AcqRel);
    }

    /// Counts octets that are about to be handed to the connection; an error if no more may be.
    fn take(&self, octets: usize) -> io::Result<()> {
        let count = |taken| (taken & STOPPED == 0).then_some(taken + octets as u64);
        let taken = &self.taken;
        let counted = taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, count);
        counted.map(drop).map_err(|_| cancelled_error())
    }

    /// How much of the body the server may have. What was handed to the connection may be lost with it, so
    /// that this is too much rather than too little.
    pub fn sent(&self) -> SentBody {
        match self.taken.load(Ordering::Acquire) & !STOPPED {
            0 => SentBody::Nothing,
            taken if taken < self.length => SentBody::Part,
            _ => SentBody::All,
        }
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut skip = self.position;
        for part in self.body.parts() {
            let Some(rest) = part.get(skip..).filter(|rest| !rest.is_empty()) else {
                skip = skip.saturating_sub(part.len());
                continue;
            };
            let read = { rest }.read(buffer)?;
            self.body.progress.take(read)?;
            self.position += read;
            self.counter.add(read);
            return Ok(read);
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{DeliveryMethod, Flags, MessageId, Uid};

    fn message(octets: &[u8]) -> Arc<Message> {
        Arc::new(Message {
            uid: Uid::MIN,
            id: MessageId::of_octets(octets),
            internal_date: None,
            flags: Flags::default(),
            method: DeliveryMethod::Import,
            octets: octets.to_vec(),
        })
    }

    #[test]
    fn a_body_is_read_in_order_and_counts_what_was_taken() {
        let body = UploadBody::around(b"ab".to_vec(), message(b"cde"), b"f".to_vec());
        let progress = body.progress();
        assert_eq!(body.len(), 6);
        assert_eq!(progress.sent(), SentBody::Nothing);
        let mut reader = body.clone().reader(OctetCounter::default());
        let mut buffer = [0; 4];
        assert_eq!(reader.read(&mut buffer).unwrap(), 2);
        assert_eq!(progress.sent(), SentBody::Part);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "cdef");
        assert_eq!(progress.sent(), SentBody::All);
    }

    #[test]
    fn a_body_that_was_stopped_is_not_sent_any_further() {
        let body = UploadBody::around(b"ab".to_vec(), message(b"cde"), b"f".to_vec());
        for octets in [0, 5] {
            let body = body.unsent();
            let progress = body.progress();
            let mut reader = body.reader(OctetCounter::default());
            let mut begun = vec![0; octets];
            reader.read_exact(&mut begun).unwrap();
            let sent = progress.sent();
            progress.stop();
            reader.read(&mut [0]).unwrap_err();
            assert_eq!(progress.sent(), sent, "after {octets}");
        }
    }

    #[test]
    fn the_rest_of_a_message_begins_where_the_server_has_ended() {
        for (from, expected) in [(0, "abc"), (2, "c"), (3, ""), (9, "")] {
            let body = UploadBody::rest_of(message(b"abc"), from);
            assert_eq!(body.len(), expected.len() as u64);
            let mut read = String::new();
            let mut reader = body.reader(OctetCounter::default());
            reader.read_to_string(&mut read).unwrap();
            assert_eq!(read, expected, "{from}");
        }
    }
}
