//! What answers requests: a router, or something that knows by itself what is asked for.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::serve::held;

/// Answers the requests of every connection.
pub trait Service: Clone + Send + Sync + 'static {
    /// The answer to one request of that guest.
    fn answer(&self, request: Request<Incoming>, guest: Guest) -> impl Future<Output = Response> + Send;
}

/// Whose request it is.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The other side of the connection.
    pub from: SocketAddr,
    /// The connection's place.
    pub seat: Seat,
}

/// The place of a connection. Connections without a word to say are few, so whoever makes a request wait moves its
/// connection to a place of its own.
#[derive(Debug, Clone)]
pub struct Seat(Arc<Mutex<Place>>);

#[derive(Debug)]
struct Place {
    _permit: OwnedSemaphorePermit,
    has_moved: bool,
}

impl Seat {
    pub(crate) fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(Mutex::new(Place { _permit: permit, has_moved: false })))
    }

    /// Takes one of `places` until the connection ends, and gives the one before to others; `false` where none is free.
    #[must_use]
    pub fn move_to(&self, places: &Arc<Semaphore>) -> bool {
        let mut place = held(&self.0);
        if !place.has_moved {
            let Ok(permit) = Arc::clone(places).try_acquire_owned() else { return false };
            *place = Place { _permit: permit, has_moved: true };
        }
        true
    }
}

/// Its handlers can extract `ConnectInfo<SocketAddr>`.
impl Service for Router {
    async fn answer(&self, mut request: Request<Incoming>, guest: Guest) -> Response {
        request.extensions_mut().insert(ConnectInfo(guest.from));
        let Ok(answer): Result<Response, Infallible> = TowerToHyperService::new(self.clone()).call(request).await;
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_with_a_seat_elsewhere_makes_room_for_another() -> Result<(), Box<dyn std::error::Error>> {
        let (places, elsewhere) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(1)));
        let seat = Seat::new(Arc::clone(&places).acquire_owned().await?);
        assert_eq!(places.available_permits(), 0);
        assert!(seat.move_to(&elsewhere));
        assert_eq!((places.available_permits(), elsewhere.available_permits()), (1, 0));
        assert!(seat.move_to(&elsewhere), "it is there already");
        let other = Seat::new(Arc::clone(&places).acquire_owned().await?);
        assert!(!other.move_to(&elsewhere), "there is no room");
        assert_eq!(places.available_permits(), 0);
        drop(seat);
        assert!(other.move_to(&elsewhere));
        drop(other);
        assert_eq!((places.available_permits(), elsewhere.available_permits()), (1, 1));
        Ok(())
    }
}
