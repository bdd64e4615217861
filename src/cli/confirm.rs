//! On a terminal, `--since` says how much older mail it would copy, and asks before it does.

use std::io::{self, IsTerminal, Write};

use crate::size::format_size;
use crate::sync::DryRunTotal;

/// Whether there is somebody to ask.
pub(crate) fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks whether to copy so much. Anything but a yes is a no.
pub(crate) fn ask(total: &DryRunTotal, daily_limit: Option<u64>) -> bool {
    let mut stderr = io::stderr();
    let question = question(total, daily_limit);
    let asked = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let answered = asked.and_then(|()| io::stdin().read_line(&mut answer));
    answered.is_ok() && ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
}

fn question(total: &DryRunTotal, daily_limit: Option<u64>) -> String {
    let octets = total.octets;
    let size = format_size(octets);
    let time = match daily_limit.filter(|limit| *limit > 0) {
        Some(limit) => {
            let (days, limit) = (octets.div_ceil(limit).max(1), format_size(limit));
            let days = if days == 1 {
                "within a day".to_owned()
            } else {
                format!("in {days} days")
            };
            format!(" At {limit} in 24 hours (daily_upload_limit), that is done {days}.")
        }
        None => String::new(),
    };
    format!("{total}: {size}.{time} Go on?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_says_how_much_mail_it_is_and_how_many_days_it_takes() {
        let total = DryRunTotal {
            new: 12_000,
            octets: 5 << 30,
            ..DryRunTotal::default()
        };
        let rest = "12000 messages would be copied: 5.0 GiB.";
        for (limit, expected) in [
            (None, format!("{rest} Go on?")),
            (
                Some(400 << 20),
                format!(
                    "{rest} At 400.0 MiB in 24 hours (daily_upload_limit), that is done in 13 \
                     days. Go on?"
                ),
            ),
            (
                Some(6 << 30),
                format!(
                    "{rest} At 6.0 GiB in 24 hours (daily_upload_limit), that is done within a \
                     day. Go on?"
                ),
            ),
        ] {
            assert_eq!(question(&total, limit), expected);
        }
    }
}
