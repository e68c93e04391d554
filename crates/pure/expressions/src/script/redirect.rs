//! Redirections and here-documents.

use super::Place;
use super::command::Command;
use super::scan::{Frame, HereDocument, Item, Refusal, Scan};

impl Scan {
    /// At `<`, `>` or `&>`: what follows is a file, a text or a process, and no argument.
    pub(super) fn redirect(&mut self) -> Result<(), Refusal> {
        let Some(Frame::Commands(command)) = self.frames.last_mut() else { return Ok(()) };
        command.begin_redirect()?;
        if self.follows("<<<") {
            self.at += 3;
        } else if self.follows("<<") {
            self.at += 2;
            self.here_document()?;
        } else if self.follows("<(") || self.follows(">(") {
            self.open(Frame::Commands(Command::substituted()), 2);
        } else {
            self.at += 1;
            while self.char_at(self.at).is_some_and(|letter| "<>&|".contains(letter)) {
                self.at += 1;
            }
        }
        Ok(())
    }

    /// Behind `<<`.
    fn here_document(&mut self) -> Result<(), Refusal> {
        let strips_tabs = self.follows("-");
        if strips_tabs {
            self.at += 1;
        }
        while self.char_at(self.at).is_some_and(|letter| " \t".contains(letter)) {
            self.at += 1;
        }
        let mut delimiter = String::new();
        let mut is_quoted = false;
        let mut quote = None;
        loop {
            match self.items.get(self.at).copied() {
                Some(Item::Hole(hole)) => return Err((hole, Place::Delimiter)),
                Some(Item::Char(letter)) if quote == Some(letter) => quote = None,
                Some(Item::Char(letter)) if quote.is_some() => delimiter.push(letter),
                Some(Item::Char(letter @ ('\'' | '"'))) => {
                    (quote, is_quoted) = (Some(letter), true);
                }
                Some(Item::Char('\\')) => is_quoted = true,
                Some(Item::Char(letter)) if " \t\n;&|<>()".contains(letter) => break,
                Some(Item::Char(letter)) => delimiter.push(letter),
                None => break,
            }
            self.at += 1;
        }
        self.waiting.push_back(HereDocument { delimiter, strips_tabs, is_quoted });
        Ok(())
    }

    /// At the beginning of a line: the next here-document, if one is waiting.
    pub(super) fn begin_here_document(&mut self) -> Result<(), Refusal> {
        while let Some(document) = self.waiting.pop_front() {
            if !document.is_quoted {
                self.frames.push(Frame::Here(document));
                return self.end_here_document();
            }
            while self.at < self.items.len() && !self.skips_delimiter(&document) {
                while let Some(item) = self.items.get(self.at).copied() {
                    if let Item::Hole(hole) = item {
                        return Err((hole, Place::HereDocument));
                    }
                    self.at += 1;
                    if item == Item::Char('\n') {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the line is the delimiter, and then the place is behind it.
    fn skips_delimiter(&mut self, document: &HereDocument) -> bool {
        let mut at = self.at;
        while document.strips_tabs && self.char_at(at) == Some('\t') {
            at += 1;
        }
        for letter in document.delimiter.chars() {
            if self.char_at(at) != Some(letter) {
                return false;
            }
            at += 1;
        }
        let ends = match self.items.get(at) {
            None => true,
            Some(item) => *item == Item::Char('\n'),
        };
        if ends {
            self.at = at + 1;
        }
        ends
    }

    /// At the beginning of a line of one: whether it ends there.
    fn end_here_document(&mut self) -> Result<(), Refusal> {
        let Some(Frame::Here(document)) = self.frames.pop() else { return Ok(()) };
        if self.skips_delimiter(&document) {
            return self.begin_here_document();
        }
        self.frames.push(Frame::Here(document));
        Ok(())
    }

    pub(super) fn in_here_document(&mut self, letter: char) -> Result<(), Refusal> {
        match letter {
            '\n' => {
                self.at += 1;
                return self.end_here_document();
            }
            '\\' => self.escaped()?,
            '$' => self.dollar(true)?,
            '`' => self.skip(1, '`', true)?,
            _ => self.at += 1,
        }
        Ok(())
    }
}
