//! Which answer a call gets, found by halves of the numbers: when the filter is put on, the kernel walks it for each number
//! that there is, so that a list would cost each start 0.1 ms.

use super::{ALLOW, Instruction, JUMP_AT_LEAST, JUMP_EQUAL, instruction, jump, ret};

/// Jumps over as many instructions as its operand says.
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;

/// Calls with numbers one after the other that get the same answer.
#[derive(Debug, Clone)]
struct Range {
    first: u32,
    last: u32,
    answer: Vec<Instruction>,
}

/// The instructions that give each of these calls its answer, and let all others through. The number is loaded.
pub(super) fn choose(mut answers: Vec<(u32, Vec<Instruction>)>) -> Vec<Instruction> {
    answers.sort_by_key(|(number, _)| *number);
    let mut ranges: Vec<Range> = Vec::new();
    for (number, answer) in answers {
        match ranges.last_mut() {
            Some(before) if before.last + 1 == number && before.answer == answer => {
                before.last = number;
            }
            Some(_) | None => ranges.push(Range { first: number, last: number, answer }),
        }
    }
    halve(&ranges)
}

fn halve(ranges: &[Range]) -> Vec<Instruction> {
    let [one] = ranges else {
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let Some(middle) = high.first() else { return vec![ret(ALLOW)] };
        let (below, above) = (halve(low), halve(high));
        let over = u32::try_from(below.len()).unwrap_or(u32::MAX);
        let head = match u8::try_from(over) {
            Ok(over) => vec![jump(JUMP_AT_LEAST, middle.first, over, 0)],
            Err(_) => vec![jump(JUMP_AT_LEAST, middle.first, 0, 1), instruction(JUMP, over)],
        };
        return [head, below, above].concat();
    };
    let over = u8::try_from(one.answer.len()).unwrap_or(u8::MAX);
    let head = if one.first == one.last {
        vec![jump(JUMP_EQUAL, one.first, 0, over)]
    } else {
        let below = jump(JUMP_AT_LEAST, one.first, 0, over.saturating_add(1));
        vec![below, jump(JUMP_AT_LEAST, one.last + 1, over, 0)]
    };
    [head, one.answer.clone(), vec![ret(ALLOW)]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::RETURN;
    use std::collections::BTreeMap;

    /// What the kernel would answer, and after how many instructions.
    fn run(program: &[Instruction], number: u32) -> (u32, usize) {
        let (mut at, mut steps) = (0, 0);
        loop {
            let Instruction { code, if_true, if_false, operand } = program[at];
            steps += 1;
            let taken = match code {
                RETURN => return (operand, steps),
                JUMP => operand as usize,
                JUMP_EQUAL => usize::from(if number == operand { if_true } else { if_false }),
                JUMP_AT_LEAST => usize::from(if number >= operand { if_true } else { if_false }),
                other => panic!("{other}"),
            };
            at += 1 + taken;
        }
    }

    #[test]
    fn each_call_gets_its_answer_soon_and_all_others_pass() {
        let answers: BTreeMap<u32, u32> = (0..600)
            .filter(|number| number % 3 != 0 || (100..150).contains(number))
            .map(|number| (number, 7 + number / 40))
            .collect();
        for count in [0, 1, 2, 3, answers.len()] {
            let some: BTreeMap<_, _> = answers.iter().take(count).collect();
            let all = some.iter().map(|(number, answer)| (**number, vec![ret(**answer)]));
            let program = choose(all.rev().collect());
            for number in (0..700).chain([u32::MAX]) {
                let (answer, steps) = run(&program, number);
                let expected = some.get(&number).map_or(ALLOW, |answer| **answer);
                assert_eq!(answer, expected, "{number} of {count}");
                assert!(steps < 24, "{steps} for {number}");
            }
        }
    }
}
