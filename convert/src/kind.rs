//! Whose configuration a file is.

use std::path::Path;

/// A proxy whose configuration is converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// haproxy.cfg.
    Haproxy,
    /// nginx.conf, of which `stream {}` is converted.
    Nginx,
    /// A bootstrap of Envoy's, in YAML or JSON.
    Envoy,
    /// A dynamic configuration of Traefik's, in YAML or TOML.
    Traefik,
}

/// Words that begin a line of each one's files.
const BEGINNINGS: [(Kind, &[&str]); 4] = [
    (
        Kind::Haproxy,
        &[
            "global",
            "defaults",
            "frontend",
            "backend",
            "listen",
            "resolvers",
            "peers",
            "program",
            "bind",
            "mode",
            "balance",
            "option",
            "timeout",
        ],
    ),
    (
        Kind::Nginx,
        &[
            "stream",
            "events",
            "upstream",
            "server",
            "http",
            "worker_processes",
            "load_module",
            "user",
        ],
    ),
    (
        Kind::Envoy,
        &[
            "static_resources",
            "dynamic_resources",
            "\"static_resources\"",
            "admin",
            "\"admin\"",
            "node",
        ],
    ),
    (
        Kind::Traefik,
        &[
            "tcp",
            "entryPoints",
            "[tcp",
            "[entryPoints",
            "[tcp.routers",
            "[tcp.services",
            "providers",
            "[providers",
        ],
    ),
];

impl Kind {
    /// Whose file this is, by its name, or else by the words that begin its lines.
    pub fn detect(name: &str, text: &str) -> Option<Self> {
        let file = Path::new(name).file_name()?.to_str()?.to_ascii_lowercase();
        let by_name = [
            ("haproxy", Self::Haproxy),
            ("nginx", Self::Nginx),
            ("envoy", Self::Envoy),
            ("traefik", Self::Traefik),
        ];
        let named = by_name.iter().find(|(part, _)| file.contains(part));
        named.map(|(_, kind)| *kind).or_else(|| Self::of_text(text))
    }

    /// The one of whose words the most lines begin with, so that no single word decides.
    fn of_text(text: &str) -> Option<Self> {
        let mut lines = [0_usize; BEGINNINGS.len()];
        for line in text.lines() {
            let ends = |character: char| character.is_whitespace() || ":={].".contains(character);
            let line = line.trim_start_matches(['{', ' ', '\t']);
            let word = line.split(ends).next().unwrap_or_default();
            for (count, (_, words)) in lines.iter_mut().zip(BEGINNINGS) {
                *count += usize::from(words.contains(&word));
            }
        }
        let most = lines.iter().max().filter(|most| **most > 0)?;
        let place = lines.iter().position(|count| count == most)?;
        Some(BEGINNINGS[place].0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_name_or_by_its_words() {
        for (name, text, kind) in [
            ("/etc/haproxy/haproxy.cfg", "", Some(Kind::Haproxy)),
            (
                "lb.cfg",
                "global\n\tmaxconn 10\nlisten a\n",
                Some(Kind::Haproxy),
            ),
            ("nginx.conf.j2", "", Some(Kind::Nginx)),
            (
                "a",
                "events {}\nstream {\n  upstream a {\n server b; } }",
                Some(Kind::Nginx),
            ),
            (
                "a.yaml",
                "admin:\n  address: {}\nstatic_resources:\n",
                Some(Kind::Envoy),
            ),
            (
                "a.json",
                "{\n  \"static_resources\": {\n",
                Some(Kind::Envoy),
            ),
            ("a.yml", "tcp:\n  routers:\n", Some(Kind::Traefik)),
            ("a.toml", "[tcp.routers.a]\n", Some(Kind::Traefik)),
            ("a", "hello\n", None),
            ("", "", None),
        ] {
            assert_eq!(Kind::detect(name, text), kind, "{name} {text}");
        }
    }
}
