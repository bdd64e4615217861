//! AUTHENTICATE and LOGIN; the greeting and the capabilities.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::events::EventKind;
use crate::gmail::{Challenge, PostLoginCapabilities};
use crate::grammar::{Reader, word};
use crate::server::Role;
use crate::session::Session;
use crate::source::{Security, SourceOptions};
use crate::wire::{Action, Result};

/// GMAIL.md 1.2.
const GMAIL_BEFORE: &str = "IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 \
    XYZZY SASL-IR AUTH=XOAUTH2 AUTH=PLAIN AUTH=PLAIN-CLIENTTOKEN AUTH=OAUTHBEARER";

/// GMAIL.md 1.3, up to the limit.
const GMAIL_AFTER: &str = "IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 \
    UIDPLUS COMPRESS=DEFLATE ENABLE MOVE CONDSTORE ESEARCH UTF8=ACCEPT LIST-EXTENDED LIST-STATUS \
    LITERAL- SPECIAL-USE APPENDLIMIT=";

/// As Dovecot's.
const SOURCE_BEFORE: &str = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+";
const SOURCE_AFTER: &str = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE CHILDREN NAMESPACE \
    UIDPLUS UNSELECT LITERAL+ SPECIAL-USE LIST-EXTENDED LIST-STATUS NOTIFY";

/// GMAIL.md 2.2.
const REFUSAL: &str = "NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)";

/// The response to a password (GMAIL.md 2.3).
const NO_PASSWORDS: &str = "NO [ALERT] Application-specific password required: \
    https://support.google.com/accounts/answer/185833 (Failure)";
const LOCKED_OUT: &str = "NO [ALERT] Account exceeded command or bandwidth limits. (Failure)";
const TOO_MANY: &str = "NO [ALERT] Too many simultaneous connections. (Failure)";

/// The greeting.
pub(crate) fn greeting(session: &Session) -> String {
    match session.shared.source() {
        None => format!(
            "* OK Gimap ready for requests from 127.0.0.1 {}",
            session.id()
        ),
        Some(options) if options.volunteers_capabilities => {
            let words = source_capabilities(session, &options);
            format!("* OK [CAPABILITY {words}] Dovecot ready.")
        }
        Some(_) => "* OK Dovecot ready.".to_owned(),
    }
}

/// The current capabilities.
fn capabilities(session: &Session) -> String {
    match &session.shared.role {
        Role::Source(options) => source_capabilities(session, &options.lock().unwrap()),
        Role::Gmail(gmail) => {
            let options = gmail.options();
            let all = match session.user {
                None => GMAIL_BEFORE.to_owned(),
                Some(_) => format!("{GMAIL_AFTER}{}", options.append_limit),
            };
            leave_out(&all, &options.without)
        }
    }
}

fn source_capabilities(session: &Session, options: &SourceOptions) -> String {
    let is_open = session.wire.is_secure() || options.security == Security::Plain;
    let all = match session.user {
        Some(_) => SOURCE_AFTER.to_owned(),
        None if is_open => format!("{SOURCE_BEFORE} AUTH=PLAIN"),
        None => format!("{SOURCE_BEFORE} STARTTLS LOGINDISABLED"),
    };
    leave_out(&all, &options.without)
}

fn leave_out(all: &str, without: &[String]) -> String {
    let is_missing = |word: &str| {
        without
            .iter()
            .any(|missing| word == missing || word.starts_with(&format!("{missing}=")))
    };
    let rest: Vec<&str> = all.split(' ').filter(|word| !is_missing(word)).collect();
    rest.join(" ")
}

/// Whether the server currently advertises a capability.
pub(crate) fn offers(session: &Session, word: &str) -> bool {
    capabilities(session)
        .split(' ')
        .any(|offered| offered == word)
}

/// CAPABILITY.
pub(crate) fn capability(session: &mut Session) -> Result<()> {
    let line = format!("* CAPABILITY {}", capabilities(session));
    session.wire.line(line)?;
    let text = match session.shared.gmail() {
        Some(_) => format!("{} {}", session.texts.capability, session.id()),
        None => session.texts.capability.to_owned(),
    };
    session.wire.respond(&text)
}

/// STARTTLS (RFC 3501 6.2.1).
pub(crate) fn start_tls(session: &mut Session) -> Result<()> {
    if session.security() != Security::StartTls || session.wire.is_secure() {
        return session.unparsable();
    }
    session.wire.respond("OK Begin TLS negotiation now.")?;
    let shared = session.shared.clone();
    session.wire.secure(&shared.identity.config)
}

/// The response to every log-in, if the options set one.
fn prepared_response(session: &Session) -> Option<Vec<String>> {
    session.shared.gmail()?.options().login_response.clone()
}

fn say(session: &mut Session, lines: &[String]) -> Result<()> {
    for line in lines {
        let line = line.replace("<T>", &session.wire.tag);
        session.wire.line(line)?;
    }
    Ok(())
}

/// LOGIN. An 8-bit password in a quoted string is accepted, as Dovecot does.
pub(crate) fn login(session: &mut Session, arguments: &[u8]) -> Result<()> {
    let mut reader = Reader::new(arguments);
    let parsed = || {
        let user = reader.astring()?;
        reader.blank()?;
        let password = reader.astring()?;
        reader.is_at_end().then_some((user, password))
    };
    let Some((user, password)) = { parsed }() else {
        return session.unparsable();
    };
    if offers(session, "LOGINDISABLED") {
        let text =
            "NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure connections.";
        return session.wire.respond(text);
    }
    admit_by_password(session, &user, &password)
}

/// AUTHENTICATE (RFC 3501 6.2.2), with an initial response where SASL-IR is offered (RFC 4959).
pub(crate) fn authenticate(session: &mut Session, arguments: &[u8]) -> Result<()> {
    let (mechanism, initial) = word(arguments);
    // The server asks for nothing more after a response that is complete (RFC 3501 5.5).
    let may_be_continued = initial.is_empty() || !mechanism.eq_ignore_ascii_case(b"PLAIN");
    if may_be_continued && session.wire.has_input(std::time::Duration::ZERO)? {
        session
            .shared
            .violation("the client sent more after AUTHENTICATE before it was answered");
    }
    if let Some(lines) = prepared_response(session) {
        if initial.is_empty() {
            session.wire.line("+ ")?;
            session.reply()?;
        }
        return say(session, &lines);
    }
    let mechanism = String::from_utf8_lossy(mechanism).to_ascii_uppercase();
    if !offers(session, &format!("AUTH={mechanism}")) {
        return session
            .wire
            .respond("NO Unsupported authentication mechanism.");
    }
    let response = if initial.is_empty() {
        session.wire.line("+ ")?;
        session.reply()?
    } else if offers(session, "SASL-IR") {
        if initial == b"=" {
            Vec::new()
        } else {
            initial.to_vec()
        }
    } else {
        session
            .shared
            .violation("the client sent an initial response without SASL-IR");
        return session.unparsable();
    };
    if response == b"*" {
        let text = format!("BAD Client aborted AUTHENTICATE command. {}", session.id());
        return session.wire.respond(&text);
    }
    let Ok(response) = STANDARD.decode(&response) else {
        return refuse_malformed(session);
    };
    match mechanism.as_str() {
        "PLAIN" => by_plain(session, &response),
        _ => by_token(session, &response),
    }
}

fn refuse_malformed(session: &mut Session) -> Result<()> {
    let text = match session.shared.gmail() {
        Some(_) => format!("NO Invalid SASL argument. {}", session.id()),
        None => "BAD Invalid base64 data in continued response.".to_owned(),
    };
    session.wire.respond(&text)
}

/// RFC 4616: authorization identity, user and password, with NULs between.
fn by_plain(session: &mut Session, response: &[u8]) -> Result<()> {
    let parts: Vec<&[u8]> = response.split(|&octet| octet == 0).collect();
    match parts[..] {
        [_, user, password] => admit_by_password(session, user, password),
        _ => refuse_malformed(session),
    }
}

fn admit_by_password(session: &mut Session, user: &[u8], password: &[u8]) -> Result<()> {
    let accepted = session.shared.source().map(|options| {
        let is_right = options.user.as_bytes() == user && options.password.as_bytes() == password;
        is_right.then(|| options.user.clone())
    });
    match accepted {
        None => session.wire.respond(NO_PASSWORDS),
        Some(None) => session
            .wire
            .respond("NO [AUTHENTICATIONFAILED] Authentication failed."),
        Some(Some(user)) => welcome_to_source(session, user),
    }
}

fn welcome_to_source(session: &mut Session, user: String) -> Result<()> {
    session.user = Some(user.clone());
    if session.wire.event(EventKind::LoggedIn(user))? == Action::Done {
        return Ok(());
    }
    let volunteers = session
        .shared
        .source()
        .is_some_and(|o| o.volunteers_capabilities);
    let text = if volunteers {
        format!("OK [CAPABILITY {}] Logged in", capabilities(session))
    } else {
        "OK Logged in".to_owned()
    };
    session.wire.respond(&text)
}

/// XOAUTH2 and OAUTHBEARER (GMAIL.md 2.1, 2.2).
fn by_token(session: &mut Session, response: &[u8]) -> Result<()> {
    let shared = session.shared.clone();
    let gmail = shared.gmail().unwrap();
    let Some((user, token)) = bearer(response) else {
        return refuse_malformed(session);
    };
    let Some(expires) = gmail.token_expiry(&user, &token) else {
        return challenge(session);
    };
    if gmail.is_locked_out(shared.clock.now()) {
        return session.wire.respond(LOCKED_OUT);
    }
    if !gmail.let_in(session.wire.connection()) {
        return session.wire.respond(TOO_MANY);
    }
    session.user = Some(user.clone());
    session.ends = Some(expires);
    if session.wire.event(EventKind::LoggedIn(user.clone()))? == Action::Done {
        return Ok(());
    }
    welcome_to_gmail(session, &user)
}

/// Sends the capabilities after a log-in in one of three ways (GMAIL.md 1.3).
fn welcome_to_gmail(session: &mut Session, user: &str) -> Result<()> {
    let words = capabilities(session);
    let place = session.shared.gmail().unwrap().options().capabilities;
    let code = match place {
        PostLoginCapabilities::InCode => format!("[CAPABILITY {words}] "),
        _ => String::new(),
    };
    if place == PostLoginCapabilities::Untagged {
        session.wire.line(format!("* CAPABILITY {words}"))?;
    }
    session
        .wire
        .respond(&format!("OK {code}{user} authenticated (Success)"))
}

/// Sends the error challenge; the NO follows the client's empty line (GMAIL.md 2.2).
fn challenge(session: &mut Session) -> Result<()> {
    let challenge = session.shared.gmail().unwrap().options().challenge;
    if challenge == Challenge::AfterCapability {
        let line = format!("* CAPABILITY {}", capabilities(session));
        session.wire.line(line)?;
    }
    session
        .wire
        .line(format!("+ {}", STANDARD.encode(challenge.json())))?;
    session.reply()?;
    session.wire.respond(REFUSAL)
}

/// User and token of `user=<user>^Aauth=Bearer <token>^A^A` or `n,a=<user>,^A…auth=Bearer <token>^A^A`.
fn bearer(response: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(response).ok()?;
    let fields: Vec<&str> = text.strip_suffix("\x01\x01")?.split('\x01').collect();
    let first = *fields.first()?;
    let user = first
        .strip_prefix("user=")
        .or_else(|| first.strip_prefix("n,a=")?.strip_suffix(','))?;
    let token = fields
        .iter()
        .find_map(|field| field.strip_prefix("auth=Bearer "))?;
    Some((user.to_owned(), token.to_owned()))
}

/// Ends a session in the count of sessions.
pub(crate) fn log_out(session: &mut Session) {
    if let Some(gmail) = session.shared.gmail() {
        gmail.let_out(session.wire.connection());
    }
}
