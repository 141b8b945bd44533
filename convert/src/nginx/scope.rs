//! What stands in a `server` block or around it.

use std::time::Duration;

use super::super::note::Notes;
use super::super::origin::Origin;
use super::directive::Directive;
use super::units;

/// A `server` block with the ones around it.
pub(super) struct Scope<'d> {
    pub(super) block: &'d Directive,
    pub(super) stream: &'d [Directive],
}

impl<'d> Scope<'d> {
    /// The directive of this name: the block's, or else the one around it.
    pub(super) fn find(&self, name: &str) -> Option<&'d Directive> {
        self.all(&[name]).first().copied()
    }

    /// All directives of these names: the block's, or else those around it.
    pub(super) fn all(&self, names: &[&str]) -> Vec<&'d Directive> {
        let of = |directives: &'d [Directive]| {
            let all = directives.iter();
            all.filter(|one| names.contains(&one.name.as_str()))
                .collect::<Vec<_>>()
        };
        let own = of(self.block.inner());
        if own.is_empty() { of(self.stream) } else { own }
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        self.find(name)
            .is_some_and(|directive| directive.value() == "on")
    }

    /// A time, or nginx's default for it.
    pub(super) fn time(&self, name: &str, default: u64, notes: &mut Notes) -> (Duration, Origin) {
        let default = Duration::from_secs(default);
        match self.find(name) {
            None => {
                let said = format!("{name} {}s is nginx's default", default.as_secs());
                (default, self.block.from.part(&said))
            }
            Some(directive) => match units::time(directive.value()) {
                Some(time) => (time, directive.from.clone()),
                None => {
                    notes.lose(&directive.from, "this is no time; nginx's default is taken");
                    (default, directive.from.clone())
                }
            },
        }
    }
}
