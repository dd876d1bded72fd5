//! Who has used how much, in bounded memory.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::nanos::Nanos;
use governor::state::StateStore;

/// Pages that are locked one by one, so that threads seldom meet and no page takes long to grow.
const PAGES: usize = 64;

/// Remembers for each key until when it has used up its share, for at least [`Book::window`] or until too many others
/// have come. Whoever can come as more clients than the book holds is not held by any limit for one client; what bounds
/// such a flood is the bounds on the work itself.
pub(super) struct Book {
    pages: [Mutex<Page>; PAGES],
    window: Duration,
    page_size: usize,
}

/// Two generations: a key that is looked at moves to the younger one, and the elder is dropped as a whole.
struct Page {
    young: HashMap<u64, Nanos>,
    old: HashMap<u64, Nanos>,
    turned: Instant,
}

impl Book {
    /// Holds between `capacity` and twice as many keys, at 17 bytes and up to as much again for each. Every share is
    /// whole again after `window`, so that forgetting what is older changes nothing.
    pub(super) fn new(capacity: usize, window: Duration) -> Self {
        let page = || Mutex::new(Page { young: HashMap::new(), old: HashMap::new(), turned: Instant::now() });
        Self { pages: std::array::from_fn(|_| page()), window, page_size: (capacity / PAGES).max(1) }
    }

    /// Replaces what is known of `key` by what `change` makes of it.
    fn replace<T, E>(&self, key: u64, change: impl Fn(Option<Nanos>) -> Result<(T, Nanos), E>) -> Result<T, E> {
        let page = &self.pages[(key >> 58) as usize % PAGES];
        // Nothing in between two changes can panic.
        let mut page = page.lock().unwrap_or_else(PoisonError::into_inner);
        if page.young.len() >= self.page_size || page.turned.elapsed() > self.window {
            page.old = mem::take(&mut page.young);
            page.turned = Instant::now();
        }
        let known = page.young.get(&key).or_else(|| page.old.get(&key)).copied();
        let (outcome, next) = change(known)?;
        page.young.insert(key, next);
        Ok(outcome)
    }

    /// Takes `share` off what `key` has used.
    pub(super) fn give_back(&self, key: u64, share: Duration) {
        let _ = self.replace(key, |used| match used {
            Some(used) => Ok(((), used.saturating_sub(share.into()))),
            None => Err(()),
        });
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let count = |page: &Mutex<Page>| {
            let page = page.lock().unwrap();
            page.young.len() + page.old.len()
        };
        self.pages.iter().map(count).sum()
    }
}

/// A handle on a book.
#[derive(Clone)]
pub(super) struct Shelf(pub(super) Arc<Book>);

impl StateStore for Shelf {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, change: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.replace(*key, change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(3600);

    fn set(book: &Book, key: u64, to: u64) -> Option<Nanos> {
        book.replace(key, |known| Ok::<_, ()>((known, Nanos::new(to)))).unwrap()
    }

    /// A key on the first page.
    fn key(number: u64) -> u64 {
        number
    }

    #[test]
    fn what_was_written_is_read_also_after_a_page_was_turned() {
        let book = Book::new(64 * 4, WINDOW);
        assert_eq!(set(&book, key(0), 7), None);
        for other in 1..=4 {
            set(&book, key(other), 1);
        }
        assert_eq!(set(&book, key(0), 8), Some(Nanos::new(7)), "it was on the older page");
        for other in 5..=7 {
            set(&book, key(other), 1);
        }
        assert_eq!(set(&book, key(0), 9), Some(Nanos::new(8)), "looking at it kept it");
    }

    #[test]
    fn what_was_refused_changes_nothing() {
        let book = Book::new(64, WINDOW);
        set(&book, key(0), 7);
        assert_eq!(book.replace(key(0), |_| Err::<((), Nanos), _>("no")), Err("no"));
        assert_eq!(set(&book, key(0), 7), Some(Nanos::new(7)));
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let book = Book::new(64 * 4, Duration::ZERO);
        set(&book, key(0), 7);
        set(&book, key(1), 7);
        set(&book, key(1), 7);
        assert_eq!(set(&book, key(0), 7), None);
    }

    #[test]
    fn it_never_holds_more_than_two_generations() {
        let book = Book::new(64 * 100, WINDOW);
        for number in 0..100_000_u64 {
            // Spread over the pages, as hashes are.
            set(&book, number.wrapping_mul(0x9e37_79b9_7f4a_7c15), number);
        }
        assert!((64 * 100..=2 * 64 * 100).contains(&book.len()), "{}", book.len());
    }

    #[test]
    fn giving_back_takes_off_and_never_below_nothing() {
        let book = Book::new(64, WINDOW);
        book.give_back(key(0), Duration::from_nanos(5));
        assert_eq!(set(&book, key(0), 7), None);
        book.give_back(key(0), Duration::from_nanos(5));
        assert_eq!(set(&book, key(0), 2), Some(Nanos::new(2)));
        book.give_back(key(0), Duration::from_nanos(5));
        assert_eq!(set(&book, key(0), 0), Some(Nanos::new(0)));
    }
}
