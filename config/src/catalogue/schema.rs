//! The JSON schema of the file.
//!
//! It says that it is of draft 7 and uses only what draft 4 has too: what editors know of schemas for TOML (Even Better
//! TOML, by taplo) differs by their age.

use serde_json::{Map, Value, json};
use toml::de::DeValue;

use super::key::{Absent, Key, Kind, Syntax, Table};
use super::keys::ROOT;
use crate::problems::path::NAME_BYTES_MAX;
use crate::raw::read::INTEGER_MAX;
use crate::values::dscp::{DSCP_MAX, NAMES};

/// A string in which a variable of the environment stands: what it becomes isn't known to an editor.
const VARIABLE: &str = r"\$\{";
const DURATION: &str =
    "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?([0-9]+us)?([0-9]+ns)?$";

/// The JSON schema of a configuration, as text. What a file includes may be what it lacks, so no table is required.
pub fn schema() -> String {
    let mut root = table(&ROOT);
    root.remove("required");
    root.insert(
        "$schema".to_owned(),
        json!("http://json-schema.org/draft-07/schema#"),
    );
    root.insert("title".to_owned(), json!("The configuration of corelane"));
    let mut text = serde_json::to_string_pretty(&root).expect("a value of JSON");
    text.push('\n');
    text
}

fn table(table: &Table) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in table.keys {
        properties.insert(key.name.to_owned(), property(key));
        if key.is_required() {
            required.push(key.name);
        }
    }
    let mut schema = object(json!({
        "type": "object",
        "description": table.about,
        "properties": properties,
        "additionalProperties": false,
    }));
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

fn property(key: &Key) -> Value {
    let mut schema = kind(&key.kind);
    schema.insert("description".to_owned(), json!(key.about));
    if let Absent::Default(text) = key.absent {
        schema.insert("default".to_owned(), default(text));
    }
    Value::Object(schema)
}

fn kind(kind: &Kind) -> Map<String, Value> {
    object(match kind {
        Kind::Boolean => json!({ "type": "boolean" }),
        &Kind::Integer {
            min,
            max: INTEGER_MAX,
        } => json!({ "type": "integer", "minimum": min }),
        Kind::Integer { min, max } => {
            json!({ "type": "integer", "minimum": min, "maximum": max })
        }
        Kind::PowerOfTwo { min, max } => {
            let powers = (0..u64::BITS).map(|power| 1_u64 << power);
            let powers: Vec<_> = powers
                .filter(|power| (min..=max).contains(&power))
                .collect();
            json!({ "type": "integer", "enum": powers })
        }
        Kind::Number { min, max } => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::Duration { .. } => json!({ "anyOf": [duration(), variable()] }),
        Kind::DurationOrOff { .. } => {
            json!({ "anyOf": [{ "enum": ["off"] }, duration(), variable()] })
        }
        Kind::Seconds { .. } => json!({ "anyOf": [duration(), variable()] }),
        Kind::SecondsOrOffOrTable { table: inner, .. } => {
            json!({ "anyOf": [{ "enum": ["off"] }, duration(), variable(), table(inner)] })
        }
        Kind::Dscp => {
            let number = json!({ "type": "integer", "minimum": 0, "maximum": DSCP_MAX });
            json!({ "anyOf": [{ "enum": NAMES }, number, variable()] })
        }
        Kind::Percent { .. } => {
            let percent = json!({ "type": "string", "pattern": "^[0-9]{1,3}%$" });
            json!({ "anyOf": [percent, variable()] })
        }
        Kind::Size { .. } => {
            let size = json!({ "type": "string", "pattern": "^[0-9]+([kMGT]B|[KMGT]iB|B)$" });
            json!({ "anyOf": [size, variable()] })
        }
        Kind::Choice(names) => json!({ "anyOf": [{ "enum": names }, variable()] }),
        Kind::ChoiceOrBoolean(names) => {
            json!({ "anyOf": [{ "enum": names }, { "type": "boolean" }, variable()] })
        }
        Kind::Cores => {
            let cpus = json!({ "type": "string", "pattern": "^ *[0-9]+(-[0-9]+)? *(, *[0-9]+(-[0-9]+)? *)*$" });
            let count = json!({ "type": "integer", "minimum": 1, "maximum": crate::values::cores::CORES_MAX });
            json!({ "anyOf": [{ "enum": ["all"] }, count, cpus, variable()] })
        }
        Kind::Text(syntax) => text(syntax),
        Kind::TextOrTexts { of, max } => json!({ "anyOf": [text(of), array(text(of), *max)] }),
        Kind::Texts { of, max } => array(text(of), *max),
        Kind::TextsOrTables {
            of,
            table: of_table,
            max,
        } => array(json!({ "anyOf": [text(of), table(of_table)] }), *max),
        Kind::Ports { max } => {
            let number = json!({ "type": "integer", "minimum": 1, "maximum": u16::MAX });
            let range = json!({ "type": "string", "pattern": "^[0-9]+-[0-9]+$" });
            let one = json!({ "anyOf": [number, range, variable()] });
            json!({ "anyOf": [one, array(one.clone(), *max)] })
        }
        Kind::Statuses { max } => {
            let number = json!({ "type": "integer", "minimum": 100, "maximum": 599 });
            let range = json!({ "type": "string", "pattern": "^[0-9]+-[0-9]+$" });
            array(json!({ "anyOf": [number, range, variable()] }), *max)
        }
        Kind::Tables {
            table: inner, max, ..
        } => array(Value::Object(table(inner)), *max),
        Kind::Weights { highest, max } => json!({
            "type": "object",
            "additionalProperties": { "type": "integer", "minimum": 0, "maximum": highest },
            "minProperties": 1,
            "maxProperties": max,
        }),
        Kind::Table(inner) => return table(inner),
        Kind::Named { table: named, max } => {
            let name = format!("^[A-Za-z0-9_.-]{{1,{NAME_BYTES_MAX}}}$");
            let named = table(named);
            json!({
                "type": "object",
                "patternProperties": { name: named },
                "additionalProperties": false,
                "minProperties": 1,
                "maxProperties": max,
            })
        }
    })
}

fn duration() -> Value {
    json!({ "type": "string", "minLength": 2, "pattern": DURATION })
}

fn variable() -> Value {
    json!({ "type": "string", "pattern": VARIABLE })
}

fn text(syntax: &Syntax) -> Value {
    let mut schema =
        object(json!({ "type": "string", "minLength": 1, "examples": syntax.accepted }));
    if !syntax.pattern.is_empty() {
        let pattern = format!("({})|{VARIABLE}", syntax.pattern);
        schema.insert("pattern".to_owned(), json!(pattern));
    }
    Value::Object(schema)
}

fn array(items: Value, max: usize) -> Value {
    json!({ "type": "array", "items": items, "minItems": 1, "maxItems": max })
}

/// A value of TOML as one of JSON.
fn default(text: &str) -> Value {
    let value = DeValue::parse(text).expect("a default is a value of TOML");
    match value.into_inner() {
        DeValue::String(text) => json!(text),
        DeValue::Boolean(value) => json!(value),
        // Both write such numbers alike.
        DeValue::Integer(_) | DeValue::Float(_) => {
            serde_json::from_str(text).expect("a number of TOML is one of JSON")
        }
        _ => unreachable!("no default is an array, a table or a date"),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was written as an object"),
    }
}
