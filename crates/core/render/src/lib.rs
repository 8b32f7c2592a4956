//! Templates and a context become the files of one machine.
//!
//! The same input gives the same bytes: no clock, no environment, no file and no random function exists in a template.
//! Every value passes through the encoder of the format that it lands in, so that a `"`, a `$` or a newline in a setting
//! arrives as it is or is refused by name; it is never mangled and never read as template syntax.

mod bounds;
mod common;
mod encode;
mod fault;
mod held;
mod load;
mod provenance;
mod render;
mod scene;
mod secrets;
mod set;
mod syntax;
mod wellformed;

pub use provenance::{Dependencies, FileOrigin, Kind, Lines, Piece, Place, Provenance, Reach, Step};
pub use render::{RenderedFile, RenderedMachine, Rendering};
pub use scene::{Scene, SceneMachine};
pub use secrets::{LiveSecret, SecretValue, SecretValues};
pub use set::TemplateSet;
