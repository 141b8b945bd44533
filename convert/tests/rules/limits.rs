//! Limits of sources: from which some are exempt, and whose numbers they go by.

use super::{DEFAULT, left_out, made_of, partly, whole};

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
