//! Servers that no one else can play.
