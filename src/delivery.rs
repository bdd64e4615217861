//! Ways to deliver messages to Gmail; each implements [`Target`](crate::sync::Target).
//!
//! The contract of [`Target`](crate::sync::Target): nothing is opened before the first call; every
//! submitted message gets exactly one outcome; an outcome claims no more than is proven, so that a
//! message whose response was lost is `Uncertain`; after an error the outcomes can still be read.
//!
//! Messages are appended over IMAP (`gmail_imap`) or imported by the Gmail API (`gmail_api`);
//! `gmail_delivery` gives each to its way. Uses the IMAP client, HTTP, the token and the configuration;
//! knows nothing of the state.

mod gmail_api;
mod gmail_delivery;
pub mod gmail_imap;

pub(crate) use gmail_api::ImportDestination;
pub use gmail_delivery::GmailDelivery;
pub(crate) use gmail_delivery::verify_import;
