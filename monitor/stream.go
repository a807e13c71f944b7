package monitor

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"pix/wire"
)

// valueFree is the number of bytes that the buffers of a decoder may hold anyway. A longer value
// takes from the budget.
const valueFree = 64 << 10

var (
	errStopped  = errors.New("the decoder was stopped")
	errTooLarge = errors.New("it is too large to be decoded")
)

// A stream decodes one direction of a connection. The decoder is straight code that reads from
// the stream. When it needs more bytes, it yields to the observer, which resumes it with the next
// piece. So the two decoders of a connection see its bytes in the order of their arrival, and
// never run at the same time.
type stream struct {
	in     *wire.Reader // reads from the stream
	next   func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
	memory *budget

	data   []byte
	at     time.Time // when the last bytes arrived
	closed bool      // the side has closed its stream
	done   bool      // the decoder has returned
	err    error     // its error

	skim     skimmer
	inTap    bool // the copying goroutine uses skim
	skimErr  error
	contents func([]byte) // gets the bytes of the body

	skipped int64 // bytes that skimmers have read
	taken   int   // bytes of the budget that the current value has
	used    int   // bytes of the current value
}

// readSize is the size of a decoder's buffer. Most requests and replies are smaller.
const readSize = 1 << 10

func newStream(memory *budget, decode func(*stream) error) *stream {
	s := &stream{memory: memory}
	s.in = wire.NewReader(s, readSize)
	s.next, s.stop = iter.Pull(func(yield func(struct{}) bool) {
		s.yield = yield
		defer func() {
			if p := recover(); p != nil { // it ends the decoding, and not the program
				s.err = fmt.Errorf("panic: %v", p)
			}
		}()
		s.err = decode(s)
	})
	return s
}

// Read returns bytes of the current piece. If there are none, it yields.
func (s *stream) Read(p []byte) (int, error) {
	for len(s.data) == 0 {
		if s.closed {
			return 0, io.EOF
		}
		if !s.yield(struct{}{}) {
			return 0, errStopped
		}
	}
	n := copy(p, s.data)
	s.data = s.data[n:]
	if s.used += n; s.used > valueFree {
		if !s.memory.acquire(n) {
			return 0, errTooLarge
		}
		s.taken += n
	}
	return n, nil
}

// endValue releases the memory of a value that was decoded.
func (s *stream) endValue() {
	s.memory.release(s.taken)
	s.taken, s.used = 0, 0
}

// offset returns the number of bytes decoded or skimmed.
func (s *stream) offset() int64 { return s.in.Offset() + s.skipped }

// run resumes the decoder until it needs more bytes.
func (s *stream) run() {
	if s.done {
		return
	}
	if _, more := s.next(); !more {
		s.done = true
		s.endValue()
	}
}

// feed gives the decoder a piece.
func (s *stream) feed(b []byte, at time.Time) {
	s.data, s.at = b, at
	for len(s.data) > 0 && !s.done {
		if s.skim == nil {
			s.run()
			continue
		}
		n, done, err := s.skim.consume(s.data, s.contents)
		s.data = s.data[n:]
		if done || err != nil {
			s.endSkim(err)
		}
	}
}

// end lets the decoder read the end of the stream, which the side has closed.
func (s *stream) end() {
	s.closed = true
	if s.skim != nil {
		s.endSkim(io.ErrUnexpectedEOF)
	}
	s.run()
}

// endSkim lets the decoder continue after a body.
func (s *stream) endSkim(err error) {
	s.skipped += s.skim.size()
	s.skim, s.inTap, s.skimErr = nil, false, err
	s.run()
}

// skimBody reads a body. The decoder has read some of it ahead.
func (s *stream) skimBody(k skimmer, contents func([]byte)) error {
	s.endValue()
	ahead := s.in.Ahead()
	n, done, err := k.consume(ahead, contents)
	s.skipped -= int64(n) // Discard counts these bytes, and size too
	if discardErr := s.in.Discard(uint64(n)); discardErr != nil {
		return discardErr
	}
	if done || err != nil {
		s.skipped += k.size()
		return err
	}
	s.skim, s.contents = k, contents
	for s.skim != nil {
		if !s.yield(struct{}{}) {
			return errStopped
		}
	}
	return s.skimErr
}
