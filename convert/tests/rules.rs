//! What rules of haproxy.cfg become: who is refused there is refused here, or is named.

use std::path::{Path, PathBuf};

use proxy_convert::{Converted, Input, Nowhere, Refused, Surroundings, convert};

/// A machine with a map of names.
struct Machine;

impl Surroundings for Machine {
    fn read(&self, path: &Path, _: &Path) -> Result<Input, String> {
        let text = match path.to_str() {
            Some("/map") => "a.example.com b\nb.example.com c\n",
            Some("/gap") => "a.example.com b\nc.example.com missing\n",
            Some("/ends") => ".a.example.com b\nexample.com c\n",
            _ => return Err("it isn't there".to_owned()),
        };
        let (name, bytes) = ("map".to_owned(), text.into());
        Ok(Input { name, bytes })
    }

    fn matches(&self, pattern: &str, by: &Path) -> Result<Vec<PathBuf>, String> {
        Nowhere.matches(pattern, by)
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

/// What becomes of a frontend `f` with these lines, whose backend is `b`, and of what follows it.
fn made_of(frontend: &str, more: &str) -> Result<Converted, Refused> {
    let text = format!(
        "defaults\n timeout client 1m\n timeout server 1m\nfrontend f\n bind 127.0.0.1:80\n{frontend}\n\
         backend b\n server s 192.0.2.1:80\nbackend c\n server s 192.0.2.2:80\n{more}\n"
    );
    let (name, bytes) = ("a.cfg".to_owned(), text.into());
    convert(&[Input { name, bytes }], None, &Machine)
}

/// The keys of the listener and of its routes, each table on a line of its own, without comments, from the first key of these on.
fn listener(converted: &Converted, name: &str) -> String {
    const SHOWN: [&str; 16] = [
        "upstream",
        "routes",
        "allow",
        "deny",
        "allow_peer",
        "deny_peer",
        "not_tls",
        "sni",
        "alpn",
        "source",
        "peer",
        "port",
        "reject",
        "trusted",
        "untrusted",
        "accept_proxy_protocol",
    ];
    let (mut tables, mut is_its, mut is_open) = (Vec::new(), false, false);
    for line in converted.file.lines() {
        let line = line.split("  # ").next().unwrap_or_default().trim();
        if line.starts_with('[') && !is_open {
            let path = line.trim_matches(['[', ']']);
            is_its =
                path == format!("listeners.{name}") || path == format!("listeners.{name}.routes");
            if is_its {
                tables.push(Vec::new());
            }
        } else if is_its && let Some(table) = tables.last_mut() {
            let key = line.split(" = ").next().unwrap_or_default();
            if is_open || SHOWN.contains(&key) {
                is_open = (is_open || line.ends_with('[')) && line != "]";
                table.push(line.replace(" = ", "=").replace('"', ""));
            }
        }
    }
    let tables: Vec<_> = tables.iter().map(|table| table.join(" ")).collect();
    tables.join("\n")
}

fn losses(converted: &Converted) -> String {
    let losses: Vec<_> = converted.losses.iter().map(ToString::to_string).collect();
    losses.join("\n")
}

/// What comes out of rules, of which nothing is lost.
fn whole(frontend: &str, more: &str) -> String {
    let converted = made_of(frontend, more).unwrap_or_else(|why| panic!("{frontend}: {why}"));
    assert_eq!(losses(&converted), "", "{frontend}\n{}", converted.file);
    listener(&converted, "f")
}

/// What comes out of rules, of which a line is named as lost for this reason.
fn partly(frontend: &str, more: &str, line: &str, why: &str) -> String {
    let converted = made_of(frontend, more).unwrap_or_else(|why| panic!("{frontend}: {why}"));
    let lost = converted.losses.iter();
    let mut lost = lost.filter(|loss| loss.what.contains(line) && loss.why.contains(why));
    assert!(lost.next().is_some(), "{frontend}:\n{}", losses(&converted));
    listener(&converted, "f")
}

/// The listener is left out because of this line.
fn left_out(frontend: &str, line: &str) {
    let Err(Refused::Nothing { losses, .. }) = made_of(frontend, "") else {
        panic!("{frontend}: it is there");
    };
    assert!(
        losses.iter().any(|loss| loss.what.contains(line)),
        "{losses:?}"
    );
}

const DEFAULT: &str = " default_backend b\n";
const WAIT: &str = " tcp-request inspect-delay 2s\n default_backend b\n";

#[test]
fn an_earlier_rule_that_accepts_goes_before_a_later_one_that_refuses() {
    let by_name = " tcp-request content accept if { req.ssl_sni -i a.example.com }\n";
    let rest = "sni=a.example.com upstream=b";
    let all = format!("{WAIT}{by_name} tcp-request content reject");
    assert_eq!(whole(&all, ""), format!("\n{rest}"));
    let with_hello = format!(
        "{WAIT} tcp-request content accept if {{ req.ssl_hello_type 1 }} {{ req.ssl_sni -i a.example.com }}\n tcp-request content reject"
    );
    assert_eq!(whole(&with_hello, ""), format!("\n{rest}"));
    let by_source = format!("{WAIT}{by_name} tcp-request content reject if {{ src 127.0.0.0/8 }}");
    assert_eq!(
        whole(&by_source, ""),
        format!("upstream=b\n{rest}\nsource=127.0.0.0/8 reject=true")
    );
    let unless_named = format!(
        "{WAIT} tcp-request content accept if {{ src 127.0.0.0/8 }}\n tcp-request content reject if !{{ req.ssl_sni -i a.example.com }}"
    );
    assert_eq!(
        whole(&unless_named, ""),
        format!("\nsource=127.0.0.0/8 upstream=b\n{rest}")
    );
}

/// A stage decides of those that the one before it has accepted.
#[test]
fn who_one_stage_accepts_may_be_refused_by_the_next_one() {
    let rules = format!(
        "{DEFAULT} tcp-request session accept if {{ src 10.0.0.0/8 }}\n tcp-request session reject if {{ src 10.0.0.0/7 }}\n tcp-request content reject if {{ src 10.1.0.0/16 }}"
    );
    let found = whole(&rules, "");
    assert!(
        found.starts_with(
            "upstream=b allow=[ 10.0.0.0/8, 0.0.0.0/0, ::/0, unix, ] deny=[ 10.0.0.0/7, ]"
        ),
        "{found}"
    );
    assert!(
        found.ends_with("\nsource=10.1.0.0/16 reject=true"),
        "{found}"
    );
}

#[test]
fn what_a_client_says_first_is_known_by_its_hello_only() {
    let hello = "{ req.ssl_hello_type 1 }";
    let only_tls =
        format!("{WAIT} tcp-request content accept if {hello}\n tcp-request content reject");
    assert_eq!(
        whole(&only_tls, ""),
        "upstream=b not_tls=refuse\nsni=* upstream=b"
    );
    // Who says nothing is one of those that speak no TLS.
    left_out(
        &format!(
            "{WAIT} tcp-request content accept if {{ req.len gt 0 }}\n tcp-request content reject"
        ),
        "content reject",
    );
    let silent = format!("{WAIT} use_backend c if {{ req.len 0 }}");
    assert_eq!(
        partly(&silent, "", "{ req.len 0 }", "say nothing"),
        "upstream=b"
    );
    let ssh = format!("{WAIT} use_backend c if !{hello} {{ req.len 0 }}");
    assert_eq!(partly(&ssh, "", "req.len 0", "say nothing"), "upstream=b");
    let tls = format!("{WAIT} use_backend c if {hello}");
    assert_eq!(
        partly(&tls, "", hello, "no server name"),
        "upstream=b\nsni=* upstream=c"
    );
    for condition in [
        "{ req.ssl_ver lt 3.3 }",
        "{ req.ssl_hello_type 2 }",
        "{ req.len gt 5 }",
        "{ req.ssl_alpn -m reg ^imap }",
    ] {
        let line = format!("use_backend c if {condition}");
        assert_eq!(
            partly(&format!("{WAIT} {line}"), "", &line, ""),
            "upstream=b"
        );
        let line = format!("tcp-request content reject if {condition}");
        left_out(&format!("{WAIT} {line}"), &line);
    }
}

#[test]
fn rules_of_connections_go_by_who_has_connected() {
    let refuse = "tcp-request connection reject if { src 127.0.0.0/8 } !{ src 127.0.0.1 }";
    let announced = format!(" bind 127.0.0.1:81 accept-proxy\n {refuse}\n{DEFAULT}");
    let converted = made_of(&announced, "").expect("it is");
    for name in ["f", "f-2"] {
        let found = listener(&converted, name);
        assert!(
            found.ends_with("\npeer=127.0.0.1 upstream=b\npeer=127.0.0.0/8 reject=true"),
            "{found}"
        );
    }
    let plain = format!(" {refuse}\n{DEFAULT}");
    assert_eq!(
        whole(&plain, ""),
        "upstream=b\nsource=127.0.0.1 upstream=b\nsource=127.0.0.0/8 reject=true"
    );
    left_out(
        &format!(" tcp-request connection reject if {{ req.ssl_sni a }}\n{DEFAULT}"),
        "req.ssl_sni a",
    );
}

#[test]
fn a_bind_whose_clients_are_all_announced_trusts_everybody() {
    let rules = format!(
        " bind 127.0.0.1:81 accept-proxy\n tcp-request connection expect-proxy layer4 if {{ src 127.0.0.9 }}\n \
          tcp-request connection expect-proxy layer4 if {{ src 127.0.0.8 }}\n{DEFAULT}"
    );
    let converted = made_of(&rules, "").expect("it is");
    assert_eq!(
        listener(&converted, "f"),
        "upstream=b accept_proxy_protocol=required trusted=[127.0.0.9, 127.0.0.8] untrusted=plain"
    );
    assert_eq!(
        listener(&converted, "f-2"),
        "upstream=b accept_proxy_protocol=required"
    );
    left_out(
        &format!(
            " tcp-request connection accept if {{ src 10.0.0.0/8 }}\n tcp-request connection expect-proxy layer4\n{DEFAULT}"
        ),
        "expect-proxy",
    );
}

#[test]
fn a_backend_refuses_who_comes_to_it() {
    let rules = "backend d\n acl inside src 10.0.0.0/8\n tcp-request inspect-delay 3s\n tcp-request content reject if !inside\n server s 192.0.2.3:80\n";
    assert_eq!(
        whole(" default_backend d", rules),
        "\nsource=10.0.0.0/8 upstream=d"
    );
    let some = " use_backend d if { req.ssl_sni d.example.com }\n default_backend b";
    assert_eq!(
        whole(some, rules),
        "upstream=b\nsni=d.example.com source=10.0.0.0/8 upstream=d\nsni=d.example.com reject=true"
    );
    let converted = made_of(some, rules).expect("it is");
    assert!(
        converted.file.contains("prologue_timeout = \"3s\""),
        "{}",
        converted.file
    );
    let odd = "backend d\n tcp-request content reject if { src_is_bad }\n server s 192.0.2.3:80\n";
    let refused = partly(some, odd, "src_is_bad", "backend are refused");
    assert_eq!(refused, "upstream=b\nsni=d.example.com reject=true");
    let limit =
        "backend d\n tcp-request content reject if { src_conn_cur gt 3 }\n server s 192.0.2.3:80\n";
    partly(some, limit, "src_conn_cur", "backend are refused");
    // A section that is both has its rules once for its own clients, and for those that others lead there.
    let both = "listen d\n bind 127.0.0.1:81\n tcp-request content reject if { src 10.0.0.0/8 }\n server s 192.0.2.3:80\n";
    let converted = made_of(some, both).expect("it is");
    assert_eq!(listener(&converted, "d"), "upstream=d deny=[ 10.0.0.0/8, ]");
    assert_eq!(
        listener(&converted, "f"),
        "upstream=b\nsni=d.example.com source=10.0.0.0/8 reject=true\nsni=d.example.com upstream=d"
    );
}

#[test]
fn a_limit_from_which_some_are_exempt_is_named() {
    let table = " stick-table type ip size 1m store conn_cur,conn_rate(3s)\n";
    let why = "exempt";
    for (rules, line) in [
        (
            " tcp-request connection accept if { src 10.0.0.0/8 }\n tcp-request connection reject if { src_conn_cur ge 3 }",
            "src_conn_cur",
        ),
        (
            " tcp-request connection accept if { src 10.0.0.0/8 }\n tcp-request connection reject if { src_conn_rate gt 10 }",
            "src_conn_rate",
        ),
        (
            " tcp-request connection track-sc0 src if !{ src 10.0.0.0/8 }\n tcp-request connection reject if { sc0_conn_cur gt 2 }",
            "sc0_conn_cur",
        ),
        (
            " tcp-request connection reject if { src_conn_cur gt 2 } !{ src 10.0.0.0/8 }",
            "src_conn_cur",
        ),
    ] {
        let rules = format!("{DEFAULT}{table}{rules}");
        partly(&rules, "", line, why);
        let converted = made_of(&rules, "").expect("it is");
        assert!(
            converted.file.contains("_per_source = "),
            "{}",
            converted.file
        );
    }
    left_out(
        &format!(
            "{DEFAULT}{table} tcp-request connection track-sc0 dst\n tcp-request connection reject if {{ sc0_conn_cur gt 2 }}"
        ),
        "sc0_conn_cur",
    );
    let plain = " tcp-request connection track-sc0 src\n tcp-request connection reject if { sc0_conn_cur gt 2 }";
    whole(&format!("{DEFAULT}{table}{plain}"), "");
}

#[test]
fn a_limit_goes_by_the_table_of_whichever_section_it_names() {
    let own = " stick-table type ip size 1m store conn_rate(3s)\n";
    let tables = "backend slow\n stick-table type ip size 1m store conn_cur,conn_rate(10s)\n\
                  backend fast\n stick-table type ip size 1m store conn_rate(1s)\n";
    for (rules, a_second) in [
        (
            " tcp-request connection track-sc0 src table slow\n tcp-request connection reject if { sc0_conn_rate gt 20 }",
            2,
        ),
        (
            " tcp-request connection track-sc0 src table slow\n tcp-request connection reject if { sc_conn_rate(0) gt 20 }",
            2,
        ),
        (
            " tcp-request connection reject if { src_conn_rate(fast) gt 20 }",
            20,
        ),
        (
            " tcp-request connection reject if { sc0_conn_rate(slow) gt 20 }",
            2,
        ),
        (
            " tcp-request connection reject if { src_conn_rate(f) gt 60 }",
            20,
        ),
    ] {
        let rules = format!("{DEFAULT}{own}{rules}");
        whole(&rules, tables);
        let converted = made_of(&rules, tables).expect("it is");
        let key = format!("max_rate_per_source = {a_second} ");
        assert!(converted.file.contains(&key), "{rules}\n{}", converted.file);
    }
    let unknown = format!(
        "{DEFAULT}{own} tcp-request connection reject if {{ src_conn_rate(elsewhere) gt 20 }}"
    );
    partly(&unknown, tables, "src_conn_rate", "no table that is known");
}

#[test]
fn a_fallback_comes_after_the_backups_and_says_whom_it_takes() {
    let spare = " use_backend c if { nbsrv(m) lt 1 }\n";
    let main = "backend m\n server s1 192.0.2.5:80 check\n server b1 192.0.2.6:80 check backup\n server b2 192.0.2.7:80 check backup\n";
    let converted = made_of(&format!("{spare} default_backend m"), main).expect("it is");
    assert_eq!(losses(&converted), "");
    let fallbacks: Vec<_> = converted
        .file
        .lines()
        .filter(|line| line.starts_with("fallback = "))
        .map(|line| line.split("  # ").next().unwrap_or_default())
        .collect();
    assert_eq!(fallbacks, ["fallback = \"m-backup\"", "fallback = \"c\""]);
    for rules in [
        format!("{spare} use_backend b if {{ src 127.0.0.1 }}\n default_backend m"),
        format!(" use_backend m if {{ src 127.0.0.1 }}\n{spare} default_backend m"),
    ] {
        partly(&rules, main, "nbsrv(m)", "stands in for m");
    }
    let beside = format!("{main}listen g\n bind 127.0.0.1:81\n default_backend m\n");
    partly(
        &format!("{spare} default_backend m"),
        &beside,
        "nbsrv(m)",
        "other listeners",
    );
}

#[test]
fn names_that_are_meant_by_a_part_are_named() {
    let end = format!("{WAIT} use_backend c if {{ req.ssl_sni -m end example.com }}");
    assert_eq!(
        partly(&end, "", "-m end", "otherexample.com"),
        "upstream=b\nsni=[example.com, *.example.com] upstream=c"
    );
    let middle = format!("{WAIT} use_backend c if {{ req.ssl_sni -m dom corp }}");
    partly(&middle, "", "-m dom", "corp.example.net");
    whole(
        &format!("{WAIT} use_backend c if {{ req.ssl_sni -m end .example.com }}"),
        "",
    );
    // More would be let in.
    left_out(
        &format!("{WAIT} tcp-request content reject if {{ req.ssl_sni -m end example.com }}"),
        "-m end",
    );
    partly(
        &format!("{WAIT} tcp-request content reject if !{{ req.ssl_sni -m end example.com }}"),
        "",
        "-m end",
        "otherexample.com",
    );
    let map = " use_backend %[req.ssl_sni,lower,map_end(/ends)]\n";
    assert_eq!(
        partly(map, "", "example.com c", "otherexample.com"),
        "\nsni=*.a.example.com upstream=b\nsni=[example.com, *.example.com] upstream=c"
    );
}

#[test]
fn a_map_decides_for_those_that_say_a_name() {
    let map = " use_backend %[req.ssl_sni,lower,map(/map,b)]\n";
    let found = "\nsni=a.example.com upstream=b\nsni=b.example.com upstream=c\nsni=* upstream=b";
    assert_eq!(whole(map, ""), found);
    // What comes after it is asked by nobody.
    let later = format!("{map} use_backend b if {{ src 10.0.0.0/8 }}\n default_backend c");
    assert_eq!(whole(&later, ""), format!("upstream=c{found}"));
    // One entry that leads nowhere is one loss.
    let gap = " use_backend %[req.ssl_sni,lower,map(/gap)]\n default_backend c";
    assert_eq!(
        partly(gap, "", "c.example.com missing", "default_backend"),
        "upstream=c\nsni=a.example.com upstream=b\nsni=c.example.com upstream=c"
    );
}

/// What a section of figures becomes.
fn page(lines: &str) -> Converted {
    let section = format!(
        "frontend stats\n mode http\n bind 127.0.0.1:8404\n stats enable\n stats uri /\n{lines}\n"
    );
    made_of(DEFAULT, &section).expect("it is")
}

#[test]
fn a_page_that_is_not_for_everybody_stays_where_it_is() {
    assert!(page("").file.contains("listen = \"127.0.0.1:8404\""));
    for line in [
        "http-request deny unless { src 127.0.0.9 }",
        "http-request auth unless { http_auth(people) }",
        "http-request reject",
        "tcp-request connection reject if !{ src 127.0.0.9 }",
        "tcp-request content reject if { src 10.0.0.0/8 }",
        "stats http-request deny if { src 10.0.0.0/8 }",
        "stats auth a:b",
    ] {
        let found = page(line);
        assert!(!found.file.contains("listen = "), "{line}:\n{}", found.file);
        assert!(losses(&found).contains(line), "{line}: {}", losses(&found));
    }
    let found = page(
        " bind 127.0.0.1:8405\n monitor-uri /up\n stats admin if TRUE\n stats refresh 5s\n no-such-word 1",
    );
    assert!(found.file.contains("listen = \"127.0.0.1:8404\""));
    for line in [
        "bind 127.0.0.1:8405",
        "stats admin if TRUE",
        "no-such-word 1",
    ] {
        assert!(losses(&found).contains(line), "{}", losses(&found));
    }
    for line in ["monitor-uri /up", "stats refresh 5s"] {
        assert!(found.file.contains(line), "{}", found.file);
    }
}

#[test]
fn what_the_system_may_not_allow_is_named() {
    let converted = made_of(" bind 127.0.0.1:81 tfo\n default_backend b", "").expect("it is");
    assert!(
        !converted.file.contains("\nfast_open"),
        "{}",
        converted.file
    );
    assert!(losses(&converted).contains("tcp_fastopen"));
}

/// A listener that goes with its upstream is no loss of its own.
#[test]
fn one_cause_is_one_loss() {
    let beside = "listen g\n bind 127.0.0.1:81\n server s 192.0.2.9:0\n";
    let converted = made_of(DEFAULT, beside).expect("it is");
    let said = losses(&converted);
    assert!(
        !converted.file.contains("[listeners.g]"),
        "{}",
        converted.file
    );
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(
        said.contains("[upstreams.g] is left out, and so are the listeners that lead nowhere else"),
        "{said}"
    );
}
