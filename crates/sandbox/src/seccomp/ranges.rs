//! A short way through a filter for the calls that need no look at their arguments.
//!
//! seccompiler compares a call's number with one of its table after the other, some 1,000 instructions for ours. No
//! process waits for that, since the kernel remembers which numbers are always allowed; but each sandbox pays for the
//! filter's making: the kernel checks and compiles every instruction, and runs the filter once for each number that
//! there is. The numbers lie close together, so ranges say the same in a tenth of the instructions.
//!
//! ```text
//! load architecture ─ another? ───────────────┐
//! load number ─ below the first of a range? ──┤        (ranges ascend: it is in none of the others)
//!             ─ up to its last? ─> answer     │
//!             ─ next range …                  └─> seccompiler's own filter, for all else
//! ```

use seccompiler::{BpfProgram, sock_filter};

/// Of the classic BPF, as `struct seccomp_data` needs it. Source: include/uapi/linux/bpf_common.h.
const LOAD_WORD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`. Source: include/uapi/linux/seccomp.h.
const NUMBER_OFFSET: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;

/// Source: AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64 in include/uapi/linux/audit.h.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Answers these calls at once; all others go through the filter.
pub(super) fn answer_first(calls: &[i64], answer: u32, filter: BpfProgram) -> BpfProgram {
    let ranges = ranges(calls);
    let mut program = vec![
        instruction(LOAD_WORD, ARCHITECTURE_OFFSET, 0, 0),
        // Over the load, the ranges, a jump and the answer.
        instruction(JUMP_IF_EQUAL, ARCHITECTURE, 0, distance(2 * ranges.len() + 3)),
        instruction(LOAD_WORD, NUMBER_OFFSET, 0, 0),
    ];
    for (index, (first, last)) in ranges.iter().enumerate() {
        // From behind each of the two instructions.
        let left = 2 * (ranges.len() - index);
        program.push(instruction(JUMP_IF_AT_LEAST, *first, 0, distance(left + 1)));
        program.push(instruction(JUMP_IF_GREATER, *last, 0, distance(left - 1)));
    }
    program.push(instruction(JUMP, 1, 0, 0));
    program.push(instruction(RETURN, answer, 0, 0));
    program.extend(filter);
    program
}

/// First and last of each row of neighbours, in their order.
fn ranges(calls: &[i64]) -> Vec<(u32, u32)> {
    let number = |call: &i64| u32::try_from(*call).expect("the kernel's numbers are small and positive");
    let mut numbers: Vec<u32> = calls.iter().map(number).collect();
    numbers.sort_unstable();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if number <= *last + 1 => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

fn distance(instructions: usize) -> u8 {
    u8::try_from(instructions).expect("the lists are constant and have fewer than 120 ranges, as a test sees")
}

fn instruction(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the classic BPF's own rules make of a number; `None` when it comes to the filter behind.
    fn run(program: &[sock_filter], architecture: u32, number: u32) -> Option<u32> {
        let (mut at, mut loaded) = (0, 0);
        while let Some(step) = program.get(at) {
            at += 1;
            let holds = match step.code {
                LOAD_WORD if step.k == NUMBER_OFFSET => {
                    loaded = number;
                    continue;
                }
                LOAD_WORD => {
                    loaded = architecture;
                    continue;
                }
                RETURN => return Some(step.k),
                JUMP => {
                    at += step.k as usize;
                    continue;
                }
                JUMP_IF_EQUAL => loaded == step.k,
                JUMP_IF_GREATER => loaded > step.k,
                JUMP_IF_AT_LEAST => loaded >= step.k,
                code => panic!("instruction {code}"),
            };
            at += usize::from(if holds { step.jt } else { step.jf });
        }
        assert_eq!(at, program.len(), "a jump leads to the filter's first instruction");
        None
    }

    #[test]
    fn each_number_has_the_answer_of_its_list() {
        let calls = [7, 1, 2, 3, 9, 300, 301, 0x1000];
        let program = answer_first(&calls, 42, Vec::new());
        for number in (0..0x1100).chain([u32::MAX, 0x4000_0001]) {
            let expected = calls.contains(&i64::from(number)).then_some(42);
            assert_eq!(run(&program, ARCHITECTURE, number), expected, "{number}");
            assert_eq!(run(&program, ARCHITECTURE ^ 1, number), None, "{number}");
        }
    }

    #[test]
    fn neighbours_are_one_range() {
        assert_eq!(ranges(&[5, 3, 4, 4, 9]), [(3, 5), (9, 9)]);
        assert_eq!(ranges(&[]), []);
    }
}
