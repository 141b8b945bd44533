//! TOML as a tree.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Content, DEPTH_MAX, Node, Unreadable};

/// The document of a text.
pub(in super::super) fn toml(text: &str) -> Result<Node, Unreadable> {
    let line_of = |at: usize| {
        let before = text.as_bytes().get(..at).unwrap_or_default();
        1 + before.iter().filter(|&&byte| byte == b'\n').count()
    };
    let table = DeTable::parse(text).map_err(|error| Unreadable {
        line: error.span().map_or(1, |span| line_of(span.start)),
        what: error.message().to_owned(),
    })?;
    let content = entries(table.get_ref(), &line_of, 0)?;
    Ok(Node::new(1, content))
}

fn entries(
    table: &DeTable<'_>,
    line_of: &dyn Fn(usize) -> usize,
    depth: usize,
) -> Result<Content, Unreadable> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let entries = entries.into_iter().map(|(key, value)| {
        let mut node = node(value, line_of, depth + 1)?;
        // A table may have several headers below it; its key is where it begins.
        node.line = line_of(key.span().start);
        Ok((key.get_ref().to_string(), node))
    });
    Ok(Content::Table(entries.collect::<Result<_, _>>()?))
}

fn node(
    value: &Spanned<DeValue<'_>>,
    line_of: &dyn Fn(usize) -> usize,
    depth: usize,
) -> Result<Node, Unreadable> {
    let line = line_of(value.span().start);
    if depth > DEPTH_MAX {
        let what = format!("values are more than {DEPTH_MAX} deep here");
        return Err(Unreadable { line, what });
    }
    let content = match value.get_ref() {
        DeValue::String(text) => Content::Text(text.to_string()),
        DeValue::Integer(number) => Content::Text(number.to_string()),
        DeValue::Float(number) => Content::Text(number.to_string()),
        DeValue::Boolean(boolean) => Content::Text(boolean.to_string()),
        DeValue::Datetime(time) => Content::Text(time.to_string()),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| node(item, line_of, depth + 1));
            Content::List(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => entries(table, line_of, depth)?,
    };
    Ok(Node::new(line, content))
}

#[cfg(test)]
mod tests {
    use super::super::View;
    use super::*;

    #[test]
    fn toml_is_a_tree_with_lines() {
        let node = toml("[a.b]\nc = [1, 'x']\n[[a.d]]\ne = true\n").expect("readable");
        let view = View::new(&"a.toml".into(), &node);
        let c = view.at(&["a", "b", "c"]).expect("c");
        assert_eq!(c.from().to_string(), "a.toml:2 c");
        assert!(view.at(&["a", "d"]).expect("d").items()[0].is_true("e"));
        assert_eq!(toml("a = 1\nb =").unwrap_err().line, 2);
        assert!(toml(&format!("a = {}", "[".repeat(10_000))).is_err());
    }
}
