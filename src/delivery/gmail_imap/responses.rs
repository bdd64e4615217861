//! The meaning of Gmail's responses: tables of response codes and texts. Pure.
//!
//! The texts are those that GMAIL.md lists: 1.4 (any command), 2.3 (log-in), 2.4 (in a session) and
//! 3.2 (APPEND).

use crate::error::RestReason;
use crate::imap::Sign::{self, Code, Text};
use crate::imap::{CommandError, ResponseText, find_meaning, has_sign};
use crate::message::{Uid, UidValidity};
use crate::sync::AppendUid;

/// The storage of the account is full. Gmail sends `[OVERQUOTA]` for this and for the bandwidth.
const STORAGE_FULL: &[Sign] = &[
    Text("disk space"),
    Text("storage quota"),
    Text("storage space"),
    Text("storage limit"),
    Text("storage is full"),
    Text("storage full"),
    Text("out of storage"),
    Text("mailbox is full"),
    Text("mailbox full"),
];

/// The account has sent or received too much.
const BANDWIDTH: &[Sign] = &[Text("bandwidth limits")];

/// The account has sent, received or stored too much.
const OVER_QUOTA: &[Sign] = &[Code("OVERQUOTA"), Text("bandwidth limits")];

/// The account has too many connections.
const TOO_MANY_CONNECTIONS: &[Sign] = &[Text("too many simultaneous connections")];

/// The server has failed; the command is not the reason.
const SERVER_TROUBLE: &[Sign] = &[
    Code("UNAVAILABLE"),
    Code("SERVERBUG"),
    Text("system error"),
    Text("temporary system problem"),
];

/// Failed APPENDs; the first row that matches counts.
const APPEND_MEANINGS: [(&[Sign], AppendResult); 7] = [
    (STORAGE_FULL, AppendResult::StorageFull),
    (BANDWIDTH, AppendResult::BandwidthExceeded),
    (OVER_QUOTA, AppendResult::OverQuota),
    (TOO_MANY_CONNECTIONS, AppendResult::TooManyConnections),
    (SERVER_TROUBLE, AppendResult::ServerTrouble),
    (&[Code("TOOBIG"), Text("too large")], AppendResult::TooLarge),
    (
        &[Code("TRYCREATE"), Text("folder doesn't exist")],
        AppendResult::MailboxMissing,
    ),
];

/// Failed log-ins; the first row that matches counts. `[ALERT]`, `[UNAVAILABLE]` and `[OVERQUOTA]`
/// alone say nothing about the credentials: the user is not asked for a new log-in.
const LOGIN_MEANINGS: [(&[Sign], LoginRejection); 10] = [
    (STORAGE_FULL, LoginRejection::StorageFull),
    (OVER_QUOTA, LoginRejection::OverQuota),
    (TOO_MANY_CONNECTIONS, LoginRejection::TooManyConnections),
    (
        &[
            Text("web login required"),
            Text("log in via your web browser"),
        ],
        LoginRejection::NeedsUser(
            "sign in to Gmail in a web browser once and confirm that it was you",
        ),
    ),
    (
        &[Text("disabled for your domain")],
        LoginRejection::NeedsUser("the administrator of the account's Workspace must allow IMAP"),
    ),
    (
        &[Text("not enabled for imap use")],
        LoginRejection::NeedsUser("turn IMAP on in the settings of the Gmail account"),
    ),
    (
        &[Text("lookup failed")],
        LoginRejection::NeedsUser(
            "check target_user, and that Gmail is turned on for this account or its domain",
        ),
    ),
    (
        &[Text("application-specific password required")],
        LoginRejection::NeedsUser(
            "Gmail asks for a password where a token was sent: check target_user and target_server",
        ),
    ),
    (
        &[Text("invalid sasl argument")],
        LoginRejection::NeedsUser("check target_user and the token file"),
    ),
    (
        &[
            Code("AUTHENTICATIONFAILED"),
            Code("AUTHORIZATIONFAILED"),
            Code("EXPIRED"),
            Text("invalid credentials"),
            Text("authentication failed"),
        ],
        LoginRejection::Credentials,
    ),
];

/// What the response to an APPEND means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AppendResult {
    /// The message is stored.
    Stored(AppendUid),
    /// OK without a UID: Gmail is known to drop some of these messages (GMAIL.md 3.1).
    WithoutAppendUid,
    /// The message is larger than the server ever accepts.
    TooLarge,
    /// The folder must be created first.
    MailboxMissing,
    /// The storage of the account is full.
    StorageFull,
    /// The account has sent or received too much.
    BandwidthExceeded,
    /// One of these two: the text does not say which.
    OverQuota,
    /// The account has too many connections.
    TooManyConnections,
    /// The server has failed; the message is not the reason.
    ServerTrouble,
    /// The server does not accept this message: NO.
    No,
    /// The server cannot parse this message or the command: BAD.
    Bad,
    /// The connection was lost.
    ConnectionLost,
}

/// Why Gmail rejected a log-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoginRejection {
    /// The token is not accepted: a new one may be.
    Credentials,
    /// The storage of the account is full.
    StorageFull,
    /// The account has sent or received too much.
    OverQuota,
    /// The account has too many connections.
    TooManyConnections,
    /// The user must act, and a new token does not help. The remedy.
    NeedsUser(&'static str),
    /// It says nothing about the credentials, and may pass.
    Temporary,
}

/// The meaning of a response to APPEND (RFC 3501 6.3.11, RFC 4315 3).
pub(super) fn append_result(response: &Result<ResponseText, CommandError>) -> AppendResult {
    let failure = match response {
        Ok(text) => {
            return append_uid(text).map_or(AppendResult::WithoutAppendUid, AppendResult::Stored);
        }
        Err(failure) => failure,
    };
    let meaning = failure
        .response_text()
        .and_then(|text| find_meaning(&APPEND_MEANINGS, text));
    match (failure, meaning) {
        (
            _,
            Some(
                limit @ (AppendResult::StorageFull
                | AppendResult::BandwidthExceeded
                | AppendResult::OverQuota
                | AppendResult::TooManyConnections),
            ),
        ) => limit,
        (CommandError::Bye(_) | CommandError::ConnectionLost(_), _) => AppendResult::ConnectionLost,
        (_, Some(meaning)) => meaning,
        (CommandError::No(_), None) => AppendResult::No,
        (CommandError::Bad(_), None) => AppendResult::Bad,
    }
}

/// The meaning of a failed log-in.
pub(super) fn login_rejection(failure: &CommandError) -> LoginRejection {
    let meaning = failure
        .response_text()
        .and_then(|text| find_meaning(&LOGIN_MEANINGS, text));
    match (failure, meaning) {
        (CommandError::No(_), Some(LoginRejection::Credentials)) => LoginRejection::Credentials,
        (_, None | Some(LoginRejection::Credentials)) => LoginRejection::Temporary,
        (_, Some(meaning)) => meaning,
    }
}

/// Whether a NO or BAD is about this command alone, so that another one may succeed.
pub(super) fn is_about_the_command(failure: &CommandError) -> bool {
    let is_about_more = |text: &ResponseText| {
        [
            STORAGE_FULL,
            OVER_QUOTA,
            TOO_MANY_CONNECTIONS,
            SERVER_TROUBLE,
        ]
        .iter()
        .any(|signs| has_sign(text, signs))
    };
    failure.leaves_session_usable()
        && failure
            .response_text()
            .is_some_and(|text| !is_about_more(text))
}

/// Why the account must rest, if the response concerns the whole account.
pub(super) fn rest_reason(text: &ResponseText) -> Option<RestReason> {
    let reasons = [
        (STORAGE_FULL, RestReason::StorageFull),
        (OVER_QUOTA, RestReason::Quota),
        (TOO_MANY_CONNECTIONS, RestReason::Connections),
    ];
    find_meaning(&reasons, text)
}

/// The UID in the response code. The text after it (`(Success) [THROTTLED]`) has no meaning here.
fn append_uid(text: &ResponseText) -> Option<AppendUid> {
    let mut words = text.code.as_deref()?.split_ascii_whitespace();
    if words.next()? != "APPENDUID" {
        return None;
    }
    Some(AppendUid {
        uid_validity: UidValidity::new(words.next()?.parse().ok()?)?,
        uid: Uid::new(words.next()?.parse().ok()?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::{StatusCondition, status_response};

    fn response(line: &str) -> Result<ResponseText, CommandError> {
        match status_response(line.as_bytes()).unwrap() {
            (StatusCondition::Ok, text) => Ok(text),
            (StatusCondition::No, text) => Err(CommandError::No(text)),
            (StatusCondition::Bad, text) => Err(CommandError::Bad(text)),
            (_, text) => Err(CommandError::Bye(text)),
        }
    }

    fn append(line: &str) -> AppendResult {
        append_result(&response(line))
    }

    fn login(line: &str) -> LoginRejection {
        login_rejection(&response(line).unwrap_err())
    }

    #[test]
    fn each_response_to_append_has_its_meaning() {
        let stored = AppendResult::Stored(AppendUid {
            uid_validity: UidValidity::new(1).unwrap(),
            uid: Uid::new(66).unwrap(),
        });
        for (line, expected) in [
            ("a5 OK [APPENDUID 1 66] (Success)\r\n", stored),
            ("a5 OK [APPENDUID 1 66](Success)\r\n", stored),
            ("a5 ok [appenduid 1 66] done", stored),
            ("a5 OK [APPENDUID 1 66] (Success) [THROTTLED]\r\n", stored),
            ("a5 OK (Success)", AppendResult::WithoutAppendUid),
            ("a5 OK", AppendResult::WithoutAppendUid),
            (
                "a5 OK [APPENDUID 0 66] (Success)",
                AppendResult::WithoutAppendUid,
            ),
            (
                "a5 OK [APPENDUID 1] (Success)",
                AppendResult::WithoutAppendUid,
            ),
            (
                "a5 OK (Success) [APPENDUID 1 66]",
                AppendResult::WithoutAppendUid,
            ),
            (
                "a5 BAD [TOOBIG] Message too large. https://support.google.com/mail/answer/6584#limit",
                AppendResult::TooLarge,
            ),
            (
                "a5 BAD [ALERT] Message too large. http://x",
                AppendResult::TooLarge,
            ),
            ("a5 NO [TOOBIG] no", AppendResult::TooLarge),
            (
                "a5 NO [TRYCREATE] Folder doesn't exist. (Failure)",
                AppendResult::MailboxMissing,
            ),
            (
                "a5 NO Folder doesn't exist. (Failure)",
                AppendResult::MailboxMissing,
            ),
            ("a5 NO [OVERQUOTA] Storage full", AppendResult::StorageFull),
            (
                "a5 NO [OVERQUOTA] Not enough disk space (Failure)",
                AppendResult::StorageFull,
            ),
            (
                "a5 NO [ALERT] You have exceeded your storage quota. (Failure)",
                AppendResult::StorageFull,
            ),
            ("a5 NO [OVERQUOTA] no", AppendResult::OverQuota),
            (
                "* BYE [OVERQUOTA] Account exceeded command or bandwidth limits.",
                AppendResult::BandwidthExceeded,
            ),
            (
                "a5 NO [ALERT] Account exceeded command or bandwidth limits. (Failure)",
                AppendResult::BandwidthExceeded,
            ),
            (
                "a5 NO [ALERT] Too many simultaneous connections. (Failure)",
                AppendResult::TooManyConnections,
            ),
            (
                "a5 NO [UNAVAILABLE] Temporary System Problem. Try again later. (Failure)",
                AppendResult::ServerTrouble,
            ),
            ("a5 NO System Error (Failure)", AppendResult::ServerTrouble),
            ("a5 NO [SERVERBUG] oops", AppendResult::ServerTrouble),
            (
                "a5 NO Unable to append message to folder (Failure)",
                AppendResult::No,
            ),
            (
                "a5 BAD Invalid Arguments: Unable to parse message",
                AppendResult::Bad,
            ),
            ("a5 BAD Could not parse command", AppendResult::Bad),
            (
                "* BYE Invalid character in literal.",
                AppendResult::ConnectionLost,
            ),
            ("* BYE System Error", AppendResult::ConnectionLost),
            (
                "* BYE Session expired, please login again.",
                AppendResult::ConnectionLost,
            ),
        ] {
            assert_eq!(append(line), expected, "{line}");
        }
        let lost = Err(CommandError::ConnectionLost(
            "it closed the connection".to_owned(),
        ));
        assert_eq!(append_result(&lost), AppendResult::ConnectionLost);
    }

    #[test]
    fn each_rejected_login_has_its_reason() {
        use LoginRejection::{Credentials, NeedsUser, OverQuota, Temporary, TooManyConnections};
        for line in [
            "a1 NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)",
            "a1 NO [ALERT] Invalid credentials (Failure)",
            "a1 NO SASL authentication failed",
            "a1 NO [AUTHENTICATIONFAILED] Authentication failed.",
        ] {
            assert_eq!(login(line), Credentials, "{line}");
        }
        for (line, expected) in [
            ("a1 NO Lookup failed cf29mb85450632edb", "target_user"),
            (
                "a1 NO [ALERT] IMAP access is disabled for your domain. Ask",
                "administrator",
            ),
            (
                "a1 NO [ALERT] Your account is not enabled for IMAP use. Please visit your Gmail \
                 settings page and enable your account for IMAP access. (Failure)",
                "turn IMAP on",
            ),
            (
                "a1 NO [ALERT] Application-specific password required: https://x (Failure)",
                "password",
            ),
            (
                "a1 NO [ALERT] Please log in via your web browser: https://x (Failure)",
                "web browser",
            ),
            ("a1 NO Invalid SASL argument. u21mb1", "target_user"),
        ] {
            match login(line) {
                NeedsUser(remedy) => assert!(remedy.contains(expected), "{line}: {remedy}"),
                other => panic!("{line}: {other:?}"),
            }
        }
        for line in [
            "a1 NO [ALERT] Account exceeded command or bandwidth limits. (Failure)",
            "a1 NO [OVERQUOTA] x",
        ] {
            assert_eq!(login(line), OverQuota, "{line}");
        }
        let many = "a1 NO [ALERT] Too many simultaneous connections. (Failure)";
        assert_eq!(login(many), TooManyConnections);
        for line in [
            "a1 NO [UNAVAILABLE] Temporary System Error",
            "a1 NO [ALERT] Lockdown in sector 4 (Failure)",
            "a1 NO [ALERT] x",
            "a1 NO no",
            "* BYE System Error",
        ] {
            assert_eq!(login(line), Temporary, "{line}");
        }
        assert_eq!(
            login_rejection(&CommandError::ConnectionLost(String::new())),
            Temporary
        );
    }
}
