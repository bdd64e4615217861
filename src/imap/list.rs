//! LIST: the folders of an account (RFC 3501 6.3.8, RFC 6154).

use imap_proto::{MailboxDatum, NameAttribute, Response};

use crate::imap::utf7::decode_utf7;
use crate::imap::{Command, CommandError, Session};

/// A folder as LIST returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFolder {
    /// Its name, decoded.
    pub name: String,
    /// Its attributes, such as `\All`.
    pub attributes: Vec<NameAttribute<'static>>,
}

impl Session {
    /// Lists all folders.
    ///
    /// # Errors
    /// As for `Session::command`.
    pub fn list(&mut self) -> Result<Vec<ListedFolder>, CommandError> {
        let responses = self.command(Command::List)?;
        let mut folders = Vec::new();
        for response in responses.iter() {
            if let Response::MailboxData(MailboxDatum::List {
                name_attributes,
                name,
                ..
            }) = response
            {
                let attributes = name_attributes.into_iter();
                folders.push(ListedFolder {
                    name: decode_utf7(&name).unwrap_or_else(|| name.into_owned()),
                    attributes: attributes.map(NameAttribute::into_owned).collect(),
                });
            }
        }
        Ok(folders)
    }
}
