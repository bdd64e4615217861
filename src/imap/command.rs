//! Commands (RFC 3501 6): each of them is written here, with its arguments quoted. Pure.

use std::fmt;

use crate::imap::{LabelName, MailboxName};
use crate::message::{Uid, UidSet};

/// What STATUS is asked for.
const STATUS_ITEMS: &str = "(UIDNEXT UIDVALIDITY MESSAGES)";

/// Identifies this client (RFC 2971). The URL is that of the program that this one succeeds.
const ID: &str = concat!(
    "ID (\"name\" \"imap-to-gmail-sync\" \"version\" \"",
    env!("CARGO_PKG_VERSION"),
    "\" \"vendor\" \"the imap-to-gmail-sync authors\" \
     \"support-url\" \"https://github.com/jsquyres/imap-to-gmail-sync\")"
);

/// Begins with a STATUS of each folder, so that nothing is missed before. Of the open folder, the server
/// reports what it does without NOTIFY, and when.
const NOTIFY: &str = "NOTIFY SET STATUS (SELECTED-DELAYED (MessageNew MessageExpunge)) \
                      (PERSONAL (MessageNew MessageExpunge MailboxName))";

/// The header fields that identify a message.
const IDENTITY_HEADER: &str = "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)]";

/// A command in one line. Its `Display` is what follows the tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// CAPABILITY.
    Capability,
    /// NOOP: the server may report changes.
    Noop,
    /// ID (RFC 2971), as Google asks for.
    Id,
    /// LOGOUT.
    Logout,
    /// NOTIFY (RFC 5465): the server reports new mail in all folders, and new folders, from now on.
    Notify,
    /// LIST of all folders.
    List(ListOptions),
    /// NAMESPACE (RFC 2342).
    Namespace,
    /// STATUS, for everything that says whether there is new mail.
    Status(MailboxName),
    /// EXAMINE: opens a folder for reading only.
    Examine(MailboxName),
    /// SELECT: opens a folder for changes.
    Select(MailboxName),
    /// CREATE.
    Create(MailboxName),
    /// STATUS, for UIDNEXT alone.
    StatusUidNext(MailboxName),
    /// GETQUOTAROOT (RFC 9208 4.1.3).
    GetQuotaRoot(MailboxName),
    /// UID SEARCH. The criteria are quoted by whoever writes them.
    UidSearch(String),
    /// UID FETCH.
    UidFetch(FetchedUids, FetchItems),
    /// UID STORE that adds labels (X-GM-EXT-1).
    UidStoreLabels(UidSet, Vec<LabelName>),
}

/// What LIST returns of each folder, beside its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ListOptions {
    /// Its role (RFC 6154). Some servers return it unasked.
    pub(crate) returns_roles: bool,
    /// Its STATUS (RFC 5819).
    pub(crate) returns_status: bool,
}

/// The messages that a FETCH asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FetchedUids {
    /// Those of the set.
    Set(UidSet),
    /// From this one on. The last message of the folder is always among them (RFC 3501 6.4.8).
    From(Uid),
    /// The last one.
    Last,
}

/// What a FETCH asks for, beside the UID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FetchItems {
    /// Nothing else.
    Uid,
    /// The number of its last change (RFC 7162).
    ModSeq,
    /// What identifies a message: size, date, and some fields of its header.
    Identity,
    /// Everything that a listing needs: the same, and the flags.
    Listing,
    /// The whole message, without setting `\Seen`.
    Body,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Capability => f.write_str("CAPABILITY"),
            Command::Noop => f.write_str("NOOP"),
            Command::Id => f.write_str(ID),
            Command::Logout => f.write_str("LOGOUT"),
            Command::Notify => f.write_str(NOTIFY),
            Command::List(options) => write!(f, "LIST \"\" \"*\"{options}"),
            Command::Namespace => f.write_str("NAMESPACE"),
            Command::Status(name) => write!(f, "STATUS {name} {STATUS_ITEMS}"),
            Command::Examine(name) => write!(f, "EXAMINE {name}"),
            Command::Select(name) => write!(f, "SELECT {name}"),
            Command::Create(name) => write!(f, "CREATE {name}"),
            Command::StatusUidNext(name) => write!(f, "STATUS {name} (UIDNEXT)"),
            Command::GetQuotaRoot(name) => write!(f, "GETQUOTAROOT {name}"),
            Command::UidSearch(criteria) => write!(f, "UID SEARCH {criteria}"),
            Command::UidFetch(uids, items) => write!(f, "UID FETCH {uids} ({items})"),
            Command::UidStoreLabels(uids, labels) => {
                let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
                write!(f, "UID STORE {uids} +X-GM-LABELS ({})", labels.join(" "))
            }
        }
    }
}

impl fmt::Display for ListOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.returns_roles, self.returns_status) {
            (false, false) => Ok(()),
            (true, false) => f.write_str(" RETURN (SPECIAL-USE)"),
            (false, true) => write!(f, " RETURN (STATUS {STATUS_ITEMS})"),
            (true, true) => write!(f, " RETURN (SPECIAL-USE STATUS {STATUS_ITEMS})"),
        }
    }
}

impl fmt::Display for FetchedUids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchedUids::Set(uids) => uids.fmt(f),
            FetchedUids::From(uid) => write!(f, "{uid}:*"),
            FetchedUids::Last => f.write_str("*"),
        }
    }
}

impl fmt::Display for FetchItems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchItems::Uid => f.write_str("UID"),
            FetchItems::ModSeq => f.write_str("UID MODSEQ"),
            FetchItems::Identity => write!(f, "UID RFC822.SIZE INTERNALDATE {IDENTITY_HEADER}"),
            FetchItems::Listing => {
                write!(f, "UID RFC822.SIZE INTERNALDATE FLAGS {IDENTITY_HEADER}")
            }
            FetchItems::Body => f.write_str("UID BODY.PEEK[]"),
        }
    }
}

impl From<UidSet> for FetchedUids {
    fn from(uids: UidSet) -> FetchedUids {
        FetchedUids::Set(uids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_the_form_of_the_standard() {
        let name = || MailboxName::new("a \"b\"").unwrap();
        let uids: UidSet = [3, 4, 7].into_iter().filter_map(Uid::new).collect();
        let uid = Uid::new(42).unwrap();
        for (command, expected) in [
            (Command::Examine(name()), r#"EXAMINE "a \"b\"""#),
            (
                Command::StatusUidNext(name()),
                r#"STATUS "a \"b\"" (UIDNEXT)"#,
            ),
            (
                Command::List(ListOptions {
                    returns_roles: true,
                    returns_status: true,
                }),
                r#"LIST "" "*" RETURN (SPECIAL-USE STATUS (UIDNEXT UIDVALIDITY MESSAGES))"#,
            ),
            (Command::List(ListOptions::default()), r#"LIST "" "*""#),
            (
                Command::Status(name()),
                r#"STATUS "a \"b\"" (UIDNEXT UIDVALIDITY MESSAGES)"#,
            ),
            (
                Command::UidSearch("UID 42:*".to_owned()),
                "UID SEARCH UID 42:*",
            ),
            (
                Command::UidFetch(uids.into(), FetchItems::Body),
                "UID FETCH 3:4,7 (UID BODY.PEEK[])",
            ),
            (
                Command::UidFetch(FetchedUids::From(uid), FetchItems::Uid),
                "UID FETCH 42:* (UID)",
            ),
            (
                Command::UidFetch(FetchedUids::Last, FetchItems::Uid),
                "UID FETCH * (UID)",
            ),
            (
                Command::UidStoreLabels(
                    UidSet::from_iter([uid]),
                    vec![
                        LabelName::new("Old mail").unwrap(),
                        LabelName::new("ü").unwrap(),
                    ],
                ),
                r#"UID STORE 42 +X-GM-LABELS ("Old mail" "&APw-")"#,
            ),
        ] {
            assert_eq!(command.to_string(), expected);
        }
        assert!(!Command::Id.to_string().contains("  "));
    }
}
