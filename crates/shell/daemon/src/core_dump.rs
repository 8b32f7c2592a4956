//! No core dumps: the memory of both programs holds keys.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Sees to it that this process, and what it starts, leaves no core dump, neither in a file nor with a program of the
/// system (core(5)), and that no other process of the same user can look into it. A system that refuses it is left alone.
pub fn forbid_core_dumps() {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}
