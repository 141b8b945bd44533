//! The directives of nginx's configuration, with the files that it includes: tokens in, a tree out.

use std::rc::Rc;

use super::super::origin::Origin;
use super::token::{Token, Tokens, Unreadable, Word};

/// Blocks within blocks.
pub(super) const DEPTH_MAX: usize = 16;

/// Directives of all files together.
pub(super) const DIRECTIVES_MAX: usize = 200_000;

/// Arguments of one directive.
pub(super) const ARGUMENTS_MAX: usize = 4096;

/// Files, each counted as often as it is included.
pub(super) const FILES_MAX: usize = 256;

/// A directive with its arguments, and its block if it has one.
#[derive(Debug, Clone)]
pub(super) struct Directive {
    pub(super) name: String,
    pub(super) arguments: Vec<Word>,
    pub(super) block: Option<Vec<Directive>>,
    pub(super) from: Origin,
}

impl Directive {
    /// The argument of this place, if there are so many.
    pub(super) fn argument(&self, place: usize) -> Option<&str> {
        self.arguments.get(place).map(|word| &word.text[..])
    }

    /// The first argument, or nothing.
    pub(super) fn value(&self) -> &str {
        self.argument(0).unwrap_or_default()
    }

    /// The arguments as texts.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.arguments.iter().map(|word| &word.text[..])
    }

    /// The directives of its block.
    pub(super) fn inner(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }

    /// Whether one of its arguments is this word.
    pub(super) fn says(&self, word: &str) -> bool {
        self.texts().any(|argument| argument == word)
    }

    /// What follows `key=` in one of its arguments.
    pub(super) fn named(&self, key: &str) -> Option<&str> {
        let value = |argument| str::strip_prefix(argument, key)?.strip_prefix('=');
        self.texts().find_map(value)
    }
}

/// Why a configuration can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) file: Rc<str>,
    pub(super) line: usize,
    pub(super) what: String,
}

/// The files that an `include` finds, with their contents: by the pattern that it says.
pub(super) type Find<'a> = dyn FnMut(&str) -> Result<Vec<(Rc<str>, String)>, String> + 'a;

/// The directives of `text`, which is the file `name`, and of all that it includes. Blocks that forward no TCP keep no
/// directives.
pub(super) fn directives(
    name: &Rc<str>,
    text: &str,
    find: &mut Find<'_>,
) -> Result<Vec<Directive>, Broken> {
    let mut reader = Reader {
        find,
        directives: 0,
        files: 1,
        depth: 0,
    };
    reader.file(name, text)
}

/// Blocks whose content means nothing here: their includes are not read.
fn is_foreign(name: &str) -> bool {
    matches!(name, "http" | "mail" | "events" | "types" | "rtmp")
}

struct Reader<'a, 'f> {
    find: &'a mut Find<'f>,
    directives: usize,
    files: usize,
    /// Blocks and files around what is read.
    depth: usize,
}

impl Reader<'_, '_> {
    fn file(&mut self, name: &Rc<str>, text: &str) -> Result<Vec<Directive>, Broken> {
        let mut tokens = Tokens::new(text);
        self.block(name, &mut tokens, None)
    }

    /// The directives up to the `}` of a block that began at the line `open`, or up to the end of the file.
    fn block(
        &mut self,
        file: &Rc<str>,
        tokens: &mut Tokens<'_>,
        open: Option<usize>,
    ) -> Result<Vec<Directive>, Broken> {
        let broken = |line, what: &str| Broken {
            file: Rc::clone(file),
            line,
            what: what.to_owned(),
        };
        let unreadable = |Unreadable { line, what }| broken(line, &what);
        if self.depth > DEPTH_MAX {
            let what = format!("blocks and files are more than {DEPTH_MAX} deep here");
            return Err(broken(tokens.line, &what));
        }
        let mut directives = Vec::new();
        let mut words: Vec<Word> = Vec::new();
        loop {
            let token = tokens.next().map_err(unreadable)?;
            match token {
                Some(Token::Word(word)) => {
                    if words.len() > ARGUMENTS_MAX {
                        let what = format!("more than {ARGUMENTS_MAX} words before a `;`");
                        return Err(broken(word.line, &what));
                    }
                    words.push(word);
                }
                Some(Token::End | Token::Open) if words.is_empty() => {
                    return Err(broken(tokens.line, "a name is missing before `;` or `{`"));
                }
                Some(Token::End) => {
                    let directive = self.directive(file, &mut words)?;
                    if directive.name == "include" {
                        self.include(&directive, &mut directives)?;
                    } else {
                        directives.push(directive);
                    }
                }
                Some(Token::Open) => {
                    let mut directive = self.directive(file, &mut words)?;
                    if directive.name.ends_with("_by_lua_block") {
                        tokens.skip_block().map_err(unreadable)?;
                        directive.block = Some(Vec::new());
                    } else {
                        let begin = directive.from.place.line;
                        directive.block = Some(if is_foreign(&directive.name) {
                            tokens.skip_block().map_err(unreadable)?;
                            Vec::new()
                        } else {
                            self.within(|reader| reader.block(file, tokens, Some(begin)))?
                        });
                    }
                    directives.push(directive);
                }
                Some(Token::Close) if open.is_some() && words.is_empty() => return Ok(directives),
                Some(Token::Close) => {
                    let what = "a `}` that nothing opened, or a `;` is missing before it";
                    return Err(broken(tokens.line, what));
                }
                None => {
                    return match (words.first(), open) {
                        (Some(word), _) => Err(broken(word.line, "this has no `;`")),
                        (None, Some(begin)) => Err(broken(begin, "this block has no `}`")),
                        (None, None) => Ok(directives),
                    };
                }
            }
        }
    }

    /// What `read` makes of a block or file within this one.
    fn within<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        self.depth += 1;
        let made = read(self);
        self.depth -= 1;
        made
    }

    /// A directive of these words, of which there is at least one.
    fn directive(&mut self, file: &Rc<str>, words: &mut Vec<Word>) -> Result<Directive, Broken> {
        let name = words.remove(0);
        self.directives += 1;
        if self.directives > DIRECTIVES_MAX {
            return Err(Broken {
                file: Rc::clone(file),
                line: name.line,
                what: format!("there are more than {DIRECTIVES_MAX} directives"),
            });
        }
        let mut said = name.text.clone();
        for word in words.iter() {
            said.push(' ');
            said += &word.text;
        }
        Ok(Directive {
            from: Origin::new(file, name.line, &said),
            name: name.text,
            arguments: std::mem::take(words),
            block: None,
        })
    }

    /// Adds the directives of the files that an `include` names.
    fn include(&mut self, include: &Directive, all: &mut Vec<Directive>) -> Result<(), Broken> {
        let broken = |what| Broken {
            file: Rc::clone(&include.from.place.file),
            line: include.from.place.line,
            what,
        };
        for (name, text) in (self.find)(include.value()).map_err(broken)? {
            self.files += 1;
            if self.files > FILES_MAX {
                return Err(broken(format!("more than {FILES_MAX} files are included")));
            }
            all.append(&mut self.within(|reader| reader.file(&name, &text))?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Directive>, Broken> {
        let find = &mut |pattern: &str| match pattern {
            "self" => Ok(vec![("self".into(), "include self;".to_owned())]),
            "more" => Ok(vec![("more".into(), "d 1;\ne 2;".to_owned())]),
            _ => Err(format!("no file `{pattern}`")),
        };
        directives(&"nginx.conf".into(), text, find)
    }

    #[test]
    fn blocks_and_files_become_a_tree_with_places() {
        let all = read("a 1 'b c';\nstream {\n s { include more; x y=3; }\n}").expect("readable");
        assert_eq!(all[0].texts().collect::<Vec<_>>(), ["1", "b c"]);
        let inner = all[1].inner()[0].inner();
        assert_eq!(inner[1].from.to_string(), "more:2 e 2");
        assert_eq!(inner[2].from.place.to_string(), "nginx.conf:3");
        assert_eq!(inner[2].named("y"), Some("3"));
    }

    #[test]
    fn foreign_blocks_keep_nothing_and_read_no_files() {
        let all =
            read("http { include nothing; server { } } x_by_lua_block { if {} end }").unwrap();
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|directive| directive.inner().is_empty()));
    }

    #[test]
    fn what_is_broken_is_told_by_its_place() {
        for (text, place) in [
            ("a;\nb {\n c;", "2: this block has no `}`"),
            ("a;\nb", "2: this has no `;`"),
            (
                "a;\n}",
                "2: a `}` that nothing opened, or a `;` is missing before it",
            ),
            (
                "a {\nb }",
                "2: a `}` that nothing opened, or a `;` is missing before it",
            ),
            ("\n;", "2: a name is missing before `;` or `{`"),
            ("\ninclude x;", "2: no file `x`"),
        ] {
            let broken = read(text).expect_err(text);
            assert_eq!(format!("{}: {}", broken.line, broken.what), place);
        }
        assert!(read("include self;").unwrap_err().what.contains("deep"));
        assert!(
            read(&"a {".repeat(10_000))
                .unwrap_err()
                .what
                .contains("deep")
        );
    }
}
