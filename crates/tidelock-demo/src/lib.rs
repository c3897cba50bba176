//! What both demonstrations print with.

use std::io::IsTerminal as _;

/// Standard output, with colours on a terminal.
#[derive(Debug)]
pub struct Terminal {
    colours: bool,
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

impl Terminal {
    /// This process's standard output.
    pub fn new() -> Self {
        Self { colours: std::io::stdout().is_terminal() }
    }

    /// The text in a colour: the code of an [SGR sequence](https://en.wikipedia.org/wiki/ANSI_escape_code#SGR).
    pub fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The title of a scene.
    pub fn scene(&self, number: usize, title: &str) {
        println!("\n{}", self.paint("1", &format!("{number}. {title}")));
    }
}
