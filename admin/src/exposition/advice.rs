//! What the adviser says.

use proxy_core::backend::Stealing;

use super::family::Families;
use crate::advice::{Advice, Id};

/// Adds what is said now.
pub(super) fn collect(families: &mut Families, advice: &[Advice], stealing: Stealing) {
    let mut family = families.gauge(
        "corelane_advice",
        "1 while the advice of this name is given, else 0; it has held for a minute then. docs/metrics.md tells what \
         each means.",
    );
    for id in Id::ALL {
        let given = advice.iter().any(|advice| advice.id == id);
        family.add_count(&[("advice", id.name(stealing))], u64::from(given));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::STEALING;

    #[test]
    fn every_name_has_a_series_from_the_start() {
        let mut families = Families::default();
        let advice = Advice {
            id: Id::AddCores,
            text: String::new(),
        };
        collect(&mut families, &[advice], STEALING);
        let text = families.encode().expect("it has samples");
        for id in Id::ALL {
            let value = u8::from(id == Id::AddCores);
            let line = format!(
                "\ncorelane_advice{{advice=\"{}\"}} {value}\n",
                id.name(STEALING)
            );
            assert!(text.contains(&line), "{text}");
        }
    }
}
