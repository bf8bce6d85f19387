//! Computes: `kernels sha|matrix|sort|copy ROUNDS`, and prints a checksum, so that nothing is optimized away.
//!
//! Four kinds of work: arithmetic in registers (`sha`), floating point over memory (`matrix`), branches and calls (`sort`),
//! and bulk operations (`copy`).

use std::env;
use std::hint::black_box;
use std::process::ExitCode;

use guest::process;

const USAGE: &str = "sha|matrix|sort|copy ROUNDS";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [kernel, rounds] = words[..] else { process::refuse("kernels", USAGE) };
    let Ok(rounds) = rounds.parse() else { process::refuse("kernels", USAGE) };
    let checksum = match kernel {
        "sha" => sha(rounds),
        "matrix" => matrix(rounds),
        "sort" => sort(rounds),
        "copy" => copy(rounds),
        _ => process::refuse("kernels", USAGE),
    };
    println!("{kernel} {checksum:016x}");
    ExitCode::SUCCESS
}

/// The compression of SHA-256, whose constants do not matter here.
fn sha(rounds: u32) -> u64 {
    let mut state = [0x6a09_e667u32, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 1];
    let mut words = [0u32; 64];
    for round in 0..rounds {
        for (at, word) in words.iter_mut().enumerate().take(16) {
            *word = round.rotate_left(at as u32) ^ state[at % 8];
        }
        for at in 16..64 {
            let (a, b) = (words[at - 15], words[at - 2]);
            let low = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
            let high = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
            words[at] = words[at - 16].wrapping_add(low).wrapping_add(words[at - 7]).wrapping_add(high);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for word in words {
            let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let t1 = h.wrapping_add(s1).wrapping_add((e & f) ^ (!e & g)).wrapping_add(word);
            let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let t2 = s0.wrapping_add((a & b) ^ (a & c) ^ (b & c));
            (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(t1), c, b, a, t1.wrapping_add(t2));
        }
        for (kept, new) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *kept = kept.wrapping_add(new);
        }
    }
    state.iter().fold(0, |sum, word| sum.rotate_left(8) ^ u64::from(*word))
}

/// A product of two matrices of 96 x 96.
fn matrix(rounds: u32) -> u64 {
    const SIDE: usize = 96;
    let mut left = vec![0.5f64; SIDE * SIDE];
    let right: Vec<f64> = (0..SIDE * SIDE).map(|at| (at % 7) as f64 * 0.01).collect();
    let mut product = vec![0f64; SIDE * SIDE];
    for _ in 0..rounds {
        for row in 0..SIDE {
            for column in 0..SIDE {
                let cells = (0..SIDE).map(|at| left[row * SIDE + at] * right[at * SIDE + column]);
                product[row * SIDE + column] = cells.sum();
            }
        }
        for (cell, new) in left.iter_mut().zip(&product) {
            *cell = new.fract();
        }
    }
    product.iter().fold(0, |sum, cell| sum ^ cell.to_bits())
}

/// Sorts 20,000 numbers.
fn sort(rounds: u32) -> u64 {
    const NUMBERS: usize = 20_000;
    let mut state = 48u64;
    let mut sum = 0;
    for _ in 0..rounds {
        let mut numbers: Vec<u64> = (0..NUMBERS)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state >> 20
            })
            .collect();
        numbers.sort_unstable();
        sum ^= numbers[NUMBERS / 2];
    }
    sum
}

/// Copies and fills a MiB.
fn copy(rounds: u32) -> u64 {
    const BYTES: usize = 1 << 20;
    let mut from = vec![1u8; BYTES];
    let mut to = vec![0u8; BYTES];
    for round in 0..rounds {
        black_box(&mut to).copy_from_slice(black_box(&from));
        black_box(&mut from).fill(round as u8);
    }
    u64::from(to[BYTES / 2]) << 8 | u64::from(from[BYTES / 2])
}
