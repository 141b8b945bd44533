//! Files that are cut off, damaged or hostile: a conversion refuses them with a reason, or makes a valid file of what is left.

use std::fs;
use std::path::Path;

use proxy_convert::{Input, Kind, Nowhere, Refused, convert};

const KINDS: [(Kind, &str); 3] = [
    (Kind::Nginx, "nginx"),
    (Kind::Envoy, "envoy"),
    (Kind::Traefik, "traefik"),
];

/// Variants of each file, of each sort.
const VARIANTS: usize = 20;

/// What a conversion makes of these bytes must be valid, or nothing.
fn try_one(name: &str, kind: Kind, bytes: Vec<u8>) -> Result<String, String> {
    let name = name.to_owned();
    let converted = convert(&[Input { name, bytes }], Some(kind), &Nowhere);
    let file = converted.map_err(|why| why.to_string())?.file;
    if let Err(problems) = proxy_config::parse(&file, "corelane.toml") {
        panic!("it becomes what is not valid: {problems}\n{file}");
    }
    Ok(file)
}

/// Numbers without a pattern, the same each time.
fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state >> 33).expect("31 bits")
}

#[test]
fn files_that_are_cut_off_or_damaged_never_end_it() {
    const SIGNS: &[u8] = b"{};\"'\\$ \n#:-[]*&0a\x00\xff";
    let mut state = 0x9E37_79B9_7F4A_7C15;
    for (kind, folder) in KINDS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../tests/convert")
            .join(folder);
        for entry in fs::read_dir(folder).expect("the folder") {
            let path = entry.expect("an entry").path();
            let name = path.to_string_lossy().into_owned();
            if name.ends_with(".corelane.toml") {
                continue;
            }
            let whole = fs::read(&path).expect("read");
            for _ in 0..VARIANTS {
                let cut = next(&mut state) % whole.len();
                let _ = try_one(&name, kind, whole[..cut].to_vec());
                let mut flipped = whole.clone();
                for _ in 0..=next(&mut state) % 4 {
                    let place = next(&mut state) % whole.len();
                    flipped[place] = SIGNS[next(&mut state) % SIGNS.len()];
                }
                let _ = try_one(&name, kind, flipped);
                let (from, to) = (
                    next(&mut state) % whole.len(),
                    next(&mut state) % whole.len(),
                );
                let mut moved = whole[from..].to_vec();
                moved.extend_from_slice(&whole[..to]);
                let _ = try_one(&name, kind, moved);
            }
        }
    }
}

/// A note quotes the original, which may have lines and signs of a terminal in it.
#[test]
fn a_note_of_several_lines_is_a_comment_of_one() {
    let rest = "mode tcp\n bind :80\n server s 10.0.0.1:80\n";
    let haproxy = format!(
        "listen a\n {rest} tcp-request content accept if {{ x\\n[runtime]\\ncores=1\\x1b[2J }}\n"
    );
    let envoy = "static_resources: {listeners: [{name: \"a\\n[runtime]\", x: y}]}";
    let traefik =
        "tcp: {routers: {a: {rule: \"HostSNI(`*`)\\n[runtime]\", service: s, entryPoints: [e]}}}";
    for (kind, text) in [
        (Kind::Haproxy, &haproxy[..]),
        (Kind::Envoy, envoy),
        (Kind::Traefik, traefik),
    ] {
        let bytes = text.as_bytes().to_vec();
        let name = "a\nb".to_owned();
        let converted = convert(&[Input { name, bytes }], Some(kind), &Nowhere);
        let (losses, remarks) = match converted {
            Ok(converted) => {
                assert!(
                    !converted.file.contains("\n[runtime]"),
                    "{}",
                    converted.file
                );
                (converted.losses, converted.remarks)
            }
            Err(Refused::Nothing { losses, .. }) => (losses, Vec::new()),
            Err(refused) => panic!("{refused}"),
        };
        assert!(!losses.is_empty(), "{text}");
        for note in losses.iter().chain(&remarks) {
            let note = note.to_string();
            assert!(!note.contains(char::is_control), "{note:?}");
        }
    }
}

/// Lines of which none is carried over: to look for each note among all would take minutes.
#[test]
fn files_of_which_every_line_is_lost_come_to_an_end() {
    const LINES: usize = 50_000;
    let lines =
        |end: &str| -> String { (0..LINES).map(|line| format!("x{line}{end}\n")).collect() };
    let haproxy = "listen a\n mode tcp\n bind :80\n server s 10.0.0.1:80\n";
    let nginx = "server { listen 80; proxy_pass 10.0.0.1:80;";
    for (kind, text) in [
        (Kind::Haproxy, format!("{haproxy}{}", lines(""))),
        (
            Kind::Nginx,
            format!("stream {{ {nginx} {} }} }}", lines(";")),
        ),
    ] {
        let (name, bytes) = ("a".to_owned(), text.into_bytes());
        let converted = convert(&[Input { name, bytes }], Some(kind), &Nowhere);
        let losses = converted.expect("a listener is left").losses;
        assert_eq!(losses.len(), LINES, "{kind:?}");
    }
}

#[test]
fn bytes_without_sense_are_refused() {
    const SIGNS: &[u8] = b"abc {};\"'\\$\n#:-[]*&|!%@`0123";
    let mut state = 0xD1B5_4A32_D192_ED03;
    for (kind, name) in KINDS {
        for length in 0..200 {
            let byte = |_| SIGNS[next(&mut state) % SIGNS.len()];
            let bytes = (0..length).map(byte).collect();
            assert!(try_one(name, kind, bytes).is_err());
        }
    }
}

#[test]
fn files_without_end_are_refused_with_a_reason() {
    let bomb = (1..40).fold("a0: &a0 [x]\n".to_owned(), |text, level| {
        let alias = format!("*a{},", level - 1);
        text + &format!("a{level}: &a{level} [{}]\n", alias.repeat(9))
    });
    let map: String = (0..30_000)
        .map(|name| format!("n{name}.example.com a;"))
        .collect();
    for (kind, text, part) in [
        (Kind::Nginx, "a {".repeat(300_000), "deep"),
        (Kind::Nginx, "a ".repeat(400_000), "words"),
        (Kind::Nginx, "x".repeat(900_000), "bytes"),
        (Kind::Nginx, "a;".repeat(400_000), "directives"),
        (Kind::Nginx, "a".repeat(2_000_000), "larger"),
        (
            Kind::Nginx,
            format!("map $ssl_preread_server_name $n {{ {map} }} upstream a {{ server 1.2.3.4:5; }} server {{ listen 1; ssl_preread on; proxy_pass $n; }}"),
            "cases",
        ),
        (Kind::Nginx, "map $a $b { default $a; } map $b $a { default $b; } server { listen 1; proxy_pass $a; }".to_owned(), "deep"),
        (Kind::Envoy, bomb.clone(), "aliases"),
        (Kind::Envoy, "[".repeat(900_000), ""),
        (Kind::Envoy, "- ".repeat(300_000), ""),
        (Kind::Traefik, bomb, "aliases"),
        (Kind::Traefik, format!("a = {}", "[".repeat(900_000)), ""),
        (Kind::Traefik, "tcp: {routers: {a: {rule: \"{{ env `HOME` }}\"}}}".to_owned(), "HOME"),
    ] {
        let refused = convert(&[Input { name: "a".to_owned(), bytes: text.into_bytes() }], Some(kind), &Nowhere);
        let refused = format!("{:?}", refused.expect_err(part));
        assert!(refused.contains(part), "{part}: {refused}");
    }
}
