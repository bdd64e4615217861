//! Waiting for mail at servers that idle in odd ways.

use std::thread;
use std::time::{Duration, Instant};

use crate::script::{Script, steps};
use imap_to_gmail_sync::config::Password;
use imap_to_gmail_sync::config::{Server, SourceConfig};
use imap_to_gmail_sync::message::{Mailbox, Uid};
use imap_to_gmail_sync::net::ConnectionOptions;
use imap_to_gmail_sync::process::cancel::Canceller;
use imap_to_gmail_sync::secret::Secret;
use imap_to_gmail_sync::source::{ImapSource, WaitOptions, WaitOutcome};
use imap_to_gmail_sync::sync::Source;
use imap_to_gmail_sync::timeouts::Timeouts;

/// Far longer than a test lasts: what ends before was ended.
const LONG: Duration = Duration::from_mins(5);

/// Up to the open folder, with four messages.
const OPENED: [&str; 8] = [
    "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR IDLE] x",
    "C: AUTHENTICATE PLAIN *",
    "S: $tag OK [CAPABILITY IMAP4rev1 IDLE] in",
    "C: EXAMINE \"INBOX\"",
    "S: * 4 EXISTS",
    "S: * OK [UIDVALIDITY 7] x",
    "S: * OK [UIDNEXT 5] x",
    "S: $tag OK opened",
];

/// The same later, with a fifth.
const OPENED_AGAIN: [&str; 8] = [
    "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR IDLE] x",
    "C: AUTHENTICATE PLAIN *",
    "S: $tag OK [CAPABILITY IMAP4rev1 IDLE] in",
    "C: EXAMINE \"INBOX\"",
    "S: * 5 EXISTS",
    "S: * OK [UIDVALIDITY 7] x",
    "S: * OK [UIDNEXT 6] x",
    "S: $tag OK opened",
];

const IDLE: [&str; 3] = ["C: NOOP", "S: $tag OK", "C: IDLE"];

/// The look after an IDLE that told of mail.
const LISTED: [&str; 5] = [
    "C: DONE",
    "C: UID FETCH 5:* *",
    "S: w2 OK",
    FIFTH,
    "S: w3 OK",
];

const FIFTH: &str = "S: * 5 FETCH (UID 5 RFC822.SIZE 30 INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" \
                     FLAGS () BODY[HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)] \"Message-ID: <5@x>\")";

fn dialogue(parts: &[&[&str]]) -> Vec<String> {
    steps(&parts.concat())
}

fn bounds() -> ConnectionOptions {
    ConnectionOptions {
        timeouts: Timeouts {
            response: Duration::from_secs(10),
            idle_start: Duration::from_millis(300),
            ..Timeouts::default()
        },
        canceller: Canceller::new().unwrap(),
        ..ConnectionOptions::default()
    }
}

fn open(server: Server, bounds: &ConnectionOptions) -> ImapSource {
    let password = || Secret::new("secret".to_owned());
    let config = SourceConfig {
        server,
        user: "alice".to_owned(),
        password: Password::Given(password()),
        folder: "INBOX".to_owned(),
    };
    ImapSource::open_with_options(&config, password(), bounds.clone())
        .unwrap()
        .0
}

fn patiently() -> WaitOptions {
    WaitOptions {
        use_idle: true,
        poll_interval: LONG,
        until: Instant::now() + LONG,
    }
}

fn by_polling() -> WaitOptions {
    WaitOptions {
        poll_interval: Duration::from_millis(20),
        ..patiently()
    }
}

/// Waits, looks, and lists what is new.
fn round(source: &mut ImapSource, how: WaitOptions) -> (WaitOutcome, Vec<u32>) {
    let news = source.wait_for_mail(how).unwrap();
    (news, new(source))
}

fn new(source: &mut ImapSource) -> Vec<u32> {
    let before = Uid::new(5).unwrap();
    let Mailbox { uid_next, .. } = source.check_for_mail().unwrap();
    (before.get()..uid_next.get()).collect()
}

fn listed(source: &mut ImapSource) -> Vec<u32> {
    let listed = source.list(&"5".parse().unwrap()).unwrap();
    listed.iter().map(|listed| listed.uid.get()).collect()
}

#[test]
fn mail_is_told_of_in_many_ways_and_listed_with_the_end_of_the_idle() {
    let cases: [&[&str]; 11] = [
        &["S: +", "S: * 5 EXISTS"],
        &["S: + idling", "S: * 5 EXISTS"],
        &["S: + * 4 EXISTS, waiting for DONE \"{5}", "S: * 5 EXISTS"],
        &["S: * 5 EXISTS", "S: + idling"],
        &["R: * 5 EXISTS\r\n* 1 RECENT\r\n+ idling\r\n"],
        &["R: + idling\r\n* 5 EXISTS\r\n* 1 RECENT\r\n"],
        &[
            "S: + idling",
            "S: * OK Still here",
            "S: * NO [ALERT] full",
            "S: * 5 EXISTS",
        ],
        &[
            "S: + idling",
            "S: * BAD hm",
            "S: * FLAGS (\\Seen)",
            "S: *  5  exists",
        ],
        &["S: + idling", "S: * 2 EXPUNGE", "S: * 4 EXISTS"],
        &[
            "S: * NO busy",
            "S: + idling",
            "S: * 1 FETCH (FLAGS (\\Seen))",
            "S: * 5 EXISTS",
        ],
        &[
            "S: + idling",
            "S: * X {5}\r\nhello \"{3}\r\nabc",
            "S: * 5 EXISTS",
        ],
    ];
    for case in cases {
        let script = Script::play(vec![dialogue(&[&OPENED, &IDLE, case, &LISTED])]);
        let mut source = open(script.server(), &bounds());
        assert_eq!(
            round(&mut source, patiently()),
            (WaitOutcome::NewMail, vec![5]),
            "{case:?}"
        );
        assert_eq!(listed(&mut source), [5], "no command: the script is over");
    }
}

#[test]
fn untagged_lines_after_done_end_nothing() {
    let answers = [
        "C: DONE",
        "C: UID FETCH 5:* *",
        "S: * 5 EXISTS",
        "S: * OK Still here",
        "S: w2 OK",
        "S: * 1 FETCH (FLAGS (\\Seen))",
        "S: * NO hm",
        FIFTH,
        "S: w3 OK",
    ];
    let told = ["S: + idling", "S: * 5 EXISTS"];
    let script = Script::play(vec![dialogue(&[&OPENED, &IDLE, &told, &answers])]);
    let mut source = open(script.server(), &bounds());
    assert_eq!(
        round(&mut source, patiently()),
        (WaitOutcome::NewMail, vec![5])
    );
    assert_eq!(listed(&mut source), [5]);
}

#[test]
fn an_idle_that_the_server_ends_is_not_ended_again() {
    // A server that has just ended it may say BAD to a DONE under way; here nothing is on its way.
    let ended = ["R: + idling\r\n* 5 EXISTS\r\nw2 OK enough\r\n"];
    let look = ["C: UID FETCH 5:* *", FIFTH, "S: w3 OK"];
    let script = Script::play(vec![dialogue(&[&OPENED, &IDLE, &ended, &look])]);
    let mut source = open(script.server(), &bounds());
    assert_eq!(
        round(&mut source, patiently()),
        (WaitOutcome::NewMail, vec![5])
    );
    assert_eq!(listed(&mut source), [5]);

    // Without news it is waited for on the clock, and mail is heard of all the same.
    for (told, news) in [
        (&["S: w2 OK enough"][..], WaitOutcome::Elapsed),
        (&["S: w2 NO go", "S: * 5 EXISTS"], WaitOutcome::NewMail),
    ] {
        let look: &[&str] = match news {
            WaitOutcome::NewMail => &["C: UID FETCH 5:* *", FIFTH, "S: w3 OK"],
            _ => &[
                "C: NOOP",
                "S: w3 OK",
                "C: UID SEARCH UID 5:*",
                "S: * SEARCH 5",
                "S: w4 OK",
            ],
        };
        let script = Script::play(vec![dialogue(&[&OPENED, &IDLE, &["S: + x"], told, look])]);
        let mut source = open(script.server(), &bounds());
        let how = WaitOptions {
            poll_interval: if news == WaitOutcome::NewMail {
                LONG
            } else {
                Duration::from_millis(20)
            },
            ..patiently()
        };
        assert_eq!(round(&mut source, how), (news, vec![5]));
    }
}

#[test]
fn an_end_of_idle_that_crosses_ours_leaves_no_answer_too_many() {
    let crossed = [
        "S: + idling",
        "S: * 5 EXISTS",
        "C: DONE",
        "S: w2 OK enough",
        "S: DONE BAD what?",
    ];
    let look = [
        "C: UID FETCH 5:* *",
        FIFTH,
        "S: w3 OK",
        "C: NOOP",
        "S: $tag OK",
        "C: IDLE",
    ];
    let script = Script::play(vec![dialogue(&[
        &OPENED,
        &IDLE,
        &crossed,
        &look,
        &["S: + x", "silence"],
    ])]);
    let bounds = bounds();
    let mut source = open(script.server(), &bounds);
    assert_eq!(
        round(&mut source, patiently()),
        (WaitOutcome::NewMail, vec![5])
    );
    bounds.canceller.wake();
    assert_eq!(
        source.wait_for_mail(patiently()).unwrap(),
        WaitOutcome::Woken
    );
}

#[test]
fn a_done_that_is_never_answered_costs_the_session_and_no_mail() {
    let told = ["S: + idling", "S: * 5 EXISTS", "C: DONE", "silence"];
    let script = Script::play(vec![
        dialogue(&[&OPENED, &IDLE, &told]),
        steps(&OPENED_AGAIN),
    ]);
    let mut bounds = bounds();
    bounds.timeouts.response = LONG;
    let mut source = open(script.server(), &bounds);
    let begun = Instant::now();
    assert_eq!(
        round(&mut source, patiently()),
        (WaitOutcome::NewMail, vec![5])
    );
    // The player would hang up after twenty seconds.
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_server_that_refuses_idle_is_polled() {
    for refusal in [
        "S: $tag NO not now",
        "S: $tag BAD unknown command",
        "S: $tag OK I do not idle",
    ] {
        let nothing = [
            "C: NOOP",
            "S: $tag OK",
            "C: UID SEARCH UID 5:*",
            "S: * SEARCH 4",
            "S: $tag OK",
        ];
        let fifth = [
            "C: NOOP",
            "S: $tag OK",
            "C: UID SEARCH UID 5:*",
            "S: * SEARCH 5",
            "S: $tag OK",
        ];
        let script = Script::play(vec![dialogue(&[
            &OPENED,
            &IDLE,
            &[refusal],
            &nothing,
            &fifth,
        ])]);
        let mut source = open(script.server(), &bounds());
        assert_eq!(
            round(&mut source, by_polling()),
            (WaitOutcome::Elapsed, vec![]),
            "{refusal}"
        );
        assert_eq!(source.wait_method(by_polling()), "polling every 0 s");
        assert_eq!(
            round(&mut source, by_polling()),
            (WaitOutcome::Elapsed, vec![5]),
            "{refusal}"
        );
    }
}

#[test]
fn a_server_without_idle_or_an_owner_who_wants_none_is_polled() {
    let look = [
        "C: NOOP",
        "S: * 5 EXISTS",
        "S: $tag OK",
        "C: UID SEARCH UID 5:*",
        "S: * SEARCH 5",
        "S: $tag OK",
    ];
    let without: Vec<String> = dialogue(&[&OPENED, &look])
        .iter()
        .map(|step| step.replace(" IDLE]", "]"))
        .collect();
    for (dialogue, use_idle) in [(without, true), (dialogue(&[&OPENED, &look]), false)] {
        let script = Script::play(vec![dialogue]);
        let mut source = open(script.server(), &bounds());
        let how = WaitOptions {
            use_idle,
            ..by_polling()
        };
        assert_eq!(round(&mut source, how), (WaitOutcome::Elapsed, vec![5]));
    }
}

#[test]
fn a_server_that_never_answers_to_idle_is_looked_at_and_then_polled() {
    let fifth = [
        "C: NOOP",
        "S: $tag OK",
        "C: UID SEARCH UID 6:*",
        "S: * SEARCH 5",
        "S: $tag OK",
    ];
    let script = Script::play(vec![
        dialogue(&[&OPENED, &IDLE, &["S: * OK hm", "silence"]]),
        dialogue(&[&OPENED_AGAIN, &IDLE, &["silence"]]),
        dialogue(&[&OPENED_AGAIN, &fifth]),
    ]);
    let mut source = open(script.server(), &bounds());
    assert_eq!(
        round(&mut source, patiently()),
        (WaitOutcome::Elapsed, vec![5])
    );
    assert_eq!(
        round(&mut source, patiently()),
        (WaitOutcome::Elapsed, vec![5])
    );
    assert_eq!(
        round(&mut source, by_polling()),
        (WaitOutcome::Elapsed, vec![5])
    );
}

#[test]
fn a_server_that_loses_what_comes_in_one_packet_gets_commands_one_by_one() {
    let lost = ["S: + x", "S: * 5 EXISTS", "C: DONE", "S: w2 OK", "silence"];
    let bounds = ConnectionOptions {
        timeouts: Timeouts {
            response: Duration::from_millis(300),
            ..bounds().timeouts
        },
        ..bounds()
    };
    let told = ["S: + x", "S: * 6 EXISTS"];
    let sixth = FIFTH.replace('5', "6");
    let one_by_one = [
        "C: DONE",
        "S: w1 OK",
        "C: UID FETCH 6:* *",
        &sixth,
        "S: $tag OK",
    ];
    let script = Script::play(vec![
        dialogue(&[&OPENED, &IDLE, &lost]),
        dialogue(&[&OPENED_AGAIN, &IDLE, &told, &one_by_one]),
    ]);
    let mut source = open(script.server(), &bounds);
    assert_eq!(
        round(&mut source, patiently()),
        (WaitOutcome::NewMail, vec![5])
    );
    assert_eq!(
        round(&mut source, patiently()),
        (WaitOutcome::NewMail, vec![5, 6])
    );
}

#[test]
fn a_server_that_never_pushes_costs_one_wait() {
    let look = [
        "C: DONE",
        "S: w2 OK",
        "C: NOOP",
        "S: * 5 EXISTS",
        "S: w3 OK",
        "C: UID SEARCH UID 5:*",
    ];
    let found = ["S: * SEARCH 5", "S: w4 OK"];
    let script = Script::play(vec![dialogue(&[
        &OPENED,
        &IDLE,
        &["S: + idling"],
        &look,
        &found,
    ])]);
    let mut source = open(script.server(), &bounds());
    let how = WaitOptions {
        until: Instant::now() + Duration::from_millis(100),
        ..patiently()
    };
    assert_eq!(round(&mut source, how), (WaitOutcome::Elapsed, vec![5]));
}

#[test]
fn a_number_that_is_told_with_every_idle_does_not_keep_us_busy() {
    let told = ["S: + idling", "S: * 4 EXISTS", "S: * 1 RECENT"];
    let look = [
        "C: DONE",
        "S: w2 OK",
        "C: NOOP",
        "S: w3 OK",
        "C: UID SEARCH UID 5:*",
        "S: w4 OK",
    ];
    let script = Script::play(vec![dialogue(&[&OPENED, &IDLE, &told, &look])]);
    let bounds = bounds();
    let mut source = open(script.server(), &bounds);
    let begun = Instant::now();
    assert_eq!(
        round(&mut source, patiently()),
        (WaitOutcome::Elapsed, vec![])
    );
    assert!(begun.elapsed() >= bounds.timeouts.idle_start);

    // Nor does one who tells it and ends the IDLE.
    let ended = ["R: + idling\r\n* 4 EXISTS\r\nw2 OK enough\r\n"];
    let look = ["C: NOOP", "S: w3 OK", "C: UID SEARCH UID 5:*", "S: w4 OK"];
    let script = Script::play(vec![dialogue(&[&OPENED, &IDLE, &ended, &look])]);
    let mut source = open(script.server(), &bounds);
    let how = WaitOptions {
        poll_interval: Duration::from_millis(200),
        ..patiently()
    };
    let begun = Instant::now();
    assert_eq!(round(&mut source, how), (WaitOutcome::Elapsed, vec![]));
    assert!(begun.elapsed() >= how.poll_interval);
}

#[test]
fn chatter_does_not_make_an_idle_longer() {
    // Fifty milliseconds apart, for ten seconds at most.
    let script = Script::play(vec![dialogue(&[&OPENED, &IDLE, &["S: + idling", "busy"]])]);
    let mut bounds = bounds();
    bounds.timeouts.idle_max = Duration::from_millis(300);
    let mut source = open(script.server(), &bounds);
    let began = Instant::now();
    assert_eq!(
        source.wait_for_mail(patiently()).unwrap(),
        WaitOutcome::Elapsed
    );
    assert!(began.elapsed() < Duration::from_secs(5));
    drop(source);
}

#[test]
fn a_farewell_or_a_broken_connection_ends_the_wait_and_the_next_look_opens_another() {
    for (farewell, expected) in [
        (
            &["S: + x", "S: * BYE idle for too long"][..],
            "idle for too long",
        ),
        (&["S: + x"], "it closed the connection"),
        (&["S: * BYE going down"], "going down"),
        (&[], "it closed the connection"),
    ] {
        let script = Script::play(vec![
            dialogue(&[&OPENED, &IDLE, farewell]),
            steps(&OPENED_AGAIN),
        ]);
        let mut source = open(script.server(), &bounds());
        let error = source.wait_for_mail(patiently()).unwrap_err().to_string();
        assert!(
            error.contains("waiting for new mail") && error.contains(expected),
            "{error}"
        );
        assert_eq!(new(&mut source), [5]);
    }
}

#[test]
fn a_folder_that_is_another_after_a_reconnection_is_looked_at_anew() {
    let another: Vec<String> = OPENED
        .iter()
        .map(|step| step.replace("UIDVALIDITY 7", "UIDVALIDITY 8"))
        .collect();
    let script = Script::play(vec![dialogue(&[&OPENED, &IDLE]), another]);
    let mut source = open(script.server(), &bounds());
    source.wait_for_mail(patiently()).unwrap_err();
    assert_eq!(source.check_for_mail().unwrap().uid_validity.get(), 8);
}

#[test]
fn a_burst_is_one_look_however_many_lines_tell_of_it() {
    let lines = |line: fn(u32) -> String| (5..=104).map(line).collect::<Vec<_>>().concat();
    let told = lines(|count| format!("* {count} EXISTS\r\n* {count} RECENT\r\n"));
    let burst = format!("R: + idling\r\n{told}");
    let listed = lines(|uid| format!("* {uid} FETCH (UID {uid})\r\n"));
    let listed = format!("R: {listed}");
    let look = [
        "C: DONE",
        "C: UID FETCH 5:* *",
        "S: w2 OK",
        &listed,
        "S: w3 OK",
        "C: NOOP",
        "S: $tag OK",
    ];
    let script = Script::play(vec![dialogue(&[
        &OPENED,
        &IDLE,
        &[&burst],
        &look,
        &["C: IDLE", "S: + x", "silence"],
    ])]);
    let bounds = bounds();
    let mut source = open(script.server(), &bounds);
    let (news, new) = round(&mut source, patiently());
    assert_eq!((news, new.len()), (WaitOutcome::NewMail, 100));
    bounds.canceller.wake();
    assert_eq!(
        source.wait_for_mail(patiently()).unwrap(),
        WaitOutcome::Woken,
        "nothing of it is left"
    );
}

#[test]
fn a_flood_is_searched_for_and_not_listed_at_once() {
    let told = [
        "R: + x\r\n* 5 EXISTS\r\n* 5000 EXISTS\r\n",
        "C: DONE",
        "C: NOOP",
    ];
    let found = [
        "C: UID SEARCH UID 5:*",
        "S: w2 OK",
        "S: w3 OK",
        "S: * SEARCH 5 6 7 4999",
        "S: w4 OK",
    ];
    let script = Script::play(vec![dialogue(&[&OPENED, &IDLE, &told, &found])]);
    let mut source = open(script.server(), &bounds());
    assert_eq!(
        source.wait_for_mail(patiently()).unwrap(),
        WaitOutcome::NewMail
    );
    assert_eq!(source.check_for_mail().unwrap().uid_next.get(), 5000);
}

#[test]
fn what_is_told_between_a_look_and_the_next_wait_is_not_missed() {
    // While the pass works…
    let search = [
        "C: UID SEARCH UID 1",
        "S: * SEARCH 1",
        "S: * 5 EXISTS",
        "S: $tag OK",
    ];
    let look = ["C: UID FETCH 5:* *", FIFTH, "S: w1 OK"];
    let script = Script::play(vec![dialogue(&[&OPENED, &search, &look])]);
    let mut source = open(script.server(), &bounds());
    let one = imap_to_gmail_sync::sync::SourceSearch::Uids("1".parse().unwrap());
    assert_eq!(source.search(&one).unwrap().len(), 1);
    assert_eq!(
        round(&mut source, patiently()),
        (WaitOutcome::NewMail, vec![5]),
        "without an IDLE"
    );
    assert_eq!(listed(&mut source), [5]);

    // …at the end of the look itself, and as the answer to the NOOP before the IDLE.
    let late = [
        "C: DONE",
        "C: UID FETCH 5:* *",
        "S: w2 OK",
        FIFTH,
        "S: * 6 EXISTS",
        "S: w3 OK",
    ];
    let sixth = FIFTH.replace('5', "6");
    let again = ["C: UID FETCH 6:* *", &sixth, "S: w4 OK"];
    let noop = [
        "C: NOOP",
        "S: * 7 EXISTS",
        "S: $tag OK",
        "C: IDLE",
        "S: + x",
    ];
    let seventh = FIFTH.replace('5', "7");
    let last = [
        "C: DONE",
        "C: UID FETCH 7:* *",
        "S: w6 OK",
        &seventh,
        "S: w7 OK",
    ];
    let script = Script::play(vec![dialogue(&[
        &OPENED,
        &IDLE,
        &["S: + x", "S: * 5 EXISTS"],
        &late,
        &again,
        &noop,
        &last,
    ])]);
    let mut source = open(script.server(), &bounds());
    assert_eq!(
        round(&mut source, patiently()),
        (WaitOutcome::NewMail, vec![5])
    );
    assert_eq!(
        round(&mut source, patiently()),
        (WaitOutcome::NewMail, vec![5, 6])
    );
    assert_eq!(
        round(&mut source, patiently()),
        (WaitOutcome::NewMail, vec![5, 6, 7])
    );
}

#[test]
fn what_is_told_after_a_search_that_missed_it_is_not_lost() {
    // As Dovecot does it: both answers are kept back until the mailbox is looked at anew.
    let look = [
        "C: NOOP",
        "C: UID SEARCH UID 5:*",
        "S: * SEARCH 4",
        "S: * 5 EXISTS",
        "S: w1 OK",
        "S: w2 OK",
        "C: UID FETCH 5:* *",
        FIFTH,
        "S: w3 OK",
    ];
    let script = Script::play(vec![dialogue(&[&OPENED, &look])]);
    let mut source = open(script.server(), &bounds());
    let how = WaitOptions {
        use_idle: false,
        ..by_polling()
    };
    assert_eq!(round(&mut source, how), (WaitOutcome::Elapsed, vec![]));
    assert_eq!(
        round(&mut source, patiently()),
        (WaitOutcome::NewMail, vec![5])
    );
}

#[test]
fn answers_that_stand_with_the_wrong_command_are_read() {
    let look = [
        "C: NOOP",
        "C: UID SEARCH UID 5:*",
        "S: * SEARCH 5",
        "S: * 5 EXISTS",
        "S: w2 OK",
        "S: w1 OK",
        "C: NOOP",
        "S: $tag OK",
        "C: UID SEARCH UID 6:*",
        "S: $tag OK",
    ];
    let script = Script::play(vec![dialogue(&[&OPENED, &look])]);
    let mut source = open(script.server(), &bounds());
    let how = WaitOptions {
        use_idle: false,
        ..by_polling()
    };
    assert_eq!(round(&mut source, how), (WaitOutcome::Elapsed, vec![5]));
    assert_eq!(
        round(&mut source, how),
        (WaitOutcome::Elapsed, vec![5]),
        "it is told of once"
    );
}

#[test]
fn mail_that_came_while_a_pass_had_to_reconnect_is_not_missed() {
    let breaks = ["C: UID SEARCH UID 1"];
    let goes_on = [
        "C: UID SEARCH UID 1",
        "S: * SEARCH 1",
        "S: $tag OK",
        "C: NOOP",
        "S: $tag OK",
    ];
    let script = Script::play(vec![
        dialogue(&[&OPENED, &breaks]),
        dialogue(&[
            &OPENED_AGAIN,
            &goes_on,
            &["C: UID SEARCH UID 5:*", "S: * SEARCH 5", "S: $tag OK"],
        ]),
    ]);
    let mut source = open(script.server(), &bounds());
    let one = imap_to_gmail_sync::sync::SourceSearch::Uids("1".parse().unwrap());
    assert_eq!(source.search(&one).unwrap().len(), 1);
    assert_eq!(
        round(&mut source, patiently()),
        (WaitOutcome::NewMail, vec![5])
    );
}

#[test]
fn news_of_mail_that_is_not_there_has_the_folder_opened_anew() {
    // Another UIDVALIDITY in the middle of a session is against the book, and seen all the same.
    let told = ["S: + x", "S: * 5 EXISTS"];
    let nothing = [
        "C: DONE",
        "C: UID FETCH 5:* *",
        "S: w2 OK",
        "S: * 4 FETCH (UID 4)",
        "S: w3 OK",
    ];
    let another: Vec<String> = OPENED[3..]
        .iter()
        .map(|step| step.replace("UIDVALIDITY 7", "UIDVALIDITY 8"))
        .collect();
    let dialogue = [dialogue(&[&OPENED, &IDLE, &told, &nothing]), another].concat();
    let script = Script::play(vec![dialogue]);
    let mut source = open(script.server(), &bounds());
    assert_eq!(
        source.wait_for_mail(patiently()).unwrap(),
        WaitOutcome::NewMail
    );
    assert_eq!(source.check_for_mail().unwrap().uid_validity.get(), 8);
}

#[test]
fn a_refused_listing_is_left_to_the_pass() {
    let told = [
        "S: + x",
        "S: * 5 EXISTS",
        "C: DONE",
        "C: UID FETCH 5:* *",
        "S: w2 OK",
        "S: w3 NO cannot",
    ];
    let script = Script::play(vec![dialogue(&[&OPENED, &IDLE, &told, &OPENED_AGAIN[3..]])]);
    let mut source = open(script.server(), &bounds());
    assert_eq!(
        round(&mut source, patiently()),
        (WaitOutcome::NewMail, vec![5])
    );
}

#[test]
fn what_is_listed_ahead_is_given_once() {
    let told = ["S: + x", "S: * 5 EXISTS"];
    let again = ["C: UID FETCH 5 *", "S: $tag OK"];
    let script = Script::play(vec![dialogue(&[&OPENED, &IDLE, &told, &LISTED, &again])]);
    let mut source = open(script.server(), &bounds());
    assert_eq!(
        round(&mut source, patiently()),
        (WaitOutcome::NewMail, vec![5])
    );
    assert_eq!(listed(&mut source), [5]);
    assert!(listed(&mut source).is_empty());
}

#[test]
fn a_call_ends_the_wait_and_leaves_the_idle_to_the_look() {
    let look = [
        "C: DONE",
        "S: w2 OK",
        "C: NOOP",
        "S: $tag OK",
        "C: UID SEARCH UID 5:*",
        "S: * SEARCH 4",
        "S: $tag OK",
    ];
    for begin in [&IDLE[..], &[]] {
        let use_idle = !begin.is_empty();
        let steps = if use_idle {
            dialogue(&[&OPENED, begin, &["S: + idling"], &look])
        } else {
            dialogue(&[&OPENED, &look[2..]])
        };
        let script = Script::play(vec![steps]);
        let bounds = bounds();
        let mut source = open(script.server(), &bounds);
        let caller = thread::spawn({
            let tether = bounds.canceller.clone();
            move || {
                thread::sleep(Duration::from_millis(50));
                tether.wake();
            }
        });
        let how = WaitOptions {
            use_idle,
            ..patiently()
        };
        assert_eq!(round(&mut source, how), (WaitOutcome::Woken, vec![]));
        caller.join().unwrap();
    }
}

#[test]
fn a_limit_ends_the_wait_and_the_farewell() {
    let script = Script::play(vec![dialogue(&[
        &OPENED,
        &IDLE,
        &["S: + idling", "silence"],
    ])]);
    let mut bounds = bounds();
    bounds.timeouts.idle_start = LONG;
    let mut source = open(script.server(), &bounds);
    bounds
        .canceller
        .cancel_at(Instant::now() + Duration::from_millis(50));
    let began = Instant::now();
    assert_eq!(
        source.wait_for_mail(patiently()).unwrap(),
        WaitOutcome::Woken
    );
    source.logout();
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_session_that_idles_takes_commands_and_leave() {
    let search = [
        "C: DONE",
        "S: w2 OK",
        "C: UID SEARCH UID 1",
        "S: * SEARCH 1",
        "S: $tag OK",
    ];
    let leave = [
        "C: NOOP",
        "S: $tag OK",
        "C: IDLE",
        "S: + x",
        "C: DONE",
        "C: LOGOUT",
        "S: * BYE",
        "S: $tag OK",
    ];
    let script = Script::play(vec![dialogue(&[
        &OPENED,
        &IDLE,
        &["S: + x"],
        &search,
        &leave,
    ])]);
    let bounds = bounds();
    let mut source = open(script.server(), &bounds);
    bounds.canceller.wake();
    assert_eq!(
        source.wait_for_mail(patiently()).unwrap(),
        WaitOutcome::Woken
    );
    let one = imap_to_gmail_sync::sync::SourceSearch::Uids("1".parse().unwrap());
    assert_eq!(source.search(&one).unwrap().len(), 1);
    bounds.canceller.wake();
    assert_eq!(
        source.wait_for_mail(patiently()).unwrap(),
        WaitOutcome::Woken
    );
    source.logout();
}

#[test]
fn a_folder_that_was_replaced_under_a_session_is_noticed() {
    // The old session finds nothing in its old folder for as long as it lives.
    let told = ["S: + idling"];
    let replaced = [
        "C: DONE",
        "S: w2 OK",
        "C: EXAMINE \"INBOX\"",
        "S: * 1 EXISTS",
        "S: * OK [UIDVALIDITY 8] x",
        "S: * OK [UIDNEXT 2] x",
        "S: $tag OK opened",
    ];
    let script = Script::play(vec![dialogue(&[&OPENED, &IDLE, &told, &replaced])]);
    let mut bounds = bounds();
    bounds.timeouts.idle_max = Duration::from_millis(50);
    let mut source = open(script.server(), &bounds);
    assert_eq!(
        source.wait_for_mail(patiently()).unwrap(),
        WaitOutcome::Elapsed
    );
    let mailbox = source.check_for_mail().unwrap();
    let seen = (
        mailbox.uid_validity.get(),
        mailbox.uid_next.get(),
        mailbox.exists,
    );
    assert_eq!(seen, (8, 2, 1));
}

#[test]
fn a_folder_that_fell_back_while_there_was_no_session_is_another_one() {
    let mut fallen = OPENED;
    fallen[6] = "S: * OK [UIDNEXT 4] x";
    let script = Script::play(vec![
        dialogue(&[&OPENED, &["C: UID FETCH 4 *"]]),
        dialogue(&[&fallen, &["C: LOGOUT", "S: $tag OK"]]),
    ]);
    let mut source = open(script.server(), &bounds());
    let fourth = Uid::new(4).unwrap();
    source.fetch(&[fourth]).unwrap();
    let error = source.list(&"4".parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("fell back"), "{error}");
}

#[test]
fn a_session_that_breaks_again_and_again_is_not_opened_each_time_at_once() {
    let news = [
        "S: + idling",
        "S: * 5 EXISTS",
        "C: DONE",
        "C: UID FETCH 5:* *",
    ];
    let breaks = dialogue(&[&OPENED, &IDLE, &news]);
    let script = Script::play(vec![breaks.clone(), breaks]);
    let mut source = open(script.server(), &bounds());
    source.wait_for_mail(patiently()).unwrap();
    source.check_for_mail().unwrap();
    source.wait_for_mail(patiently()).unwrap();
    let error = source.check_for_mail().unwrap_err().to_string();
    assert!(error.contains("looking for new mail"), "{error}");
}

#[test]
fn a_password_that_lives_for_an_hour_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "second\n").unwrap();
    let with = |password: &str| {
        let mut opened = OPENED;
        // RFC 4616: NUL, user, NUL, password.
        let line = match password {
            "first" => "C: AUTHENTICATE PLAIN AGFsaWNlAGZpcnN0",
            _ => "C: AUTHENTICATE PLAIN AGFsaWNlAHNlY29uZA==",
        };
        opened[1] = line;
        opened
    };
    let script = Script::play(vec![
        dialogue(&[&with("first"), &["C: NOOP"]]),
        dialogue(&[&with("second")]),
    ]);
    let config = SourceConfig {
        server: script.server(),
        user: "alice".to_owned(),
        password: Password::File(file),
        folder: "INBOX".to_owned(),
    };
    let first = Secret::new("first".to_owned());
    let (mut source, _) = ImapSource::open_with_options(&config, first, bounds()).unwrap();
    source.check_for_mail().unwrap();
}

#[test]
fn a_farewell_to_nobody_does_not_take_long() {
    let script = Script::play(vec![dialogue(&[&OPENED, &["C: LOGOUT", "silence"]])]);
    let mut bounds = bounds();
    bounds.timeouts.response = LONG;
    let source = open(script.server(), &bounds);
    let begun = Instant::now();
    source.logout();
    // The script itself would hang up after twenty seconds.
    assert!(begun.elapsed() < Duration::from_secs(15));
}
