//! Notifications to systemd (`sd_notify(3)`); without `$NOTIFY_SOCKET` they do nothing.

use std::fmt;
use std::time::Duration;

use sd_notify::NotifyState;

/// Reports that the service has started.
pub(crate) fn ready() {
    notify(NotifyState::Ready);
}

/// Sets the text that `systemctl status` shows.
pub(crate) fn status(text: impl fmt::Display) {
    // In the protocol a line end would begin another notification.
    let line = text.to_string().replace(char::is_control, " ");
    notify(NotifyState::Status(&line));
}

/// Resets systemd's watchdog timer.
pub(crate) fn watchdog() {
    notify(NotifyState::Watchdog);
}

/// Reports that the service is about to end.
pub(crate) fn stopping() {
    notify(NotifyState::Stopping);
}

/// After how long without [`watchdog`] systemd restarts the service; `None` if it does not.
pub(crate) fn watchdog_limit() -> Option<Duration> {
    let mut microseconds = 0;
    sd_notify::watchdog_enabled(false, &mut microseconds)
        .then(|| Duration::from_micros(microseconds))
        .filter(|limit| !limit.is_zero())
}

fn notify(state: NotifyState<'_>) {
    // The environment is left as it is, because changing it is not safe beside other threads.
    if let Err(error) = sd_notify::notify(false, &[state]) {
        log::debug!("notifying systemd: {error}");
    }
}
