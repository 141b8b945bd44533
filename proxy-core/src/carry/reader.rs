//! Reading records, whatever is in them.

use std::net::SocketAddr;
use std::time::Instant;

use crate::carry::anchor::Anchor;
use crate::carry::error::Error;
use crate::carry::{
    COUNT_MAX, HEADER_BYTES, Kind, SKIPPED_FROM, TAGS_MAX, TEXT_BYTES_MAX, VERSION, VERSION_MIN,
};

/// The fields of a record, or of something in it. Each is taken once; then [`Fields::finish`] refuses what is left.
pub(crate) struct Fields<'a> {
    values: [Option<&'a [u8]>; TAGS_MAX as usize],
    anchor: Anchor,
}

impl<'a> Fields<'a> {
    /// Those of a record of `most` bytes at most, which is all of `bytes`.
    pub(crate) fn of_record(
        bytes: &'a [u8],
        kind: Kind,
        most: usize,
        anchor: Anchor,
    ) -> Result<Self, Error> {
        if bytes.len() > most {
            let bytes = bytes.len();
            return Err(Error::TooLong { bytes, most });
        }
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or(Error::Length)?;
        let version = u16::from_le_bytes([header[1], header[2]]);
        if !(VERSION_MIN..=VERSION).contains(&version) {
            return Err(Error::Version(version));
        }
        if header[0] != kind as u8 {
            let (got, wanted) = (header[0], kind as u8);
            return Err(Error::Kind { got, wanted });
        }
        match rest_of(&header[3..], rest)? {
            (fields, []) => Self::new(fields, anchor),
            _ => Err(Error::Length),
        }
    }

    fn new(mut bytes: &'a [u8], anchor: Anchor) -> Result<Self, Error> {
        let mut values = [None; TAGS_MAX as usize];
        while let Some((&tag, rest)) = bytes.split_first() {
            let (value, rest) = part(rest)?;
            let place = values.get_mut(usize::from(tag));
            let place = place.ok_or(Error::Unknown(tag))?;
            if place.replace(value).is_some() {
                return Err(Error::Twice(tag));
            }
            bytes = rest;
        }
        Ok(Self { values, anchor })
    }

    /// Bytes; none are none.
    pub(crate) fn bytes(&mut self, tag: u8, most: usize) -> Result<&'a [u8], Error> {
        let value = self.take(tag).unwrap_or_default();
        if value.len() > most {
            let bytes = value.len();
            return Err(Error::TooLong { bytes, most });
        }
        Ok(value)
    }

    /// A text, which may be empty.
    pub(crate) fn text(&mut self, tag: u8, what: &'static str) -> Result<&'a str, Error> {
        let bytes = self.bytes(tag, TEXT_BYTES_MAX)?;
        std::str::from_utf8(bytes).map_err(|_| Error::Bad(what))
    }

    /// A text that must be there.
    pub(crate) fn name(&mut self, tag: u8, what: &'static str) -> Result<&'a str, Error> {
        let text = self.text(tag, what)?;
        if text.is_empty() {
            Err(Error::Lacks(what))
        } else {
            Ok(text)
        }
    }

    /// What a text stands for; none where it is empty.
    pub(crate) fn parsed<T>(
        &mut self,
        tag: u8,
        what: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        match self.text(tag, what)? {
            "" => Ok(None),
            text => parse(text).map(Some).ok_or(Error::Bad(what)),
        }
    }

    pub(crate) fn address(
        &mut self,
        tag: u8,
        what: &'static str,
    ) -> Result<Option<SocketAddr>, Error> {
        self.parsed(tag, what, |text| text.parse().ok())
    }

    /// A number, zero where there is none, `most` at most.
    pub(crate) fn number(&mut self, tag: u8, most: u64, what: &'static str) -> Result<u64, Error> {
        let number = self.maybe_number(tag, what)?.unwrap_or(0);
        if number > most {
            return Err(Error::Bad(what));
        }
        Ok(number)
    }

    /// A count, which others can be added to.
    pub(crate) fn count(&mut self, tag: u8, what: &'static str) -> Result<u64, Error> {
        self.number(tag, COUNT_MAX, what)
    }

    pub(crate) fn maybe_number(
        &mut self,
        tag: u8,
        what: &'static str,
    ) -> Result<Option<u64>, Error> {
        let Some(value) = self.take(tag) else {
            return Ok(None);
        };
        // Only what the writer writes: no zeros at the end.
        if value.len() > 8 || value.last() == Some(&0) {
            return Err(Error::Bad(what));
        }
        let mut bytes = [0; 8];
        bytes[..value.len()].copy_from_slice(value);
        Ok(Some(u64::from_le_bytes(bytes)))
    }

    pub(crate) fn flag(&mut self, tag: u8) -> Result<bool, Error> {
        match self.take(tag) {
            None => Ok(false),
            Some([]) => Ok(true),
            Some(_) => Err(Error::Bad("a flag")),
        }
    }

    pub(crate) fn moment(&mut self, tag: u8, what: &'static str) -> Result<Instant, Error> {
        self.maybe_moment(tag, what)?.ok_or(Error::Lacks(what))
    }

    pub(crate) fn maybe_moment(
        &mut self,
        tag: u8,
        what: &'static str,
    ) -> Result<Option<Instant>, Error> {
        let nanos = self.maybe_number(tag, what)?;
        let moment = |nanos: u64| self.anchor.moment(nanos.cast_signed());
        nanos
            .map(|nanos| moment(nanos).ok_or(Error::Bad(what)))
            .transpose()
    }

    /// Something with fields of its own.
    pub(crate) fn nested(&mut self, tag: u8) -> Result<Option<Self>, Error> {
        let anchor = self.anchor;
        self.take(tag)
            .map(|bytes| Self::new(bytes, anchor))
            .transpose()
    }

    /// Several things of a kind, `most` at most.
    pub(crate) fn each(
        &mut self,
        tag: u8,
        most: usize,
        what: &'static str,
        mut read: impl FnMut(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut bytes = self.take(tag).unwrap_or_default();
        let mut count = 0;
        while !bytes.is_empty() {
            if count == most {
                return Err(Error::Bad(what));
            }
            count += 1;
            let (one, rest) = part(bytes)?;
            let mut fields = Self::new(one, self.anchor)?;
            read(&mut fields)?;
            fields.finish()?;
            bytes = rest;
        }
        Ok(())
    }

    /// Refuses what is not known and must not be skipped.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        let mut left = (0..SKIPPED_FROM).zip(&self.values);
        let unknown = left.find(|(_, value)| value.is_some());
        unknown.map_or(Ok(()), |(tag, _)| Err(Error::Unknown(tag)))
    }

    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.values[usize::from(tag)].take()
    }
}

/// What has its length before it, and the rest.
fn part(bytes: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let (length, rest) = bytes.split_at_checked(4).ok_or(Error::Length)?;
    rest_of(length, rest)
}

fn rest_of<'a>(length: &[u8], rest: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Error> {
    let length: [u8; 4] = length.try_into().map_err(|_| Error::Length)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    rest.split_at_checked(length).ok_or(Error::Length)
}
