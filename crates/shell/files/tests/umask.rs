//! What holds whatever umask the process has; alone in its process, which has only one.

#![allow(clippy::disallowed_methods, reason = "a test plays the other processes of the machine")]

use std::error::Error;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use pconf_files::Root;
use rustix::fs::Mode;

#[test]
fn the_folders_on_the_way_to_a_root_are_open_to_all_and_those_that_were_there_stay_as_they_are()
-> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o700))?;
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    Root::create(&folder.path().join("var/pryv"))?;
    let mut modes = Vec::new();
    for place in ["", "var", "var/pryv"] {
        modes.push(std::fs::metadata(folder.path().join(place))?.permissions().mode() & 0o7777);
    }
    assert_eq!(modes, [0o700, 0o755, 0o755]);
    Ok(())
}
