//! Delivery by the Gmail API: `delivery` and its options.

use chrono::TimeDelta;

use crate::config::is_loopback;
use crate::config::raw::{RawConfig, Validated};
use crate::config::size::parse_duration;

const GMAIL_API: &str = "https://gmail.googleapis.com";

const DEFAULT_MAX_AGE: TimeDelta = TimeDelta::hours(24);

/// How messages are imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportConfig {
    /// Messages that the source received at most this long ago are imported.
    pub max_age: TimeDelta,
    /// Whether Gmail takes no imported message for spam.
    pub never_spam: bool,
    /// Whether Gmail puts invitations into the calendar.
    pub process_for_calendar: bool,
    /// The address of the API, without a slash at the end.
    pub api: String,
}

/// How messages are imported; `None` if they are not.
pub(super) fn import_config(raw: &mut RawConfig) -> Validated<Option<ImportConfig>> {
    let is_wanted = match raw.line("delivery") {
        Ok(delivery) => match delivery.as_deref() {
            None | Some("append") => Ok(false),
            Some("import") => Ok(true),
            Some(_) => Err(raw.add_mistake("delivery must be \"append\" or \"import\"")),
        },
        Err(mistake) => Err(mistake),
    };
    let max_age = max_age(raw);
    let never_spam = raw.boolean("import_never_spam");
    let process_for_calendar = raw.boolean("import_calendar");
    let api = api(raw);
    let config = ImportConfig {
        max_age: max_age?,
        never_spam: never_spam?.unwrap_or(false),
        process_for_calendar: process_for_calendar?.unwrap_or(true),
        api: api?,
    };
    Ok(is_wanted?.then_some(config))
}

fn max_age(raw: &mut RawConfig) -> Validated<TimeDelta> {
    let Some(text) = raw.line("import_max_age")? else {
        return Ok(DEFAULT_MAX_AGE);
    };
    parse_duration(&text).ok_or_else(|| {
        raw.add_mistake("import_max_age must be a duration, such as \"24h\", \"90m\" or \"7d\"")
    })
}

/// The access token is sent there: over TLS, or to this machine.
fn api(raw: &mut RawConfig) -> Validated<String> {
    let Some(address) = raw.line("target_api")? else {
        return Ok(GMAIL_API.to_owned());
    };
    if is_protected(&address) {
        Ok(address)
    } else {
        Err(raw.add_mistake(
            "target_api must be https:// and a host (http:// only to this machine itself)",
        ))
    }
}

fn is_protected(address: &str) -> bool {
    let is_host = |host: &str| {
        !host.is_empty() && !host.contains(|it: char| it.is_whitespace() || "/?#@\\".contains(it))
    };
    if let Some(host) = address.strip_prefix("https://") {
        return is_host(host);
    }
    let Some(host) = address.strip_prefix("http://").filter(|host| is_host(host)) else {
        return false;
    };
    let is_port = |port: &str| port.bytes().all(|octet| octet.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        _ => host,
    };
    is_loopback(name.trim_matches(['[', ']']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_sent_over_tls_or_to_this_machine() {
        for (address, expected) in [
            ("https://gmail.googleapis.com", true),
            ("https://gmail.googleapis.com:8443", true),
            ("https://gmail.googleapis.com/", false),
            ("https://user@gmail.googleapis.com", false),
            ("https://", false),
            ("http://127.0.0.1:8080", true),
            ("http://localhost", true),
            ("http://[::1]:8080", true),
            ("http://gmail.googleapis.com", false),
            ("http://127.0.0.1.example.com", false),
            ("gmail.googleapis.com", false),
        ] {
            assert_eq!(is_protected(address), expected, "{address}");
        }
    }
}
