package nar

import (
	"slices"

	"pix/storepath"
)

// A RefScanner finds out which store paths are mentioned in what is written to it.
// A path is mentioned where its hash part, 32 characters of base 32, occurs: anywhere,
// in text or in between binary data, and whatever stands before and after it. That is
// how Nix finds the references of what was built, and why they need not be declared.
//
// The bytes may be those of an archive or any others, in pieces of any size. Nothing
// that is compressed or encoded otherwise is found.
type RefScanner struct {
	candidates map[[hashLen]byte]*candidate
	hints      hintSet
	missing    int // hash parts that were not found yet

	tail    [2 * hashLen]byte // tail[:tailLen] are the last bytes that were written, at most hashLen-1
	tailLen int
}

// A candidate is a hash part that may be found. Several paths may have the same.
type candidate struct {
	paths []storepath.Path
	found bool
}

// NewRefScanner returns a scanner for these paths. The zero value among them is
// mentioned nowhere.
func NewRefScanner(paths []storepath.Path) *RefScanner {
	s := &RefScanner{candidates: make(map[[hashLen]byte]*candidate, len(paths))}
	for _, p := range paths {
		hash := p.HashPart()
		if len(hash) != hashLen {
			continue
		}
		key := [hashLen]byte([]byte(hash))
		c := s.candidates[key]
		if c == nil {
			c = new(candidate)
			s.candidates[key] = c
			s.hints.add(hash)
			s.missing++
		}
		if !slices.Contains(c.paths, p) {
			c.paths = append(c.paths, p)
		}
	}
	return s
}

// Found returns the paths that were mentioned so far, sorted.
func (s *RefScanner) Found() []storepath.Path {
	var found []storepath.Path
	for _, c := range s.candidates {
		if c.found {
			found = append(found, c.paths...)
		}
	}
	slices.Sort(found)
	return found
}

// Write implements io.Writer. It never fails.
func (s *RefScanner) Write(p []byte) (int, error) {
	if s.missing == 0 {
		return len(p), nil
	}
	// What begins in the bytes before p ends within the first hashLen-1 bytes of p.
	n := copy(s.tail[s.tailLen:], p[:min(len(p), hashLen-1)])
	s.scan(s.tail[:s.tailLen+n])
	s.scan(p)
	s.keep(p, n)
	return len(p), nil
}

// keep makes the last bytes that were written the tail. The first n bytes of p stand
// behind the tail already.
func (s *RefScanner) keep(p []byte, n int) {
	if len(p) < hashLen-1 {
		p = s.tail[:s.tailLen+n]
	}
	s.tailLen = copy(s.tail[:], p[max(0, len(p)-(hashLen-1)):])
}

// scan looks for hash parts that lie in b entirely.
func (s *RefScanner) scan(b []byte) {
	eachWindow(b, func(at int) {
		window := b[at : at+hashLen]
		if !s.hints.mayHave(window) {
			return
		}
		if c := s.candidates[[hashLen]byte(window)]; c != nil && !c.found {
			c.found = true
			s.missing--
		}
	})
}
