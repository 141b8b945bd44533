//! `corelane check`.

use std::path::Path;
use std::process::ExitCode;

use proxy_console::{errln, outln};

use crate::config_file::{self, LoadError};
use crate::cpus;
use crate::lists::Lists;
use crate::socket_options;

/// Reports every problem of a configuration file at once.
pub(crate) fn check(file: &Path) -> ExitCode {
    match config_file::load(file) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                errln!("warning: {warning}");
            }
            if let Some(warning) = cpus::warning(&loaded.config.runtime) {
                errln!("warning: {warning}");
            }
            if let Err(problems) = Lists::load(&loaded.config) {
                errln!("{problems}");
                return ExitCode::FAILURE;
            }
            if let Err(refused) = socket_options::try_out(&loaded.config) {
                errln!("{refused}");
                return ExitCode::FAILURE;
            }
            outln!("{}: ok", file.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            if let LoadError::Invalid(problems) = &error {
                for warning in problems.warnings() {
                    errln!("warning: {warning}");
                }
            }
            // With what the system said, where it did.
            errln!("{:#}", anyhow::Error::from(error));
            ExitCode::FAILURE
        }
    }
}
