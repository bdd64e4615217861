//! Opening and closing sessions: TLS in every mode, certificates, log-ins, responses to APPEND, log-outs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::thread;

use imap_to_gmail_sync::config::{Server, TlsMode};
use imap_to_gmail_sync::error::{Error, ErrorKind};
use imap_to_gmail_sync::imap::{
    CommandError, Credentials, Login, MailboxName, NameAttribute, OpenError, Session,
};
use imap_to_gmail_sync::net::{ConnectionOptions, Trust};
use imap_to_gmail_sync::secret::Secret;

use crate::dovecot::{Certificate, Dovecot, Introspection, PASSWORD, Settings};
use crate::scripted_server::{LOG_IN, ScriptedServer, loopback};

fn dovecot_with(certificate: Certificate) -> Dovecot {
    Dovecot::start_with(Settings {
        certificate: Some(certificate),
        ..Settings::default()
    })
}

fn open_error(server: &Server) -> String {
    let error = Error::from(open(server).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    error.to_string()
}

fn open(server: &Server) -> Result<Session, OpenError> {
    let login = Login {
        user: "alice".to_owned(),
        credentials: Credentials::Password(Secret::new(PASSWORD.to_owned())),
    };
    let trust = Trust::for_server(server).unwrap();
    Session::open(server, &trust, &ConnectionOptions::default(), &login)
}

#[test]
fn a_session_opens_over_tls_by_starttls_and_in_plain_text_to_loopback() {
    let dovecot = Dovecot::start();
    for server in [
        dovecot.server(),
        dovecot.server_by_starttls(),
        dovecot.server_in_plain_text(),
    ] {
        let mut session = open(&server).unwrap();
        let inbox = session.examine("INBOX").unwrap();
        assert_eq!(inbox.exists, 0);
        session.logout();
    }
}

#[test]
fn a_valid_bearer_token_opens_a_session_and_an_invalid_one_is_rejected() {
    let introspection = Introspection::start();
    introspection.issue("ya29.good/token+1", "alice@example.com");
    introspection.issue("ya29.other", "bob@example.com");
    let dovecot = Dovecot::start_target(&introspection);
    let server = dovecot.server();
    let trust = Trust::for_server(&server).unwrap();
    let open = |token: &str| {
        let login = Login {
            user: "alice@example.com".to_owned(),
            credentials: Credentials::AccessToken(Secret::new(token.to_owned())),
        };
        Session::open(&server, &trust, &ConnectionOptions::default(), &login)
    };

    let mut session = open("ya29.good/token+1").unwrap();
    let folders = session.list().unwrap();
    let all = folders
        .iter()
        .find(|folder| folder.attributes.contains(&NameAttribute::All))
        .unwrap();
    assert_eq!(all.name, "[Gmail]/Alle Nachrichten");
    assert!(session.capabilities().unwrap().has("UIDPLUS"));
    session.logout();

    for token in ["ya29.unknown", "ya29.other"] {
        let Err(OpenError::Login { failure, error }) = open(token) else {
            panic!("{token} opens a session");
        };
        assert_eq!(error.kind(), ErrorKind::Rejected, "{failure:?}");
        assert!(!error.to_string().contains("ya29"), "{error}");
    }
    introspection.revoke("ya29.good/token+1");
    assert!(introspection.requests() >= 3);
}

#[test]
fn a_certificate_of_a_private_authority_is_accepted_for_its_name_only() {
    let dovecot = dovecot_with(Certificate::signed_by_authority(&["mail.example.com"]));
    let server = dovecot.server();
    let named = Server {
        tls_name: "mail.example.com".to_owned(),
        ..server.clone()
    };
    open(&named).unwrap().logout();
    open(&Server {
        tls: TlsMode::StartTls,
        port: dovecot.server_by_starttls().port,
        ..named
    })
    .unwrap()
    .logout();

    let error = open_error(&server);
    assert!(error.contains("not for localhost"), "{error}");
    assert!(error.contains("source_tls_name"), "{error}");
}

#[test]
fn a_pinned_certificate_is_accepted_whatever_its_flags_and_names() {
    let dovecot = dovecot_with(Certificate::self_signed_like_openssl());
    open(&dovecot.server()).unwrap().logout();

    // Another server with an equal certificate but another key.
    let other = dovecot_with(Certificate::self_signed_like_openssl());
    let server = Server {
        ca_file: Some(dovecot.ca_file()),
        ..other.server()
    };
    open_error(&server);
}

#[test]
fn an_expired_certificate_is_rejected_even_if_it_is_pinned() {
    let dovecot = dovecot_with(Certificate::expired(&["localhost"]));
    let error = open_error(&dovecot.server());
    assert!(error.contains("expired"), "{error}");
}

#[test]
fn the_system_roots_do_not_accept_a_private_server() {
    let dovecot = Dovecot::start();
    let server = Server {
        ca_file: None,
        ..dovecot.server()
    };
    let error = open_error(&server);
    assert!(error.contains("source_ca_file"), "{error}");
}

#[test]
fn a_certificate_may_name_an_address() {
    let dovecot = Dovecot::start();
    let server = Server {
        tls_name: "127.0.0.1".to_owned(),
        ..dovecot.server()
    };
    open(&server).unwrap().logout();
}

#[test]
fn a_ca_file_without_certificates_is_a_configuration_error() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("ca.pem");
    let texts = [
        "",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ];
    for text in texts {
        std::fs::write(&file, text).unwrap();
        let Err(error) = Trust::load(Some(&file)) else {
            panic!("{text:?} is taken for certificates");
        };
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}

#[test]
fn plain_text_is_allowed_to_loopback_only() {
    let server = Server {
        // A documentation address (RFC 5737); nothing is sent there.
        host: "192.0.2.1".to_owned(),
        port: 143,
        tls: TlsMode::None,
        tls_name: String::new(),
        ca_file: None,
    };
    let error = Error::from(open(&server).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[test]
fn a_closed_port_and_an_unknown_name_are_reported() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let closed = Server {
        host: "localhost".to_owned(),
        port,
        tls: TlsMode::None,
        tls_name: String::new(),
        ca_file: None,
    };
    assert!(open_error(&closed).contains("connection refused"));
    let unknown = Server {
        host: "no-such-host.invalid".to_owned(),
        ..closed
    };
    open_error(&unknown);
}

fn starttls(dialogue: &[&str]) -> String {
    let server = ScriptedServer::play(&[dialogue]);
    let dovecot_like = Certificate::self_signed(&["localhost"]);
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, dovecot_like.authority).unwrap();
    open_error(&Server {
        tls: TlsMode::StartTls,
        ca_file: Some(file),
        ..server.address()
    })
}

#[test]
fn starttls_is_required_and_no_input_is_accepted_before_the_handshake() {
    let refused = starttls(&[
        "S: * OK [CAPABILITY IMAP4rev1 STARTTLS] hello",
        "C: CAPABILITY",
        "S: * CAPABILITY IMAP4rev1",
        "S: $tag OK",
    ]);
    assert!(refused.contains("does not offer it"), "{refused}");
    let refused = starttls(&["S: * PREAUTH welcome, alice"]);
    assert!(refused.contains("PREAUTH"), "{refused}");
    let injected = starttls(&[
        "S: * OK hello",
        "C: CAPABILITY",
        "S: * CAPABILITY IMAP4rev1 STARTTLS",
        "S: $tag OK",
        "C: STARTTLS",
        "S: $tag OK go on\r\n* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] trust me",
    ]);
    assert!(
        injected.contains("between its OK and the handshake"),
        "{injected}"
    );
    let refused = starttls(&[
        "S: * OK hello",
        "C: CAPABILITY",
        "S: * CAPABILITY IMAP4rev1 STARTTLS",
        "S: $tag OK",
        "C: STARTTLS",
        "S: $tag BAD not today",
    ]);
    assert!(refused.contains("not today"), "{refused}");
}

#[test]
fn a_port_without_tls_is_reported() {
    let server = ScriptedServer::play(&[&["S: * OK I speak in the clear", "silence"]]);
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, Certificate::self_signed(&["localhost"]).authority).unwrap();
    let error = open_error(&Server {
        tls: TlsMode::Implicit,
        ca_file: Some(file),
        ..server.address()
    });
    assert!(error.contains("does not speak TLS"), "{error}");
}

/// Logs in at a scripted server with these capabilities.
fn log_in(capabilities: &str, responses: &[&str]) -> (ScriptedServer, Result<Session, OpenError>) {
    let greeting = format!("S: * OK [CAPABILITY IMAP4rev1 {capabilities}] hello");
    let server = ScriptedServer::play(&[&[greeting.as_str()], responses]);
    let session = open(&server.address());
    (server, session)
}

#[test]
fn the_password_is_sent_by_a_mechanism_that_the_server_offers() {
    let secret = "AGFsaWNlAHDDpCJzc3s1fQ==";
    let at_once = format!("C: AUTHENTICATE PLAIN {secret}");
    let later = format!("C: {secret}");
    let cases: [(&str, &[&str]); 4] = [
        ("AUTH=PLAIN SASL-IR", &[&at_once, "S: $tag OK", "silence"]),
        (
            "auth=plain",
            &[
                "C: AUTHENTICATE PLAIN",
                "S: + ",
                &later,
                "S: $login OK",
                "silence",
            ],
        ),
        (
            "",
            &[
                "C: LOGIN \"alice\" {9}",
                "S: + go on",
                "C: pä\"ss{5}",
                "S: $login OK",
                "silence",
            ],
        ),
        ("LOGINDISABLED", &[]),
    ];
    for (capabilities, responses) in cases {
        let (_server, session) = log_in(capabilities, responses);
        assert_eq!(
            session.is_ok(),
            !responses.is_empty(),
            "{capabilities}: {session:?}"
        );
    }
}

#[test]
fn rejected_credentials_are_distinguished_from_other_log_in_failures() {
    let cases = [
        (
            "S: $tag NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)",
            true,
        ),
        ("S: $tag NO [ALERT] Invalid credentials (Failure)", true),
        ("S: $tag NO wrong", true),
        (
            "S: $tag NO [ALERT] Too many simultaneous connections. (Failure)",
            false,
        ),
        ("S: $tag NO [UNAVAILABLE] Temporary System Error", false),
        (
            "S: $tag NO [OVERQUOTA] Account exceeded command or bandwidth limits.",
            false,
        ),
        ("S: $tag BAD what?", false),
        ("S: * BYE [UNAVAILABLE] going down", false),
        ("S: gibberish", false),
    ];
    for (response, expected) in cases {
        let responses = ["C: AUTHENTICATE PLAIN *", response];
        let (_, Err(OpenError::Login { failure, error })) =
            log_in("AUTH=PLAIN SASL-IR", &responses)
        else {
            panic!("{response} opens a session");
        };
        assert_eq!(error.kind() == ErrorKind::Rejected, expected, "{error}");
        assert_eq!(
            matches!(failure, CommandError::Bye(_)),
            response.contains("BYE"),
            "{failure:?}"
        );
    }
}

#[test]
fn an_xoauth2_challenge_is_answered_with_an_empty_line() {
    let server = ScriptedServer::play(&[&[
        "S: * OK Gimap ready",
        "C: CAPABILITY",
        "S: * CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2",
        "S: $tag OK Thats all she wrote!",
        "C: AUTHENTICATE XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciB5YTI5AQE=",
        "S: + eyJzdGF0dXMiOiI0MDAifQ==",
        "C: ",
        "S: $login NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)",
    ]]);
    let login = Login {
        user: "alice".to_owned(),
        credentials: Credentials::AccessToken(Secret::new("ya29".to_owned())),
    };
    let server = server.address();
    let trust = Trust::for_server(&server).unwrap();
    let unopened =
        Session::open(&server, &trust, &ConnectionOptions::default(), &login).unwrap_err();
    let OpenError::Login { error, .. } = unopened else {
        panic!("{unopened:?}");
    };
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
}

#[test]
fn a_server_without_imap_and_one_that_disconnects_are_reported() {
    let cases = [
        ("S: 220 smtp.example.com ESMTP", "not an IMAP server"),
        ("S: * BYE too many connections", "too many connections"),
        ("S: * PREAUTH welcome", "PREAUTH"),
        ("R: ", "closed the connection"),
    ];
    for (greeting, expected) in cases {
        let server = ScriptedServer::play(&[&[greeting]]);
        let error = open_error(&server.address());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn an_append_is_stored_rejected_or_uncertain() {
    use imap_to_gmail_sync::message::Flags;
    let append = "C: APPEND \"a \\\"b\" (\\Seen) {5}";
    let cases: [(&[&str], &str, bool, bool); 9] = [
        (
            &["S: + go", "C: hello", "S: a2 OK [APPENDUID 1 5](Success)"],
            "ok APPENDUID 1 5",
            true,
            true,
        ),
        (
            &[
                "S: * 7 EXISTS",
                "S: + go",
                "C: hello",
                "S: * NO slow",
                "S: a2 OK done [THROTTLED]",
            ],
            "ok ",
            true,
            true,
        ),
        (
            &["S: * 7 EXISTS", "S: a2 NO [TRYCREATE] no folder"],
            "no TRYCREATE",
            true,
            false,
        ),
        (
            &["S: + go", "C: hello", "S: a2 BAD [TOOBIG] no"],
            "bad TOOBIG",
            true,
            true,
        ),
        (
            &["S: + go", "C: hello", "S: * BYE [OVERQUOTA] enough"],
            "bye OVERQUOTA",
            false,
            true,
        ),
        (&["S: + go", "C: hello"], "lost", false, true),
        // Dovecot's continuation request; it is no response to the APPEND.
        (&["S: + OK", "C: hello"], "lost", false, true),
        (
            &["S: + go", "C: hello", "S: a1 OK of another"],
            "lost",
            false,
            true,
        ),
        (&[], "lost", false, false),
    ];
    for (responses, expected, stays_usable, was_sent) in cases {
        let server = ScriptedServer::play(&[&LOG_IN, &[append], responses]);
        let mut session = open(&server.address()).unwrap();
        let flags = Flags {
            seen: true,
            ..Flags::default()
        };
        let folder = MailboxName::new("a \"b").unwrap();
        let response = session.append(&folder, flags, None, b"hello");
        let message_was_sent = response.message_was_sent();
        let outcome = match response.result {
            Ok(reply) => format!("ok {}", reply.code.unwrap_or_default()),
            Err(CommandError::No(reply)) => format!("no {}", reply.code.unwrap_or_default()),
            Err(CommandError::Bad(reply)) => format!("bad {}", reply.code.unwrap_or_default()),
            Err(CommandError::Bye(reply)) => format!("bye {}", reply.code.unwrap_or_default()),
            Err(CommandError::ConnectionLost(_)) => "lost".to_owned(),
        };
        assert_eq!(outcome, expected);
        assert_eq!(session.is_usable(), stays_usable, "{expected}");
        assert_eq!(message_was_sent, was_sent, "{expected}");
        if expected.starts_with("bye") {
            let later = session.append(&folder, flags, None, b"hello");
            let later = later.result.unwrap_err();
            assert!(later.to_string().contains("enough"), "{later}");
        }
    }
}

#[test]
fn a_response_that_has_no_end_is_cut_off() {
    let line = format!("* SEARCH{}\r\n", " 1".repeat(500_000));
    let server = ScriptedServer::play(&[
        &LOG_IN,
        &["C: UID SEARCH ALL", &format!("R: {}", line.repeat(40))],
    ]);
    let mut session = open(&server.address()).unwrap();
    let failure = session.search("ALL").unwrap_err();
    assert_eq!(
        failure,
        CommandError::ConnectionLost("it sent more than was requested".to_owned())
    );
}

/// The log of all tests of this process.
static LOGGED: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());

struct Recorder;

impl log::Log for Recorder {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}", record.level(), record.args());
        LOGGED.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

#[test]
fn the_dialogue_is_logged_without_secrets_and_alerts_are_warnings() {
    log::set_logger(&Recorder).unwrap();
    log::set_max_level(log::LevelFilter::Debug);
    for responses in [
        [
            "AUTH=PLAIN SASL-IR",
            "C: AUTHENTICATE PLAIN *",
            "S: $tag OK",
        ]
        .as_slice(),
        &[
            "AUTH=PLAIN",
            "C: AUTHENTICATE PLAIN",
            "S: + ",
            "C: *",
            "S: $login OK",
        ],
        &[
            "X",
            "C: LOGIN *",
            "S: * OK [ALERT] the house\r\n* OK is on fire",
            "S: + go on",
            "C: *",
            "S: $login OK",
        ],
    ] {
        let (capabilities, responses) = responses.split_first().unwrap();
        let (_server, session) = log_in(capabilities, responses);
        session.unwrap();
    }
    let logged = LOGGED.lock().unwrap().join("\n");
    assert!(logged.contains("C: a1 LOGIN …"), "{logged}");
    assert!(
        logged.contains("WARN") && logged.contains("[ALERT] the house"),
        "{logged}"
    );
    for secret in [PASSWORD, "ss{5}", "AGFsaWNl"] {
        assert!(!logged.contains(secret), "{logged}");
    }
}

#[test]
fn what_arrives_before_a_logout_does_not_reset_the_connection() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = loopback(listener.local_addr().unwrap().port());
    let (chatted, has_chatted) = channel();
    let server = thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        let mut say = stream.get_ref().try_clone().unwrap();
        let greeting = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n";
        say.write_all(greeting.as_bytes()).unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let tag = line.split(' ').next().unwrap();
        let answer = format!("{tag} OK [CAPABILITY IMAP4rev1] in\r\n");
        say.write_all(answer.as_bytes()).unwrap();
        say.write_all(b"* OK still here\r\n").unwrap();
        chatted.send(()).unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        (stream, rest)
    });
    let session = open(&address).unwrap();
    has_chatted.recv().unwrap();
    session.logout();
    let (stream, rest) = server.join().unwrap();
    assert!(rest.ends_with(" LOGOUT\r\n"), "{rest:?}");
    let error = stream.get_ref().take_error().unwrap();
    assert!(error.is_none(), "{error:?}");
}
