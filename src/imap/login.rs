//! The log-in: AUTHENTICATE PLAIN, LOGIN or AUTHENTICATE XOAUTH2.

use std::cell::Cell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use imap::{Authenticator, Client};

use crate::imap::{Capabilities, CommandError, SharedConnection};
use crate::secret::Secret;

/// The user and the credentials of a log-in.
#[derive(Debug, Clone)]
pub enum Login {
    /// With a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// With an `OAuth2` access token (Google's XOAUTH2).
    Xoauth2 {
        /// The user: an address.
        user: String,
        /// The access token.
        token: Secret,
    },
}

impl Login {
    pub(super) fn user(&self) -> &str {
        match self {
            Login::Password { user, .. } | Login::Xoauth2 { user, .. } => user,
        }
    }

    /// Why no server could take these credentials, if so.
    pub(super) fn invalid_characters(&self) -> Option<&'static str> {
        let (user, secret) = match self {
            Login::Password { user, password } => (user, password),
            Login::Xoauth2 { user, token } => (user, token),
        };
        let has = |octets: &[char]| user.contains(octets) || secret.expose().contains(octets);
        match self {
            Login::Password { .. } if has(&['\0', '\r', '\n']) => {
                Some("user or password holds a line end or a NUL")
            }
            Login::Xoauth2 { .. } if has(&['\x01', '\0', '\r', '\n']) => {
                Some("user or token holds a control character")
            }
            _ => None,
        }
    }
}

/// A log-in method that the server offers.
pub(super) enum LoginMethod<'a> {
    Authenticate {
        mechanism: &'static str,
        response: String,
    },
    LoginCommand {
        user: &'a str,
        password: &'a Secret,
    },
}

impl LoginMethod<'_> {
    /// The method for these credentials; none if the server offers none.
    pub(super) fn choose<'a>(
        login: &'a Login,
        capabilities: &Capabilities,
    ) -> Option<LoginMethod<'a>> {
        match login {
            Login::Password { user, password } if capabilities.has("AUTH=PLAIN") => {
                // RFC 4616: no authorization identity, the user, the password.
                Some(LoginMethod::Authenticate {
                    mechanism: "PLAIN",
                    response: format!("\0{user}\0{}", password.expose()),
                })
            }
            Login::Password { .. } if capabilities.has("LOGINDISABLED") => None,
            Login::Password { user, password } => {
                Some(LoginMethod::LoginCommand { user, password })
            }
            Login::Xoauth2 { user, token } => Some(LoginMethod::Authenticate {
                mechanism: "XOAUTH2",
                response: format!("user={user}\x01auth=Bearer {}\x01\x01", token.expose()),
            }),
        }
    }

    /// Logs in. `has_sasl_ir`: the response may go with the command (RFC 4959), which saves a round
    /// trip.
    pub(super) fn log_in(
        self,
        client: Client<SharedConnection>,
        has_sasl_ir: bool,
    ) -> Result<imap::Session<SharedConnection>, imap::Error> {
        let result = match self {
            LoginMethod::LoginCommand { user, password } => client.login(user, password.expose()),
            LoginMethod::Authenticate {
                mechanism,
                response,
            } if has_sasl_ir => client.authenticate(
                format!("{mechanism} {}", STANDARD.encode(response)),
                &SingleResponse(Cell::default()),
            ),
            LoginMethod::Authenticate {
                mechanism,
                response,
            } => client.authenticate(mechanism, &SingleResponse(Cell::new(response))),
        };
        result.map_err(|(error, _)| error)
    }
}

/// Answers the first challenge with the response, and every later one with an empty line: XOAUTH2
/// describes an error in a challenge, and sends the NO after an empty response to that.
struct SingleResponse(Cell<String>);

impl Authenticator for SingleResponse {
    type Response = String;

    fn process(&self, _challenge: &[u8]) -> String {
        self.0.take()
    }
}

impl CommandError {
    /// Says whether a failed log-in means that the credentials are wrong.
    ///
    /// `[ALERT]`, `[UNAVAILABLE]`, `[OVERQUOTA]` and the like do not mean that, except for Gmail's
    /// older `[ALERT] Invalid credentials`.
    #[must_use]
    pub fn rejects_credentials(&self) -> bool {
        const OTHER_REASONS: [&str; 7] = [
            "ALERT",
            "UNAVAILABLE",
            "OVERQUOTA",
            "SERVERBUG",
            "LIMIT",
            "INUSE",
            "CONTACTADMIN",
        ];
        let CommandError::No(text) = self else {
            return false;
        };
        let names_credentials = text
            .text
            .to_ascii_lowercase()
            .contains("invalid credentials");
        names_credentials || !OTHER_REASONS.iter().any(|code| text.has_code(code))
    }
}
