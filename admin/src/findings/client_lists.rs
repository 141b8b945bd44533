//! Files that list clients and are not in order.

use super::scene::Scene;
use proxy_state::{Finding, Level};

/// The first of them.
pub(super) fn of(scene: &Scene<'_>) -> Option<Finding> {
    let lists = scene.observed.client_lists.look();
    let mut bad = lists.into_iter().filter(|list| list.problem.is_some());
    let first = bad.next()?;
    let others = match bad.count() {
        0 => String::new(),
        1 => "; so is 1 other list".to_owned(),
        count => format!("; so are {count} other lists"),
    };
    Some(Finding {
        level: Level::Warning,
        what: format!(
            "the list {} is not in order: what was read before stays in force{others}",
            first.file
        ),
        why: first.problem.unwrap_or_default(),
        remedy: "correct the file; it is read again as soon as it is replaced or written"
            .to_owned(),
        since: None,
        over: false,
    })
}
