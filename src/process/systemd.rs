//! What systemd is told of a resident run (sd_notify(3)); without `$NOTIFY_SOCKET`, nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// It works from here on.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// What it does, for a person who reads `systemctl status`.
pub fn status(text: &str) {
    // The protocol has a line for each word: a line end would begin another one.
    let line = text.replace(char::is_control, " ");
    tell(&[NotifyState::Status(&line)]);
}

/// It is alive.
pub fn watchdog() {
    tell(&[NotifyState::Watchdog]);
}

/// It comes to its end.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// How long systemd waits for a sign of life before it believes us dead; none if it does not.
#[must_use]
pub fn watchdog_limit() -> Option<Duration> {
    let mut microseconds = 0;
    sd_notify::watchdog_enabled(false, &mut microseconds)
        .then(|| Duration::from_micros(microseconds))
        .filter(|limit| !limit.is_zero())
}

fn tell(words: &[NotifyState<'_>]) {
    // The environment is left as it is: to change it beside other threads is not safe.
    if let Err(error) = sd_notify::notify(false, words) {
        log::debug!("telling systemd: {error}");
    }
}
