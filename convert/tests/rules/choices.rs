//! Rules that choose a backend: by a name, a map, or who is up.

use super::{WAIT, left_out, losses, made_of, partly, whole};

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
