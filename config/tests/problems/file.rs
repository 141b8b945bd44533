//! What is said of a file as a whole.

use proxy_config::{
    BINDS_MAX, FILE_BYTES_MAX, LISTENERS_MAX, PROBLEMS_MAX, SERVERS_MAX, UPSTREAMS_MAX, parse,
};

use crate::{LISTENER, UPSTREAM, problems};

#[test]
fn names() {
    let long = "x".repeat(65);
    for (name, shown) in [
        ("\"\"", "\"\"".to_owned()),
        ("\"a b\"", "\"a b\"".to_owned()),
        ("\"ä\"", "\"ä\"".to_owned()),
        (&long, format!("\"{}\"…", "x".repeat(64))),
    ] {
        let text = LISTENER.replace("listeners.l", &format!("listeners.{name}")) + UPSTREAM;
        let rest = "in [listeners] must be 1 to 64 characters of A-Z a-z 0-9 _ . -";
        assert_eq!(problems(&text), [format!("1:1: the name {shown} {rest}")]);
    }
}

#[test]
fn what_is_missing() {
    let no_listeners = "1:1: missing key `listeners` at the top level; add a table \
        [listeners.NAME] with bind = \"127.0.0.1:7000\" and upstream = \"NAME\"";
    let no_upstreams = "1:1: missing key `upstreams` at the top level; add a table \
        [upstreams.NAME] with servers = [\"HOST:PORT\"]";
    assert_eq!(problems(""), [no_listeners, no_upstreams]);
    assert_eq!(
        problems(&format!("[listeners]\n{UPSTREAM}")),
        [
            "1:1: `listeners` is empty; add a table [listeners.NAME] with \
          bind = \"127.0.0.1:7000\" and upstream = \"NAME\""
        ],
    );
    assert_eq!(
        problems("[listeners.l]\n[upstreams.u]\n"),
        [
            "1:1: missing key `bind` in [listeners.l]; write where to listen, \
             as in bind = \"127.0.0.1:7000\"",
            "1:1: missing key `upstream` in [listeners.l]; write where connections go, \
             as in upstream = \"NAME\" for [upstreams.NAME]",
            "2:1: missing key `servers` in [upstreams.u]; write where connections go, \
             as in servers = [\"127.0.0.1:6379\"]",
        ],
    );
}

#[test]
fn what_should_be_a_table() {
    assert_eq!(
        problems("admin = 1\nlisteners = 2\nruntime = [3]\nupstreams.u = 4\n"),
        [
            "1:9: `admin` must be a table, not 1",
            "2:13: `listeners` must be a table, not 2",
            "3:11: `runtime` must be a table, not an array",
            "4:15: `upstreams.u` must be a table, not 4",
        ],
    );
    assert_eq!(
        problems(&format!(
            "[[listeners]]\nbind = \"127.0.0.1:1\"\n{UPSTREAM}"
        )),
        ["1:1: `listeners` must be a table, not an array"],
    );
}

#[test]
fn a_misspelt_key_is_not_missing_too() {
    assert_eq!(
        problems(&format!("{UPSTREAM}[listener.l]\n")),
        ["3:2: unknown key `listener` at the top level; did you mean `listeners`?"],
    );
    assert_eq!(
        problems(&format!(
            "{}{UPSTREAM}",
            LISTENER.replace("upstream", "upsteam")
        )),
        ["3:1: unknown key `upsteam` in [listeners.l]; did you mean `upstream`?"],
    );
}

#[test]
fn a_section_in_the_wrong_place_is_sent_to_its_own() {
    assert_eq!(
        problems(&format!("{LISTENER}{UPSTREAM}[glommio]\nring_depth = 64\n")),
        ["6:2: unknown key `glommio` at the top level; it belongs in [runtime]"],
    );
    assert_eq!(
        problems(&format!("{LISTENER}{UPSTREAM}[health]\n")),
        ["6:2: unknown key `health` at the top level; it belongs in [upstreams.NAME]"],
    );
}

#[test]
fn a_listener_without_a_name_is_asked_for_one() {
    let text = format!("[listeners]\nbind = \"127.0.0.1:1\"\nupstream = \"u\"\n{UPSTREAM}");
    assert_eq!(
        problems(&text),
        [
            "2:8: `listeners.bind` belongs in [listeners.NAME]: choose a name for it",
            "3:12: `listeners.upstream` belongs in [listeners.NAME]: choose a name for it",
        ],
    );
}

#[test]
fn all_problems_are_reported_in_the_order_of_the_file() {
    let text = "[upstreams.u]\nservers = [1]\n[listeners.l]\nshares = 0\nbind = 1\n\
        upstream = \"v\"\n[runtime]\npin = 1\n";
    let at = problems(text)
        .iter()
        .map(|problem| problem[..4].to_owned())
        .collect::<Vec<_>>();
    assert_eq!(at, ["2:12", "4:10", "5:8:", "6:12", "8:7:"]);
}

#[test]
fn a_problem_has_the_path_of_its_key() {
    let text = format!("x = 1\n{LISTENER}backlog = 0\n{UPSTREAM}");
    let found = parse(&text, "f").unwrap_err();
    let keys: Vec<_> = found
        .as_slice()
        .iter()
        .map(|problem| problem.key.as_deref())
        .collect();
    assert_eq!(keys, [Some("x"), Some("listeners.l.backlog")]);
}

#[test]
fn syntax_is_reported_alone() {
    let text = "a = \"ü\" b\nb = \"x\nc = 1\nc = 2\n";
    let found = problems(text);
    assert!(
        found
            .iter()
            .all(|problem| problem.contains(": this is not TOML: ")),
        "{found:?}"
    );
    let starts: Vec<&str> = found
        .iter()
        .map(|problem| problem.split(": ").next().unwrap())
        .collect();
    assert_eq!(starts, ["1:9", "2:7", "4:1"]);
    assert_eq!(found[2], "4:1: this is not TOML: duplicate key");
}

#[test]
fn everything_is_bounded() {
    let over = |max: usize, entry: &dyn Fn(usize) -> String| {
        (0..=max).map(entry).collect::<Vec<_>>().concat()
    };
    let listener = |i: usize| {
        format!(
            "[listeners.l{i}]\nbind = \"127.0.0.1:{}\"\nupstream = \"u\"\n",
            i + 1
        )
    };
    let upstream = |i: usize| format!("[upstreams.u{i}]\nservers = [\"a:1\"]\n");
    let server = |i: usize| format!("\"a:{}\",", i + 1);
    let bind = |i: usize| format!("\"127.0.0.1:{}\",", i + 1);

    let text = UPSTREAM.to_owned() + &over(LISTENERS_MAX, &listener);
    assert_eq!(
        problems(&text),
        ["3:2: `listeners` has 257 entries; at most 256 are allowed"]
    );
    let text = LISTENER.replace("\"u\"", "\"u0\"") + &over(UPSTREAMS_MAX, &upstream);
    assert_eq!(
        problems(&text),
        ["4:2: `upstreams` has 1025 entries; at most 1024 are allowed"]
    );
    let servers = over(SERVERS_MAX, &server);
    let text = format!("{LISTENER}[upstreams.u]\nservers = [{servers}]\n");
    let problem = "5:11: `upstreams.u.servers` has 1025 entries; at most 1024 are allowed";
    assert_eq!(problems(&text), [problem]);
    let binds = format!("[{}]", over(BINDS_MAX, &bind));
    let text = LISTENER.replace("\"127.0.0.1:1\"", &binds) + UPSTREAM;
    let problem = "2:8: `listeners.l.bind` has 1025 entries; at most 1024 are allowed";
    assert_eq!(problems(&text), [problem]);

    let text = over(PROBLEMS_MAX + 1, &|i| format!("k{i} = 1\n")) + LISTENER + UPSTREAM;
    let found = parse(&text, "f").unwrap_err();
    assert_eq!(found.as_slice().len(), PROBLEMS_MAX);
    assert!(found.to_string().ends_with("\n… and 2 more"));

    let problem =
        "1:1: the file is larger than 1048576 bytes; move a part of it into files that it includes";
    assert_eq!(problems(&"#".repeat(FILE_BYTES_MAX + 1)), [problem]);
}

#[test]
fn long_values_are_cut_and_stay_on_one_line() {
    let long = "é\\n".repeat(1000);
    let text = format!("[runtime]\nscheduler = \"{long}\"\n{LISTENER}{UPSTREAM}");
    let found = problems(&text);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].ends_with(&format!("not \"{}\"…", "é\\n".repeat(32))),
        "{}",
        found[0]
    );
}
