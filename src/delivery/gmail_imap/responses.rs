//! What Gmail's answers mean (pure).

use crate::imap::{CommandError, ResponseText};
use crate::message::{Uid, UidValidity};
use crate::sync::AppendUid;

/// What the final answer to an APPEND means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AppendResult {
    /// The message is stored, and there.
    Stored(AppendUid),
    /// OK, but nothing says that a message came of it; Gmail is known to drop some so.
    WithoutAppendUid,
    /// The message is larger than this server ever takes.
    TooLarge,
    /// The folder must be created first.
    MailboxMissing,
    /// The account has sent or stored too much.
    OverQuota,
    /// The account has too many connections.
    TooManyConnections,
    /// It is the server, not the message.
    ServerTrouble,
    /// The server does not take this message: NO.
    No,
    /// The server cannot read this message, or so it says: BAD.
    Bad,
    /// The connection has ended.
    ConnectionLost,
}

/// Says what the answer to an APPEND means (RFC 3501 6.3.11, RFC 4315 3).
pub(super) fn append_result(answer: &Result<ResponseText, CommandError>) -> AppendResult {
    let failure = match answer {
        Ok(reply) => {
            return append_uid(reply).map_or(AppendResult::WithoutAppendUid, AppendResult::Stored);
        }
        Err(failure) => failure,
    };
    let Some(reply) = failure.response_text() else {
        return AppendResult::ConnectionLost;
    };
    match failure {
        _ if is_over_quota(reply) => AppendResult::OverQuota,
        _ if is_too_many_connections(reply) => AppendResult::TooManyConnections,
        CommandError::Bye(_) | CommandError::ConnectionLost(_) => AppendResult::ConnectionLost,
        _ if is_servers_trouble(reply) => AppendResult::ServerTrouble,
        _ if reply.has_code("TOOBIG") || says(reply, "too large") => AppendResult::TooLarge,
        _ if reply.has_code("TRYCREATE") || says(reply, "folder doesn't exist") => {
            AppendResult::MailboxMissing
        }
        CommandError::No(_) => AppendResult::No,
        CommandError::Bad(_) => AppendResult::Bad,
    }
}

/// Where the message is, if the OK says so; the text after it (`(Success) [THROTTLED]`) is
/// nothing to us.
fn append_uid(reply: &ResponseText) -> Option<AppendUid> {
    let mut parts = reply.code.as_deref()?.split_ascii_whitespace();
    if parts.next()? != "APPENDUID" {
        return None;
    }
    Some(AppendUid {
        uid_validity: UidValidity::new(parts.next()?.parse().ok()?)?,
        uid: Uid::new(parts.next()?.parse().ok()?)?,
    })
}

/// Says whether a refusal is about this very command, so that another may succeed.
pub(super) fn is_answer_about_the_question(failure: &CommandError) -> bool {
    let is_about_it = |reply: &ResponseText| {
        !is_over_quota(reply) && !is_too_many_connections(reply) && !is_servers_trouble(reply)
    };
    failure.leaves_session_usable() && failure.response_text().is_some_and(is_about_it)
}

/// Says whether the account has sent, received or stored too much.
pub(super) fn is_over_quota(reply: &ResponseText) -> bool {
    reply.has_code("OVERQUOTA") || says(reply, "bandwidth limits")
}

/// Says whether the account has too many connections.
pub(super) fn is_too_many_connections(reply: &ResponseText) -> bool {
    says(reply, "too many simultaneous connections")
}

fn is_servers_trouble(reply: &ResponseText) -> bool {
    reply.has_code("UNAVAILABLE")
        || reply.has_code("SERVERBUG")
        || says(reply, "system error")
        || says(reply, "temporary system problem")
}

/// Says whether these words, in small letters, stand anywhere in the text.
fn says(reply: &ResponseText, words: &str) -> bool {
    reply.text.to_ascii_lowercase().contains(words)
}

/// Why Gmail refuses a log-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoginRejection {
    /// The token is not taken: another may be.
    Credentials,
    /// The account has sent or received too much.
    OverQuota,
    /// The account has too many connections.
    TooManyConnections,
    /// A person must act; no new token will help. What to do.
    NeedsPerson(&'static str),
    /// It says nothing about the credentials, and may pass.
    Temporary,
}

/// What Gmail says at a log-in that only a person can mend, and what the person can do.
const FOR_A_PERSON: [(&str, &str); 7] = [
    (
        "web login required",
        "sign in to Gmail in a web browser once and confirm that it was you",
    ),
    (
        "log in via your web browser",
        "sign in to Gmail in a web browser once and confirm that it was you",
    ),
    (
        "disabled for your domain",
        "the administrator of the account's Workspace must allow IMAP",
    ),
    (
        "not enabled for imap use",
        "turn IMAP on in the settings of the Gmail account",
    ),
    (
        "lookup failed",
        "check target_user, and that Gmail is turned on for this account or its domain",
    ),
    (
        "application-specific password required",
        "Gmail asks for a password where a token was sent: check target_user and target_server",
    ),
    (
        "invalid sasl argument",
        "check target_user and the token file",
    ),
];

/// Says why a log-in was refused.
///
/// `[ALERT]`, `[UNAVAILABLE]` and `[OVERQUOTA]` alone say nothing about the credentials: a person
/// is not asked for a new log-in because of them.
pub(super) fn login_rejection(failure: &CommandError) -> LoginRejection {
    let Some(reply) = failure.response_text() else {
        return LoginRejection::Temporary;
    };
    if is_over_quota(reply) {
        return LoginRejection::OverQuota;
    }
    if is_too_many_connections(reply) {
        return LoginRejection::TooManyConnections;
    }
    if let Some((_, remedy)) = FOR_A_PERSON.iter().find(|(words, _)| says(reply, words)) {
        return LoginRejection::NeedsPerson(remedy);
    }
    let names_credentials = ["AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED"]
        .iter()
        .any(|code| reply.has_code(code));
    let is_about_credentials = names_credentials
        || says(reply, "invalid credentials")
        || says(reply, "authentication failed");
    match failure {
        CommandError::No(_) if is_about_credentials => LoginRejection::Credentials,
        _ => LoginRejection::Temporary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::{StatusCondition, status_response};

    fn answer(line: &str) -> Result<ResponseText, CommandError> {
        match status_response(line.as_bytes()).unwrap() {
            (StatusCondition::Ok, reply) => Ok(reply),
            (StatusCondition::No, reply) => Err(CommandError::No(reply)),
            (StatusCondition::Bad, reply) => Err(CommandError::Bad(reply)),
            (_, reply) => Err(CommandError::Bye(reply)),
        }
    }

    fn append(line: &str) -> AppendResult {
        append_result(&answer(line))
    }

    fn login(line: &str) -> LoginRejection {
        login_rejection(&answer(line).unwrap_err())
    }

    #[test]
    fn each_answer_to_append_has_its_meaning() {
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
            ("a5 NO [OVERQUOTA] Storage full", AppendResult::OverQuota),
            (
                "* BYE [OVERQUOTA] Account exceeded command or bandwidth limits.",
                AppendResult::OverQuota,
            ),
            (
                "a5 NO [ALERT] Account exceeded command or bandwidth limits. (Failure)",
                AppendResult::OverQuota,
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
    fn each_refused_login_has_its_reason() {
        use LoginRejection::{Credentials, NeedsPerson, OverQuota, Temporary, TooManyConnections};
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
                NeedsPerson(remedy) => assert!(remedy.contains(expected), "{line}: {remedy}"),
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
