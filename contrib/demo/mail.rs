//! A few dozen messages, ordinary and unusual ones.

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use double::Source;

/// Delivers the mail of a week, oldest first.
pub fn deliver(source: &Source) {
    let now = Utc::now().fixed_offset();
    let mut age = TimeDelta::hours(6 * 24);
    for number in 1..=24 {
        age -= TimeDelta::minutes(331);
        let flags: &[&str] = match number % 4 {
            0 => &[],
            1 => &["\\Seen"],
            2 => &["\\Answered", "\\Seen"],
            _ => &["\\Flagged", "\\Seen"],
        };
        deliver_one(source, &message(number, now - age), now - age, flags);
    }
    for (number, octets) in unusual_messages().iter().enumerate() {
        age -= TimeDelta::minutes(7);
        let flags: &[&str] = if number % 2 == 0 { &[] } else { &["\\Seen"] };
        deliver_one(source, octets, now - age, flags);
    }
}

fn deliver_one(source: &Source, octets: &[u8], date: DateTime<FixedOffset>, flags: &[&str]) {
    // IMAP dates have no fractions of seconds.
    let date = date.format("%Y-%m-%dT%H:%M:%S%:z").to_string();
    source.deliver(octets, double::date(&date), flags);
}

fn message(number: u32, date: DateTime<FixedOffset>) -> Vec<u8> {
    let subjects = [
        "Minutes of Tuesday",
        "Lunch?",
        "Re: the roof",
        "Your invoice",
        "Photos, part one",
    ];
    let subject = subjects
        .get(number as usize % subjects.len())
        .unwrap_or(&"Hello");
    let date = date.to_rfc2822();
    let text = "A line of text like many others.\r\n".repeat(1 + number as usize * 17 % 90);
    format!(
        "Date: {date}\r\nFrom: sender{number}@example.org\r\nTo: user@example.org\r\n\
         Subject: {subject} ({number})\r\nMessage-ID: <{number}@example.org>\r\n\r\n{text}"
    )
    .into_bytes()
}

/// Messages that are difficult to copy.
fn unusual_messages() -> Vec<Vec<u8>> {
    let attachment =
        "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJz\r\n".repeat(9_000);
    let mut mail = vec![
        b"Subject: without a Message-ID\r\n\r\nNobody can ask for it by name.\r\n".to_vec(),
        b"Message-ID: <scanner@example.org>\r\nSubject: scan 1 of a device\r\n\r\nIt uses one id\r\n"
            .to_vec(),
        b"Message-ID: <scanner@example.org>\r\nSubject: scan 2 of a device\r\n\r\nfor everything.\r\n"
            .to_vec(),
        b"Message-ID: <\"odd id\" {1}%\\!@example.org>\r\nSubject: an odd id\r\n\r\nQuoted with care.\r\n"
            .to_vec(),
        "Message-ID: <utf8@example.org>\r\nSubject: Gr\u{fc}\u{df}e in UTF-8, not encoded\r\n\r\n\u{2603}\r\n"
            .as_bytes()
            .to_vec(),
        b"Message-ID:\r\n <folded@example.org>\r\nSubject: a folded\r\n subject\r\n\r\nText.\r\n".to_vec(),
        b"Message-ID: <date@example.org>\r\nDate: yesterday, I think\r\nSubject: a date nobody can read\r\n\r\n.\r\n"
            .to_vec(),
        b"Message-ID: <1970@example.org>\r\nDate: Thu, 01 Jan 1970 00:00:00 +0000\r\nSubject: from 1970\r\n\r\n.\r\n"
            .to_vec(),
        b"Message-ID: <lf@example.org>\nSubject: bare line feeds\n\nAs some programs send.\n".to_vec(),
    ];
    mail.push(
        format!(
            "Message-ID: <large@example.org>\r\nSubject: an attachment\r\nMIME-Version: 1.0\r\n\
             Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n{attachment}"
        )
        .into_bytes(),
    );
    mail
}
