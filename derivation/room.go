package derivation

import "sync"

// A room is where the parser collects lists whose length it does not know yet. Each
// is then made once, of just its size; rooms are used again. What is collected are
// not strings but where in the text they are: that is cheaper for the garbage
// collector, which has nothing to look for here.
type room struct {
	spans []span   // of the list that is being read
	names []span   // of the outputs of all inputs, one after the other
	ends  []int    // where in names those of each input end
	odd   []string // strings that are not as they stand in the text
	buf   []byte   // a string that is being unescaped
}

// A span says where in the text a string is; or if start is negative, that it is
// number -start-1 of the odd ones.
type span struct{ start, end int }

var rooms = sync.Pool{New: func() any { return new(room) }}

// release gives the room back. Lists that are longer than real derivations need are
// given up.
func (r *room) release() {
	const most = 1 << 20 // bytes of each list
	if cap(r.spans) > most/16 || cap(r.names) > most/16 || cap(r.ends) > most/8 || cap(r.odd) > most/16 || cap(r.buf) > most {
		return
	}
	clear(r.odd)
	r.odd = r.odd[:0]
	rooms.Put(r)
}
