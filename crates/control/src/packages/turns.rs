//! One at a time for each name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::OwnedMutexGuard;

/// Who prepares what. The second who asks for a name waits for the first and then looks again; a failure is not shared.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Those that nobody holds or waits for are swept out by the next caller, so there are as many as callers.
    names: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

impl Turns {
    /// Waits for one's turn; it ends when the guard is dropped.
    pub(super) async fn take(&self, name: String) -> OwnedMutexGuard<()> {
        self.of(name).lock_owned().await
    }

    fn of(&self, name: String) -> Arc<tokio::sync::Mutex<()>> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = names.get(&name).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        names.insert(name, Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_same_name_waits_and_another_does_not() {
        let turns = Turns::default();
        let first = turns.take("a".to_owned()).await;
        let _other = turns.take("b".to_owned()).await;
        let second = turns.of("a".to_owned());
        assert!(second.try_lock().is_err());
        drop(first);
        assert!(second.try_lock().is_ok());
        drop(second);
        assert!(turns.of("c".to_owned()).try_lock().is_ok());
        assert_eq!(
            turns.names.lock().unwrap().len(),
            2,
            "b is held, c was just made, a is gone"
        );
    }
}
