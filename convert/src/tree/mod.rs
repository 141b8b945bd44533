//! Documents of YAML, JSON and TOML as one tree of values that know their lines.

mod toml;
mod yaml;

use std::cell::Cell;
use std::rc::Rc;

pub(super) use self::toml::toml;
pub(super) use self::yaml::yaml;
use super::origin::Origin;

/// Values within values.
const DEPTH_MAX: usize = 64;

/// Values of a document, each counted as often as an alias repeats it.
const NODES_MAX: usize = 200_000;

/// A value, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) content: Content,
    /// Whether a reader has found it by its key.
    is_found: Cell<bool>,
    /// Whether a reader has looked for keys in it.
    is_open: Cell<bool>,
}

/// What a value is. Numbers, truth values and strings are all texts.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Text(String),
    List(Vec<Node>),
    /// In the order of the file.
    Table(Vec<(String, Node)>),
}

impl Node {
    pub(super) fn new(line: usize, content: Content) -> Self {
        Self {
            line,
            content,
            is_found: Cell::new(false),
            is_open: Cell::new(false),
        }
    }
}

/// A value with its path, from which its origin is made.
#[derive(Debug, Clone)]
pub(super) struct View<'n> {
    pub(super) node: &'n Node,
    /// The key, or a place in a list.
    key: String,
    file: Rc<str>,
}

impl<'n> View<'n> {
    /// The document of a file.
    pub(super) fn new(file: &Rc<str>, node: &'n Node) -> Self {
        Self {
            node,
            key: String::new(),
            file: Rc::clone(file),
        }
    }

    /// Where it stands: the line, its key, and its value if that is one.
    pub(super) fn from(&self) -> Origin {
        let words = match &self.node.content {
            Content::Text(text) if self.key.is_empty() => text.clone(),
            Content::Text(text) => format!("{}: {text}", self.key),
            Content::List(_) | Content::Table(_) => {
                match self.find("name").and_then(|name| name.text()) {
                    Some(name) if !self.key.is_empty() => format!("{}: {name}", self.key),
                    _ => self.key.clone(),
                }
            }
        };
        Origin::new(&self.file, self.node.line, &words)
    }

    /// The value of a key of a table. Keys are compared without regard to case, `_` and `-`: Envoy's may be written as
    /// `lbPolicy`, Traefik's in any case.
    pub(super) fn view(&self, key: &str) -> Option<View<'n>> {
        self.node.is_open.set(true);
        let found = self.find(key)?;
        found.node.is_found.set(true);
        Some(found)
    }

    fn find(&self, key: &str) -> Option<View<'n>> {
        let Content::Table(entries) = &self.node.content else {
            return None;
        };
        let (name, node) = entries.iter().find(|(name, _)| is_same(name, key))?;
        Some(self.below(name, node))
    }

    /// The value below several keys.
    pub(super) fn at(&self, keys: &[&str]) -> Option<View<'n>> {
        keys.iter()
            .try_fold(self.clone(), |view, key| view.view(key))
    }

    /// The text of a value.
    pub(super) fn text(&self) -> Option<&'n str> {
        match &self.node.content {
            Content::Text(text) => Some(text),
            Content::List(_) | Content::Table(_) => None,
        }
    }

    /// The text of a key's value.
    pub(super) fn text_of(&self, key: &str) -> Option<&'n str> {
        self.view(key)?.text()
    }

    /// Whether a key's value is true.
    pub(super) fn is_true(&self, key: &str) -> bool {
        self.text_of(key)
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// The items of a list; a single value is a list of one.
    pub(super) fn items(&self) -> Vec<View<'n>> {
        match &self.node.content {
            Content::List(items) => items
                .iter()
                .map(|item| self.below(&self.key, item))
                .collect(),
            Content::Table(_) | Content::Text(_) => vec![self.clone()],
        }
    }

    /// The items of a key's list; none if there is no such key.
    pub(super) fn items_of(&self, key: &str) -> Vec<View<'n>> {
        self.view(key).map_or_else(Vec::new, |view| view.items())
    }

    /// The keys of a table with their values. What becomes of all of them is the reader's business then.
    pub(super) fn entries(&self) -> Vec<(&'n str, View<'n>)> {
        let entries = self.all();
        for (_, value) in &entries {
            value.node.is_found.set(true);
        }
        entries
    }

    fn all(&self) -> Vec<(&'n str, View<'n>)> {
        match &self.node.content {
            Content::Table(entries) => {
                let entries = entries
                    .iter()
                    .map(|(name, node)| (&name[..], self.below(name, node)));
                entries.collect()
            }
            Content::List(_) | Content::Text(_) => Vec::new(),
        }
    }

    /// The values of a table whose keys are none of these.
    pub(super) fn others(&self, known: &[&str]) -> Vec<(&'n str, View<'n>)> {
        let mut entries = self.entries();
        entries.retain(|(name, _)| !known.iter().any(|known| is_same(name, known)));
        entries
    }

    /// Has all that is in it count as read, as something was said of it as a whole.
    pub(super) fn pass_over(&self) {
        let below = match &self.node.content {
            Content::List(_) => self.items(),
            Content::Table(_) => self.all().into_iter().map(|(_, value)| value).collect(),
            Content::Text(_) => Vec::new(),
        };
        for value in below {
            value.node.is_found.set(true);
            value.pass_over();
        }
    }

    /// The values that no reader has looked for, in tables in which one has looked for others. None of their keys is one of `known`.
    pub(super) fn unread(&self, known: &[&str]) -> Vec<View<'n>> {
        let below = match &self.node.content {
            Content::List(_) => {
                return self
                    .items()
                    .iter()
                    .flat_map(|item| item.unread(known))
                    .collect();
            }
            Content::Table(_) => self.all(),
            Content::Text(_) => Vec::new(),
        };
        let mut all = Vec::new();
        for (key, value) in below {
            if value.node.is_found.get() {
                all.append(&mut value.unread(known));
            } else if self.node.is_open.get() && !known.iter().any(|known| is_same(known, key)) {
                all.push(value);
            }
        }
        all
    }

    fn below(&self, key: &str, node: &'n Node) -> View<'n> {
        View {
            node,
            key: key.to_owned(),
            file: Rc::clone(&self.file),
        }
    }
}

/// Whether two keys are the same one, in whichever case they are written.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    let plain = |key: &str| {
        let letters = key.bytes().filter(|byte| !b"_-".contains(byte));
        letters
            .map(|byte| byte.to_ascii_lowercase())
            .collect::<Vec<_>>()
    };
    one == other || plain(one) == plain(other)
}

/// Why a document can't be read: its line, if that is known, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) line: usize,
    pub(super) what: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_looked_for_is_known() {
        let node =
            yaml("{a: {b: 1, c: {d: 2}, ids: 7}, e: {f: 3}, g: [{h: 4, i: 5}]}").expect("readable");
        let view = View::new(&"a.yaml".into(), &node);
        let unread = || {
            let all = view.unread(&["id", "i_ds"]);
            let words: Vec<_> = all
                .iter()
                .map(|value| value.from().words.to_string())
                .collect();
            words.join(", ")
        };
        assert_eq!(unread(), "");
        assert_eq!(view.at(&["a", "b"]).expect("b").text(), Some("1"));
        assert_eq!(unread(), "c, e, g");
        let _ = view.others(&[]);
        for item in view.items_of("g") {
            item.view("h");
        }
        assert_eq!(unread(), "c, i: 5");
        view.at(&["a", "c"]).expect("c").view("x");
        assert_eq!(unread(), "d: 2, i: 5");
        view.pass_over();
        assert_eq!(unread(), "");
    }
}
