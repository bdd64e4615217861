//! Every time-out: how long something may take, and what happens when it takes longer.
//!
//! Intervals (of polls, of progress checks) stand where they are used, retry delays in
//! `retry`.

use std::time::Duration;

/// The time-outs of an IMAP connection.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For each address of a server to accept a TCP connection; then the next address is tried.
    pub connect: Duration,
    /// For a line of a response, for the next part of a literal, and for the peer to take what is
    /// sent; then the connection is closed.
    pub response: Duration,
    /// For a command as a whole, even if the server keeps sending untagged responses; each part of a
    /// long response extends it by `response`. Then the connection is closed.
    pub command: Duration,
    /// For a peer that answers no TCP keep-alive probe, also during IDLE; then the connection is
    /// closed. Probes start at half of it.
    pub silence: Duration,
    /// For all waits together in which Gmail sends nothing, on any connection.
    pub total_silence: Duration,
    /// For the server to answer IDLE, and DONE; then the connection is closed.
    pub idle_start: Duration,
    /// For one IDLE; then it is ended, and a check follows. Servers may end an IDLE after 30 minutes
    /// (RFC 2177), routers forget a quiet connection earlier, and servers forget to report new mail.
    pub idle_max: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(20),
            response: Duration::from_mins(1),
            command: Duration::from_mins(10),
            silence: Duration::from_mins(2),
            total_silence: Duration::from_secs(90),
            idle_start: Duration::from_secs(15),
            idle_max: Duration::from_mins(9),
        }
    }
}

/// As [`Timeouts::command`], while a person waits for the result of a check.
pub(crate) const CHECK_COMMAND_TIMEOUT: Duration = Duration::from_mins(1);

/// For the greeting in plain text on port 993, where servers wait for a TLS handshake and send nothing;
/// then the connection is closed.
pub(crate) const PLAIN_GREETING_ON_IMAPS_TIMEOUT: Duration = Duration::from_secs(5);

/// For the server to answer what was sent together with a log-in, after it has accepted that; then it is
/// taken for one that loses pipelined commands.
pub(crate) const PIPELINED_TIMEOUT: Duration = Duration::from_secs(10);

/// For sending LOGOUT, and for a server that loses pipelined commands to answer it; then the connection is
/// closed without it.
pub(crate) const LOGOUT_TIMEOUT: Duration = Duration::from_secs(2);

/// Gmail's connections are closed when no message has used them for this long.
pub(crate) const GMAIL_IDLE_TIMEOUT: Duration = Duration::from_mins(5);

/// For the user to give the consent in the browser; then `auth` fails.
pub const CONSENT_TIMEOUT: Duration = Duration::from_mins(5);

/// For the token endpoint to accept a connection; then the request is repeated.
pub(crate) const TOKEN_CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// For a request to the token endpoint with all its repetitions; then it fails.
pub(crate) const TOKEN_REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

/// For a request to the Gmail API as a whole; each step of it has a time-out of its own.
pub(crate) const API_REQUEST_TIMEOUT: Duration = Duration::from_hours(24);

/// For a connection to the Gmail API that no request uses; then it is not used again. Google closes it
/// after some minutes.
pub(crate) const API_IDLE_TIMEOUT: Duration = Duration::from_secs(100);

/// For the browser to send a request on a connection that it opened; then the connection is closed.
/// Browsers open some that they never use.
pub(crate) const BROWSER_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// For the browser to read the result page; then the connection is closed.
pub(crate) const BROWSER_RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// For a named pipe that the user gives as a file to contain something; then it is an error. Programs
/// such as `sops exec-file` hand over a secret by one.
pub(crate) const PIPE_TIMEOUT: Duration = Duration::from_secs(5);

/// For another process to release the lock on a folder in which it replaces a file; then the file
/// is replaced without the lock.
pub(crate) const FILE_LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// For another process to release the lock of the log file; then the line is written without it.
pub(crate) const LOG_LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// For `source_pass_command`, which a key store may slow down; then it is killed.
pub(crate) const PASSWORD_COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// For the output of `source_pass_command` after it has ended; then what has arrived counts. A
/// process that it leaves running (an agent) may hold the pipes open.
pub(crate) const PASSWORD_OUTPUT_TIMEOUT: Duration = Duration::from_millis(500);

/// For work in progress on connections after an exit request; then reads and writes fail.
pub(crate) const EXIT_IO_TIMEOUT: Duration = Duration::from_millis(2500);

/// For the process to end after an exit request; then it exits at once, which the journal allows at
/// any moment. Service managers kill a process after ten seconds at the earliest.
pub(crate) const FORCED_EXIT_TIMEOUT: Duration = Duration::from_millis(4500);

/// For the lookup of a host name. Resolvers have their own time-outs, which are shorter.
pub(crate) const NAME_LOOKUP_TIMEOUT: Duration = Duration::from_mins(1);

/// For a step of a pass in which no octet is sent or received; then the watchdog no longer reports to
/// systemd. Longer than every single wait, and several of them.
pub(crate) const PASS_STEP_TIMEOUT: Duration = Duration::from_mins(15);

/// After BYE the responses to what is open must follow at once; many servers leave the connection
/// open.
pub(crate) const BYE_TIMEOUT: Duration = Duration::from_secs(2);

/// For the commands before and after a wait, in addition to the wait; then the watchdog no longer
/// reports to systemd.
pub(crate) const WAIT_COMMANDS_TIMEOUT: Duration = Duration::from_mins(25);

/// For the syslog daemon to take a log line; then the line is lost.
pub(crate) const SYSLOG_TIMEOUT: Duration = Duration::from_secs(1);
