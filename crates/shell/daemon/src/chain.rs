//! The one function that prints an error with all that lies behind it.

use std::error::Error;
use std::fmt;

/// An error and its sources on one line: what we were doing, then why it failed.
///
/// Our errors never repeat their source; this is where the two come together.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'error>(pub &'error dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write `core.json`")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_chain_says_what_then_why() {
        let error = Outer(std::io::Error::other("the disk is on fire"));
        assert_eq!(Chain(&error).to_string(), "cannot write `core.json`: the disk is on fire");
    }
}
