//! YAML, of which JSON is a part, as a tree. Aliases are copied, and their copies are counted.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::{Content, DEPTH_MAX, NODES_MAX, Node, Unreadable};

/// A list or a table that is not closed yet.
struct Open {
    node: Node,
    /// The key whose value comes next.
    key: Option<String>,
    /// Where a table's keys are.
    places: HashMap<String, usize>,
    anchor: usize,
}

/// The first document of a text.
pub(in super::super) fn yaml(text: &str) -> Result<Node, Unreadable> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Unreadable {
            line: error.marker().line(),
            what: error.info().to_owned(),
        })?;
        let line = span.start.line();
        let unreadable = |what: String| Unreadable { line, what };
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let is_nothing = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null");
                let content = match is_nothing && !builder.wants_key() {
                    // A key without a value is as one that is absent.
                    true => Content::List(Vec::new()),
                    false => Content::Text(text.into_owned()),
                };
                builder
                    .add(Node::new(line, content), anchor, 1)
                    .map_err(unreadable)?;
            }
            Event::SequenceStart(anchor, _) => {
                let content = Content::List(Vec::new());
                builder
                    .open(Node::new(line, content), anchor)
                    .map_err(unreadable)?;
            }
            Event::MappingStart(anchor, _) => {
                let content = Content::Table(Vec::new());
                builder
                    .open(Node::new(line, content), anchor)
                    .map_err(unreadable)?;
            }
            Event::SequenceEnd | Event::MappingEnd => builder.close().map_err(unreadable)?,
            Event::Alias(anchor) => builder.alias(anchor, line).map_err(unreadable)?,
            Event::DocumentEnd => break,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
        }
    }
    builder.root.ok_or(Unreadable {
        line: 1,
        what: "there is nothing in it".to_owned(),
    })
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    /// What anchors stand for, with how many values they are and how deep.
    anchors: HashMap<usize, (Node, usize, usize)>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder {
    fn wants_key(&self) -> bool {
        let is_table = |open: &Open| matches!(open.node.content, Content::Table(_));
        self.open
            .last()
            .is_some_and(|open| is_table(open) && open.key.is_none())
    }

    fn open(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if self.open.len() >= DEPTH_MAX {
            return Err(format!("values are more than {DEPTH_MAX} deep here"));
        }
        if self.wants_key() {
            return Err("a key is a list or a table; write a text".to_owned());
        }
        self.count(1)?;
        self.open.push(Open {
            node,
            key: None,
            places: HashMap::new(),
            anchor,
        });
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        let Some(open) = self.open.pop() else {
            return Err("something ends that did not begin".to_owned());
        };
        self.add(open.node, open.anchor, 0)
    }

    fn count(&mut self, nodes: usize) -> Result<(), String> {
        self.nodes += nodes;
        match self.nodes <= NODES_MAX {
            true => Ok(()),
            false => Err(format!(
                "there are more than {NODES_MAX} values, those of aliases included"
            )),
        }
    }

    /// Adds a whole value where it belongs; it is of so many nodes that were not counted yet.
    fn add(&mut self, node: Node, anchor: usize, nodes: usize) -> Result<(), String> {
        self.count(nodes)?;
        if anchor > 0 {
            let (size, depth) = measure(&node);
            self.count(size)?;
            self.anchors.insert(anchor, (node.clone(), size, depth));
        }
        let Some(open) = self.open.last_mut() else {
            self.root.get_or_insert(node);
            return Ok(());
        };
        match (&mut open.node.content, open.key.take(), node.content) {
            (Content::List(items), _, content) => items.push(Node { content, ..node }),
            (Content::Table(entries), Some(key), content) => {
                put(entries, &mut open.places, key, Node { content, ..node })
            }
            (Content::Table(_), None, Content::Text(key)) => open.key = Some(key),
            _ => return Err("a key is a list or a table; write a text".to_owned()),
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, line: usize) -> Result<(), String> {
        let Some((node, size, depth)) = self.anchors.get(&anchor) else {
            return Err("an alias stands for what is not there yet".to_owned());
        };
        if self.open.len() + depth > DEPTH_MAX {
            return Err(format!("values are more than {DEPTH_MAX} deep here"));
        }
        let (node, size) = (
            Node {
                line,
                ..node.clone()
            },
            *size,
        );
        self.add(node, 0, size)
    }
}

/// Adds an entry to a table. `<<` merges the entries of another one, of which those that are there already count.
fn put(
    entries: &mut Vec<(String, Node)>,
    places: &mut HashMap<String, usize>,
    key: String,
    node: Node,
) {
    if key != "<<" {
        match places.get(&key) {
            Some(&place) => entries[place].1 = node,
            None => add(entries, places, key, node),
        }
        return;
    }
    let merged = match node.content {
        Content::Table(merged) => merged,
        Content::List(tables) => {
            let tables = tables.into_iter().map(|table| table.content);
            let entries = tables.filter_map(|content| match content {
                Content::Table(merged) => Some(merged),
                Content::List(_) | Content::Text(_) => None,
            });
            entries.flatten().collect()
        }
        Content::Text(_) => return,
    };
    for (key, node) in merged {
        if !places.contains_key(&key) {
            add(entries, places, key, node);
        }
    }
}

fn add(
    entries: &mut Vec<(String, Node)>,
    places: &mut HashMap<String, usize>,
    key: String,
    node: Node,
) {
    places.insert(key.clone(), entries.len());
    entries.push((key, node));
}

/// How many values it is made of, and how deep.
fn measure(node: &Node) -> (usize, usize) {
    let inner: Vec<_> = match &node.content {
        Content::Text(_) => return (1, 0),
        Content::List(items) => items.iter().map(measure).collect(),
        Content::Table(entries) => entries.iter().map(|(_, node)| measure(node)).collect(),
    };
    let size = inner.iter().map(|(size, _)| size).sum::<usize>();
    let depth = inner
        .iter()
        .map(|(_, depth)| *depth)
        .max()
        .unwrap_or_default();
    (size + 1, depth + 1)
}

#[cfg(test)]
mod tests {
    use super::super::View;
    use super::*;

    fn view<'n>(node: &'n Node) -> View<'n> {
        View::new(&"a.yaml".into(), node)
    }

    #[test]
    fn yaml_and_json_are_the_same_tree() {
        let text = "a:\n  b: [1, x]\n  cD: true\n  e:\n";
        for text in [text, "{\"a\": {\n\"b\": [1,\n \"x\"], \"c_d\": true}}"] {
            let node = yaml(text).expect("readable");
            let a = view(&node).view("a").expect("a");
            let items = a.items_of("b");
            assert_eq!(
                items.iter().map(|item| item.text()).collect::<Vec<_>>(),
                [Some("1"), Some("x")]
            );
            assert!(a.is_true("c_d"));
            assert_eq!(a.view("b").unwrap().from().place.line, 2);
            assert_eq!(a.text_of("e"), None);
        }
    }

    #[test]
    fn aliases_and_merges_are_copied() {
        let node = yaml("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\ne: [*x]\n").expect("readable");
        let d = view(&node).view("d").expect("d");
        assert_eq!((d.text_of("b"), d.text_of("c")), (Some("1"), Some("3")));
        let merged_last = yaml("x: &x {c: 2}\nd: {c: 3, <<: *x}").expect("readable");
        assert_eq!(
            view(&merged_last).at(&["d", "c"]).and_then(|c| c.text()),
            Some("3")
        );
    }

    #[test]
    fn bombs_and_depth_are_refused() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let alias = format!("*a{},", level - 1);
            bomb += &format!("a{level}: &a{level} [{}]\n", alias.repeat(10));
        }
        assert!(yaml(&bomb).unwrap_err().what.contains("aliases"));
        for text in [
            "[".repeat(10_000),
            "- ".repeat(10_000),
            "a: &a [*a]".to_owned(),
        ] {
            assert!(yaml(&text).is_err());
        }
        assert!(yaml("").is_err());
    }
}
