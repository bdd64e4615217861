//! How any listing of folders is taken: what servers announce, reject and send.

use imap_to_gmail_sync::imap::{CommandError, Credentials, Login, NameAttribute, Session};
use imap_to_gmail_sync::net::{ConnectionOptions, Trust};
use imap_to_gmail_sync::secret::Secret;

use crate::scripted_server::ScriptedServer;

const GREETING: &str = "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hello";
const EXTENDED: &str =
    "S: $tag OK [CAPABILITY IMAP4rev1 LIST-EXTENDED SPECIAL-USE LIST-STATUS NAMESPACE] in";
const PLAIN: &str = "S: $tag OK [CAPABILITY IMAP4rev1 SPECIAL-USE LIST-STATUS] in";
const LOG_OUT: [&str; 2] = ["C: LOGOUT", "S: $tag OK bye"];

fn session(server: &ScriptedServer) -> Session {
    let login = Login {
        user: "alice".to_owned(),
        credentials: Credentials::Password(Secret::new("secret".to_owned())),
    };
    let server = server.address();
    let trust = Trust::for_server(&server).unwrap();
    Session::open(&server, &trust, &ConnectionOptions::default(), &login).unwrap()
}

fn play(capabilities: &str, steps: &[&str]) -> (ScriptedServer, Session) {
    let log_in = [GREETING, "C: AUTHENTICATE PLAIN*", capabilities];
    let server = ScriptedServer::play(&[&log_in, steps]);
    let session = session(&server);
    (server, session)
}

const WITH_STATUS: &str =
    "C: LIST \"\" \"*\" RETURN (SPECIAL-USE STATUS (UIDNEXT UIDVALIDITY MESSAGES))";

const WITHOUT_STATUS: &str = "C: LIST \"\" \"*\" RETURN (SPECIAL-USE)";

#[test]
fn folders_prefixes_and_statuses_come_in_one_round_trip_and_may_be_literals() {
    let (_server, mut session) = play(
        EXTENDED,
        &[
            WITH_STATUS,
            "C: NAMESPACE",
            "R: * LIST (\\HasNoChildren) \".\" {5}\r\ninbox\r\n",
            "R: * STATUS {5}\r\ninbox (UIDNEXT 5 UIDVALIDITY 7 MESSAGES 3)\r\n",
            "S: * LIST (\\HasNoChildren \\Junk) \".\" \"INBOX.Gr&APwA3w-e\"",
            "S: * LIST (\\Noselect) \".\" {13}",
            "S: * LIST () x y",
            // The rest of a response may come after the tagged one that it belongs to.
            "S: a2 OK listed",
            "S: * LIST () \".\" late",
            "S: * NAMESPACE ((\"INBOX.\" \".\")) NIL NIL",
            "S: $tag OK named",
            LOG_OUT[0],
            LOG_OUT[1],
        ],
    );
    let (listing, statuses) = session.list_folders_with_status().unwrap();
    let names: Vec<&str> = listing.folders.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["INBOX", "INBOX.Grüße", "* LIST () x y", "late"]);
    assert_eq!(listing.personal_prefixes, ["INBOX."]);
    let statuses = statuses.unwrap();
    assert_eq!(statuses.len(), 1);
    let inbox = statuses.get("INBOX").unwrap();
    assert_eq!(
        (inbox.uid_validity.get(), inbox.uid_next.get(), inbox.exists),
        (7, 5, 3)
    );
    session.logout();
}

#[test]
fn a_server_that_rejects_what_it_announces_gets_a_plain_list() {
    let (_server, mut session) = play(
        EXTENDED,
        &[
            WITH_STATUS,
            "C: NAMESPACE",
            "S: a2 BAD what",
            "S: $tag NO what",
            WITHOUT_STATUS,
            "S: $tag BAD what",
            "C: LIST \"\" \"*\"",
            "S: * LIST (\\Sent) NIL Sent",
            "S: $tag OK listed",
            LOG_OUT[0],
            LOG_OUT[1],
        ],
    );
    let (listing, statuses) = session.list_folders_with_status().unwrap();
    assert_eq!(listing.folders.len(), 1);
    assert_eq!(listing.folders[0].delimiter, None);
    assert_eq!(listing.personal_prefixes, Vec::<String>::new());
    assert_eq!(statuses, None);
    session.logout();
}

#[test]
fn a_server_that_rejects_only_the_statuses_still_tells_the_roles() {
    let (_server, mut session) = play(
        EXTENDED,
        &[
            WITH_STATUS,
            "C: NAMESPACE",
            "S: a2 NO [LIMIT] busy",
            "S: $tag OK named",
            WITHOUT_STATUS,
            "S: * LIST (\\Trash) \"/\" Papierkorb",
            "S: $tag OK listed",
            LOG_OUT[0],
            LOG_OUT[1],
        ],
    );
    let (listing, statuses) = session.list_folders_with_status().unwrap();
    assert_eq!(listing.folders[0].attributes, [NameAttribute::Trash]);
    assert_eq!(statuses, None);
    session.logout();
}

#[test]
fn without_list_extended_statuses_are_asked_for_in_one_packet() {
    let (_server, mut session) = play(
        PLAIN,
        &[
            "C: LIST \"\" \"*\"",
            "S: * LIST () \"/\" a",
            "S: $tag OK listed",
            "C: STATUS \"a\" (UIDNEXT UIDVALIDITY MESSAGES)",
            "C: STATUS \"b\" (UIDNEXT UIDVALIDITY MESSAGES)",
            "C: STATUS \"c\" (UIDNEXT UIDVALIDITY MESSAGES)",
            // In any order, and without its UIDNEXT.
            "S: * STATUS c (MESSAGES 1 UIDVALIDITY 2)",
            "S: * STATUS a (MESSAGES 1 UIDVALIDITY 2 UIDNEXT 3)",
            "S: a3 OK one",
            "S: a4 NO [NOPERM] no",
            "S: a5 OK three",
            LOG_OUT[0],
            LOG_OUT[1],
        ],
    );
    assert_eq!(session.list_folders().unwrap().folders.len(), 1);
    let found = session.status_of(&["a", "b", "c"]).unwrap();
    assert_eq!(found[0].as_ref().unwrap().uid_next.get(), 3);
    assert!(matches!(&found[1], Err(CommandError::No(text)) if text.text == "no"));
    assert!(matches!(found[2], Err(CommandError::ConnectionLost(_))));
    session.logout();
}

#[test]
fn ten_thousand_folders_are_enough() {
    let lines: Vec<String> = (0..10_001)
        .map(|n| format!("* LIST () \"/\" f{n}\r\n"))
        .collect();
    let folders = format!("R: {}", lines.concat());
    let (_server, mut session) = play(
        PLAIN,
        &["C: LIST \"\" \"*\"", &folders, "S: $tag OK listed"],
    );
    let error = session.list_folders().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server lists more than 10,000 folders"
    );
}
