//! What documents say of the keys is what the catalogue says.

use std::fs;
use std::path::{Path, PathBuf};

use proxy_config::{reference, schema};

/// Set, the files are written instead of compared.
const WRITE: &str = "CORELANE_WRITE_REFERENCE";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn compare(file: &str, made: &str) {
    let path = repository().join("docs").join(file);
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, made).expect("write");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == made,
        "docs/{file} is not what the catalogue says: run `{WRITE}=1 cargo test -p proxy-config --test reference`"
    );
}

#[test]
fn the_reference_is_what_the_catalogue_says() {
    compare("configuration.md", &reference());
}

#[test]
fn the_schema_is_what_the_catalogue_says() {
    compare("corelane.schema.json", &schema());
}

#[test]
fn examples_are_what_the_schema_allows() {
    let schema = serde_json::from_str(&schema()).expect("it is JSON");
    let validator = jsonschema::validator_for(&schema).expect("it is a schema");
    let examples = fs::read_dir(repository().join("config/examples")).expect("examples");
    let mut count = 0;
    for example in examples {
        let path = example.expect("a file").path();
        let text = fs::read_to_string(&path).expect("read");
        let value: serde_json::Value = toml::from_str(&text).expect("it is TOML");
        let errors: Vec<_> = validator.iter_errors(&value).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
        count += 1;
    }
    assert!(count > 0);
}
