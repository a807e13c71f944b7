package nar

import (
	"slices"

	"pix/storepath"
)

// A RefScanner finds the store paths that occur in the bytes written to it. A path occurs
// where its hash part, 32 characters of base 32, occurs, whatever precedes and follows it,
// in text or in binary data. This is how Nix finds the references of a build's outputs
// without a declaration.
//
// The bytes may be an archive or any other data, in pieces of any size. Paths in compressed or
// otherwise encoded data are not found.
type RefScanner struct {
	candidates map[[hashLen]byte]*candidate
	hints      hintSet
	missing    int // number of candidates that were not found yet

	tail    [2 * hashLen]byte // tail[:tailLen] are the last bytes written, at most hashLen-1
	tailLen int
}

// A candidate is a hash part to look for. Several paths may have the same one.
type candidate struct {
	paths []storepath.Path
	found bool
}

// NewRefScanner returns a scanner for the given paths. It ignores empty paths.
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

// Found returns the paths that were found so far, sorted.
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
	// A hash part that begins in the bytes before p ends within the first hashLen-1 bytes of p.
	n := copy(s.tail[s.tailLen:], p[:min(len(p), hashLen-1)])
	s.scan(s.tail[:s.tailLen+n])
	s.scan(p)
	s.keep(p, n)
	return len(p), nil
}

// keep sets the tail to the last bytes that were written. The first n bytes of p already
// follow the tail.
func (s *RefScanner) keep(p []byte, n int) {
	if len(p) < hashLen-1 {
		p = s.tail[:s.tailLen+n]
	}
	s.tailLen = copy(s.tail[:], p[max(0, len(p)-(hashLen-1)):])
}

// scan looks for hash parts that lie completely in b.
func (s *RefScanner) scan(b []byte) {
	eachWindow(b, func(at int) {
		window := b[at : at+hashLen]
		if !s.hints.mayContain(window) {
			return
		}
		if c := s.candidates[[hashLen]byte(window)]; c != nil && !c.found {
			c.found = true
			s.missing--
		}
	})
}
