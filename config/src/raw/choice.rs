//! Values that are one of a few names.

/// Makes an enum whose variants are displayed and read as the names that are written in the file.
macro_rules! choices {
    (
        $(#[$about:meta])*
        $visibility:vis enum $name:ident { $($(#[$about_variant:meta])* $variant:ident = $text:literal,)+ }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $visibility enum $name { $($(#[$about_variant])* $variant,)+ }

        impl $name {
            /// The names, in the order of the variants.
            pub(crate) const NAMES: &'static [&'static str] = &[$($text),+];
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $text,)+ })
            }
        }

        impl crate::raw::read::Read for $name {
            fn read(
                value: &toml::de::DeValue<'_>,
                _: &crate::catalogue::key::Kind,
            ) -> Result<Self, crate::problems::refusal::Refusal> {
                const ALL: &[$name] = &[$($name::$variant),+];
                crate::raw::read::choice(value, $name::NAMES).map(|index| ALL[index])
            }
        }
    };
}
pub(crate) use choices;
