//! HTTP that is signed both ways.
//!
//! [`Client`] asks: it signs, sends, and hands back only answers that were signed for exactly that question. [`Receiver`]
//! answers: it hands on only verified requests and signs whatever is answered to them. What is signed and in which order
//! it is checked is decided in `pconf_bundle::signature`; here are the sockets, the clock and the randomness.

mod ahead;
mod client;
mod clock;
mod failures;
mod payload;
mod pinned;
mod random;
mod receiver;
mod refusal;
mod transport;

pub use ahead::{Ahead, AheadError};
pub use client::{Answer, CallError, Client, Peer};
pub use clock::Clock;
pub use failures::{Failures, Verdict};
pub use payload::{Answering, Payload, Reply, reply};
pub use random::{RandomnessError, enrolment_key, random, seal_nonce};
pub use receiver::{Peers, Received, Receiver};
pub use transport::{Timeouts, Trust, TrustError};
