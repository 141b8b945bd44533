//! Regular expressions of server names, of which those are known that mean one name or all names below one.

/// How regular expressions begin that mean all names below one, and those one label below.
const MANY_LABELS: [&str; 3] = [".+\\.", ".*\\.", "(.+)\\."];
const ONE_LABEL: [&str; 3] = ["[^.]+\\.", "[a-z]+\\.", "[a-z0-9-]+\\."];

/// What an expression stands for.
pub(super) struct Names {
    /// A name, or `*.` and the name below which they are.
    pub(super) text: String,
    /// Whether the `*` stands for one label in the expression, and here for any number of them.
    pub(super) is_wider: bool,
}

/// The name that a regular expression stands for, of which those are known that mean one name or all names below one. Where
/// its ends are not tied down, it means more.
pub(super) fn names(expression: &str) -> Result<Names, String> {
    let unknown = || {
        format!(
            "a route has no regular expressions, as {expression:?} is one; write the names, or \"*.example.com\" for all below one"
        )
    };
    let body = expression.strip_suffix('$').ok_or_else(unknown)?;
    let begins = body.strip_prefix('^');
    let rest = begins.unwrap_or(body);
    let of = |wild: &[&str]| wild.iter().find_map(|wild| rest.strip_prefix(wild));
    let (many, one) = (of(&MANY_LABELS), of(&ONE_LABEL));
    let name = match (begins, many.or(one)) {
        (_, Some(name)) => name,
        (Some(name), None) => name,
        (None, None) => return Err(unknown()),
    };
    let plain = name.replace("\\.", ".");
    let is_plain = plain
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let is_literal = name.matches('.').count() == name.matches("\\.").count();
    if !is_plain || !is_literal || plain.is_empty() {
        return Err(unknown());
    }
    Ok(Names {
        text: match many.or(one) {
            Some(_) => format!("*.{plain}"),
            None => plain,
        },
        is_wider: one.is_some(),
    })
}
