//! The log-in: AUTHENTICATE PLAIN, LOGIN or AUTHENTICATE XOAUTH2.

use std::cell::Cell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use imap::{Authenticator, Client};

use crate::imap::{Capabilities, CommandError, SharedConnection};
use crate::secret::Secret;

/// The user and the credentials of a log-in.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user; with an access token, an address.
    pub user: String,
    /// The credentials.
    pub credentials: Credentials,
}

/// What proves who the user is.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// A password.
    Password(Secret),
    /// An `OAuth2` access token (Google's XOAUTH2).
    AccessToken(Secret),
}

impl Login {
    /// Why no server could take these credentials, if so.
    pub(super) fn invalid_characters(&self) -> Option<&'static str> {
        let (secret, invalid, what) = match &self.credentials {
            Credentials::Password(password) => (
                password,
                ['\0', '\r', '\n'].as_slice(),
                "user or password holds a line end or a NUL",
            ),
            Credentials::AccessToken(token) => (
                token,
                ['\x01', '\0', '\r', '\n'].as_slice(),
                "user or token holds a control character",
            ),
        };
        let is_invalid = self.user.contains(invalid) || secret.expose().contains(invalid);
        is_invalid.then_some(what)
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
        let user = login.user.as_str();
        match &login.credentials {
            Credentials::Password(password) if capabilities.has("AUTH=PLAIN") => {
                // RFC 4616: no authorization identity, the user, the password.
                Some(LoginMethod::Authenticate {
                    mechanism: "PLAIN",
                    response: format!("\0{user}\0{}", password.expose()),
                })
            }
            Credentials::Password(_) if capabilities.has("LOGINDISABLED") => None,
            Credentials::Password(password) => Some(LoginMethod::LoginCommand { user, password }),
            Credentials::AccessToken(token) => Some(LoginMethod::Authenticate {
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
            } => {
                let (command, response) = if has_sasl_ir {
                    let encoded = STANDARD.encode(response);
                    (format!("{mechanism} {encoded}"), String::new())
                } else {
                    (mechanism.to_owned(), response)
                };
                client.authenticate(command, &SingleResponse(Cell::new(response)))
            }
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
        let lower_case = text.text.to_ascii_lowercase();
        lower_case.contains("invalid credentials")
            || !OTHER_REASONS.iter().any(|code| text.has_code(code))
    }
}
