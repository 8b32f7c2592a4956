//! `platform.json` as written, then as usable; and the manifests of a template set.
//!
//! Everything here is text in, values or problems out. A [`PlatformFile`] mirrors the text and judges only its syntax; a
//! [`Platform`] exists only when every reference resolved, every value satisfies the set's [`Schema`] and every machine
//! has a role of the set. What is wrong comes back all at once, as [`Problem`]s that know their place and the way out.

mod describe;
mod document;
mod edit;
mod file;
mod fill;
mod follows;
mod json_text;
mod judge;
mod known;
mod machines;
mod manifest;
mod manual;
mod platform;
mod pointer;
mod problem;
mod references;
mod role;
mod rollout;
mod schema;
mod secrets;
mod services;
mod show;
mod suggest;
mod syntax;

pub use document::document;
pub use edit::{EditError, add_machine, remove_machine};
pub use file::PlatformFile;
pub use known::{Unknown, dotted};
pub use platform::{Machine, Platform};
pub use problem::{Problem, Related, Sources};
pub use role::{Attributes, Count, ManagedDirectory, RoleManifest};
pub use rollout::{Amount, OnFailure, Pace, Policy, Publish};
pub use schema::Schema;
pub use secrets::{
    DhGroup, InvalidSecretId, InvalidSecretName, Rotation, Secret, SecretId, SecretKind, SecretName, SecretOwner,
    SecretScope, SecretsManifest,
};
pub use show::{position, render_text, to_json};
