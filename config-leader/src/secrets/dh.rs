//! The finite-field groups of RFC 7919, appendix A. Everybody may have the same ones: nothing in them is secret, and a group
//! that was made for one platform alone would only be harder to check.

use pconf_platform::DhGroup;

/// The parameters of a group, PEM.
pub(super) fn parameters(group: DhGroup) -> &'static str {
    match group {
        DhGroup::Ffdhe2048 => include_str!("ffdhe2048.pem"),
        DhGroup::Ffdhe3072 => include_str!("ffdhe3072.pem"),
        DhGroup::Ffdhe4096 => include_str!("ffdhe4096.pem"),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// A number without sign, 32 bits per digit, the lowest first.
    type Number = Vec<u32>;

    fn add(number: &mut Number, other: &[u32]) {
        let mut carry = 0;
        for (at, digit) in number.iter_mut().enumerate() {
            let sum = u64::from(*digit) + u64::from(other.get(at).copied().unwrap_or_default()) + carry;
            (*digit, carry) = (low(sum), sum >> 32);
        }
    }

    fn divide(number: &mut Number, by: u32) {
        let mut rest = 0;
        for digit in number.iter_mut().rev() {
            let part = (rest << 32) | u64::from(*digit);
            (*digit, rest) = (low(part / u64::from(by)), part % u64::from(by));
        }
    }

    fn shift(number: &Number, bits: usize, digits: usize) -> Number {
        let bit = |at: usize| number.get(at / 32).is_some_and(|digit| digit >> (at % 32) & 1 == 1);
        let mut shifted = vec![0; digits];
        for at in (0..digits * 32).filter(|at| bit(at + bits)) {
            shifted[at / 32] |= 1 << (at % 32);
        }
        shifted
    }

    fn low(number: u64) -> u32 {
        u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default()
    }

    /// RFC 7919: p = 2^b - 2^(b-64) + (floor(2^(b-130) * e) + X) * 2^64 - 1
    fn prime(bits: usize, x: u32) -> Number {
        const GUARD: usize = 64;
        let digits = bits / 32;
        // e = 1/0! + 1/1! + 1/2! + …, in fixed point with bits to spare.
        let mut term = vec![0; digits + 4];
        let places = bits - 130 + GUARD;
        term[places / 32] = 1 << (places % 32);
        let mut e = vec![0; digits + 4];
        for n in 1.. {
            add(&mut e, &term);
            divide(&mut term, n);
            if term.iter().all(|digit| *digit == 0) {
                break;
            }
        }
        let mut middle = shift(&e, GUARD, digits);
        add(&mut middle, &[x]);
        let mut p = vec![0, 0];
        p.extend(&middle[..digits - 2]);
        // 2^b - 2^(b-64), then -1 modulo 2^b.
        add(&mut p, &[vec![0; digits - 2], vec![u32::MAX; 2]].concat());
        add(&mut p, &vec![u32::MAX; digits]);
        p
    }

    #[test]
    fn the_groups_are_those_of_the_rfc() -> anyhow::Result<()> {
        let groups = [(DhGroup::Ffdhe2048, 2048), (DhGroup::Ffdhe3072, 3072), (DhGroup::Ffdhe4096, 4096)];
        for ((group, bits), x) in groups.into_iter().zip([560_316, 2_625_351, 5_736_041]) {
            let body: String = parameters(group).lines().filter(|line| !line.starts_with("-----")).collect();
            let der = STANDARD.decode(body)?;
            // SEQUENCE { INTEGER p, INTEGER 2 }: four bytes of header each for the first two, and a zero before p.
            let p: Vec<u8> = prime(bits, x).iter().rev().flat_map(|digit| digit.to_be_bytes()).collect();
            assert_eq!(der[9..9 + bits / 8], p, "{bits}");
            assert_eq!(der[9 + bits / 8..], [2, 1, 2]);
        }
        Ok(())
    }
}
