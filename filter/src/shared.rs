//! Memory that the workers of one process share.
//!
//! Envoy offers it to Wasm as a map from names to byte strings with compare-and-swap ("shared data"). It can neither
//! delete nor list, so names must come from a fixed set: never one per client.

/// Shared data as the core sees it; the shim implements it by host calls, tests by [`InMemory`].
pub trait SharedData {
    /// The value under `name` and the number to hand to [`SharedData::set`]; `None` if nothing was ever stored there.
    fn get(&mut self, name: &str) -> Option<(Vec<u8>, Version)>;

    /// Stores `value` if nothing has been stored since `version` was read; with `None` if nothing ever was.
    ///
    /// # Errors
    /// [`Conflict`] if another worker was faster: read again.
    fn set(&mut self, name: &str, value: &[u8], version: Option<Version>) -> Result<(), Conflict>;
}

/// Which state of a value was read (the `cas` number of the proxy-wasm ABI).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u32);

/// Another worker stored a value in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict;

/// Shared data within this process alone, with the host's rules: for tests and simulations.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Clone, Debug, Default)]
pub struct InMemory {
    values: std::sync::Arc<std::sync::Mutex<Values>>,
}

#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug, Default)]
struct Values {
    by_name: std::collections::BTreeMap<String, (Vec<u8>, u32)>,
    last_version: u32,
}

#[cfg(not(target_arch = "wasm32"))]
impl InMemory {
    /// How many names hold a value.
    #[must_use]
    pub fn names_count(&self) -> usize {
        self.locked().by_name.len()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Values> {
        self.values.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl SharedData for InMemory {
    fn get(&mut self, name: &str) -> Option<(Vec<u8>, Version)> {
        let values = self.locked();
        values.by_name.get(name).map(|(value, version)| (value.clone(), Version(*version)))
    }

    fn set(&mut self, name: &str, value: &[u8], version: Option<Version>) -> Result<(), Conflict> {
        let mut values = self.locked();
        let stored = values.by_name.get(name).map(|(_, version)| Version(*version));
        if version != stored {
            return Err(Conflict);
        }
        values.last_version += 1;
        let entry = (value.to_vec(), values.last_version);
        values.by_name.insert(name.to_owned(), entry);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_changed_in_between_is_a_conflict() {
        let mut data = InMemory::default();
        assert_eq!(data.get("a"), None);
        assert_eq!(data.set("a", b"1", None), Ok(()));
        let (value, version) = data.get("a").unwrap();
        assert_eq!(value, b"1");
        assert_eq!(data.set("a", b"2", Some(version)), Ok(()));
        assert_eq!(data.set("a", b"3", Some(version)), Err(Conflict));
        assert_eq!(data.get("a").unwrap().0, b"2");
    }

    #[test]
    fn of_two_that_found_nothing_one_stores() {
        let mut data = InMemory::default();
        assert_eq!(data.set("a", b"1", None), Ok(()));
        assert_eq!(data.set("a", b"2", None), Err(Conflict));
        assert_eq!(data.get("a").unwrap().0, b"1");
    }
}
