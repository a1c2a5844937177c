//! Files that a configuration includes: what is joined, what wins, and where a mistake is told.

use std::path::Path;

use super::{ACCOUNT, Config, ConfigErrors, Duration, load};

/// Reads `main` from a folder with these files beside it.
fn with(main: &str, files: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, text) in files {
        std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        std::fs::write(at(name), text).unwrap();
    }
    std::fs::write(at("r.toml"), main).unwrap();
    load(&at("r.toml")).map_err(|errors| relative(errors, folder.path()))
}

/// The errors with the folder left out.
fn relative(mut errors: ConfigErrors, folder: &Path) -> ConfigErrors {
    let folder = format!("{}/", folder.display());
    for error in &mut errors.0 {
        error.source = error.source.replace(&folder, "");
        error.problem = error.problem.replace(&folder, "");
    }
    errors
}

fn told(main: &str, files: &[(&str, &str)]) -> Vec<String> {
    let errors = with(main, files).unwrap_err();
    errors.0.iter().map(ToString::to_string).collect()
}

const FR: &str = "\
# Theirs.
[operators.orange]
prefixes = [\"+33607\", \"+33608\"]
validity = \"24h\"
retry = [\"1m\", \"1h\"]

[operators.sfr]
prefixes = [\"+33610\"]
";

#[test]
fn the_keys_of_the_file_are_joined_to_and_win_over_those_that_it_includes() {
    let main = format!(
        "include = [\"operators/fr.toml\"]\n{ACCOUNT}\
         [operators.mine]\nprefixes = [\"+33608\"]\n\
         [operators.orange]\nvalidity = \"2h\"\non_doubt = \"fail\"\n"
    );
    let config = with(&main, &[("operators/fr.toml", FR)]).unwrap();
    let policy = &config.policy;
    let names: Vec<_> = policy.operators.iter().map(|o| o.name.as_str()).collect();
    assert_eq!(names, ["default", "mine", "orange", "sfr"]);
    let orange = policy.operator(&"orange".into());
    assert_eq!(orange.validity, Duration::from_hours(2), "ours");
    assert_eq!(orange.retry.0.len(), 2, "theirs");
    assert_eq!(orange.on_doubt, super::OnDoubt::Fail, "ours alone");
    assert_eq!(orange.route, [vec!["a".into()]], "the default's");
    // A prefix is no key of its own, but what this file says of one wins as well.
    assert_eq!(orange.prefixes, ["33607"]);
    assert_eq!(policy.operator(&"mine".into()).prefixes, ["33608"]);
}

#[test]
fn a_mistake_is_told_with_the_file_that_it_stands_in() {
    let main =
        format!("include = [\"fr.toml\"]\n{ACCOUNT}[operators.orange]\nvalidity = \"99d\"\n");
    let wrong =
        "[operators.orange]\nretry = [\n  \"1h\",\n  \"1m\",\n]\nvalidty = 3\nvalidity = 7\n";
    assert_eq!(
        told(&main, &[("fr.toml", wrong)]),
        [
            "r.toml:7: operators.orange.validity: 99d is outside 1s to 30d",
            "fr.toml:4: operators.orange.retry[1]: 1m is shorter than the one before (1h)",
            "fr.toml:6: operators.orange.validty: unknown key; did you mean validity?",
        ]
    );
}

#[test]
fn what_cannot_be_included_is_refused() {
    let main = |list: &str| format!("include = [{list}]\n{ACCOUNT}");
    let fr = ("fr.toml", FR);
    for (list, files, expected) in [
        (
            "\"nowhere.toml\"",
            &[][..],
            "r.toml:1: include[0]: nowhere.toml cannot be read: No such file or directory (os error 2)",
        ),
        (
            "\"fr.toml\", \"./fr.toml\"",
            &[fr],
            "r.toml:1: include[1]: ./fr.toml is included twice",
        ),
        (
            "\"r.toml\"",
            &[],
            "r.toml:1: include[0]: r.toml is this file itself",
        ),
        (
            "\"x.toml\"",
            &[("x.toml", "\ninclude = [\"fr.toml\"]\n"), fr],
            "x.toml:2: include: an included file includes no other; name it in the file that includes this one",
        ),
        (
            "\"x.toml\"",
            &[("x.toml", "[smpp.b]\npassword = \"secret\"\n")],
            "x.toml:1: smpp: an included file holds [operators.NAME] tables alone; this belongs in the file that includes it",
        ),
        (
            "\"x.toml\"",
            &[("x.toml", "[operators.x\n")],
            "x.toml:1: not TOML: unclosed table, expected `]`",
        ),
        (
            "\"fr.toml\", \"x.toml\"",
            &[fr, ("x.toml", "[operators.sfr]\nvalidity = \"1h\"\n")],
            "x.toml:1: operators.sfr: this table is in fr.toml:7 already; keep one of the two",
        ),
        (
            "\"fr.toml\", \"x.toml\"",
            &[fr, ("x.toml", "[operators.x]\nprefixes = [\"+33610\"]\n")],
            "x.toml:2: operators.x.prefixes[0]: +33610 is already a prefix of sfr",
        ),
        (
            "3",
            &[],
            "r.toml:1: include[0]: a text is expected, not a whole number",
        ),
    ] {
        assert_eq!(told(&main(list), files), [expected], "{list}");
    }
}
