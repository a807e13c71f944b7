package derivation

import (
	"math"
	"strings"
	"sync"

	"pix/storepath"
)

// A parsed records where the variables and input derivations are in the text of a derivation.
// They are most of the text. Creating strings for all of them would take most of the time, also
// in the garbage collector, which does not need to scan a list of locations. The maps of a
// derivation read their entries from here until they are changed.
type parsed struct {
	text               string
	locations          []location                            // of the inputs, then of the variables
	inputs             int                                   // number of inputs
	irregularVariables []Entry[string, string]               // variables that are not verbatim in the text
	irregularInputs    []Entry[storepath.Path, InputOutputs] // and inputs that do not use exactly "out"
	inputList          span
	variableList       span
	canonical          bool // the parser found no deviation from the canonical text

	inputSource    source[storepath.Path, InputOutputs] // the parsed itself; maps point to these fields
	variableSource source[string, string]
}

// maxText is the maximum length of a text. Locations in it fit into few bytes.
const maxText = math.MaxUint32

// A span is the part of a text that contains a list, without its brackets.
type span struct{ start, end uint32 }

// A location says where the entry of a map is in the text: the offset and length of its key, and
// for a variable the length of its value, which begins three bytes after the key. If start is
// zero, the entry is irregular, and [location.irregular] is its index.
type location struct {
	start      uint32
	key, value uint16
}

func irregularLocation(i int) location { return location{0, uint16(i), uint16(i >> 16)} }

func (l location) irregular() int { return int(l.key) | int(l.value)<<16 }

// maxPart is the maximum length of a key or value in a location.
const maxPart = math.MaxUint16

// keyValueSep is the text between the key and the value of a variable.
const keyValueSep = `","`

// valueSpan returns the start and end of a variable's value in the text.
func (l location) valueSpan() (start, end uint32) {
	start = l.start + uint32(l.key) + uint32(len(keyValueSep))
	return start, start + uint32(l.value)
}

// parsedVariables is the [source] of a derivation's environment.
type parsedVariables parsed

func (p *parsedVariables) len() int { return len(p.locations) - p.inputs }

func (p *parsedVariables) at(i int) (key, value string) {
	at := p.locations[p.inputs+i]
	if at.start == 0 {
		e := &p.irregularVariables[at.irregular()]
		return e.Key, e.Value
	}
	start, end := at.valueSpan()
	return p.text[at.start : at.start+uint32(at.key)], p.text[start:end]
}

// verbatim returns the list in the text, if it is also its printed form. The parser does not
// record control characters that are not escaped, so verbatim looks for them.
func (p *parsedVariables) verbatim() (list string, ok bool) {
	list = p.text[p.variableList.start:p.variableList.end]
	return list, p.canonical && strings.IndexByte(list, '\n') < 0 && strings.IndexByte(list, '\t') < 0 && strings.IndexByte(list, '\r') < 0
}

// parsedInputs is the [source] of a derivation's input derivations.
type parsedInputs parsed

func (p *parsedInputs) len() int { return p.inputs }

func (p *parsedInputs) at(i int) (storepath.Path, InputOutputs) {
	at := p.locations[i]
	if at.start == 0 {
		e := &p.irregularInputs[at.irregular()]
		return e.Key, e.Value
	}
	return storepath.Path(p.text[at.start : at.start+uint32(at.key)]), InputOutputs{Names: Set[string]{onlyOut}}
}

// verbatim returns the list in the text, if it is also its printed form.
func (p *parsedInputs) verbatim() (list string, ok bool) {
	return p.text[p.inputList.start:p.inputList.end], p.canonical
}

// A scratch holds the lists that the parser collects before it knows their length. Most are then
// copied once, to the exact length. A pool reuses scratches.
type scratch struct {
	locations          []location // moved to the derivation, not copied
	irregularInputs    []Entry[storepath.Path, InputOutputs]
	strings            []string // empty except while output names are read
	irregularVariables []Entry[string, string]
	buf                []byte // for unescaping a string
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// Locations are the longest list. They are not copied. Several derivations share one array, each
// with a part of its own. The array is small because any of them keeps it in memory.
const (
	sharedLocations = 512
	usualLocations  = 64 // of one derivation
)

// newScratch returns a scratch with an empty list of locations that has the capacity for a usual
// derivation.
func newScratch() *scratch {
	s := scratches.Get().(*scratch)
	if cap(s.locations) < usualLocations {
		s.locations = make([]location, 0, sharedLocations)
	}
	return s
}

// takeLocations returns the list of locations. The next derivation uses the rest of its array.
func (s *scratch) takeLocations() []location {
	taken := s.locations[:len(s.locations):len(s.locations)]
	s.locations = s.locations[len(s.locations):]
	return taken
}

// release returns the scratch to the pool, unless a list is larger than real derivations need. It
// clears the lists that would keep the text in memory.
func (s *scratch) release() {
	const most = 1 << 20 // bytes of each list
	if cap(s.locations) > most/8 || cap(s.irregularInputs) > most/128 || cap(s.strings) > most/16 ||
		cap(s.irregularVariables) > most/32 || cap(s.buf) > most {
		return
	}
	clear(s.irregularInputs)
	clear(s.irregularVariables)
	scratches.Put(s)
}
