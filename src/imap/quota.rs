//! GETQUOTAROOT (RFC 9208 4.1.3).

use crate::imap::{Command, MailboxName, Session};

/// The storage of an account, in octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StorageQuota {
    pub used: u64,
    pub limit: u64,
}

impl Session {
    /// The storage of the account that a folder belongs to; `None` if the server does not tell.
    pub(crate) fn storage_quota(&mut self, folder: &str) -> Option<StorageQuota> {
        if !self.capabilities().ok()?.has("QUOTA") {
            return None;
        }
        let name = MailboxName::new(folder)?;
        self.command(Command::GetQuotaRoot(name)).ok()?;
        // The responses that reach the parser hold no QUOTA.
        let lines = self.transcript().last_lines();
        lines.iter().find_map(|line| StorageQuota::in_line(line))
    }
}

impl StorageQuota {
    /// Whether a message of this size does not fit.
    pub fn is_full_for(self, octets: u64) -> bool {
        self.used.saturating_add(octets) > self.limit
    }

    /// Reads `* QUOTA "" (STORAGE 450 31457280)`, in units of 1024 octets.
    fn in_line(line: &[u8]) -> Option<StorageQuota> {
        let line = std::str::from_utf8(line).ok()?.to_ascii_uppercase();
        let (_, resources) = line.strip_prefix("* QUOTA ")?.rsplit_once('(')?;
        let mut words = resources.trim_end_matches(')').split_ascii_whitespace();
        words.find(|word| *word == "STORAGE")?;
        let mut octets = || Some(words.next()?.parse::<u64>().ok()?.saturating_mul(1024));
        Some(StorageQuota {
            used: octets()?,
            limit: octets()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_storage_is_read_among_other_resources() {
        let quota = |used: u64, limit: u64| {
            Some(StorageQuota {
                used: used * 1024,
                limit: limit * 1024,
            })
        };
        for (line, expected) in [
            (
                "* QUOTA \"\" (STORAGE 450 31457280)",
                quota(450, 31_457_280),
            ),
            ("* quota root (MESSAGE 1 2 storage 3 4)", quota(3, 4)),
            ("* QUOTA \"(\" (STORAGE 3 4)", quota(3, 4)),
            ("* QUOTA \"\" (MESSAGE 1 2)", None),
            ("* QUOTA \"\" (STORAGE many 4)", None),
            ("* QUOTAROOT \"INBOX\" \"\"", None),
        ] {
            assert_eq!(StorageQuota::in_line(line.as_bytes()), expected, "{line}");
        }
        let quota = quota(3, 4).unwrap();
        assert!(!quota.is_full_for(1024) && quota.is_full_for(1025));
    }
}
