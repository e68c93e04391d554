//! A walk over a bash script that knows, at each expression, what is around it.

use super::command::Command;
use super::{Place, refused};
use crate::error::ExpressionError;
use crate::template::Piece;
use std::collections::VecDeque;

/// What a word has where only bash knows what stands there.
pub(super) const UNKNOWN: char = '\u{fffc}';
/// Quotes, substitutions and parentheses within each other.
pub(super) const DEPTH: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    Char(char),
    /// The expression with this number.
    Hole(usize),
}

#[derive(Debug)]
pub(super) struct HereDocument {
    pub(super) delimiter: String,
    pub(super) strips_tabs: bool,
    pub(super) is_quoted: bool,
}

/// What is open.
#[derive(Debug)]
pub(super) enum Frame {
    /// The script, or what is in `$( )`, `<( )`, `>( )`.
    Commands(Command),
    /// `"…"`
    Double,
    /// The lines of one whose delimiter is not quoted.
    Here(HereDocument),
    /// `${…}`
    Parameter,
    /// `((…))` and `[…]`, until as many of `closing` are found as of `opening`.
    Counted { open: usize, opening: char, closing: char, place: Place },
}

pub(super) struct Scan {
    pub(super) items: Vec<Item>,
    pub(super) at: usize,
    pub(super) frames: Vec<Frame>,
    pub(super) waiting: VecDeque<HereDocument>,
    last_hole: Option<usize>,
}

/// Whether each expression stands where a variable of bash has its value.
pub(super) fn check(pieces: &[Piece]) -> Result<(), ExpressionError> {
    let mut items = Vec::new();
    let mut positions = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Literal(text) => items.extend(text.chars().map(Item::Char)),
            Piece::Expression(expression) => {
                items.push(Item::Hole(positions.len()));
                positions.push(expression.start());
            }
        }
    }
    let frames = vec![Frame::Commands(Command::default())];
    let mut scan = Scan { items, at: 0, frames, waiting: VecDeque::new(), last_hole: None };
    scan.walk().map_err(|(hole, place)| {
        let position = positions.get(hole).copied().unwrap_or(crate::Position::START);
        refused(position, place)
    })
}

fn arithmetic(opening: char) -> Frame {
    let (open, closing) = if opening == '(' { (2, ')') } else { (1, ']') };
    Frame::Counted { open, opening, closing, place: Place::Arithmetic }
}

/// Why, and which expression.
pub(super) type Refusal = (usize, Place);

impl Scan {
    fn walk(&mut self) -> Result<(), Refusal> {
        while let Some(item) = self.items.get(self.at).copied() {
            match item {
                Item::Hole(hole) => {
                    self.hole(hole)?;
                    self.at += 1;
                }
                Item::Char(letter) => self.letter(letter)?,
            }
            if self.frames.len() > DEPTH {
                return Err((self.last_hole.unwrap_or(0), Place::TooDeep));
            }
        }
        if let [Frame::Commands(command)] = self.frames.as_mut_slice() {
            return command.finish();
        }
        match self.frames.last() {
            Some(Frame::Here(_)) => Ok(()),
            _ => Err((self.last_hole.unwrap_or(0), Place::Unfinished)),
        }
    }

    fn hole(&mut self, hole: usize) -> Result<(), Refusal> {
        self.last_hole = Some(hole);
        for frame in &mut self.frames {
            match frame {
                Frame::Counted { place, .. } => return Err((hole, place.clone())),
                Frame::Parameter => return Err((hole, Place::Parameter)),
                Frame::Commands(command) => command.hole(hole)?,
                Frame::Double | Frame::Here(_) => {}
            }
        }
        Ok(())
    }

    fn letter(&mut self, letter: char) -> Result<(), Refusal> {
        match self.frames.last() {
            Some(Frame::Commands(_)) | None => self.in_commands(letter),
            Some(Frame::Double) => self.in_double(letter),
            Some(Frame::Here(_)) => self.in_here_document(letter),
            Some(Frame::Parameter) => self.in_parameter(letter),
            Some(Frame::Counted { .. }) => self.in_counted(letter),
        }
    }

    pub(super) fn char_at(&self, at: usize) -> Option<char> {
        match self.items.get(at) {
            Some(Item::Char(letter)) => Some(*letter),
            Some(Item::Hole(_)) | None => None,
        }
    }

    pub(super) fn follows(&self, text: &str) -> bool {
        text.chars()
            .enumerate()
            .all(|(offset, letter)| self.char_at(self.at + offset) == Some(letter))
    }

    /// The commands that the open quotes are a word of, if nothing else is between.
    fn command(&mut self) -> Option<&mut Command> {
        let frames = self.frames.iter_mut().rev();
        let mut frames = frames.skip_while(|frame| matches!(frame, Frame::Double));
        match frames.next() {
            Some(Frame::Commands(command)) => Some(command),
            _ => None,
        }
    }

    /// A letter that quotes keep from being a sign.
    fn quoted(&mut self, letter: char) {
        if let Some(command) = self.command() {
            command.quoted(letter);
        }
    }

    pub(super) fn open(&mut self, frame: Frame, length: usize) {
        if let Some(command) = self.command() {
            match frame {
                Frame::Double => command.begin_word(),
                Frame::Commands(_) | Frame::Parameter | Frame::Counted { .. } => {
                    command.quoted(UNKNOWN);
                }
                Frame::Here(_) => {}
            }
        }
        self.frames.push(frame);
        self.at += length;
    }

    pub(super) fn close(&mut self, length: usize) {
        if self.frames.len() > 1 {
            self.frames.pop();
        }
        self.at += length;
    }

    /// The letter behind a backslash is itself.
    pub(super) fn escaped(&mut self) -> Result<(), Refusal> {
        if let Some(Item::Hole(hole)) = self.items.get(self.at + 1) {
            return Err((*hole, Place::Taken('\\')));
        }
        if let Some(letter) = self.char_at(self.at + 1).filter(|letter| *letter != '\n') {
            self.quoted(letter);
        }
        self.at += 2;
        Ok(())
    }

    /// From an opening quote to the closing one.
    pub(super) fn skip(
        &mut self,
        start: usize,
        closing: char,
        escapes: bool,
    ) -> Result<(), Refusal> {
        let place = if closing == '`' { Place::Backticks } else { Place::SingleQuotes };
        if let Some(command) = self.command() {
            command.begin_word();
        }
        self.at += start;
        loop {
            match self.items.get(self.at).copied() {
                Some(Item::Hole(hole)) => return Err((hole, place)),
                Some(Item::Char('\\')) if escapes => {
                    if let Some(Item::Hole(hole)) = self.items.get(self.at + 1) {
                        return Err((*hole, place));
                    }
                    self.at += 2;
                }
                Some(Item::Char(letter)) if letter == closing => {
                    self.at += 1;
                    return Ok(());
                }
                Some(Item::Char(letter)) => {
                    self.quoted(letter);
                    self.at += 1;
                }
                None => return self.unfinished(),
            }
        }
    }

    /// Quotes that are never closed; expressions before them are not where they seem to be, either.
    pub(super) fn unfinished(&self) -> Result<(), Refusal> {
        Err((self.last_hole.unwrap_or(0), Place::Unfinished))
    }

    pub(super) fn dollar(&mut self, is_quoted: bool) -> Result<(), Refusal> {
        if let Some(Item::Hole(hole)) = self.items.get(self.at + 1) {
            return Err((*hole, Place::Taken('$')));
        }
        if self.follows("$((") {
            self.open(arithmetic('('), 3);
        } else if self.follows("$[") {
            self.open(arithmetic('['), 2);
        } else if self.follows("$(") {
            self.open(Frame::Commands(Command::substituted()), 2);
        } else if self.follows("${") {
            self.open(Frame::Parameter, 2);
        } else if self.follows("$'") && !is_quoted {
            self.skip(2, '\'', true)?;
        } else {
            self.quoted('$');
            self.at += if self.follows("$$") { 2 } else { 1 };
        }
        Ok(())
    }

    fn in_double(&mut self, letter: char) -> Result<(), Refusal> {
        match letter {
            '"' => self.close(1),
            '\\' => self.escaped()?,
            '$' => self.dollar(true)?,
            '`' => self.skip(1, '`', true)?,
            other => {
                self.quoted(other);
                self.at += 1;
            }
        }
        Ok(())
    }

    /// Single quotes are quotes here, also within double ones.
    fn in_parameter(&mut self, letter: char) -> Result<(), Refusal> {
        if letter == '}' {
            self.close(1);
            return Ok(());
        }
        self.inner(letter)
    }

    /// What is no end of the frame that it stands in.
    fn inner(&mut self, letter: char) -> Result<(), Refusal> {
        match letter {
            '\\' => self.escaped()?,
            '$' => self.dollar(false)?,
            '`' => self.skip(1, '`', true)?,
            '"' => self.open(Frame::Double, 1),
            '\'' => self.skip(1, '\'', false)?,
            _ => self.at += 1,
        }
        Ok(())
    }

    fn in_counted(&mut self, letter: char) -> Result<(), Refusal> {
        let Some(Frame::Counted { open, opening, closing, place }) = self.frames.last_mut() else {
            return Ok(());
        };
        if letter == *opening {
            *open += 1;
        }
        if letter == *closing {
            *open -= 1;
            if *open == 0 {
                let is_subscript = *place == Place::Subscript;
                self.close(1);
                if let Some(command) = self.command().filter(|_| is_subscript) {
                    command.letter(']');
                }
                return Ok(());
            }
        }
        self.inner(letter)
    }

    fn in_commands(&mut self, letter: char) -> Result<(), Refusal> {
        let redirects_both = self.follows("&>");
        let Some(Frame::Commands(command)) = self.frames.last_mut() else { return Ok(()) };
        match letter {
            '\\' => self.escaped()?,
            '\'' => self.skip(1, '\'', false)?,
            '"' => self.open(Frame::Double, 1),
            '`' => self.skip(1, '`', true)?,
            '$' => self.dollar(false)?,
            '#' if !command.is_within_word() => self.skip_comment(),
            ' ' | '\t' => {
                command.end_word()?;
                self.at += 1;
            }
            '\n' => {
                command.end_command()?;
                self.at += 1;
                self.begin_here_document()?;
            }
            '&' if redirects_both => self.redirect()?,
            ';' | '&' | '|' => {
                command.end_command()?;
                self.at += 1;
            }
            '<' | '>' => self.redirect()?,
            '(' => self.open_parenthesis()?,
            ')' => {
                let ends = command.close_parenthesis()?;
                if ends {
                    self.close(1);
                } else {
                    self.at += 1;
                }
            }
            '[' if command.begins_subscript() => {
                command.letter('[');
                let place = Place::Subscript;
                self.open(Frame::Counted { open: 1, opening: '[', closing: ']', place }, 1);
            }
            other => {
                command.letter(other);
                self.at += 1;
            }
        }
        Ok(())
    }

    fn skip_comment(&mut self) {
        while self.items.get(self.at).is_some_and(|item| *item != Item::Char('\n')) {
            if let Item::Hole(hole) = self.items[self.at] {
                self.last_hole = Some(hole);
            }
            self.at += 1;
        }
    }

    fn open_parenthesis(&mut self) -> Result<(), Refusal> {
        let is_double = self.follows("((");
        let Some(Frame::Commands(command)) = self.frames.last_mut() else { return Ok(()) };
        if is_double && !command.is_within_word() {
            self.open(arithmetic('('), 2);
        } else {
            command.open_parenthesis()?;
            self.at += 1;
        }
        Ok(())
    }
}
