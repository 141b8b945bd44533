//! What documents say of keys, metrics and figures is so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proxy_config::reference;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    let path = repository().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages in a folder, by their paths in the repository.
fn pages(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(repository().join(folder)).expect("a folder");
    let names = entries.map(|entry| entry.expect("a file").file_name());
    let names = names.map(|name| name.into_string().expect("a name"));
    let pages = names.filter(|name| name.ends_with(".md"));
    pages.map(|name| format!("{folder}/{name}")).collect()
}

/// What stands between backticks.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// By their full names, as the comparison has them: without `NAME`, and without the brackets of arrays.
fn known_keys() -> BTreeSet<String> {
    let reference = reference();
    let (_, index) = reference
        .split_once("## Every key by its full name")
        .expect("it is there");
    let rows = index.lines().filter_map(|line| line.strip_prefix("| [`"));
    let names = rows.filter_map(|row| row.split('`').next());
    let keys = names.map(|name| name.replace(".NAME", "").replace("[]", ""));
    keys.collect()
}

#[test]
fn each_key_of_the_comparison_is_one() {
    const ROOTS: [&str; 5] = [
        "runtime.",
        "admin.",
        "access_log.",
        "listeners.",
        "upstreams.",
    ];
    let known = known_keys();
    let text = read("docs/comparison.md");
    let is_ours = |span: &&str| ROOTS.iter().any(|root| span.starts_with(root));
    let named: BTreeSet<_> = spans(&text).filter(is_ours).collect();
    let unknown: Vec<_> = named.iter().filter(|key| !known.contains(**key)).collect();
    assert!(
        unknown.is_empty(),
        "docs/comparison.md: no such key: {unknown:?}"
    );
    assert!(named.len() > 80, "{}", named.len());
}

/// Each key has something beside it, or it is ours alone: who looks for it there shall find it.
#[test]
fn the_comparison_has_every_table() {
    let text = read("docs/comparison.md");
    let tables: BTreeSet<_> = known_keys()
        .iter()
        .filter_map(|key| key.rsplit_once('.').map(|(table, _)| table.to_owned()))
        .collect();
    // A table is named by a key in it, or by itself.
    let missing: Vec<_> = tables
        .iter()
        .filter(|table| {
            !spans(&text).any(|span| span == **table || span.starts_with(&format!("{table}.")))
        })
        .collect();
    // Tables of tables, and what says again what stands above it.
    let rest = ["listeners.keepalive", "upstreams.keepalive"];
    assert!(
        missing.iter().all(|table| rest.contains(&table.as_str())),
        "{missing:?}"
    );
}

#[test]
fn each_metric_that_is_named_is_one() {
    let metrics = read("docs/metrics.md");
    let known: BTreeSet<_> = names(&metrics).collect();
    let mut pages = [pages("docs"), pages("docs/recipes")].concat();
    pages.extend(["README.md".to_owned(), "dashboards/README.md".to_owned()]);
    let mut unknown = Vec::new();
    for page in pages {
        let text = read(&page);
        for name in names(&text) {
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            if !known.contains(name) && family.is_none_or(|family| !known.contains(family)) {
                unknown.push(format!("{page}: {name}"));
            }
        }
    }
    assert!(unknown.is_empty(), "docs/metrics.md lacks {unknown:#?}");
}

const OTHERS: [&str; 2] = ["corelane_docs", "corelane_core_utilization"];

/// Names of metrics. One that ends in an underscore stands for several.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let is_between = |character: char| !character.is_ascii_alphanumeric() && character != '_';
    // A label of Prometheus' own configuration is none, nor what its adapter calls a metric for an autoscaler.
    let is_metric = |word: &&str| {
        // The name of a package has its version there.
        let rest = word.strip_prefix("corelane_");
        rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_lowercase()))
            && !word.ends_with('_')
            && !OTHERS.contains(word)
    };
    text.split(is_between).filter(is_metric)
}

/// The README has no figure that was not measured: each is in a summary of docs/BENCHMARKS.md, of the same load and system.
#[test]
fn figures_of_the_readme_are_measured() {
    let measured = measured(&read("docs/BENCHMARKS.md"));
    let readme = read("README.md");
    // In the order of the columns; of a peer, whichever of its settings is the best.
    let systems = [
        &["haproxy", "haproxy-splice"][..],
        &["nginx", "nginx-64k", "nginx-current", "nginx-half-close"],
        &["envoy"],
        &["corelane-glommio"],
        &["corelane-tokio"],
        &["corelane-tokio-per-core"],
    ];
    let mut count = 0;
    for row in readme.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let load = cells[0].split('`').nth(1);
        let Some(load) = load.filter(|load| load.contains(':')) else {
            continue;
        };
        assert_eq!(cells.len(), systems.len() + 1, "{row}");
        for (cell, systems) in cells[1..].iter().zip(systems) {
            let is_measured = systems.iter().any(|system| {
                let figures = measured.get(&(load.to_owned(), (*system).to_owned()));
                figures.is_some_and(|figures| figures.contains(*cell))
            });
            assert!(
                *cell == "–" || is_measured,
                "README.md: {load}: {cell} is no figure of {systems:?} in a summary of docs/BENCHMARKS.md"
            );
            count += 1;
        }
    }
    assert!(count >= 30, "{count}");
}

/// The figures of all summaries, by load and system.
fn measured(benchmarks: &str) -> BTreeMap<(String, String), BTreeSet<String>> {
    let mut measured: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    let mut loads: Vec<String> = Vec::new();
    for line in benchmarks.lines() {
        let Some(row) = line.strip_prefix('|') else {
            loads.clear();
            continue;
        };
        let cells: Vec<_> = row
            .trim_end_matches('|')
            .split('|')
            .map(str::trim)
            .collect();
        let (system, cells) = (cells[0], &cells[1..]);
        if system == "system" {
            loads = cells.iter().map(|cell| (*cell).to_owned()).collect();
        }
        for (load, cell) in loads.iter().zip(cells) {
            let key = (load.clone(), system.to_owned());
            measured.entry(key).or_default().insert((*cell).to_owned());
        }
    }
    measured
}
