//! Labels of messages (X-GM-EXT-1), and the versions of messages (MODSEQ, RFC 7162).

use std::collections::BTreeMap;
use std::fmt;

use imap_proto::{AttributeValue, Response};

use crate::imap::mailbox::ExamineData;
use crate::imap::response::Responses;
use crate::imap::{
    Command, CommandError, CommandResult, FetchItems, MailboxName, Session, encode_utf7, quoted,
};
use crate::message::{Uid, UidSet, UidValidity};

/// The names of Gmail's own folders begin with one of these, in any language.
const SYSTEM_FOLDERS: [&str; 2] = ["[gmail]", "[google mail]"];

/// The name of a label as commands hold it: encoded and quoted. It is the `Display`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LabelName(String);

impl LabelName {
    /// Encodes and quotes a name.
    ///
    /// # Errors
    /// Why it cannot be the name of a label. Gmail would take some names for those of its own labels and
    /// folders: such a message would land in the inbox, or in the trash.
    pub fn new(name: &str) -> Result<LabelName, &'static str> {
        let folded = name.to_lowercase();
        let is_system_folder = |system: &str| {
            let rest = folded.strip_prefix(system);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if name.is_empty() {
            return Err("a label needs a name");
        }
        if name.starts_with('\\') {
            return Err("names that begin with a backslash are Gmail's own");
        }
        if folded == "inbox" || SYSTEM_FOLDERS.iter().any(|it| is_system_folder(it)) {
            return Err("this is the name of one of Gmail's own folders");
        }
        if name.contains(['\r', '\n', '\0']) {
            return Err("its name contains a line break or a NUL");
        }
        let quoted = quoted(&encode_utf7(name)).ok_or("its name cannot be encoded")?;
        Ok(LabelName(quoted))
    }
}

impl fmt::Display for LabelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What SELECT and FETCH in one pipeline show.
pub(crate) struct SelectedMessages {
    /// None if the server does not say it.
    pub uid_validity: Option<UidValidity>,
    /// The MODSEQ of each message that is there; none if the server does not say it.
    pub mod_seqs: BTreeMap<Uid, Option<u64>>,
}

impl Session {
    /// Opens a folder for changes, and asks for the MODSEQ of messages in the same pipeline, if the server
    /// has that.
    ///
    /// # Errors
    /// As for [`Session::command`]. NO and BAD are about the folder.
    pub(crate) fn select_and_fetch(
        &mut self,
        folder: &MailboxName,
        uids: &UidSet,
        has_mod_seq: bool,
    ) -> Result<SelectedMessages, CommandError> {
        let fetch = |items| Command::UidFetch(uids.clone().into(), items);
        let items = if has_mod_seq {
            FetchItems::ModSeq
        } else {
            FetchItems::Uid
        };
        let commands = vec![Command::Select(folder.clone()), fetch(items)];
        let mut results = self.pipeline(commands)?.into_iter();
        let mut responses = results.next().unwrap_or_else(|| Ok(Responses::default()))?;
        let uid_validity = ExamineData::parse(&responses).uid_validity;
        // Each may hold untagged responses to the other.
        let fetched = match results.next() {
            Some(Err(error)) if has_mod_seq && error.leaves_session_usable() => {
                self.command(fetch(FetchItems::Uid))
            }
            result => result.unwrap_or_else(|| Ok(Responses::default())),
        };
        responses.append(fetched?);
        Ok(SelectedMessages {
            uid_validity,
            mod_seqs: read_mod_seqs(&responses),
        })
    }

    /// Opens a folder for changes; returns its UIDVALIDITY, if the server says it.
    ///
    /// # Errors
    /// As for [`Session::command`].
    pub(crate) fn select(
        &mut self,
        folder: &MailboxName,
    ) -> Result<Option<UidValidity>, CommandError> {
        let responses = self.command(Command::Select(folder.clone()))?;
        Ok(ExamineData::parse(&responses).uid_validity)
    }

    /// Adds labels to messages of the selected folder, in one pipeline; returns the result for each of the
    /// requests.
    ///
    /// # Errors
    /// The connection broke or the server does not respond; the session is not usable any more.
    pub(crate) fn add_labels(
        &mut self,
        requests: Vec<(UidSet, Vec<LabelName>)>,
    ) -> Result<Vec<CommandResult>, CommandError> {
        let commands = requests.into_iter();
        let commands = commands.map(|(uids, labels)| Command::UidStoreLabels(uids, labels));
        self.pipeline(commands.collect())
    }
}

fn read_mod_seqs(responses: &Responses) -> BTreeMap<Uid, Option<u64>> {
    let mut messages = BTreeMap::new();
    for response in responses.iter() {
        let Response::Fetch(_, attributes) = response else {
            continue;
        };
        let (mut uid, mut mod_seq) = (None, None);
        for attribute in attributes {
            match attribute {
                AttributeValue::Uid(number) => uid = Uid::new(number),
                AttributeValue::ModSeq(number) => mod_seq = Some(number),
                _ => {}
            }
        }
        if let Some(uid) = uid {
            let known: &mut Option<u64> = messages.entry(uid).or_default();
            *known = mod_seq.max(*known);
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_names_are_encoded_and_quoted() {
        for (name, expected) in [
            ("Work", r#""Work""#),
            ("Old account/Sub folder", r#""Old account/Sub folder""#),
            (r#"a "b" \c"#, r#""a \"b\" \\c""#),
            ("R&D", r#""R&-D""#),
            ("Grüße", r#""Gr&APwA3w-e""#),
            ("日本語", r#""&ZeVnLIqe-""#),
            ("[Gmailish]/x", r#""[Gmailish]/x""#),
            ("Inbox/old", r#""Inbox/old""#),
            ("tab\there", r#""tab&AAk-here""#),
        ] {
            assert_eq!(LabelName::new(name).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn a_label_never_names_a_system_folder_or_ends_the_command() {
        for name in [
            "",
            r"\Inbox",
            r"\Trash",
            r"\\x",
            "inbox",
            "INBOX",
            "[Gmail]",
            "[gmail]/Trash",
            "[Google Mail]/Papierkorb",
            "a\r\nb1 LOGOUT",
            "a\nb",
            "a\0",
        ] {
            assert!(LabelName::new(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn versions_are_read_wherever_they_stand() {
        let responses: Responses = b"* 1 FETCH (UID 7 MODSEQ (12))\r\n* 2 FETCH (MODSEQ (5) UID 8)\r\n\
            * 1 FETCH (UID 7 MODSEQ (9) FLAGS ())\r\n* 3 FETCH (UID 9)\r\n* 4 FETCH (MODSEQ (4))\r\n"
            .as_slice()
            .into();
        let uid = |number| Uid::new(number).unwrap();
        let expected = [(uid(7), Some(12)), (uid(8), Some(5)), (uid(9), None)];
        assert_eq!(read_mod_seqs(&responses), BTreeMap::from(expected));
    }
}
