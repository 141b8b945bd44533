//! Directives of nginx whose meaning is easily missed: what becomes of each, and what is said of it.

use proxy_convert::{Converted, Input, Kind, Nowhere, Refused, convert};

const UPSTREAMS: &str = "upstream a { server 192.0.2.1:80; } upstream b { server 192.0.2.2:80; } upstream c { server 192.0.2.3:80; }\n";

fn attempt(stream: &str) -> Result<Converted, Refused> {
    let input = Input {
        name: "nginx.conf".to_owned(),
        bytes: format!("stream {{\n{UPSTREAMS}{stream}\n}}").into_bytes(),
    };
    convert(&[input], Some(Kind::Nginx), &Nowhere)
}

fn converted(stream: &str) -> Converted {
    attempt(stream).unwrap_or_else(|why| panic!("{stream}: {why:?}"))
}

/// The routes in short, and where the rest goes.
fn routes(stream: &str) -> String {
    let file = converted(stream).file;
    let mut tables = file.split("\n[");
    let is_listener = |table: &&str| table.starts_with("listeners.");
    let listener = tables.find(is_listener).expect("a listener");
    let rest = value(listener, "upstream").unwrap_or_else(|| "closed".to_owned());
    let routes = tables.take_while(|table| table.starts_with("[listeners."));
    let routes = routes.map(|route| {
        let keys = ["sni", "alpn", "source", "peer", "port"];
        let asked = keys
            .iter()
            .filter_map(|key| Some(format!("{key}={}", value(route, key)?)));
        let to = value(route, "upstream").unwrap_or_else(|| "closed".to_owned());
        format!("{} {to}", asked.collect::<Vec<_>>().join(" "))
    });
    let all: Vec<_> = routes.chain([rest]).collect();
    all.join("; ")
}

/// What a key of a table is, without quotes.
fn value(table: &str, key: &str) -> Option<String> {
    let begin = format!("{key} = ");
    let line = table.lines().find_map(|line| line.strip_prefix(&begin))?;
    let value = line.split("  #").next().unwrap_or_default();
    Some(value.replace(['"', '[', ']'], ""))
}

fn losses(stream: &str) -> String {
    said(&converted(stream).losses)
}

fn remarks(stream: &str) -> String {
    said(&converted(stream).remarks)
}

fn said(notes: &[proxy_convert::Note]) -> String {
    let notes: Vec<_> = notes.iter().map(ToString::to_string).collect();
    notes.join("\n")
}

const PREREAD: &str = "server { listen 1; ssl_preread on; proxy_pass $be; }";
const PLAIN: &str = "server { listen 1; proxy_pass $be; }";

#[test]
fn a_map_compares_texts_unless_it_says_hostnames() {
    let by_name = |parts: &str| {
        let map = format!("map $ssl_preread_server_name $be {{ {parts} }}");
        routes(&format!("{map} {PREREAD}"))
    };
    assert_eq!(by_name("*.example.com a; default c;"), "c");
    assert_eq!(by_name(".example.com a; mail.* b; default c;"), "c");
    assert_eq!(
        by_name("hostnames; *.example.com a; default c;"),
        "sni=*.example.com a; c"
    );
    let by_address =
        "map $remote_addr $be { 127.0.0.0/8 a; 127.0.0.2 b; 127.0.0.03 a; default c; }";
    let by_address = format!("{by_address} {PLAIN}");
    assert_eq!(routes(&by_address), "source=127.0.0.2 b; c");
    assert!(remarks(&by_address).contains("`127.0.0.0/8 a`: `map` compares texts"));
    let by_port = "map $server_port $be { 1 a; 02 a; 3 b; default c; }";
    assert_eq!(
        routes(&format!("{by_port} {PLAIN}")),
        "port=1 a; port=3 b; c"
    );
    assert_eq!(losses(&format!("{by_port} {PLAIN}")), "");
}

#[test]
fn a_map_of_a_map_knows_hostnames() {
    let maps = "map $server_port $host { 1 www.example.com; 2 x.example.net; default z; }\n\
        map $host $be { hostnames; *.example.com a; x.* b; default c; }";
    assert_eq!(routes(&format!("{maps} {PLAIN}")), "port=1 a; port=2 b; c");
}

#[test]
fn conditions_within_conditions_are_taken_by_what_they_mean() {
    let by_network = "geo $lan { default 0; 127.0.0.0/8 1; } map $lan $be { 1 $inner; default c; }\n\
        geo $inner { default a; 127.0.0.8/29 b; }";
    assert_eq!(
        routes(&format!("{by_network} {PLAIN}")),
        "source=127.0.0.8/29 b; source=127.0.0.0/8 a; c"
    );
    let by_name = "map $ssl_preread_server_name $be { hostnames; *.example.com $sub; default c; }\n\
        map $ssl_preread_server_name $sub { www.example.com b; default a; }";
    assert_eq!(
        routes(&format!("{by_name} {PREREAD}")),
        "sni=www.example.com b; sni=*.example.com a; c"
    );
}

#[test]
fn names_that_nginx_does_not_hear_choose_nothing() {
    let map = "map $ssl_preread_server_name $be { a.example.com a; default c; }";
    assert_eq!(routes(&format!("{map} {PLAIN}")), "c");
    let nameless = "map $ssl_preread_server_name $be { a.example.com a; '' b; default c; }";
    assert_eq!(routes(&format!("{nameless} {PLAIN}")), "b");
    let said = remarks(&format!("{map} {PLAIN}"));
    assert!(said.contains("without `ssl_preread`"), "{said}");
}

#[test]
fn a_silent_client_is_spoken_of_where_clients_are_heard() {
    let map = "map $ssl_preread_server_name $be { a.example.com a; default c; }";
    let said = remarks(&format!("{map} {PREREAD}"));
    assert!(said.contains("says nothing is closed by nginx"), "{said}");
    assert!(!remarks(PLAIN.replace("$be", "a").as_str()).contains("says nothing"));
}

#[test]
fn the_balancer_is_the_client_where_nobody_is_believed() {
    let map = "map $remote_addr $be { 192.0.2.9 a; default c; }";
    let server =
        |more: &str| format!("{map} server {{ listen 1 proxy_protocol; {more} proxy_pass $be; }}");
    assert_eq!(routes(&server("")), "peer=192.0.2.9 a; c");
    let trusts = "set_real_ip_from 10.0.0.0/8;";
    assert_eq!(routes(&server(trusts)), "source=192.0.2.9 a; c");
    let said = losses(&server("proxy_protocol on;"));
    assert!(said.contains("nginx tells them of the balancer"), "{said}");
    let said = remarks(&server(&format!("proxy_protocol on; {trusts}")));
    assert!(said.contains("nginx tells of its own"), "{said}");
}

#[test]
fn programs_around_servers_leave_them_out() {
    let Err(Refused::Nothing { losses, .. }) =
        attempt("js_access main.access; server { listen 1; proxy_pass a; }")
    else {
        panic!("a program decides who gets in");
    };
    let said = said(&losses);
    assert!(
        said.contains("`js_access main.access`: no programs"),
        "{said}"
    );
    assert!(said.contains("it is left out, as `js_access`"), "{said}");
}

#[test]
fn the_last_of_equal_networks_counts() {
    let geo = "geo $be { default c; 127.0.0.0/8 a; 127.0.0.0/8 b; }";
    assert_eq!(routes(&format!("{geo} {PLAIN}")), "source=127.0.0.0/8 b; c");
}

#[test]
fn large_weights_are_scaled_and_keep_their_servers() {
    let upstream = |first: u32, second: u32| {
        format!(
            "upstream d {{ server 192.0.2.7:80 weight={first}; server 192.0.2.8:80 weight={second}; }} server {{ listen 1; proxy_pass d; }}"
        )
    };
    for (first, second, expected, is_exact) in [
        (500, 250, ["256", "128"], true),
        (300, 1, ["256", "1"], false),
        (65_535, 1, ["256", "1"], false),
        (256, 3, ["256", "3"], true),
    ] {
        let text = upstream(first, second);
        let converted = converted(&text);
        for (host, weight) in ["7", "8"].iter().zip(expected) {
            let server = format!("address = \"192.0.2.{host}:80\", weight = {weight} }}");
            assert!(
                converted.file.contains(&server),
                "{server}: {}",
                converted.file
            );
        }
        assert_eq!(said(&converted.losses), "");
        assert_eq!(!remarks(&text).contains("are scaled"), is_exact, "{first}");
    }
}

#[test]
fn braces_mean_the_same_variable_and_a_server_that_is_down_can_not_fail() {
    let hash = "upstream d { hash ${remote_addr}; server 192.0.2.7:80; server 192.0.2.8:80 down max_fails=3; server 192.0.2.9:80; }\n\
        server { listen 1; proxy_pass d; }";
    let converted = converted(hash);
    assert_eq!(said(&converted.losses), "");
    assert!(converted.file.contains("balance = \"source-hash\""));
    assert!(converted.file.contains("max_fails=1 fail_timeout=10s"));
}

#[test]
fn options_of_sockets_are_named() {
    for option in [
        "tcp_nodelay off",
        "proxy_socket_keepalive off",
        "proxy_bind 127.0.0.5 transparent",
    ] {
        let said = losses(&format!("server {{ listen 1; {option}; proxy_pass a; }}"));
        let part = option
            .strip_prefix("proxy_bind 127.0.0.5 ")
            .unwrap_or(option);
        assert!(said.contains(&format!("`{part}`")), "{option}: {said}");
    }
    for option in ["tcp_nodelay on", "proxy_socket_keepalive on"] {
        assert_eq!(
            losses(&format!("server {{ listen 1; {option}; proxy_pass a; }}")),
            ""
        );
    }
}

/// With the key, corelane would not start where the system doesn't allow it for listeners.
#[test]
fn fast_open_is_a_loss_that_says_how_to_have_it() {
    let converted = converted("server { listen 1 fastopen=5; proxy_pass a; }");
    assert!(
        !converted.file.contains("\nfast_open"),
        "{}",
        converted.file
    );
    let said = said(&converted.losses);
    assert!(
        said.contains("tcp_fastopen") && said.contains("`fast_open = 5`"),
        "{said}"
    );
}
