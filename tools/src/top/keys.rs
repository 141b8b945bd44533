//! What keys do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::panel::Step;
use super::view::View;

/// The keys and what they do, for the help.
pub(super) const KEYS: [(&str, &str); 9] = [
    ("↑ ↓  k j", "scroll the table with the mark ▸"),
    (
        "PgUp PgDn",
        "the same by pages; Home, End (g, G): to its ends",
    ),
    ("Tab  ← →", "mark another table"),
    (
        "/",
        "show only rows with a word: an address, a name, \"core 3\", \"down\"",
    ),
    ("Enter", "ends the word; Esc shows all rows again"),
    ("s", "sort connections by rate, bytes, age, core"),
    ("r", "the other way round"),
    ("h  ?", "this help"),
    ("q", "quit; Ctrl-C as well"),
];

/// Does what a key says. Returns whether to go on.
pub(super) fn on_key(view: &mut View, key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if control {
        return key.code != KeyCode::Char('c');
    }
    if view.shows_help {
        view.shows_help = false;
        return key.code != KeyCode::Char('q');
    }
    if let Some(step) = step_of(key.code, view.filter.is_typed) {
        view.on_step(step);
        return true;
    }
    if view.filter.is_typed {
        match key.code {
            KeyCode::Enter => view.filter.is_typed = false,
            KeyCode::Esc => view.filter.clear(),
            KeyCode::Backspace => view.filter.pop(),
            KeyCode::Char(character) => view.filter.push(character),
            _ => {}
        }
        return true;
    }
    match key.code {
        KeyCode::Esc if !view.filter.text().is_empty() => view.filter.clear(),
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char('s') => view.sort_by_next(),
        KeyCode::Char('r') => view.reverse(),
        KeyCode::Char('/') => view.filter.is_typed = true,
        KeyCode::Char('h' | '?') | KeyCode::F(1) => view.shows_help = true,
        KeyCode::Tab | KeyCode::Right => view.focus_next(),
        KeyCode::BackTab | KeyCode::Left => view.focus_previous(),
        _ => {}
    }
    true
}

/// A key that moves; letters don't while a word is typed.
fn step_of(code: KeyCode, is_typed: bool) -> Option<Step> {
    Some(match code {
        KeyCode::Up => Step::Up,
        KeyCode::Down => Step::Down,
        KeyCode::PageUp => Step::PageUp,
        KeyCode::PageDown => Step::PageDown,
        KeyCode::Home => Step::Begin,
        KeyCode::End => Step::End,
        KeyCode::Char(letter) if !is_typed => match letter {
            'k' => Step::Up,
            'j' => Step::Down,
            'g' => Step::Begin,
            'G' => Step::End,
            _ => return None,
        },
        _ => return None,
    })
}
