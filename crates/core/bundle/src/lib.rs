//! What travels between leader and follower, and how each side knows that it is true.

mod bundle;
mod report;

pub use bundle::{Bundle, Content, Directory, File};
pub use pconf_names::Class;
pub use report::{Report, ServiceOutcome, ServiceReport, Verdict};
