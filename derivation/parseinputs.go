package derivation

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"pix/storepath"
)

// maxDynamicDepth bounds how deep the outputs of dynamic derivations may be nested.
// Nix has no limit but the end of its stack, which is not far beyond; the deepest
// that were ever seen have three levels.
const maxDynamicDepth = 10_000

func (p *parser) inputDerivations(dynamic bool) bool {
	p.room.oddInputs = p.room.oddInputs[:0]
	start := p.pos
	last := p.plainInputs('[', "")
	for first := p.pos == start; p.more(first); first = false {
		at := p.pos
		input, ok := p.inputDerivation(dynamic)
		if !ok {
			return false
		}
		if !first && last >= input.Key {
			p.inputDisorder = !p.disorder(at, last == input.Key)
		}
		p.keepInput(at, input)
		last = p.plainInputs(',', input.Key)
	}
	p.parsed.inputs = len(p.room.places)
	p.parsed.inputList = p.spanTo(start)
	return true
}

// keepInput keeps the input derivation that begins at offset and was just passed.
func (p *parser) keepInput(offset int, e Entry[storepath.Path, InputOutputs]) {
	const before, after = `("`, `",["out"])`
	start := offset + len(before)
	if p.pos-start == len(e.Key)+len(after) && p.text[p.pos-len(after):p.pos] == after && len(e.Key) <= maxPart {
		p.room.places = append(p.room.places, place{start: uint32(start), key: uint16(len(e.Key))})
		return
	}
	p.room.places = append(p.room.places, oddPlace(len(p.room.oddInputs)))
	p.room.oddInputs = append(p.room.oddInputs, e)
}

// inputDerivation reads an input derivation, and which of its outputs are used.
func (p *parser) inputDerivation(dynamic bool) (e Entry[storepath.Path, InputOutputs], ok bool) {
	at := p.pos
	if !p.expect("(") {
		return e, false
	}
	if e.Key, ok = p.path(); !ok || !p.expect(",") {
		return e, false
	}
	if dynamic {
		e.Value, ok = p.inputNode(0)
	} else {
		e.Value.Names.keys, ok = p.outputNames()
	}
	if ok && e.Value.Names.Len() == 0 && e.Value.Dynamic.Len() == 0 {
		p.notCanonical(at, "an input derivation is listed of which no output is used")
	}
	return e, ok && p.expect(")")
}

// plainInputs reads input derivations as long as they are sorted, and are used for
// "out" alone, as most are. It does what inputDerivations does in fewer steps. The first
// stands after separator, which may have been passed already if it is the bracket of the
// list; the others after a comma. The last path, which was last before, is returned.
func (p *parser) plainInputs(separator byte, last storepath.Path) storepath.Path {
	const before, after = `("`, `",["out"])`
	text, pos, list := p.text, p.pos, p.room.places
	if separator == '[' {
		pos--
	}
	lastWord := uint64(0) // the first eight bytes of the last hash part, once it is known; the first byte is highest
	for pos+len(before) < len(text) && text[pos] == separator && text[pos+1:pos+1+len(before)] == before {
		start := pos + 1 + len(before)
		path, ok := p.plainPath(start - 1)
		if !ok || len(path) > maxPart || !strings.HasPrefix(text[start+len(path):], after) {
			break
		}
		hash := path[len(p.dir)+1:]
		word := bits.ReverseBytes64(load64(string(hash[:8])))
		if (word <= lastWord || lastWord == 0) && path <= last {
			break
		}
		list = append(list, place{start: uint32(start), key: uint16(len(path))})
		pos = start + len(path) + len(after)
		p.pos, separator, last, lastWord = pos, ',', path, word
	}
	p.room.places = list
	return last
}

// onlyOut are the names of the outputs that are used of most inputs. All share it: a
// Set never changes the keys that it has, but makes new ones.
var onlyOut = []string{"out"}

// outputNames reads a list of output names. It is returned as a set.
func (p *parser) outputNames() ([]string, bool) {
	if !p.expect("[") {
		return nil, false
	}
	names, sorted := p.room.strings[:0], true
	for first := true; p.more(first); first = false {
		at := p.pos
		name, ok := p.plain()
		if !ok {
			return nil, false
		}
		if n := len(names); n > 0 && names[n-1] >= name {
			sorted = p.disorder(at, names[n-1] == name)
		}
		names = append(names, name)
	}
	p.room.strings = names
	set := names
	if !sorted {
		set = sortedSet(names)
	}
	kept := p.keepNames(set)
	clear(names) // the room must not hold on to the text
	return kept, true
}

// keepNames copies a list of output names out of the room. Those of many inputs share
// an array, so that a thousand inputs are not a thousand allocations.
func (p *parser) keepNames(names []string) []string {
	if len(names) == 1 && names[0] == onlyOut[0] {
		return onlyOut
	}
	if cap(p.names)-len(p.names) < len(names) {
		p.names = make([]string, 0, max(len(names), 2*cap(p.names), 2))
	}
	start := len(p.names)
	p.names = append(p.names, names...)
	return p.names[start:len(p.names):len(p.names)]
}

// inputNode reads which outputs of an input are used where dynamic derivations may
// be: a list of names, or that and what is used of the derivations that the outputs
// are.
func (p *parser) inputNode(depth int) (used InputOutputs, ok bool) {
	if p.pos < len(p.text) && p.text[p.pos] == '[' {
		used.Names.keys, ok = p.outputNames()
		return used, ok
	}
	at := p.pos
	if depth == maxDynamicDepth {
		return used, p.fail(at, "", fmt.Sprintf("outputs of dynamic derivations are nested more than %d deep", maxDynamicDepth))
	}
	if p.pos >= len(p.text) || p.text[p.pos] != '(' {
		return used, p.fail(at, "`[` or `(`", "this does not say which outputs of an input are used")
	}
	p.pos++
	if used.Names.keys, ok = p.outputNames(); !ok || !p.expect(",[") {
		return used, false
	}
	list, sorted := []Entry[string, InputOutputs](nil), true
	for first := true; p.more(first); first = false {
		at := p.pos
		child, ok := p.child(depth)
		if !ok {
			return used, false
		}
		if n := len(list); n > 0 && list[n-1].Key >= child.Key {
			sorted = p.disorder(at, list[n-1].Key == child.Key)
		}
		list = append(list, child)
	}
	if len(list) == 0 {
		p.notCanonical(at, "there is room for dynamic outputs and none in it")
	}
	if !sorted {
		slices.Reverse(list) // of two with one name the last counts
		list = sortEntries(list)
	}
	used.Dynamic.entries = list
	return used, p.expect(")")
}

// child reads an output that is a derivation, and which of its outputs are used.
func (p *parser) child(depth int) (e Entry[string, InputOutputs], ok bool) {
	if !p.expect("(") {
		return e, false
	}
	if e.Key, ok = p.plain(); !ok || !p.expect(",") {
		return e, false
	}
	at := p.pos
	if e.Value, ok = p.inputNode(depth + 1); !ok {
		return e, false
	}
	if e.Value.Names.Len() == 0 && e.Value.Dynamic.Len() == 0 {
		p.notCanonical(at, "a dynamic output is listed of which no output is used")
	}
	return e, p.expect(")")
}

func (p *parser) inputSources(d *Derivation) bool {
	list, sorted := d.InputSources.keys, true
	for first := true; p.more(first); first = false {
		at := p.pos
		path, ok := p.path()
		if !ok {
			return false
		}
		if n := len(list); n > 0 && list[n-1] >= path {
			sorted = p.disorder(at, list[n-1] == path)
		}
		list = appendTo(list, path)
	}
	if !sorted {
		list = sortedSet(list)
	}
	d.InputSources.keys = slices.Clip(list)
	return true
}
