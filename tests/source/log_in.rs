//! Log-ins at servers that take fewer forms than they announce, and that want to know the client.

use std::time::Duration;

use imap_to_gmail_sync::config::{Password, SourceConfig};
use imap_to_gmail_sync::error::{Error, ErrorKind};
use imap_to_gmail_sync::imap::{LoginForm, LoginHistory};
use imap_to_gmail_sync::message::{Mark, Uid, UidValidity};
use imap_to_gmail_sync::net::ConnectionOptions;
use imap_to_gmail_sync::secret::Secret;
use imap_to_gmail_sync::source::ImapSource;
use imap_to_gmail_sync::sync::Source;
use imap_to_gmail_sync::timeouts::Timeouts;

use crate::dovecot::{Dovecot, PASSWORD};
use crate::scripted_server::{LOG_IN, OPEN_INBOX, ScriptedServer, dialogue};

/// User `alice`, password `pw`.
const AT_ONCE: &str = "C: AUTHENTICATE PLAIN AGFsaWNlAHB3";
const TWO_STEPS: [&str; 3] = ["C: AUTHENTICATE PLAIN", "S: + ", "C: AGFsaWNlAHB3"];
const LOGIN: &str = "C: LOGIN \"alice\" \"pw\"";

const GREETING: &str = "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hello";
const NO_LOGIN: &str = "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR LOGINDISABLED] hello";
const REJECTED: &str = "S: $tag NO [AUTHENTICATIONFAILED] Authentication failed";

/// What follows the log-in.
fn opened() -> &'static [&'static str] {
    &OPEN_INBOX[3..]
}

fn config(server: &ScriptedServer) -> SourceConfig {
    SourceConfig {
        server: server.address(),
        user: "alice".to_owned(),
        password: Password::Given(Secret::new("pw".to_owned())),
        folder: "INBOX".to_owned(),
    }
}

fn open(server: &ScriptedServer) -> Result<ImapSource, Error> {
    let options = ConnectionOptions::default();
    open_with(server, options)
}

fn open_with(server: &ScriptedServer, options: ConnectionOptions) -> Result<ImapSource, Error> {
    let password = Secret::new("pw".to_owned());
    ImapSource::open(&config(server), password, options).map(|(source, _)| source)
}

#[test]
fn after_bad_the_next_form_is_tried_on_the_same_connection() {
    // As 163.com.
    let bad = "S: $tag BAD Request not ending with \\r\\n";
    let ok = "S: $login OK [CAPABILITY IMAP4rev1] in";
    let server = ScriptedServer::play(&[&[GREETING, AT_ONCE, bad], &TWO_STEPS, &[ok], opened()]);
    let source = open(&server).unwrap();
    assert_eq!(source.login_history().accepted, Some(LoginForm::TwoSteps));
    drop((source, server));

    // As QQ and Sina.
    let server = ScriptedServer::play(&[
        &[GREETING, AT_ONCE, "S: $tag BAD AUTHENTICATE with LOGIN"],
        &[
            "C: AUTHENTICATE PLAIN",
            "S: $tag BAD AUTHENTICATE with LOGIN",
        ],
        &[LOGIN, "S: $tag OK [CAPABILITY IMAP4rev1] in"],
        opened(),
    ]);
    let source = open(&server).unwrap();
    assert_eq!(
        source.login_history().accepted,
        Some(LoginForm::LoginCommand)
    );
}

#[test]
fn a_server_that_closes_the_connection_after_each_bad_is_asked_in_every_form() {
    let bad = "S: $tag BAD AUTHENTICATE with LOGIN";
    let server = ScriptedServer::play_all(vec![
        dialogue(&[&[GREETING, AT_ONCE, bad]]),
        dialogue(&[&[GREETING, "C: AUTHENTICATE PLAIN", bad]]),
        dialogue(&[
            &[GREETING, LOGIN, "S: $tag OK [CAPABILITY IMAP4rev1] in"],
            opened(),
        ]),
    ]);
    let accepted = open(&server).unwrap().login_history().accepted;
    assert_eq!(accepted, Some(LoginForm::LoginCommand));
}

#[test]
fn dovecot_takes_a_password_that_is_not_ascii_by_login() {
    let dovecot = Dovecot::start();
    let config = SourceConfig {
        server: dovecot.server(),
        user: "alice".to_owned(),
        password: Password::Given(Secret::new(PASSWORD.to_owned())),
        folder: "INBOX".to_owned(),
    };
    let history = LoginHistory {
        accepted: Some(LoginForm::LoginCommand),
        is_rejected: false,
        ..LoginHistory::default()
    };
    let password = Secret::new(PASSWORD.to_owned());
    let options = ConnectionOptions::default();
    let (source, _) =
        ImapSource::open_with_history(&config, password, options, history, None).unwrap();
    assert_eq!(
        source.login_history().accepted,
        Some(LoginForm::LoginCommand)
    );
    source.logout();
}

#[test]
fn a_disabled_login_command_is_not_sent() {
    let bad = "S: $tag BAD AUTHENTICATE with LOGIN";
    let server =
        ScriptedServer::play(&[&[NO_LOGIN, AT_ONCE, bad, "C: AUTHENTICATE PLAIN", bad, "C: "]]);
    let error = open(&server).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(
        error.to_string().contains("AUTHENTICATE with LOGIN"),
        "{error}"
    );
}

#[test]
fn an_unsupported_mechanism_is_followed_by_another_form() {
    let no = "S: $tag NO AUTHENTICATE mechanism not supported, mate";
    let server = ScriptedServer::play(&[
        &[GREETING, AT_ONCE, no, "C: AUTHENTICATE PLAIN", no],
        &[LOGIN, "S: $tag OK [CAPABILITY IMAP4rev1] in"],
        opened(),
    ]);
    open(&server).unwrap();
}

#[test]
fn after_no_to_the_first_response_the_two_steps_are_tried_once() {
    // As iCloud: on the same connection, or on another because the server has closed it.
    let ok = "S: $login OK [CAPABILITY IMAP4rev1] in";
    let server =
        ScriptedServer::play(&[&[GREETING, AT_ONCE, REJECTED], &TWO_STEPS, &[ok], opened()]);
    assert_eq!(
        open(&server).unwrap().login_history().accepted,
        Some(LoginForm::TwoSteps)
    );
    drop(server);
    let server = ScriptedServer::play_all(vec![
        dialogue(&[&[GREETING, AT_ONCE, REJECTED]]),
        dialogue(&[&[GREETING], &TWO_STEPS, &[ok], opened()]),
    ]);
    assert_eq!(
        open(&server).unwrap().login_history().accepted,
        Some(LoginForm::TwoSteps)
    );
    drop(server);

    // A wrong password: no third attempt, neither by LOGIN nor on another connection.
    let no = "S: $login NO [AUTHENTICATIONFAILED] Authentication failed";
    let server = ScriptedServer::play(&[&[GREETING, AT_ONCE, REJECTED], &TWO_STEPS, &[no, "C: "]]);
    let error = open(&server).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert!(
        error
            .to_string()
            .contains("correct source_user or source_pass"),
        "{error}"
    );
}

#[test]
fn a_cause_that_the_server_names_ends_the_log_in_at_once() {
    for (response, kind, remedy) in [
        (
            "S: $tag NO Basic authentication is disabled.\r\n* BYE bye",
            ErrorKind::Rejected,
            "docs/oauth-sources.md",
        ),
        (
            "S: $tag NO [AUTHORIZATIONFAILED] IMAP access is disabled for this account",
            ErrorKind::Rejected,
            "may not use IMAP",
        ),
        (
            "S: $tag NO [LIMIT] slowly",
            ErrorKind::Unavailable,
            "limits log-ins",
        ),
        (
            "S: $tag NO [AUTHORIZATIONFAILED] IMAP is not supported for this account",
            ErrorKind::Rejected,
            "may not do this",
        ),
        (
            "S: $tag BAD LogonDenied-BasicAuthBlocked",
            ErrorKind::Rejected,
            "docs/oauth-sources.md",
        ),
        (
            "S: $tag BAD Too many log-ins",
            ErrorKind::Unavailable,
            "limits log-ins",
        ),
    ] {
        let server = ScriptedServer::play(&[&[GREETING, AT_ONCE, response, "C: "]]);
        let error = open(&server).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(remedy), "{error}");
    }
}

#[test]
fn the_form_that_worked_is_used_for_the_next_connection() {
    let bad = "S: $tag BAD AUTHENTICATE with LOGIN";
    let ok = "S: $tag OK [CAPABILITY IMAP4rev1] in";
    let server = ScriptedServer::play_all(vec![
        dialogue(&[
            &[
                GREETING,
                AT_ONCE,
                bad,
                "C: AUTHENTICATE PLAIN",
                bad,
                LOGIN,
                ok,
            ],
            opened(),
        ]),
        dialogue(&[&[GREETING, LOGIN, ok], opened()]),
        // A password that worked and is rejected now is not sent twice.
        dialogue(&[&[
            GREETING,
            LOGIN,
            "C: EXAMINE \"INBOX\"",
            "S: $login NO [AUTHENTICATIONFAILED] Authentication failed",
            "C: ",
        ]]),
    ]);
    let mut source = open(&server).unwrap();
    source.check_for_mail().unwrap();
    // The connection of that check is closed, too, and is not replaced at once.
    let _ = source.check_for_mail().unwrap_err();
    let error = source.check_for_mail().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
}

#[test]
fn a_server_that_announces_id_after_the_log_in_gets_it_before_the_folder_is_opened() {
    let ok = "S: $tag OK [CAPABILITY IMAP4rev1 ID] in";
    let id = [
        "C: ID (\"name\" \"imap-to-gmail-sync\" \"version\" \"*",
        "S: * ID NIL",
        "S: $tag OK done",
    ];
    let server = ScriptedServer::play(&[&LOG_IN[..2], &[ok], &id, opened()]);
    open(&server).unwrap();
    drop(server);

    // Whatever the server responds to it, the folder decides.
    for response in [
        "S: $tag BAD Parse command error",
        "S: $tag NO no",
        "S: * ID ((((\r\n$tag OK",
    ] {
        let server = ScriptedServer::play(&[&LOG_IN[..2], &[ok, id[0], response], opened()]);
        open(&server).unwrap();
    }

    // The capabilities after the log-in come only when asked for.
    let refused = "S: $tag NO EXAMINE Unsafe Login. Please contact kefu@188.com for help";
    let server = ScriptedServer::play(&[
        &LOG_IN[..2],
        &["S: $tag OK in", OPEN_INBOX[3], refused],
        &[
            "C: CAPABILITY",
            "S: * CAPABILITY IMAP4rev1 ID",
            "S: $tag OK done",
        ],
        &id,
        opened(),
    ]);
    open(&server).unwrap();
}

#[test]
fn a_server_that_loses_what_comes_with_the_id_is_asked_again_without_a_pipeline() {
    let ok = "S: $tag OK [CAPABILITY IMAP4rev1 ID] in";
    let server = ScriptedServer::play_all(vec![
        dialogue(&[
            &LOG_IN[..2],
            &[ok, "C: ID (*", "S: $tag OK done", "silence"],
        ]),
        dialogue(&[
            &LOG_IN[..2],
            &[ok, "C: ID (*", "alone", "S: $tag OK done"],
            opened(),
        ]),
    ]);
    let options = ConnectionOptions::from(Timeouts {
        response: Duration::from_millis(500),
        ..Timeouts::default()
    });
    let source = open_with(&server, options).unwrap();
    assert!(source.login_history().loses_pipelined_commands);
}

/// Opens with what a log-in before has taught: it was accepted in this form.
fn open_again(server: &ScriptedServer, accepted: LoginForm) -> Result<ImapSource, Error> {
    open_with_history(server, accepted_before(accepted), None)
}

fn accepted_before(form: LoginForm) -> LoginHistory {
    LoginHistory {
        accepted: Some(form),
        ..LoginHistory::default()
    }
}

fn open_with_history(
    server: &ScriptedServer,
    history: LoginHistory,
    new_since: Option<Mark>,
) -> Result<ImapSource, Error> {
    let options = ConnectionOptions::from(Timeouts {
        response: Duration::from_millis(500),
        ..Timeouts::default()
    });
    let password = Secret::new("pw".to_owned());
    let opened =
        ImapSource::open_with_history(&config(server), password, options, history, new_since);
    opened.map(|(source, _)| source)
}

const GREETING_WITH_ID: &str = "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR ID] hello";
const IN: &str = "S: $login OK [CAPABILITY IMAP4rev1 ID] in";

/// The folder is opened after the log-in was answered.
fn opened_carefully() -> Vec<&'static str> {
    let log_in = [
        GREETING,
        AT_ONCE,
        "alone",
        "S: $login OK [CAPABILITY IMAP4rev1] in",
    ];
    [&log_in, opened()].concat()
}

#[test]
fn behind_a_log_in_that_is_known_to_succeed_the_folder_is_opened_in_the_same_write() {
    // The server answers nothing before it has read all.
    let cases = [
        (LoginForm::InitialResponse, AT_ONCE),
        (LoginForm::LoginCommand, LOGIN),
    ];
    for (form, log_in) in cases {
        let together = [
            GREETING_WITH_ID,
            log_in,
            "C: ID (*",
            "C: EXAMINE \"INBOX\"",
            IN,
        ];
        let server = ScriptedServer::play(&[&together, &opened()[1..]]);
        let source = open_again(&server, form).unwrap();
        assert_eq!(source.login_history().accepted, Some(form));
        assert!(!source.login_history().loses_pipelined_commands);
    }
}

#[test]
fn nothing_follows_a_first_log_in_or_one_in_two_steps() {
    let server = ScriptedServer::play(&[&opened_carefully()]);
    open(&server).unwrap();
    drop(server);
    let server = ScriptedServer::play(&[
        &[
            GREETING,
            TWO_STEPS[0],
            "alone",
            TWO_STEPS[1],
            TWO_STEPS[2],
            "alone",
        ],
        &["S: $login OK [CAPABILITY IMAP4rev1] in"],
        opened(),
    ]);
    open_again(&server, LoginForm::TwoSteps).unwrap();
}

#[test]
fn a_rejected_password_is_sent_once_with_a_pipeline_too() {
    let server = ScriptedServer::play(&[
        &[GREETING, AT_ONCE, "C: EXAMINE \"INBOX\""],
        &[
            "S: $login NO [AUTHENTICATIONFAILED] Authentication failed",
            "S: $tag BAD log in first",
            "C: ",
        ],
    ]);
    let error = open_again(&server, LoginForm::InitialResponse).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
}

#[test]
fn what_goes_wrong_in_a_pipelined_log_in_is_done_again_without_the_pipeline() {
    let ok = "S: $login OK [CAPABILITY IMAP4rev1] in";
    let challenged = [&["S: + go on", ok], &opened()[1..]].concat();
    let cases: [(&[&str], bool); 7] = [
        // The client sends nothing more, whatever comes.
        (&challenged, true),
        (&[ok, "S: * BYE what was that"], true),
        (&["S: $login BAD one command at a time"], true),
        (&[ok, "S: garbage"], true),
        // A network fault looks the same.
        (&[ok, "silence"], false),
        (&[ok], false),
        (&[], false),
    ];
    for (case, is_proof) in cases {
        let server = ScriptedServer::play_all(vec![
            dialogue(&[&[GREETING, AT_ONCE, "C: EXAMINE \"INBOX\""], case]),
            dialogue(&[&opened_carefully()]),
        ]);
        let source = open_again(&server, LoginForm::InitialResponse).unwrap();
        let learned = source.login_history();
        assert_eq!(learned.loses_pipelined_commands, is_proof, "{case:?}");
        assert_eq!(learned.pipeline_broke, !is_proof, "{case:?}");
    }

    // On the same connection.
    let server = ScriptedServer::play(&[
        &[
            GREETING,
            AT_ONCE,
            "C: EXAMINE \"INBOX\"",
            ok,
            "S: $tag NO too early",
        ],
        opened(),
    ]);
    let source = open_again(&server, LoginForm::InitialResponse).unwrap();
    assert!(source.login_history().loses_pipelined_commands);
}

#[test]
fn a_cause_that_the_server_names_behind_a_pipelined_log_in_is_no_reason_to_log_in_again() {
    let server = ScriptedServer::play(&[&[
        GREETING,
        AT_ONCE,
        "C: EXAMINE \"INBOX\"",
        "S: $login OK [CAPABILITY IMAP4rev1] in",
        "S: * BYE Too many simultaneous connections",
        "closed",
    ]]);
    let error = open_again(&server, LoginForm::InitialResponse).unwrap_err();
    assert!(error.to_string().contains("simultaneous"), "{error}");
}

#[test]
fn a_source_loses_pipelined_commands_if_two_pipelined_log_ins_in_a_row_break() {
    let ok = "S: $login OK [CAPABILITY IMAP4rev1] in";
    let breaks: [&[&str]; 3] = [&[], &[ok], &[ok, "silence"]];
    let pipelined = [GREETING, AT_ONCE, "C: EXAMINE \"INBOX\""];
    for case in breaks {
        let server = ScriptedServer::play_all(vec![
            dialogue(&[&pipelined, case]),
            dialogue(&[&opened_carefully()]),
            dialogue(&[&pipelined, &[ok], &opened()[1..]]),
            dialogue(&[&pipelined, case]),
            dialogue(&[&opened_carefully()]),
            dialogue(&[&pipelined, case]),
            dialogue(&[&opened_carefully()]),
            dialogue(&[&opened_carefully()]),
        ]);
        let mut history = accepted_before(LoginForm::InitialResponse);
        let mut learned = Vec::new();
        for _ in 0..5 {
            let source = open_with_history(&server, history, None).unwrap();
            history = source.login_history();
            learned.push((history.pipeline_broke, history.loses_pipelined_commands));
        }
        let (broke, works, loses) = ((true, false), (false, false), (false, true));
        assert_eq!(learned, [broke, works, broke, loses, loses], "{case:?}");
    }
}

/// UIDVALIDITY 7, and UIDs from 3 on are new: of them 3 and 4 exist.
fn new_since_3() -> Mark {
    Mark {
        uid_validity: UidValidity::new(7).unwrap(),
        uid_next: Uid::new(3).unwrap(),
    }
}

/// The log-in is the command `a1`, the EXAMINE `a2` and the listing `a3`.
const ALL_AT_ONCE: [&str; 4] = [
    GREETING,
    AT_ONCE,
    "C: EXAMINE \"INBOX\"",
    "C: UID FETCH 3:202 (UID RFC822.SIZE INTERNALDATE FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE \
     FROM SUBJECT)])",
];
const OK: &str = "S: a1 OK [CAPABILITY IMAP4rev1] in";
const EXISTS: &str = "S: * 4 EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\n* OK [UIDNEXT 5] next";
const EXAMINED: &str = "S: a2 OK opened";
const LISTED: &str = "S: a3 OK listed";

/// An entry of a listing. The size is above 1000 if it is not the entry that counts.
fn entry(uid: u32, size: u32) -> String {
    format!(
        "S: * {uid} FETCH (UID {uid} RFC822.SIZE {size} FLAGS () INTERNALDATE NIL \
         BODY[HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)] \"Message-ID: <{uid}@x>\")"
    )
}

/// Opens and lists what is new; the sizes that were listed, and what was learned.
fn list_new(server: &ScriptedServer) -> (Vec<(u32, u64)>, LoginHistory) {
    let history = accepted_before(LoginForm::InitialResponse);
    let mut source = open_with_history(server, history, Some(new_since_3())).unwrap();
    let listed = source.list(&"3:4".parse().unwrap()).unwrap().into_iter();
    let listed = listed.map(|listed| (listed.uid.get(), listed.size));
    let listed = listed.collect();
    let learned = source.login_history();
    source.logout();
    (listed, learned)
}

#[test]
fn behind_a_log_in_new_mail_is_listed_in_the_same_write() {
    let (third, fourth) = (entry(3, 30), entry(4, 40));
    // Others came meanwhile, or are those of a change of flags.
    let others = [entry(2, 1020), entry(5, 1050), entry(202, 1202)];
    let server = ScriptedServer::play(&[
        &ALL_AT_ONCE,
        &[OK, EXISTS, EXAMINED, &others[0], &third, &fourth],
        &[&others[1], &others[2], "S: * 5 FETCH (FLAGS ())", LISTED],
        &["C: LOGOUT"],
    ]);
    let (listed, learned) = list_new(&server);
    assert_eq!(listed, [(3, 30), (4, 40)]);
    assert_eq!(learned, accepted_before(LoginForm::InitialResponse));
}

#[test]
fn what_was_listed_ahead_and_may_be_wrong_is_listed_again() {
    let (early, late) = (entry(3, 1030), entry(4, 1040));
    let (early, late) = (early.as_str(), late.as_str());
    let status = [
        "C: STATUS \"INBOX\" (UIDNEXT)",
        "S: * STATUS INBOX (UIDNEXT 5)\r\n$tag OK",
    ];
    let (bare, other) = (
        "S: * 4 EXISTS\r\n* OK [UIDVALIDITY 7] x",
        "S: * 4 EXISTS\r\n* OK [UIDVALIDITY 8] x\r\n* OK [UIDNEXT 5] x",
    );
    let again = ["C: EXAMINE \"INBOX\"", "alone", EXISTS, "S: $tag OK opened"];
    let asked_uid_next = [&status, again.as_slice()].concat();
    let cases: [(&str, &[&str], &[&str], bool); 10] = [
        (
            "before the OK",
            &[EXISTS, early, late, EXAMINED, LISTED],
            &[],
            false,
        ),
        (
            "before all",
            &[early, late, EXISTS, EXAMINED, LISTED],
            &[],
            false,
        ),
        ("NO", &[EXISTS, EXAMINED, early, "S: a3 NO no"], &[], false),
        (
            "BAD",
            &[EXISTS, EXAMINED, early, late, "S: a3 BAD what"],
            &[],
            true,
        ),
        (
            "UIDVALIDITY",
            &[other, EXAMINED, early, late, LISTED],
            &[],
            false,
        ),
        (
            "no UIDNEXT",
            &[bare, EXAMINED, early, late, LISTED],
            &asked_uid_next,
            false,
        ),
        (
            "reversed",
            &[EXISTS, early, late, LISTED, EXAMINED],
            &again,
            true,
        ),
        (
            "reversed in part",
            &[early, late, LISTED, EXISTS, EXAMINED],
            &again,
            true,
        ),
        (
            "late",
            &[EXAMINED, EXISTS, early, late, LISTED],
            &again,
            true,
        ),
        (
            "rejected",
            &["S: a2 NO wait", early, late, LISTED],
            &again,
            true,
        ),
    ];
    let (third, fourth) = (entry(3, 30), entry(4, 40));
    let listing = ["C: UID FETCH 3:4 *", "alone", &third, &fourth, "S: $tag OK"];
    for (case, answer, then, loses_pipelined_commands) in cases {
        let end = ["C: LOGOUT", "S: $tag OK"];
        let server = ScriptedServer::play(&[&ALL_AT_ONCE, &[OK], answer, then, &listing, &end]);
        let (listed, learned) = list_new(&server);
        assert_eq!(listed, [(3, 30), (4, 40)], "{case}");
        let expected = LoginHistory {
            loses_pipelined_commands,
            ..accepted_before(LoginForm::InitialResponse)
        };
        assert_eq!(learned, expected, "{case}");
    }
}

#[test]
fn a_listing_ahead_that_breaks_the_connection_is_made_again_on_another() {
    let third = entry(3, 1030);
    let garbage = "S: a3 whatever";
    let cases: [(&[&str], bool); 4] = [
        (&[&third], false),
        (&[&third, "silence"], false),
        (&[&third, garbage], true),
        (&[&third, "S: + go on", "silence"], false),
    ];
    let (third, fourth) = (entry(3, 30), entry(4, 40));
    let listing = ["C: UID FETCH 3:4 *", "alone", &third, &fourth, "S: $tag OK"];
    for (case, is_proof) in cases {
        let server = ScriptedServer::play_all(vec![
            dialogue(&[&ALL_AT_ONCE, &[OK, EXISTS, EXAMINED], case]),
            dialogue(&[&opened_carefully(), &listing, &["C: LOGOUT"]]),
        ]);
        let (listed, learned) = list_new(&server);
        assert_eq!(listed, [(3, 30), (4, 40)], "{case:?}");
        assert_eq!(learned.loses_pipelined_commands, is_proof, "{case:?}");
    }
}

#[test]
fn messages_beyond_the_listing_ahead_are_listed_the_ordinary_way() {
    let uid_next = "S: * 4 EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\n* OK [UIDNEXT 300] next";
    let (third, highest, beyond) = (entry(3, 30), entry(202, 20), entry(203, 23));
    let server = ScriptedServer::play(&[
        &ALL_AT_ONCE,
        &[OK, uid_next, EXAMINED, &third, &highest, LISTED],
        &["C: UID FETCH 203:204 *", &beyond, "S: $tag OK"],
        // A second listing is up to date.
        &["C: UID FETCH 3 *", &third, "S: $tag OK"],
    ]);
    let history = accepted_before(LoginForm::InitialResponse);
    let mut source = open_with_history(&server, history, Some(new_since_3())).unwrap();
    let mut list = |uids: &str| {
        let listed = source.list(&uids.parse().unwrap()).unwrap();
        listed
            .iter()
            .map(|listed| listed.uid.get())
            .collect::<Vec<_>>()
    };
    assert_eq!(list("3:4,202:204"), [3, 202, 203]);
    assert_eq!(list("3"), [3]);
}

#[test]
fn a_message_that_was_listed_ahead_and_came_after_the_folder_was_opened_is_listed_again() {
    let (third, fourth) = (entry(3, 30), entry(4, 40));
    let (early, fifth) = (entry(5, 1050), entry(5, 50));
    let server = ScriptedServer::play(&[
        &ALL_AT_ONCE,
        &[OK, EXISTS, EXAMINED, &third, &fourth, &early, LISTED],
        &["C: UID FETCH 5 *", &fifth, "S: $tag OK"],
    ]);
    let history = accepted_before(LoginForm::InitialResponse);
    let mut source = open_with_history(&server, history, Some(new_since_3())).unwrap();
    let listed = source.list(&"3:5".parse().unwrap()).unwrap();
    let sizes: Vec<u64> = listed.iter().map(|listed| listed.size).collect();
    assert_eq!(sizes, [30, 40, 50]);
}

#[test]
fn dovecot_lists_new_mail_with_the_log_in() {
    let dovecot = Dovecot::start();
    let mut alice = dovecot.client("alice");
    for id in ["<1@x>", "<2@x>", "<3@x>"] {
        let message = format!("Message-ID: {id}\r\n\r\nbody\r\n");
        alice.append("INBOX", "", "", message.as_bytes());
    }
    let config = SourceConfig {
        server: dovecot.server(),
        user: "alice".to_owned(),
        password: Password::Given(Secret::new(PASSWORD.to_owned())),
        folder: "INBOX".to_owned(),
    };
    let open = |history, new_since| {
        let password = Secret::new(PASSWORD.to_owned());
        let options = ConnectionOptions::default();
        ImapSource::open_with_history(&config, password, options, history, new_since).unwrap()
    };
    let (source, mailbox) = open(LoginHistory::default(), None);
    let mark = Mark {
        uid_validity: mailbox.uid_validity,
        uid_next: Uid::new(2).unwrap(),
    };
    let (mut source, _) = open(source.login_history(), Some(mark));
    // It is not asked again.
    drop(dovecot);
    let listed = source.list(&"2:3".parse().unwrap()).unwrap().into_iter();
    let ids: Vec<String> = listed
        .map(|listed| listed.identity.id.unwrap().as_str().to_owned())
        .collect();
    assert_eq!(ids, ["<2@x>", "<3@x>"]);
}
