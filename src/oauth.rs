//! OAuth 2.0 (RFC 6749): the token of a Gmail account, how it is renewed, and how the first one is
//! obtained (`consent`).
//!
//! May use `net`, `config`, `process` and the base modules.

pub mod consent;
pub(crate) mod endpoint;
pub(crate) mod oauth_error;
pub mod token;
pub(crate) mod token_file;
pub(crate) mod token_health;

pub(crate) use endpoint::{
    AuthorizationGrant, ClientRegistration, Endpoint, EndpointError, IssuedTokens, MAIL_SCOPE,
};
pub(crate) use oauth_error::OAuthError;
pub use token::{RememberedRejection, Token};
pub(crate) use token_file::is_protected;
pub use token_health::TokenHealth;
