//! The harness of the promises: a platform as an operator has one, in a folder of its own, made of real processes.
//!
//! Everything goes through the front door: `config-leader` and `config-follower` are started as programs, told what to do
//! by their files and arguments, and asked over HTTP. Nothing in here knows how they work inside. A test waits for a
//! condition ([`eventually`]), never for a duration; every process, container and network is gone when its owner is
//! dropped.
//!
//! Machines are told apart by address: each test has a loopback network of its own ([`Loopback`]), so that every leader
//! may listen on port 7000 and every follower on 6000, and no two tests meet.

mod engine;
mod flood;
mod forms;
mod http;
mod loopback;
mod machine;
mod platform;
mod process;
mod program;
pub mod pryv;
mod template_set;
mod tree;
mod tunnel;
mod wait;
mod wiretap;

pub use engine::{Engine, ImageName, Moment, Project};
pub use flood::Flood;
pub use forms::{forms, key_bytes, shows};
pub use http::{Answer, get, post, repeat};
pub use loopback::Loopback;
pub use machine::Machine;
pub use platform::Platform;
pub use process::Daemon;
pub use program::{Outcome, Program};
pub use template_set::TemplateSet;
pub use tree::{Entry, Tree, read as read_tree};
pub use tunnel::{Mood, Tunnel};
pub use wait::{PATIENCE, eventually};
pub use wiretap::{Deed, Kind, Wiretap};

/// The repository's root.
#[must_use]
pub fn repository() -> &'static std::path::Path {
    std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
