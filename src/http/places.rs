//! Places for connections: so many in all, so many from one address.
//!
//! One caller who opens every connection there is would shut everybody else out; with a share of its
//! own it shuts out itself.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Live;

/// Who has a place.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: Mutex<Taken>,
    /// Rings when one is given back. Only the listener waits for it.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Of those that are counted by address; an address without any is not here, which bounds it.
    by_caller: HashMap<IpAddr, usize>,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    caller: Option<IpAddr>,
}

impl Places {
    /// Waits until there are fewer connections than `most`.
    pub(super) async fn below(&self, most: usize) {
        while self.lock().all >= most {
            self.freed.notified().await;
        }
    }

    /// A place for this caller, unless it has its share.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr, live: &Live) -> Option<Place> {
        let address = address.to_canonical();
        let most = live.max_connections_per_address;
        let counted = most > 0 && (live.count_loopback || !address.is_loopback());
        let caller = counted.then(|| network(address));
        let mut taken = self.lock();
        if let Some(caller) = caller {
            let count = taken.by_caller.entry(caller).or_default();
            if *count >= most {
                return None;
            }
            *count += 1;
        }
        taken.all += 1;
        drop(taken);
        Some(Place {
            places: self.clone(),
            caller,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all -= 1;
        if let Some(caller) = self.caller
            && let Some(count) = taken.by_caller.get_mut(&caller)
        {
            *count -= 1;
            if *count == 0 {
                taken.by_caller.remove(&caller);
            }
        }
        drop(taken);
        self.places.freed.notify_one();
    }
}

/// An IPv6 caller has a whole /64 to call from.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn live(most: usize) -> Live {
        Live {
            max_connections_per_address: most,
            ..Live::default()
        }
    }

    #[test]
    fn one_network_has_its_share_and_gets_it_back() {
        let places = Arc::new(Places::default());
        let take = |address: &str| places.take(address.parse().unwrap(), &live(2));
        let first = take("2001:db8::1").unwrap();
        let _second = take("2001:db8::2").unwrap();
        assert!(take("2001:db8::3").is_none());
        assert!(take("2001:db8:0:1::1").is_some(), "another /64");
        drop(first);
        let _third = take("2001:db8::3").unwrap();
        assert!(take("192.0.2.1").is_some());
        assert_eq!(places.lock().by_caller.len(), 1, "who left is forgotten");
        assert_eq!(places.lock().all, 2);
    }

    #[test]
    fn an_ipv4_caller_is_the_same_in_either_writing() {
        let places = Arc::new(Places::default());
        let take = |address: &str| places.take(address.parse().unwrap(), &live(1));
        let _held = take("192.0.2.1").unwrap();
        assert!(take("::ffff:192.0.2.1").is_none());
    }

    #[test]
    fn a_proxy_on_this_machine_and_no_limit_are_not_counted() {
        let places = Arc::new(Places::default());
        let mut held = Vec::new();
        for (address, most) in [("127.0.0.1", 1), ("::1", 1), ("192.0.2.1", 0)] {
            for _ in 0..3 {
                held.push(places.take(address.parse().unwrap(), &live(most)).unwrap());
            }
        }
        assert_eq!(places.lock().all, 9);
    }

    #[tokio::test]
    async fn a_place_that_is_given_back_wakes_who_waits() {
        let places = Arc::new(Places::default());
        let held = places.take("127.0.0.1".parse().unwrap(), &live(0));
        let waiting = tokio::spawn({
            let places = places.clone();
            async move { places.below(1).await }
        });
        tokio::task::yield_now().await;
        drop(held);
        waiting.await.unwrap();
    }
}
