//! The causes of a rejected log-in with a password: response codes (RFC 5530) and well-known texts,
//! what to do about each, the exit status, and how soon to try again. Pure.

use crate::config::TlsMode;
use crate::error::ErrorKind;
use crate::imap::Sign::{self, Code, Text};
use crate::imap::{Capabilities, CommandError, find_meaning};

/// Stands in a remedy for the field of the configuration that holds the password.
pub(crate) const PASSWORD_FIELD: &str = "{password}";

/// The remedy where a server takes tokens alone.
const OAUTH_REMEDY: &str = "the server takes no password, only OAuth: see docs/oauth-sources.md";

/// A cause, as what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoginFailure {
    /// Decides the exit status.
    pub kind: ErrorKind,
    pub retry: LoginRetry,
    /// What the user can do; empty if there is nothing to do but to wait.
    pub remedy: &'static str,
}

/// How soon a later run may log in again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginRetry {
    /// Each run.
    AtOnce,
    /// After the delays of `retry::LIMITED_LOGINS`.
    Limited,
    /// After the delays of `retry::REJECTED_CREDENTIALS`.
    Rejected,
}

/// The server says that user or password is wrong.
const WRONG_PASSWORD: LoginFailure = LoginFailure::needs_user("correct source_user or {password}");

/// The server rejects the log-in and does not say why in words that are known here.
const UNKNOWN_REASON: LoginFailure = LoginFailure::needs_user(
    "if the server means the credentials, correct source_user or {password}",
);

/// Nothing is wrong with the credentials, as far as the server says.
const UNAVAILABLE: LoginFailure = LoginFailure {
    kind: ErrorKind::Unavailable,
    retry: LoginRetry::AtOnce,
    remedy: "",
};

const LIMITED: LoginFailure = LoginFailure {
    kind: ErrorKind::Unavailable,
    retry: LoginRetry::Limited,
    remedy: "the server limits log-ins or connections: if this persists, close other mail programs",
};

/// The server wants an encrypted connection.
const UNENCRYPTED: LoginFailure =
    LoginFailure::unsuitable("encrypt the connection (source_tls), or use another server");

/// The server announces no log-in with a password, and the connection is encrypted.
const NO_PASSWORDS: LoginFailure =
    LoginFailure::unsuitable("ask its administrator for another port or server");

/// The first row that matches counts. What a text says is more exact than what a code says: servers
/// send `[AUTHENTICATIONFAILED]` and `[ALERT]` for every cause.
const LOGIN_FAILURES: [(&[Sign], LoginFailure); 18] = [
    (
        &[
            Text("basic authentication is disabled"),
            Text("basicauthblocked"),
        ],
        LoginFailure::needs_user(OAUTH_REMEDY),
    ),
    (
        // The proxy of docs/oauth-sources.md: nobody has signed in.
        &[Text("authorisation request")],
        LoginFailure::needs_user(
            "sign in at the address that the OAuth proxy prints, while this program logs in",
        ),
    ),
    (
        // mail.ru, Gmail, Yahoo, iCloud, Fastmail; and the authorization code of QQ and 163.com.
        &[
            Text("application-specific password"),
            Text("application specific password"),
            Text("application password"),
            Text("app password"),
            Text("app-specific password"),
            Text("authorization code"),
        ],
        LoginFailure::needs_user(
            "the server requires an app password: create one in the account's settings \
             on the web, and put it into {password}",
        ),
    ),
    (
        &[
            Text("second factor"),
            Text("two-factor"),
            Text("two factor"),
            Text("2-step"),
            Text("two-step"),
            Text("2fa"),
            Text("multi-factor"),
        ],
        LoginFailure::needs_user(
            "the account requires a second factor, which a program cannot give: create an app \
             password in the account's settings on the web, and put it into {password}",
        ),
    ),
    (
        // Yandex and QQ name several causes at once.
        &[
            Text("invalid credentials or imap is disabled"),
            Text("service is not open"),
        ],
        LoginFailure::needs_user(
            "turn on IMAP in the account's settings on the web, or correct source_user or {password}",
        ),
    ),
    (
        // web.de, GMX, Gmail, Zoho.
        &[
            Text("imap access is disabled"),
            Text("imap access disabled"),
            Text("imap is disabled"),
            Text("imap disabled"),
            Text("not enabled for imap"),
            Text("imap is not enabled"),
            Text("imap not enabled"),
            Text("enable imap"),
            Text("not have access rights to this service"),
        ],
        LoginFailure::needs_user(
            "the account may not use IMAP: turn it on in its settings on the web",
        ),
    ),
    (
        &[
            Text("web login required"),
            Text("via your web browser"),
            Text("verify your"),
        ],
        LoginFailure::needs_user("sign in on the web once, and confirm that it was you"),
    ),
    (
        &[
            Code("LIMIT"),
            Text("too many"),
            Text("maximum number of connections"),
            Text("rate limit"),
            Text("bandwidth limit"),
            Text("temporarily blocked"),
            Text("temporarily locked"),
            Text("temporarily disabled"),
        ],
        LIMITED,
    ),
    (&[Code("OVERQUOTA")], LIMITED),
    (
        &[
            Code("UNAVAILABLE"),
            Code("SERVERBUG"),
            Code("INUSE"),
            Text("temporary"),
            Text("try again later"),
            Text("internal error"),
        ],
        UNAVAILABLE,
    ),
    (
        &[
            Text("account is locked"),
            Text("account is disabled"),
            Text("account disabled"),
            Text("account has been"),
            Text("suspended"),
        ],
        LoginFailure::needs_user("the account is locked: sign in on the web to unlock it"),
    ),
    (
        &[
            Code("EXPIRED"),
            Text("password has expired"),
            Text("password expired"),
        ],
        LoginFailure::needs_user(
            "the password has expired: set a new one, and put it into {password}",
        ),
    ),
    (
        &[
            Code("PRIVACYREQUIRED"),
            Text("non-secure"),
            Text("ssl is required"),
            Text("ssl/tls required"),
        ],
        UNENCRYPTED,
    ),
    (
        &[Code("CONTACTADMIN")],
        LoginFailure::needs_user("ask the administrator of the server"),
    ),
    (
        // The password was right (RFC 5530).
        &[Code("AUTHORIZATIONFAILED")],
        LoginFailure::needs_user(
            "the user may not do this: check whether the account's settings on the web allow IMAP",
        ),
    ),
    (
        // Microsoft says no more where a tenant takes tokens alone.
        &[Text("authenticate failed."), Text("login failed.")],
        LoginFailure::needs_user(
            "correct source_user or {password}; if they are right and this is a server of \
             Microsoft's, see docs/oauth-sources.md",
        ),
    ),
    (
        &[
            Code("AUTHENTICATIONFAILED"),
            Text("credentials"),
            Text("password"),
            Text("authentication fail"),
            Text("login fail"),
            Text("login error"),
            Text("invalid login"),
            Text("invalid user"),
            Text("incorrect"),
        ],
        WRONG_PASSWORD,
    ),
    (&[Code("ALERT")], UNAVAILABLE),
];

impl LoginFailure {
    const fn needs_user(remedy: &'static str) -> LoginFailure {
        LoginFailure {
            kind: ErrorKind::Rejected,
            retry: LoginRetry::Rejected,
            remedy,
        }
    }

    /// The server takes no log-in on such a connection.
    const fn unsuitable(remedy: &'static str) -> LoginFailure {
        LoginFailure {
            kind: ErrorKind::Config,
            retry: LoginRetry::AtOnce,
            remedy,
        }
    }

    /// Whether the password may be wrong, as far as the server says.
    pub(super) fn may_be_wrong_password(self) -> bool {
        self == WRONG_PASSWORD || self == UNKNOWN_REASON
    }

    /// Whether the server names a cause for which somebody must act or wait.
    pub(super) fn is_named(self) -> bool {
        self != UNAVAILABLE && self != UNKNOWN_REASON
    }

    /// The remedy on this connection: one that is encrypted already needs another than encryption.
    pub(crate) fn remedy_on(self, tls: TlsMode) -> &'static str {
        if self == UNENCRYPTED && tls != TlsMode::None {
            return NO_PASSWORDS.remedy;
        }
        self.remedy
    }
}

/// What it means that the server announces no log-in with a password.
pub(super) fn no_password_offered(capabilities: &Capabilities, is_encrypted: bool) -> LoginFailure {
    let takes_tokens = capabilities.has("AUTH=XOAUTH2") || capabilities.has("AUTH=OAUTHBEARER");
    match (is_encrypted, takes_tokens) {
        (false, _) => UNENCRYPTED,
        (true, true) => LoginFailure::needs_user(OAUTH_REMEDY),
        (true, false) => NO_PASSWORDS,
    }
}

impl CommandError {
    /// What a failed log-in with a password means. Only NO can mean that the password is wrong.
    pub(crate) fn login_failure(&self) -> LoginFailure {
        let text = self.response_text();
        let named = text.and_then(|text| find_meaning(&LOGIN_FAILURES, text));
        match (self, named) {
            (CommandError::No(_), None) => UNKNOWN_REASON,
            (CommandError::No(_), Some(failure)) => failure,
            (_, Some(failure)) if failure != WRONG_PASSWORD => failure,
            _ => UNAVAILABLE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::{StatusCondition, status_response};

    fn failure(line: &str) -> LoginFailure {
        let error = match status_response(line.as_bytes()).unwrap() {
            (StatusCondition::No, text) => CommandError::No(text),
            (StatusCondition::Bad, text) => CommandError::Bad(text),
            (_, text) => CommandError::Bye(text),
        };
        error.login_failure()
    }

    /// Exit status, and `limited` if the next log-in waits for that; the response; a part of the
    /// remedy.
    const EXPECTED: &str = "\
        77 | NO [AUTHENTICATIONFAILED] Authentication failed. | correct source_user or {\n\
        77 | NO [ALERT] Invalid credentials (Failure) | correct source_user or {\n\
        77 | NO LOGIN Login error or password error | correct source_user or {\n\
        77 | NO LOGIN failed. | Microsoft\n\
        77 | NO no | if the server means\n\
        77 | NO [CANNOT] no | if the server means\n\
        77 | NO Basic authentication is disabled. | only OAuth\n\
        77 | BYE Basic Authentication is disabled. | only OAuth\n\
        77 | BAD LogonDenied-BasicAuthBlocked | only OAuth\n\
        77 | NO [AUTHORIZATIONFAILED] IMAP access is disabled for this account. | turn it on\n\
        77 | NO [ALERT] Your account is not enabled for IMAP use. | turn it on\n\
        77 | NO [AUTHENTICATIONFAILED] LOGIN invalid credentials or IMAP is disabled | turn on IMAP\n\
        77 | NO Login fail. Account is abnormal, service is not open, password is incorrect | turn on IMAP\n\
        77 | NO [ALERT] Application-specific password required: https://x (Failure) | an app password\n\
        77 | NO [AUTHENTICATIONFAILED] Application password is REQUIRED | an app password\n\
        77 | NO Login failed for account a: authorisation request failed or timed out | at the address that\n\
        77 | NO Invalid user | correct source_user or {\n\
        77 | NO [AUTHENTICATIONFAILED] Second factor needed | second factor\n\
        77 | NO [ALERT] Please log in via your web browser: https://x | on the web once\n\
        77 | NO [EXPIRED] no | has expired\n\
        77 | NO [CONTACTADMIN] no | administrator\n\
        77 | NO [AUTHORIZATIONFAILED] no | may not do this\n\
        77 | NO Your account is locked | unlock\n\
        78 | NO [PRIVACYREQUIRED] Plaintext authentication disallowed | source_tls\n\
        69 limited | NO [LIMIT] no | limits\n\
        69 limited | NO [ALERT] Too many simultaneous connections. (Failure) | limits\n\
        69 limited | NO [AUTHENTICATIONFAILED] Too many invalid passwords | limits\n\
        69 limited | NO [OVERQUOTA] Account exceeded command or bandwidth limits. | limits\n\
        69 limited | NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded | limits\n\
        69 limited | BYE Too many invalid attempts | limits\n\
        69 | NO [UNAVAILABLE] Temporary authentication failure. |\n\
        69 | NO Temporary authentication failure. |\n\
        69 | NO [INUSE] locked |\n\
        69 | NO [ALERT] the house is on fire |\n\
        69 | BAD invalid password syntax |\n\
        69 | BAD what? |\n\
        69 | BYE [UNAVAILABLE] going down |\n\
        ";

    #[test]
    fn each_cause_has_its_remedy_status_and_delay() {
        for row in EXPECTED.lines() {
            let columns: Vec<&str> = row.split('|').map(str::trim).collect();
            let [result, response, remedy] = columns.try_into().unwrap();
            let found = failure(&format!("a {response}"));
            let retry = match result {
                "77" => LoginRetry::Rejected,
                "69 limited" => LoginRetry::Limited,
                _ => LoginRetry::AtOnce,
            };
            assert_eq!(found.retry, retry, "{row}");
            let status = found.kind.exit_status().to_string();
            assert!(result.starts_with(&status), "{row}: {status}");
            assert!(found.remedy.contains(remedy), "{row}: {}", found.remedy);
            assert_eq!(found.remedy.is_empty(), remedy.is_empty(), "{row}");
        }
    }

    #[test]
    fn a_server_that_offers_no_password_wants_encryption_or_a_token() {
        let found = |words: &str, is_encrypted| {
            let line = format!("* CAPABILITY IMAP4rev1 LOGINDISABLED {words}");
            let capabilities = Capabilities::in_line(line.as_bytes()).unwrap();
            let found = no_password_offered(&capabilities, is_encrypted);
            (found.kind.exit_status(), found.remedy)
        };
        assert_eq!(found("AUTH=XOAUTH2", true), (77, OAUTH_REMEDY));
        assert_eq!(found("AUTH=OAUTHBEARER", true), (77, OAUTH_REMEDY));
        assert_eq!(found("AUTH=XOAUTH2", false), (78, UNENCRYPTED.remedy));
        assert_eq!(found("AUTH=GSSAPI", true), (78, NO_PASSWORDS.remedy));
    }
}
