//! The program `foster`, as its users run it.

mod bad_input;
mod common;
mod ending;
mod hostile;
mod init;
mod records;
mod servers;
mod signals;
mod status;
mod terminal;
mod transparent;
