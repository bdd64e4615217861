//! Ways to deliver a message to Gmail; each implements [`sync::Target`](crate::sync::Target).

pub mod gmail_imap;
