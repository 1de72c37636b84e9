//! What is read where damage is no reason to refuse.

use crate::Error;
use linkspan_ipam as ipam;
use linkspan_records as records;

/// What was read, or the damage that kept it from being read; any other refusal is passed on.
pub(crate) fn or_damage<T, E: Into<Error>>(read: Result<T, E>) -> Result<Result<T, records::Error>, Error> {
    match read.map_err(Into::into) {
        Ok(read) => Ok(Ok(read)),
        Err(Error::Records(damage) | Error::Address(ipam::Error::Book(damage))) if damage.is_damage() => {
            Ok(Err(damage))
        }
        Err(refused) => Err(refused),
    }
}

/// What was read; what is damaged is as good as not there.
pub(crate) fn undamaged<T, E: Into<Error>>(read: Result<Option<T>, E>) -> Result<Option<T>, Error> {
    Ok(or_damage(read)?.ok().flatten())
}
