package derivation

import (
	"sync"

	"pix/storepath"
)

// A room is where the parser collects lists whose length it does not know yet. A
// finished list is then copied to a slice of just its size. Rooms are used again, so
// that parsing allocates one slice per list and no more.
type room struct {
	outputs []Entry[string, Output]
	inputs  []Entry[storepath.Path, InputOutputs]
	names   []string // of the outputs of all inputs, one after the other
	ends    []int    // where in names those of each input end
	sources []storepath.Path
	args    []string
	env     []Entry[string, string]
	buf     []byte // a string that is being unescaped
}

var rooms = sync.Pool{New: func() any { return new(room) }}

// release lets go of the text that was parsed and gives the room back. After an error
// the lists do not know how long they had become: such a room is given up.
func (r *room) release() {
	release(&r.outputs)
	release(&r.inputs)
	release(&r.names)
	release(&r.sources)
	release(&r.args)
	release(&r.env)
	const most = 1 << 20 // bytes that are kept for the next text
	if cap(r.buf) > most {
		r.buf = nil
	}
	if cap(r.ends) > most/8 {
		r.ends = nil
	}
	rooms.Put(r)
}

// release clears a list. One that is longer than real derivations need is given up.
func release[T any](list *[]T) {
	const most = 1 << 13
	if cap(*list) > most {
		*list = nil
		return
	}
	clear(*list)
	*list = (*list)[:0]
}
