package derivation

import (
	"sync"

	"pix/storepath"
)

// A room is where the parser collects lists whose length it does not know yet. Each
// is then copied once, to one of just its size; rooms are used again.
type room struct {
	places       []place
	oddInputs    []Entry[storepath.Path, InputOutputs]
	strings      []string
	oddVariables []Entry[string, string]
	buf          []byte // a string that is being unescaped
}

// It begins with room for what most derivations have.
var rooms = sync.Pool{New: func() any {
	return &room{places: make([]place, 0, 256)}
}}

// release gives the room back. Lists that are longer than real derivations need are
// given up. The others must not hold on to the text.
func (r *room) release() {
	const most = 1 << 20 // bytes of each list
	if cap(r.places) > most/8 || cap(r.oddInputs) > most/128 || cap(r.strings) > most/16 ||
		cap(r.oddVariables) > most/32 || cap(r.buf) > most {
		return
	}
	clear(r.oddInputs)
	clear(r.strings)
	clear(r.oddVariables)
	rooms.Put(r)
}
