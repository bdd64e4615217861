//! The daily traffic limits (GMAIL.md 6.1, 2.4).

use chrono::{DateTime, NaiveDate, Utc};

use crate::gmail::GmailOptions;

/// The octets of a day, and the lock-out.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    day: NaiveDate,
    uploaded: usize,
    downloaded: usize,
    locked_until: Option<DateTime<Utc>>,
}

impl Traffic {
    /// Whether the account is locked out.
    pub fn is_locked_out(&self, now: DateTime<Utc>) -> bool {
        self.locked_until.is_some_and(|end| now < end)
    }

    /// Counts an upload; returns whether the account is locked out.
    pub fn upload(&mut self, octets: usize, now: DateTime<Utc>, options: &GmailOptions) -> bool {
        self.turn(now);
        self.uploaded += octets;
        self.judge(now, options)
    }

    /// Counts a download; returns whether the account is locked out.
    pub fn download(&mut self, octets: usize, now: DateTime<Utc>, options: &GmailOptions) -> bool {
        self.turn(now);
        self.downloaded += octets;
        self.judge(now, options)
    }

    /// The octets uploaded today.
    pub fn uploaded(&mut self, now: DateTime<Utc>) -> usize {
        self.turn(now);
        self.uploaded
    }

    fn turn(&mut self, now: DateTime<Utc>) {
        let today = now.date_naive();
        if self.day != today {
            self.day = today;
            self.uploaded = 0;
            self.downloaded = 0;
        }
    }

    fn judge(&mut self, now: DateTime<Utc>, options: &GmailOptions) -> bool {
        let is_too_much =
            self.uploaded > options.daily_upload || self.downloaded > options.daily_download;
        if is_too_much && !self.is_locked_out(now) {
            self.locked_until = Some(now + options.lockout);
        }
        self.is_locked_out(now)
    }
}
