//! The contracts of `Source` and `Target`: each test runs on real servers and on the doubles, so that
//! the doubles cannot drift from reality.

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

/// Runs each of these tests on each source.
macro_rules! on_each_server {
    ($($test:ident)*) => {
        mod dovecot {
            $(#[test]
            fn $test() {
                super::$test(&mut crate::dovecot::Dovecot::start());
            })*
        }
        mod courier {
            $(#[test]
            fn $test() {
                super::$test(&mut crate::courier::Courier::start());
            })*
        }
        mod double {
            $(#[test]
            fn $test() {
                super::$test(&mut crate::sources::Double::start());
            })*
        }
    };
}

mod courier;
#[path = "../support/dovecot/mod.rs"]
mod dovecot;
mod folders;
#[path = "../support/http.rs"]
mod http;
mod source;
mod sources;
mod target;
mod targets;
mod waiting;

use chrono::{DateTime, FixedOffset};

/// A message to store, or as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mail {
    octets: Vec<u8>,
    date: DateTime<FixedOffset>,
    /// In the syntax of APPEND, sorted.
    flags: String,
}

/// Parses a date in the form of RFC 3339; panics if it is none.
fn date(text: &str) -> DateTime<FixedOffset> {
    DateTime::parse_from_rfc3339(text).unwrap()
}

/// A message of 3 February 2026 at noon, so that it is that day in nearly every time zone.
fn mail(octets: impl AsRef<[u8]>) -> Mail {
    Mail {
        octets: octets.as_ref().to_vec(),
        date: date("2026-02-03T12:00:00Z"),
        flags: String::new(),
    }
}

/// A message with this id.
fn with_id(id: &str, subject: &str, body: &str) -> Vec<u8> {
    format!(
        "Message-ID: {id}\r\nDate: Mon, 3 Feb 2020 04:05:06 +0100\r\nFrom: a@example.com\r\n\
         Subject: {subject}\r\n\r\n{body}\r\n"
    )
    .into_bytes()
}

/// Those of the flags that the program copies, sorted.
fn copied(flags: &[String]) -> String {
    let copied = ["\\Seen", "\\Flagged", "\\Answered"];
    let is_set = |flag: &&str| flags.iter().any(|set| set.eq_ignore_ascii_case(flag));
    copied
        .into_iter()
        .filter(is_set)
        .collect::<Vec<_>>()
        .join(" ")
}
