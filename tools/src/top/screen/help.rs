//! The keys, over everything else.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Stylize;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use crate::top::keys::KEYS;
use crate::top::words::hang;

/// Characters of the keys' column.
const KEY_WIDTH: usize = 12;

/// Characters of the frame, both sides.
const FRAME_WIDTH: usize = 4;

/// Draws the list of keys in the middle.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect) {
    let widest = KEYS.iter().map(|(_, what)| what.chars().count()).max();
    let wanted = KEY_WIDTH + widest.unwrap_or_default() + FRAME_WIDTH;
    let width = wanted.min(area.width.into());
    let lines: Vec<_> = KEYS
        .iter()
        .flat_map(|(key, what)| {
            let key = format!("{key:KEY_WIDTH$}");
            hang(&key, what, width.saturating_sub(FRAME_WIDTH))
        })
        .map(|line| {
            // Keys stand out; lines that go on have none.
            let place = line
                .char_indices()
                .nth(KEY_WIDTH)
                .map_or(line.len(), |(place, _)| place);
            let (key, what) = line.split_at(place);
            Line::from(vec![
                Span::from(" "),
                key.to_owned().bold(),
                Span::from(what.to_owned()),
            ])
        })
        .collect();
    let height = (lines.len() as u16 + 2).min(area.height);
    let width = width as u16;
    let place = Rect::new(
        area.x + (area.width - width) / 2,
        area.y + (area.height - height) / 2,
        width,
        height,
    );
    let block = Block::bordered()
        .title(" keys ".bold())
        .title_bottom(" any key goes back ");
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines).block(block), place);
}
