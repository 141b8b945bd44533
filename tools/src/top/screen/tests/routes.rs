//! Routes, and what clients say first.

use super::*;

/// A proxy with routes, and a connection whose client says a name of this length.
fn routed(name_length: usize) -> View {
    let mut routed = state();
    let canary = Route {
        listener: "redis".to_owned(),
        route: "canary".to_owned(),
        asks: "*.example.com".to_owned(),
        to: [("blue", 0.9), ("green", 0.1)]
            .map(|(upstream, share)| Target {
                upstream: upstream.to_owned(),
                share: Some(share),
            })
            .to_vec(),
        connections: 70,
        accepts: 2.5,
    };
    let refused = Route {
        route: String::new(),
        to: Vec::new(),
        ..canary.clone()
    };
    routed.routes = vec![canary, refused];
    let mut listed = listed(&[("127.0.0.1:54321", "127.0.0.1:6379")]);
    listed.connections[0].sni = Some("n".repeat(name_length));
    listed.connections[0].route = Some("canary".to_owned());
    view_of(routed, Some(listed))
}

#[test]
fn routes_have_their_place_at_80_columns_beside_all_other_tables() {
    let mut view = routed(12);
    let lines = screen(&view, 80, 24);
    let row = row_with(&lines, "*.example.com");
    for text in ["redis", "canary", "blue 90 %, green 10 %", "70", "2.5"] {
        assert!(row.contains(text), "{text}: {row}");
    }
    for table in [
        "listeners",
        "upstreams' servers",
        "routes",
        "connections: 1",
    ] {
        row_with(&lines, table);
    }
    row_with(&lines, "127.0.0.1:54321");
    // Its keys come to it, and then all of it is seen.
    press(&mut view, KeyCode::BackTab);
    let lines = screen(&view, 80, 24);
    row_with(&lines, "▸ routes");
    assert!(row_with(&lines, "none of them").contains("refused"));
    for code in ['/', 'g', 'r', 'e', 'e', 'n'].map(KeyCode::Char) {
        press(&mut view, code);
    }
    let lines = screen(&view, 80, 24);
    row_with(&lines, "green 10 %");
    assert!(!lines.concat().contains("none of them"));
}

#[test]
fn without_routes_the_keys_pass_them_over() {
    let mut view = view_of(state(), Some(listed(&[("127.0.0.1:54321", "s:1")])));
    for wanted in ["▸ listeners", "▸ upstreams' servers", "▸ connections"] {
        press(&mut view, KeyCode::Tab);
        row_with(&screen(&view, 80, 24), wanted);
    }
    assert!(!screen(&view, 80, 24).concat().contains("routes"));
}

/// Whoever connects chooses how long the name is that it asks for.
#[test]
fn a_client_s_long_name_leaves_the_other_columns_their_place() {
    for (length, width) in [(12, 160), (255, 180)] {
        let lines = screen(&routed(length), width, 30);
        let row = row_with(&lines, "127.0.0.1:54321");
        for text in ["nnnnnnnnnnnn", "canary", "3.5 MB", "1 h 6 min", "relaying"] {
            assert!(row.contains(text), "{text} at {width}: {row}");
        }
    }
}
