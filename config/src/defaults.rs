//! What is where nothing is written: by the catalogue.

use crate::catalogue::keys::{ACCESS_LOG, HEALTH, LISTENER, RUNTIME};
use crate::raw::section::{Section, default};
use crate::sections::admission::{self, Admission};
use crate::sections::health::{self, Health};
use crate::sections::runtime::{self, Runtime};
use crate::values::template::Template;

impl Default for Runtime {
    fn default() -> Self {
        Section::defaults(&RUNTIME, runtime::read)
    }
}

impl Default for Admission {
    fn default() -> Self {
        Section::defaults(&LISTENER, |section| {
            let admission = admission::read(section);
            // The keys of other files of this table are not missed.
            for key in LISTENER.keys {
                let _ = section.node(key.name);
            }
            admission
        })
    }
}

impl Default for Health {
    fn default() -> Self {
        Section::defaults(&HEALTH, health::read_section)
    }
}

impl Default for Template {
    fn default() -> Self {
        default(ACCESS_LOG.key("template"))
    }
}
