//! What the slices of a service come to.

use proptest::prelude::*;

use super::*;

/// As an API server of Kubernetes 1.31 answers, cut down to what varies.
fn slice(name: &str, kind: &str, endpoints: &str, ports: &str) -> String {
    format!(
        r#"{{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {{"name": "{name}", "namespace": "shop",
            "uid": "5d9e4c34", "resourceVersion": "41", "generation": 7, "labels": {{"kubernetes.io/service-name": "web"}}}},
            "addressType": "{kind}", "endpoints": [{endpoints}], "ports": [{ports}]}}"#
    )
}

fn endpoint(ip: &str, conditions: &str) -> String {
    format!(
        r#"{{"addresses": ["{ip}"], "conditions": {{{conditions}}}, "nodeName": "n1", "zone": "a",
            "targetRef": {{"kind": "Pod", "namespace": "shop", "name": "web-0", "uid": "f0"}}}}"#
    )
}

const READY: &str = r#""ready": true, "serving": true, "terminating": false"#;
const ENDING: &str = r#""ready": false, "serving": true, "terminating": true"#;
const GONE: &str = r#""ready": false, "serving": false, "terminating": true"#;
const HTTP: &str = r#"{"name": "http", "port": 8080, "protocol": "TCP"}"#;

fn list(slices: &[String]) -> String {
    let items = slices.join(",");
    format!(
        r#"{{"kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1", "metadata": {{"resourceVersion": "40"}},
            "items": [{items}]}}"#
    )
}

fn event(kind: &str, object: &str) -> String {
    format!(r#"{{"type": "{kind}", "object": {object}}}"#)
}

fn shown(slices: &Slices) -> Result<String, Reason> {
    let found = slices.servers().map_err(|failure| failure.reason)?;
    let shown = found.iter().map(|found| found.address.to_string());
    Ok(shown.collect::<Vec<_>>().join(" "))
}

fn listed(port: Option<&str>, slices: &[String]) -> Result<String, Reason> {
    let mut known = Slices::new(port.map(Port::new));
    let read = known.on_list(list(slices).as_bytes());
    read.map_err(|failure| failure.reason)?;
    shown(&known)
}

#[test]
fn servers_are_the_endpoints_that_are_ready_of_all_slices() {
    let slices = [
        slice(
            "web-a",
            "IPv4",
            &[endpoint("10.1.0.2", READY), endpoint("10.1.0.3", ENDING)].join(","),
            HTTP,
        ),
        slice(
            "web-b",
            "IPv4",
            &[
                endpoint("10.1.0.1", ""),
                endpoint("10.1.0.2", READY),
                endpoint("10.1.0.4", GONE),
            ]
            .join(","),
            HTTP,
        ),
        slice("web-6", "IPv6", &endpoint("2001:db8::1", READY), HTTP),
        slice("web-n", "FQDN", &endpoint("db.example", READY), HTTP),
    ];
    let both = Ok("10.1.0.1:8080 10.1.0.2:8080".to_owned());
    assert_eq!(listed(None, &slices), both);
    assert_eq!(
        listed(None, &slices[2..]),
        Ok("[2001:db8::1]:8080".to_owned())
    );
    // Where none is ready, those that end and still serve.
    let ending = [endpoint("10.1.0.3", ENDING), endpoint("10.1.0.4", GONE)].join(",");
    let ending = slice("web-a", "IPv4", &ending, HTTP);
    assert_eq!(
        listed(None, std::slice::from_ref(&ending)),
        Ok("10.1.0.3:8080".to_owned())
    );
    assert_eq!(listed(None, &[]), Err(Reason::Empty));
    let gone = slice("web-a", "IPv4", &endpoint("10.1.0.4", GONE), HTTP);
    assert_eq!(listed(None, &[gone]), Err(Reason::Empty));
}

#[test]
fn a_port_goes_by_its_name_or_number_and_slices_may_differ() {
    let ports = [HTTP, r#"{"name": "admin", "port": 9000}"#].join(",");
    let slices = [
        slice("web-a", "IPv4", &endpoint("10.1.0.1", READY), &ports),
        // An update gives the same name another number.
        slice(
            "web-b",
            "IPv4",
            &endpoint("10.1.0.2", READY),
            r#"{"name": "http", "port": 8081}, {"name": "dns", "port": 53, "protocol": "UDP"}"#,
        ),
    ];
    let by_name = Ok("10.1.0.1:8080 10.1.0.2:8081".to_owned());
    assert_eq!(listed(Some("http"), &slices), by_name);
    assert_eq!(
        listed(Some("9000"), &slices),
        Ok("10.1.0.1:9000".to_owned())
    );
    assert_eq!(listed(Some("dns"), &slices), Err(Reason::Empty));
    assert_eq!(listed(None, &slices), Err(Reason::Format), "which one?");
    assert_eq!(listed(None, &slices[1..]), Ok("10.1.0.2:8081".to_owned()));
    let unnamed = slice(
        "web-a",
        "IPv4",
        &endpoint("10.1.0.1", READY),
        r#"{"name": "", "port": 80}"#,
    );
    assert_eq!(listed(None, &[unnamed]), Ok("10.1.0.1:80".to_owned()));
}

#[test]
fn events_change_what_is_known_from_the_version_of_the_list_on() {
    let mut known = Slices::new(None);
    let first = slice("web-a", "IPv4", &endpoint("10.1.0.1", READY), HTTP);
    known.on_list(list(&[first]).as_bytes()).expect("a list");
    assert_eq!(known.version(), "40");
    let second = slice("web-b", "IPv4", &endpoint("10.1.0.2", READY), HTTP);
    let mut hear = |kind: &str, object: &str| {
        let heard = known.on_event(event(kind, object).as_bytes());
        (heard.map_err(|failure| failure.reason), shown(&known))
    };
    let both = Ok("10.1.0.1:8080 10.1.0.2:8080".to_owned());
    assert_eq!(hear("ADDED", &second), (Ok(Heard::Change), both.clone()));
    let mark = r#"{"kind": "EndpointSlice", "metadata": {"resourceVersion": "57", "creationTimestamp": null}}"#;
    assert_eq!(hear("BOOKMARK", mark), (Ok(Heard::Mark), both));
    let other = slice("web-a", "IPv4", &endpoint("10.1.0.9", READY), HTTP);
    let changed = Ok("10.1.0.2:8080 10.1.0.9:8080".to_owned());
    assert_eq!(hear("MODIFIED", &other), (Ok(Heard::Change), changed));
    let left = Ok("10.1.0.9:8080".to_owned());
    assert_eq!(hear("DELETED", &second), (Ok(Heard::Change), left.clone()));
    let gone = r#"{"kind": "Status", "status": "Failure", "message": "too old resource version: 40 (57)", "reason": "Expired",
            "code": 410}"#;
    assert_eq!(hear("ERROR", gone), (Ok(Heard::Gone), left.clone()));
    let failed = r#"{"kind": "Status", "status": "Failure", "message": "etcd", "code": 500}"#;
    assert_eq!(hear("ERROR", failed), (Err(Reason::Refused), left.clone()));
    assert_eq!(hear("RENAMED", &second), (Err(Reason::Format), left));
    assert_eq!(known.version(), "41");
}

#[test]
fn what_can_t_be_meant_is_refused_and_leaves_what_is_known() {
    let mut known = Slices::new(None);
    let first = slice("web-a", "IPv4", &endpoint("10.1.0.1", READY), HTTP);
    known.on_list(list(&[first]).as_bytes()).expect("a list");
    let many: Vec<_> = (0..1001)
        .map(|n| endpoint(&format!("10.1.{}.{}", n / 250, n % 250), READY))
        .collect();
    let paged = list(&[]).replace("\"40\"", "\"40\", \"continue\": \"eyJ\"");
    for (text, reason) in [
        (String::new(), Reason::Format),
        ("<html>".to_owned(), Reason::Format),
        ("{\"items\": []}".to_owned(), Reason::Format),
        (paged, Reason::TooMany),
        (
            list(&[slice("a", "IPv4", &endpoint("db.example", READY), HTTP)]),
            Reason::Address,
        ),
        (
            list(&[slice(
                "a",
                "IPv4",
                &endpoint("10.1.0.1", READY),
                r#"{"port": 70000}"#,
            )]),
            Reason::Address,
        ),
        (
            list(&[slice("a", "IPv4", &many.join(","), HTTP)]),
            Reason::TooMany,
        ),
        (
            list(&vec![slice("a", "IPv4", "", HTTP); 3]).replace("[{", "[[{"),
            Reason::Format,
        ),
    ] {
        let refused = known.on_list(text.as_bytes());
        assert_eq!(refused.map_err(|failure| failure.reason), Err(reason));
        assert_eq!(shown(&known), Ok("10.1.0.1:8080".to_owned()));
    }
    let slices: Vec<_> = (0..=SLICES_MAX)
        .map(|n| slice(&format!("web-{n}"), "IPv4", "", HTTP))
        .collect();
    let refused = known.on_list(list(&slices).as_bytes());
    assert_eq!(
        refused.map_err(|failure| failure.reason),
        Err(Reason::TooMany)
    );
    // Poisoned ones that can be read are no servers.
    for (endpoint, port) in [
        (endpoint("0.0.0.0", READY), HTTP),
        (endpoint("10.1.0.1", READY), r#"{"port": 0}"#),
    ] {
        let refused = listed(None, &[slice("a", "IPv4", &endpoint, port)]);
        assert_eq!(refused, Err(Reason::Address));
    }
    let slices: Vec<_> = (0..12)
        .map(|n| {
            let many: Vec<_> = (0..100)
                .map(|m| endpoint(&format!("10.1.{n}.{m}"), READY))
                .collect();
            slice(&format!("web-{n}"), "IPv4", &many.join(","), HTTP)
        })
        .collect();
    assert_eq!(listed(None, &slices), Err(Reason::TooMany));
}

proptest! {
    #[test]
    fn nothing_that_an_api_server_says_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        ip in "[0-9a-f.:]{0,20}",
        port in any::<i64>(),
        kind in "(IPv4|IPv6|FQDN|)",
    ) {
        let made = slice("a", &kind, &endpoint(&ip, READY), &format!(r#"{{"port": {port}}}"#));
        for text in [list(std::slice::from_ref(&made)), made.clone(), event("ADDED", &made)] {
            for bytes in [&bytes[..], text.as_bytes()] {
                let mut known = Slices::new(None);
                let _ = (known.on_list(bytes), known.on_event(bytes));
                if let Ok(found) = known.servers() {
                    prop_assert!(found.iter().all(|found| found.address.port() != 0));
                }
            }
        }
    }
}
