//! `corelane check`.

use std::path::Path;
use std::process::ExitCode;

use proxy_console::{errln, outln};

use crate::config_file::{self, LoadError};
use crate::lists::Lists;
use crate::socket_options;
use crate::{cpus, doctor, explain};

/// Reports every problem of a configuration file at once; with `explained`, also what it means here and what is dangerous in it.
pub(crate) fn check(file: &Path, explained: bool) -> ExitCode {
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
            if explained {
                for danger in explain::dangers(&loaded.config) {
                    errln!("warning: {danger}");
                }
                let findings = doctor::examine(Some(&loaded.config));
                for obstacle in explain::obstacles(&findings) {
                    errln!("warning: {obstacle}");
                }
                outln!("{}", explain::explain(&loaded.config, &findings).trim_end());
                return ExitCode::SUCCESS;
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
