//! What is said about configurations that are not valid, and where.

mod access_log;
mod admin;
mod file;
mod listener;
mod loops;
mod runtime;
mod upstream;

use proxy_config::parse;

const LISTENER: &str = "[listeners.l]\nbind = \"127.0.0.1:1\"\nupstream = \"u\"\n";
const UPSTREAM: &str = "[upstreams.u]\nservers = [\"a:1\"]\n";

/// The problems of a text, each without the name of the file.
fn problems(text: &str) -> Vec<String> {
    let Err(problems) = parse(text, "f") else {
        panic!("this is valid:\n{text}");
    };
    assert_eq!(problems.omitted(), 0);
    let line = |problem: &proxy_config::Problem| problem.to_string().split_off("f:".len());
    problems.as_slice().iter().map(line).collect()
}

/// Asserts the only problem of each text, which starts at the given line and column.
fn assert_problems(render: impl Fn(&str) -> String, cases: &[(&str, &str)]) {
    for (written, problem) in cases {
        assert_eq!(problems(&render(written)), [*problem], "{written}");
    }
}
