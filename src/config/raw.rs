//! The file as it is written: tables whose keys are taken one by one, each mistake kept with its
//! line and the reading gone on with, so that one run of `check` shows them all.
//!
//! What a file includes is joined to it in `include`; every key keeps the file that it stands in.
//!
//! Every key must be asked for by name; what nobody asked for is an unknown key, and an error. The
//! reader remembers the names, so that a test can hold the annotated reference to them.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diff::{Given, GivenKeys, written};
use super::{ConfigError, ConfigErrors};

mod include;
mod value;

pub(super) use include::Includes;
pub(super) use value::Value;
use value::a_type;

/// Where `${NAME}` is looked up: the environment, or a test's own.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Collects what is wrong while sections are read.
pub(super) struct Reader<'a> {
    /// The file itself, and those that it includes.
    files: Vec<Text<'a>>,
    environment: Environment<'a>,
    errors: Vec<(Line, ConfigError)>,
    /// What is accepted but deserves a word.
    warnings: Vec<(Line, ConfigError)>,
    includes: &'a Includes,
    /// The tables of included files, by the path of each.
    included: Vec<(String, Section<'a>)>,
    /// Every key asked for, `*` standing for names that the file gives.
    pub(super) asked: BTreeSet<String>,
    /// Every key that the file gives, with its value.
    pub(super) given: GivenKeys,
}

/// A file's name, as errors write it, and what it holds.
#[derive(Clone, Copy)]
struct Text<'a> {
    name: &'a str,
    text: &'a str,
}

/// A line of the file, or of one that it includes, from 1; 0 is the file as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    /// Which of the files, the one that includes the others first.
    file: usize,
    number: usize,
}

impl From<usize> for Line {
    /// A line of the file that includes the others.
    fn from(number: usize) -> Self {
        Self { file: 0, number }
    }
}

/// A table of the file, with the keys that nobody has taken yet.
pub(super) struct Section<'i> {
    /// Dotted path, empty for the whole file.
    pub(super) path: String,
    /// The same, with `*` for names that the file gives.
    pattern: String,
    /// Line of its header, 0 if the file has none.
    pub(super) line: Line,
    entries: Vec<Field<'i>>,
    known: Vec<&'static str>,
}

struct Field<'i> {
    key: String,
    line: Line,
    value: Spanned<DeValue<'i>>,
}

/// A value with its place in the file.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) path: String,
    pub(super) line: Line,
}

impl<'a> Reader<'a> {
    /// `includes` are what the text includes, already read.
    pub(super) fn new(
        source: &'a str,
        text: &'a str,
        includes: &'a Includes,
        environment: Environment<'a>,
    ) -> Self {
        Self {
            files: vec![Text { name: source, text }],
            environment,
            includes,
            included: Vec::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
            asked: BTreeSet::new(),
            given: GivenKeys::new(),
        }
    }

    /// The whole file as a section; what is not TOML is noted with its line.
    pub(super) fn root(&mut self) -> Section<'a> {
        self.whole(0)
    }

    /// A whole file as a section.
    fn whole(&mut self, file: usize) -> Section<'a> {
        let (table, errors) = DeTable::parse_recoverable(self.files[file].text);
        for error in errors {
            let number = error.span().map_or(0, |span| self.line(file, &span).number);
            let problem = format!("not TOML: {}", error.message());
            self.error(Line { file, number }, "", problem);
        }
        let first = Line { file, number: 1 };
        self.section(table.into_inner(), String::new(), String::new(), first)
    }

    /// True if nothing was wrong so far.
    pub(super) fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }

    /// Notes a mistake.
    pub(super) fn error(&mut self, line: impl Into<Line>, key: &str, problem: impl Into<String>) {
        let error = self.wrong(line.into(), key, problem.into());
        self.errors.push(error);
    }

    /// Notes what deserves a word.
    pub(super) fn warn(&mut self, line: impl Into<Line>, key: &str, problem: impl Into<String>) {
        let warning = self.wrong(line.into(), key, problem.into());
        self.warnings.push(warning);
    }

    /// The mistakes in the order of the file, if there are any.
    pub(super) fn finish(self) -> Result<Vec<ConfigError>, ConfigErrors> {
        let in_order = |mut noted: Vec<(Line, ConfigError)>| {
            noted.sort_by_key(|(line, _)| *line);
            noted.into_iter().map(|(_, what)| what).collect()
        };
        if self.errors.is_empty() {
            return Ok(in_order(self.warnings));
        }
        Err(ConfigErrors(in_order(self.errors)))
    }

    fn wrong(&self, line: Line, key: &str, problem: String) -> (Line, ConfigError) {
        let wrong = ConfigError {
            source: self.files[line.file].name.to_owned(),
            line: line.number,
            key: key.to_owned(),
            problem,
        };
        (line, wrong)
    }

    fn line(&self, file: usize, span: &Range<usize>) -> Line {
        let text = self.files[file].text;
        let before = text.get(..span.start).unwrap_or(text);
        let number = 1 + before.bytes().filter(|byte| *byte == b'\n').count();
        Line { file, number }
    }

    fn section(
        &self,
        table: DeTable<'a>,
        path: String,
        pattern: String,
        line: Line,
    ) -> Section<'a> {
        let mut keys: Vec<_> = table.into_iter().collect();
        keys.sort_by_key(|(key, _)| key.span().start);
        let entries = keys
            .into_iter()
            .map(|(key, value)| Field {
                line: self.line(line.file, &key.span()),
                key: key.into_inner().into_owned(),
                value,
            })
            .collect();
        Section {
            path,
            pattern,
            line,
            entries,
            known: Vec::new(),
        }
    }

    /// The table under `key`; an empty one if the file has none.
    pub(super) fn table(&mut self, parent: &mut Section<'a>, key: &'static str) -> Section<'a> {
        let pattern = parent.pattern_of(key);
        match self.field(parent, key) {
            Some(field) => self.as_table(field, parent.path_of(key), pattern),
            None => self.section(DeTable::new(), parent.path_of(key), pattern, 0.into()),
        }
    }

    /// The tables under the names that the file gives in `[key.NAME]`, in the order of the file.
    pub(super) fn named_tables(
        &mut self,
        parent: &mut Section<'a>,
        key: &'static str,
    ) -> Vec<(String, Section<'a>)> {
        let section = self.table(parent, key);
        self.tables_of(section)
    }

    fn tables_of(&mut self, section: Section<'a>) -> Vec<(String, Section<'a>)> {
        let pattern = format!("{}.*", section.pattern);
        let path = section.path;
        let mut tables = Vec::new();
        for field in section.entries {
            let name = field.key.clone();
            let path = format!("{path}.{name}");
            if !is_name(&name) {
                self.error(
                    field.line,
                    &path,
                    "a name is made of letters, digits, - and _, 32 at most",
                );
            }
            let table = self.as_table(field, path, pattern.clone());
            tables.push((name, table));
        }
        tables
    }

    /// Every value of a section whose keys the file gives, in the order of the file; each that is
    /// wrong is noted.
    pub(super) fn named_values<T>(
        &mut self,
        section: Section<'a>,
        read: impl Fn(Value<'_, 'a>) -> Result<T, String>,
    ) -> Vec<(String, Placed<T>)> {
        self.asked.insert(section.pattern_of("*"));
        let mut values = Vec::new();
        for field in section.entries {
            let path = join(&section.path, &field.key);
            self.note(path.clone(), field.value.get_ref());
            let value = Value {
                value: field.value.get_ref(),
                environment: self.environment,
            };
            match read(value) {
                Ok(value) => {
                    let line = field.line;
                    values.push((field.key, Placed { value, path, line }));
                }
                Err(problem) => self.error(field.line, &path, problem),
            }
        }
        values
    }

    fn as_table(&mut self, field: Field<'a>, path: String, pattern: String) -> Section<'a> {
        let line = field.line;
        match field.value.into_inner() {
            DeValue::Table(table) => self.section(table, path, pattern, line),
            other => {
                self.error(
                    line,
                    &path,
                    format!("a table [{path}] is expected, not {}", a_type(&other)),
                );
                self.section(DeTable::new(), path, pattern, line)
            }
        }
    }

    /// Remembers what is written; tables are remembered key by key.
    fn note(&mut self, path: String, value: &DeValue<'_>) {
        if !matches!(value, DeValue::Table(_)) {
            self.given.insert(path, Given::Plain(written(value)));
        }
    }

    /// Says what a key gives that its value alone does not tell, or that is not to be shown.
    pub(super) fn gives(&mut self, path: &str, given: Given) {
        self.given.insert(path.to_owned(), given);
    }

    fn field(&mut self, section: &mut Section<'a>, key: &'static str) -> Option<Field<'a>> {
        self.asked.insert(section.pattern_of(key));
        section.known.push(key);
        let at = section.entries.iter().position(|field| field.key == key)?;
        let field = section.entries.remove(at);
        self.note(section.path_of(key), field.value.get_ref());
        Some(field)
    }

    /// Takes a key and understands its value; `None` if it is absent, or wrong and noted.
    pub(super) fn take<T>(
        &mut self,
        section: &mut Section<'a>,
        key: &'static str,
        read: impl FnOnce(Value<'_, 'a>) -> Result<T, String>,
    ) -> Option<Placed<T>> {
        let field = self.field(section, key)?;
        let path = section.path_of(key);
        let value = Value {
            value: field.value.get_ref(),
            environment: self.environment,
        };
        match read(value) {
            Ok(value) => Some(Placed {
                value,
                path,
                line: field.line,
            }),
            Err(problem) => {
                self.error(field.line, &path, problem);
                None
            }
        }
    }

    /// Takes a key that must be there.
    pub(super) fn need<T>(
        &mut self,
        section: &mut Section<'a>,
        key: &'static str,
        what: &str,
        read: impl FnOnce(Value<'_, 'a>) -> Result<T, String>,
    ) -> Option<Placed<T>> {
        if !section.entries.iter().any(|field| field.key == key) {
            self.asked.insert(section.pattern_of(key));
            section.known.push(key);
            self.error(
                section.line,
                &section.path.clone(),
                format!("{key} is missing: {what}"),
            );
            return None;
        }
        self.take(section, key, read)
    }

    /// Takes a key whose value is a list; each item that is wrong is noted by its index. `None` if it
    /// is absent or wrong.
    pub(super) fn list<T>(
        &mut self,
        section: &mut Section<'a>,
        key: &'static str,
        read: impl Fn(Value<'_, 'a>) -> Result<T, String>,
    ) -> Option<Placed<Vec<Placed<T>>>> {
        let field = self.field(section, key)?;
        let path = section.path_of(key);
        let DeValue::Array(array) = field.value.into_inner() else {
            self.error(field.line, &path, "a list [\"…\", \"…\"] is expected");
            return None;
        };
        let mut items = Vec::new();
        let count = array.len();
        for (index, item) in array.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let line = self.line(field.line.file, &item.span());
            let value = Value {
                value: item.get_ref(),
                environment: self.environment,
            };
            match read(value) {
                Ok(value) => items.push(Placed { value, path, line }),
                Err(problem) => self.error(line, &path, problem),
            }
        }
        (items.len() == count).then_some(Placed {
            value: items,
            path,
            line: field.line,
        })
    }

    /// Takes a secret: `key` in place or as `${NAME}`, or the first line of the file that `file_key`
    /// names.
    pub(super) fn secret(
        &mut self,
        section: &mut Section<'a>,
        key: &'static str,
        file_key: &'static str,
    ) -> Option<Placed<SecretString>> {
        let in_place = self.take(section, key, |value| value.text());
        let from_file = self.take(section, file_key, |value| value.text());
        let path = section.path_of(key);
        self.given.remove(&path);
        let secret = self.one_secret(key, in_place, from_file)?;
        let given = Given::Secret(secret.value.clone());
        self.given.insert(path, given);
        Some(secret)
    }

    fn one_secret(
        &mut self,
        key: &str,
        in_place: Option<Placed<String>>,
        from_file: Option<Placed<String>>,
    ) -> Option<Placed<SecretString>> {
        match (in_place, from_file) {
            (Some(_), Some(file)) => {
                self.error(
                    file.line,
                    &file.path,
                    format!("{key} is given as well; keep one of the two"),
                );
                None
            }
            (Some(secret), None) => Some(secret.map(SecretString::from)),
            (None, Some(file)) => {
                let path = self.beside(&file.value);
                match std::fs::read_to_string(&path) {
                    Ok(text) => {
                        if let Some(problem) = too_open(&path) {
                            self.warn(file.line, &file.path, problem);
                        }
                        let line = text.lines().next().unwrap_or("").trim().to_owned();
                        Some(file.map(|_| SecretString::from(line)))
                    }
                    Err(error) => {
                        self.error(
                            file.line,
                            &file.path,
                            format!("{} cannot be read: {error}", path.display()),
                        );
                        None
                    }
                }
            }
            (None, None) => None,
        }
    }

    /// A path of the file: relative ones start at the folder that the file is in.
    pub(super) fn beside(&self, path: &str) -> PathBuf {
        beside(self.files[0].name, path)
    }

    /// Notes every key that nobody took.
    pub(super) fn close(&mut self, section: Section<'a>) {
        for field in section.entries {
            let path = join(&section.path, &field.key);
            let advice = match nearest(&field.key, &section.known) {
                Some(known) => format!("unknown key; did you mean {known}?"),
                None => format!("unknown key; known here: {}", section.known.join(", ")),
            };
            self.error(field.line, &path, advice);
        }
    }
}

impl Section<'_> {
    pub(super) fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    fn pattern_of(&self, key: &str) -> String {
        join(&self.pattern, key)
    }

    /// The line of a key that is no longer read, if the file has it; nobody complains about it twice.
    pub(super) fn drop_key(&mut self, key: &str) -> Option<Line> {
        let at = self.entries.iter().position(|field| field.key == key)?;
        Some(self.entries.remove(at).line)
    }

    /// True if the file has a text under this key.
    pub(super) fn is_text(&self, key: &str) -> bool {
        let text = |field: &Field<'_>| matches!(field.value.get_ref(), DeValue::String(_));
        self.entries
            .iter()
            .any(|field| field.key == key && text(field))
    }

    /// True if the file says something under this key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|field| field.key == key)
    }
}

impl<T> Placed<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Placed<U> {
        Placed {
            value: change(self.value),
            path: self.path,
            line: self.line,
        }
    }
}

/// A path that is written in a file: a relative one starts at the folder of that file.
fn beside(file: &str, path: &str) -> PathBuf {
    match Path::new(file).parent() {
        Some(folder) => folder.join(path),
        None => PathBuf::from(path),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Names become labels of metrics and parts of channel names such as `orange#1`.
fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The known key that differs by at most two letters, the nearest first.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    known
        .iter()
        .map(|candidate| (distance(key, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= 2 && *distance < candidate.len())
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// What is wrong with a secret's file if others than its owner can read it.
pub(super) fn too_open(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(path).ok()?;
    let mode = found.mode() & 0o777;
    is_too_open(mode, found.uid()).then(|| {
        // Root's own is read by the service through its group.
        let better = if found.uid() == 0 { "640" } else { "600" };
        format!(
            "{} holds a secret and others can read it (mode {mode:04o}); chmod {better} it",
            path.display()
        )
    })
}

/// A file of root's may be read by its group: root alone can have chosen that group, the service's own as a rule.
/// (The mask of an access list, as systemd sets one on a credential, shows in the same bits.)
pub(super) const fn is_too_open(mode: u32, owner: u32) -> bool {
    let others = if owner == 0 { 0o037 } else { 0o077 };
    mode & others != 0
}
