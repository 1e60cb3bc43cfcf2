//! What a shell and `man` show of a program, from its own command line.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Failure;

/// `completions SHELL`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell that they are for
    shell: Shell,
}

/// `man`.
#[derive(Debug, Args)]
pub struct Manual {
    /// Write a page for the program and one for each command into this folder instead
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl Completions {
    /// Prints the completions of the command line `C` to standard output.
    ///
    /// # Errors
    /// If they cannot be written; a reader that has gone is none.
    pub fn print<C: CommandFactory>(&self) -> Result<(), Failure> {
        let mut command = C::command();
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        print(&script)
    }
}

impl Manual {
    /// Prints the manual page of the command line `C` to standard output, or writes one for each
    /// command into a folder.
    ///
    /// # Errors
    /// If it cannot be written; a reader that has gone is none.
    pub fn print<C: CommandFactory>(&self) -> Result<(), Failure> {
        let command = C::command();
        let Some(folder) = &self.folder else {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            return print(&page);
        };
        Ok(clap_mangen::generate_to(command, folder)?)
    }
}

fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}
