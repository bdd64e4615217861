//! What a person corrects while the process stays: the configuration, the password.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::retry::MAX_REJECTED_LOGINS;
use crate::run::timing::Clock;
use crate::run::watch::Watcher;

/// While log-ins are refused the files are looked at so often: corrected, they count at once.
const CORRECTED: TimeDelta = TimeDelta::seconds(20);

/// When a log-in may be tried again: on a date, or when as much time has passed as it was off. A
/// clock that is set back does not keep us waiting, nor does a host that sleeps.
struct RetryTime {
    date: DateTime<Utc>,
    moment: Instant,
}

impl RetryTime {
    fn on(date: DateTime<Utc>, calendar: &Clock) -> RetryTime {
        RetryTime {
            date,
            moment: Instant::now() + calendar.duration_until(date),
        }
    }

    /// How long it is until then; none if it has come.
    fn left(&self, calendar: &Clock) -> Option<Duration> {
        let passing = self.moment.saturating_duration_since(Instant::now());
        Some(calendar.duration_until(self.date).min(passing)).filter(|left| !left.is_zero())
    }
}

impl Watcher<'_> {
    /// Waits until a log-in may be tried again, or something was corrected.
    pub(super) fn source_refuses(&mut self, error: Error) -> Result<()> {
        let memory = &self.carrier.state().source;
        let Some(again) = memory
            .retry_after
            .filter(|_| memory.rejected_logins < MAX_REJECTED_LOGINS)
        else {
            return Err(error);
        };
        self.source.log_failure(&error);
        let stamp = self.carrier.config().credentials_stamp();
        let calendar = self.around.timing.clock;
        let next = RetryTime::on(again, &calendar);
        let corrected = calendar.duration_until(calendar.now() + CORRECTED);
        while let Some(left) = next.left(&calendar)
            && !self.around.requests.exit_requested()
        {
            let pause = left.min(corrected);
            self.sleep(pause, &format!("the source refuses us: {error}"));
            if self.is_corrected(&stamp) || self.around.requests.reload_requested() {
                self.reload();
                return Ok(());
            }
        }
        Ok(())
    }

    /// Says whether the files hold something else now, and nothing that was rejected already.
    fn is_corrected(&self, stamp: &str) -> bool {
        let now = Config::load(&self.args.config, self.environment);
        now.is_ok_and(|config| {
            let now = config.credentials_stamp();
            now != stamp && self.rejected.as_ref() != Some(&now)
        })
    }

    /// Reads the configuration again; one that is wrong changes nothing.
    pub(super) fn reload(&mut self) {
        let _ = self.around.requests.take_reload_request();
        let loaded = Config::load(&self.args.config, self.environment);
        self.rejected = loaded.as_ref().ok().map(Config::credentials_stamp);
        match loaded.and_then(|config| self.carrier.reconfigure(config)) {
            Ok(()) => {
                log::info!("the configuration was read again");
                self.rejected = None;
                for warning in self.carrier.config().warnings() {
                    log::warn!("{warning}");
                }
                self.open_since = None;
                self.gmail_not_before = None;
                self.source.reset_backoff();
                self.gmail.reset_backoff();
            }
            Err(error) => log::error!("{error}; going on with the configuration of before"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A calendar that is off by so many hours.
    fn off(hours: i64) -> Clock {
        // Twice as fast, from a moment so long ago: it is ahead by as much.
        Clock::accelerated(2, Utc::now() - TimeDelta::hours(hours))
    }

    #[test]
    fn a_try_is_due_on_its_date_or_when_the_time_has_passed() {
        let right = off(0);
        let next = RetryTime::on(right.now() + TimeDelta::minutes(1), &right);
        let left = next.left(&right).unwrap();
        assert!(left <= Duration::from_secs(30), "{left:?}");
        assert_eq!(next.left(&off(1)), None, "the host slept");
        let left = next.left(&off(-1)).unwrap();
        assert!(left <= Duration::from_secs(30), "set back: {left:?}");
        let passed = RetryTime {
            moment: Instant::now(),
            ..next
        };
        assert_eq!(passed.left(&off(-1)), None, "set back, and it has passed");
    }
}
