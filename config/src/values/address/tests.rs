//! Addresses as they are written, and what is wrong with them.

use super::bind::parse_bind;
use super::*;

#[test]
fn servers_display_as_they_are_written() {
    for text in [
        "10.0.0.1:6379",
        "[::1]:6379",
        "[fe80::1%2]:6379",
        "localhost:1",
        "redis_1.example-net.:65535",
        "0.pool.ntp.org:123",
        "unix:/run/redis.sock",
        "builtin:echo",
    ] {
        assert_eq!(
            parse_server(text).map(|address| address.to_string()),
            Ok(text.to_owned())
        );
    }
    assert!(
        parse_server("db:5432")
            == Ok(ServerAddress::Name {
                host: "db".to_owned(),
                port: 5432
            })
    );
    assert!(matches!(
        parse_server("10.0.0.1:80"),
        Ok(ServerAddress::Socket(_))
    ));
}

#[test]
fn says_what_is_wrong_with_a_server() {
    let long_host = format!("{}a:80", "a.".repeat(127));
    let long_label = format!("{}:80", "a".repeat(64));
    let long_path = format!("unix:/{}", "a".repeat(UNIX_PATH_BYTES_MAX));
    for (text, error) in [
        ("", AddressError::Port),
        ("10.0.0.1", AddressError::Port),
        ("10.0.0.1:0", AddressError::Port),
        ("db", AddressError::Port),
        ("db:", AddressError::Port),
        ("db:0", AddressError::Port),
        ("db:+80", AddressError::Port),
        ("db:65536", AddressError::Port),
        ("[::1]", AddressError::Port),
        ("http://db:80", AddressError::Scheme),
        ("::1:80", AddressError::Brackets),
        (":80", AddressError::Host),
        ("10.0.0.256:80", AddressError::Host),
        ("-a:80", AddressError::Host),
        ("a..b:80", AddressError::Host),
        ("a b:80", AddressError::Host),
        ("bücher:80", AddressError::Host),
        (&long_host, AddressError::Host),
        (&long_label, AddressError::Host),
        ("builtin:ech", AddressError::Builtin),
        ("unix:", AddressError::NotAbsolute),
        ("unix:run/x", AddressError::NotAbsolute),
        ("unix:/run/", AddressError::NotAbsolute),
        ("unix:/a\0b", AddressError::NotAbsolute),
        ("unix:/a\nb", AddressError::Control),
        ("unix:/a\u{9b}b", AddressError::Control),
        (&long_path, AddressError::LongPath),
    ] {
        assert_eq!(parse_server(text), Err(error), "{text}");
    }
}

#[test]
fn binds_are_addresses_or_sockets() {
    for text in [
        "0.0.0.0:80",
        "[::]:0",
        "[fe80::1%2]:80",
        "*:80",
        "*:0",
        "unix:/run/a.sock",
    ] {
        assert_eq!(
            parse_bind(text).map(|address| address.to_string()),
            Ok(text.to_owned())
        );
    }
    for text in [
        "",
        "localhost:80",
        ":80",
        "*",
        "80",
        "1.2.3.4",
        "1.2.3.4:",
        "builtin:echo",
    ] {
        assert_eq!(parse_bind(text), Err(AddressError::NotAnIp), "{text}");
    }
    for text in ["*:", "*:+80", "*:65536", "1.2.3.4:65536", "[::]:http"] {
        assert_eq!(parse_bind(text), Err(AddressError::ListenPort), "{text}");
    }
    assert_eq!(parse_bind("unix:a.sock"), Err(AddressError::NotAbsolute));
    let mapped = AddressError::Mapped("10.0.0.1:80".parse().unwrap());
    assert_eq!(parse_bind("[::ffff:10.0.0.1]:80"), Err(mapped));
    for text in ["[fe80::1]:80", "[fe80::1%eth0]:80"] {
        assert_eq!(parse_bind(text), Err(AddressError::Interface), "{text}");
    }
}
