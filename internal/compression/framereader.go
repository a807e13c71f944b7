package compression

import "bufio"

// A frameReader reads a stream of frames, part by part. A guard examines the beginning of each part, and may change
// it in the buffer, before the decoder reads it.
type frameReader struct {
	src   *bufio.Reader
	step  func() error          // examines the next part, and sets its length
	pass  int64                 // remaining bytes of the part
	short func(err error) error // replaces io.EOF by an error of the format
}

func (r *frameReader) Read(p []byte) (int, error) {
	for r.pass == 0 {
		if err := r.step(); err != nil {
			return 0, err
		}
	}
	n, err := r.src.Read(p[:min(int64(len(p)), r.pass)])
	r.pass -= int64(n)
	return n, r.short(err)
}

func (r *frameReader) peek(n int) ([]byte, error) {
	b, err := r.src.Peek(n)
	return b, r.short(err)
}
