//! Columns by need: each as wide as what is in it, the least important left out where there is no room for all.

use ratatui::layout::Constraint;
use ratatui::style::{Modifier, Style, Stylize};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Borders, Cell, Row, Table};

use crate::top::words::elide;

/// Characters between two columns.
const SPACING: usize = 1;

/// Characters that a column is not narrowed under.
const NARROW_MIN: usize = 8;

/// A column with the text of each row.
pub(super) struct Column {
    title: String,
    cells: Vec<(String, Style)>,
    /// Figures end at the right, and are never cut: a figure whose end is missing is another figure.
    is_figure: bool,
    /// The lowest is left out first; none: it stays.
    rank: Option<u8>,
}

impl Column {
    /// Words, which stay, and become narrower only when nothing else helps.
    pub(super) fn words(title: &str, cells: impl Iterator<Item = String>) -> Self {
        Self {
            title: title.to_owned(),
            cells: cells.map(|cell| (cell, Style::new())).collect(),
            is_figure: false,
            rank: None,
        }
    }

    /// Figures, which stay.
    pub(super) fn figures(title: &str, cells: impl Iterator<Item = String>) -> Self {
        Self {
            is_figure: true,
            ..Self::words(title, cells)
        }
    }

    /// The same with a style for each cell.
    pub(super) fn styled(mut self, styles: impl Iterator<Item = Style>) -> Self {
        for ((_, style), given) in self.cells.iter_mut().zip(styles) {
            *style = given;
        }
        self
    }

    /// The same, left out when there is no room; the lowest rank first.
    pub(super) fn optional(mut self, rank: u8) -> Self {
        self.rank = Some(rank);
        self
    }

    /// The same, which stays if `stays`.
    pub(super) fn stays_if(mut self, stays: bool) -> Self {
        if stays {
            self.rank = None;
        }
        self
    }

    /// Characters that it takes.
    fn width(&self) -> usize {
        let cells = self.cells.iter().flat_map(|(cell, _)| cell.lines());
        let widths = cells
            .chain([self.title.as_str()])
            .map(|text| text.chars().count());
        widths.max().unwrap_or_default()
    }
}

/// Characters that all columns take.
pub(super) fn width(columns: &[Column]) -> usize {
    let spacing = SPACING * columns.len().saturating_sub(1);
    columns.iter().map(Column::width).sum::<usize>() + spacing
}

/// Characters that the columns take which stay.
pub(super) fn width_min(columns: &[Column]) -> usize {
    let stay: Vec<_> = columns
        .iter()
        .filter(|column| column.rank.is_none())
        .collect();
    let spacing = SPACING * stay.len().saturating_sub(1);
    stay.into_iter().map(Column::width).sum::<usize>() + spacing
}

/// A table of what fits into `room` characters, with the rows from `first` on.
pub(super) fn table(
    mut columns: Vec<Column>,
    room: usize,
    first: usize,
    title: Line<'static>,
) -> Table<'static> {
    while width(&columns) > room
        && let Some(least) = columns.iter().filter_map(|column| column.rank).min()
    {
        columns.retain(|column| column.rank != Some(least));
    }
    let widths = narrowed(&columns, room);
    let rows = columns.iter().map(|column| column.cells.len()).max();
    let rows = (first..rows.unwrap_or_default()).map(|row| {
        let mut lines = 1;
        let cells = columns.iter().zip(&widths).map(|(column, &width)| {
            let (text, style) = &column.cells[row];
            let text: Vec<_> = text.lines().map(|line| elide(line, width)).collect();
            lines = lines.max(text.len());
            let text = Text::from_iter(text.into_iter().map(Line::from));
            Cell::from(aligned(text, column)).style(*style)
        });
        let cells: Vec<_> = cells.collect();
        Row::new(cells).height(lines as u16)
    });
    let rows: Vec<_> = rows.collect();
    let titles = columns
        .iter()
        .map(|column| aligned(Text::from(column.title.clone()), column));
    let header = Row::new(titles.collect::<Vec<_>>());
    let widths = widths.iter().map(|&width| Constraint::Length(width as u16));
    Table::new(rows, widths.collect::<Vec<_>>())
        .column_spacing(SPACING as u16)
        .header(header.style(Style::new().add_modifier(Modifier::DIM)))
        .block(Block::new().borders(Borders::TOP).title(title))
}

/// The columns' widths; where they are too much, words give way, the widest first.
fn narrowed(columns: &[Column], room: usize) -> Vec<usize> {
    let mut widths: Vec<_> = columns.iter().map(Column::width).collect();
    let mut over = width(columns).saturating_sub(room);
    while over > 0 {
        let words = (0..columns.len()).filter(|&column| !columns[column].is_figure);
        let Some(widest) = words
            .filter(|&column| widths[column] > NARROW_MIN)
            .max_by_key(|&column| widths[column])
        else {
            break;
        };
        widths[widest] -= 1;
        over -= 1;
    }
    widths
}

fn aligned(text: Text<'static>, column: &Column) -> Text<'static> {
    if column.is_figure {
        text.right_aligned()
    } else {
        text
    }
}

/// A title with a mark if the keys scroll what it is above.
pub(super) fn title(text: &str, has_focus: bool) -> Line<'static> {
    let mark: Span<'_> = if has_focus { "▸".yellow() } else { "".into() };
    Line::from(vec![mark, format!(" {text} ").bold()])
}
