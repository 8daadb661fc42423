//! Protobuf as bytes: walks the fields of a message and replaces some of them, so that everything else stays byte for
//! byte what it was, in its order, known or not. Decoding and encoding again would drop what a newer control plane says.
//!
//! It knows one thing about workload xDS: which member of an Address counts, and which of its fields hold waypoints.
//! What is put into them is [`crate::rewrite`]'s business.

use std::ops::Range;

/// Groups within groups, as deep as prost follows them.
const GROUP_DEPTH_MAX: usize = 100;

/// Bytes that are no protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {what}; ask who sent it")]
pub struct Malformed {
    /// Where, counted from 0 in the message concerned.
    pub at: usize,
    /// What is wrong there.
    pub what: Fault,
}

/// What is wrong with bytes that are no protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A value goes on behind the end.
    #[error("the message ends within a field")]
    Truncated,
    /// More than 64 bits.
    #[error("a variable-length number is longer than 64 bits")]
    Varint,
    /// Field number 0 or above 2^29-1, or an unknown wire type.
    #[error("no field has such a key")]
    Key,
    /// The end of a group that was not begun, or of another one.
    #[error("a group ends that did not begin")]
    Group,
    /// Groups within groups without end.
    #[error("more than {GROUP_DEPTH_MAX} groups within one another")]
    Depth,
    /// The member of the oneof is no message.
    #[error("a workload or service that is not a message")]
    Member,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireType {
    /// A number of variable length.
    Varint,
    /// 8 bytes.
    Fixed64,
    /// A length and as many bytes: strings, bytes, messages.
    Length,
    /// A group up to its end.
    Group,
    /// 4 bytes.
    Fixed32,
}

/// One field as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number.
    pub number: u32,
    /// How its value is written.
    pub wire_type: WireType,
    /// Key and value.
    pub bytes: &'a [u8],
    /// The value: the content without its length for [`WireType::Length`], all up to and with the end of a group.
    pub value: &'a [u8],
}

/// The fields of a message, in the order in which they are written. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    message: &'a [u8],
    at: usize,
}

/// What the low bits of a key say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyType {
    Value(WireType),
    EndGroup,
}

impl<'a> Fields<'a> {
    /// The fields of this message.
    pub fn of(message: &'a [u8]) -> Self {
        Self { message, at: 0 }
    }

    fn next_field(&mut self) -> Result<Field<'a>, Malformed> {
        let start = self.at;
        let (number, key_type) = self.key()?;
        let KeyType::Value(wire_type) = key_type else {
            return Err(Malformed { at: start, what: Fault::Group });
        };
        let value = match wire_type {
            WireType::Group => self.group(number)?,
            plain => self.plain(plain)?,
        };
        let bytes = |range: Range<usize>| self.message.get(range).unwrap_or_default();
        Ok(Field { number, wire_type, bytes: bytes(start..self.at), value: bytes(value) })
    }

    /// Skips a value that is no group; where it is.
    fn plain(&mut self, wire_type: WireType) -> Result<Range<usize>, Malformed> {
        let start = self.at;
        let length = match wire_type {
            WireType::Varint => {
                self.varint()?;
                return Ok(start..self.at);
            }
            WireType::Fixed64 => 8,
            WireType::Fixed32 => 4,
            WireType::Length | WireType::Group => self.varint()?,
        };
        let rest = self.message.len() - self.at;
        let length = usize::try_from(length).ok().filter(|length| *length <= rest);
        let length = length.ok_or(Malformed { at: start, what: Fault::Truncated })?;
        let content = self.at;
        self.at += length;
        Ok(content..self.at)
    }

    /// Skips a group of which the key was read. A list instead of recursion: who sends it must not choose our stack.
    fn group(&mut self, number: u32) -> Result<Range<usize>, Malformed> {
        let start = self.at;
        let mut open = vec![number];
        while let Some(innermost) = open.last().copied() {
            let at = self.at;
            match self.key()? {
                (number, KeyType::EndGroup) if number == innermost => drop(open.pop()),
                (_, KeyType::EndGroup) => return Err(Malformed { at, what: Fault::Group }),
                (_, KeyType::Value(WireType::Group)) if open.len() == GROUP_DEPTH_MAX => {
                    return Err(Malformed { at, what: Fault::Depth });
                }
                (number, KeyType::Value(WireType::Group)) => open.push(number),
                (_, KeyType::Value(plain)) => {
                    self.plain(plain)?;
                }
            }
        }
        Ok(start..self.at)
    }

    fn key(&mut self) -> Result<(u32, KeyType), Malformed> {
        let wrong = Malformed { at: self.at, what: Fault::Key };
        let key = u32::try_from(self.varint()?).map_err(|_| wrong)?;
        let key_type = match key & 7 {
            0 => KeyType::Value(WireType::Varint),
            1 => KeyType::Value(WireType::Fixed64),
            2 => KeyType::Value(WireType::Length),
            3 => KeyType::Value(WireType::Group),
            4 => KeyType::EndGroup,
            5 => KeyType::Value(WireType::Fixed32),
            _ => return Err(wrong),
        };
        let number = key >> 3;
        if number == 0 { Err(wrong) } else { Ok((number, key_type)) }
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let start = self.at;
        let mut value = 0;
        for (at, byte) in self.message.get(start..).unwrap_or_default().iter().take(10).enumerate() {
            // The tenth byte has room for one bit.
            if at == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 {
                self.at = start + at + 1;
                return Ok(value);
            }
        }
        let what = if self.message.len() - start < 10 { Fault::Truncated } else { Fault::Varint };
        Err(Malformed { at: start, what })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.message.len() {
            return None;
        }
        let field = self.next_field();
        if field.is_err() {
            self.at = self.message.len();
        }
        Some(field)
    }
}

/// What an Address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// A workload, field 1.
    Workload,
    /// A service, field 2.
    Service,
}

impl Member {
    fn of_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Workload),
            2 => Some(Self::Service),
            _ => None,
        }
    }

    /// The fields of this member that say through which waypoints it is reached. A service has two that belong together:
    /// 13 (`weighted_waypoints`) wins over 7 (`waypoint`).
    pub fn waypoint_fields(self) -> &'static [u32] {
        match self {
            Self::Workload => &[8],
            Self::Service => &[7, 13],
        }
    }

    fn holds_waypoints(self, field: &Field<'_>) -> bool {
        self.waypoint_fields().contains(&field.number)
    }
}

/// An encoded Address, walked once.
///
/// What a reader sees of it follows from how protobuf merges: of the members of a oneof the last one written counts; written
/// several times without the other between them, its contents are merged as if they stood one after the other.
#[derive(Debug)]
pub struct AddressFields<'a> {
    fields: Vec<Field<'a>>,
    member: Option<Member>,
    /// The first field of the run that counts; what stands before it no reader sees.
    counts_from: usize,
}

impl<'a> AddressFields<'a> {
    /// Walks an Address.
    ///
    /// # Errors
    /// When it is no protobuf message, or a member is not written as a message.
    pub fn of(address: &'a [u8]) -> Result<Self, Malformed> {
        let mut walked = Self { fields: Vec::with_capacity(1), member: None, counts_from: 0 };
        let mut at = 0;
        for field in Fields::of(address) {
            let field = field?;
            if let Some(member) = Member::of_number(field.number) {
                if field.wire_type != WireType::Length {
                    return Err(Malformed { at, what: Fault::Member });
                }
                if walked.member.replace(member) != Some(member) {
                    walked.counts_from = walked.fields.len();
                }
            }
            at += field.bytes.len();
            walked.fields.push(field);
        }
        Ok(walked)
    }

    /// What it is; none for what a newer control plane may have invented.
    pub fn member(&self) -> Option<Member> {
        self.member
    }

    /// The fields that say through which waypoints it is reached, one behind the other, as they are written.
    ///
    /// # Errors
    /// When the member is no protobuf message.
    pub fn waypoints(&self) -> Result<Vec<u8>, Malformed> {
        let mut found = Vec::new();
        let Some(member) = self.member else { return Ok(found) };
        for part in self.fields.iter().enumerate().filter_map(|(at, field)| self.counts(at, field)) {
            for field in Fields::of(part.value) {
                let field = field?;
                if member.holds_waypoints(&field) {
                    found.extend_from_slice(field.bytes);
                }
            }
        }
        Ok(found)
    }

    /// The Address with `waypoints`, encoded fields of the member, in the place of those it has. They stand at the end of the
    /// member; everything else is as it was, but for the lengths of what became longer or shorter. The Address itself
    /// where it has no member.
    ///
    /// # Errors
    /// When the member is no protobuf message.
    pub fn with_waypoints(&self, waypoints: &[u8]) -> Result<Vec<u8>, Malformed> {
        let counting = |(at, field)| self.counts(at, field).map(|_| at);
        let last = self.fields.iter().enumerate().filter_map(counting).next_back();
        let size: usize = self.fields.iter().map(|field| field.bytes.len()).sum();
        // A length takes at most ten bytes.
        let mut address = Vec::with_capacity(size + waypoints.len() + 10);
        for (at, field) in self.fields.iter().enumerate() {
            let (Some(member), Some(part)) = (self.member, self.counts(at, field)) else {
                address.extend_from_slice(field.bytes);
                continue;
            };
            let added = if Some(at) == last { waypoints } else { &[] };
            match edited(member, part, added)? {
                Some(content) => put_message(part.number, &content, &mut address),
                None => address.extend_from_slice(field.bytes),
            }
        }
        Ok(address)
    }

    /// The field, if it is a part of what a reader sees as the member.
    fn counts<'f>(&self, at: usize, field: &'f Field<'a>) -> Option<&'f Field<'a>> {
        (at >= self.counts_from && Member::of_number(field.number).is_some()).then_some(field)
    }
}

/// The content of a part without its waypoints and with those added; none where nothing changes.
fn edited(member: Member, part: &Field<'_>, added: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    let mut content = Vec::with_capacity(part.value.len() + added.len());
    for field in Fields::of(part.value) {
        let field = field?;
        if !member.holds_waypoints(&field) {
            content.extend_from_slice(field.bytes);
        }
    }
    let unchanged = added.is_empty() && content.len() == part.value.len();
    content.extend_from_slice(added);
    Ok((!unchanged).then_some(content))
}

/// Writes a message as field `number`.
fn put_message(number: u32, content: &[u8], to: &mut Vec<u8>) {
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, to);
    prost::encoding::encode_varint(content.len() as u64, to);
    to.extend_from_slice(content);
}

#[cfg(test)]
mod tests;
