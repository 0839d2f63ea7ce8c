//! Programs that people sit in front of, in a real terminal with a screen: under foster they look as they do without.

mod closed;
mod full_screen;
mod job_control;
mod passwords;
mod prompts;
mod put_back;
mod side_by_side;
mod touching;
