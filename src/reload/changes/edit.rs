//! Changes of a document of TOML: that of what is in force, or a file that people write, whose comments stay.

use serde_json::Value as Json;
use toml_edit::{
    Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value, value,
};

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Edit {
    /// A key of the table at a path has this value; none: it is not written.
    Key {
        path: Vec<String>,
        key: String,
        value: Option<Json>,
    },
    /// An upstream has another server, which has these keys.
    AddServer {
        upstream: String,
        server: Vec<(&'static str, Json)>,
    },
    /// An upstream has a server less.
    RemoveServer { upstream: String, server: String },
    /// A server of an upstream has this weight.
    Weight {
        upstream: String,
        server: String,
        weight: u16,
    },
}

/// How much a document has of what an edit changes: the one that has most is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Has {
    Nothing,
    Table,
    Key,
}

impl Edit {
    fn path(&self) -> Vec<&str> {
        match self {
            Self::Key { path, .. } => path.iter().map(String::as_str).collect(),
            Self::AddServer { upstream, .. }
            | Self::RemoveServer { upstream, .. }
            | Self::Weight { upstream, .. } => vec!["upstreams", upstream],
        }
    }

    fn key(&self) -> &str {
        match self {
            Self::Key { key, .. } => key,
            _ => "servers",
        }
    }

    /// How much a document has of what this changes.
    pub(super) fn is_in(&self, document: &DocumentMut) -> Has {
        let mut item: &Item = document.as_item();
        for name in self.path() {
            match item.as_table_like().and_then(|table| table.get(name)) {
                Some(inner) => item = inner,
                None => return Has::Nothing,
            }
        }
        let table = item.as_table_like();
        match table.is_some_and(|table| table.contains_key(self.key())) {
            true => Has::Key,
            false => Has::Table,
        }
    }

    /// Makes the change.
    ///
    /// # Errors
    /// Why it can't be made, in words.
    pub(super) fn apply(&self, document: &mut DocumentMut) -> Result<(), String> {
        let is_added = self.is_in(document) == Has::Nothing;
        let table = table_at(document, &self.path())?;
        match self {
            Self::Key { key, value, .. } => set(table, key, value.as_ref()),
            Self::AddServer { server, .. } if !is_added => add(table, server),
            Self::AddServer { upstream, .. }
            | Self::RemoveServer { upstream, .. }
            | Self::Weight { upstream, .. }
                if is_added =>
            {
                Err(format!("there is no upstream {upstream:?}"))
            }
            Self::AddServer { .. } => Ok(()),
            Self::RemoveServer { server, .. } => change(table, server, None),
            Self::Weight { server, weight, .. } => change(table, server, Some(*weight)),
        }
    }
}

/// The table at a path; those that are missing are added.
fn table_at<'d>(
    document: &'d mut DocumentMut,
    path: &[&str],
) -> Result<&'d mut dyn TableLike, String> {
    let mut item = document.as_item_mut();
    for name in path {
        let table = item
            .as_table_like_mut()
            .ok_or_else(|| format!("`{name}` is in something that is no table"))?;
        item = table.entry(name).or_insert_with(|| {
            let mut table = Table::new();
            // Tables that only have tables need no heading.
            table.set_implicit(true);
            Item::Table(table)
        });
    }
    let words = || format!("`{}` is no table", path.join("."));
    item.as_table_like_mut().ok_or_else(words)
}

fn set(table: &mut dyn TableLike, key: &str, wanted: Option<&Json>) -> Result<(), String> {
    let Some(wanted) = wanted else {
        table.remove(key);
        return Ok(());
    };
    let mut new = of_json(key, wanted)?;
    match table.get_mut(key) {
        Some(Item::Value(old)) => {
            // What stands around it stays: a comment behind it is part of that.
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        _ => {
            table.insert(key, value(new));
        }
    }
    Ok(())
}

fn of_json(key: &str, json: &Json) -> Result<Value, String> {
    let number = |number: &serde_json::Number| number.as_i64().map(Value::from);
    let made = match json {
        Json::Bool(is) => Some(Value::from(*is)),
        Json::Number(one) => number(one),
        // What looks like a variable of the environment is none.
        Json::String(text) => Some(Value::from(text.replace("${", "$${"))),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    };
    made.ok_or_else(|| format!("`{key}` can't be {json}: give a number, a string, true or false"))
}

/// Adds a server to those of an upstream's table.
fn add(upstream: &mut dyn TableLike, server: &[(&'static str, Json)]) -> Result<(), String> {
    let mut keys = Vec::with_capacity(server.len());
    for (key, json) in server {
        keys.push((*key, of_json(key, json)?));
    }
    match upstream.get_mut("servers") {
        None => {
            let mut servers = Array::new();
            servers.push(element(&keys));
            upstream.insert("servers", value(servers));
        }
        Some(Item::Value(Value::Array(servers))) => {
            let mut new = element(&keys);
            // On a line of its own where the others are.
            if let Some(last) = servers.iter().last() {
                let prefix = last.decor().prefix().and_then(|raw| raw.as_str());
                let lines = prefix.and_then(|prefix| prefix.rfind('\n').map(|at| &prefix[at..]));
                if let Some(indent) = lines.map(ToOwned::to_owned) {
                    new.decor_mut().set_prefix(indent);
                } else if !servers.is_empty() {
                    new.decor_mut().set_prefix(" ");
                }
            }
            servers.push_formatted(new);
        }
        Some(Item::ArrayOfTables(servers)) => {
            let mut table = Table::new();
            for (key, one) in keys {
                table.insert(key, value(one));
            }
            servers.push(table);
        }
        Some(_) => return Err("`servers` is no list".to_owned()),
    }
    Ok(())
}

/// A server in a list: the address alone, where that is all.
fn element(keys: &[(&'static str, Value)]) -> Value {
    if let [("address", address)] = keys {
        return address.clone();
    }
    let mut table = InlineTable::new();
    for (key, one) in keys {
        table.insert(*key, one.clone());
    }
    Value::InlineTable(table)
}

/// Gives a server of an upstream's table another weight, or removes it.
fn change(upstream: &mut dyn TableLike, server: &str, weight: Option<u16>) -> Result<(), String> {
    let absent = || {
        format!(
            "the server {server} is not written there by its address: it may come from a variable, or from a source of servers"
        )
    };
    match upstream.get_mut("servers") {
        Some(Item::Value(Value::Array(servers))) => {
            let place = servers
                .iter()
                .position(|one| is_named(address_of(one), server));
            let place = place.ok_or_else(absent)?;
            match weight {
                None => remove(servers, place),
                Some(weight) => weigh(servers, place, weight),
            }
        }
        Some(Item::ArrayOfTables(servers)) => {
            let address = |table: &Table| {
                table
                    .get("address")
                    .and_then(Item::as_str)
                    .map(ToOwned::to_owned)
            };
            let place = servers
                .iter()
                .position(|table| is_named(address(table).as_deref(), server));
            weigh_table(servers, place.ok_or_else(absent)?, weight)?;
        }
        _ => return Err(absent()),
    }
    Ok(())
}

fn weigh_table(
    servers: &mut ArrayOfTables,
    place: usize,
    weight: Option<u16>,
) -> Result<(), String> {
    match (weight, servers.get_mut(place)) {
        (Some(weight), Some(table)) => {
            let weight = Json::from(weight);
            set(table, "weight", Some(&weight))
        }
        _ => {
            servers.remove(place);
            Ok(())
        }
    }
}

/// Removes an element. What stands before the first one, as a line of its own, stays before the first one.
fn remove(servers: &mut Array, place: usize) {
    let removed = servers.remove(place);
    if let (0, Some(first)) = (place, servers.get_mut(0)) {
        *first.decor_mut() = removed.decor().clone();
    }
}

fn weigh(servers: &mut Array, place: usize, weight: u16) {
    let weight = Value::from(i64::from(weight));
    match servers.get_mut(place) {
        Some(Value::InlineTable(table)) => {
            let mut weight = weight;
            if let Some(old) = table.get("weight") {
                *weight.decor_mut() = old.decor().clone();
            }
            table.insert("weight", weight);
        }
        Some(address) => {
            let decor = address.decor().clone();
            address.decor_mut().clear();
            let mut new = element(&[("address", address.clone()), ("weight", weight)]);
            *new.decor_mut() = decor;
            *address = new;
        }
        None => {}
    }
}

fn address_of(server: &Value) -> Option<&str> {
    match server {
        Value::InlineTable(table) => table.get("address").and_then(Value::as_str),
        address => address.as_str(),
    }
}

fn is_named(address: Option<&str>, server: &str) -> bool {
    let address = address.map(|address| address.replace("$${", "${"));
    address.is_some_and(|address| {
        address == server || proxy_config::server_name(&address).as_deref() == Ok(server)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = r#"# Ours.
[listeners.web] # the front door
bind = "*:80"
shares = 100 # twice the others'
upstream = "web"

[upstreams.web]
servers = [
    "10.0.0.1:80", # the old one
    { address = "10.0.0.2:80", weight = 2 },
]
"#;

    fn edited(edit: &Edit, text: &str) -> Result<String, String> {
        let mut document: DocumentMut = text.parse().expect("TOML");
        edit.apply(&mut document)?;
        Ok(document.to_string())
    }

    fn key(key: &str, value: Option<Json>) -> Edit {
        Edit::Key {
            path: vec!["listeners".to_owned(), "web".to_owned()],
            key: key.to_owned(),
            value,
        }
    }

    #[test]
    fn a_value_changes_and_its_comment_stays() {
        let changed = edited(&key("shares", Some(json!(7))), TEXT);
        assert_eq!(changed, Ok(TEXT.replace("shares = 100", "shares = 7")));
        let added = edited(&key("max_connections", Some(json!(5))), TEXT);
        let wanted = TEXT.replace(
            "upstream = \"web\"\n",
            "upstream = \"web\"\nmax_connections = 5\n",
        );
        assert_eq!(added, Ok(wanted));
        let removed = edited(&key("shares", None), TEXT);
        assert_eq!(
            removed,
            Ok(TEXT.replace("shares = 100 # twice the others'\n", ""))
        );
        let text = edited(&key("bandwidth", Some(json!("${A}"))), TEXT).expect("it can be");
        assert!(text.contains("bandwidth = \"$${A}\""), "{text}");
        edited(&key("shares", Some(json!([1]))), TEXT).expect_err("no value of ours");
    }

    #[test]
    fn servers_come_go_and_weigh_otherwise() {
        let upstream = || "web".to_owned();
        let add = |server| Edit::AddServer {
            upstream: upstream(),
            server,
        };
        let one = edited(&add(vec![("address", json!("10.0.0.3:80"))]), TEXT);
        let wanted = TEXT.replace("weight = 2 },\n]", "weight = 2 },\n    \"10.0.0.3:80\",\n]");
        assert_eq!(one, Ok(wanted));
        let weigh = |server: &str| Edit::Weight {
            upstream: upstream(),
            server: server.to_owned(),
            weight: 9,
        };
        let second = edited(&weigh("10.0.0.2:80"), TEXT);
        assert_eq!(second, Ok(TEXT.replace("weight = 2", "weight = 9")));
        let first = edited(&weigh("10.0.0.1:80"), TEXT);
        let wanted = "    { address = \"10.0.0.1:80\", weight = 9 }, # the old one";
        assert_eq!(
            first,
            Ok(TEXT.replace("    \"10.0.0.1:80\", # the old one", wanted))
        );
        edited(&weigh("10.0.0.9:80"), TEXT).expect_err("there is none");
        let remove = |server: &str| Edit::RemoveServer {
            upstream: upstream(),
            server: server.to_owned(),
        };
        let left = edited(&remove("10.0.0.2:80"), TEXT).expect("it can be");
        assert!(
            left.contains("# Ours.") && !left.contains("10.0.0.2"),
            "{left}"
        );
        left.parse::<DocumentMut>().expect("still TOML");
        let left = edited(&remove("10.0.0.1:80"), TEXT).expect("it can be");
        let servers: DocumentMut = left.parse().expect("still TOML");
        assert_eq!(
            servers["upstreams"]["web"]["servers"]
                .as_array()
                .map(Array::len),
            Some(1)
        );
    }

    #[test]
    fn servers_may_be_tables_and_paths_inline() {
        let text =
            "upstreams.web = { servers = [\"a:1\"] }\n[[upstreams.b.servers]]\naddress = \"b:1\"\n";
        let weigh = |upstream: &str, server: &str| Edit::Weight {
            upstream: upstream.to_owned(),
            server: server.to_owned(),
            weight: 3,
        };
        let inline = edited(&weigh("web", "a:1"), text).expect("it can be");
        assert!(
            inline.contains("{ address = \"a:1\", weight = 3 }"),
            "{inline}"
        );
        let table = edited(&weigh("b", "b:1"), text).expect("it can be");
        assert!(
            table.ends_with("address = \"b:1\"\nweight = 3\n"),
            "{table}"
        );
        assert!(edited(&weigh("c", "b:1"), text).is_err());
    }

    #[test]
    fn the_document_is_found_that_has_most_of_it() {
        let edit = key("shares", Some(json!(1)));
        let is_in = |text: &str| edit.is_in(&text.parse().expect("TOML"));
        assert_eq!(is_in(TEXT), Has::Key);
        assert_eq!(is_in("[listeners.web]\nbind = \"*:80\"\n"), Has::Table);
        assert_eq!(is_in("[listeners.other]\nshares = 1\n"), Has::Nothing);
    }
}
