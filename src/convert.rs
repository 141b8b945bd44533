//! `corelane convert`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use proxy_console::{errln, outln};
use proxy_convert::{
    self as tools, FILE_BYTES_MAX, FILES_MAX, Input, Kind, Note, Refused, Surroundings,
};

use crate::cli::Convert;

/// Something of the original is not in the result.
const LOSSES: u8 = 1;
/// There is no result.
const REFUSED: u8 = 2;

/// How the names of files end that a directory stands for.
const ENDINGS: [&str; 6] = ["cfg", "conf", "json", "toml", "yaml", "yml"];

/// Converts the files of another proxy. The result goes to a file or to stdout, and what is lost to stderr.
pub(crate) fn convert(options: &Convert) -> ExitCode {
    let kind = options.from.as_deref().map(|name| match name {
        "haproxy" => Kind::Haproxy,
        "nginx" => Kind::Nginx,
        "envoy" => Kind::Envoy,
        _ => Kind::Traefik,
    });
    let result = gather(&options.files).map_err(Refused::Invalid);
    let result = result.and_then(|inputs| tools::convert(&inputs, kind, &Machine));
    let converted = match result {
        Ok(converted) => converted,
        Err(refused) => {
            if let Refused::Nothing { losses, .. } = &refused {
                report(losses, "not carried over");
            }
            errln!("corelane: {refused}");
            return REFUSED.into();
        }
    };
    if let Some(output) = &options.output {
        if let Err(error) = write(output, &options.files, &converted.file) {
            errln!("corelane: cannot write {}: {error}", output.display());
            return REFUSED.into();
        }
    } else {
        outln!("{}", converted.file.trim_end());
    }
    report(&converted.losses, "not carried over");
    if converted.losses.is_empty() {
        ExitCode::SUCCESS
    } else {
        LOSSES.into()
    }
}

fn report(notes: &[Note], heading: &str) {
    if !notes.is_empty() {
        errln!("{heading}:");
    }
    for note in notes {
        errln!("  {note}");
    }
}

fn write(output: &Path, inputs: &[PathBuf], text: &str) -> io::Result<()> {
    let same = |input: &PathBuf| match (input.canonicalize(), output.canonicalize()) {
        (Ok(input), Ok(output)) => input == output,
        _ => false,
    };
    if inputs.iter().any(same) {
        return Err(io::Error::other(
            "it is what is converted; name another file",
        ));
    }
    fs::write(output, text)
}

/// The files, and those of directories, sorted.
fn gather(paths: &[PathBuf]) -> Result<Vec<Input>, String> {
    let mut inputs = Vec::new();
    for path in paths {
        if path.is_dir() {
            let cannot =
                |error: io::Error| format!("cannot read the directory {}: {error}", path.display());
            let entries = fs::read_dir(path).map_err(cannot)?;
            let entries = entries.map(|entry| Ok(entry?.path()));
            let mut entries: Vec<_> = entries.collect::<io::Result<_>>().map_err(cannot)?;
            entries.retain(|path| is_configuration(path));
            entries.sort();
            for path in entries.iter().take(FILES_MAX + 1) {
                inputs.push(read(path)?);
            }
        } else {
            inputs.push(read(path)?);
        }
    }
    if inputs.is_empty() {
        let paths: Vec<_> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let endings = ENDINGS.map(|ending| format!(".{ending}")).join(", ");
        return Err(format!(
            "no file in {} is named as those of proxies are ({endings}); name the files themselves",
            paths.join(", ")
        ));
    }
    Ok(inputs)
}

/// Whether a file of a directory is one that proxies read there.
fn is_configuration(path: &Path) -> bool {
    let is_hidden = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let ending = path.extension().and_then(|ending| ending.to_str());
    !is_hidden && path.is_file() && ending.is_some_and(|ending| ENDINGS.contains(&ending))
}

fn read(path: &Path) -> Result<Input, String> {
    let (name, path) = match path.to_str() {
        Some("-") => ("standard input".to_owned(), Path::new("/dev/stdin")),
        _ => (path.display().to_string(), path),
    };
    let cannot = |error| format!("cannot read {name}: {error}");
    let file = File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    Ok(Input { name, bytes })
}

/// The files and the environment of this process.
struct Machine;

impl Surroundings for Machine {
    fn read(&self, path: &Path, by: &Path) -> Result<Input, String> {
        read(&beside(path, by))
    }

    fn matches(&self, pattern: &str, by: &Path) -> Result<Vec<PathBuf>, String> {
        let folder = by.parent().unwrap_or(Path::new(""));
        let folder = folder.to_str().ok_or("its folder's name is not UTF-8")?;
        let pattern = match pattern.starts_with('/') || folder.is_empty() {
            true => pattern.to_owned(),
            false => format!("{}/{pattern}", glob::Pattern::escape(folder)),
        };
        let found = glob::glob(&pattern).map_err(|error| error.to_string())?;
        let mut found: Vec<_> = found.filter_map(Result::ok).take(FILES_MAX + 1).collect();
        found.sort();
        Ok(found)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// A path as the file at `by` means it.
fn beside(path: &Path, by: &Path) -> PathBuf {
    by.parent()
        .map_or_else(|| path.to_owned(), |folder| folder.join(path))
}
