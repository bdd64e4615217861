//! The mail that is copied: the same at each run, from a seeded generator.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};

/// Mean and median size of ordinary mail, in octets.
const MEAN: f64 = 56_000.0;
const MEDIAN: f64 = 15_500.0;

/// The sizes of small mail; 4,096 octets is the largest literal that LITERAL- lets a client send unasked.
const SMALL: (f64, f64) = (700.0, 4_000.0);

const LARGE: usize = 25_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sizes spread as those of a mailbox: many short ones, few long ones.
    Ordinary,
    Large,
    Small,
}

/// A generator of messages (xorshift64*).
pub struct Generator {
    state: u64,
    /// Lines of base64 in which a body begins at any line.
    lines: String,
    newest: DateTime<Utc>,
}

/// The octets of a line with its end.
const LINE: usize = 78;

impl Generator {
    pub fn new() -> Generator {
        let mut generator = Generator {
            state: 0x9E37_79B9_7F4A_7C15,
            lines: String::new(),
            newest: Utc::now() - TimeDelta::hours(1),
        };
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for _ in 0..4_096 {
            for _ in 0..LINE - 2 {
                let letter = letters[(generator.next() >> 58) as usize];
                generator.lines.push(char::from(letter));
            }
            generator.lines.push_str("\r\n");
        }
        generator
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Between 0 and 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The sizes of so many messages. Those of ordinary mail have a log-normal distribution with exactly
    /// this mean and median.
    pub fn sizes(&mut self, kind: Kind, messages: usize) -> Vec<usize> {
        match kind {
            _ if messages == 0 => Vec::new(),
            Kind::Large => vec![LARGE; messages],
            Kind::Small => (0..messages)
                .map(|_| (SMALL.0 + self.fraction() * (SMALL.1 - SMALL.0)) as usize)
                .collect(),
            Kind::Ordinary => {
                // The sum of twelve fractions is nearly normally distributed.
                let mut normal: Vec<f64> = (0..messages)
                    .map(|_| (0..12).map(|_| self.fraction()).sum::<f64>() - 6.0)
                    .collect();
                let mut sorted = normal.clone();
                sorted.sort_by(f64::total_cmp);
                let median = sorted[messages / 2];
                for value in &mut normal {
                    *value -= median;
                }
                let size = |sigma: f64, value: f64| MEDIAN * (sigma * value).exp();
                let mean = |sigma: f64| {
                    normal.iter().map(|value| size(sigma, *value)).sum::<f64>() / messages as f64
                };
                let (mut low, mut high) = (0.0, 4.0);
                for _ in 0..50 {
                    let middle = f64::midpoint(low, high);
                    if mean(middle) < MEAN {
                        low = middle;
                    } else {
                        high = middle;
                    }
                }
                normal
                    .iter()
                    .map(|value| size(low, *value) as usize)
                    .collect()
            }
        }
    }

    /// A message of nearly this size, with an id of its own.
    pub fn message(&mut self, size: usize) -> Vec<u8> {
        let (id, date) = (self.next(), self.newest.to_rfc2822());
        let mut text = String::with_capacity(size + LINE);
        let _ = write!(
            text,
            "Return-Path: <sender@example.com>\r\n\
             Received: from mail.example.com (mail.example.com [192.0.2.1])\r\n\
             \tby mx.example.org with ESMTPS id {id:x}; {date}\r\n\
             Message-ID: <{id:016x}@example.com>\r\n\
             Date: {date}\r\n\
             From: A Sender <sender@example.com>\r\n\
             To: A Recipient <recipient@example.org>\r\n\
             Subject: A message of {size} octets\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: application/octet-stream\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n"
        );
        let lines = self.lines.len() / LINE;
        let mut line = self.next() as usize % lines;
        while text.len() + LINE <= size {
            text.push_str(&self.lines[line * LINE..(line + 1) * LINE]);
            line = (line + 1) % lines;
        }
        text.into_bytes()
    }

    /// A date of arrival in the syntax of APPEND, within the last three weeks.
    pub fn arrival(&self, number: usize, messages: usize) -> String {
        let minutes = 20 * 24 * 60 * (messages - number) / messages.max(1);
        let date = self.newest - TimeDelta::minutes(i64::try_from(minutes).expect("few minutes"));
        date.format("%d-%b-%Y %H:%M:%S +0000").to_string()
    }
}
