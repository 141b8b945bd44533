//! What configurations of other proxies become: each file of `tests/convert` beside the corelane.toml that it must become.

use std::fs;
use std::path::{Path, PathBuf};

use proxy_tools::convert::{Input, Nowhere, convert};

/// Set, the results are written instead of compared.
const WRITE: &str = "CORELANE_WRITE_CONVERTED";

/// The files of a folder of `tests/convert` that are to be converted.
fn inputs(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/convert");
    let entries = fs::read_dir(root.join(folder)).expect("the folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let is_input = |path: &PathBuf| !path.to_string_lossy().ends_with(".corelane.toml");
    let mut inputs: Vec<_> = paths
        .filter(|path| path.is_file())
        .filter(is_input)
        .collect();
    inputs.sort();
    inputs
}

/// Converts each file of a folder. The result is valid, and is what stands in `NAME.corelane.toml`.
fn compare(folder: &str) {
    let inputs = inputs(folder);
    assert!(!inputs.is_empty());
    for path in inputs {
        let file = path.file_name().expect("a name").to_string_lossy();
        let input = Input {
            name: file.clone().into_owned(),
            bytes: fs::read(&path).expect("read"),
        };
        let converted =
            convert(&[input], None, &Nowhere).unwrap_or_else(|why| panic!("{file}: {why}"));
        if let Err(problems) = proxy_config::parse(&converted.file, "corelane.toml") {
            panic!("{file} becomes what is not valid: {problems}");
        }
        let expected = path.with_extension("corelane.toml");
        if std::env::var_os(WRITE).is_some() {
            fs::write(&expected, &converted.file).expect("write");
        }
        let found = fs::read_to_string(&expected).unwrap_or_default();
        assert!(
            found == converted.file,
            "{file} becomes something else than {}: look at what `{WRITE}=1 cargo test -p proxy-tools --test convert` changes",
            expected.display()
        );
    }
}

#[test]
fn haproxys_files_become_what_stands_beside_them() {
    compare("haproxy");
}
