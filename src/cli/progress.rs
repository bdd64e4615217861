//! The progress bar: on a terminal, for a large backlog.

use std::io::IsTerminal;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::sync::Progress;

/// A smaller backlog is copied before the user could read the bar.
const MIN_BACKLOG: usize = 20;

/// The terminal: shows progress bars, and lines that are written beside them. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Terminal(MultiProgress);

impl Terminal {
    /// Standard error. Nothing is drawn if that is not a terminal.
    pub fn new() -> Terminal {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Terminal(MultiProgress::with_draw_target(target))
    }

    /// A function that calls its argument, which writes lines, while no bar is drawn.
    pub fn line_writer(&self) -> impl Fn(&dyn Fn()) + Send + Sync + 'static {
        let Terminal(bars) = self.clone();
        move |write| bars.suspend(write)
    }

    /// A progress bar that appears when the backlog is large.
    pub fn progress_bar(&self) -> Box<dyn Progress> {
        Box::new(CopyProgressBar {
            terminal: self.clone(),
            bar: None,
            messages: 0,
            octets: 0,
        })
    }
}

struct CopyProgressBar {
    terminal: Terminal,
    bar: Option<ProgressBar>,
    messages: usize,
    octets: u64,
}

impl Progress for CopyProgressBar {
    fn backlog(&mut self, messages: usize) {
        if self.bar.is_none() && messages <= MIN_BACKLOG {
            return;
        }
        let Terminal(bars) = &self.terminal;
        let bar = self.bar.get_or_insert_with(|| bars.add(new_bar()));
        bar.set_length((self.messages + messages) as u64);
    }

    fn settled(&mut self, octets: u64) {
        self.messages += 1;
        self.octets += octets;
        if let Some(bar) = &self.bar {
            let seconds = bar.elapsed().as_secs().max(1);
            let rate = HumanBytes(self.octets / seconds);
            bar.set_message(format!("{}, {rate}/s", HumanBytes(self.octets)));
            bar.set_position(self.messages as u64);
        }
    }
}

impl Drop for CopyProgressBar {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn new_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} messages, {msg}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::no_length()
        .with_style(style)
        .with_message("0 B")
}
