//! Feature `serde`: each word is stored as the text that it is parsed from, indexes and sizes as numbers.

use crate::{IfIndex, IfName, Mac, Mtu, Port, Protocol};
use serde::de::{Deserialize, Deserializer, Error, Unexpected};
use serde::ser::{Serialize, Serializer};

macro_rules! as_text {
    ($($word:ty),*) => {$(
        impl Serialize for $word {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $word {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

macro_rules! as_number {
    ($($word:ty: $number:ty, $expected:literal);*) => {$(
        impl Serialize for $word {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.get().serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $word {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = <$number>::deserialize(deserializer)?;
                Self::new(number)
                    .ok_or_else(|| D::Error::invalid_value(Unexpected::Unsigned(number.into()), &$expected))
            }
        }
    )*};
}

as_text!(IfName, Mac, Protocol);
as_number!(
    IfIndex: u32, "the index of a link, 1 to 2147483647";
    Mtu: u32, "an MTU, 68 to 65535";
    Port: u16, "a port, 1 to 65535"
);

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::DeserializeOwned;

    fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(json: &str, expected: Option<T>) {
        assert_eq!(serde_json::from_str::<T>(json).ok(), expected, "{json}");
        if let Some(value) = expected {
            assert_eq!(serde_json::to_string(&value).unwrap(), json);
        }
    }

    #[test]
    fn words_are_stored_as_they_are_read_and_nothing_else_is_taken() {
        check("\"eth0\"", Some("eth0".parse::<IfName>().unwrap()));
        check("\"02:42:ac:11:00:02\"", Some("02:42:ac:11:00:02".parse::<Mac>().unwrap()));
        check("\"udp\"", Some(Protocol::Udp));
        check("80", Some(Port::new(80).unwrap()));
        check("1500", Some(Mtu::ETHERNET));
        check("1", Some(IfIndex::LOOPBACK));
        check::<Port>("0", None);
        check::<Mtu>("1", None);
        check::<IfIndex>("4294967295", None);
        check::<IfName>("\"a b\"", None);
        check::<Protocol>("6", None);
    }
}
