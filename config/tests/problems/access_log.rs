//! What is said of `[access_log]`.

use crate::{LISTENER, UPSTREAM, assert_problems};

#[test]
fn keys() {
    let render = |lines: &str| format!("[access_log]\n{lines}\n{LISTENER}{UPSTREAM}");
    let path = "2:8: `access_log.path` must be \"stdout\" or the absolute path of a file, not";
    let template = "3:12: `access_log.template` must be one line of text with fields such as \
        {client}, not";
    assert_problems(
        render,
        &[
            (
                "",
                "1:1: missing key `path` in [access_log]; write where the lines go, as in \
                 path = \"/var/log/corelane/access.log\" or path = \"stdout\"",
            ),
            ("path = \"access.log\"", &format!("{path} \"access.log\"")),
            ("path = \"/var/log/\"", &format!("{path} \"/var/log/\"")),
            ("path = 1", &format!("{path} 1")),
            (
                "path = \"stdout\"\nformt = \"json\"",
                "3:1: unknown key `formt` in [access_log]; did you mean `format`?",
            ),
            (
                "path = \"stdout\"\nformat = \"jsn\"",
                "3:10: `access_log.format` must be \"text\" or \"json\", not \"jsn\"; did you mean \
                 \"json\"?",
            ),
            (
                "path = \"stdout\"\nqueue = 0",
                "3:9: `access_log.queue` must be an integer from 1 to 1048576, not 0",
            ),
            (
                "path = \"stdout\"\ntemplate = \"{clinet} {end}\"",
                &format!(
                    "{template} \"{{clinet}} {{end}}\"; there is no field \"clinet\"; did you mean \
                     \"client\"?"
                ),
            ),
            (
                "path = \"stdout\"\ntemplate = \"{client\"",
                &format!(
                    "{template} \"{{client\"; a brace that is not of a field is written twice"
                ),
            ),
            (
                "path = \"stdout\"\ntemplate = \"a\\nb\"",
                &format!(
                    "{template} \"a\\nb\"; the end of the line is added; no other control character \
                     may be in it"
                ),
            ),
            (
                "path = \"stdout\"\ntemplate = \"\"",
                &format!("{template} \"\""),
            ),
            (
                "path = \"stdout\"\ntemplate = \"{client}\"\nformat = \"json\"",
                "3:12: `access_log.template` is for format = \"text\"; remove it, or the format",
            ),
        ],
    );
}
