//! NOTIFY (RFC 5465): reports changes of mailboxes that are not selected.

use std::collections::BTreeMap;

use crate::grammar::Request;
use crate::listing::delimiter;
use crate::login;
use crate::select::is_shown;
use crate::session::Session;
use crate::strings::quoted;
use crate::wire::Result;

/// The events that this server can report.
const EVENTS: [&str; 3] = ["MessageNew", "MessageExpunge", "MailboxName"];

/// What a session asked for, and what it knows.
#[derive(Debug, Default)]
pub(crate) struct Notify {
    /// Whether changes of the selected mailbox are reported.
    pub reports_selected: bool,
    reports_messages: bool,
    reports_names: bool,
    /// The mailboxes that were reported: UIDNEXT and the number of messages.
    known: BTreeMap<String, (u32, usize)>,
}

/// NOTIFY SET and NOTIFY NONE, for the selected mailbox and for all personal ones.
pub(crate) fn notify(session: &mut Session, request: &Request) -> Result<()> {
    if !login::offers(session, "NOTIFY") {
        return session.unparsable();
    }
    let arguments = String::from_utf8_lossy(&request.arguments).into_owned();
    if arguments.eq_ignore_ascii_case("NONE") {
        session.notify = Some(Notify::default());
        return session.wire.respond("OK NOTIFY completed.");
    }
    let Some(groups) = arguments.strip_prefix("SET ") else {
        return session.unparsable();
    };
    let (groups, wants_status) = match groups.strip_prefix("STATUS ") {
        Some(groups) => (groups, true),
        None => (groups, false),
    };
    let mut wanted = Notify::default();
    for group in groups.split_inclusive("))") {
        let group = group.trim_start().strip_prefix('(');
        let group = group.and_then(|group| group.strip_suffix("))"));
        let Some((filter, events)) = group.and_then(|group| group.split_once(" (")) else {
            return session.unparsable();
        };
        let events: Vec<&str> = events.split(' ').collect();
        let has = |event: &str| events.iter().any(|it| it.eq_ignore_ascii_case(event));
        if events
            .iter()
            .any(|event| !EVENTS.iter().any(|known| event.eq_ignore_ascii_case(known)))
        {
            let text = format!("NO [BADEVENT ({})] Unsupported event.", EVENTS.join(" "));
            return session.wire.respond(&text);
        }
        // One without the other is an error (RFC 5465 5).
        if has("MessageNew") != has("MessageExpunge") {
            return session.unparsable();
        }
        match filter.to_ascii_uppercase().as_str() {
            "SELECTED" | "SELECTED-DELAYED" if !has("MailboxName") => {
                wanted.reports_selected = has("MessageNew");
            }
            "PERSONAL" => {
                wanted.reports_messages = has("MessageNew");
                wanted.reports_names = has("MailboxName");
            }
            _ => return session.unparsable(),
        }
    }
    wanted.known = mailboxes(session);
    if wants_status && wanted.reports_messages {
        for line in statuses(session, &wanted.known) {
            session.wire.line(line)?;
        }
    }
    session.notify = Some(wanted);
    session.wire.respond("OK NOTIFY completed.")
}

/// Whether the session wants to hear of changes of the selected mailbox.
pub(crate) fn reports_selected(session: &Session) -> bool {
    let notify = session.notify.as_ref();
    notify.is_none_or(|notify| notify.reports_selected)
}

/// Reports what has changed in other mailboxes.
pub(crate) fn report(session: &mut Session) -> Result<()> {
    let Some(mut notify) = session.notify.take() else {
        return Ok(());
    };
    let current = mailboxes(session);
    let mut lines = Vec::new();
    if notify.reports_names {
        let delimiter = quoted(&delimiter(session).to_string());
        let created = current
            .keys()
            .filter(|name| !notify.known.contains_key(*name));
        lines.extend(created.map(|name| format!("* LIST () {delimiter} {}", quoted(name))));
        let gone = notify
            .known
            .keys()
            .filter(|name| !current.contains_key(*name));
        lines.extend(
            gone.map(|name| format!("* LIST (\\NonExistent) {delimiter} {}", quoted(name))),
        );
    }
    if notify.reports_messages {
        let mut changed = current.clone();
        changed.retain(|name, now| notify.known.get(name).is_some_and(|known| known != now));
        lines.extend(statuses(session, &changed));
    }
    notify.known = current;
    session.notify = Some(notify);
    for line in lines {
        session.wire.line(line)?;
    }
    Ok(())
}

fn mailboxes(session: &Session) -> BTreeMap<String, (u32, usize)> {
    let store = session.shared.store();
    let shown = store
        .folders
        .iter()
        .filter(|folder| is_shown(session, folder));
    shown
        .map(|folder| (folder.name.clone(), (folder.uid_next, folder.rows.len())))
        .collect()
}

/// The selected mailbox is reported by EXISTS.
fn statuses(session: &Session, mailboxes: &BTreeMap<String, (u32, usize)>) -> Vec<String> {
    let selected = session.selected.as_ref().map(|selected| &selected.mailbox);
    let others = mailboxes.iter().filter(|(name, _)| selected != Some(name));
    others
        .map(|(name, (uid_next, messages))| {
            let name = quoted(name);
            format!("* STATUS {name} (MESSAGES {messages} UIDNEXT {uid_next})")
        })
        .collect()
}
