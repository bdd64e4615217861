//! `auth` and the token endpoint: from the user's consent to a token that works.

// A test fails by a panic, in its support code as in its body.
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

mod browser;
mod running_auth;

mod chromium;
mod consent;
mod consent_page;
mod redirect;
mod terminal;
mod token_endpoint;
mod token_file;
mod token_over_https;
