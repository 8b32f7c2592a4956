//! All that touches the disk, below one root that no path leaves.
//!
//! A container may have the root mounted read-write and may be hostile, so a path is never resolved by its text alone:
//! every operation starts at the root's descriptor and refuses symbolic links on the way (`openat2` with
//! `RESOLVE_BENEATH`, or component by component where the kernel or a seccomp filter does not offer it). Whoever reads a
//! file sees the old bytes or the new ones: write a draft, sync it, rename it, sync the folder.

mod create;
mod effect;
mod error;
mod folder;
mod found;
mod journal;
mod private;
mod rewrite;
mod root;
mod stage;
mod state;
mod watch;
mod write;

pub use create::{create_read_only, create_readable, create_state};
pub use error::FilesError;
pub use found::{Found, FoundFile, Obstacle};
pub use journal::Journal;
pub use private::read_private;
pub use root::Root;
pub use stage::Staged;
pub use state::{StateFolder, read_state, rewrite, write_state};
pub use watch::Watch;
