//! Proves that what shells and `man` are given works in them. How: a real bash completes, zsh and fish
//! read their scripts, `man` and `mandoc` read every page, each where it is installed (`tests/run`
//! installs them all); the structure is looked at everywhere.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn relais(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relais"));
    command.env("LC_ALL", "C").args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Runs a tool of the system on a text on its standard input; `None` where it is not installed.
fn through(tool: &str, arguments: &[&str], input: &str) -> Option<Output> {
    let child = Command::new(tool)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        child => child.unwrap(),
    };
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    Some(output)
}

/// What bash offers for a line that ends where the cursor is.
fn offered(script: &str, words: &[&str]) -> BTreeSet<String> {
    let (last, before) = (words.len() - 1, words[words.len() - 2]);
    let line: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    let line = line.join(" ");
    let program = format!(
        "{script}\n\
         complete -p relais >/dev/null || exit 3\n\
         COMP_WORDS=({line}); COMP_CWORD={last}\n\
         function=$(complete -p relais | sed -n 's/.*-F \\([^ ]*\\) .*/\\1/p')\n\
         \"$function\" relais '{}' '{before}'\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        words[last]
    );
    let output = through("bash", &["--norc", "--noprofile", "-s"], &program).expect("bash");
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    said.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_their_commands_options_and_values() {
    let script = text(&relais(&["completions", "bash"]));
    for (words, wanted) in [
        (&["relais", "se"][..], &["serve", "send"][..]),
        (&["relais", "key", "re"], &["revoke"]),
        (&["relais", "completions", "z"], &["zsh"]),
        (&["relais", "send", "--fr"], &["--from"]),
        (&["relais", "--lang", "f"], &["fr"]),
    ] {
        let wanted: BTreeSet<_> = wanted.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(offered(&script, words), wanted, "{words:?}");
    }
}

#[test]
fn zsh_and_fish_read_their_scripts() {
    let zsh = text(&relais(&["completions", "zsh"]));
    assert!(zsh.starts_with("#compdef relais\n"));
    let fish = text(&relais(&["completions", "fish"]));
    assert!(fish.lines().any(|line| line.contains("-a \"serve\"")));
    for (shell, arguments, script) in [
        ("zsh", &["-n", "/dev/stdin"][..], &zsh),
        ("fish", &["--no-execute", "/dev/stdin"], &fish),
    ] {
        // The head and the entries were looked at above, where the shell is not there.
        if let Some(output) = through(shell, arguments, script) {
            assert!(output.status.success(), "{shell}: {output:?}");
            assert!(output.stderr.is_empty(), "{shell}: {output:?}");
        }
    }
    if through("fish", &["--version"], "").is_some() {
        let asked = format!("{fish}\ncomplete --do-complete 'relais se'\n");
        let output = through("fish", &["--no-config"], &asked).unwrap();
        let offered = String::from_utf8(output.stdout).unwrap();
        let lines = offered.lines();
        let words: BTreeSet<_> = lines.filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(words, BTreeSet::from(["serve", "send"]), "{offered}");
    }
}

/// The names of all commands, as `--help` lists them.
fn commands(path: &[&str]) -> Vec<String> {
    let help = text(&relais(&[path, &["--help"]].concat()));
    let mut found = Vec::new();
    let Some((_, listed)) = help.split_once("Commands:\n") else {
        return found;
    };
    for line in listed.lines().take_while(|line| !line.is_empty()) {
        let name = line.split_whitespace().next().unwrap();
        if line.starts_with("  ") && !line.starts_with("   ") && name != "help" {
            let below = [path, &[name]].concat();
            found.push(below.join("-"));
            found.extend(commands(&below));
        }
    }
    found
}

#[test]
fn every_command_has_a_page_that_man_reads_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    let done = relais(&["man", "--dir", pages.to_str().unwrap()]);
    assert_eq!(text(&done), "");
    let mut expected = BTreeSet::from(["relais.1".to_owned()]);
    expected.extend(
        commands(&[])
            .into_iter()
            .map(|name| format!("relais-{name}.1")),
    );
    assert!(expected.contains("relais-key-create.1"), "{expected:?}");
    let written: BTreeSet<_> = std::fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(written, expected);
    for name in &written {
        look_at(&pages.join(name));
    }
}

fn look_at(file: &Path) {
    let page = std::fs::read_to_string(file).unwrap();
    let shown = file.display();
    let name = file.file_stem().unwrap().to_str().unwrap();
    let head = page.lines().find(|line| line.starts_with(".TH")).unwrap();
    assert!(head.contains(env!("CARGO_PKG_VERSION")), "{shown}: {head}");
    assert_eq!(page.matches(".TH ").count(), 1, "{shown}");
    for section in [".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS"] {
        assert!(page.contains(section), "{shown} has no {section}");
    }
    assert!(page.contains(&name.replace('-', "\\-")), "{shown}");
    if let Some(output) = through(
        "man",
        &["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", "-"],
        &page,
    ) {
        assert!(output.status.success(), "{shown}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said, "", "{shown}");
    }
    if let Some(output) = through("mandoc", &["-T", "lint", "-W", "warning"], &page) {
        let said = String::from_utf8(output.stdout).unwrap();
        // A page that is the same at each build has no date; the generator's blank lines are its own.
        let known = |line: &&str| {
            line.contains("missing date") || line.contains("skipping paragraph macro: br")
        };
        let faults: Vec<_> = said.lines().filter(|line| !known(line)).collect();
        assert!(faults.is_empty(), "{shown}: {faults:#?}");
    }
}

#[test]
fn the_page_on_standard_output_is_that_of_the_whole_command() {
    let page = text(&relais(&["man"]));
    assert!(page.contains(".SH SUBCOMMANDS"), "{page}");
    for words in ["relais\\-serve(1)", "Exit codes"] {
        assert!(page.contains(words), "no {words}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let output = relais(&["man", "--dir", "/proc/none/man1"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("error: /proc/none/man1: "), "{said}");
}
