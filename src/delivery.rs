//! Ways to deliver messages to Gmail; each implements [`Target`](crate::sync::Target).
//!
//! The contract of [`Target`](crate::sync::Target): nothing is opened before the first call; every
//! submitted message gets exactly one outcome; an outcome claims no more than is proven, so that a
//! message whose response was lost is `Uncertain`; after an error the outcomes can still be read.
//!
//! A second way of delivery, such as the Gmail API, is a sibling folder (`delivery/gmail_api/`) that
//! implements the same trait. Uses the IMAP client, the token and the configuration; knows nothing
//! of the state.

pub mod gmail_imap;
