//! The measured figures, and the table of them.

use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::delay_proxy::Proof;
use crate::programs::{Candidate, Cost};

/// A row of the table.
pub struct Row {
    pub title: String,
    pub unit: Unit,
    pub messages: usize,
    pub octets: u64,
    pub figures: Vec<Figure>,
}

/// The runs of a program.
pub struct Figure {
    pub candidate: Candidate,
    pub costs: Vec<Cost>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    MessagesPerSecond,
    MegabytesPerSecond,
    /// The time of a run: less is better.
    Milliseconds,
}

/// The times from the source's notice to the visible message.
pub struct Deliveries {
    pub round_trip: Duration,
    pub times: Vec<Duration>,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Candidate::Ours { connections } => {
                write!(f, "imap-to-gmail-sync, {connections} connections")
            }
            Candidate::Mbsync => f.write_str("mbsync"),
        }
    }
}

/// Of an even number the lower one.
pub fn median<T: Ord + Copy>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort();
    values[(values.len() - 1) / 2]
}

impl Figure {
    pub fn wall(&self) -> f64 {
        median(self.costs.iter().map(|cost| cost.wall)).as_secs_f64()
    }

    pub fn cpu(&self) -> f64 {
        median(self.costs.iter().map(|cost| cost.cpu)).as_secs_f64()
    }

    /// In MB.
    pub fn peak(&self) -> f64 {
        median(self.costs.iter().map(|cost| cost.peak_kilobytes)) as f64 * 1_024.0 / 1e6
    }

    fn walls(&self) -> [f64; 2] {
        let walls = || self.costs.iter().map(|cost| cost.wall);
        let (lowest, highest) = (walls().min(), walls().max());
        [lowest, highest].map(|wall| wall.unwrap_or_default().as_secs_f64())
    }
}

impl Row {
    pub fn speed(&self, figure: &Figure) -> f64 {
        match self.unit {
            Unit::MessagesPerSecond => self.messages as f64 / figure.wall(),
            Unit::MegabytesPerSecond => self.octets as f64 / 1e6 / figure.wall(),
            Unit::Milliseconds => figure.wall() * 1e3,
        }
    }

    pub fn speed_in_words(&self, figure: &Figure) -> String {
        let unit = match self.unit {
            Unit::MessagesPerSecond => "msg/s",
            Unit::MegabytesPerSecond => "MB/s",
            Unit::Milliseconds => "ms",
        };
        format!("{} {unit}", three_digits(self.speed(figure)))
    }

    fn mbsync(&self) -> Option<&Figure> {
        let mut figures = self.figures.iter();
        figures.find(|figure| figure.candidate == Candidate::Mbsync)
    }

    fn write(&self, text: &mut String) {
        for (number, figure) in self.figures.iter().enumerate() {
            let title = if number == 0 { &self.title } else { "" };
            let ratio = |of: &dyn Fn(&Figure) -> f64| match self.mbsync() {
                Some(mbsync) if mbsync.candidate != figure.candidate => {
                    format!("{:.2} ×", of(figure) / of(mbsync))
                }
                _ => String::new(),
            };
            let [lowest, highest] = figure.walls();
            let _ = writeln!(
                text,
                "| {title} | {} | {} | {} | {:.3} ({lowest:.3} to {highest:.3}) | {:.3} | {} | {:.1} | {} |",
                figure.candidate,
                self.speed_in_words(figure),
                ratio(&|figure| self.speed(figure)),
                figure.wall(),
                figure.cpu(),
                ratio(&Figure::cpu),
                figure.peak(),
                ratio(&Figure::peak),
            );
        }
    }
}

pub fn three_digits(value: f64) -> String {
    match value {
        1000.0.. => with_commas(value.round() as usize),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A number below a million.
pub fn with_commas(number: usize) -> String {
    match number / 1_000 {
        0 => number.to_string(),
        thousands => format!("{thousands},{:03}", number % 1_000),
    }
}

/// The table of the rows so far.
pub fn table(rows: &[Row]) -> String {
    let mut text =
        "| work, round trip time | program | speed, or time of a run | ÷ mbsync | wall, s \
                    (lowest to highest) | CPU, s | ÷ mbsync | peak memory, MB | ÷ mbsync |\n\
                    | --- | --- | --: | --: | --: | --: | --: | --: | --: |\n"
            .to_owned();
    for row in rows {
        row.write(&mut text);
    }
    text
}

impl Deliveries {
    pub fn sentence(&self) -> String {
        let median = median(self.times.iter().copied());
        let (lowest, highest) = (self.times.iter().min(), self.times.iter().max());
        let in_words = |time: Duration| {
            format!(
                "{:.0} ms ({:.1} round trips)",
                time.as_secs_f64() * 1e3,
                time.as_secs_f64() / self.round_trip.as_secs_f64()
            )
        };
        format!(
            "Delivery with `--watch`, {} ms: from the source's notice to the visible message {}, lowest {}, \
             highest {}; {} messages, one at a time, over warm connections. mbsync has nothing like it.\n",
            self.round_trip.as_millis(),
            in_words(median),
            in_words(lowest.copied().unwrap_or_default()),
            in_words(highest.copied().unwrap_or_default()),
            self.times.len()
        )
    }
}

impl Proof {
    pub fn sentence(&self) -> String {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        format!(
            "The proxy at {} ms: a ping-pong takes {:.2} ms (median; shortest {:.2}), 64 MB there and back \
             {:.0} MB/s.\n",
            self.wanted.as_millis(),
            milliseconds(self.median),
            milliseconds(self.shortest),
            self.throughput
        )
    }
}
