//! A configuration of several files, and with variables of the environment.

use std::collections::{BTreeMap, BTreeSet};
use std::env::VarError;

use proxy_config::{
    Config, EXPANDED_BYTES_MAX, FILES_BYTES_MAX, FILES_MAX, Files, INCLUDE_DEPTH_MAX, Loaded,
    Machine, Problems,
};

fn variable(name: &str) -> Result<String, VarError> {
    match name {
        "PORT" => Ok("7001".to_owned()),
        "NAME" => Ok("b".to_owned()),
        "TOML" => Ok("\"]\nupstream = \"c\"\n#".to_owned()),
        "OWN" => Ok("${PORT}".to_owned()),
        "MEGABYTE" => Ok("x".repeat(EXPANDED_BYTES_MAX)),
        _ => Err(VarError::NotPresent),
    }
}

/// What files of these names and texts mean; the first is the one that is asked for. A pattern ends with `*`.
fn load(files: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let names: BTreeMap<&str, &str> = files.iter().copied().collect();
    let (first, text) = files[0];
    let mut read = Files::new(first, text.as_bytes(), variable);
    let mut seen = BTreeSet::from([first.to_owned()]);
    while let Some(include) = read.next_include() {
        let found: Vec<_> = match include.pattern.strip_suffix('*') {
            Some(start) => {
                assert!(include.is_pattern());
                names
                    .range(start..)
                    .take_while(|(name, _)| name.starts_with(start))
                    .collect()
            }
            None => {
                assert!(!include.is_pattern());
                names
                    .get_key_value(include.pattern.as_str())
                    .into_iter()
                    .collect()
            }
        };
        if found.is_empty() && !include.is_pattern() {
            read.refuse(&include, &format!("of {} is missing", include.by));
        }
        for (name, text) in found {
            if !seen.contains(*name) {
                seen.insert((*name).to_owned());
                if !read.add(&include, name, text.as_bytes()) {
                    break;
                }
            }
        }
    }
    read.parse(Machine::ANY)
}

fn config(files: &[(&str, &str)]) -> Config {
    let loaded = load(files).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings, []);
    loaded.config
}

fn problems(files: &[(&str, &str)]) -> Vec<String> {
    let problems = load(files).expect_err("it is not valid");
    problems
        .as_slice()
        .iter()
        .map(ToString::to_string)
        .collect()
}

const LISTENER: &str = "[listeners.a]\nbind = \"127.0.0.1:7000\"\nupstream = \"b\"\n";
const UPSTREAM: &str = "[upstreams.b]\nservers = [\"builtin:echo\"]\n";

#[test]
fn sections_of_several_files_are_one() {
    let whole = format!(
        "[runtime]\npin = false\ndrain_timeout = \"1s\"\n{LISTENER}shares = 7\n{UPSTREAM}[upstreams.b.health]\nrise = 1\nfall = 2\n"
    );
    let split = [
        (
            "main",
            &*format!("include = [\"conf/*\", \"more\"]\n[runtime]\npin = false\n{LISTENER}"),
        ),
        ("conf/1", UPSTREAM),
        (
            "conf/2",
            "[upstreams.b.health]\nrise = 1\n[runtime]\ndrain_timeout = \"1s\"\n",
        ),
        (
            "more",
            "upstreams.b.health.fall = 2\nlisteners.a.shares = 7\n",
        ),
    ];
    let whole = config(&[("main", &whole)]);
    assert_eq!(config(&split), whole);
    assert_eq!(config(&split).hash(), whole.hash());
}

#[test]
fn the_order_is_that_of_the_files() {
    let listener = |name: &str, port: u16| {
        format!("[listeners.{name}]\nbind = \"127.0.0.1:{port}\"\nupstream = \"b\"\n")
    };
    let (z, y, x) = (listener("z", 1), listener("y", 2), listener("x", 3));
    let main = format!("include = [\"c/*\"]\n{UPSTREAM}{z}");
    let files = [("main", main.as_str()), ("c/2", &x), ("c/1", &y)];
    let names: Vec<_> = config(&files)
        .listeners
        .into_iter()
        .map(|listener| listener.name)
        .collect();
    assert_eq!(names, ["z", "y", "x"]);
}

#[test]
fn a_key_that_two_files_have_is_an_error_with_both_places() {
    let main = format!("include = [\"c/*\"]\nruntime.pin = true\n{LISTENER}{UPSTREAM}");
    let files = [
        ("main", main.as_str()),
        (
            "c/1",
            "\n[listeners.a]\nbind = \"127.0.0.1:1\"\n[runtime]\npin = true\n",
        ),
        ("c/2", "upstreams = 1\n"),
    ];
    assert_eq!(
        problems(&files),
        [
            "c/1:3:1: `listeners.a.bind` is written already, at main:4:1; remove one of the two",
            "c/1:5:1: `runtime.pin` is written already, at main:2:9; remove one of the two",
            "c/2:1:1: `upstreams` is written already, at main:6:2; remove one of the two",
        ]
    );
}

#[test]
fn problems_are_at_the_place_of_their_file() {
    let main = format!("\u{feff}include = [\"c/*\"]\nzzz = 1\n{LISTENER}");
    let files = [
        ("main", main.as_str()),
        ("c/1", "\u{feff}[upstreams.b]\nserver = [\"ä:1\"]\n"),
        (
            "c/2",
            "[listeners.a]\n  shares = 0\n[upstreams.b]\nbalance = \"x\"\n[listeners.c]\n",
        ),
    ];
    assert_eq!(
        problems(&files),
        [
            "main:2:1: unknown key `zzz` at the top level; the keys are include, runtime, admin, access_log, listeners, \
             upstreams",
            "c/1:2:1: unknown key `server` in [upstreams.b]; did you mean `servers`?",
            "c/2:2:12: `listeners.a.shares` must be an integer from 1 to 1000, not 0",
            "c/2:4:11: `upstreams.b.balance` must be \"round-robin\" or \"least-connections\" or \"random-two\" or \"source-hash\" or \"first\", not \"x\"",
            "c/2:5:1: missing key `bind` in [listeners.c]; write where to listen, as in bind = \"127.0.0.1:7000\"",
            "c/2:5:1: missing key `upstream` in [listeners.c]; write where connections go, as in upstream = \"NAME\" for \
             [upstreams.NAME]",
        ]
    );
}

#[test]
fn what_is_no_text_or_no_toml_is_said_of_each_file() {
    let files = [
        ("main", "include = [\"c/*\"]\n"),
        ("c/1", "a = \n"),
        ("c/2", "[b\n"),
    ];
    let found = problems(&files);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("c/1:1:5: this is not TOML: "),
        "{found:?}"
    );
    assert!(
        found[1].starts_with("c/2:1:3: this is not TOML: "),
        "{found:?}"
    );
}

#[test]
fn a_path_that_is_missing_is_an_error_and_a_pattern_is_not() {
    let main = format!("include = [\"c/*\",\n \"d\"]\n{LISTENER}{UPSTREAM}");
    assert_eq!(
        problems(&[("main", &main)]),
        ["main:2:2: `include` of \"d\" of main is missing"]
    );
    config(&[("main", &main.replace("\"d\"", "\"e*\""))]);
}

#[test]
fn a_file_includes_others_and_each_is_read_once() {
    let files = [
        ("main", "include = [\"a\", \"a\", \"b\"]\n"),
        ("a", &format!("include = [\"b\", \"main\"]\n{LISTENER}")),
        ("b", &format!("include = [\"a\", \"*\"]\n{UPSTREAM}")),
    ];
    config(&files);
}

#[test]
fn an_include_that_is_none_is_refused() {
    let problem = |include: &str| {
        problems(&[(
            "main",
            &format!("include = {include}\n{LISTENER}{UPSTREAM}"),
        )])
    };
    for (include, said) in [
        (
            "\"a\"",
            "main:1:11: `include` must be an array, not \"a\"; write files, as in include = [\"conf.d/*.toml\"]",
        ),
        (
            "[]",
            "main:1:11: `include` is empty; write files, as in include = [\"conf.d/*.toml\"]",
        ),
        (
            "[1]",
            "main:1:12: `include[0]` must be the path of a file, or of several with * and ?, such as \"conf.d/*.toml\", not 1",
        ),
        (
            "[\"a/**/b\"]",
            "main:1:12: `include[0]` must be the path of a file, or of several with * and ?, such as \"conf.d/*.toml\", not \
             \"a/**/b\"; folders are not searched for more; name each of them",
        ),
    ] {
        assert_eq!(problem(include), [said]);
    }
}

#[test]
fn files_are_bounded() {
    let names: Vec<String> = (0..=FILES_MAX)
        .map(|index| format!("c/{index:04}"))
        .collect();
    let main = format!("include = [\"c/*\"]\n{LISTENER}{UPSTREAM}");
    let with = |text: &str, count: usize| {
        let others = names.iter().take(count).map(|name| (name.as_str(), text));
        let files: Vec<_> = [("main", main.as_str())]
            .into_iter()
            .chain(others)
            .collect();
        load(&files)
    };
    assert!(with("", FILES_MAX - 1).is_ok());
    let said = with("", FILES_MAX).expect_err("too many").to_string();
    assert_eq!(
        said,
        "main:1:12: `include` of \"c/*\" would make more than 256 files; put several into one"
    );
    let large = "#".repeat(FILES_BYTES_MAX / 8);
    let said = with(&large, 8).expect_err("too large").to_string();
    assert!(
        said.contains("would make more than 8388608 bytes"),
        "{said}"
    );
}

#[test]
fn depth_is_bounded() {
    let names: Vec<String> = (0..=INCLUDE_DEPTH_MAX + 1)
        .map(|index| format!("f{index}"))
        .collect();
    let chain = |last: usize| -> Vec<(String, String)> {
        let text = |index: usize| match index {
            index if index == last => format!("{LISTENER}{UPSTREAM}"),
            index => format!("include = [{:?}]\n", names[index + 1]),
        };
        (0..=last)
            .map(|index| (names[index].clone(), text(index)))
            .collect()
    };
    let load_chain = |last: usize| {
        let files = chain(last);
        let files: Vec<_> = files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        load(&files)
    };
    assert!(load_chain(INCLUDE_DEPTH_MAX).is_ok());
    let said = load_chain(INCLUDE_DEPTH_MAX + 1)
        .expect_err("too deep")
        .to_string();
    assert_eq!(
        said,
        "f8:1:12: `include[0]` is 8 files deep already; include it in a file further up"
    );
}

#[test]
fn variables_are_put_into_values() {
    let text = "include = [\"${NAME}\"]\n[listeners.a]\nbind = [\"127.0.0.1:${PORT}\"]\nupstream = \"${NAME}\"\n\
         [access_log]\npath = \"stdout\"\ntemplate = \"$${client} ${NAME}\"\n";
    let config = config(&[("main", text), ("b", UPSTREAM)]);
    assert_eq!(config.listeners[0].binds[0].to_string(), "127.0.0.1:7001");
    assert!(
        config.to_toml().contains("template = \"$${client} b\""),
        "{}",
        config.to_toml()
    );
}

/// What a variable is stays a string: it is not read as TOML, and its own variables are not put in.
#[test]
fn variables_are_not_read_again() {
    let with = |name: &str| {
        let listener = LISTENER.replace("\"b\"", &format!("\"${{{name}}}\""));
        problems(&[("main", &format!("{listener}{UPSTREAM}"))])
    };
    let must = "main:3:12: `listeners.a.upstream` must be the name of an upstream, not";
    assert!(
        with("TOML")[0].starts_with(&format!("{must} \"\\\"]\\nupstream")),
        "{:?}",
        with("TOML")
    );
    assert!(
        with("OWN")[0].starts_with(&format!("{must} \"${{PORT}}\"")),
        "{:?}",
        with("OWN")
    );
}

#[test]
fn keys_are_left_alone() {
    let text = format!("{LISTENER}{UPSTREAM}[upstreams.b.\"${{NAME}}\"]\n");
    let said = problems(&[("main", &text)]);
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("unknown key `\"${NAME}\"`"), "{said:?}");
}

/// One problem for each, whatever else its value would have been, and all other problems beside it.
#[test]
fn a_variable_that_is_not_set_is_said_with_its_place() {
    let main = format!("include = [\"c\"]\n{LISTENER}shares = 0\n");
    let files = [
        ("main", main.as_str()),
        (
            "c",
            "[upstreams.b]\nservers = [\"a:1\", \"${NOBODY}:1\"]\nbalance = \"${}\"\nconnect_timeout = \"${MEGABYTE}${NAME}\"\n",
        ),
    ];
    let found = problems(&files);
    assert_eq!(
        found[..3],
        [
            "main:5:10: `listeners.a.shares` must be an integer from 1 to 1000, not 0",
            "c:2:19: `upstreams.b.servers[1]` uses the variable NOBODY, which is not set in the environment; set it, or write \
             \"$${\" for \"${\" itself",
            "c:3:11: `upstreams.b.balance` has \"${}\" where the name of a variable must be: letters, digits and _; write \
             \"$${\" for \"${\" itself",
        ]
    );
    assert!(found[3].starts_with(
        "c:4:19: `upstreams.b.connect_timeout` uses the variable NAME, and all variables together"
    ));
    assert_eq!(found.len(), 4);
}
