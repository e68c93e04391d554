//! The source that interpreters execute: `program.py`, behind what it needs.

use kruntimes_confine::PYTHON;

/// Before anything is imported: not from the directory that an interpreter of source has first in its path.
const HEAD: &str = "import sys\nPRISTINE = set(sys.modules)\ndel sys.path[0]\n";
const SEMAPHORES: &str = include_str!("semaphores.py");
const PROGRAM: &str = include_str!("program.py");

/// Of the warm interpreter, whose arguments are the modules to import.
pub(crate) fn warm() -> String {
    format!("{HEAD}{PYTHON}{SEMAPHORES}{PROGRAM}\nmain(sys.argv[1:])\n")
}

/// Of a new interpreter that calls the handler in its first argument.
pub(crate) fn handler() -> String {
    format!("{HEAD}{PROGRAM}\nforget()\nsys.exit(run('handler', sys.argv[1:]))\n")
}
