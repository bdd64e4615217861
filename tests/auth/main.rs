//! `auth` and the token endpoint: from the user's consent to a token that works.

// A test that cannot go on says so by a panic, in its tools as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

#[path = "../support/dovecot/certificate.rs"]
mod certificate;
#[path = "../support/http.rs"]
mod http;
#[path = "../support/program.rs"]
mod program;

mod authorizing;
mod browser;

mod chromium;
mod consent;
mod consent_page;
mod token_over_https;
