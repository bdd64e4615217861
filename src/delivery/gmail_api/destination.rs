//! Where imported messages go: folders are labels in the API.

/// The labels of imported messages: those of Gmail itself by their ids, others by their names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ImportDestination {
    pub(super) system_ids: Vec<&'static str>,
    /// The label that is the target folder: without it, a message is not where it should be.
    pub(super) folder: Option<String>,
    /// The labels besides it.
    pub(super) labels: Vec<String>,
}

/// The folders of Gmail itself are in these, in any language (GMAIL.md 1.5).
const SYSTEM_FOLDERS: [&str; 2] = ["[Gmail]", "[Google Mail]"];

impl ImportDestination {
    /// The labels for this target folder and these labels; `None` if messages are not imported there: mail
    /// for Gmail's own folders, such as Spam or Sent, needs no check for spam.
    ///
    /// With `archive`, a folder of Gmail itself is All Mail, which needs no label.
    pub(crate) fn of(folder: &str, archive: bool, labels: &[String]) -> Option<ImportDestination> {
        let mut destination = ImportDestination::default();
        if folder.eq_ignore_ascii_case("INBOX") {
            destination.system_ids.push("INBOX");
        } else if !is_system(folder) {
            destination.folder = Some(folder.to_owned());
        } else if !archive {
            return None;
        }
        for label in labels {
            if destination.folder.as_ref() != Some(label) && !destination.labels.contains(label) {
                destination.labels.push(label.clone());
            }
        }
        Some(destination)
    }

    /// Whether it has labels that the user has made.
    pub(super) fn has_user_labels(&self) -> bool {
        self.folder.is_some() || !self.labels.is_empty()
    }
}

fn is_system(folder: &str) -> bool {
    let first = folder.split('/').next().unwrap_or_default();
    let mut system = SYSTEM_FOLDERS.iter();
    system.any(|it| it.eq_ignore_ascii_case(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_a_label_and_gmails_own_folders_are_not_imported_to() {
        let of = |folder: &str, archive: bool| {
            let labels = ["Work".to_owned(), "Lists/Rust".to_owned()];
            let destination = ImportDestination::of(folder, archive, &labels)?;
            let names = destination.folder.into_iter().chain(destination.labels);
            let names: Vec<String> = names.collect();
            Some((destination.system_ids, names.join(",")))
        };
        let labelled = |ids: &[&'static str], names: &str| Some((ids.to_vec(), names.to_owned()));
        for (folder, archive, expected) in [
            ("INBOX", false, labelled(&["INBOX"], "Work,Lists/Rust")),
            ("Inbox", true, labelled(&["INBOX"], "Work,Lists/Rust")),
            ("Work", false, labelled(&[], "Work,Lists/Rust")),
            (
                "Bills/2026",
                false,
                labelled(&[], "Bills/2026,Work,Lists/Rust"),
            ),
            ("[Gmail]/All Mail", true, labelled(&[], "Work,Lists/Rust")),
            ("[Gmail]/Spam", false, None),
            ("[Google Mail]/Gesendet", false, None),
            (
                "[Gmailish]",
                false,
                labelled(&[], "[Gmailish],Work,Lists/Rust"),
            ),
        ] {
            assert_eq!(of(folder, archive), expected, "{folder}");
        }
    }
}
