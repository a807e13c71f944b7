package derivation

import "math/bits"

func (p *parser) env() bool {
	p.scratch.irregularVariables = p.scratch.irregularVariables[:0]
	start := p.pos
	last := p.plainVariables('[', "")
	for first := p.pos == start; p.more(first); first = false {
		at := p.pos
		e, ok := p.variable()
		if !ok {
			return false
		}
		if !first && last >= e.Key {
			p.variablesUnsorted = !p.unsorted(at, last == e.Key)
		}
		p.keepVariable(at, e)
		last = p.plainVariables(',', e.Key)
	}
	p.parsed.variableList = p.spanTo(start)
	return true
}

// keepVariable records the variable that begins at offset and was just read.
func (p *parser) keepVariable(offset int, e Entry[string, string]) {
	const before, after = `("`, `")`
	plainLen := len(before) + len(e.Key) + len(keyValueSep) + len(e.Value) + len(after) // without escapes
	if p.pos-offset == plainLen && len(e.Key) <= maxPart && len(e.Value) <= maxPart {
		p.scratch.locations = append(p.scratch.locations, location{uint32(offset + len(before)), uint16(len(e.Key)), uint16(len(e.Value))})
		return
	}
	p.scratch.locations = append(p.scratch.locations, irregularLocation(len(p.scratch.irregularVariables)))
	p.scratch.irregularVariables = append(p.scratch.irregularVariables, e)
}

// variable reads an environment variable.
func (p *parser) variable() (e Entry[string, string], ok bool) {
	if !p.expect("(") {
		return e, false
	}
	if e.Key, ok = p.string(); !ok || !p.expect(",") {
		return e, false
	}
	if e.Value, ok = p.string(); !ok {
		return e, false
	}
	return e, p.expect(")")
}

// plainVariables reads variables as long as they are sorted and have no escapes. It is a fast
// version of env and variable, because variables are most of the text. The first variable follows
// separator, either the bracket of the list, which was already read, or a comma. The others follow
// a comma. last is the name of the previous variable; plainVariables returns the name of the last
// one that it has read.
func (p *parser) plainVariables(separator byte, last string) string {
	const before = `("`
	text, pos, list := p.text, p.pos, p.scratch.locations
	if separator == '[' {
		pos--
	}
	lastWord := uint64(0) // the first eight bytes of last as a big-endian number; 0 if unknown
	for pos+len(before)+17 <= len(text) && text[pos] == separator && text[pos+1:pos+1+len(before)] == before {
		start := pos + 1 + len(before)
		head := text[start : start+16]
		word := load64(head)
		length := firstOf(hasByte(word, '"'), hasByte(load64(head[8:]), '"'))
		word &= 1<<(8*length) - 1
		middle := start + length
		if length == 16 {
			middle = indexFrom(text, middle, '"')
		}
		begin := middle + len(keyValueSep)
		if begin+16 > len(text) || text[middle:begin] != keyValueSep {
			break
		}
		head = text[begin : begin+16]
		end := begin + firstOf(hasByte(load64(head), '"'), hasByte(load64(head[8:]), '"'))
		if end == begin+16 {
			end = indexFrom(text, end, '"')
		}
		if end+2 > len(text) || text[end+1] != ')' || p.nextEscape < end && p.escapeBefore(start, end) {
			break
		}
		key := text[start:middle]
		word = bits.ReverseBytes64(word)
		if len(key) > maxPart || end-begin > maxPart || separator == ',' && (word <= lastWord || lastWord == 0) && key <= last {
			break
		}
		list = append(list, location{uint32(start), uint16(len(key)), uint16(end - begin)})
		last, lastWord = key, word
		pos = end + 2
		p.pos, separator = pos, ','
	}
	p.scratch.locations = list
	return last
}
