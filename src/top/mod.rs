//! `corelane top`: the live page in the terminal, of a proxy here or elsewhere.

mod screen;
mod source;
mod view;
mod words;

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use anyhow::Context;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use self::source::{Source, Target};
use self::view::View;

/// How long a key or an update may go unnoticed.
const TICK: Duration = Duration::from_millis(100);

/// Shows the proxy whose admin server is at `url`, until q or Ctrl-C.
///
/// # Errors
/// When the URL is none, or there is no terminal to draw on.
pub(crate) fn run(url: &str) -> anyhow::Result<()> {
    let target = Target::parse(url)?;
    anyhow::ensure!(
        stdout().is_terminal(),
        "`corelane top` draws on a terminal, and stdout is none; {}/state has the same as JSON",
        target.url()
    );
    let mut view = View::new(target.url());
    let source = Source::start(target).context("a thread can't be had")?;
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
    loop {
        terminal.draw(|frame| screen::draw(frame, view))?;
        // Draws when there is something new, a key or an update; a resize is an event as well.
        loop {
            let mut new = false;
            if event::poll(TICK)? {
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
            while let Some(update) = source.next() {
                view.on_update(update);
                new = true;
            }
            if new {
                break;
            }
        }
    }
}

/// Returns whether to go on.
fn on_key(view: &mut View, key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => return false,
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char('s') => view.sort_by_next(),
        KeyCode::Char('r') => view.reverse(),
        _ => {}
    }
    true
}
