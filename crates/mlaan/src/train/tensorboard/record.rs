//! The framing of TensorFlow's records: length, its checksum, data, its checksum; all little-endian.

use crc::{CRC_32_ISCSI, Crc, Table};
use std::io::{Result, Write};

const CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// Writes `data` as one record.
///
/// # Errors
/// What `out` says.
pub fn write(out: &mut dyn Write, data: &[u8]) -> Result<()> {
    let length = (data.len() as u64).to_le_bytes();
    out.write_all(&length)?;
    out.write_all(&masked(&length).to_le_bytes())?;
    out.write_all(data)?;
    out.write_all(&masked(data).to_le_bytes())
}

/// CRC-32C, turned and moved, so that checksums of data that holds checksums stay good ones.
fn masked(data: &[u8]) -> u32 {
    CRC.checksum(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_castagnolis() {
        // RFC 3720, B.4.
        assert_eq!(CRC.checksum(&[0; 32]), 0x8a91_36aa);
        assert_eq!(CRC.checksum(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(CRC.checksum(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_record_is_framed_as_in_files_of_tensorflow() {
        // How every event file of TensorFlow with a first event of 24 bytes begins.
        let mut record = Vec::new();
        write(&mut record, &[7; 24]).unwrap();
        assert_eq!(record[..12], [24, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22]);
        assert_eq!((record[12..36].to_vec(), record.len()), (vec![7; 24], 40));
        assert_eq!(record[36..], masked(&[7; 24]).to_le_bytes());
    }
}
