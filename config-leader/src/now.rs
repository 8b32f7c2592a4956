//! This moment, as it is written down for people.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// RFC 3339, to the second.
pub(crate) fn to_the_second() -> String {
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    now.format(&Rfc3339).unwrap_or_default()
}
