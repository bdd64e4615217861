//! The response texts of each kind of server.

/// The response texts of one kind of server, without the tag.
pub(crate) struct Texts {
    pub ok: &'static str,
    pub noop: &'static str,
    pub list: &'static str,
    pub status: &'static str,
    pub fetch: &'static str,
    pub create: &'static str,
    pub search: &'static str,
    pub capability: &'static str,
    pub closed: &'static str,
    pub idling: &'static str,
    pub idle: &'static str,
    pub bye: &'static str,
    pub logout: &'static str,
    pub go_ahead: &'static str,
    pub wrong_state: &'static str,
    pub unparsable: &'static str,
    pub empty_line: &'static str,
}

/// GMAIL.md 1.2 to 1.7, 3.1, 5. The text after CAPABILITY is followed by the connection's id.
pub(crate) const GMAIL: Texts = Texts {
    ok: "OK Success",
    noop: "OK Success",
    list: "OK Success",
    status: "OK Success",
    fetch: "OK Success",
    create: "OK Success",
    search: "OK SEARCH completed (Success)",
    capability: "OK Thats all she wrote!",
    closed: "OK Returned to authenticated state. (Success)",
    idling: "+ idling",
    idle: "OK IDLE terminated (Success)",
    bye: "* BYE LOGOUT Requested",
    logout: "OK 73 good day (Success)",
    go_ahead: "+ go ahead",
    wrong_state: "BAD Command received in Invalid state.",
    unparsable: "BAD Could not parse command",
    empty_line: "* BAD [CLIENTBUG] Invalid tag",
};

/// As Dovecot's.
pub(crate) const SOURCE: Texts = Texts {
    ok: "OK Completed.",
    noop: "OK NOOP completed (0.001 + 0.000 secs).",
    list: "OK List completed (0.001 + 0.000 secs).",
    status: "OK Status completed (0.001 + 0.000 secs).",
    fetch: "OK Fetch completed (0.001 + 0.000 secs).",
    create: "OK Create completed (0.001 + 0.000 secs).",
    search: "OK Search completed (0.001 + 0.000 secs).",
    capability: "OK Capability completed (0.001 + 0.000 secs).",
    closed: "OK Close completed (0.001 + 0.000 secs).",
    idling: "+ idling",
    idle: "OK Idle completed (0.001 + 0.000 secs).",
    bye: "* BYE Logging out",
    logout: "OK Logout completed (0.001 + 0.000 secs).",
    go_ahead: "+ OK",
    wrong_state: "BAD Error in IMAP command: not allowed now.",
    unparsable: "BAD Error in IMAP command: invalid arguments.",
    empty_line: "* BAD Error in IMAP command: no tag.",
};
