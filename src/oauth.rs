//! OAuth 2.0 (RFC 6749): the access token of a Gmail account, its renewal by the refresh token, and
//! the consent that yields the first tokens.
//!
//! May use `net`, `config`, `process` and the base modules.

pub mod consent;
mod endpoint;
mod google_hosts;
mod oauth_error;
mod renewal;
mod token;
mod token_file;
mod token_health;

pub(crate) use renewal::Renewal;
pub use renewal::{RememberedRejection, RenewalPolicy};
pub use token::Token;
pub(crate) use token::check_token_file;
pub(crate) use token_health::TokenHealth;

/// Where the Gmail API of a project is switched on.
pub(crate) const GMAIL_API_CONSOLE: &str =
    "https://console.cloud.google.com/apis/library/gmail.googleapis.com";
