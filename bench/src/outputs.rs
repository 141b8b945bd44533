//! Where results go, as they come: a run that is broken off has told what it knew.

use std::fs::File;
use std::io::{IsTerminal as _, Write as _, stderr, stdout};
use std::path::Path;

use anyhow::Context as _;

use crate::cli::RunArgs;
use crate::sample::Sample;

/// Takes the cursor back and clears the line of progress.
const CLEAR: &str = "\r\x1b[K";

/// The terminal, and the files asked for.
pub(crate) struct Outputs {
    markdown: Option<File>,
    csv: Option<File>,
    /// Whether somebody is watching.
    watched: bool,
}

impl Outputs {
    /// Makes the files, before the time for the measurements is spent.
    pub(crate) fn open(args: &RunArgs) -> anyhow::Result<Self> {
        let create = |path: Option<&Path>| {
            path.map(|path| {
                File::create(path).with_context(|| format!("creating {}", path.display()))
            })
            .transpose()
        };
        let (markdown, csv) = (
            create(args.markdown.as_deref())?,
            create(args.csv.as_deref())?,
        );
        let mut outputs = Self {
            markdown,
            csv,
            watched: stderr().is_terminal(),
        };
        outputs.csv(Sample::CSV_HEADER)?;
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
        if let Some(file) = &mut self.csv {
            writeln!(file, "{line}")?;
        }
        Ok(())
    }

    /// Says what is being done, on a terminal.
    pub(crate) fn progress(&self, what: &str) {
        if self.watched {
            eprint!("{CLEAR}{what}");
        }
    }
}
