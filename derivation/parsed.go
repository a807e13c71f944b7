package derivation

import (
	"math"
	"strings"

	"pix/storepath"
)

// A parsed keeps where in the text of a derivation its variables and input derivations
// stand. They are the greater part of most texts. To make strings of them all at once
// would be the greater part of the work, and more so for the garbage collector, which
// finds nothing to look at in a list of places. The maps of a derivation get their
// entries from here when they are asked for them, until they are changed.
type parsed struct {
	text         string
	places       []place                               // of the inputs, then of the variables
	inputs       int                                   // how many of the places are of inputs
	oddVariables []Entry[string, string]               // those that are not as they stand in the text
	oddInputs    []Entry[storepath.Path, InputOutputs] // and those of which not just "out" is used
	inputList    span
	variableList span
	regular      bool // nothing was noted that is not canonical

	inputSource    source[storepath.Path, InputOutputs] // this itself, for the map to point to
	variableSource source[string, string]
}

// maxText is the length of the longest text, so that places in it fit in few bytes.
const maxText = math.MaxUint32

// A span says where in a text a list stands, without its brackets.
type span struct{ start, end uint32 }

// A place says where an entry of a map stands: from where on its key, and how long that
// is; and how long the value is, which begins three bytes after the key, if it is a
// variable. If start is zero, the entry is one of the odd ones, and [place.odd] which.
type place struct {
	start      uint32
	key, value uint16
}

func oddPlace(number int) place { return place{0, uint16(number), uint16(number >> 16)} }

func (p place) odd() int { return int(p.key) | int(p.value)<<16 }

// maxPart is the length of the longest key or value that a place can tell.
const maxPart = math.MaxUint16

// between is what stands between the key and the value of a variable.
const between = `","`

// valueOf returns from where to where the value of a variable stands.
func (p place) valueOf() (start, end uint32) {
	start = p.start + uint32(p.key) + uint32(len(between))
	return start, start + uint32(p.value)
}

// parsedVariables are the [source] of a derivation's environment.
type parsedVariables parsed

func (p *parsedVariables) len() int { return len(p.places) - p.inputs }

func (p *parsedVariables) at(i int) (key, value string) {
	at := p.places[p.inputs+i]
	if at.start == 0 {
		odd := &p.oddVariables[at.odd()]
		return odd.Key, odd.Value
	}
	start, end := at.valueOf()
	return p.text[at.start : at.start+uint32(at.key)], p.text[start:end]
}

// written returns the list as it stands in the text, if that is how it is printed.
// What must be escaped may stand there as it is: the parser does not note that.
func (p *parsedVariables) written() (list string, ok bool) {
	list = p.text[p.variableList.start:p.variableList.end]
	return list, p.regular && strings.IndexByte(list, '\n') < 0 && strings.IndexByte(list, '\t') < 0 && strings.IndexByte(list, '\r') < 0
}

// parsedInputs are the [source] of a derivation's input derivations.
type parsedInputs parsed

func (p *parsedInputs) len() int { return p.inputs }

func (p *parsedInputs) at(i int) (storepath.Path, InputOutputs) {
	at := p.places[i]
	if at.start == 0 {
		odd := &p.oddInputs[at.odd()]
		return odd.Key, odd.Value
	}
	return storepath.Path(p.text[at.start : at.start+uint32(at.key)]), InputOutputs{Names: Set[string]{onlyOut}}
}

// written returns the list as it stands in the text, if that is how it is printed.
func (p *parsedInputs) written() (list string, ok bool) {
	return p.text[p.inputList.start:p.inputList.end], p.regular
}
