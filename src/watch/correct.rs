//! What a person corrects while the process stays: the configuration, the password.

use chrono::TimeDelta;

use super::{REFUSALS_BORNE, Watcher};
use crate::config::Config;
use crate::error::{Error, Result};

/// While log-ins are refused the files are looked at so often: corrected, they count at once.
const CORRECTED: TimeDelta = TimeDelta::seconds(20);

impl Watcher<'_> {
    /// Waits until a log-in may be tried again, or something was corrected.
    pub(super) fn source_refuses(&mut self, error: Error) -> Result<()> {
        let memory = &self.carrier.state().source;
        let Some(again) = memory
            .retry_after
            .filter(|_| memory.refused_logins < REFUSALS_BORNE)
        else {
            return Err(error);
        };
        self.source.is_told(&error);
        let stamp = self.carrier.config().credentials_stamp();
        while self.now() < again && !self.around.orders.end() {
            let pause = (again - self.now()).min(CORRECTED);
            let pause = self.around.pace.calendar.until(self.now() + pause);
            self.sleep(pause, &format!("the source refuses us: {error}"));
            if self.is_corrected(&stamp) || self.around.orders.wants_reload() {
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
        let _ = self.around.orders.take_reload();
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
                self.source.progresses();
                self.gmail.progresses();
            }
            Err(error) => log::error!("{error}; going on with the configuration of before"),
        }
    }
}
