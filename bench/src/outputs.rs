//! Where results go, as they come: a run that is broken off has told what it knew.

use std::fs::{File, create_dir_all};
use std::io::{Write as _, stdout};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::RunArgs;
use crate::sample::{Results, Sample};
use crate::{docs, plots, report};

/// The line of progress.
const TEMPLATE: &str = "{elapsed_precise} {bar:24} {pos}/{len}, {eta} to go: {msg}";
/// The samples, beside the plots.
const SAMPLES: &str = "samples.csv";
/// The section whose plots and samples are not in a directory of its name.
const SECTION: &str = "results";

/// The terminal, and the files asked for.
pub(crate) struct Outputs {
    markdown: Option<File>,
    csv: Vec<File>,
    /// The directory of the document, and what stands above its tables.
    document: Option<(PathBuf, String)>,
    section: String,
    /// Shown where standard error is a terminal. It has no ticker: a thread of its own would take time from the load.
    bar: ProgressBar,
}

impl Outputs {
    /// Makes the files, before the time for the measurements is spent. `head` stands above the tables; there will be
    /// so many `turns`.
    pub(crate) fn open(args: &RunArgs, head: &str, turns: u64) -> anyhow::Result<Self> {
        let mut csv: Vec<PathBuf> = args.csv.iter().cloned().collect();
        if let Some(dir) = &args.common.machine.out {
            let dir = dir.join(files(&args.section));
            create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
            csv.push(dir.join(SAMPLES));
        }
        let mut outputs = Self {
            markdown: args.markdown.as_deref().map(create).transpose()?,
            csv: csv
                .iter()
                .map(|path| create(path))
                .collect::<anyhow::Result<_>>()?,
            document: args
                .common
                .machine
                .out
                .clone()
                .map(|dir| (dir, head.to_owned())),
            section: args.section.clone(),
            bar: ProgressBar::new(turns).with_style(ProgressStyle::with_template(TEMPLATE)?),
        };
        outputs.csv(Sample::CSV_HEADER)?;
        outputs.markdown(head)?;
        Ok(outputs)
    }

    /// Adds to the Markdown, which also goes to standard output.
    pub(crate) fn markdown(&mut self, text: &str) -> anyhow::Result<()> {
        self.bar.suspend(|| writeln!(stdout(), "{text}"))?;
        if let Some(file) = &mut self.markdown {
            writeln!(file, "{text}")?;
        }
        Ok(())
    }

    /// Adds a line to the CSV.
    pub(crate) fn csv(&mut self, line: &str) -> anyhow::Result<()> {
        for file in &mut self.csv {
            writeln!(file, "{line}")?;
        }
        Ok(())
    }

    /// Writes the document's section and plots of the workloads that are done.
    pub(crate) fn document(&self, all: &[Results]) -> anyhow::Result<()> {
        let Some((dir, head)) = &self.document else {
            return Ok(());
        };
        let mut text = format!("{head}\n{}", report::overview(all));
        for results in all {
            text.push_str(&format!("\n{}\n", report::table(results).trim_end()));
            let files = files(&self.section);
            for name in plots::draw(&dir.join(&files), results)? {
                text.push_str(&format!("\n![{}]({files}/{name})\n", results.workload));
            }
        }
        docs::write(dir, &self.section, &text)
    }

    /// Says what is being done.
    pub(crate) fn progress(&self, what: String) {
        self.bar.set_message(what);
        self.bar.tick();
    }

    /// A turn is over.
    pub(crate) fn advance(&self) {
        self.bar.inc(1);
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Where a section's plots and samples are, beside the document.
fn files(section: &str) -> String {
    if section == SECTION {
        docs::FILES.to_owned()
    } else {
        format!("{}/{section}", docs::FILES)
    }
}

fn create(path: &Path) -> anyhow::Result<File> {
    File::create(path).with_context(|| format!("creating {}", path.display()))
}
