//! Every option of the Gmail double (GMAIL.md 9).

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod dialogue;

use std::time::Duration;

use dialogue::Dialogue;
use dialogue::gmail::{HOUR, append, bearer, connected, examined, logged_in, start};
use double::{
    AppendResponse, Challenge, Event, Fault, Gmail, GmailOptions, HeaderSearch, Language, Pacing,
    PostLoginCapabilities, Unfinished, date, login_rejections,
};

/// The condition of a fault.
type When = fn(&Event) -> bool;

const MESSAGE: &str = "Message-ID: <a@b>\r\nDate: x\r\n\r\nbody\r\n";

fn log_in(gmail: &Gmail, dialogue: &mut Dialogue) {
    let token = gmail.tokens().issue("user@gmail.com", HOUR);
    dialogue.send(&format!(
        "a AUTHENTICATE XOAUTH2 {}",
        bearer("user@gmail.com", &token)
    ));
}

#[test]
fn a_greeting_is_late_or_never_comes() {
    let gmail = start();
    let faults = gmail.faults();
    let is_greeting = |event: &Event| event.is_line("Gimap ready");
    faults.once(is_greeting, Fault::Pause(Duration::from_millis(30)));
    connected(&gmail);
    faults.once(is_greeting, Fault::Stall);
    let mut dialogue = Dialogue::secure(gmail.port(), gmail.ca_pem());
    dialogue.write(b"");
    assert!(!dialogue.receives_within(Duration::from_millis(30)));
    faults.once(is_greeting, Fault::Eof);
    let mut dialogue = Dialogue::secure(gmail.port(), gmail.ca_pem());
    assert_eq!(dialogue.read_to_end(), "");
}

#[test]
fn input_before_the_greeting_is_a_violation() {
    let gmail = start();
    let pause = Fault::Pause(Duration::from_millis(200));
    gmail
        .faults()
        .once(|event| event.is_line("Gimap ready"), pause);
    let mut dialogue = Dialogue::secure(gmail.port(), gmail.ca_pem());
    dialogue.play("C: a CAPABILITY\nS: * OK Gimap <*>\nS: * CAPABILITY <*>\nS: a OK <*>");
    assert_eq!(
        gmail.take_violations(),
        ["the client spoke before the greeting"]
    );
}

#[test]
fn input_before_the_response_to_authenticate_is_a_violation() {
    let gmail = start();
    let mut dialogue = connected(&gmail);
    let token = gmail.tokens().issue("user@gmail.com", HOUR);
    let line = format!(
        "a AUTHENTICATE XOAUTH2 {}",
        bearer("user@gmail.com", &token)
    );
    dialogue.write(format!("{line}\r\nb NOOP\r\n").as_bytes());
    dialogue.play("S: * CAPABILITY <*>\nS: a OK <*>\nS: b OK <*>");
    assert_eq!(
        gmail.take_violations(),
        ["the client sent more after AUTHENTICATE before it was answered"]
    );
}

#[test]
fn a_large_unsolicited_literal_is_a_violation() {
    let gmail = start();
    let mut dialogue = logged_in(&gmail);
    let message = format!("Subject: x\r\n\r\n{}", "x".repeat(5000));
    dialogue.send(&format!(
        "a APPEND INBOX {{{}+}}\r\n{message}",
        message.len()
    ));
    dialogue.play("S: a OK <*>");
    assert_eq!(
        gmail.take_violations(),
        ["the client sent a large literal unasked"]
    );
}

#[test]
fn the_capabilities_are_sent_in_three_ways() {
    let gmail = start();
    gmail.change(|options| options.capabilities = PostLoginCapabilities::InCode);
    let mut dialogue = connected(&gmail);
    log_in(&gmail, &mut dialogue);
    dialogue.play(
        "S: a OK [CAPABILITY IMAP4rev1 <*> APPENDLIMIT=35651584] user@gmail.com authenticated (Success)",
    );
    gmail.change(|options| {
        options.capabilities = PostLoginCapabilities::Omitted;
        options.append_limit = 1000;
        options.without = vec!["UIDPLUS".to_owned(), "X-GM-EXT-1".to_owned()];
    });
    let mut dialogue = connected(&gmail);
    log_in(&gmail, &mut dialogue);
    dialogue.play(
        "S: a OK user@gmail.com authenticated (Success)
         C: b CAPABILITY
         S: * CAPABILITY IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN COMPRESS=DEFLATE ENABLE MOVE CONDSTORE ESEARCH UTF8=ACCEPT LIST-EXTENDED LIST-STATUS LITERAL- SPECIAL-USE APPENDLIMIT=1000
         S: b OK Thats all she wrote! <*>",
    );
    assert_eq!(
        append(&mut dialogue, "INBOX", MESSAGE.as_bytes()),
        "p OK (Success)"
    );
}

#[test]
fn without_sasl_ir_the_client_has_to_wait() {
    let gmail = start();
    gmail.change(|options| options.without.push("SASL-IR".to_owned()));
    let mut dialogue = connected(&gmail);
    log_in(&gmail, &mut dialogue);
    dialogue.play("S: a BAD Could not parse command\nC: b AUTHENTICATE XOAUTH2\nS: + ");
    assert_eq!(
        gmail.take_violations(),
        ["the client sent an initial response without SASL-IR"]
    );
}

#[test]
fn a_login_is_rejected_in_every_observed_way() {
    let gmail = start();
    for response in login_rejections() {
        gmail.change(|options| options.login_response = Some(response.clone()));
        let mut dialogue = connected(&gmail);
        log_in(&gmail, &mut dialogue);
        for line in response {
            assert_eq!(dialogue.receive(), line.replace("<T>", "a"));
        }
        dialogue.play("C: b NOOP\nS: b OK Success");
    }
    assert_eq!(gmail.logins(), 0);
}

#[test]
fn the_challenge_has_other_forms() {
    let gmail = start();
    gmail.change(|options| options.challenge = Challenge::Status401);
    let mut dialogue = connected(&gmail);
    dialogue.send(&format!(
        "a AUTHENTICATE XOAUTH2 {}",
        bearer("user@gmail.com", "x")
    ));
    dialogue.play(
        "S: + eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIG1hYyIsInNjb3BlIjoiaHR0cHM6Ly9tYWlsLmdvb2dsZS5jb20vIn0=
         C:  \n
         S: a NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)",
    );
    gmail.change(|options| options.challenge = Challenge::AfterCapability);
    dialogue.send(&format!(
        "b AUTHENTICATE XOAUTH2 {}",
        bearer("user@gmail.com", "x")
    ));
    dialogue.play("S: * CAPABILITY <*>\nS: + eyJzdGF0dXMiOiI0MDAi<*>");
}

#[test]
fn a_session_expires_at_any_point_of_an_append() {
    const EXPIRED: &str = "* BYE Session expired, please login again.";
    let bye = || Fault::Instead(EXPIRED.to_owned());
    // Before `+`, after it, after the literal, after the message was stored.
    let moments: [(When, usize); 4] = [
        (|event| event.is_command("APPEND"), 0),
        (
            |event| matches!(event.kind, double::EventKind::LiteralBegins(_)),
            0,
        ),
        (Event::is_literal, 0),
        (|event| event.is_line("APPENDUID"), 1),
    ];
    for (when, stored) in moments {
        let gmail = start();
        let mut dialogue = logged_in(&gmail);
        gmail.faults().once(when, bye());
        dialogue.send(&format!("a APPEND INBOX {{{}}}", MESSAGE.len()));
        let first = dialogue.receive();
        if first != EXPIRED {
            dialogue.send(MESSAGE);
            assert_eq!(dialogue.read_to_end(), format!("{EXPIRED}\r\n"));
        }
        assert_eq!(gmail.all_mail().len(), stored);
    }
    let gmail = start();
    gmail.change(|options| options.unfinished = Unfinished::Stored);
    let mut dialogue = logged_in(&gmail);
    gmail.faults().once(Event::is_literal, bye());
    assert_eq!(append(&mut dialogue, "INBOX", MESSAGE.as_bytes()), EXPIRED);
    assert_eq!(gmail.all_mail().len(), 1);
}

#[test]
fn folders_have_names_in_four_languages() {
    for (language, all, trash) in [
        (Language::British, "[Gmail]/All Mail", "[Gmail]/Bin"),
        (Language::American, "[Gmail]/All Mail", "[Gmail]/Trash"),
        (
            Language::German,
            "[Google Mail]/Alle Nachrichten",
            "[Google Mail]/Papierkorb",
        ),
        (
            Language::Chinese,
            "[Gmail]/&YkBnCZCuTvY-",
            "[Gmail]/&V4NXPmh2-",
        ),
    ] {
        let gmail = Gmail::start(GmailOptions {
            language,
            ..GmailOptions::default()
        });
        let mut dialogue = logged_in(&gmail);
        dialogue.send("a LIST \"\" \"*\"");
        let mut lines = Vec::new();
        while !lines
            .last()
            .is_some_and(|line: &String| line.starts_with("a "))
        {
            lines.push(dialogue.receive());
        }
        assert!(lines.contains(&format!("* LIST (\\All \\HasNoChildren) \"/\" \"{all}\"")));
        assert!(lines.contains(&format!(
            "* LIST (\\HasNoChildren \\Trash) \"/\" \"{trash}\""
        )));
    }
}

#[test]
fn a_hidden_folder_is_not_there() {
    let gmail = start();
    gmail.change(|options| options.hidden.push("\\All".to_owned()));
    let mut dialogue = logged_in(&gmail);
    dialogue.send("a LIST \"\" \"*\"");
    let mut line = String::new();
    while !line.starts_with("a OK") {
        line = dialogue.receive();
        assert!(!line.contains("All Mail"), "{line}");
    }
    dialogue.play("C: b EXAMINE \"[Gmail]/All Mail\"\nS: b NO [NONEXISTENT] <*>");
    dialogue.play("C: c STATUS \"[Gmail]/All Mail\" (UIDNEXT)\nS: c NO [NONEXISTENT] <*>");
    append(&mut dialogue, "INBOX", MESSAGE.as_bytes());
    assert_eq!(gmail.all_mail().len(), 1);
}

#[test]
fn an_append_has_every_response_of_the_options() {
    for (response, line, stored) in [
        (AppendResponse::WithoutUid, "OK (Success)", 1),
        (AppendResponse::WithoutUidNorMessage, "OK (Success)", 0),
        (
            AppendResponse::WithoutBlank,
            "OK [APPENDUID 1 1](Success)",
            1,
        ),
        (
            AppendResponse::Throttled,
            "OK [APPENDUID 1 1] (Success) [THROTTLED]",
            1,
        ),
        (
            AppendResponse::Refusal("NO Unable to append message to folder (Failure)".to_owned()),
            "NO Unable to append message to folder (Failure)",
            0,
        ),
        (
            AppendResponse::Refusal("NO [OVERQUOTA] Quota".to_owned()),
            "NO [OVERQUOTA] Quota",
            0,
        ),
    ] {
        let gmail = start();
        gmail.change(|options| options.append_response = response);
        let mut dialogue = logged_in(&gmail);
        assert_eq!(
            append(&mut dialogue, "INBOX", MESSAGE.as_bytes()),
            format!("p {line}")
        );
        assert_eq!(gmail.all_mail().len(), stored);
    }
}

#[test]
fn a_rejection_follows_the_literal_if_the_option_is_set() {
    let gmail = start();
    gmail.change(|options| {
        options.refuses_after_literal = true;
        options.append_limit = 10;
    });
    let mut dialogue = logged_in(&gmail);
    dialogue.play("C: a APPEND INBOX {11}\nS: + go ahead");
    dialogue.send("x".repeat(11).as_str());
    dialogue.play("S: a BAD [TOOBIG] <*>\nC: b APPEND nowhere {3}\nS: + go ahead\nC: abc\nS: b NO [TRYCREATE] <*>");
}

#[test]
fn a_message_appended_as_deleted_is_removed_at_once() {
    let gmail = start();
    let mut dialogue = logged_in(&gmail);
    let response = append(&mut dialogue, "INBOX (\\Deleted)", MESSAGE.as_bytes());
    assert_eq!(response, "p OK [APPENDUID 1 1] (Success)");
    assert_eq!(gmail.all_mail(), []);
    let response = append(&mut dialogue, "INBOX", MESSAGE.as_bytes());
    assert_eq!(response, "p OK [APPENDUID 1 2] (Success)");
}

#[test]
fn unusual_ids_are_not_found_and_header_searches_are_rejected() {
    let gmail = start();
    for id in ["<{a}@b>", "<a!b@c>", "<a%b@c>", "<plain@b>"] {
        let message = format!("Message-ID: {id}\r\n\r\n");
        gmail.deliver(message.as_bytes(), date("2026-11-20T10:00:00+01:00"), &[]);
    }
    let mut dialogue = examined(&gmail, "INBOX");
    dialogue.play("C: a UID SEARCH HEADER Message-ID \"<a!b@c>\"\nS: * SEARCH 2\nS: a OK <*>");
    gmail.change(|options| options.header_search = HeaderSearch::MissesOddValues);
    for odd_id in ["<{a}@b>", "<a!b@c>", "<a%b@c>"] {
        dialogue.send(&format!("a UID SEARCH HEADER Message-ID \"{odd_id}\""));
        dialogue.play("S: * SEARCH\nS: a OK <*>");
    }
    dialogue.play("C: a UID SEARCH X-GM-RAW \"rfc822msgid:a%b@c\"\nS: * SEARCH\nS: a OK <*>");
    dialogue.play("C: a UID SEARCH HEADER Message-ID \"<plain@b>\"\nS: * SEARCH 4\nS: a OK <*>");
    gmail.change(|options| options.header_search = HeaderSearch::Refused);
    dialogue.play("C: b UID SEARCH OR HEADER Message-ID x HEADER Message-ID y\nS: b BAD Could not parse command");
    dialogue.play("C: b UID SEARCH X-GM-RAW \"rfc822msgid:plain@b\"\nS: * SEARCH 4\nS: b OK <*>");
}

#[test]
fn messages_are_changed_copied_and_moved() {
    let gmail = start();
    gmail.deliver(MESSAGE.as_bytes(), date("2026-11-20T10:00:00+01:00"), &[]);
    let mut dialogue = examined(&gmail, "INBOX");
    dialogue.play(
        "C: a UID STORE 1 +FLAGS (\\Seen)\nS: a NO STORE attempt on READ-ONLY folder (Failure)",
    );
    dialogue.send("s SELECT INBOX");
    while !dialogue.receive().starts_with("s OK") {}
    dialogue.play(
        "C: b UID STORE 1 +FLAGS (\\Seen)
         S: * 1 FETCH (UID 1 FLAGS (\\Seen))
         S: b OK Success
         C: c UID STORE 1 +X-GM-LABELS (\\Starred \"two words\")
         S: * 1 FETCH (UID 1 X-GM-LABELS (\"\\\\Starred\" \"two words\"))
         S: c OK Success
         C: d UID FETCH 1 (X-GM-LABELS ENVELOPE)
         S: * 1 FETCH (UID 1 ENVELOPE (\"x\" NIL NIL NIL NIL NIL NIL NIL NIL \"<a@b>\") X-GM-LABELS (\"\\\\Starred\" \"two words\"))
         S: d OK Success
         C: e UID COPY 1 nowhere
         S: e NO [TRYCREATE] No folder nowhere (Failure)
         C: f UID MOVE 1 \"two words\"
         S: * OK [COPYUID 10 1 1]
         S: * 1 EXPUNGE
         S: f OK Success",
    );
    assert_eq!(gmail.messages("INBOX"), []);
    assert_eq!(gmail.messages("two words")[0].flags, ["\\Seen"]);
    dialogue.play("C: g GETQUOTAROOT INBOX\nS: * QUOTAROOT \"INBOX\" \"\"\nS: * QUOTA \"\" (STORAGE 0 31457280)\nS: g OK Success");
    dialogue.play("C: h ENABLE UTF8=ACCEPT\nS: * ENABLED UTF8=ACCEPT\nS: h OK Success");
}

#[test]
fn each_change_of_a_message_has_a_higher_number_and_odd_labels_are_refused() {
    let gmail = start();
    gmail.deliver(MESSAGE.as_bytes(), date("2026-11-20T10:00:00+01:00"), &[]);
    let mut dialogue = logged_in(&gmail);
    dialogue.send("s SELECT INBOX");
    while !dialogue.receive().starts_with("s OK") {}
    let mut last = 0;
    let mut has_changed = |dialogue: &mut Dialogue| {
        dialogue.send("f UID FETCH 1 (UID MODSEQ)");
        let line = dialogue.receive();
        dialogue.receive();
        let (_, number) = line.split_once("UID 1 MODSEQ (").unwrap();
        let number: u64 = number.strip_suffix("))").unwrap().parse().unwrap();
        std::mem::replace(&mut last, number) < number
    };
    assert!(has_changed(&mut dialogue));
    assert!(!has_changed(&mut dialogue));
    dialogue.send("l UID STORE 1 +X-GM-LABELS (\"Old mail\")");
    while !dialogue.receive().starts_with("l OK") {}
    assert!(has_changed(&mut dialogue));
    gmail.mailboxes().expunge("Old mail", 1);
    assert!(has_changed(&mut dialogue));
    dialogue.play(
        "C: a UID STORE 1 +X-GM-LABELS (fine \"two  blanks\")
         S: a NO [CANNOT] Folder contains excess whitespace (Failure)
         C: b UID STORE 1 +X-GM-LABELS (a^b)
         S: b NO [CANNOT] Invalid folder name (Failure)",
    );
    assert!(!has_changed(&mut dialogue));
    assert!(!gmail.mailboxes().exist("fine"));
}

#[test]
fn a_message_marked_deleted_loses_its_label_at_once() {
    let gmail = start();
    gmail.deliver(MESSAGE.as_bytes(), date("2026-11-20T10:00:00+01:00"), &[]);
    let mut dialogue = logged_in(&gmail);
    dialogue.send("s SELECT INBOX");
    while !dialogue.receive().starts_with("s OK") {}
    dialogue.play("C: a UID STORE 1 +FLAGS.SILENT (\\Deleted)\nS: * 1 EXPUNGE\nS: a OK Success");
    assert_eq!(
        (gmail.messages("INBOX").len(), gmail.all_mail().len()),
        (0, 1)
    );
}

#[test]
fn the_account_is_locked_out_after_too_many_octets() {
    let gmail = start();
    gmail.change(|options| {
        options.daily_upload = 2 * MESSAGE.len();
        options.lockout = HOUR / 4;
    });
    let mut dialogue = logged_in(&gmail);
    append(&mut dialogue, "INBOX", MESSAGE.as_bytes());
    append(&mut dialogue, "INBOX", MESSAGE.as_bytes());
    assert_eq!(gmail.uploaded_today(), 2 * MESSAGE.len());
    let before = gmail.messages("INBOX");
    let response = append(&mut dialogue, "INBOX", MESSAGE.as_bytes());
    assert_eq!(
        response,
        "* BYE [OVERQUOTA] Account exceeded command or bandwidth limits."
    );
    assert_eq!(dialogue.read_to_end(), "");
    assert_eq!(gmail.messages("INBOX"), before);
    let mut dialogue = connected(&gmail);
    log_in(&gmail, &mut dialogue);
    dialogue.play("S: a NO [ALERT] Account exceeded command or bandwidth limits. (Failure)");
    gmail.clock().advance(HOUR / 4);
    logged_in(&gmail);
    gmail.clock().advance(HOUR * 24);
    assert_eq!(
        append(&mut logged_in(&gmail), "INBOX", MESSAGE.as_bytes()),
        "p OK [APPENDUID 1 3] (Success)"
    );
}

#[test]
fn downloads_are_counted_too() {
    let gmail = start();
    gmail.deliver(MESSAGE.as_bytes(), date("2026-11-20T10:00:00+01:00"), &[]);
    gmail.change(|options| options.daily_download = 10);
    let mut dialogue = examined(&gmail, "INBOX");
    dialogue.play("C: a UID FETCH 1 BODY.PEEK[]\nS: * 1 FETCH <*>\nS: * BYE [OVERQUOTA] <*>");
}

#[test]
fn the_account_is_throttled() {
    let gmail = start();
    let mut dialogue = logged_in(&gmail);
    gmail.set_pacing(Pacing::PerSecond(1000));
    let began = std::time::Instant::now();
    // 600 octets at 1,000 a second.
    dialogue.play("C: a LIST \"\" \"*\"");
    while !dialogue.receive().starts_with("a OK") {}
    assert!(began.elapsed() > Duration::from_millis(400));
}

#[test]
fn any_line_can_be_sent_instead() {
    let gmail = start();
    for line in [
        "<T> NO [UNAVAILABLE] Temporary System Problem. Try again later. (Failure)",
        "<T> NO System Error (Failure)",
        "garbage \u{1}",
    ] {
        let mut dialogue = logged_in(&gmail);
        gmail.faults().once(
            |event| event.is_command("LIST"),
            Fault::Instead(line.to_owned()),
        );
        dialogue.send("a LIST \"\" \"*\"");
        assert_eq!(dialogue.receive(), line.replace("<T>", "a"));
        dialogue.play("C: b NOOP\nS: b OK Success");
    }
}
