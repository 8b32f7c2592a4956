//! How a file is treated on its way to a machine and there.

use serde::{Deserialize, Serialize};

/// How a file is treated on its way and on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Ordinary configuration.
    Config,
    /// Holds key material: its text is shown nowhere, in no diff and no log.
    Secret,
}
