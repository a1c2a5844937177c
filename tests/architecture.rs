//! Proves that the code keeps to its floors: what may use what, and a few things that no file may
//! do. It reads the sources and looks at every `crate::…` path outside comments.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What each module of the crate may use, beside itself.
const FLOORS: [(&str, &[&str]); 12] = [
    ("pdu", &[]),
    ("domain", &["pdu"]),
    ("clock", &["domain"]),
    ("config", &["domain", "clock"]),
    ("metrics", &["domain"]),
    ("store", &["domain", "clock"]),
    ("channel", &["domain", "pdu", "clock"]),
    (
        "engine",
        &[
            "store", "channel", "domain", "pdu", "config", "clock", "metrics",
        ],
    ),
    (
        "http",
        &["engine", "store", "domain", "clock", "metrics", "pdu"],
    ),
    ("sim", &["pdu", "domain", "clock", "channel"]),
    ("daemon", EVERYTHING),
    ("cli", EVERYTHING),
];

const EVERYTHING: &[&str] = &[
    "pdu", "domain", "clock", "config", "metrics", "store", "channel", "engine", "http", "sim",
    "daemon", "cli",
];

/// What the simulators may use of a module that is otherwise closed to them.
const SIMULATORS_MAY: [(&str, &[&str]); 2] =
    [("channel", &["smpp"]), ("domain", &["receipt", "time"])];

const LINES: usize = 650;

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The module of the first floor that it belongs to; `lib` and `main` are the roof.
    fn module(&self) -> String {
        let first = self.path.components().next().unwrap();
        let name = Path::new(first.as_os_str());
        name.file_stem().unwrap().to_str().unwrap().to_owned()
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The lines outside comments, numbered from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<Source>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                found.push(Source {
                    text: fs::read_to_string(&path).unwrap(),
                    path: path.strip_prefix(root).unwrap().to_owned(),
                });
            }
        }
    }
    let mut found = Vec::new();
    let root = repository().join("src");
    walk(&root, &root, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 20, "the sources were found");
    found
}

/// The paths of this crate that a source names: `crate::a::b` gives `[a, b]`, and so does each
/// branch of `crate::{a::b, c}`.
fn paths(source: &Source) -> Vec<(usize, Vec<String>)> {
    let mut code = String::new();
    let mut lines = Vec::new();
    for (number, line) in source.code() {
        lines.push((code.len(), number));
        code.push_str(line);
        code.push('\n');
    }
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let whole = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if whole {
            let line = lines.partition_point(|(start, _)| *start <= at) - 1;
            for branch in branches(&code[at + "crate::".len()..]) {
                found.push((lines[line].1, branch));
            }
        }
    }
    found
}

fn branches(text: &str) -> Vec<Vec<String>> {
    let text = text.trim_start();
    if let Some(inner) = text.strip_prefix('{') {
        let (mut depth, mut start, mut all) = (0, 0, Vec::new());
        for (at, c) in inner.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    if !inner[start..at].trim().is_empty() {
                        all.extend(branches(&inner[start..at]));
                    }
                    start = at + 1;
                    if c == '}' {
                        break;
                    }
                }
                _ => {}
            }
        }
        return all;
    }
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    let head = text[..end].to_owned();
    match text[end..].strip_prefix("::") {
        Some(rest) => branches(rest)
            .into_iter()
            .map(|tail| std::iter::once(head.clone()).chain(tail).collect())
            .collect(),
        None => vec![vec![head]],
    }
}

fn refuse(violations: Vec<String>) {
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn every_use_points_down() {
    let mut violations = Vec::new();
    for source in sources() {
        let module = source.module();
        if module == "lib" || module == "main" {
            continue;
        }
        let Some((_, allowed)) = FLOORS.iter().find(|(name, _)| *name == module) else {
            violations.push(format!("{}: {module} stands on no floor", source.name()));
            continue;
        };
        for (line, path) in paths(&source) {
            let used = path[0].as_str();
            // Macros and items of the crate's root are not modules.
            if used == module || !EVERYTHING.contains(&used) {
                continue;
            }
            // A driver's own tests may have a simulator at the other end; what is shipped may not.
            let simulated =
                used == "sim" && module == "channel" && source.name().contains("/tests");
            if !allowed.contains(&used) && !simulated {
                violations.push(format!("{}:{line}: {module} uses {used}", source.name()));
            }
            // Their tests drive the carrier side against the gateway's, and may use both.
            let narrow = SIMULATORS_MAY
                .iter()
                .find(|(name, _)| *name == used && !source.name().contains("/tests"));
            if let ("sim", Some((_, parts))) = (module.as_str(), narrow)
                && !path
                    .get(1)
                    .is_some_and(|part| parts.contains(&part.as_str()))
            {
                violations.push(format!(
                    "{}:{line}: sim uses {}",
                    source.name(),
                    path.join("::")
                ));
            }
        }
    }
    refuse(violations);
}

#[test]
fn paths_are_read_whatever_their_writing() {
    let source = Source {
        path: "x.rs".into(),
        text:
            "use crate::{\n    a::{b, c::D},\n    e,\n};\n// crate::not\nlet x = crate::f::g(1);\n\
               use mycrate::no;"
                .to_owned(),
    };
    let found: Vec<_> = paths(&source)
        .into_iter()
        .map(|(line, path)| format!("{line} {}", path.join("::")))
        .collect();
    assert_eq!(found, ["1 a::b", "1 a::c::D", "1 e", "6 f::g"]);
}

/// Says where a word stands that stands only in some files.
fn only_in(word: &str, allowed: &[&str]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources() {
        let name = source.name();
        if allowed.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        for (line, text) in source.code() {
            if text.contains(word) {
                violations.push(format!("{name}:{line}: {word}"));
            }
        }
    }
    violations
}

#[test]
fn every_queue_is_bounded() {
    let mut violations = only_in("unbounded_channel", &[]);
    violations.extend(only_in("UnboundedSender", &[]));
    violations.extend(only_in("std::sync::mpsc::channel", &[]));
    refuse(violations);
}

#[test]
fn time_is_read_in_one_file() {
    let reads = ["SystemTime::now", "Instant::now", "Utc::now", "Local::now"];
    refuse(
        reads
            .iter()
            .flat_map(|read| only_in(read, &["clock.rs"]))
            .collect(),
    );
}

#[test]
fn the_domain_and_the_codecs_know_no_runtime() {
    let mut violations = Vec::new();
    for source in sources() {
        if !["domain", "pdu"].contains(&source.module().as_str()) {
            continue;
        }
        for (line, text) in source.code() {
            for word in ["tokio", "async fn", "std::fs", "std::net", "sled::"] {
                if text.contains(word) {
                    violations.push(format!("{}:{line}: {word}", source.name()));
                }
            }
        }
    }
    refuse(violations);
}

#[test]
fn the_french_words_stand_where_people_read_them() {
    // Only as string literals: a test or a comment may speak of them.
    let words = [
        "\"En attente\"",
        "\"Envoyé\"",
        "\"Livré\"",
        "\"Expiré\"",
        "\"Échec\"",
        "\"Annulé\"",
    ];
    let allowed = ["domain/status.rs", "http/console", "cli"];
    refuse(
        words
            .iter()
            .flat_map(|word| only_in(word, &allowed))
            .collect(),
    );
}

#[test]
fn files_stay_short() {
    refuse(
        sources()
            .iter()
            .map(|source| (source.name(), source.text.lines().count()))
            .filter(|(_, lines)| *lines > LINES)
            .map(|(name, lines)| format!("{name}: {lines} lines, more than {LINES}"))
            .collect(),
    );
}

#[test]
fn no_module_is_named_after_nothing() {
    const NAMES: [&str; 8] = [
        "utils", "util", "common", "helpers", "misc", "manager", "types", "shared",
    ];
    let mut violations = Vec::new();
    for source in sources() {
        for part in source.path.components() {
            let part = Path::new(part.as_os_str());
            let stem = part.file_stem().unwrap().to_str().unwrap();
            if NAMES.contains(&stem) {
                violations.push(source.name());
            }
        }
    }
    refuse(violations);
}

#[test]
fn the_top_of_the_repository_is_the_agreed_one() {
    let agreed: BTreeSet<&str> = [
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "config",
        "udev",
        "deploy",
        "tests",
        "README.md",
        "LICENSE",
        "target",
    ]
    .into();
    let mut violations = Vec::new();
    for entry in fs::read_dir(repository()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.starts_with('.') && !agreed.contains(name.as_str()) {
            violations.push(format!("{name} is not one of {agreed:?}"));
        }
    }
    refuse(violations);
}
