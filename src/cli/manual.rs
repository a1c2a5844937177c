//! `relais completions` and `relais man`: what shells and `man` know of the command line, made from the
//! command line itself, so that neither can be older than the program.

use std::path::Path;

use clap::CommandFactory as _;
use clap_mangen::Man;

use super::args::{Cli, ManualPages, Shell};
use super::{Failure, out};

/// The name that the completions are registered for.
const NAME: &str = "relais";
/// The manual that the pages belong to.
const MANUAL: &str = "Relais";
/// How a generated page begins: where groff is not, its plain apostrophe is defined.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

impl From<Shell> for clap_complete::Shell {
    fn from(shell: Shell) -> Self {
        match shell {
            Shell::Bash => Self::Bash,
            Shell::Zsh => Self::Zsh,
            Shell::Fish => Self::Fish,
        }
    }
}

/// `relais completions`.
pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    let shell = clap_complete::Shell::from(shell);
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    print(script)
}

/// `relais man`: the page of the whole command, or every page into a folder.
pub(super) fn man(pages: &ManualPages) -> Result<(), Failure> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    if let Some(folder) = &pages.dir {
        std::fs::create_dir_all(folder).map_err(|error| at(folder, &error))?;
        return write_all(&command, folder);
    }
    print(page(&command)?)
}

/// A page for the command and one for each below it: `relais.1`, `relais-key.1`, `relais-key-create.1`.
fn write_all(command: &clap::Command, folder: &Path) -> Result<(), Failure> {
    for below in command.get_subcommands() {
        write_all(below, folder)?;
    }
    let file = folder.join(format!("{}.1", title(command)));
    std::fs::write(&file, page(command)?).map_err(|error| at(&file, &error))
}

fn title(command: &clap::Command) -> &str {
    command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
}

/// The page of one command. Its head and its last sections are written here: the generator leaves out
/// an empty date, which makes a date of what follows it, and fills the lines of examples.
fn page(command: &clap::Command) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let plain = command.clone().after_help(None).after_long_help(None);
    let generated = Man::new(plain);
    generated.render_name_section(&mut body)?;
    generated.render_synopsis_section(&mut body)?;
    generated.render_description_section(&mut body)?;
    generated.render_options_section(&mut body)?;
    if command.has_subcommands() {
        generated.render_subcommands_section(&mut body)?;
    }
    let version = env!("CARGO_PKG_VERSION");
    let head = format!(
        "{PREAMBLE}.TH {} 1 \"\" \"{NAME} {version}\" \"{MANUAL}\"\n",
        title(command)
    );
    let body = String::from_utf8(body).map_err(|error| Failure::Failed(error.to_string()))?;
    // Every section that is made alone brings the preamble of a whole page.
    let mut page = head + &body.replace(PREAMBLE, "");
    if let Some(help) = command.get_after_help() {
        last_sections(&help.to_string(), &mut page);
    }
    Ok(page.into_bytes())
}

/// What stands below the help: the examples as they are, then the rest as paragraphs.
fn last_sections(help: &str, page: &mut String) {
    let mut notes = false;
    for block in help.split("\n\n") {
        let mut lines = block.lines().peekable();
        if lines.next_if(|line| line.starts_with("Example")).is_some() {
            page.push_str(".SH EXAMPLES\n");
        } else if !std::mem::replace(&mut notes, true) {
            page.push_str(".SH NOTES\n");
        } else {
            page.push_str(".PP\n");
        }
        page.push_str(".nf\n");
        for line in lines {
            page.push_str(&escaped(line));
            page.push('\n');
        }
        page.push_str(".fi\n");
    }
}

/// A line of text as roff reads it: nothing in it is a request, a hyphen stays one.
fn escaped(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    let line = line.replace('\'', "\\(aq");
    match line.starts_with('.') {
        true => format!("\\&{line}"),
        false => line,
    }
}

fn at(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Failed(format!("{}: {error}", path.display()))
}

fn print(text: Vec<u8>) -> Result<(), Failure> {
    let text = String::from_utf8(text).map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(out::write(&text)?)
}
