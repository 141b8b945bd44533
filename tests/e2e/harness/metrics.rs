//! One scrape of /metrics.

use std::collections::BTreeMap;
use std::fmt::Write as _;

pub(crate) struct Metrics {
    text: String,
}

impl Metrics {
    pub(crate) fn new(text: String) -> Self {
        Self { text }
    }

    /// The sum of the series of `name` that have these labels; 0 when there is none, as a series may be made
    /// with its first event.
    pub(crate) fn get(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.series(name, labels).map(|(_, value)| value).sum()
    }

    /// Labels (as text) and value of each series of `name` that has these labels.
    pub(crate) fn series<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = (&'a str, f64)> {
        self.text.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (given, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.rsplit_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            let has = |(label, wanted): &(&str, &str)| {
                let mut pair = String::new();
                let _ = write!(pair, "{label}=\"{wanted}\"");
                given
                    .match_indices(&pair)
                    .any(|(at, _)| at == 0 || given.as_bytes()[at - 1] == b',')
            };
            labels
                .iter()
                .all(has)
                .then(|| (given, value.parse().expect("a number")))
        })
    }

    /// Every series, as its name and labels are written, with its family's type and its value.
    pub(crate) fn all(&self) -> BTreeMap<&str, (&str, f64)> {
        let (mut all, mut family) = (BTreeMap::new(), "");
        for line in self.text.lines() {
            if let Some(typed) = line.strip_prefix("# TYPE ") {
                family = typed.rsplit_once(' ').expect("a type").1;
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').expect("a value");
                let value = value.parse().expect("a number");
                let twin = all.insert(series, (family, value));
                assert!(twin.is_none(), "twice: {series}");
            }
        }
        all
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// What was counted as of the last scrape: it never goes backwards, and nothing of it is forgotten.
#[derive(Default)]
pub(crate) struct Totals(BTreeMap<String, f64>);

impl Totals {
    /// Compares with a scrape that came later.
    pub(crate) fn grow(&mut self, metrics: &Metrics) {
        let all = metrics.all();
        let gone: Vec<_> = self
            .0
            .keys()
            .filter(|one| !all.contains_key(&one[..]))
            .collect();
        assert!(gone.is_empty(), "{gone:?} are gone");
        self.grow_if_there(metrics);
    }

    /// The same where series may go for a while, as those of health checks do that are not configured any more. They go on
    /// counting when they come back.
    pub(crate) fn grow_if_there(&mut self, metrics: &Metrics) {
        for (series, (family, value)) in metrics.all() {
            if family != "gauge" {
                let before = self.0.insert(series.to_owned(), value).unwrap_or(0.0);
                assert!(value >= before, "{series}: {before}, then {value}");
            }
        }
    }

    /// The same over several processes: none is gone, and none but those of the process itself goes backwards.
    pub(crate) fn grow_over_processes(&mut self, metrics: &Metrics) {
        let all = metrics.all().into_iter();
        let all: BTreeMap<_, _> = all
            .filter(|(series, (family, _))| *family != "gauge" && !series.starts_with("process_"))
            .map(|(series, (_, value))| (series.to_owned(), value))
            .collect();
        for (series, before) in &self.0 {
            let now = all.get(series);
            let now = now.unwrap_or_else(|| panic!("{series} is gone"));
            assert!(now >= before, "{series}: {before}, then {now}");
        }
        self.0 = all.into_iter().collect();
    }

    /// How many series they are.
    pub(crate) fn series(&self) -> usize {
        self.0.len()
    }
}
