//! `corelane top`: the live page in the terminal, of a proxy here or elsewhere.

mod filter;
mod keys;
mod panel;
mod screen;
mod source;
mod view;
mod words;

use std::io::{IsTerminal, stdout};
use std::time::{Duration, Instant};

use anyhow::Context;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};

use self::keys::on_key;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::source::{Source, Update};
use self::view::View;
use crate::target::Target;

/// How long a key or an update may go unnoticed.
const TICK: Duration = Duration::from_millis(100);

/// Shows the proxy whose admin server is `target`, until q or Ctrl-C.
///
/// # Errors
/// When there is no terminal to draw on.
pub fn run(target: Target) -> anyhow::Result<()> {
    anyhow::ensure!(
        stdout().is_terminal(),
        "`corelane top` draws on a terminal, and stdout is not one; {}/state has the same as JSON",
        target.shown()
    );
    let mut view = View::new(target.shown());
    let source = Source::start(target).context("there is no thread for it")?;
    let mut terminal = ratatui::try_init().context("the terminal can't be drawn on")?;
    let result = show(&mut terminal, &mut view, &source);
    // What else drops and restores it says by `eprintln!` that it can't, which panics when stderr was that terminal.
    let is_shown = terminal.show_cursor();
    if is_shown.and(ratatui::try_restore()).is_err() {
        std::mem::forget(terminal);
    }
    result.context("the terminal is gone")
}

fn show(terminal: &mut DefaultTerminal, view: &mut View, source: &Source) -> std::io::Result<()> {
    let mut seen_at = now();
    let mut asked = String::new();
    loop {
        terminal.draw(|frame| screen::draw(frame, view))?;
        // Draws when there is something new, a key or an update; a resize is an event as well, and so is another second without
        // news.
        loop {
            wait_for_terminal()?;
            let mut new = false;
            while event::poll(Duration::ZERO)? {
                match event::read()? {
                    Event::Key(key) if key.kind != KeyEventKind::Release => {
                        if !on_key(view, key) {
                            return Ok(());
                        }
                        new = true;
                    }
                    Event::Resize(..) => new = true,
                    _ => {}
                }
            }
            let wanted = view.filter.words();
            if wanted != asked {
                source.find(&wanted);
                asked = wanted;
            }
            while let Some(update) = source.next() {
                if matches!(update, Update::State(..)) {
                    seen_at = now();
                }
                view.on_update(update);
                new = true;
            }
            let age = now().duration_since(seen_at);
            new |= age.as_secs() != view.age.as_secs();
            view.age = age;
            if new {
                break;
            }
        }
    }
}

/// Waits for a key, for [`TICK`] at most.
///
/// # Errors
/// When the terminal is gone: crossterm would read its end for ever.
fn wait_for_terminal() -> std::io::Result<()> {
    let tick = Timespec::try_from(TICK).map_err(std::io::Error::other)?;
    let stdout = stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::IN)];
    // A signal (the window has another size) is no reason to go on waiting.
    let _ = poll(&mut polled, Some(&tick));
    if polled[0]
        .revents()
        .intersects(PollFlags::HUP | PollFlags::ERR)
    {
        return Err(std::io::ErrorKind::NotConnected.into());
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "how old what is shown is")]
fn now() -> Instant {
    Instant::now()
}
