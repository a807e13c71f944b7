package derivation

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"pix/storepath"
)

// maxDynamicDepth limits the nesting of dynamic outputs. Nix is limited only by its stack, which
// overflows not far beyond. Derivations with more than three levels are not known.
const maxDynamicDepth = 10_000

func (p *parser) inputDerivations(dynamic bool) bool {
	p.scratch.irregularInputs = p.scratch.irregularInputs[:0]
	start := p.pos
	last := p.plainInputs('[', "")
	for first := p.pos == start; p.more(first); first = false {
		at := p.pos
		input, ok := p.inputDerivation(dynamic)
		if !ok {
			return false
		}
		if !first && last >= input.Key {
			p.inputsUnsorted = !p.unsorted(at, last == input.Key)
		}
		p.keepInput(at, input)
		last = p.plainInputs(',', input.Key)
	}
	p.parsed.inputs = len(p.scratch.locations)
	p.parsed.inputList = p.spanTo(start)
	return true
}

// keepInput records the input derivation that begins at offset and was just read.
func (p *parser) keepInput(offset int, e Entry[storepath.Path, InputOutputs]) {
	const before, after = `("`, `",["out"])`
	start := offset + len(before)
	if p.pos-start == len(e.Key)+len(after) && p.text[p.pos-len(after):p.pos] == after && len(e.Key) <= maxPart {
		p.scratch.locations = append(p.scratch.locations, location{start: uint32(start), key: uint16(len(e.Key))})
		return
	}
	p.scratch.locations = append(p.scratch.locations, irregularLocation(len(p.scratch.irregularInputs)))
	p.scratch.irregularInputs = append(p.scratch.irregularInputs, e)
}

// inputDerivation reads an input derivation and its used outputs.
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
		p.notCanonical(at, "no output of this input derivation is used")
	}
	return e, ok && p.expect(")")
}

// plainInputs reads input derivations as long as they are sorted and use exactly "out", as most
// do. It is a fast version of inputDerivations. The first input follows separator, either the
// bracket of the list, which was already read, or a comma. The others follow a comma. last is the
// previous path; plainInputs returns the last path that it has read.
func (p *parser) plainInputs(separator byte, last storepath.Path) storepath.Path {
	const before, after = `("`, `",["out"])`
	text, pos, list := p.text, p.pos, p.scratch.locations
	if separator == '[' {
		pos--
	}
	lastWord := uint64(0) // the first eight bytes of the last hash part as a big-endian number; 0 if unknown
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
		list = append(list, location{start: uint32(start), key: uint16(len(path))})
		pos = start + len(path) + len(after)
		p.pos, separator, last, lastWord = pos, ',', path, word
	}
	p.scratch.locations = list
	return last
}

// onlyOut are the used outputs of most inputs. They share it, because a Set never changes its
// keys in place.
var onlyOut = []string{"out"}

// outputNames reads a list of output names and returns it as a set.
func (p *parser) outputNames() ([]string, bool) {
	if !p.expect("[") {
		return nil, false
	}
	names, sorted := p.scratch.strings[:0], true
	for first := true; p.more(first); first = false {
		at := p.pos
		name, ok := p.plain()
		if !ok {
			return nil, false
		}
		if n := len(names); n > 0 && names[n-1] >= name {
			sorted = p.unsorted(at, names[n-1] == name)
		}
		names = append(names, name)
	}
	p.scratch.strings = names
	set := names
	if !sorted {
		set = sortedSet(names)
	}
	kept := p.keepNames(set)
	clear(names) // so that the scratch does not keep the text in memory
	return kept, true
}

// keepNames copies a list of output names out of the scratch. Many inputs share one array, which
// saves allocations.
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

// inputNode reads the used outputs of an input that may be dynamic: either a list of names, or a
// list of names and a list of dynamic outputs, each with its own used outputs.
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
		return used, p.fail(at, "`[` or `(`", "the used outputs of an input are missing")
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
			sorted = p.unsorted(at, list[n-1].Key == child.Key)
		}
		list = append(list, child)
	}
	if len(list) == 0 {
		p.notCanonical(at, "the list of dynamic outputs is empty")
	}
	if !sorted {
		slices.Reverse(list) // the last of two with the same name counts
		list = sortEntries(list)
	}
	used.Dynamic.entries = list
	return used, p.expect(")")
}

// child reads a dynamic output and its used outputs.
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
		p.notCanonical(at, "no output of this dynamic output is used")
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
			sorted = p.unsorted(at, list[n-1] == path)
		}
		list = appendTo(list, path)
	}
	if !sorted {
		list = sortedSet(list)
	}
	d.InputSources.keys = slices.Clip(list)
	return true
}
