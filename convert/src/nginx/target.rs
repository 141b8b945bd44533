//! Where the connections of a `server` block go.

use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::{Keys, Listener, Route, Said};
use super::super::value::{Item, Value};
use super::around::Around;
use super::branch::{Branch, To};
use super::choice::{Choice, Heard, Variables};
use super::manner::Manner;
use super::scope::Scope;

/// Where connections go.
pub(super) fn lead(
    scope: &Scope<'_>,
    manner: &Manner,
    around: &mut Around<'_>,
    listener: &mut Listener,
    notes: &mut Notes,
) -> Option<()> {
    let Some(pass) = scope.find("proxy_pass") else {
        let said = scope.find("return").or(scope.find("pass"));
        let from = said.map_or(&scope.block.from, |said| &said.from);
        notes.lose(from, "the listener is left out, as it has no `proxy_pass`: answers of the proxy itself are not known here");
        return None;
    };
    if let Some(ssl) = scope.find("proxy_ssl").filter(|ssl| ssl.value() == "on") {
        notes.lose(&ssl.from, "the listener is left out: TLS to servers is not made here, and what clients say must not go in the clear");
        return None;
    }
    let lose = |notes: &mut Notes, why: String| {
        notes.lose(&pass.from, format!("the listener is left out: {why}"));
        None
    };
    // Variables of the block itself come before those around it.
    let mut variables = Variables::new(Heard {
        tls: scope.is_on("ssl_preread"),
        header: manner.has_header,
        is_believed: manner.is_announced,
    });
    variables.add_all(around.stream);
    variables.add_all(scope.block.inner());
    let Choice {
        branches,
        differences,
    } = match variables.choose(pass.value(), &pass.from) {
        Ok(choice) => choice,
        Err(why) => return lose(notes, why),
    };
    for (from, why) in differences.losses {
        notes.lose(&from, why);
    }
    for (from, why) in differences.remarks {
        notes.remark(&from, why);
    }
    let (rest, routed) = branches
        .split_last()
        .map_or((None, &[][..]), |(last, before)| {
            let is_rest = last.conditions.is_empty() && matches!(last.to, To::Value(_));
            if is_rest {
                (Some(last), before)
            } else {
                (None, &branches[..])
            }
        });
    for group in routed.chunk_by(Branch::is_like) {
        match route(group, manner, around, notes) {
            Ok(route) => listener.routes.push(route),
            Err(why) => return lose(notes, why),
        }
    }
    if let Some(Branch {
        to: To::Value(value),
        from,
        ..
    }) = rest
    {
        match upstream(value, manner, around, from, notes) {
            Ok(name) => listener.upstream = name.map(|name| Said::new(name, from)),
            Err(why) => return lose(notes, why),
        }
    }
    if listener.upstream.is_none() && listener.routes.is_empty() {
        return lose(notes, "it leads nowhere".to_owned());
    }
    Some(())
}

/// The upstream of a value; none where the value is empty, and nginx closes the connection.
fn upstream(
    value: &str,
    manner: &Manner,
    around: &mut Around<'_>,
    from: &Origin,
    notes: &mut Notes,
) -> Result<Option<String>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    around.upstreams.lead(value, manner, from, notes).map(Some)
}

/// The route of branches that differ in the values of one condition.
fn route(
    group: &[Branch],
    manner: &Manner,
    around: &mut Around<'_>,
    notes: &mut Notes,
) -> Result<Route, String> {
    let first = &group[0];
    let from = &first.from;
    let mut keys = Keys::default();
    for (index, (key, _)) in first.conditions.iter().enumerate() {
        let values = group.iter().flat_map(|branch| {
            let values = branch.conditions[index].1.iter();
            values.map(|text| {
                let value = match (*key, text.parse::<u64>()) {
                    ("port", Ok(port)) => Value::from(port),
                    _ => Value::from(text.as_str()),
                };
                match group.len() {
                    1 => Item::from(value),
                    _ => Item::new(value, &branch.from),
                }
            })
        });
        keys.set(key, values.collect::<Value>(), from);
    }
    match &first.to {
        To::Value(value) => match upstream(value, manner, around, from, notes)? {
            Some(name) => keys.set("upstream", name, from),
            None => keys.set("reject", true, from),
        },
        To::Split(parts) => {
            let mut weights = Vec::new();
            for (value, weight) in parts {
                match upstream(value, manner, around, from, notes)? {
                    Some(name) => weights.push((name, *weight)),
                    None => notes.lose(from, "the share that leads nowhere is left out"),
                }
            }
            keys.set("upstreams", Value::Weights(weights), from);
        }
    }
    let from = from.clone();
    Ok(Route { from, keys })
}
