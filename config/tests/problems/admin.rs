//! What is said of `[admin]`.

use crate::{LISTENER, UPSTREAM, assert_problems, problems};

#[test]
fn keys() {
    let render = |lines: &str| format!("[admin]\n{lines}\n{LISTENER}{UPSTREAM}");
    let listen = "2:10: `admin.listen` must be an IP address and port such as \"127.0.0.1:9600\", \
        \"[::1]:9600\" or \"*:9600\", not";
    assert_problems(
        render,
        &[
            (
                "lisen = 1",
                "2:1: unknown key `lisen` in [admin]; did you mean `listen`?",
            ),
            (
                "hosts = [\"a.example\", \"b.example:9600\"]",
                "2:23: `admin.hosts[1]` must be the name of a host, such as \"corelane.example\", or \
                 \"*\", not \"b.example:9600\"; leave out scheme and port; IP addresses are accepted as \
                 they are",
            ),
            (
                "hosts = []",
                "2:9: `admin.hosts` is empty; write names, as in hosts = [\"corelane.example\"]",
            ),
            ("listen = 9600", &format!("{listen} 9600")),
            (
                "listen = \"localhost:9600\"",
                &format!("{listen} \"localhost:9600\""),
            ),
            ("listen = \"127.0.0.1\"", &format!("{listen} \"127.0.0.1\"")),
            (
                "listen = \"127.0.0.1:1\"",
                "4:8: `listeners.l.bind` is \"127.0.0.1:1\", which `admin.listen` has already; \
                 choose another address",
            ),
            (
                "listen = \"*:1\"",
                "4:8: `listeners.l.bind` is \"127.0.0.1:1\", which is part of \"*:1\", which \
                 `admin.listen` has already; remove one of the two, or choose another port",
            ),
            (
                "listen = \"[fe80::1]:9600\"",
                &format!(
                    "{listen} \"[fe80::1]:9600\"; a link-local address needs the number of its \
                     interface (`ip link` shows it), as in \"[fe80::1%2]:80\""
                ),
            ),
            (
                "socket = \"run/admin\"",
                "2:10: `admin.socket` must be the absolute path of a unix socket, not \"run/admin\"; the path of a \
                 socket is absolute and names a file",
            ),
            (
                "socket = \"/run/admin\"\nsocket_mode = 660",
                "3:15: `admin.socket_mode` must be an octal mode in a string, such as \"0660\", not 660",
            ),
            (
                "socket = \"/run/admin\"\nsocket_mode = \"0668\"",
                "3:15: `admin.socket_mode` must be an octal mode in a string, such as \"0660\", not \"0668\"",
            ),
            (
                "socket = \"/run/admin\"\nsocket_group = \"a b\"",
                "3:16: `admin.socket_group` must be a name or a number in a string, not \"a b\"",
            ),
            (
                "listen = \"0.0.0.0:9600\"\ntoken_file = \"/etc/token\"",
                "3:14: `admin.token_file` would send the token in plain text, as `admin.listen` is \"0.0.0.0:9600\"; add \
                 tls_certificate and tls_key, or listen on loopback, as at \"127.0.0.1:9600\"",
            ),
            (
                "token_file = \"token\"",
                "2:14: `admin.token_file` must be the absolute path of a file, not \"token\"",
            ),
            (
                "tls_certificate = \"/etc/pem\"",
                "2:19: `admin.tls_certificate` needs `tls_key` beside it; add it, or remove this",
            ),
            (
                "socket_group = \"adm\"",
                "2:16: `admin.socket_group` is for `socket`, which is missing; add it, or remove this",
            ),
            (
                "listen = \"0.0.0.0:1\"",
                "4:8: `listeners.l.bind` is \"127.0.0.1:1\", which is part of \"0.0.0.0:1\", which \
                 `admin.listen` has already; remove one of the two, or choose another port",
            ),
        ],
    );
}

#[test]
fn a_listener_cannot_have_the_admin_socket() {
    let listener = LISTENER.replace("127.0.0.1:1", "unix:/run/./admin");
    let text = format!("[admin]\nsocket = \"/run/admin\"\n{listener}{UPSTREAM}");
    let problem = "4:8: `listeners.l.bind` is \"unix:/run/./admin\", which `admin.socket` has already; choose another \
        address";
    assert_eq!(problems(&text), [problem]);
}
