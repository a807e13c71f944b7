package xz

// decodeSymbols is the loop of runGeneric in assembly. It takes 0.57 of the time of runGeneric for literals, and 0.69 for
// programs. It decodes the bits of numbers and literals with conditional moves, which the compiler does not emit there, and
// loads the probabilities of both next bits before a bit is known.
//
// It returns 0 if the loop has ended. Otherwise it returns the length of a match that the caller must check and copy: the
// match has a short distance, crosses the end of the ring, or begins outside the window. The scheduler cannot preempt the
// function, so the caller must choose a limit at most maxStep after the position.
//
// The function stays within its arrays for all input:
//   - Each tree has a fixed number of bits, so a node is below the number of its probabilities. The context of a literal and the
//     position state are masked, and the state only has values below states.
//   - A symbol has fewer than maxSymbol bits, and a bit takes at most one byte. A symbol begins at maxChunk or before, so its
//     bytes end within chunkSpace.
//   - A symbol begins before limit, and writes at most maxMatch bytes, rounded up to 32. That is less than overhang. Each
//     distance is compared with the contents of the window before a byte is read there.
//
//go:noescape
func decodeSymbols(d *lzma, w *window, limit, end uint, last uint32) (length uint)

// run decodes symbols until the window is filled to limit or more, or until more than end bytes of the input are used. It
// returns false if a distance goes beyond the window.
func (d *lzma) run(w *window, limit, end uint) bool {
	limit, end = min(limit, w.ring), min(end, maxChunk)
	if w.reach+apart > w.ring || w.ring+overhang > uint(len(w.buf)) || d.state >= states {
		panic("xz: the window is smaller than its reach, or the state is out of range")
	}
	for {
		length := decodeSymbols(d, w, limit, end, w.last())
		if length == 0 {
			return true
		}
		if !w.reaches(w.pos, d.reps[0]) {
			return false
		}
		w.pos = w.repeat(w.pos, d.reps[0], uint32(length))
	}
}
