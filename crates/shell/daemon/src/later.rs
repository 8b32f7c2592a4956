//! Answers that come later. While somebody waits for one, its connection is a socket and a wait and no more: the buffers of HTTP,
//! most of what a connection takes, are given back and taken anew for the answer.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;

/// An answer on its way.
pub(crate) type Coming = Pin<Box<dyn Future<Output = Response> + Send>>;

/// The word that the answer comes later, in the extensions of a response that stands in its place.
#[derive(Clone)]
pub struct Later(Arc<Mutex<Option<Coming>>>);

impl Later {
    /// What a handler answers that will answer later. [`serve`](crate::serve) alone understands it.
    pub fn answer(coming: impl Future<Output = Response> + Send + 'static) -> Response {
        let mut in_its_place = Response::new(Body::empty());
        *in_its_place.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        in_its_place.extensions_mut().insert(Self(Arc::new(Mutex::new(Some(Box::pin(coming))))));
        in_its_place
    }

    /// Looks at an answer as it goes out, now or later.
    pub fn inspect(mut answer: Response, look: impl FnOnce(&Response) + Send + 'static) -> Response {
        match Self::take(&mut answer) {
            None => {
                look(&answer);
                answer
            }
            Some(coming) => Self::answer(async move {
                let answer = coming.await;
                look(&answer);
                answer
            }),
        }
    }

    /// What is on its way instead of this response, if anything is.
    pub(crate) fn take(response: &mut Response) -> Option<Coming> {
        let Self(coming) = response.extensions_mut().remove()?;
        coming.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Later")
    }
}
