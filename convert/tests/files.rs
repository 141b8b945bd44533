//! What configurations of other proxies become: each file of `tests/convert` beside the corelane.toml that it must become.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proxy_convert::{Converted, Input, Kind, Nowhere, Refused, Surroundings, convert};

/// Set, the results are written instead of compared.
const WRITE: &str = "CORELANE_WRITE_CONVERTED";

/// The files of a folder of `tests/convert` that are to be converted.
fn inputs(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/convert");
    let entries = fs::read_dir(root.join(folder)).expect("the folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let is_input = |path: &PathBuf| !path.to_string_lossy().ends_with(".corelane.toml");
    let mut inputs: Vec<_> = paths
        .filter(|path| path.is_file())
        .filter(is_input)
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty());
    inputs
}

fn input(name: &str, bytes: impl Into<Vec<u8>>) -> Input {
    Input {
        name: name.to_owned(),
        bytes: bytes.into(),
    }
}

/// Converts each file of a folder. The result is valid, and is what stands in `NAME.corelane.toml`.
fn compare(folder: &str) {
    for path in inputs(folder) {
        let file = path.file_name().expect("a name").to_string_lossy();
        let input = input(&file, fs::read(&path).expect("read"));
        let converted =
            convert(&[input], None, &Nowhere).unwrap_or_else(|why| panic!("{file}: {why}"));
        assert_valid(&converted, &file);
        let expected = path.with_extension("corelane.toml");
        if std::env::var_os(WRITE).is_some() {
            fs::write(&expected, &converted.file).expect("write");
        }
        let found = fs::read_to_string(&expected).unwrap_or_default();
        assert!(
            found == converted.file,
            "{file} becomes something else than {}: look at what `{WRITE}=1 cargo test -p proxy-tools --test convert` changes",
            expected.display()
        );
    }
}

/// The result is a configuration, and all losses are in it.
fn assert_valid(converted: &Converted, what: &str) {
    if let Err(problems) = proxy_config::parse(&converted.file, "corelane.toml") {
        panic!(
            "{what} becomes what is not valid: {problems}\n{}",
            converted.file
        );
    }
    for loss in &converted.losses {
        assert!(converted.file.contains(&loss.to_string()), "{loss}");
    }
}

/// What becomes of a text; whatever it is, the result is valid or there is none.
fn attempt(kind: Kind, text: &[u8]) -> Option<Converted> {
    let result = convert(&[input("a.cfg", text)], Some(kind), &Nowhere).ok();
    if let Some(converted) = &result {
        assert_valid(converted, &String::from_utf8_lossy(text));
    }
    result
}

/// Beginnings of each file, the file with bytes changed, and without each line, end in a valid result or in none: all of them for the
/// smallest file, and some of the others.
fn survive(folder: &str, kind: Kind) {
    let files = inputs(folder).into_iter();
    let mut files: Vec<_> = files.map(|path| fs::read(&path).expect("read")).collect();
    files.sort_by_key(Vec::len);
    for (index, bytes) in files.iter().enumerate() {
        let stride = if index == 0 { 1 } else { 97 };
        for place in (0..bytes.len()).step_by(stride) {
            attempt(kind, &bytes[..place]);
            for changed in [bytes[place] ^ 0x20, b'"', b'\n', 0xff] {
                let mut bytes = bytes.clone();
                bytes[place] = changed;
                attempt(kind, &bytes);
            }
        }
        let lines: Vec<_> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
        for place in 0..lines.len() {
            let mut lines = lines.clone();
            lines.remove(place);
            attempt(kind, &lines.concat());
        }
    }
}

#[test]
fn haproxys_files_become_what_stands_beside_them() {
    compare("haproxy");
}

#[test]
fn damaged_files_of_haproxys_become_something_valid_or_nothing() {
    survive("haproxy", Kind::Haproxy);
}

/// A part of haproxy.cfg, which needn't be valid.
fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("\n".to_owned()),
        "[a-z\"'\\\\${}#%!.:/@*,-]{0,8}",
        prop::sample::select(vec![
            "\nglobal\n",
            "\ndefaults\n",
            "\ndefaults a from a\n",
            "\nfrontend f\n",
            "\nbackend b\n",
            "\nlisten l\n",
            " bind :80 ",
            " bind ",
            " server s 192.0.2.1:80 ",
            " check ",
            " weight ",
            " maxconn ",
            " 1 ",
            " 99999999999999999999 ",
            " default_backend b\n",
            " use_backend b if ",
            " unless ",
            " { req.ssl_sni -i ",
            " } ",
            " !",
            " or ",
            " acl a ",
            " src ",
            " 10.0.0.0/8 ",
            " 10.0.0.0/99 ",
            "\ntcp-request connection reject ",
            "\ntcp-request content accept ",
            " if ",
            " a ",
            "\ntimeout client ",
            "\ntimeout server ",
            " 5s ",
            " 0 ",
            "\nbalance ",
            " source ",
            " first ",
            "\noption httpchk ",
            "\nhttp-check expect status ",
            "\noption tcp-check\n",
            "\ntcp-check send ",
            "\ntcp-check expect string ",
            " dst_port ",
            " 1:0 ",
            "\nmode tcp\n",
            "\nmode http\n",
            "\nstats enable\n",
            "\n.if ",
            "\n.else\n",
            "\n.endif\n",
            " \"${A-b}\" ",
            "\nserver-template t 3 _a._tcp.b ",
            " accept-proxy ",
            " send-proxy ",
            " source 10.0.0.1 ",
            " backup ",
            " port ",
            " inter ",
            "\ndefault-server ",
            "\nstick on src\n",
            "\nfullconn 3\n",
            " nbsrv(b) lt 1 ",
        ])
        .prop_map(str::to_owned),
    ]
}

proptest! {
    #[test]
    fn whatever_looks_like_haproxys_becomes_something_valid_or_nothing(parts in prop::collection::vec(part(), 0..60)) {
        attempt(Kind::Haproxy, parts.concat().as_bytes());
    }

    #[test]
    fn whatever_bytes_there_are_become_something_valid_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        attempt(Kind::Haproxy, &bytes);
    }
}

/// A file with these lines in a listener, and those in its backend.
fn with(frontend: &str, backend: &str) -> Result<Converted, Refused> {
    let text = format!(
        "defaults\n timeout client 1m\n timeout server 1m\nfrontend f\n bind 127.0.0.1:80\n default_backend b\n{frontend}\n\
         backend b\n server s1 192.0.2.1:80\n{backend}\nbackend c\n server s2 192.0.2.2:80\n"
    );
    convert(&[input("haproxy.cfg", text)], None, &Nowhere)
}

/// The losses, a line each.
fn losses(converted: &Converted) -> String {
    let losses: Vec<_> = converted.losses.iter().map(ToString::to_string).collect();
    losses.join("\n")
}

#[test]
fn no_line_is_dropped_without_a_word() {
    for line in [
        "no-such-word 1",
        "option no-such-option",
        "tcp-request connection set-src src",
        "email-alert from a@example.com",
        "timeout client-fin 3s",
        "retries 4",
        "option dontlognull",
        "log global",
        "hash-type consistent",
        "maxconn 30000",
        "fullconn 10",
        "errorfile 503 /dev/null",
        "use_backend c if { hdr(host) a }",
        "stick on rdp_cookie(mstshash)",
    ] {
        let converted = with(line, line).expect(line);
        assert!(converted.file.contains(line), "{line}:\n{}", converted.file);
    }
    for option in [
        "unheard-of",
        "tfo",
        "track b/s1",
        "minconn 3",
        "maxqueue 3",
        "namespace a",
        "cookie a",
        "on-error mark-down",
        "on-marked-up shutdown-backup-sessions",
        "disabled",
        "resolvers a",
        "id 3",
        "socks4 192.0.2.1:1080",
        "observe layer7",
        "downinter 3s",
        "addr 192.0.2.9",
        "agent-addr 192.0.2.9",
    ] {
        let converted = with("", &format!(" server s3 192.0.2.3:80 {option}")).expect(option);
        assert!(
            converted.file.contains(&format!("`{option}`")),
            "{option}:\n{}",
            converted.file
        );
    }
}

#[test]
fn who_was_kept_out_is_not_let_in() {
    // What can't be carried over leaves the listener out, not the rule.
    for rule in [
        "tcp-request connection reject if { src -f /etc/nobody }",
        "tcp-request connection reject if { src_is_bad }",
        "tcp-request content reject unless { req.ssl_sni -m reg ^a }",
        "tcp-request connection expect-proxy layer4 if { src_is_bad }",
    ] {
        let refused = with(rule, "").expect_err(rule);
        let Refused::Nothing { losses, .. } = refused else {
            panic!("{rule}: {refused}");
        };
        assert!(
            losses.iter().any(|loss| loss.what.contains(rule)),
            "{rule}: {losses:?}"
        );
    }
    let converted = with("tcp-request connection reject if { src 10.0.0.0/8 }", "").expect("it is");
    assert!(
        converted.file.contains("deny = [\n    \"10.0.0.0/8\","),
        "{}",
        converted.file
    );
}

#[test]
fn nothing_that_could_be_carried_over_is_no_result() {
    let http = "listen a\n mode http\n bind :80\n server s 192.0.2.1:80\n";
    let refused = convert(&[input("haproxy.cfg", http)], None, &Nowhere).expect_err("HTTP");
    assert!(
        matches!(refused, Refused::Nothing { ref losses, .. } if losses.len() == 1),
        "{refused:?}"
    );
    for (text, place) in [
        ("bind :80\n", "haproxy.cfg:1: "),
        ("listen a\n bind \"a\n", "haproxy.cfg:2: a quote"),
        ("listen\n", "haproxy.cfg:1: a name"),
        (
            "listen a\n timeout client soon\n",
            "haproxy.cfg:2: this is no time",
        ),
        (
            "listen a\n server s\n",
            "haproxy.cfg:2: something is missing",
        ),
        ("listen a from b\n", "haproxy.cfg:1: there is no section"),
        (".if 1\n", "haproxy.cfg: an .if"),
        (".endif\n", "haproxy.cfg:1: there is no .if"),
    ] {
        let refused = convert(&[input("haproxy.cfg", text)], None, &Nowhere).expect_err(text);
        assert!(refused.to_string().starts_with(place), "{text}: {refused}");
    }
    let unknown = convert(&[input("a", "hello\n")], None, &Nowhere).expect_err("nobody's");
    assert!(unknown.to_string().contains("--from"), "{unknown}");
    let large = vec![b'#'; proxy_convert::FILE_BYTES_MAX + 1];
    assert!(convert(&[input("haproxy.cfg", large)], None, &Nowhere).is_err());
}

/// A machine with a list of networks, a map of names, and a variable.
struct Machine;

impl Surroundings for Machine {
    fn read(&self, path: &Path, _: &Path) -> Result<Input, String> {
        match path.to_str() {
            Some("/etc/list") => Ok(input("list", "# bad ones\n10.1.0.0/16\n\n10.2.0.1\n")),
            Some("/etc/map") => Ok(input("map", "a.example.com b\nB.example.com  c\n")),
            _ => Err("it isn't there".to_owned()),
        }
    }

    fn matches(&self, _: &str, _: &Path) -> Result<Vec<PathBuf>, String> {
        Ok(Vec::new())
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "DB").then(|| "192.0.2.7".to_owned())
    }
}

#[test]
fn lists_maps_and_variables_are_read() {
    let text = "frontend f\n bind 127.0.0.1:80\n tcp-request connection reject if { src -f /etc/list }\n \
        use_backend %[req.ssl_sni,lower,map(/etc/map,b)]\nbackend b\n server s \"${DB}:80\"\nbackend c\n server s \"$NONE\"192.0.2.8:80\n";
    let converted = convert(&[input("haproxy.cfg", text)], None, &Machine).expect("it is");
    for part in [
        "\"10.1.0.0/16\"",
        "\"10.2.0.1\"",
        "sni = \"a.example.com\"",
        "sni = \"b.example.com\"",
        "\"192.0.2.7:80\"",
        "\"192.0.2.8:80\"",
    ] {
        assert!(converted.file.contains(part), "{part}:\n{}", converted.file);
    }
    assert!(
        losses(&converted).contains("$NONE is not set"),
        "{}",
        losses(&converted)
    );
    assert_eq!(converted.losses.len(), 1);
}

#[test]
fn several_files_are_read_as_one() {
    let files = [
        input("1.cfg", "defaults\n timeout connect 7s\n"),
        input(
            "2.cfg",
            "listen a\n bind 127.0.0.1:80\n server s 192.0.2.1:80\n",
        ),
    ];
    let converted = convert(&files, None, &Nowhere).expect("it is");
    assert!(
        converted
            .file
            .contains("connect_timeout = \"7s\"  # 1.cfg:2 timeout connect 7s")
    );
}

#[test]
fn a_value_that_there_can_not_be_is_a_loss_and_the_rest_stays() {
    let converted = with("maxconn 10", " server s3 192.0.2.3:80 weight 999").expect("it is");
    assert!(
        losses(&converted).contains("from 0 to 256"),
        "{}",
        losses(&converted)
    );
    assert!(converted.file.contains("max_connections = 10"));
    let beside = "listen g\n bind 127.0.0.1:80\n server s 192.0.2.1:80\n";
    let converted = with("", beside).expect("it is");
    assert!(
        losses(&converted).contains("choose another address"),
        "{}",
        losses(&converted)
    );
}

#[test]
fn nginxs_files_become_what_stands_beside_them() {
    compare("nginx");
}

#[test]
fn envoys_files_become_what_stands_beside_them() {
    compare("envoy");
}

#[test]
fn every_key_of_traefiks_is_named_or_carried_over() {
    let text = "entryPoints: { e: { address: ':1', transport: { lifeCycle: { graceTimeOut: 5s, requestAcceptGraceTimeout: 3s }, respondingTimeouts: { readTimeout: 7s, idleTimeout: 9s } } } }
accessLog: { filters: { minDuration: 1s } }
tcp:
  routers: { a: { rule: 'HostSNI(`*`)', service: s } }
  services: { s: { loadBalancer: { servers: [ { address: '192.0.2.1:1', weight: 3 } ], healthCheck: { port: 2, unheard: 1 } } } }
";
    let converted =
        convert(&[input("a.yaml", text)], Some(Kind::Traefik), &Nowhere).expect("it is");
    let names: Vec<_> = converted
        .losses
        .iter()
        .map(|loss| loss.what.split(':').next().unwrap_or_default())
        .collect();
    let expected = ["requestAcceptGraceTimeout", "filters", "weight", "unheard"];
    assert_eq!(names, expected, "{}", losses(&converted));
}

#[test]
fn traefiks_files_become_what_stands_beside_them() {
    compare("traefik");
}
