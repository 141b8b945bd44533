//! Where results go, as they come: a run that is broken off has told what it knew.

use std::fs::{File, create_dir_all};
use std::io::{IsTerminal as _, Write as _, stderr, stdout};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::RunArgs;
use crate::sample::{Results, Sample};
use crate::{docs, plots, report};

/// Takes the cursor back and clears the line of progress.
const CLEAR: &str = "\r\x1b[K";
/// The samples, beside the plots.
const SAMPLES: &str = "samples.csv";
/// The document's section.
const SECTION: &str = "results";

/// The terminal, and the files asked for.
pub(crate) struct Outputs {
    markdown: Option<File>,
    csv: Vec<File>,
    /// The directory of the document, and what stands above its tables.
    document: Option<(PathBuf, String)>,
    /// Whether somebody is watching.
    watched: bool,
}

impl Outputs {
    /// Makes the files, before the time for the measurements is spent. `head` stands above the tables.
    pub(crate) fn open(args: &RunArgs, head: &str) -> anyhow::Result<Self> {
        let mut csv: Vec<PathBuf> = args.csv.iter().cloned().collect();
        if let Some(dir) = &args.common.out {
            let dir = dir.join(docs::FILES);
            create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
            csv.push(dir.join(SAMPLES));
        }
        let mut outputs = Self {
            markdown: args.markdown.as_deref().map(create).transpose()?,
            csv: csv
                .iter()
                .map(|path| create(path))
                .collect::<anyhow::Result<_>>()?,
            document: args.common.out.clone().map(|dir| (dir, head.to_owned())),
            watched: stderr().is_terminal(),
        };
        outputs.csv(Sample::CSV_HEADER)?;
        outputs.markdown(head)?;
        Ok(outputs)
    }

    /// Adds to the Markdown, which also goes to standard output.
    pub(crate) fn markdown(&mut self, text: &str) -> anyhow::Result<()> {
        self.progress("");
        writeln!(stdout(), "{text}")?;
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
            for name in plots::draw(&dir.join(docs::FILES), results)? {
                text.push_str(&format!(
                    "\n![{}]({}/{name})\n",
                    results.workload,
                    docs::FILES
                ));
            }
        }
        docs::write(dir, SECTION, &text)
    }

    /// Says what is being done, on a terminal.
    pub(crate) fn progress(&self, what: &str) {
        if self.watched {
            eprint!("{CLEAR}{what}");
        }
    }
}

fn create(path: &Path) -> anyhow::Result<File> {
    File::create(path).with_context(|| format!("creating {}", path.display()))
}
