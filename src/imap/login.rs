//! Logging in: AUTHENTICATE PLAIN, LOGIN, AUTHENTICATE XOAUTH2; and what a refusal means.

use std::cell::Cell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use imap::{Authenticator, Client};

use crate::imap::{Capabilities, CommandError, SharedConnection};
use crate::secret::Secret;

/// Who logs in, and how it is proved.
#[derive(Debug, Clone)]
pub enum Login {
    /// By a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// By an `OAuth2` access token (Google's XOAUTH2).
    Xoauth2 {
        /// The user: an address.
        user: String,
        /// The access token.
        token: Secret,
    },
}

impl Login {
    /// The user who logs in.
    #[must_use]
    pub fn user(&self) -> &str {
        match self {
            Login::Password { user, .. } | Login::Xoauth2 { user, .. } => user,
        }
    }

    /// Why no server could take these credentials.
    pub(crate) fn invalid_characters(&self) -> Option<&'static str> {
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

/// A way to log in that the server offers.
pub(crate) enum LoginMethod {
    Authenticate {
        mechanism: &'static str,
        says: String,
    },
    LoginCommand,
}

impl LoginMethod {
    /// The way for these credentials; none if the server offers none.
    pub(crate) fn for_login(login: &Login, capabilities: &Capabilities) -> Option<LoginMethod> {
        match login {
            Login::Password { user, password } if capabilities.has("AUTH=PLAIN") => {
                // RFC 4616: no authorization identity, the user, the password.
                Some(LoginMethod::Authenticate {
                    mechanism: "PLAIN",
                    says: format!("\0{user}\0{}", password.expose()),
                })
            }
            Login::Password { .. } if capabilities.has("LOGINDISABLED") => None,
            Login::Password { .. } => Some(LoginMethod::LoginCommand),
            Login::Xoauth2 { user, token } => Some(LoginMethod::Authenticate {
                mechanism: "XOAUTH2",
                says: format!("user={user}\x01auth=Bearer {}\x01\x01", token.expose()),
            }),
        }
    }
}

/// Logs in; the error is the library's, to be read together with the last words.
pub(crate) fn log_in(
    client: Client<SharedConnection>,
    login: &Login,
    way: LoginMethod,
    sends_at_once: bool,
) -> Result<imap::Session<SharedConnection>, imap::Error> {
    let result = match way {
        LoginMethod::LoginCommand => match login {
            Login::Password { user, password } => client.login(user, password.expose()),
            Login::Xoauth2 { user, token } => client.login(user, token.expose()),
        },
        // SASL-IR (RFC 4959) saves a round trip.
        LoginMethod::Authenticate { mechanism, says } if sends_at_once => client.authenticate(
            format!("{mechanism} {}", STANDARD.encode(says)),
            &OneResponse(Cell::new(String::new())),
        ),
        LoginMethod::Authenticate { mechanism, says } => {
            client.authenticate(mechanism, &OneResponse(Cell::new(says)))
        }
    };
    result.map_err(|(error, _)| error)
}

/// Says its words once; a second challenge is the server's account of an error, to which XOAUTH2
/// wants an empty answer before the server says NO.
struct OneResponse(Cell<String>);

impl Authenticator for OneResponse {
    type Response = String;

    fn process(&self, _challenge: &[u8]) -> String {
        self.0.take()
    }
}

impl CommandError {
    /// Says whether a refused log-in says that the credentials are wrong.
    ///
    /// `[ALERT]`, `[UNAVAILABLE]`, `[OVERQUOTA]` and the like say nothing about them; Gmail's older
    /// `[ALERT] Invalid credentials` does.
    #[must_use]
    pub fn rejects_credentials(&self) -> bool {
        const SAY_NOTHING: [&str; 7] = [
            "ALERT",
            "UNAVAILABLE",
            "OVERQUOTA",
            "SERVERBUG",
            "LIMIT",
            "INUSE",
            "CONTACTADMIN",
        ];
        let CommandError::No(reply) = self else {
            return false;
        };
        let names_them = reply
            .text
            .to_ascii_lowercase()
            .contains("invalid credentials");
        names_them || !SAY_NOTHING.iter().any(|code| reply.has_code(code))
    }
}
