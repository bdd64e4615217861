//! Where imported messages go: folders are labels in the API.

/// The labels of imported messages: those of Gmail itself by their ids, others by their names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ImportDestination {
    pub(super) system_ids: Vec<&'static str>,
    pub(super) names: Vec<String>,
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
            destination.names.push(folder.to_owned());
        } else if !archive {
            return None;
        }
        for label in labels {
            if !destination.names.contains(label) {
                destination.names.push(label.clone());
            }
        }
        Some(destination)
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
            Some((destination.system_ids, destination.names.join(",")))
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
