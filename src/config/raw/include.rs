//! `include = ["operators/fr.toml"]`: tables that somebody else keeps, joined to those of the file.
//!
//! An included file holds `[operators.NAME]` tables alone: what concerns this installation, its
//! accounts and secrets above all, stays in one file. Where both have a table of one name, each key
//! is the including file's if that has it, else the included one's.

use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::{Field, Line, Reader, Section, Text, beside};

/// What an included file may hold.
const OPERATORS: &str = "operators";

/// Most files that may be included.
const MOST: usize = 32;

/// The files that a text includes, read before it is, in its order.
#[derive(Debug, Default)]
pub(in crate::config) struct Includes(Vec<Include>);

#[derive(Debug)]
struct Include {
    /// The path as it is told in errors.
    name: String,
    /// The text, or why there is none.
    text: Result<String, String>,
    /// The one file that may have several names.
    identity: PathBuf,
}

impl Includes {
    /// Reads what `text` includes; what is wrong with the list itself is found out by the reader.
    pub(in crate::config) fn of(source: &str, text: &str) -> Self {
        let (table, _) = DeTable::parse_recoverable(text);
        let list = table.get_ref().get("include");
        let list = list.and_then(|list| list.get_ref().as_array());
        let names = list
            .into_iter()
            .flatten()
            .filter_map(|name| name.get_ref().as_str());
        let read = |name: &str| {
            let path = beside(source, name);
            Include {
                name: path.display().to_string(),
                text: std::fs::read_to_string(&path).map_err(|error| error.to_string()),
                identity: path.canonicalize().unwrap_or(path),
            }
        };
        Self(names.take(MOST).map(read).collect())
    }
}

impl<'a> Reader<'a> {
    /// Takes the key `include`, and what the files that it names hold.
    pub(in crate::config) fn include(&mut self, root: &mut Section<'a>) {
        let includes = self.includes;
        let named = self.list(root, "include", |value| value.text());
        let Some(named) = named else { return };
        if named.value.len() > MOST {
            let problem = format!("{} files; at most {MOST} are allowed", named.value.len());
            self.error(named.line, &named.path, problem);
            return;
        }
        for (index, (place, include)) in named.value.iter().zip(&includes.0).enumerate() {
            let before = &includes.0[..index];
            let twice = before.iter().any(|it| it.identity == include.identity);
            let own = Path::new(self.files[0].name).canonicalize();
            let problem = match &include.text {
                Err(error) => format!("{} cannot be read: {error}", include.name),
                Ok(_) if own.is_ok_and(|own| own == include.identity) => {
                    format!("{} is this file itself", include.name)
                }
                Ok(_) if twice => format!("{} is included twice", include.name),
                Ok(text) => {
                    self.files.push(Text {
                        name: &include.name,
                        text,
                    });
                    self.take_in(self.files.len() - 1);
                    continue;
                }
            };
            self.error(place.line, &place.path, problem);
        }
    }

    /// Keeps the tables of an included file until they are asked for.
    fn take_in(&mut self, file: usize) {
        let noted = self.errors.len();
        let root = self.whole(file);
        if self.errors.len() > noted {
            // Cut short: what is left would be complained about for nothing.
            return;
        }
        for field in root.entries {
            let Field { key, line, .. } = &field;
            match key.as_str() {
                OPERATORS => {
                    let (path, pattern) = (key.clone(), key.clone());
                    let tables = self.as_table(field, path.clone(), pattern);
                    self.included.push((path, tables));
                }
                "include" => self.error(
                    *line,
                    key,
                    "an included file includes no other; name it in the file that includes this one",
                ),
                _ => self.error(
                    *line,
                    key,
                    "an included file holds [operators.NAME] tables alone; this belongs in the file \
                     that includes it",
                ),
            }
        }
    }

    /// Like [`named_tables`](Reader::named_tables), with those of included files: first the tables of the
    /// file itself, then those that are in included files alone.
    pub(in crate::config) fn joined_tables(
        &mut self,
        parent: &mut Section<'a>,
        key: &'static str,
    ) -> Vec<(String, Section<'a>)> {
        let mut tables = self.named_tables(parent, key);
        let of_this = |(path, _): &mut (String, Section<'a>)| path == key;
        let included: Vec<_> = self.included.extract_if(.., of_this).collect();
        let mut known: Vec<(String, Line)> = Vec::new();
        for (_, section) in included {
            for (name, more) in self.tables_of(section) {
                if let Some((_, at)) = known.iter().find(|(known, _)| *known == name) {
                    let at = format!("{}:{}", self.files[at.file].name, at.number);
                    let problem = format!("this table is in {at} already; keep one of the two");
                    self.error(more.line, &more.path, problem);
                    continue;
                }
                known.push((name.clone(), more.line));
                match tables.iter_mut().find(|(own, _)| *own == name) {
                    Some((_, own)) => own.join(more),
                    None => tables.push((name, more)),
                }
            }
        }
        tables
    }
}

impl<'i> Section<'i> {
    /// Adds the keys of another table that this one has not.
    fn join(&mut self, other: Self) {
        for field in other.entries {
            if !self.has(&field.key) {
                self.entries.push(field);
            }
        }
    }
}

impl Line {
    /// True if the line is of an included file.
    pub(in crate::config) const fn is_included(self) -> bool {
        self.file > 0
    }
}
