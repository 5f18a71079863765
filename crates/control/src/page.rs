//! Long lists, a page at a time.

use crate::ControlError;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sqlx::any::AnyRow;

/// Most items on a page, and what a page has when nobody asks. Lambda's lists answer at most 50 even to whoever asks
/// for more (ListFunctions in its API reference).
const PAGE_ITEMS_MAX: u32 = 50;

/// Which page.
#[derive(Clone, Debug, Default)]
pub struct PageRequest {
    /// [`Page::next`] of the page before; none for the first.
    pub marker: Option<String>,
    /// Fewer items than there could be.
    pub items_max: Option<u32>,
}

/// Some items, in order.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// At most as many as were asked for.
    pub items: Vec<T>,
    /// Names the next page; none on the last.
    pub next: Option<String>,
}

impl PageRequest {
    /// How many items to answer.
    pub(crate) fn limit(&self) -> usize {
        self.items_max.unwrap_or(PAGE_ITEMS_MAX).clamp(1, PAGE_ITEMS_MAX) as usize
    }

    /// The key after which the page begins.
    pub(crate) fn after(&self) -> Result<Option<String>, ControlError> {
        let Some(marker) = &self.marker else { return Ok(None) };
        let bytes = URL_SAFE_NO_PAD.decode(marker).ok();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        text.map(Some).ok_or_else(marker_invalid)
    }

    /// The same of lists that go by number.
    pub(crate) fn after_number(&self) -> Result<Option<u64>, ControlError> {
        let after = self.after()?.map(|key| key.parse());
        after.transpose().map_err(|_| marker_invalid())
    }

    /// One to fetch beyond the page, so as to know whether another follows.
    pub(crate) fn fetch_rows(&self) -> i64 {
        i64::try_from(self.limit() + 1).unwrap_or(i64::MAX)
    }

    /// A page of what [`Self::fetch_rows`] fetched.
    pub(crate) fn page<T>(&self, mut items: Vec<T>, key: impl Fn(&T) -> String) -> Page<T> {
        let more = items.len() > self.limit();
        items.truncate(self.limit());
        let next = items
            .last()
            .filter(|_| more)
            .map(|last| URL_SAFE_NO_PAD.encode(key(last)));
        Page { items, next }
    }

    /// The same of rows, each made into an item.
    pub(crate) fn page_of_rows<T>(
        &self,
        rows: &[AnyRow],
        read: impl Fn(&AnyRow) -> Result<T, ControlError>,
        key: impl Fn(&T) -> String,
    ) -> Result<Page<T>, ControlError> {
        let items = rows.iter().map(read).collect::<Result<_, _>>()?;
        Ok(self.page(items, key))
    }
}

/// A marker that no page gave.
pub(crate) fn marker_invalid() -> ControlError {
    ControlError::invalid("The provided marker is not valid.")
}
