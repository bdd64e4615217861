//! What servers list of their folders.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use ::double::SourceOptions;
use imap_to_gmail_sync::config::{
    FolderConfig, FolderCopy, FolderRule, SourceFolders, TargetFolder,
};
use imap_to_gmail_sync::folders::{TargetFolders, plan};
use imap_to_gmail_sync::imap::{
    CommandError, Credentials, FolderListing, ListedFolder, Login, NameAttribute, Session,
};
use imap_to_gmail_sync::net::{ConnectionOptions, Trust};
use imap_to_gmail_sync::secret::Secret;

use crate::dovecot::{Dovecot, Settings, version};
use crate::sources::{Double, SourceServer};
use crate::{mail, with_id};

on_each_server! {
    all_folders_are_listed_and_translated_without_prefix
    the_status_of_folders_is_that_of_examine
}

fn session(server: &dyn SourceServer) -> Session {
    let login = Login {
        user: server.user().to_owned(),
        credentials: Credentials::Password(Secret::new(server.password().to_owned())),
    };
    let server = server.server();
    let trust = Trust::for_server(&server).unwrap();
    Session::open(&server, &trust, &ConnectionOptions::default(), &login).unwrap()
}

fn names(listing: &FolderListing) -> Vec<&str> {
    let folders = listing.folders.iter();
    folders.map(|folder| folder.name.as_str()).collect()
}

fn all_folders_are_listed_and_translated_without_prefix(server: &mut dyn SourceServer) {
    let [name, encoded] = server.other_folder();
    server.create(&encoded);
    let mut session = session(server);
    let listing = session.list_folders().unwrap();
    session.logout();
    assert!(names(&listing).contains(&"INBOX"), "{listing:?}");
    let is_it = |folder: &&ListedFolder| folder.name == name;
    let folder = listing.folders.iter().find(is_it).expect("it is listed");
    assert!(folder.is_selectable());
    let prefix = name.starts_with("INBOX.").then_some("INBOX.");
    assert_eq!(folder.delimiter, Some(prefix.map_or('/', |_| '.')));
    let prefixes: Vec<&str> = listing
        .personal_prefixes
        .iter()
        .map(String::as_str)
        .collect();
    assert_eq!(prefixes, prefix.into_iter().collect::<Vec<_>>());

    let copy = FolderCopy {
        target: TargetFolder::SameName,
        labels: Vec::new(),
        archive: false,
        copy_flags: true,
    };
    let rules = vec![FolderRule {
        source: SourceFolders::Name(name),
        copy: Some(copy),
    }];
    let target = TargetFolders {
        listing: &FolderListing::default(),
        is_gmail: true,
    };
    let plan = plan(&FolderConfig::Many(rules), &listing, target).unwrap();
    assert_eq!(plan.pairs[0].target, "Grüße \"& mehr\"");
}

fn the_status_of_folders_is_that_of_examine(server: &mut dyn SourceServer) {
    let [name, encoded] = server.other_folder();
    server.create(&encoded);
    server.deliver("INBOX", &mail(with_id("<a@b>", "s", "b")));
    for id in ["<c@d>", "<e@f>"] {
        server.deliver(&encoded, &mail(with_id(id, "s", "b")));
    }
    let (_, inbox) = server.open("INBOX");
    let (_, other) = server.open(&name);
    assert_eq!((inbox.exists, other.exists), (1, 2));
    let mut session = session(server);
    let found = session
        .status_of(&["inbox", &name, "a\nb", "no such folder"])
        .unwrap();
    assert_eq!(found[..2], [Ok(inbox), Ok(other)]);
    assert!(matches!(found[2], Err(CommandError::ConnectionLost(_))));
    assert!(matches!(found[3], Err(CommandError::No(_))), "{found:?}");
    let (listing, statuses) = session.list_folders_with_status().unwrap();
    assert!(names(&listing).contains(&name.as_str()));
    // Courier has no LIST-STATUS.
    if let Some(statuses) = statuses {
        assert_eq!(statuses.get("INBOX"), Some(&inbox));
        assert_eq!(statuses.get(&name), Some(&other));
    } else {
        assert!(name.starts_with("INBOX."));
    }
    session.logout();
}

#[test]
fn roles_in_german_a_dot_and_a_forbidden_folder_are_seen_with_and_without_extensions() {
    for without in [&[][..], &["LIST-STATUS"], &["LIST-EXTENDED", "LIST-STATUS"]] {
        let mut double = Double::with(SourceOptions {
            delimiter: '.',
            prefix: "INBOX.",
            forbidden: BTreeSet::from(["INBOX.Geheim".to_owned()]),
            without: without.iter().map(|&it| it.to_owned()).collect(),
            ..SourceOptions::default()
        });
        double.source().create_german_folders();
        double.create("INBOX.Geheim");
        double.deliver("INBOX", &mail(with_id("<a@b>", "s", "b")));
        let mut session = session(&double);
        let (listing, statuses) = session.list_folders_with_status().unwrap();
        let roles: Vec<(&str, bool)> = listing
            .folders
            .iter()
            .map(|folder| {
                let is_junk = folder.attributes.contains(&NameAttribute::Junk);
                (folder.name.as_str(), is_junk)
            })
            .collect();
        let expected = [
            ("INBOX", false),
            ("Entwürfe", false),
            ("Gesendet", false),
            ("Papierkorb", false),
            ("Spamverdacht", true),
            ("INBOX.Geheim", false),
        ];
        assert_eq!(roles, expected);
        assert_eq!(listing.personal_prefixes, ["INBOX."]);
        assert_eq!(statuses.is_some(), without.is_empty());
        if let Some(statuses) = statuses {
            assert_eq!(statuses.len(), 5, "{statuses:?}");
        }
        let found = session
            .status_of(&["INBOX.Geheim", "Spamverdacht"])
            .unwrap();
        let Err(error @ CommandError::No(_)) = &found[0] else {
            panic!("{found:?}");
        };
        assert!(error.to_string().contains("NOPERM"), "{error}");
        assert_eq!(found[1].as_ref().unwrap().exists, 0);
        session.logout();
    }
}

#[test]
fn a_folder_of_dovecot_that_may_only_be_seen_has_no_status_and_hides_no_other() {
    let more = if version().starts_with("2.3") {
        "mail_plugins = acl\nplugin {\n  acl = vfile\n}\n"
    } else {
        "mail_plugins {\n  acl = yes\n}\nacl_driver = vfile\n"
    };
    let mut dovecot = Dovecot::start_with(Settings {
        more: more.to_owned(),
        ..Settings::default()
    });
    for folder in ["Geheim", "Listen/rust", "Listen/imap"] {
        SourceServer::create(&mut dovecot, folder);
    }
    let acl = dovecot.mail_folder("alice").join(".Geheim/dovecot-acl");
    std::fs::write(&acl, "owner l\n").unwrap();
    std::fs::set_permissions(&acl, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut session = session(&dovecot);
    let (listing, statuses) = session.list_folders_with_status().unwrap();
    let statuses = statuses.expect("Dovecot has LIST-STATUS");
    let names = names(&listing);
    for folder in ["Geheim", "Listen/rust", "Listen/imap"] {
        assert!(names.contains(&folder), "{names:?}");
        assert_eq!(
            statuses.contains_key(folder),
            folder != "Geheim",
            "{folder}"
        );
    }
    let found = session.status_of(&["Geheim", "Listen/rust"]).unwrap();
    assert!(matches!(&found[0], Err(CommandError::No(_))), "{found:?}");
    assert!(found[1].is_ok(), "{found:?}");
    session.logout();
}
