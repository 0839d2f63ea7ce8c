//! The program `foster`, as its users run it.

mod bad_input;
mod common;
mod daemons;
mod doctor;
mod dying;
mod ending;
mod hostile;
mod init;
mod pid_1;
mod pty;
mod records;
mod servers;
mod signals;
mod status;
mod streams;
mod terminal;
mod transparent;
