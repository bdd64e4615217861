//! The names that folders of a role usually have, for suggestions where a server announces no roles.
//! Pure.

use crate::config::FolderRole;
use crate::imap::{ListedFolder, NameAttribute};

/// Suggestions in one message.
const MAX_SUGGESTIONS: usize = 3;

/// The attribute of a role as LIST returns it.
pub(super) fn attribute(role: FolderRole) -> NameAttribute<'static> {
    match role {
        FolderRole::All => NameAttribute::All,
        FolderRole::Archive => NameAttribute::Archive,
        FolderRole::Drafts => NameAttribute::Drafts,
        FolderRole::Flagged => NameAttribute::Flagged,
        FolderRole::Junk => NameAttribute::Junk,
        FolderRole::Sent => NameAttribute::Sent,
        FolderRole::Trash => NameAttribute::Trash,
    }
}

pub(super) fn has_role(folder: &ListedFolder, role: FolderRole) -> bool {
    folder.attributes.contains(&attribute(role))
}

/// The folders whose names are usual for this role, the best first.
pub(super) fn folders_named_like(role: FolderRole, folders: &[ListedFolder]) -> Vec<&str> {
    let mut ranked: Vec<(usize, &str)> = folders
        .iter()
        .filter(|folder| folder.is_selectable())
        .filter_map(|folder| {
            let last_level = match folder.delimiter {
                Some(delimiter) => folder.name.rsplit(delimiter).next()?,
                None => &folder.name,
            };
            let plain = plain(last_level);
            let rank = usual_names(role).position(|usual| usual == plain)?;
            Some((rank, folder.name.as_str()))
        })
        .collect();
    ranked.sort_unstable();
    let names = ranked.into_iter().map(|(_, name)| name);
    names.take(MAX_SUGGESTIONS).collect()
}

/// Letters and digits alone, in lower case.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(|character| character.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

/// Names as mail programs and providers write them, as [`plain`] returns them, the most usual first.
fn usual_names(role: FolderRole) -> impl Iterator<Item = &'static str> {
    let names = match role {
        FolderRole::All => "allmail all allenachrichten touslesmessages",
        FolderRole::Archive => {
            "archive archives archiv archivo archief arquivo archivio архив アーカイブ 存档"
        }
        FolderRole::Drafts => {
            "drafts draft entwürfe entwurf brouillons brouillon borradores bozze concepten \
             rascunhos utkast черновики 下書き 草稿 草稿箱"
        }
        FolderRole::Flagged => "flagged starred markiert wichtig",
        FolderRole::Junk => {
            "junk spam junkemail junkmail bulkmail bulk spamverdacht unerwünscht \
             unerwünschtewerbung courrierindésirable indésirables pourriel correonodeseado \
             postaindesiderata ongewenst ongewenstemail lixoeletrônico skräppost спам 迷惑メール \
             垃圾邮件"
        }
        FolderRole::Sent => {
            "sent sentmail sentitems sentmessages gesendet gesendeteelemente \
             gesendeteobjekte gesendetenachrichten envoyés messagesenvoyés élémentsenvoyés \
             enviados elementosenviados postainviata inviata inviati verzonden \
             verzondenitems itensenviados skickat wysłane отправленные 送信済み 已发送"
        }
        FolderRole::Trash => {
            "trash deleteditems deletedmessages deleted bin papierkorb gelöscht \
             gelöschteelemente gelöschteobjekte corbeille papelera cestino prullenbak \
             lixeira papperskorg корзина ゴミ箱 已删除"
        }
    };
    names.split(' ')
}

/// What Gmail calls its folder of this role, in English.
pub(super) fn name_at_gmail(role: FolderRole) -> &'static str {
    match role {
        FolderRole::All | FolderRole::Archive => "All Mail",
        FolderRole::Drafts => "Drafts",
        FolderRole::Flagged => "Starred",
        FolderRole::Junk => "Spam",
        FolderRole::Sent => "Sent Mail",
        FolderRole::Trash => "Trash",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_names_are_plain() {
        for role in FolderRole::ALL {
            for name in usual_names(role) {
                assert_eq!(plain(name), name);
            }
        }
    }

    #[test]
    fn the_last_level_of_a_name_tells_its_usual_role() {
        let folder = |name: &str| ListedFolder {
            name: name.to_owned(),
            delimiter: Some('.'),
            attributes: Vec::new(),
        };
        let folders = [
            "INBOX",
            "INBOX.Junk-E-Mail",
            "INBOX.Gelöschte Elemente",
            "SPAM",
            "Junk.x",
        ]
        .map(folder);
        let like = |role| folders_named_like(role, &folders);
        assert_eq!(like(FolderRole::Junk), ["SPAM", "INBOX.Junk-E-Mail"]);
        assert_eq!(like(FolderRole::Trash), ["INBOX.Gelöschte Elemente"]);
        assert!(like(FolderRole::Sent).is_empty());
    }
}
