package derivation

import (
	"sync"

	"pix/storepath"
)

// A room is where the parser collects lists whose length it does not know yet. Most are
// then copied once, to one of just its size; rooms are used again.
type room struct {
	places       []place // not copied, but taken
	oddInputs    []Entry[storepath.Path, InputOutputs]
	strings      []string // empty ones, but while output names are read
	oddVariables []Entry[string, string]
	buf          []byte // a string that is being unescaped
}

var rooms = sync.Pool{New: func() any { return new(room) }}

// Places are the longest list. They are collected where they stay: in an array that some
// derivations share, each with a part of its own. It is small, since it is kept as long as
// one of them is.
const (
	sharedPlaces = 512
	usualPlaces  = 64 // of one derivation
)

// newRoom returns a room with an empty list of places, and room for those of a usual
// derivation.
func newRoom() *room {
	r := rooms.Get().(*room)
	if cap(r.places) < usualPlaces {
		r.places = make([]place, 0, sharedPlaces)
	}
	return r
}

// takePlaces returns the list of places. What is left of its array is for the next.
func (r *room) takePlaces() []place {
	taken := r.places[:len(r.places):len(r.places)]
	r.places = r.places[len(r.places):]
	return taken
}

// release gives the room back. Lists that are longer than real derivations need are
// given up. The others must not hold on to the text.
func (r *room) release() {
	const most = 1 << 20 // bytes of each list
	if cap(r.places) > most/8 || cap(r.oddInputs) > most/128 || cap(r.strings) > most/16 ||
		cap(r.oddVariables) > most/32 || cap(r.buf) > most {
		return
	}
	clear(r.oddInputs)
	clear(r.oddVariables)
	rooms.Put(r)
}
