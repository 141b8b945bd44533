//! The result as tables and lines, each of which knows where it came from.

use super::note::{Note, Notes};
use super::origin::Origin;
use super::plan::{Keys, Listener, Plan, Upstream};
use super::value::{Item, Value, quoted};

/// How wide a line may be together with its comment; where it is wider, the comment stands above.
const WIDTH: usize = 120;

/// Notes of a kind that stand in the file. The others are in what [`convert`](crate::convert) returns alone: with all of them it could be
/// larger than the proxy reads.
pub const NOTES_MAX: usize = 1000;

/// Tables in the order of the file.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) tables: Vec<Table>,
}

/// A table with its header.
#[derive(Debug)]
pub(super) struct Table {
    /// Its path, such as `upstreams.a.health`; without brackets.
    pub(super) path: String,
    /// It is one of an array of tables.
    is_of_array: bool,
    /// Absent where no single line stands for it.
    pub(super) from: Option<Origin>,
    pub(super) lines: Vec<Line>,
}

/// A key.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) key: &'static str,
    pub(super) value: Value,
    pub(super) from: Origin,
}

/// What a line of the text belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    /// The index of the table.
    pub(super) table: usize,
    /// The index of the line in it; absent for the header.
    pub(super) line: Option<usize>,
    /// The index of the item in its list.
    pub(super) item: Option<usize>,
}

/// The text, and what each of its lines belongs to, comments and empty lines left out.
pub(super) struct Text {
    pub(super) text: String,
    pub(super) owners: Vec<Option<Owner>>,
}

impl Document {
    /// The tables of a plan, and what is to be said of it.
    pub(super) fn new(plan: Plan) -> (Self, Notes) {
        let mut tables = Vec::new();
        for (path, keys) in [
            ("runtime", plan.runtime),
            ("admin", plan.admin),
            ("access_log", plan.access_log),
        ] {
            if !keys.is_empty() {
                tables.push(Table::new(path.to_owned(), None, keys));
            }
        }
        for listener in plan.listeners {
            push_listener(&mut tables, listener);
        }
        for upstream in plan.upstreams {
            push_upstream(&mut tables, upstream);
        }
        (Self { tables }, plan.notes)
    }

    /// The whole text: `title` and the notes as comments, then the tables.
    pub(super) fn text(&self, title: &str, notes: &Notes) -> Text {
        let mut text = Text {
            text: String::new(),
            owners: Vec::new(),
        };
        text.push(None, &format!("# {title}"));
        let remarks = "Needs nothing here, or comes out nearly the same:";
        for (heading, notes) in [
            ("NOT carried over:", &notes.losses),
            (remarks, &notes.remarks),
        ] {
            text.comment(heading, notes);
        }
        for (index, table) in self.tables.iter().enumerate() {
            table.write(&mut text, index);
        }
        text
    }
}

impl Table {
    fn new(path: String, from: Option<Origin>, keys: Keys) -> Self {
        let lines = keys.into_entries().into_iter().map(|entry| Line {
            key: entry.key,
            value: entry.value,
            from: entry.from,
        });
        Self {
            path,
            is_of_array: false,
            from,
            lines: lines.collect(),
        }
    }

    /// Whether it is a route that refuses clients.
    pub(super) fn rejects(&self) -> bool {
        self.is_of_array && self.lines.iter().any(|line| line.key == "reject")
    }

    fn write(&self, text: &mut Text, index: usize) {
        let owner = |line, item| {
            Some(Owner {
                table: index,
                line,
                item,
            })
        };
        text.push(None, "");
        let header = match self.is_of_array {
            true => format!("[[{}]]", self.path),
            false => format!("[{}]", self.path),
        };
        text.commented(owner(None, None), &header, self.from.as_ref());
        for (place, line) in self.lines.iter().enumerate() {
            let of_line = owner(Some(place), None);
            match &line.value {
                Value::List(items) if items.iter().any(|item| item.from.is_some()) => {
                    text.push(of_line, &format!("{} = [", line.key));
                    for (place_of_item, item) in items.iter().enumerate() {
                        let inline = format!("    {},", item.value.inline());
                        let of_item = owner(Some(place), Some(place_of_item));
                        text.commented(of_item, &inline, item.from.as_ref());
                    }
                    text.push(of_line, "]");
                }
                value => {
                    let inline = format!("{} = {}", line.key, value.inline());
                    // What came from the same line as the table needs no second comment.
                    let from = Some(&line.from).filter(|from| self.from.as_ref() != Some(from));
                    text.commented(of_line, &inline, from);
                }
            }
        }
    }
}

impl Text {
    fn push(&mut self, owner: Option<Owner>, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        self.owners.push(owner);
    }

    /// A line with the comment that says where it came from.
    fn commented(&mut self, owner: Option<Owner>, line: &str, from: Option<&Origin>) {
        let Some(from) = from else {
            return self.push(owner, line);
        };
        let comment = format!("# {from}");
        let indent = line.len() - line.trim_start().len();
        if line.chars().count() + 2 + comment.chars().count() <= WIDTH {
            self.push(owner, &format!("{line}  {comment}"));
        } else {
            self.push(None, &format!("{}{comment}", " ".repeat(indent)));
            self.push(owner, line);
        }
    }

    fn comment(&mut self, heading: &str, notes: &[Note]) {
        if notes.is_empty() {
            return;
        }
        self.push(None, "#");
        self.push(None, &format!("# {heading}"));
        for note in notes.iter().take(NOTES_MAX) {
            self.push(None, &format!("#   {note}"));
        }
        if let Some(more @ 1..) = notes.len().checked_sub(NOTES_MAX) {
            self.push(None, &format!("#   and {more} more"));
        }
    }
}

fn push_listener(tables: &mut Vec<Table>, listener: Listener) {
    let path = format!("listeners.{}", segment(&listener.name));
    let mut table = Table::new(path.clone(), Some(listener.from), Keys::default());
    let mut binds = listener.binds.into_iter();
    let bind = match (binds.next(), binds.len()) {
        (None, _) => None,
        (Some(bind), 0) => Some((bind.value.into(), bind.from)),
        (Some(bind), _) => {
            let from = bind.from.clone();
            let binds = std::iter::once(bind).chain(binds);
            Some((
                binds
                    .map(|bind| Item::new(bind.value, &bind.from))
                    .collect(),
                from,
            ))
        }
    };
    if let Some((value, from)) = bind {
        table.lines.push(Line {
            key: "bind",
            value,
            from,
        });
    }
    if let Some(upstream) = listener.upstream {
        table.lines.push(Line {
            key: "upstream",
            value: upstream.value.into(),
            from: upstream.from,
        });
    }
    let rest = Table::new(String::new(), None, listener.keys);
    table.lines.extend(rest.lines);
    tables.push(table);
    for route in listener.routes {
        let table = Table::new(format!("{path}.routes"), Some(route.from), route.keys);
        tables.push(Table {
            is_of_array: true,
            ..table
        });
    }
}

fn push_upstream(tables: &mut Vec<Table>, upstream: Upstream) {
    let path = format!("upstreams.{}", segment(&upstream.name));
    let mut table = Table::new(path.clone(), Some(upstream.from.clone()), Keys::default());
    if !upstream.servers.is_empty() {
        let items = upstream
            .servers
            .into_iter()
            .map(|server| server.into_item());
        table.lines.push(Line {
            key: "servers",
            value: Value::List(items.collect()),
            from: upstream.from,
        });
    }
    let rest = Table::new(String::new(), None, upstream.keys);
    table.lines.extend(rest.lines);
    tables.push(table);
    for (name, from, keys) in upstream.tables {
        tables.push(Table::new(format!("{path}.{name}"), Some(from), keys));
    }
}

/// A name as a part of a path: in quotes if it has a dot.
fn segment(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if !name.is_empty() && name.bytes().all(is_bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}
