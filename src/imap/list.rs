//! LIST: the folders of an account (RFC 3501 6.3.8, RFC 6154).

use imap_proto::{MailboxDatum, NameAttribute, Response};

use crate::imap::response::responses;
use crate::imap::utf7::decode_utf7;
use crate::imap::{CommandError, Session};

/// A folder as LIST returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFolder {
    /// Its name, decoded.
    pub name: String,
    /// Its attributes, in lower case and with the backslash: `\all`, `\trash`, `\noselect`.
    attributes: Vec<String>,
}

impl ListedFolder {
    /// Says whether it has this attribute, in any case: `\All`.
    #[must_use]
    pub fn has(&self, attribute: &str) -> bool {
        self.attributes
            .iter()
            .any(|known| known.eq_ignore_ascii_case(attribute))
    }
}

impl Session {
    /// Lists all folders.
    ///
    /// # Errors
    /// As for `Session::command`.
    pub fn list(&mut self) -> Result<Vec<ListedFolder>, CommandError> {
        let response = self.command("LIST \"\" \"*\"")?;
        let mut folders = Vec::new();
        for response in responses(&response) {
            if let Response::MailboxData(MailboxDatum::List {
                name_attributes,
                name,
                ..
            }) = response
            {
                folders.push(ListedFolder {
                    name: decode_utf7(&name).unwrap_or_else(|| name.into_owned()),
                    attributes: name_attributes.iter().map(attribute_name).collect(),
                });
            }
        }
        Ok(folders)
    }
}

fn attribute_name(attribute: &NameAttribute<'_>) -> String {
    match attribute {
        NameAttribute::NoInferiors => "\\noinferiors".to_owned(),
        NameAttribute::NoSelect => "\\noselect".to_owned(),
        NameAttribute::Marked => "\\marked".to_owned(),
        NameAttribute::Unmarked => "\\unmarked".to_owned(),
        NameAttribute::All => "\\all".to_owned(),
        NameAttribute::Archive => "\\archive".to_owned(),
        NameAttribute::Drafts => "\\drafts".to_owned(),
        NameAttribute::Flagged => "\\flagged".to_owned(),
        NameAttribute::Junk => "\\junk".to_owned(),
        NameAttribute::Sent => "\\sent".to_owned(),
        NameAttribute::Trash => "\\trash".to_owned(),
        NameAttribute::Extension(name) => name.to_ascii_lowercase(),
        _ => String::new(),
    }
}
