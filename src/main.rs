//! Exit status of `run`; nothing else.
fn main() {}
