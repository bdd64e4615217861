//! LIST, STATUS, CREATE, NAMESPACE and ID.

use imap_codec::imap_types::command::CommandBody;
use imap_codec::imap_types::mailbox::ListMailbox;
use imap_codec::imap_types::status::StatusDataItemName;

use crate::change::refusal_of_name;
use crate::grammar::{self, Request, name};
use crate::quirks::Quirk;
use crate::select::is_shown;
use crate::session::Session;
use crate::store::{Folder, Store};
use crate::strings::quoted;
use crate::wire::Result;

/// The attributes of RFC 6154.
const ROLES: [&str; 7] = [
    "\\All",
    "\\Archive",
    "\\Drafts",
    "\\Flagged",
    "\\Junk",
    "\\Sent",
    "\\Trash",
];

/// The response to a command for a mailbox that the user may not open (RFC 4314, RFC 5530).
pub(crate) const NO_PERMISSION: &str = "NO [NOPERM] Permission denied (0.001 + 0.000 secs).";

/// LIST, XLIST (GMAIL.md 1.5). Of the RETURN options, STATUS has an effect (RFC 5819).
pub(crate) fn list(session: &mut Session, request: &Request) -> Result<()> {
    let arguments = String::from_utf8_lossy(&request.arguments).into_owned();
    let (plain, options) = match arguments.split_once(" RETURN (") {
        Some((plain, options)) if !lacks(session, "LIST-EXTENDED") => {
            (plain.to_owned(), options.to_owned())
        }
        _ => (arguments, String::new()),
    };
    let items = options.split_once("STATUS (").map(|(_, rest)| {
        let (items, _) = rest.split_once(')').unwrap_or((rest, ""));
        items.split(' ').filter_map(status_item).collect::<Vec<_>>()
    });
    if items.is_some() && lacks(session, "LIST-STATUS") {
        return session.unparsable();
    }
    let command = grammar::decode(format!("a LIST {plain}").as_bytes());
    let Some(CommandBody::List {
        reference,
        mailbox_wildcard,
    }) = command
    else {
        return session.unparsable();
    };
    let pattern = match &mailbox_wildcard {
        ListMailbox::Token(token) => String::from_utf8_lossy(token.as_ref()).into_owned(),
        ListMailbox::String(text) => String::from_utf8_lossy(text.as_ref()).into_owned(),
    };
    let pattern = format!("{}{pattern}", name(&reference));
    for line in lines(session, &request.name, &pattern, items.as_deref()) {
        session.wire.line(line)?;
    }
    let text = session.texts.list;
    session.wire.respond(text)
}

fn lines(
    session: &Session,
    name: &str,
    pattern: &str,
    items: Option<&[StatusDataItemName]>,
) -> Vec<String> {
    let delimiter = delimiter(session);
    let shown_delimiter = quoted(&delimiter.to_string());
    if pattern.is_empty() {
        return vec![format!(
            "* {name} (\\Noselect) {shown_delimiter} {shown_delimiter}"
        )];
    }
    let store = session.shared.store();
    let listed = store
        .folders
        .iter()
        .filter(|folder| is_shown(session, folder));
    let mut lines = Vec::new();
    let hides_roles = lacks(session, "SPECIAL-USE");
    for folder in listed.filter(|folder| matches(pattern, &folder.name, delimiter)) {
        let attributes = folder.attributes.iter().map(String::as_str);
        let attributes: Vec<&str> = attributes
            .filter(|attribute| !hides_roles || !ROLES.contains(attribute))
            .collect();
        let attributes = attributes.join(" ");
        let quoted = quoted(&folder.name);
        lines.push(format!(
            "* {name} ({attributes}) {shown_delimiter} {quoted}"
        ));
        if folder.is("\\Noselect") || is_forbidden(session, &folder.name) {
            continue;
        }
        let values: Option<Vec<String>> = items.map(|items| {
            items
                .iter()
                .filter_map(|item| value(item, folder, &store))
                .collect()
        });
        lines.extend(values.map(|values| format!("* STATUS {quoted} ({})", values.join(" "))));
    }
    lines
}

fn status_item(word: &str) -> Option<StatusDataItemName> {
    match word {
        "MESSAGES" => Some(StatusDataItemName::Messages),
        "UIDNEXT" => Some(StatusDataItemName::UidNext),
        "UIDVALIDITY" => Some(StatusDataItemName::UidValidity),
        _ => None,
    }
}

/// Whether the options say that the server does not have a capability.
fn lacks(session: &Session, capability: &str) -> bool {
    let without = match session.shared.gmail() {
        Some(gmail) => gmail.options().without.clone(),
        None => session
            .shared
            .source()
            .map_or_else(Vec::new, |it| it.without.clone()),
    };
    without.iter().any(|word| word == capability)
}

pub(crate) fn delimiter(session: &Session) -> char {
    let source = session.shared.source();
    source.map_or('/', |options| options.delimiter)
}

/// Whether the user may neither open a mailbox nor see what is in it.
pub(crate) fn is_forbidden(session: &Session, mailbox: &str) -> bool {
    let source = session.shared.source();
    source.is_some_and(|options| options.forbidden.contains(mailbox))
}

/// Matches a pattern: `*` stands for anything, `%` for anything within one level (RFC 3501 6.3.8).
fn matches(pattern: &str, name: &str, delimiter: char) -> bool {
    let mut octets = pattern.chars();
    match octets.next() {
        None => name.is_empty(),
        Some(wildcard @ ('*' | '%')) => {
            let rest = octets.as_str();
            let mut ends = name
                .char_indices()
                .map(|(place, _)| place)
                .chain([name.len()]);
            ends.any(|end| {
                let (skipped, left) = name.split_at(end);
                (wildcard == '*' || !skipped.contains(delimiter)) && matches(rest, left, delimiter)
            })
        }
        Some(message) => name
            .strip_prefix(message)
            .is_some_and(|left| matches(octets.as_str(), left, delimiter)),
    }
}

/// STATUS (GMAIL.md 1.6).
pub(crate) fn status(
    session: &mut Session,
    mailbox: &str,
    items: &[StatusDataItemName],
) -> Result<()> {
    let shared = session.shared.clone();
    let store = shared.store();
    let shown = |folder: &&Folder| is_shown(session, folder);
    if is_forbidden(session, mailbox) {
        drop(store);
        return session.wire.respond(NO_PERMISSION);
    }
    let Some(folder) = store.folder(mailbox).filter(shown) else {
        drop(store);
        return refuse(session, "Unknown Mailbox", mailbox);
    };
    if folder.is("\\Noselect") {
        drop(store);
        return refuse(session, "Invalid folder", mailbox);
    }
    let quirks = session.shared.quirks();
    let hides = quirks.contains(&Quirk::NoUidValidity);
    let is_sent = |item: &&StatusDataItemName| !hides || **item != StatusDataItemName::UidValidity;
    let sent = items.iter().filter(is_sent);
    let values: Option<Vec<String>> = sent.map(|item| value(item, folder, &store)).collect();
    let Some(values) = values else {
        drop(store);
        return session.unparsable();
    };
    drop(store);
    session.wire.line(format!(
        "* STATUS {} ({})",
        quoted(mailbox),
        values.join(" ")
    ))?;
    let text = session.texts.status;
    session.wire.respond(text)
}

fn refuse(session: &mut Session, why: &str, mailbox: &str) -> Result<()> {
    let text = match session.shared.gmail() {
        Some(_) => format!("NO [NONEXISTENT] {why}: {mailbox} (Failure)"),
        None => format!("NO [NONEXISTENT] Mailbox doesn't exist: {mailbox} (0.001 + 0.000 secs)."),
    };
    session.wire.respond(&text)
}

fn value(item: &StatusDataItemName, folder: &Folder, store: &Store) -> Option<String> {
    let unseen = || {
        let flags = folder.rows.values().map(|key| &store.messages[key].flags);
        flags.filter(|flags| !flags.contains("\\Seen")).count()
    };
    Some(match item {
        StatusDataItemName::Messages => format!("MESSAGES {}", folder.rows.len()),
        StatusDataItemName::Recent => "RECENT 0".to_owned(),
        StatusDataItemName::UidNext => format!("UIDNEXT {}", folder.uid_next),
        StatusDataItemName::UidValidity => format!("UIDVALIDITY {}", folder.uid_validity),
        StatusDataItemName::Unseen => format!("UNSEEN {}", unseen()),
        _ => return None,
    })
}

/// CREATE (GMAIL.md 1.5).
pub(crate) fn create(session: &mut Session, mailbox: &str) -> Result<()> {
    let exists = session.shared.store().folder(mailbox).is_some();
    let is_gmail = session.shared.gmail().is_some();
    if let Some(text) = refusal_of_name(mailbox).filter(|_| is_gmail) {
        return session.wire.respond(text);
    }
    if exists {
        let text = if is_gmail {
            format!("NO [ALREADYEXISTS] Duplicate folder name {mailbox} (Failure)")
        } else {
            "NO [ALREADYEXISTS] Mailbox already exists (0.001 + 0.000 secs).".to_owned()
        };
        return session.wire.respond(&text);
    }
    session.shared.store().create(mailbox, &["\\HasNoChildren"]);
    let text = session.texts.create;
    session.wire.respond(text)
}

/// ENABLE (RFC 5161) is accepted and has no effect.
pub(crate) fn enable(session: &mut Session) -> Result<()> {
    session.wire.line("* ENABLED UTF8=ACCEPT")?;
    let text = session.texts.ok;
    session.wire.respond(text)
}

/// GETQUOTAROOT (RFC 2087, GMAIL.md 5).
pub(crate) fn quota_root(session: &mut Session, mailbox: &str) -> Result<()> {
    let used = session.shared.store().octets();
    let storage = session
        .shared
        .gmail()
        .map_or(0, |gmail| gmail.options().storage);
    session
        .wire
        .line(format!("* QUOTAROOT {} \"\"", quoted(mailbox)))?;
    session.wire.line(format!(
        "* QUOTA \"\" (STORAGE {} {})",
        used / 1024,
        storage / 1024
    ))?;
    let text = session.texts.ok;
    session.wire.respond(text)
}

/// NAMESPACE (RFC 2342).
pub(crate) fn namespace(session: &mut Session) -> Result<()> {
    let delimiter = quoted(&delimiter(session).to_string());
    let source = session.shared.source();
    let prefix = quoted(source.map_or("", |options| options.prefix));
    session
        .wire
        .line(format!("* NAMESPACE (({prefix} {delimiter})) NIL NIL"))?;
    let text = session.texts.ok;
    session.wire.respond(text)
}

/// ID (RFC 2971, GMAIL.md 1.7).
pub(crate) fn id(session: &mut Session) -> Result<()> {
    session.is_identified = session.user.is_some();
    let line = match session.shared.gmail() {
        Some(_) => {
            "* ID (\"name\" \"GImap\" \"vendor\" \"Google, Inc.\" \"support-url\" \
             \"https://support.google.com/mail\" \"version\" \"gmail_imap_200428.12_p0\" \
             \"remote-host\" \"127.0.0.1\")"
        }
        None => "* ID (\"name\" \"Dovecot\")",
    };
    session.wire.line(line)?;
    let text = session.texts.ok;
    session.wire.respond(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percent_sign_stays_within_its_level() {
        assert!(matches("*", "[Gmail]/All Mail", '/'));
        assert!(!matches("%", "[Gmail]/All Mail", '/'));
        assert!(matches("[Gmail]/%", "[Gmail]/All Mail", '/'));
        assert!(matches("INBOX", "INBOX", '/'));
        assert!(!matches("INBO", "INBOX", '/'));
    }
}
