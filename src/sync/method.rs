//! Decides how a message is delivered. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use crate::message::{DeliveryMethod, Flags, InternalDate};
use crate::sync::TargetStatus;

/// Which messages are imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportPolicy {
    /// Those that the source received at most this long ago.
    pub max_age: TimeDelta,
}

/// How a message of this INTERNALDATE, with these flags and of so many octets, is delivered.
///
/// An import dates a message itself, so that it is for new mail. It cannot set `\Answered`; and a message
/// that its reader has answered is not spam. One that is too large for APPEND is imported whatever its age.
pub(super) fn choose(
    policy: Option<ImportPolicy>,
    status: TargetStatus,
    date: InternalDate,
    flags: Flags,
    octets: u64,
    now: DateTime<Utc>,
) -> DeliveryMethod {
    let Some(policy) = policy.filter(|_| status.import_limit.is_some()) else {
        return DeliveryMethod::Append;
    };
    let is_too_large = status.append_limit.is_some_and(|limit| octets > limit);
    let is_new = date.is_some_and(|date| now - date.to_utc() <= policy.max_age);
    if is_too_large || is_new && !flags.answered {
        DeliveryMethod::Import
    } else {
        DeliveryMethod::Append
    }
}

/// The largest message that the target accepts by any method; `None` if it announces no limit.
pub(super) fn largest(policy: Option<ImportPolicy>, status: TargetStatus) -> Option<u64> {
    let import_limit = status.import_limit.filter(|_| policy.is_some());
    let append_limit = status.append_limit?;
    Some(import_limit.map_or(append_limit, |limit| limit.max(append_limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: TargetStatus = TargetStatus {
        append_limit: Some(1_000),
        import_limit: Some(5_000),
        mark: None,
        has_labels: true,
    };

    const DAY: Option<ImportPolicy> = Some(ImportPolicy {
        max_age: TimeDelta::hours(24),
    });

    fn chosen(
        policy: Option<ImportPolicy>,
        date: &str,
        answered: bool,
        octets: u64,
    ) -> DeliveryMethod {
        let now = "2026-11-22T20:00:00Z".parse().unwrap();
        let date = DateTime::parse_from_rfc3339(date).ok();
        let flags = Flags {
            answered,
            ..Flags::default()
        };
        choose(policy, STATUS, date, flags, octets, now)
    }

    #[test]
    fn new_mail_is_imported_and_old_mail_appended() {
        use DeliveryMethod::{Append, Import};
        for (date, expected) in [
            ("2026-11-22T20:59:00+01:00", Import),
            ("2026-11-21T20:00:00Z", Import),
            ("2026-11-21T19:59:59Z", Append),
            ("2026-11-23T08:00:00Z", Import),
            ("none", Append),
        ] {
            assert_eq!(chosen(DAY, date, false, 500), expected, "{date}");
            assert_eq!(chosen(None, date, false, 500), Append, "{date}");
        }
    }

    #[test]
    fn a_message_that_was_answered_is_appended() {
        let answered = chosen(DAY, "2026-11-22T19:00:00Z", true, 500);
        assert_eq!(answered, DeliveryMethod::Append);
    }

    #[test]
    fn a_message_above_the_append_limit_is_imported_whatever_its_age() {
        let old = "2026-11-01T00:00:00Z";
        assert_eq!(chosen(DAY, old, true, 1_001), DeliveryMethod::Import);
        assert_eq!(chosen(DAY, old, true, 1_000), DeliveryMethod::Append);
        assert_eq!(chosen(None, old, true, 1_001), DeliveryMethod::Append);
    }

    #[test]
    fn the_largest_message_depends_on_whether_any_is_imported() {
        assert_eq!(largest(DAY, STATUS), Some(5_000));
        assert_eq!(largest(None, STATUS), Some(1_000));
        let unlimited = TargetStatus {
            append_limit: None,
            ..STATUS
        };
        assert_eq!(largest(DAY, unlimited), None);
    }
}
