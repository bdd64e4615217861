//! The bar: on a terminal, for a backlog worth waiting for.

use std::io::IsTerminal;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::sync::Progress;

/// Fewer messages are done before a person has read the bar.
const WORTH_A_BAR: usize = 20;

/// The terminal, shared by the bar and the lines that must not tear it.
#[derive(Debug, Clone)]
pub struct Terminal(MultiProgress);

impl Terminal {
    /// Standard error; nothing is ever drawn where that is not a terminal.
    #[must_use]
    pub fn new() -> Terminal {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Terminal(MultiProgress::with_draw_target(target))
    }

    /// Does something that writes lines, with the bar out of the way.
    pub fn suspend_bar<T>(&self, write: impl FnOnce() -> T) -> T {
        self.0.suspend(write)
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Terminal::new()
    }
}

/// A bar that appears when there is enough to do.
#[derive(Debug)]
pub struct CopyProgressBar<'a> {
    screen: &'a Terminal,
    drawn: Option<ProgressBar>,
    done: usize,
    octets: u64,
}

impl CopyProgressBar<'_> {
    /// A bar on this screen.
    #[must_use]
    pub fn new(screen: &Terminal) -> CopyProgressBar<'_> {
        CopyProgressBar {
            screen,
            drawn: None,
            done: 0,
            octets: 0,
        }
    }
}

impl Progress for CopyProgressBar<'_> {
    fn backlog(&mut self, messages: usize) {
        if self.drawn.is_none() && messages <= WORTH_A_BAR {
            return;
        }
        let bar = self.drawn.get_or_insert_with(|| {
            self.screen.0.add(
                ProgressBar::no_length()
                    .with_style(style())
                    .with_message("0 B"),
            )
        });
        bar.set_length((self.done + messages) as u64);
    }

    fn settled(&mut self, octets: u64) {
        self.done += 1;
        self.octets += octets;
        if let Some(bar) = &self.drawn {
            let seconds = bar.elapsed().as_secs().max(1);
            let rate = HumanBytes(self.octets / seconds);
            bar.set_message(format!("{}, {rate}/s", HumanBytes(self.octets)));
            bar.set_position(self.done as u64);
        }
    }
}

impl Drop for CopyProgressBar<'_> {
    fn drop(&mut self) {
        if let Some(bar) = self.drawn.take() {
            bar.finish_and_clear();
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {pos}/{len} messages, {msg}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
