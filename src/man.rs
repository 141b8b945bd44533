//! `corelane man`: manual pages, made of the command line.

use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use clap_mangen::{Man, generate_to};
use proxy_console::outln;

use crate::cli::Cli;

/// Prints the page of the program, or writes those of all commands into a folder.
pub(crate) fn man(folder: Option<&Path>) -> anyhow::Result<()> {
    let command = Cli::command();
    match folder {
        Some(folder) => generate_to(command, folder)
            .with_context(|| format!("cannot write manual pages into {}", folder.display())),
        None => {
            let mut page = Vec::new();
            Man::new(command).render(&mut page)?;
            outln!("{}", String::from_utf8_lossy(&page).trim_end());
            Ok(())
        }
    }
}
