//! The contract of `Source`.

use chrono::NaiveDate;
use imap_to_gmail_sync::error::ErrorKind;
use imap_to_gmail_sync::message::{HashedOctets, Identity, Uid, UidSet};
use imap_to_gmail_sync::sync::{Fetched, Source, SourceSearch};

use crate::sources::SourceServer;
use crate::{Mail, copied, date, mail, with_id};

on_each_server! {
    an_empty_mailbox_has_no_messages
    a_mailbox_reports_its_message_count_and_the_next_uid
    a_search_by_uid_finds_those_that_exist
    a_search_by_many_ranges_finds_them_all
    a_search_by_day_uses_the_day_of_arrival
    a_listing_contains_size_date_flags_and_identity
    octets_are_fetched_unchanged_in_the_requested_order
    a_large_message_is_fetched_completely
    nothing_is_marked_as_read
    mail_that_arrives_meanwhile_does_not_change_what_is_fetched
    a_message_that_is_expunged_meanwhile_is_missing_and_no_other_takes_its_place
    a_folder_whose_name_needs_encoding_is_opened_and_has_another_uidvalidity_when_it_is_recreated
    a_folder_that_does_not_exist_is_a_configuration_error
    a_wrong_password_is_rejected
}

fn uids(numbers: &[u32]) -> Vec<Uid> {
    numbers.iter().filter_map(|uid| Uid::new(*uid)).collect()
}

fn all() -> SourceSearch {
    SourceSearch::Uids("1:4294967295".parse().unwrap())
}

fn set(text: &str) -> UidSet {
    text.parse().unwrap()
}

/// The beginning of what was fetched, for messages of failures.
fn shown(fetched: &Fetched) -> String {
    match fetched {
        Fetched::Octets(HashedOctets { octets, .. }) => {
            let begin = &octets[..octets.len().min(200)];
            format!("{} octets: {}", octets.len(), begin.escape_ascii())
        }
        other => format!("{other:?}"),
    }
}

fn an_empty_mailbox_has_no_messages(server: &mut dyn SourceServer) {
    let (mut source, mailbox) = server.open("INBOX");
    assert_eq!((mailbox.exists, mailbox.uid_next), (0, Uid::MIN));
    assert_eq!(source.search(&all()).unwrap(), []);
    assert_eq!(source.list(&set("1:7")).unwrap(), []);
    assert_eq!(source.fetch(&uids(&[1])).unwrap(), [Fetched::Missing]);
}

fn a_mailbox_reports_its_message_count_and_the_next_uid(server: &mut dyn SourceServer) {
    for number in 1..=3 {
        let uid = server.deliver("INBOX", &mail(with_id("<a@b>", "s", "body")));
        assert_eq!(uid, number);
    }
    let (_, before) = server.open("INBOX");
    assert_eq!((before.exists, before.uid_next.get()), (3, 4));
    server.expunge("INBOX", 3);
    let (_, after) = server.open("INBOX");
    assert_eq!((after.exists, after.uid_next.get()), (2, 4));
    assert_eq!(after.uid_validity, before.uid_validity);
}

fn a_search_by_uid_finds_those_that_exist(server: &mut dyn SourceServer) {
    for number in 0..5 {
        server.deliver("INBOX", &mail(with_id("<a@b>", &number.to_string(), "b")));
    }
    server.expunge("INBOX", 2);
    let (mut source, _) = server.open("INBOX");
    let mut search = |text| source.search(&SourceSearch::Uids(set(text))).unwrap();
    assert_eq!(search("1:4294967295"), uids(&[1, 3, 4, 5]));
    assert_eq!(search("2"), []);
    assert_eq!(search("1:2,4"), uids(&[1, 4]));
    assert_eq!(search("5:99"), uids(&[5]));
    // `n:*` finds the last message however high n is; the program's ranges must not.
    assert_eq!(search("6:4294967295"), []);
}

fn a_search_by_many_ranges_finds_them_all(server: &mut dyn SourceServer) {
    for _ in 0..3 {
        server.deliver("INBOX", &mail(with_id("<a@b>", "s", "b")));
    }
    let (mut source, _) = server.open("INBOX");
    let odd: UidSet = (0..1_500)
        .filter_map(|half| Uid::new(2 * half + 1))
        .collect();
    assert_eq!(
        source.search(&SourceSearch::Uids(odd.clone())).unwrap(),
        uids(&[1, 3])
    );
    let listed = source.list(&odd).unwrap();
    let listed: Vec<Uid> = listed.iter().map(|listed| listed.uid).collect();
    assert_eq!(listed, uids(&[1, 3]));
}

fn a_search_by_day_uses_the_day_of_arrival(server: &mut dyn SourceServer) {
    for day in ["2026-02-01", "2026-02-03", "2026-02-02", "2026-02-03"] {
        // The Date field says 2020.
        server.deliver(
            "INBOX",
            &Mail {
                date: date(&format!("{day}T12:00:00Z")),
                ..mail(with_id("<a@b>", "s", "b"))
            },
        );
    }
    let (mut source, _) = server.open("INBOX");
    let day = |day| NaiveDate::from_ymd_opt(2026, 2, day).unwrap();
    let mut search = |search| source.search(&search).unwrap();
    assert_eq!(search(SourceSearch::Since(day(1))), uids(&[1, 2, 3, 4]));
    assert_eq!(search(SourceSearch::Since(day(2))), uids(&[2, 3, 4]));
    assert_eq!(search(SourceSearch::Since(day(4))), []);
    assert_eq!(search(SourceSearch::On(day(3))), uids(&[2, 4]));
    assert_eq!(search(SourceSearch::On(day(4))), []);
}

fn a_listing_contains_size_date_flags_and_identity(server: &mut dyn SourceServer) {
    let long = format!("<{}@x>", "i".repeat(500));
    let headers = [
        "Message-ID: <a@b>\r\nDate: d\r\nFrom: f\r\nSubject: s\r\n\r\nbody\r\n",
        "message-id:<lower@case>\r\nSUBJECT:s\r\n\r\n",
        "Message-ID:\r\n <folded@id>\r\nSubject: one\r\n\ttwo\r\n three\r\n\r\nbody\r\n",
        "Subject: no id\r\n\r\nMessage-ID: <in@body>\r\n",
        "Message-ID: <first@x>\r\nMessage-ID: <second@x>\r\n\r\nbody\r\n",
        "Message-ID: <>\r\nFrom: Grüße <a@b>\r\nSubject: 8-bit \u{1f4e7}\r\n\r\nbody\r\n",
        "Message-ID: odd \"id\" \\ with {5} and %\r\nSubject: (x) \"y\"\r\n\r\nbody\r\n",
        "Received: x\r\n\r\nno field that matters\r\n",
        &format!("Message-ID: {long}\r\nSubject: s\r\n\r\nb\r\n"),
    ];
    let flags = [
        "",
        "\\Seen",
        "\\Flagged",
        "\\Answered \\Seen",
        "\\Draft \\Seen",
    ];
    let mails: Vec<Mail> = headers
        .iter()
        .zip(flags.iter().cycle())
        .zip(["+0000", "+0130", "-0800"].iter().cycle())
        .map(|((header, flags), zone)| Mail {
            octets: header.as_bytes().to_vec(),
            date: chrono::DateTime::parse_from_str(
                &format!("2026-02-01 09:08:07 {zone}"),
                "%Y-%m-%d %H:%M:%S %z",
            )
            .unwrap(),
            flags: (*flags).to_owned(),
        })
        .collect();
    for mail in &mails {
        server.deliver("INBOX", mail);
    }
    let (mut source, _) = server.open("INBOX");
    let listed = source.list(&set("1:9999")).unwrap();
    assert_eq!(listed.len(), mails.len());
    for (listed, mail) in listed.iter().zip(&mails) {
        let shown = String::from_utf8_lossy(&mail.octets);
        assert_eq!(listed.size, mail.octets.len() as u64, "{shown}");
        assert_eq!(listed.internal_date, Some(mail.date), "{shown}");
        let flags: Vec<String> = mail.flags.split(' ').map(str::to_owned).collect();
        assert_eq!(listed.flags.to_string(), copied(&flags), "{shown}");
        assert_eq!(
            listed.identity,
            Identity::of_header(&mail.octets),
            "{shown}"
        );
    }
    let third = source.list(&set("3")).unwrap();
    assert_eq!(third, listed[2..3]);
}

fn octets_are_fetched_unchanged_in_the_requested_order(server: &mut dyn SourceServer) {
    let long = format!("Subject: s\r\n\r\n{}\r\n", "x".repeat(5_000));
    let mails: [&[u8]; 6] = [
        b"Subject: s\r\n\r\n.\r\n..\r\n) OK done\r\nA1 OK\r\n* BYE\r\n",
        b"Subject: 8-bit\r\n\r\nGr\xc3\xbc\xc3\x9fe, \xfc\xdf\x80\xff\r\n",
        b"Subject: no last line end\r\n\r\n{5}",
        b"Subject: no body\r\n\r\n",
        long.as_bytes(),
        b"Subject: \"quoted\" \\ {12}\r\n\r\n\t \r\n\r\n",
    ];
    for octets in mails {
        server.deliver("INBOX", &mail(octets));
    }
    server.expunge("INBOX", 4);
    let (mut source, _) = server.open("INBOX");
    let fetched = source.fetch(&uids(&[6, 4, 1, 2, 99, 5, 3])).unwrap();
    let expected = [Some(5), None, Some(0), Some(1), None, Some(4), Some(2)];
    assert_eq!(fetched.len(), expected.len());
    for (fetched, expected) in fetched.into_iter().zip(expected) {
        let expected = expected.map_or(Fetched::Missing, |index: usize| {
            Fetched::from(server.as_returned(mails[index]))
        });
        assert!(
            fetched == expected,
            "{} instead of {}",
            shown(&fetched),
            shown(&expected)
        );
    }
}

fn a_large_message_is_fetched_completely(server: &mut dyn SourceServer) {
    let octets = [
        b"Subject: large\r\n\r\n".to_vec(),
        b"0123456789abcdef0123456789abcde\r\n".repeat(100_000),
    ]
    .concat();
    server.deliver("INBOX", &mail(&octets));
    let (mut source, _) = server.open("INBOX");
    assert_eq!(source.list(&set("1")).unwrap()[0].size, octets.len() as u64);
    let fetched = source.fetch(&uids(&[1])).unwrap();
    assert!(fetched == [Fetched::from(octets)]);
}

fn nothing_is_marked_as_read(server: &mut dyn SourceServer) {
    server.deliver("INBOX", &mail(with_id("<a@b>", "s", "b")));
    let (mut source, _) = server.open("INBOX");
    source.list(&set("1")).unwrap();
    source.fetch(&uids(&[1])).unwrap();
    source.logout();
    assert_eq!(server.flags("INBOX"), [""]);
}

fn mail_that_arrives_meanwhile_does_not_change_what_is_fetched(server: &mut dyn SourceServer) {
    let first = with_id("<a@b>", "first", "b");
    server.deliver("INBOX", &mail(&first));
    let (mut source, mailbox) = server.open("INBOX");
    server.deliver("INBOX", &mail(with_id("<c@d>", "second", "b")));
    assert_eq!(mailbox.uid_next.get(), 2);
    let found = source.search(&SourceSearch::Uids(set("1"))).unwrap();
    assert_eq!(found, uids(&[1]));
    assert_eq!(source.list(&set("1")).unwrap().len(), 1);
    let fetched = source.fetch(&uids(&[1])).unwrap();
    assert_eq!(fetched, [Fetched::from(first)]);
    // The next check finds it.
    assert_eq!(server.open("INBOX").1.uid_next.get(), 3);
}

fn a_message_that_is_expunged_meanwhile_is_missing_and_no_other_takes_its_place(
    server: &mut dyn SourceServer,
) {
    let third = with_id("<3@b>", "third", "b");
    for octets in [
        &with_id("<1@b>", "first", "b"),
        &with_id("<2@b>", "second", "b"),
        &third,
    ] {
        server.deliver("INBOX", &mail(octets));
    }
    let (mut source, _) = server.open("INBOX");
    assert_eq!(source.list(&set("1:3")).unwrap().len(), 3);
    server.expunge("INBOX", 2);
    let fetched = source.fetch(&uids(&[2, 3])).unwrap();
    let second = Fetched::from(with_id("<2@b>", "second", "b"));
    // A server may still return its octets to a session that saw it before.
    let is_honest = !matches!(fetched[0], Fetched::Octets(_)) || fetched[0] == second;
    assert!(is_honest, "{}", shown(&fetched[0]));
    assert_eq!(fetched[1], Fetched::from(third));
    source.logout();
    let (mut source, _) = server.open("INBOX");
    assert_eq!(source.search(&all()).unwrap(), uids(&[1, 3]));
    let listed = source.list(&set("1:3")).unwrap();
    let listed: Vec<Uid> = listed.iter().map(|listed| listed.uid).collect();
    assert_eq!(listed, uids(&[1, 3]));
}

fn a_folder_whose_name_needs_encoding_is_opened_and_has_another_uidvalidity_when_it_is_recreated(
    server: &mut dyn SourceServer,
) {
    let [name, on_the_wire] = server.other_folder();
    server.create(&on_the_wire);
    server.deliver(&on_the_wire, &mail(with_id("<a@b>", "s", "b")));
    let (_, before) = server.open(&name);
    assert_eq!((before.exists, before.uid_next.get()), (1, 2));
    server.recreate(&on_the_wire);
    let (_, after) = server.open(&name);
    assert_eq!((after.exists, after.uid_next), (0, Uid::MIN));
    assert_ne!(after.uid_validity, before.uid_validity);
}

fn a_folder_that_does_not_exist_is_a_configuration_error(server: &mut dyn SourceServer) {
    let error = server.open_as(server.password(), "Inbocks").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("INBOX"), "{error}");
}

fn a_wrong_password_is_rejected(server: &mut dyn SourceServer) {
    let error = server.open_as("wrong", "INBOX").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
}
