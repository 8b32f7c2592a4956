//! A loopback network for one test: 253 addresses that nobody else uses, so that ports may be fixed.

use std::net::Ipv4Addr;
use std::process;
use std::sync::atomic::{AtomicU8, Ordering};

/// `127.a.b.0/24` of this process, or one further on when a process asks for several.
#[derive(Debug, Clone, Copy)]
pub struct Loopback {
    a: u8,
    b: u8,
}

/// Networks given out by this process.
static GIVEN: AtomicU8 = AtomicU8::new(0);

impl Loopback {
    /// A network that no live test has: which one follows from the process id, which no live process shares.
    #[must_use]
    pub fn fresh() -> Self {
        let [.., high, low] = process::id().to_be_bytes();
        // Four networks per process at most; 127.0.x.x stays with the host.
        let a = 128 | (high & 0x1f) << 2 | (GIVEN.fetch_add(1, Ordering::Relaxed) & 3);
        Self { a, b: low }
    }

    /// The address of one machine on it.
    #[must_use]
    pub fn address(self, machine: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.a, self.b, machine)
    }
}
