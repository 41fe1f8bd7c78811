//! The stack machine.

use super::reader::{Reader, unescaped, unquoted, utf8};
use super::{Fault, Id, Limits, Object, Pickle, Value};
use std::borrow::Cow;
use std::collections::HashMap;

/// The newest protocol.
const NEWEST: u8 = 5;

/// What an instruction gives, without its place.
type Done<T = ()> = Result<T, String>;

struct Machine<'a> {
    reader: Reader<'a>,
    limits: Limits,
    nodes: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<usize, Id>,
    /// Numbers of a byte that were met: lists of pixels hold millions of them, which need no node each.
    small: [Option<Id>; 256],
}

pub(super) fn run(input: &[u8], limits: Limits) -> Result<Pickle<'_>, Fault> {
    let mut machine = Machine {
        reader: Reader::new(input),
        // Indices have 32 bits.
        limits: Limits { nodes: limits.nodes.min(u32::MAX as usize), ..limits },
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        small: [None; 256],
    };
    for _ in 0..limits.steps {
        let offset = machine.reader.at;
        let step = machine.reader.byte().map_err(|_| "it is cut off".to_owned());
        match step.and_then(|code| machine.step(code)) {
            Ok(true) => {}
            Ok(false) => {
                let root = machine.pop().map_err(|message| Fault { offset, message })?;
                return Ok(Pickle { nodes: machine.nodes, root, length: machine.reader.at });
            }
            Err(message) => return Err(Fault { offset, message }),
        }
    }
    let message = format!("it has more than {} instructions", limits.steps);
    Err(Fault { offset: machine.reader.at, message })
}

impl<'a> Machine<'a> {
    /// Executes one instruction; false at the end.
    fn step(&mut self, code: u8) -> Done<bool> {
        match code {
            b'.' => return Ok(false),
            0x80 => self.protocol()?,
            // A frame's length only says how much may be read at once.
            0x95 => drop(self.reader.array::<8>()?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => self.drop_top()?,
            b'1' => drop(self.marked()?),
            b'2' => self.stack.push(self.top()?),
            b'p' | b'q' | b'r' | 0x94 => self.remember(code)?,
            b'g' | b'h' | b'j' => self.recall(code)?,
            b'a' | b'e' | 0x90 | b's' | b'u' | b'b' => self.change(code)?,
            b'c' | 0x93 | b'i' | b'o' | b'R' | 0x81 | 0x92 => self.refer(code)?,
            b'P' | b'Q' => self.persistent(code)?,
            b't' | b'l' | b'd' | 0x91 | 0x85 | 0x86 | 0x87 => self.collect(code)?,
            b'K' => self.small()?,
            _ => {
                let value = self.literal(code)?;
                self.push(value)?;
            }
        }
        Ok(true)
    }

    fn protocol(&mut self) -> Done {
        match self.reader.byte()? {
            p if p <= NEWEST => Ok(()),
            p => Err(format!("protocol {p} is newer than {NEWEST}")),
        }
    }

    /// Values that need nothing but their operand.
    fn literal(&mut self, code: u8) -> Done<Value<'a>> {
        let r = &mut self.reader;
        Ok(match code {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'I' | b'L' => decimal(r.text_line()?)?,
            b'J' => Value::Integer(i32::from_le_bytes(r.array()?).into()),
            b'M' => Value::Integer(u16::from_le_bytes(r.array()?).into()),
            0x8a => {
                let length = r.unsigned::<1>()?;
                long(r.take(length)?)
            }
            0x8b => {
                let length = r.signed_length()?;
                long(r.take(length)?)
            }
            b'F' => {
                let text = r.text_line()?.trim();
                Value::Float(text.parse().map_err(|_| format!("{text:?} is not a number"))?)
            }
            b'G' => Value::Float(f64::from_be_bytes(r.array()?)),
            b'S' => Value::Bytes(unquoted(r.line()?)?),
            b'V' => Value::Text(unescaped(r.line()?)?),
            b'T' => {
                let length = r.signed_length()?;
                Value::Bytes(Cow::Borrowed(r.take(length)?))
            }
            b'U' | b'C' => self.bytes::<1>()?,
            b'B' => self.bytes::<4>()?,
            0x8e | 0x96 => self.bytes::<8>()?,
            0x8c => self.text::<1>()?,
            b'X' => self.text::<4>()?,
            0x8d => self.text::<8>()?,
            b')' => Value::Tuple(Vec::new()),
            b']' => Value::List(Vec::new()),
            b'}' => Value::Dict(Vec::new()),
            0x8f => Value::Set(Vec::new()),
            0x82..=0x84 => return Err("it uses Python's extension registry, which is not known here".into()),
            0x97 | 0x98 => return Err("it refers to buffers outside of it".into()),
            other => return Err(format!("{other:#04x} is no instruction: this is not a pickle, or damaged")),
        })
    }

    /// A number of a byte. Nothing changes numbers, so each is one node, however often it is there.
    fn small(&mut self) -> Done {
        let byte = self.reader.byte()?;
        let id = match self.small[usize::from(byte)] {
            Some(id) => id,
            None => self.add(Value::Integer(byte.into()))?,
        };
        self.small[usize::from(byte)] = Some(id);
        self.stack.push(id);
        Ok(())
    }

    fn bytes<const N: usize>(&mut self) -> Done<Value<'a>> {
        let length = self.reader.unsigned::<N>()?;
        Ok(Value::Bytes(Cow::Borrowed(self.reader.take(length)?)))
    }

    fn text<const N: usize>(&mut self) -> Done<Value<'a>> {
        let length = self.reader.unsigned::<N>()?;
        Ok(Value::Text(utf8(self.reader.take(length)?)))
    }

    /// What was pushed since the last mark, or the top one to three, as one value.
    fn collect(&mut self, code: u8) -> Done {
        let value = match code {
            0x85..=0x87 => {
                let count = usize::from(code - 0x84);
                Value::Tuple(self.above(self.stack.len().checked_sub(count))?)
            }
            b't' => Value::Tuple(self.marked()?),
            b'l' => Value::List(self.marked()?),
            b'd' => Value::Dict(pairs(&self.marked()?)?),
            _ => Value::Set(self.marked()?),
        };
        self.push(value)
    }

    /// Adds to the value below.
    fn change(&mut self, code: u8) -> Done {
        match code {
            b'a' => {
                let element = self.pop()?;
                self.extend(vec![element])
            }
            b'e' | 0x90 => {
                let elements = self.marked()?;
                self.extend(elements)
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.insert(vec![(key, value)])
            }
            b'u' => {
                let entries = pairs(&self.marked()?)?;
                self.insert(entries)
            }
            _ => {
                let state = self.pop()?;
                match self.top_value()? {
                    Value::Object(object) => object.state = Some(state),
                    _ => return Err("it sets the state of what is no object".into()),
                }
                Ok(())
            }
        }
    }

    fn extend(&mut self, elements: Vec<Id>) -> Done {
        match self.top_value()? {
            Value::List(list) | Value::Set(list) => list.extend(elements),
            Value::Object(object) => object.elements.extend(elements),
            _ => return Err("it adds elements to what is no list".into()),
        }
        Ok(())
    }

    fn insert(&mut self, entries: Vec<(Id, Id)>) -> Done {
        match self.top_value()? {
            Value::Dict(dict) => dict.extend(entries),
            Value::Object(object) => object.entries.extend(entries),
            _ => return Err("it adds entries to what is no dictionary".into()),
        }
        Ok(())
    }

    /// Classes and functions, and calls of them.
    fn refer(&mut self, code: u8) -> Done {
        match code {
            b'c' => {
                let global = self.named()?;
                self.push(global)
            }
            0x93 => {
                let name = self.pop_text()?;
                let module = self.pop_text()?;
                self.push(Value::Global { module, name })
            }
            b'i' => {
                let global = self.named()?;
                let arguments = Value::Tuple(self.marked()?);
                let callable = self.add(global)?;
                self.object(callable, arguments)
            }
            b'o' => {
                let mut pushed = self.marked()?.into_iter();
                let callable = pushed.next().ok_or("an object has no class")?;
                self.object(callable, Value::Tuple(pushed.collect()))
            }
            _ => {
                if code == 0x92 {
                    // Named arguments: nothing that is understood has any.
                    self.drop_top()?;
                }
                let arguments = self.pop()?;
                let callable = self.pop()?;
                self.push(Value::Object(call(callable, arguments)))
            }
        }
    }

    /// A class or function named by two lines.
    fn named(&mut self) -> Done<Value<'a>> {
        let module = utf8(self.reader.line()?);
        Ok(Value::Global { module, name: utf8(self.reader.line()?) })
    }

    fn object(&mut self, callable: Id, arguments: Value<'a>) -> Done {
        let arguments = self.add(arguments)?;
        self.push(Value::Object(call(callable, arguments)))
    }

    fn persistent(&mut self, code: u8) -> Done {
        let name = match code {
            b'P' => {
                let name = Value::Text(utf8(self.reader.line()?));
                self.add(name)?
            }
            _ => self.pop()?,
        };
        self.push(Value::Persistent(name))
    }

    fn remember(&mut self, code: u8) -> Done {
        let index = match code {
            b'p' => index(self.reader.text_line()?)?,
            b'q' => self.reader.unsigned::<1>()?,
            b'r' => self.reader.unsigned::<4>()?,
            _ => self.memo.len(),
        };
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, code: u8) -> Done {
        let index = match code {
            b'g' => index(self.reader.text_line()?)?,
            b'h' => self.reader.unsigned::<1>()?,
            _ => self.reader.unsigned::<4>()?,
        };
        let known = self.memo.get(&index).ok_or_else(|| format!("value {index} was not remembered"))?;
        self.stack.push(*known);
        Ok(())
    }

    fn add(&mut self, value: Value<'a>) -> Done<Id> {
        if self.nodes.len() >= self.limits.nodes {
            return Err(format!("it holds more than {} values", self.limits.nodes));
        }
        let id = u32::try_from(self.nodes.len()).map_err(|e| e.to_string())?;
        self.nodes.push(value);
        Ok(Id(id))
    }

    fn push(&mut self, value: Value<'a>) -> Done {
        let id = self.add(value)?;
        self.stack.push(id);
        Ok(())
    }

    /// Values below the last mark are out of reach, as in Python.
    fn top(&self) -> Done<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let reachable = self.stack.get(floor..).and_then(<[Id]>::last);
        reachable.copied().ok_or_else(|| "an instruction finds no value".into())
    }

    fn pop(&mut self) -> Done<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// Drops the top value, or a mark that lies there.
    fn drop_top(&mut self) -> Done {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn top_value(&mut self) -> Done<&mut Value<'a>> {
        let Id(top) = self.top()?;
        self.nodes.get_mut(top as usize).ok_or_else(|| "an instruction finds no value".into())
    }

    fn pop_text(&mut self) -> Done<Cow<'a, str>> {
        let Id(top) = self.pop()?;
        match self.nodes.get(top as usize) {
            // Owned text comes from escapes in lines; names have none.
            Some(Value::Text(Cow::Borrowed(text))) => Ok(Cow::Borrowed(text)),
            _ => Err("the name of a class is no text".into()),
        }
    }

    /// Takes what was pushed since the last mark.
    fn marked(&mut self) -> Done<Vec<Id>> {
        let mark = self.marks.pop().ok_or("an instruction finds no mark")?;
        self.above(Some(mark))
    }

    /// Takes what lies above this height of the stack.
    fn above(&mut self, height: Option<usize>) -> Done<Vec<Id>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match height {
            Some(height) if (floor..=self.stack.len()).contains(&height) => Ok(self.stack.split_off(height)),
            _ => Err("an instruction finds too few values".into()),
        }
    }
}

fn call(callable: Id, arguments: Id) -> Object {
    Object { callable, arguments, state: None, entries: Vec::new(), elements: Vec::new() }
}

fn pairs(values: &[Id]) -> Done<Vec<(Id, Id)>> {
    let (pairs, odd) = values.as_chunks::<2>();
    if odd.is_empty() {
        Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
    } else {
        Err("a key of a dictionary has no value".into())
    }
}

fn index(line: &str) -> Done<usize> {
    line.parse().map_err(|_| format!("{line:?} is no index"))
}

/// An integer, or a truth value, in digits.
fn decimal(line: &str) -> Done<Value<'static>> {
    let digits = line.strip_suffix('L').unwrap_or(line).trim();
    match (line, digits.parse()) {
        ("00", _) => Ok(Value::Bool(false)),
        ("01", _) => Ok(Value::Bool(true)),
        (_, Ok(value)) => Ok(Value::Integer(value)),
        _ if digits.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit()) && digits.len() > 18 => {
            Ok(Value::Huge)
        }
        _ => Err(format!("{line:?} is no whole number")),
    }
}

/// An integer in two's complement, the lowest byte first.
fn long(bytes: &[u8]) -> Value<'static> {
    let negative = bytes.last().is_some_and(|b| *b >= 0x80);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    match wide.get_mut(..bytes.len()) {
        Some(low) => {
            low.copy_from_slice(bytes);
            Value::Integer(i64::from_le_bytes(wide))
        }
        None => Value::Huge,
    }
}
