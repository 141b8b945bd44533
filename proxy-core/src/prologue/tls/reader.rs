//! Fields with lengths, one after the other.

use super::Bad;

/// What is left to read of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Bad> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Bad::Form)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Bad> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, Bad> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A vector whose length stands before it in one byte.
    pub(super) fn vector8(&mut self) -> Result<&'a [u8], Bad> {
        let length = self.u8()?;
        self.take(length.into())
    }

    /// A vector whose length stands before it in two bytes.
    pub(super) fn vector16(&mut self) -> Result<&'a [u8], Bad> {
        let length = self.u16()?;
        self.take(length.into())
    }
}
