package xz

import "testing"

// The number of bytes in the ring does not grow with the contents: on a 32-bit machine it would begin at 0 again after 4 GiB, and
// valid matches would be refused.
func TestWindowOfLongContents(t *testing.T) {
	var w window
	w.init(4096)
	for range 3 {
		w.pos = w.ring + 5
		w.wrap()
		if w.full != w.ring || !w.reaches(w.pos, 4095) || w.reaches(w.pos, 4096) {
			t.Errorf("%d bytes in a ring of %d", w.full, w.ring)
		}
	}
}
