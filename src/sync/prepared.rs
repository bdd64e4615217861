//! A message that was read and is ready to be sent.

use crate::message::{DeliveryMethod, Digest, Flags, HashedOctets, Listed, Message, MessageId};

/// A message that was read and is ready to be sent.
pub(super) struct PreparedMessage {
    pub message: Message,
    pub digest: Digest,
}

impl PreparedMessage {
    /// A message as it was listed, with its octets, and the flags that it gets.
    pub fn new(listed: &Listed, hashed: HashedOctets, flags: Flags) -> PreparedMessage {
        let HashedOctets { octets, body } = hashed;
        let id = listed.identity.id.clone();
        PreparedMessage {
            digest: Digest {
                header: listed.identity.header,
                body: Some(body),
            },
            message: Message {
                uid: listed.uid,
                id: id.unwrap_or_else(|| MessageId::of_octets(&octets)),
                internal_date: listed.internal_date,
                flags,
                method: DeliveryMethod::Append,
                octets,
            },
        }
    }

    /// The same, delivered by this method.
    pub fn by(mut self, method: DeliveryMethod) -> PreparedMessage {
        self.message.method = method;
        self
    }

    pub fn octets(&self) -> u64 {
        self.message.octets.len() as u64
    }

    pub fn is_twin_of(&self, other: &PreparedMessage) -> bool {
        self.message.id == other.message.id && self.digest.header == other.digest.header
    }
}
