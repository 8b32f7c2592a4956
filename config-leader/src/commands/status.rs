//! `status`: what the running leader of this folder heard of every machine.

mod table;

use serde_json::Value;

use crate::terminal::Said;

/// The status that the leader holds, as it is told.
pub(crate) fn said(status: Value) -> Said {
    Said { text: table::table(&status), json: status }
}
