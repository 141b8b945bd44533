//! `corelane convert`: the configuration of another proxy as one of corelane.
//!
//! A reader for each proxy fills a plan, and one writer makes TOML of it, in which a comment says of each key where it came
//! from. All of it is pure: what a reader needs besides its files it asks its [`Surroundings`] for.

mod access;
mod case;
mod document;
mod duration;
mod envoy;
mod haproxy;
mod input;
mod intersection;
mod kind;
mod names;
mod nginx;
mod note;
mod origin;
mod plan;
mod routing;
mod settle;
mod traefik;
mod tree;
mod value;

pub use self::document::NOTES_MAX;
pub use self::input::{FILE_BYTES_MAX, FILES_MAX, Input, Nowhere, Surroundings};
pub use self::kind::Kind;
pub use self::note::Note;
pub use self::origin::{Origin, Place};

use self::document::Document;
use self::origin::{plain, shown};

/// A configuration that was converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// A valid corelane.toml, with what is below as comments at its top.
    pub file: String,
    /// What it doesn't say, so that it does something else than the original.
    pub losses: Vec<Note>,
    /// What needs nothing here, or comes out nearly the same.
    pub remarks: Vec<Note>,
}

/// Why nothing was converted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Whose configuration it is can't be told.
    #[error("{name} looks like nobody's configuration; say whose it is by --from")]
    Unknown {
        /// The file.
        name: String,
    },
    /// It can't be read as one of that kind.
    #[error("{0}")]
    Invalid(String),
    /// Nothing that corelane could do is in it.
    #[error("nothing of {name} can be carried over: no listener with a server is left")]
    Nothing {
        /// The first file.
        name: String,
        /// Why.
        losses: Vec<Note>,
    },
}

/// Converts the files of a configuration, in the order in which the other proxy reads them. Without `kind`, the first one tells
/// whose they are.
///
/// # Errors
/// If it can't be told whose they are, they aren't valid, or nothing of them can be carried over.
pub fn convert(
    inputs: &[Input],
    kind: Option<Kind>,
    surroundings: &dyn Surroundings,
) -> Result<Converted, Refused> {
    let name = inputs.first().map_or("", |input| input.name.as_str());
    if inputs.len() > FILES_MAX {
        let reason = format!("more than {FILES_MAX} files; convert a part of them at a time");
        return Err(Refused::Invalid(reason));
    }
    let texts = inputs
        .iter()
        .map(|input| Ok((input.name.as_str(), input.text()?)));
    let texts: Vec<_> = texts.collect::<Result<_, _>>().map_err(Refused::Invalid)?;
    let detected = || {
        texts
            .iter()
            .find_map(|(name, text)| Kind::detect(name, text))
    };
    let plan = match kind.or_else(detected) {
        Some(Kind::Haproxy) => haproxy::read(&texts, surroundings),
        Some(Kind::Nginx) => nginx::read(&texts, surroundings),
        Some(Kind::Envoy) => envoy::read(&texts, surroundings),
        Some(Kind::Traefik) => traefik::read(&texts, surroundings),
        None => {
            let name = name.to_owned();
            return Err(Refused::Unknown { name });
        }
    };
    let (mut document, mut notes) =
        Document::new(plan.map_err(|reason| Refused::Invalid(plain(&reason)))?);
    let title = format!(
        "Made of {} by `corelane convert`. A comment says where a line came from; without one, from that of its table.",
        shown(name)
    );
    let file = settle::settle(&mut document, &mut notes, &title);
    let (losses, remarks) = (notes.losses, notes.remarks);
    match file {
        Some(file) => Ok(Converted {
            file,
            losses,
            remarks,
        }),
        None => Err(Refused::Nothing {
            name: name.to_owned(),
            losses,
        }),
    }
}
